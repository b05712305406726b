"""How good predictions are, and how sure one can be of it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.stats
from numpy.typing import NDArray
from sklearn import metrics as sk

Array = NDArray[np.float64]
Labels = NDArray[np.int64]
RESAMPLES = 1000
CALIBRATION_BINS = 15


def scores(labels: Labels, probabilities: Array) -> dict[str, float]:
    """Metrics of class probabilities.

    With two classes precision, recall, F1 and average precision are those of the second class;
    with more, the mean over classes. ROC AUC is one class against the rest.

    Args:
        labels: (N,) class numbers.
        probabilities: (N, classes).
    """
    classes = probabilities.shape[1]
    # Single precision sums to one only nearly, which scikit-learn warns of.
    probabilities = probabilities / probabilities.sum(axis=1, keepdims=True, dtype=np.float64)
    predicted = probabilities.argmax(axis=1)
    average = "binary" if classes == 2 else "macro"
    every = list(range(classes))
    chosen = None if classes == 2 else every
    precision, recall, f1, _ = sk.precision_recall_fscore_support(
        labels, predicted, labels=chosen, average=average, zero_division=0.0
    )
    truth = np.eye(classes)[labels]
    columns = [1] if classes == 2 else every
    areas = [sk.roc_auc_score(truth[:, column], probabilities[:, column]) for column in columns]
    precisions = [
        sk.average_precision_score(truth[:, column], probabilities[:, column]) for column in columns
    ]
    return {
        "accuracy": float(np.mean(predicted == labels)),
        "loss": float(sk.log_loss(labels, probabilities, labels=every)),
        "precision": float(precision),
        "recall": float(recall),
        "f1": float(f1),
        "roc_auc": float(np.mean(areas)),
        "average_precision": float(np.mean(precisions)),
        "calibration_error": calibration_error(labels, probabilities),
    }


def calibration_error(labels: Labels, probabilities: Array) -> float:
    """Expected calibration error of the predicted class, 15 equal bins of confidence.

    The mean, weighted by pictures, of |accuracy - confidence| in each bin (Guo et al. 2017, On
    Calibration of Modern Neural Networks).
    """
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    bins = np.minimum((confidence * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    gaps = np.bincount(bins, weights=right - confidence, minlength=CALIBRATION_BINS)
    return float(np.abs(gaps).sum() / len(labels))


def resamples(labels: Labels, seed: int) -> NDArray[np.int64]:
    """(RESAMPLES, N) rows drawn with replacement within each class, for bootstrap intervals."""
    generator = np.random.default_rng(seed)
    columns = []
    for each in np.unique(labels):
        rows = np.flatnonzero(labels == each)
        columns.append(rows[generator.integers(len(rows), size=(RESAMPLES, len(rows)))])
    return np.concatenate(columns, axis=1)


def intervals(
    labels: Labels, probabilities: Array, rows: NDArray[np.int64]
) -> dict[str, tuple[float, float]]:
    """95 % bootstrap percentile interval of each of `scores`."""
    drawn = [scores(labels[row], probabilities[row]) for row in rows]
    return {name: interval([each[name] for each in drawn]) for name in drawn[0]}


def interval(values: Sequence[float]) -> tuple[float, float]:
    """The middle 95 % of values."""
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)


@dataclass(frozen=True)
class Comparison:
    """A paired comparison of two classifiers on the same pictures."""

    mended: int  # wrong by the first, right by the second
    broken: int  # right by the first, wrong by the second
    p_value: float
    difference: float  # of accuracy, second less first
    low: float
    high: float


def compare(labels: Labels, first: Array, second: Array, rows: NDArray[np.int64]) -> Comparison:
    """McNemar's exact test, two-sided, and a paired bootstrap of the difference in accuracy.

    Under the null hypothesis a picture that one of them alone gets right is as likely to be
    either's (McNemar 1947).
    """
    right_first = first.argmax(axis=1) == labels
    right_second = second.argmax(axis=1) == labels
    mended = int(np.sum(~right_first & right_second))
    broken = int(np.sum(right_first & ~right_second))
    changed = mended + broken
    p_value = scipy.stats.binomtest(mended, changed).pvalue if changed else 1.0
    difference = right_second.astype(float) - right_first
    low, high = interval(difference[rows].mean(axis=1).tolist())
    return Comparison(mended, broken, float(p_value), float(difference.mean()), low, high)


def confusion(labels: Labels, predicted: Labels, classes: int) -> NDArray[np.int64]:
    """(classes, classes) counts: actual class down, predicted across."""
    table: NDArray[np.int64] = sk.confusion_matrix(labels, predicted, labels=range(classes))
    return table


def roc_curve(truth: NDArray[np.bool_], scores: Array) -> tuple[Array, Array, Array]:
    """False positive rate, true positive rate and threshold, each (points,)."""
    fpr, tpr, thresholds = sk.roc_curve(truth, scores)
    return fpr, tpr, np.minimum(thresholds, 1.0)


def precision_recall_curve(truth: NDArray[np.bool_], scores: Array) -> tuple[Array, Array, Array]:
    """Recall, precision and threshold, each (points,)."""
    precision, recall, thresholds = sk.precision_recall_curve(truth, scores)
    return recall, precision, np.append(thresholds, 1.0)
