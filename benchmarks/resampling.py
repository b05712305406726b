"""Bootstrap intervals, to compare ours with."""

from collections.abc import Mapping

import numpy as np

import library  # noqa: F401
from thaw.evaluation import influence
from thaw.evaluation.influence import Array, Labels

RESAMPLES = 400
BINS = 15
TINY = 1e-12


def within_classes(labels: Labels, generator: np.random.Generator) -> Array:
    """(RESAMPLES, N) how often each resample holds each picture, drawn within its class."""
    found = np.zeros((RESAMPLES, len(labels)))
    for each in np.unique(labels):
        rows = np.flatnonzero(labels == each)
        found[:, rows] = generator.multinomial(
            len(rows), np.full(len(rows), 1 / len(rows)), RESAMPLES
        )
    return found


def bayesian(labels: Labels, generator: np.random.Generator) -> Array:
    """(RESAMPLES, N) weights of pictures, Rubin 1981: the shares of the classes vary, too."""
    return len(labels) * generator.dirichlet(np.ones(len(labels)), RESAMPLES)


def percentiles(
    labels: Labels, probabilities: Array, counts: Array
) -> Mapping[str, tuple[float, float]]:
    """The middle 95 % of each score over resamples."""
    found = resampled_scores(labels, probabilities, counts)
    return {name: tuple(np.percentile(each, [2.5, 97.5]).tolist()) for name, each in found.items()}


def resampled_scores(
    labels: Labels,
    probabilities: Array,
    counts: Array,
) -> dict[str, Array]:
    """`scores` of B resamples at once, (B,) each; calling scikit-learn for each would be too slow.

    All follow from a matrix (B, N): how often each resample holds each picture.

    Args:
        labels: (N,) class numbers.
        probabilities: (N, classes).
        counts: (B, N) the weight of each picture.
    """
    pictures, classes = probabilities.shape
    probabilities = influence.normalize(probabilities)
    totals = counts.sum(axis=1)
    predicted = probabilities.argmax(axis=1)
    tiny = np.finfo(np.float64).eps  # scikit-learn bounds a certain mistake's loss by it
    given = np.clip(probabilities[np.arange(pictures), labels], tiny, 1 - tiny)
    gaps = counts @ calibration_gaps(labels, probabilities)
    columns = influence.judged(classes, None)
    truth, guess = (np.eye(classes)[each][:, columns] for each in (labels, predicted))
    hits, actual, guessed = counts @ (truth * guess), counts @ truth, counts @ guess
    pairs = zip(truth.T, probabilities[:, columns].T, strict=True)
    areas = [ranking_areas(*pair, counts) for pair in pairs]
    roc_auc, average_precision = np.mean(areas, axis=0)
    return {
        "accuracy": counts @ (predicted == labels) / totals,
        "loss": counts @ -np.log(given) / totals,
        "precision": np.mean(hits / np.maximum(guessed, TINY), axis=1),
        "recall": np.mean(hits / np.maximum(actual, TINY), axis=1),
        "f1": np.mean(2 * hits / np.maximum(actual + guessed, TINY), axis=1),
        "roc_auc": roc_auc,
        "average_precision": average_precision,
        "calibration_error": np.abs(gaps).sum(axis=1) / totals,
    }


def calibration_gaps(labels: Labels, probabilities: Array) -> Array:
    """(N, 15) each picture's accuracy (0 or 1) less its confidence, in the column of its bin."""
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    gaps: Array = np.eye(BINS)[bins] * (right - confidence)[:, None]
    return gaps


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
    precision = hit / np.maximum(hit + alarmed, TINY)
    return roc_auc, np.sum(hits * precision, axis=1) / np.maximum(positives, TINY)
