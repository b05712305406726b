"""Two models on the same pictures: how their scores differ, and whether that can be chance."""

from collections.abc import Mapping

import numpy as np
import scipy.optimize
import scipy.special

from thaw.evaluation import influence, intervals
from thaw.evaluation.influence import Array, Judgement, Labels
from thaw.evaluation.intervals import Clusters, Groups, Z
from thaw.evaluation.record import LEVEL, TITLES, Comparison, Difference

PRIOR = 4.0  # pictures: how much what is known of a score before any counts beside them


def differences(
    labels: Labels,
    first: Array,
    second: Array,
    positive: int | None = None,
    clusters: Groups | None = None,
    decided: tuple[Labels, Labels] | None = None,
) -> dict[str, Difference]:
    """How the second model's scores differ from the first's.

    Args:
        labels: (N,) class numbers.
        first: (N, classes) probabilities.
        second: likewise.
        positive: as in `metrics.scores`.
        clusters: (N,) what belongs together, such as the predictions of one picture or the pictures
            of one patient; None where each prediction is of a picture of its own.
        decided: (N,) class numbers that each says; None for the most probable ones.
    """
    said = decided or (first.argmax(axis=1), second.argmax(axis=1))
    if np.array_equal(first, second) and np.array_equal(*said):
        return {name: Difference(0.0, 0.0, 0.0, 1.0) for name in TITLES}
    groups = intervals.numbered(clusters, len(labels))
    before, after = (
        influence.judge(labels, shares, positive, each)
        for shares, each in zip((first, second), said, strict=True)
    )
    found = {
        name: _calibration(before, after, groups)
        if name == "calibration_error"
        else _difference(name, before, after, groups)
        for name in before.scores
    }
    found["accuracy"] = paired(labels, said[0], said[1], groups)
    columns = influence.judged(first.shape[1], positive)
    if len(columns) == 1:  # recall is the accuracy on the pictures of the class
        own = labels == columns[0]
        found["recall"] = paired(labels[own], said[0][own], said[1][own], groups[own])
    return found


def paired(labels: Labels, first: Labels, second: Labels, clusters: Clusters) -> Difference:
    """The difference in accuracy, as `compare` finds it."""
    found = compare(labels, first, second, clusters)
    return Difference(found.difference, found.low, found.high, found.p_value)


def _difference(name: str, before: Judgement, after: Judgement, clusters: Clusters) -> Difference:
    """By the variance of the difference of influences, and Student's t.

    Where few pictures tell the models apart, the variance is mostly that of two models whose
    influences correlate by a half. Fewer than five tell nothing: their signs agree by chance in
    more than a twentieth of cases.
    """
    value = after.scores[name] - before.scores[name]
    apart = after.influences[name] - before.influences[name]
    variance, seen = intervals.spread(apart, clusters)
    freedom = seen
    if name == "loss":  # as in `intervals.of_loss`, a mistake more, of either
        variance += (2 * before.guessed / (int(clusters.max()) + 2)) ** 2
    else:
        known = [intervals.variance(each, name, clusters) for each in (before, after)]
        variance = (seen * variance + PRIOR * sum(known) / 2) / (seen + PRIOR)
        freedom += PRIOR / 2
    error = variance**0.5
    half = intervals.student(freedom) * error
    p_value = 2 * float(scipy.special.stdtr(max(freedom, 1.0), -abs(value) / error))
    return _told(value, value - half, value + half, max(p_value, 2**-seen))


def _calibration(before: Judgement, after: Judgement, clusters: Clusters) -> Difference:
    """By both intervals, as if they were of different pictures (Zou and Donner 2008).

    It is wider than it need be, since both models err on the same pictures.
    """
    name = "calibration_error"
    (low, first, high), (lower, second, higher) = (
        (ends[0], each.scores[name], ends[1])
        for each in (before, after)
        for ends in [intervals.of_calibration(each, clusters)]
    )
    value = second - first
    down = float(np.hypot(second - lower, high - first))
    up = float(np.hypot(higher - second, first - low))
    towards = down if value > 0 else up
    p_value = 2 * float(scipy.special.ndtr(-Z * abs(value) / towards)) if towards else 1.0
    return _told(value, value - down, value + up, p_value)


def _told(value: float, low: float, high: float, p_value: float) -> Difference:
    """A difference whose interval holds 0 where the test calls it chance."""
    if p_value >= LEVEL:
        low, high = min(low, 0.0), max(high, 0.0)
    return Difference(value, low, high, min(p_value, 1.0))


def compare(
    labels: Labels,
    first: Labels,
    second: Labels,
    clusters: Groups | None = None,
) -> Comparison:
    """The difference in accuracy, by McNemar's test and Tango's interval.

    Under the null hypothesis, a picture that only one of them gets right is equally likely to be
    either's (McNemar 1947). The p-value is the two-sided mid-p one (Fagerland et al. 2013), the
    interval that of the score test (Tango 1998), which holds 0 where the test calls it chance.

    Clusters make as much less evidence as the variance of their sums is larger than that of single
    predictions (Rao and Scott 1992).

    Args:
        labels: (N,) class numbers.
        first: (N,) those that the first model says.
        second: likewise.
        clusters: as in `differences`.
    """
    difference = (second == labels) - (first == labels).astype(int)
    mended, broken = (int(np.sum(difference == sign)) for sign in (1, -1))
    value = float(difference.mean())
    effect = intervals.effect(difference, intervals.numbered(clusters, len(labels)))
    pictures, up, down = (each / effect for each in (len(labels), mended, broken))
    p_value = mid_p(up, down)
    low, high = tango(up, down, pictures)
    if p_value >= LEVEL:
        low, high = min(low, 0.0), max(high, 0.0)
    return Comparison(mended, broken, p_value, value, low, high)


def mid_p(mended: float, broken: float) -> float:
    """McNemar's two-sided mid-p-value, of counts that needn't be whole.

    2 (P(X < k) + P(X = k) / 2), X binomial of all changed pictures and 1/2, k the smaller count.
    """
    less, more = sorted((mended, broken))
    if more == less:
        return 1.0
    tail = scipy.special.betainc(more, less + 1, 0.5)
    below = scipy.special.betainc(more + 1, less, 0.5) if less else 0.0
    return float(tail + below)


def tango(mended: float, broken: float, pictures: float) -> tuple[float, float]:
    """The differences in accuracy that a score test doesn't refuse (Tango 1998)."""

    def excess(difference: float, sign: int) -> float:
        a = 2 * pictures
        b = (2 * pictures - mended + broken) * difference - mended - broken
        c = -broken * difference * (1 - difference)
        share = ((max(b * b - 4 * a * c, 0.0)) ** 0.5 - b) / (2 * a)
        variance = max(pictures * (2 * share + difference * (1 - difference)), 0.0)
        return float(mended - broken - pictures * difference - sign * Z * variance**0.5)

    value, inside = (mended - broken) / pictures, 1e-9  # at the value itself all may be 0
    low, high = -1.0, 1.0
    if value > low:
        low = float(scipy.optimize.brentq(excess, low, value - inside, (1,)))
    if value < high:
        high = float(scipy.optimize.brentq(excess, value + inside, high, (-1,)))
    return low, high


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """P-values of several comparisons, raised so that one of all errs in a twentieth of cases.

    Holm 1979, A Simple Sequentially Rejective Multiple Test Procedure.
    """
    found: dict[str, float] = {}
    raised = 0.0
    for place, name in enumerate(sorted(p_values, key=lambda each: p_values[each])):
        raised = max(raised, min(1.0, (len(p_values) - place) * p_values[name]))
        found[name] = raised
    return found


def more_than_chance(found: Mapping[str, Difference]) -> dict[str, bool]:
    """Which differences of scores are more than chance, told together.

    Accuracy decides, by its own test. The other scores are judged together by Holm's method, so
    that chance makes one of them look like more in at most one comparison of twenty.
    """
    others = {name: each.p_value for name, each in found.items() if name != "accuracy"}
    p_values = {"accuracy": found["accuracy"].p_value, **holm(others)}
    return {name: p_values[name] < LEVEL for name in found}
