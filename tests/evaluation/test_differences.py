"""Two models on the same pictures: tests, intervals, clusters, a margin."""

import itertools

import numpy as np
import pytest
import scipy.stats

from thaw.evaluation import differences, metrics
from thaw.evaluation.record import TITLES, Difference, Verdict


def models(
    mended: int, broken: int, same: int, repeats: int = 1
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels of two classes, and what two models say of them."""
    first = np.array([False] * mended + [True] * (broken + same))
    second = np.array([True] * mended + [False] * broken + [True] * same)
    labels = np.tile(np.arange(len(first)) % 2, repeats)
    said = [np.where(np.tile(right, repeats), labels, 1 - labels) for right in (first, second)]
    return labels, *(np.stack([0.9 - 0.8 * each, 0.1 + 0.8 * each], axis=1) for each in said)


def said(
    mended: int, broken: int, same: int, repeats: int = 1
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels of two classes, and the classes that two models say."""
    labels, *found = models(mended, broken, same, repeats)
    return labels, *(each.argmax(axis=1) for each in found)


def noisy(count: int, classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, and what a weak and a strong model say of them."""
    generator = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    logits = generator.normal(size=(count, classes))
    found = [np.exp(logits + skill * np.eye(classes)[labels]) for skill in (0.5, 3)]
    return labels, *(each / each.sum(axis=1, keepdims=True) for each in found)


@pytest.mark.parametrize(("mended", "broken"), [(8, 2), (2, 8), (6, 0), (0, 1), (13, 4), (40, 25)])
def test_the_test_is_mcnemars_by_mid_p(mended: int, broken: int) -> None:
    exact = scipy.stats.binomtest(mended, mended + broken).pvalue
    half = scipy.stats.binom.pmf(mended, mended + broken, 0.5)
    found = differences.compare(*said(mended, broken, 20))
    assert (found.mended, found.broken) == (mended, broken)
    assert found.p_value == pytest.approx(exact - half)
    assert found.difference == pytest.approx((mended - broken) / (20 + mended + broken))
    assert found.low < found.difference < found.high


def test_a_published_example() -> None:
    """Airways of 21 children, Fagerland, Lydersen and Laake 2014, tables 1 and 4."""
    found = differences.compare(*said(1, 7, 13))
    assert found.p_value == pytest.approx(0.0391, abs=5e-5)
    assert (found.low, found.high) == pytest.approx((-0.517, -0.026), abs=5e-4)


@pytest.mark.parametrize(
    ("mended", "broken", "same"), [(0, 0, 6), (5, 0, 0), (0, 5, 0), (3, 3, 0), (0, 1, 0)]
)
def test_five_pictures_have_an_interval_with_width(mended: int, broken: int, same: int) -> None:
    found = differences.compare(*said(mended, broken, same))
    assert -1 <= found.low <= found.difference <= found.high <= 1
    assert found.high - found.low > 0.3


@pytest.mark.parametrize("same", [1, 4, 600])
def test_an_interval_holds_0_where_the_test_calls_it_chance(same: int) -> None:
    for mended, broken in itertools.product(range(8), range(8)):
        found = differences.compare(*said(mended, broken, same))
        assert (found.low <= 0 <= found.high) == found.chance, (mended, broken)


@pytest.mark.parametrize("repeats", [2, 5])
def test_a_picture_counts_as_one_however_often_it_was_predicted(repeats: int) -> None:
    once = differences.compare(*said(9, 2, 30))
    labels, first, second = said(9, 2, 30, repeats)
    clusters = [*range(41)] * repeats
    more = differences.compare(labels, first, second, clusters)
    assert more.mended == 9 * repeats
    assert (more.low, more.high, more.p_value) == pytest.approx((once.low, once.high, once.p_value))
    unaware = differences.compare(labels, first, second)
    assert unaware.p_value < once.p_value


@pytest.mark.parametrize("classes", [2, 4])
def test_clusters_of_every_score(classes: int) -> None:
    labels, first, second = noisy(60, classes)
    once = differences.differences(labels, first, second)
    tripled = [np.concatenate([each] * 3) for each in (labels, first, second)]
    more = differences.differences(*tripled, clusters=[*map(str, range(60))] * 3)
    unaware = differences.differences(*tripled)
    for name, expected in once.items():
        if name == "calibration_error":  # its size depends on how sure it is
            continue
        assert more[name].value == pytest.approx(expected.value), name
        width = expected.high - expected.low
        assert more[name].high - more[name].low == pytest.approx(width, rel=0.02), name
        assert unaware[name].high - unaware[name].low < 0.8 * width, name


@pytest.mark.parametrize("classes", [2, 4])
def test_every_score_has_a_difference(classes: int) -> None:
    labels, first, second = noisy(60, classes)
    found = differences.differences(labels, first, second, 0)
    assert [*found] == [*TITLES]
    scores = [metrics.scores(labels, each, 0) for each in (first, second)]
    for name, each in found.items():
        assert each.value == pytest.approx(scores[1][name] - scores[0][name]), name
        assert each.low < each.value < each.high, name
        assert (each.low <= 0 <= each.high) == each.chance, name
    assert found["loss"].verdict("loss", 0) == Verdict.BETTER


def test_identical_predictions_differ_in_nothing() -> None:
    labels, first, _ = noisy(12, 3)
    found = differences.differences(labels, first, first.copy())
    assert {*found.values()} == {Difference(0.0, 0.0, 0.0, 1.0)}


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.001, 0.02, Verdict.BETTER),
        (-0.004, 0.02, Verdict.NO_WORSE),
        (-0.004, -0.001, Verdict.NO_WORSE),
        (-0.005, 0.02, Verdict.OPEN),
        (-0.02, -0.001, Verdict.WORSE),
    ],
)
def test_a_verdict_by_a_margin(low: float, high: float, expected: Verdict) -> None:
    p_value = 0.5 if low <= 0 <= high else 0.01
    found = Difference((low + high) / 2, low, high, p_value)
    assert found.verdict("accuracy", 0.005) == expected
    mirrored = Difference(-found.value, -high, -low, p_value)
    assert mirrored.verdict("loss", 0.005) == expected


def test_without_a_margin_only_a_difference_is_told() -> None:
    assert Difference(0.0, 0.0, 0.0, 1.0).verdict("accuracy", 0.0) == Verdict.OPEN


def test_holm_raises_the_smallest_most() -> None:
    found = differences.holm({"a": 0.04, "b": 0.01, "c": 0.03, "d": 0.9})
    assert found == pytest.approx({"b": 0.04, "c": 0.09, "a": 0.09, "d": 0.9})
    assert differences.holm({"a": 0.6, "b": 0.7}) == {"a": 1.0, "b": 1.0}


def test_the_classes_that_are_said_count_where_they_are_not_the_most_probable() -> None:
    labels, first, _ = noisy(200, 2)
    said = (np.zeros(200, int), labels)
    found = differences.differences(labels, first, first, decided=said)
    assert found["accuracy"].value == 0.5
    assert found["recall"].value == 1.0
    assert found["roc_auc"].value == found["loss"].value == 0.0
