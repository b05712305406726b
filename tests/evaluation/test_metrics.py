import math
import warnings
from collections.abc import Callable

import numpy as np
import pytest
from sklearn import metrics as sk

from thaw.evaluation import metrics

LABELS = np.array([0, 0, 1, 1])
TWO = np.array([[0.9, 0.1], [0.6, 0.4], [0.65, 0.35], [0.2, 0.8]])


def sample(classes: int, count: int = 150, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Labels, and probabilities that know something of them."""
    generator = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    logits = generator.normal(size=(count, classes)) + 1.5 * np.eye(classes)[labels]
    exponents = np.exp(logits)
    return labels, exponents / exponents.sum(axis=1, keepdims=True)


def test_two_classes_by_hand():
    assert metrics.scores(LABELS, TWO) == pytest.approx(
        {
            "accuracy": 3 / 4,
            "loss": -math.log(0.9 * 0.6 * 0.35 * 0.8) / 4,
            "precision": 1.0,
            "recall": 1 / 2,
            "f1": 2 / 3,
            "roc_auc": 3 / 4,  # of four pairs, the one of 0.4 and 0.35 is the wrong way round
            "average_precision": 1 / 2 * 1 + 1 / 2 * 2 / 3,
            "calibration_error": (0.1 + abs(1 - 0.6 - 0.65) + 0.2) / 4,
        }
    )


def test_two_classes_are_scored_by_the_second():
    labels, probabilities = sample(2, count=61)
    found = metrics.scores(labels, probabilities)
    second = sk.average_precision_score(labels, probabilities[:, 1])
    assert found["average_precision"] == pytest.approx(second)
    assert found["recall"] == pytest.approx(sk.recall_score(labels, probabilities.argmax(axis=1)))


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("positive", [0, 1])
def test_the_positive_class_is_held_against_the_rest(classes: int, positive: int):
    labels, probabilities = sample(classes, count=61)
    found = metrics.scores(labels, probabilities, positive)
    truth, predicted = labels == positive, probabilities.argmax(axis=1) == positive
    assert found["precision"] == pytest.approx(sk.precision_score(truth, predicted))
    assert found["recall"] == pytest.approx(sk.recall_score(truth, predicted))
    assert found["f1"] == pytest.approx(sk.f1_score(truth, predicted))
    shares = probabilities[:, positive]
    assert found["roc_auc"] == pytest.approx(sk.roc_auc_score(truth, shares))
    precision = sk.average_precision_score(truth, shares)
    assert found["average_precision"] == pytest.approx(precision)
    row = np.arange(61)[None]
    resampled = metrics.resampled_scores(labels, probabilities, row, positive)
    assert {name: value.item() for name, value in resampled.items()} == pytest.approx(found)


def test_three_classes_are_the_mean_of_one_against_the_rest():
    labels, probabilities = sample(3)
    predicted = probabilities.argmax(axis=1)
    found = metrics.scores(labels, probabilities)
    average = {"average": "macro"}
    assert found["accuracy"] == pytest.approx(sk.accuracy_score(labels, predicted))
    assert found["loss"] == pytest.approx(sk.log_loss(labels, probabilities))
    assert found["precision"] == pytest.approx(sk.precision_score(labels, predicted, **average))
    assert found["recall"] == pytest.approx(sk.recall_score(labels, predicted, **average))
    assert found["f1"] == pytest.approx(sk.f1_score(labels, predicted, **average))
    assert found["roc_auc"] == pytest.approx(
        sk.roc_auc_score(labels, probabilities, multi_class="ovr", average="macro")
    )
    assert found["average_precision"] == pytest.approx(
        sk.average_precision_score(np.eye(3)[labels], probabilities, average="macro")
    )


def test_three_classes_by_hand():
    labels = np.array([0, 1, 2, 2])
    probabilities = np.array([[0.8, 0.1, 0.1], [0.5, 0.3, 0.2], [0.1, 0.2, 0.7], [0.2, 0.2, 0.6]])
    found = metrics.scores(labels, probabilities)
    assert found["accuracy"] == 3 / 4
    assert found["precision"] == pytest.approx((1 / 2 + 0 + 1) / 3)  # never predicted counts 0
    assert found["recall"] == pytest.approx((1 + 0 + 1) / 3)
    assert found["f1"] == pytest.approx((2 / 3 + 0 + 1) / 3)
    assert found["roc_auc"] == pytest.approx(1)


@pytest.mark.parametrize("classes", [2, 3])
def test_certain_mistake_has_a_finite_loss(classes: int):
    labels = np.arange(classes)
    found = metrics.scores(labels, np.eye(classes)[(labels + 1) % classes])
    assert 30 < found["loss"] < 1000
    assert found["accuracy"] == 0


@pytest.mark.parametrize("classes", [2, 3])
def test_single_precision_raises_no_warning(classes: int):
    labels, probabilities = sample(classes)
    rounded = probabilities.astype(np.float32).astype(np.float64)  # as stage evaluate has them
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = metrics.scores(labels, rounded)
    assert found == pytest.approx(metrics.scores(labels, probabilities), rel=1e-5)


def confident(confidence: float, right: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    labels = np.array([1] * right + [0] * (count - right))
    return labels, np.tile([1 - confidence, confidence], (count, 1))


@pytest.mark.parametrize(
    ("confidence", "right", "error"),
    [(0.8, 8, 0), (1.0, 10, 0), (0.6, 6, 0), (0.9, 5, 0.4), (0.6, 10, 0.4), (1.0, 0, 1)],
)
def test_calibration_error(confidence: float, right: int, error: float):
    found = metrics.calibration_error(*confident(confidence, right, 10))
    assert found == pytest.approx(error)


def test_calibration_error_weighs_bins_and_does_not_offset_them():
    first, second = confident(0.95, 8, 10), confident(0.9, 30, 30)
    labels, probabilities = (np.concatenate(pair) for pair in zip(first, second, strict=True))
    expected = 10 / 40 * 0.15 + 30 / 40 * 0.1
    assert metrics.calibration_error(labels, probabilities) == pytest.approx(expected)


def test_resamples_are_stratified_seeded_and_drawn_with_replacement():
    labels = np.array([0] * 30 + [1] * 10 + [2] * 5)
    rows = metrics.resamples(labels, seed=1)
    assert rows.shape == (1000, 45)
    for row in rows[:20]:
        assert np.bincount(labels[row]).tolist() == [30, 10, 5]
    assert all(len(set(row)) < 45 for row in rows[:20])
    assert len({tuple(row) for row in rows}) == 1000
    assert np.bincount(rows.ravel()).min() > 800  # each is drawn about 1,000 times
    np.testing.assert_array_equal(rows, metrics.resamples(labels, seed=1))
    assert not np.array_equal(rows, metrics.resamples(labels, seed=2))


@pytest.mark.parametrize("classes", [2, 3])
def test_intervals_hold_the_value_and_are_deterministic(classes: int):
    labels, probabilities = sample(classes)
    rows = metrics.resamples(labels, seed=1)[:80]
    found = metrics.intervals(labels, probabilities, rows)
    values = metrics.scores(labels, probabilities)
    assert set(found) == set(values)
    for name, (low, high) in found.items():
        assert low < high, name
        if name != "calibration_error":  # resampling makes it larger: its interval lies higher
            assert low <= values[name] <= high, name
    assert found == metrics.intervals(labels, probabilities, rows)


def coarse(classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Many equal probabilities, some of them 0 or 1; with three classes not all sum to one."""
    labels, probabilities = sample(classes)
    return labels, np.round(4 * probabilities) / 4


def seldom_predicted(classes: int) -> tuple[np.ndarray, np.ndarray]:
    """The last class is predicted once, so that a resample may lack it."""
    labels, probabilities = sample(classes)
    probabilities[:, -1] = np.arange(len(labels)) == classes - 1
    return labels, probabilities


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("make", [sample, coarse, seldom_predicted])
def test_intervals_are_of_the_scores_of_each_resample(
    make: Callable, classes: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(metrics, "BLOCK", 16)
    labels, probabilities = make(classes)
    rows = metrics.resamples(labels, seed=1)[:40]
    drawn = [metrics.scores(labels[row], probabilities[row]) for row in rows]
    for row, expected in zip(rows, drawn, strict=True):
        found = metrics.intervals(labels, probabilities, row[None])
        assert list(found) == list(expected)
        for name, value in expected.items():
            assert found[name] == pytest.approx((value, value), rel=0, abs=1e-9), name
    for name, found in metrics.intervals(labels, probabilities, rows).items():
        expected = np.percentile([each[name] for each in drawn], [2.5, 97.5])
        assert found == pytest.approx(tuple(expected), rel=0, abs=1e-9), name


def test_interval_of_accuracy_is_about_as_wide_as_the_binomials():
    labels = np.array([0, 1] * 200)
    predicted = np.where(np.arange(400) % 5 < 1, 1 - labels, labels)  # 80 % right
    rows = metrics.resamples(labels, seed=1)
    low, high = metrics.interval((predicted == labels)[rows].mean(axis=1).tolist())
    deviation = math.sqrt(0.8 * 0.2 / 400)
    assert high - low == pytest.approx(2 * 1.96 * deviation, rel=0.1)
    assert (low + high) / 2 == pytest.approx(0.8, abs=0.005)


def test_interval_is_the_middle_95_percent():
    assert metrics.interval(list(range(1001))) == (25.0, 975.0)


@pytest.mark.parametrize(
    ("mended", "broken", "p_value"),
    [
        (8, 2, 2 * (1 + 10 + 45) / 2**10),
        (2, 8, 2 * (1 + 10 + 45) / 2**10),
        (6, 0, 2 / 2**6),
        (3, 3, 1.0),
        (0, 1, 1.0),
        (0, 0, 1.0),
    ],
)
def test_compare_is_mcnemars_exact_test(mended: int, broken: int, p_value: float):
    unchanged = 20
    labels = np.array([0, 1] * ((unchanged + mended + broken + 1) // 2))
    labels = labels[: unchanged + mended + broken]
    right_first = np.array([True] * unchanged + [False] * mended + [True] * broken)
    right_second = np.array([True] * unchanged + [True] * mended + [False] * broken)
    first, second = (
        np.eye(2)[np.where(right, labels, 1 - labels)] for right in (right_first, right_second)
    )
    found = metrics.compare(labels, first, second, metrics.resamples(labels, 1))
    assert (found.mended, found.broken) == (mended, broken)
    assert found.p_value == pytest.approx(p_value)
    assert found.difference == pytest.approx((mended - broken) / len(labels))
    if mended == broken == 0:
        assert found.low == found.high == 0
    else:
        assert found.low < found.difference < found.high


def test_confusion_has_actual_down_and_every_class():
    found = metrics.confusion(np.array([0, 0, 1]), np.array([0, 1, 1]), 3)
    assert found.tolist() == [[1, 1, 0], [0, 1, 0], [0, 0, 0]]


def test_roc_curve_by_hand():
    fpr, tpr, thresholds = metrics.roc_curve(LABELS == 1, TWO[:, 1])
    assert fpr.tolist() == [0, 0, 0.5, 0.5, 1]
    assert tpr.tolist() == [0, 0.5, 0.5, 1, 1]
    assert thresholds.tolist() == [1, 0.8, 0.4, 0.35, 0.1]  # 1, where scikit-learn says infinity


def test_precision_recall_curve_by_hand():
    recall, precision, thresholds = metrics.precision_recall_curve(LABELS == 1, TWO[:, 1])
    assert recall.tolist() == [1, 1, 0.5, 0.5, 0]
    assert precision.tolist() == pytest.approx([1 / 2, 2 / 3, 1 / 2, 1, 1])
    assert thresholds.tolist() == [0.1, 0.35, 0.4, 0.8, 1]
