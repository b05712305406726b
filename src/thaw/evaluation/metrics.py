"""How good predictions are, and how sure one can be of it."""

from collections.abc import Sequence

import numpy as np
import scipy.stats
from numpy.typing import NDArray
from sklearn import metrics as sk

from thaw.evaluation.record import Comparison

Array = NDArray[np.float64]
Labels = NDArray[np.int64]
RESAMPLES = 1000
BLOCK = 100  # resamples scored at once: one array of 10,000 pictures takes 8 MB
CALIBRATION_BINS = 15


def scores(labels: Labels, probabilities: Array, positive: int | None = None) -> dict[str, float]:
    """Metrics of class probabilities.

    Precision, recall, F1, ROC AUC and average precision are those of one class against the rest:
    the positive one, without one the second of two; with more classes, the mean over them.

    Args:
        labels: (N,) class numbers.
        probabilities: (N, classes).
        positive: the number of that class.
    """
    classes = probabilities.shape[1]
    probabilities = normalize(probabilities)
    predicted = probabilities.argmax(axis=1)
    columns = judged(classes, positive)
    precision, recall, f1, _ = sk.precision_recall_fscore_support(
        labels, predicted, labels=columns, average="macro", zero_division=0.0
    )
    truth = np.eye(classes)[labels]
    areas = [sk.roc_auc_score(truth[:, column], probabilities[:, column]) for column in columns]
    precisions = [
        sk.average_precision_score(truth[:, column], probabilities[:, column]) for column in columns
    ]
    return {
        "accuracy": float(np.mean(predicted == labels)),
        "loss": float(sk.log_loss(labels, probabilities, labels=range(classes))),
        "precision": float(precision),
        "recall": float(recall),
        "f1": float(f1),
        "roc_auc": float(np.mean(areas)),
        "average_precision": float(np.mean(precisions)),
        "calibration_error": calibration_error(labels, probabilities),
    }


def judged(classes: int, positive: int | None) -> list[int]:
    """The classes that are held against the rest: the positive one, the second of two, or all."""
    if positive is not None:
        return [positive]
    return [1] if classes == 2 else list(range(classes))


def normalize(probabilities: Array) -> Array:
    """Make rows sum to one: in single precision they nearly do, and scikit-learn warns of that."""
    shares: Array = probabilities / probabilities.sum(axis=1, keepdims=True, dtype=np.float64)
    return shares


def calibration_error(labels: Labels, probabilities: Array) -> float:
    """Expected calibration error of the predicted class, 15 equal bins of confidence.

    The mean, weighted by pictures, of |accuracy - confidence| in each bin (Guo et al. 2017, On
    Calibration of Modern Neural Networks).
    """
    gaps = calibration_gaps(labels, probabilities).sum(axis=0)
    return float(np.abs(gaps).sum() / len(labels))


def calibration_gaps(labels: Labels, probabilities: Array) -> Array:
    """(N, 15) each picture's accuracy (0 or 1) less its confidence, in the column of its bin."""
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    bins = np.minimum((confidence * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    gaps: Array = np.eye(CALIBRATION_BINS)[bins] * (right - confidence)[:, None]
    return gaps


def resamples(labels: Labels, seed: int) -> NDArray[np.int64]:
    """(RESAMPLES, N) rows drawn with replacement within each class, for bootstrap intervals."""
    generator = np.random.default_rng(seed)
    columns = []
    for each in np.unique(labels):
        rows = np.flatnonzero(labels == each)
        columns.append(rows[generator.integers(len(rows), size=(RESAMPLES, len(rows)))])
    return np.concatenate(columns, axis=1)


def intervals(
    labels: Labels,
    probabilities: Array,
    rows: NDArray[np.int64],
    positive: int | None = None,
) -> dict[str, tuple[float, float]]:
    """95 % bootstrap percentile interval of each of `scores`."""
    blocks = [
        resampled_scores(labels, probabilities, rows[start : start + BLOCK], positive)
        for start in range(0, len(rows), BLOCK)
    ]
    return {
        name: interval(np.concatenate([block[name] for block in blocks]).tolist())
        for name in blocks[0]
    }


def resampled_scores(
    labels: Labels,
    probabilities: Array,
    rows: NDArray[np.int64],
    positive: int | None = None,
) -> dict[str, Array]:
    """`scores` of B resamples at once, (B,) each; calling scikit-learn for each would be too slow.

    All follow from a matrix (B, N): how often each resample holds each picture.

    Args:
        labels: (N,) class numbers.
        probabilities: (N, classes).
        rows: (B, N) of `resamples`.
        positive: as in `scores`.
    """
    pictures, classes = probabilities.shape
    probabilities = normalize(probabilities)
    counts = np.stack([np.bincount(row, minlength=pictures) for row in rows]).astype(np.float64)
    totals = counts.sum(axis=1)
    predicted = probabilities.argmax(axis=1)
    tiny = np.finfo(np.float64).eps  # scikit-learn bounds a certain mistake's loss by it
    given = np.clip(probabilities[np.arange(pictures), labels], tiny, 1 - tiny)
    gaps = counts @ calibration_gaps(labels, probabilities)
    columns = judged(classes, positive)
    truth, guess = (np.eye(classes)[each][:, columns] for each in (labels, predicted))
    hits, actual, guessed = counts @ (truth * guess), counts @ truth, counts @ guess
    pairs = zip(truth.T, probabilities[:, columns].T, strict=True)
    areas = [ranking_areas(*pair, counts) for pair in pairs]
    roc_auc, average_precision = np.mean(areas, axis=0)
    # Counts are whole numbers, so a denominator of at least 1 only turns 0 / 0 into 0.
    return {
        "accuracy": counts @ (predicted == labels) / totals,
        "loss": counts @ -np.log(given) / totals,
        "precision": np.mean(hits / np.maximum(guessed, 1), axis=1),
        "recall": np.mean(hits / np.maximum(actual, 1), axis=1),
        "f1": np.mean(2 * hits / np.maximum(actual + guessed, 1), axis=1),
        "roc_auc": roc_auc,
        "average_precision": average_precision,
        "calibration_error": np.abs(gaps).sum(axis=1) / totals,
    }


def ranking_areas(truth: Array, scores: Array, counts: Array) -> tuple[Array, Array]:
    """ROC AUC and average precision, (B,) each, of each resample.

    As in scikit-learn, pictures of equal score pass the threshold together, the ROC curve is
    straight between thresholds, and each step of recall has the precision at its end.

    Args:
        truth: (N,) 1 for the class, 0 for the rest.
        scores: (N,) of the class.
        counts: (B, N) how often each resample holds each picture.
    """
    order = np.argsort(-scores)
    thresholds = np.flatnonzero(np.diff(scores[order], prepend=np.inf))
    hits = np.add.reduceat((counts * truth)[:, order], thresholds, axis=1)
    alarms = np.add.reduceat((counts * (1 - truth))[:, order], thresholds, axis=1)
    hit, alarmed = np.cumsum(hits, axis=1), np.cumsum(alarms, axis=1)
    positives, negatives = hit[:, -1], alarmed[:, -1]
    roc_auc = np.sum(alarms * (hit - hits / 2), axis=1) / (positives * negatives)
    precision = hit / np.maximum(hit + alarmed, 1)
    return roc_auc, np.sum(hits * precision, axis=1) / np.maximum(positives, 1)


def interval(values: Sequence[float]) -> tuple[float, float]:
    """The middle 95 % of values."""
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)


def compare(labels: Labels, first: Array, second: Array, rows: NDArray[np.int64]) -> Comparison:
    """McNemar's exact test, two-sided, and a paired bootstrap of the difference in accuracy.

    Under the null hypothesis, a picture that only one of them gets right is equally likely to be
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
