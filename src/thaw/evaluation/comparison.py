"""Compare two models on the same test pictures: intervals, groups, curves."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from thaw.evaluation import differences, influence, intervals, metrics
from thaw.evaluation.record import Evaluation

Array = NDArray[np.float64]
Labels = NDArray[np.int64]
CURVE_POINTS = 500


def evaluate(
    labels: Labels,
    found: Mapping[str, Array],
    decided: Mapping[str, Labels],
    scores: Mapping[str, Mapping[str, float]],
    rows: pd.DataFrame,
    *,
    classes: Sequence[str],
    positive: str | None,
    test_set: str,
    confidence: Mapping[str, Mapping[str, float]] | None = None,
    taken: Sequence[float] = (1,),
) -> Evaluation:
    """Compare the models of `COMPARED`.

    Args:
        labels: (N,) class numbers of the test pictures.
        found: (N, classes) probabilities by model.
        decided: (N,) numbers of the classes that they say.
        scores: of `metrics.scores` by model.
        rows: of the test pictures, with columns label and subgroup.
        classes: their names, in order.
        positive: whose precision and recall these are; None for the mean over the classes.
        test_set: of `Evaluation`.
        confidence: of `Evaluation`.
        taken: of each epoch of fine-tuning, whether it is the result.
    """
    at = None if positive is None else classes.index(positive)
    orders: dict[str, Sequence[str]] = {"label": classes, "subgroup": sorted(set(rows["subgroup"]))}
    return Evaluation(
        len(labels),
        test_set,
        positive,
        any(taken),
        len(taken),
        scores,
        {
            name: intervals.scores(influence.judge(labels, shares, at, decided[name]))
            for name, shares in found.items()
        },
        differences.compare(labels, decided["head"], decided["fine_tuned"]),
        {
            kind: {
                name: by_group(rows, kind, order, said == labels) for name, said in decided.items()
            }
            for kind, order in orders.items()
        },
        {
            name: metrics.cells(metrics.confusion(labels, said, len(classes)))
            for name, said in decided.items()
        },
        confidence or {},
    )


def curve(
    kind: str, labels: Labels, probabilities: Array, positive: int | None = None
) -> list[tuple[float, ...]]:
    """Points of a "roc" (FPR, TPR, threshold) or "pr" (recall, precision, threshold) curve.

    Of the class that `metrics.scores` judges. Where it judges all, the mean of their curves, whose
    area is the mean of their areas; its points have no threshold. At most 500 points are `kept`.
    """
    columns = influence.judged(probabilities.shape[1], positive)
    measure = metrics.roc_curve if kind == "roc" else metrics.precision_recall_curve
    curves = [measure(labels == column, probabilities[:, column]) for column in columns]
    if len(curves) > 1:
        mean = mean_roc if kind == "roc" else mean_precision
        found: Sequence[Array] = mean([(across, up) for across, up, _ in curves])
    else:
        found = [axis[kept(len(axis))] for axis in curves[0]]
    return list(zip(*(axis.tolist() for axis in found), strict=True))


def kept(count: int) -> NDArray[np.int64]:
    """Which of so many points of a curve are kept: the first, the last, and evenly between."""
    return np.unique(np.linspace(0, count - 1, min(count, CURVE_POINTS)).astype(int))


def mean_roc(curves: Sequence[tuple[Array, Array]]) -> tuple[Array, Array]:
    """The mean of ROC curves, straight between their points: false and true positive rate.

    At a step up there are two points: the mean of the lower ends and that of the upper ends. The
    mean is taken at the points that are `kept` alone: of a thousand classes they are few of many.
    """
    every = np.unique(np.concatenate([fpr for fpr, _ in curves]))
    points = kept(2 * len(every))
    places, at = np.unique(points // 2, return_inverse=True)
    across = every[places]
    low, high = np.zeros((2, len(across)))
    for fpr, tpr in curves:
        own, first = np.unique(fpr, return_index=True)
        last = np.append(first[1:], len(fpr)) - 1
        after = np.searchsorted(own, across)
        before = np.maximum(after - 1, 0)
        width = np.where(after > before, own[after] - own[before], 1.0)
        share = np.where(after > before, (across - own[before]) / width, 1.0)
        ends = (1 - share) * tpr[last[before]] + share * tpr[first[after]]
        low += ends
        high += np.where(own[after] == across, tpr[last[after]], ends)
    up = np.where(points % 2, high[at], low[at]) / len(curves)
    return across[at], up


def mean_precision(curves: Sequence[tuple[Array, Array]]) -> tuple[Array, Array]:
    """The mean of precision-recall curves, each step with the precision at its end, as in average
    precision: recall and precision, from all found to none, at the points that are `kept`.
    """
    across = np.unique(np.concatenate([recall for recall, _ in curves]))[::-1]
    across = across[kept(len(across))]
    up = np.zeros(len(across))
    for recall, precision in curves:
        rising, own = recall[::-1], precision[::-1]
        up += own[np.searchsorted(rising, across)]
    return across, up / len(curves)


def by_group(
    rows: pd.DataFrame, kind: str, order: Sequence[str], right: NDArray[np.bool_]
) -> dict[str, dict[str, float]]:
    """Pictures, accuracy and its interval of each group, such as each class or kind of subject.

    Args:
        rows: of the pictures.
        kind: the column of their groups.
        order: of the groups; those without a picture are left out.
        right: (pictures,) whether each is predicted as what it is.
    """
    found = rows.assign(right=right).groupby(kind)["right"].agg(pictures="size", accuracy="mean")
    known = {}
    for name, pictures, accuracy in found.itertuples(name=None):
        low, high = intervals.wilson(accuracy, pictures)
        known[name] = {"pictures": pictures, "accuracy": accuracy, "low": low, "high": high}
    return {name: known[name] for name in order if name in known}
