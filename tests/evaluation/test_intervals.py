"""Intervals that hold the score, have width at the edges, and grow with clusters."""

import numpy as np
import pytest
import scipy.stats

from thaw.evaluation import calibration, influence, intervals
from thaw.evaluation.record import TITLES


def sample(
    classes: int, count: int = 60, skill: float = 1.5, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    found = np.exp(generator.normal(size=(count, classes)) + skill * np.eye(classes)[labels])
    return labels, found / found.sum(axis=1, keepdims=True)


@pytest.mark.parametrize(("right", "pictures"), [(0, 6), (6, 6), (5, 6), (588, 656)])
def test_accuracy_and_recall_have_wilsons_interval(right: int, pictures: int) -> None:
    expected = scipy.stats.binomtest(right, pictures).proportion_ci(method="wilson")
    assert intervals.wilson(right / pictures, pictures) == pytest.approx(
        (expected.low, expected.high)
    )
    labels = np.ones(pictures, int)
    share = np.where(np.arange(pictures) < right, 0.8, 0.2)
    found = intervals.scores(influence.judge(labels, np.stack([1 - share, share], axis=1)))
    for name in ("accuracy", "recall"):
        assert found[name] == pytest.approx((expected.low, expected.high), abs=1e-12)


@pytest.mark.parametrize("skill", [0.0, 1.5, 60.0])
@pytest.mark.parametrize(("classes", "count"), [(2, 6), (2, 60), (5, 6), (5, 60), (20, 20)])
def test_every_interval_holds_its_score_and_has_width(
    classes: int, count: int, skill: float
) -> None:
    found = influence.judge(*sample(classes, count, skill))
    made = intervals.scores(found)
    assert [*made] == [*found.scores]
    assert {*made} == {*TITLES}
    for name, (low, high) in made.items():
        assert 0 <= low <= found.scores[name] <= high, name
        assert high - low > 0.01, name
        assert name == "loss" or high <= 1, name


@pytest.mark.parametrize("classes", [2, 5])
def test_predictions_of_one_picture_count_as_one(classes: int) -> None:
    labels, probabilities = sample(classes)
    once = intervals.scores(influence.judge(labels, probabilities))
    five = influence.judge(np.tile(labels, 5), np.tile(probabilities, (5, 1)))
    clustered = intervals.scores(five, [*range(60)] * 5)
    unaware = intervals.scores(five)
    for name, (low, high) in once.items():
        if name not in ("precision", "f1", "calibration_error"):  # smoothed by a picture a class
            assert clustered[name] == pytest.approx((low, high), rel=0.05), name
        if name != "calibration_error":  # an error that is less certain is partly taken for chance
            assert np.diff(unaware[name]) < 0.75 * np.diff(clustered[name]), name


def test_a_class_never_predicted_says_nothing_of_precision() -> None:
    labels, probabilities = np.array([0, 0, 1]), np.tile([0.9, 0.1], (3, 1))
    low, high = intervals.scores(influence.judge(labels, probabilities))["precision"]
    assert (low, high) == pytest.approx((0, 1), abs=1e-6)


def test_calibration_error_is_without_what_chance_makes() -> None:
    """The plain error of a calibrated model is far from 0; its interval once lay above it."""
    generator = np.random.default_rng(0)
    confidence = generator.uniform(0.5, 1, 656)
    found = calibration.binned(confidence, generator.random(656) < confidence)
    assert found.plain > 0.03
    assert found.error < found.plain / 2
    low, high = found.interval(intervals.Z)
    assert low == 0
    assert found.error < high < 0.06


@pytest.mark.parametrize("gap", [0.1, 0.3])
def test_calibration_error_is_the_gap(gap: float) -> None:
    generator = np.random.default_rng(0)
    confidence = generator.uniform(0.6, 1, 5000)
    found = calibration.binned(confidence, generator.random(5000) < confidence - gap)
    assert found.error == pytest.approx(gap, abs=0.02)
    low, high = found.interval(intervals.Z)
    assert low < gap < high


@pytest.mark.parametrize(("mean", "error"), [(0.0, 1.0), (0.5, 0.3), (2.0, 0.1)])
def test_the_mean_of_a_folded_normal(mean: float, error: float) -> None:
    expected = scipy.stats.foldnorm(mean / error, scale=error)
    found = calibration.folded(mean, np.array([error]))
    assert [each.item() for each in found] == pytest.approx([expected.mean(), expected.var()])
