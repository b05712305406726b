"""How good predictions are."""

import numpy as np
from numpy.typing import NDArray
from sklearn import metrics as sk

from thaw.evaluation import influence
from thaw.evaluation.influence import Array as Array
from thaw.evaluation.influence import Labels as Labels


def scores(
    labels: Labels,
    probabilities: Array,
    positive: int | None = None,
    decided: Labels | None = None,
) -> dict[str, float]:
    """Metrics of class probabilities.

    Precision, recall, F1, ROC AUC and average precision are those of one class against the rest:
    the positive one, without one the second of two; with more classes, the mean over them.

    Args:
        labels: (N,) class numbers.
        probabilities: (N, classes).
        positive: the number of that class.
        decided: (N,) class numbers that are said; None for the most probable ones.
    """
    return dict(influence.judge(labels, probabilities, positive, decided).scores)


def confusion(labels: Labels, predicted: Labels, classes: int) -> NDArray[np.int64]:
    """(classes, classes) counts: actual class down, predicted across."""
    table: NDArray[np.int64] = sk.confusion_matrix(labels, predicted, labels=range(classes))
    return table


def cells(confusion: NDArray[np.int64]) -> list[tuple[int, int, int]]:
    """What isn't empty of a confusion matrix: actual class, predicted class, pictures."""
    actual, predicted = np.nonzero(confusion)
    counts = confusion[actual, predicted]
    return list(zip(actual.tolist(), predicted.tolist(), counts.tolist(), strict=True))


def confused(confusion: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Actual and predicted class of all pairs that are confused, the most frequent first."""
    wrong = confusion.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[: np.count_nonzero(wrong)]
    actual, predicted = np.unravel_index(order, wrong.shape)
    return list(zip(actual.tolist(), predicted.tolist(), strict=True))


def roc_curve(truth: NDArray[np.bool_], scores: Array) -> tuple[Array, Array, Array]:
    """False positive rate, true positive rate and threshold, each (points,)."""
    fpr, tpr, thresholds = sk.roc_curve(truth, scores)
    return fpr, tpr, np.minimum(thresholds, 1.0)


def precision_recall_curve(truth: NDArray[np.bool_], scores: Array) -> tuple[Array, Array, Array]:
    """Recall, precision and threshold, each (points,)."""
    precision, recall, thresholds = sk.precision_recall_curve(truth, scores)
    return recall, precision, np.append(thresholds, 1.0)
