import math
import warnings

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
            "calibration_error": 0,  # four pictures are as far off by chance
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


def test_cells_of_a_confusion_matrix_are_those_that_hold_pictures():
    assert metrics.cells(np.array([[5, 0, 2], [0, 0, 0], [1, 0, 0]])) == [
        (0, 0, 5),
        (0, 2, 2),
        (2, 0, 1),
    ]


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
