"""The scores of predictions, and how far each picture moves each of them."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from thaw.evaluation import calibration, deciding
from thaw.evaluation.calibration import Calibration

Array = NDArray[np.float64]
Labels = NDArray[np.int64]
NONE = 1e-9  # pictures: the interval of their share is all from 0 to 1


@dataclass(frozen=True)
class Judgement:
    """Scores, and what their intervals follow from; each mapping is by `record.TITLES`.

    A score's influence of a picture is its derivative by the picture's weight: the score of other
    pictures deviates by about the mean of their influences (Hampel 1974). So its variance is
    sum(influence^2) / N^2, whatever the score, with the variance of the classes' shares in it.
    """

    scores: Mapping[str, float]
    influences: Mapping[str, Array]  # (N,) each, whose mean is 0
    weights: Mapping[str, float]  # how many pictures a share rests on, before any error is seen
    middles: Mapping[str, float]  # of means over several classes: where the interval's middle is
    calibration: Calibration
    several: bool  # whether `record.BY_CLASS` are means over several classes
    guessed: float  # the cross-entropy of a guess


def judge(
    labels: Labels,
    probabilities: Array,
    positive: int | None = None,
    decided: Labels | None = None,
) -> Judgement:
    """Judge class probabilities, as `metrics.scores` says.

    Args:
        labels: (N,) class numbers.
        probabilities: (N, classes).
        positive: the number of the class that is held against the rest.
        decided: (N,) class numbers that are said; None for the most probable ones.
    """
    pictures, classes = probabilities.shape
    probabilities = normalize(probabilities)
    predicted = probabilities.argmax(axis=1) if decided is None else decided
    right = predicted == labels
    columns = judged(classes, positive)
    share = np.zeros(classes)  # of each class in a mean over the classes that are judged
    share[columns] = 1 / len(columns)
    actual, guessed = (np.bincount(each, minlength=classes) for each in (labels, predicted))
    hits = np.bincount(labels[right], minlength=classes)

    tiny = np.finfo(np.float64).eps  # scikit-learn bounds a certain mistake's loss by it
    given = probabilities[np.arange(pictures), labels]
    losses = -np.log(np.clip(given, tiny, 1 - tiny))

    # Counts are whole numbers, so a denominator of at least 1 only turns 0 / 0 into 0.
    some_actual, some_guessed = np.maximum(actual, 1), np.maximum(guessed, 1)
    both = np.maximum(actual + guessed, 1)
    recall, precision, f1 = hits / some_actual, hits / some_guessed, 2 * hits / both

    scores = {
        "accuracy": right.mean(),
        "loss": losses.mean(),
        "precision": share @ precision,
        "recall": share @ recall,
        "f1": share @ f1,
    }
    influences = {
        "accuracy": right - scores["accuracy"],
        "loss": losses - scores["loss"],
        "precision": pictures * (share / some_guessed)[predicted] * (right - precision[predicted]),
        "recall": pictures * (share / some_actual)[labels] * (right - recall[labels]),
        "f1": pictures
        * ((share / both)[labels] * (2 * right - f1[labels]) - (share * f1 / both)[predicted]),
    }
    areas = Areas(labels, probabilities, columns)
    scores |= {"roc_auc": areas.roc_auc, "average_precision": areas.average_precision}
    influences |= areas.influences

    confidence = deciding.confidence(probabilities, predicted)
    found = calibration.binned(confidence, right)
    apart = found.signs(confidence) * (right - confidence)
    scores["calibration_error"] = found.error
    influences["calibration_error"] = apart - apart.mean()

    least = NONE if len(columns) == 1 else 1
    weights = {
        "accuracy": float(pictures),
        "precision": together(np.maximum(guessed, least)[columns]),
        "recall": together(np.maximum(actual, least)[columns]),
        # Of the pictures that are or are taken for a class, a part is both: F1 = 2 J / (1 + J),
        # J a share of them. So the variance of F1 is F1 (1 - F1) (2 - F1)^2 / 2 of their number.
        "f1": together((2 * np.maximum(actual + guessed - hits, least) / (2 - f1) ** 2)[columns]),
        "roc_auc": together(ranked(actual[columns], pictures, float(scores["roc_auc"]))),
        "average_precision": together(np.maximum(actual, least)[columns]),
    }
    middles = {} if len(columns) == 1 else smoothed(actual, guessed, hits, columns)
    shares = {name: min(float(scores[name]), 1.0) for name in weights}  # a mean may round up
    return Judgement(
        {name: shares.get(name, float(each)) for name, each in scores.items()},
        influences,
        weights,
        shares | middles,
        found,
        len(columns) > 1,
        float(np.log(classes)),
    )


def smoothed(actual: Labels, guessed: Labels, hits: Labels, columns: list[int]) -> dict[str, float]:
    """Means of precision and F1 with a picture more in each class, right as often as all are.

    A class of a few pictures that is never predicted has a precision and F1 of 0, which says little
    of other pictures.
    """
    rate = hits.sum() / actual.sum()
    precision = (hits + rate) / (guessed + 1)
    f1 = 2 * (hits + rate) / (actual + guessed + 2)
    return {"precision": float(precision[columns].mean()), "f1": float(f1[columns].mean())}


def judged(classes: int, positive: int | None) -> list[int]:
    """The classes that are held against the rest: the positive one, the second of two, or all."""
    if positive is not None:
        return [positive]
    return [1] if classes == 2 else list(range(classes))


def normalize(probabilities: Array) -> Array:
    """Make rows sum to one: in single precision they nearly do."""
    shares: Array = probabilities / probabilities.sum(axis=1, keepdims=True, dtype=np.float64)
    return shares


def together(weights: Array) -> float:
    """How many pictures the mean of independent shares rests on, of so many each."""
    return float(len(weights) ** 2 / np.sum(1 / weights))


def ranked(positives: Labels, pictures: int, area: float) -> Array:
    """How many pictures ROC AUC rests on by its variance in Newcombe 2006, method 5."""
    negatives = pictures - positives
    half = pictures / 2 - 1
    spread = 1 + half * (1 - area) / (2 - area) + half * area / (1 + area)
    found: Array = np.maximum(positives * negatives, 1) / spread
    return found


class Areas:
    """ROC AUC and average precision, means over classes, and their influences.

    As in scikit-learn, pictures of equal score pass the threshold together, the ROC curve is
    straight between thresholds, and each step of recall has the precision at its end.
    """

    def __init__(self, labels: Labels, probabilities: Array, columns: list[int]) -> None:
        pictures = len(labels)
        actual = np.bincount(labels, minlength=probabilities.shape[1])
        columns = [each for each in columns if 0 < actual[each] < pictures] or columns
        found = np.zeros(2)
        influences = np.zeros((2, pictures))
        for column in columns:
            areas, parts = ranking(labels == column, probabilities[:, column])
            found += areas
            influences += parts
        self.roc_auc, self.average_precision = found / len(columns)
        names = ("roc_auc", "average_precision")
        self.influences = dict(zip(names, influences / len(columns), strict=True))


def ranking(truth: NDArray[np.bool_], scores: Array) -> tuple[Array, Array]:
    """ROC AUC and average precision of one class against the rest, (2,), and influences (2, N)."""
    values, place = np.unique(-scores, return_inverse=True)
    hits = np.bincount(place, truth, len(values))
    alarms = np.bincount(place, ~truth, len(values))
    hit, alarmed = np.cumsum(hits), np.cumsum(alarms)
    positives, negatives = max(hit[-1], 1), max(alarmed[-1], 1)
    above = 1 - (alarmed - alarms / 2) / negatives  # of the rest, the share below, ties as half
    below = (hit - hits / 2) / positives  # of the class, the share above
    roc_auc = hits @ above / positives
    passed = hit + alarmed
    precision = hit / passed
    average = hits @ precision / positives
    # A picture changes the precision at its own threshold and at all after it.
    rise = np.cumsum((hits * alarmed / passed**2)[::-1])[::-1]
    fall = np.cumsum((hits * hit / passed**2)[::-1])[::-1]
    pictures = len(truth)
    of_class = np.stack([above - roc_auc, precision - average + rise])[:, place] / positives
    of_rest = np.stack([(below - roc_auc) / negatives, -fall / positives])[:, place]
    return np.array([roc_auc, average]), pictures * np.where(truth, of_class, of_rest)
