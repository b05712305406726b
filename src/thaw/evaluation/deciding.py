"""From probabilities to what a model says: a class, and whether it is in doubt."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Self

import numpy as np
import scipy.optimize
import scipy.special
from numpy.typing import NDArray
from scipy.special import expit, logsumexp, softmax

Array = NDArray[np.float64]
Labels = NDArray[np.int64]
COLDEST, HOTTEST = 0.02, 50.0
CHANCE = float(scipy.special.chdtri(1, 0.05))  # twice the gain in log-likelihood, in 1 of 20 cases


@dataclass(frozen=True)
class Decision:
    """How a model decides; kept in its ONNX file."""

    temperature: float = 1.0  # what logits were divided by
    gains: list[list[float]] | None = None  # of saying a class (across) of a picture of another
    threshold: float | None = None  # of the positive class, where one was set or found
    positive: str | None = None
    reject_below: float = 0.0  # confidence; what is less sure is in doubt
    unlike_above: float | None = None  # of the score of unlikeness

    @classmethod
    def of(cls, facts: Mapping[str, str]) -> Self:
        """As an ONNX file's metadata hold it; of an older file, the most probable class.

        Raises:
            TypeError: when they hold something else.
            ValueError: likewise.
        """
        found = json.loads(facts.get("decision", "{}"))
        if not isinstance(found, dict):
            raise TypeError(f"decision is {found!r}")
        return cls(**found)

    def metadata(self) -> dict[str, str]:
        """For the file."""
        return {"decision": json.dumps(asdict(self), ensure_ascii=False)}

    def decide(self, probabilities: Array) -> Labels:
        """(N, classes) probabilities to (N,) class numbers: the class that it's best to say."""
        if self.gains is None:
            return most_probable(probabilities)
        return most_probable(probabilities @ np.array(self.gains))

    def doubt(self, confidence: float, unlike: float | None) -> str:
        """Why the model doesn't know, of a picture; empty where it does.

        Args:
            confidence: the probability of the class that it decides for.
            unlike: its score of unlikeness; None where there is none.
        """
        if self.unlike_above is not None and unlike is not None and unlike > self.unlike_above:
            return (
                f"unlike the pictures it was trained on ({unlike:.1f}, usual up to "
                f"{self.unlike_above:.1f})"
            )
        if confidence < self.reject_below:
            return f"too unsure, below {self.reject_below:.1%}"
        return ""


def column(positive: str | None, classes: Sequence[str]) -> int:
    """The class that a threshold is of: the positive one, else the second."""
    return 1 if positive is None else classes.index(positive)


def confidence(probabilities: Array, decided: Labels) -> Array:
    """(N,) the probability of the class that is said, of (N, classes) and (N,) class numbers."""
    found: Array = probabilities[np.arange(len(decided)), decided]
    return found


def most_probable(shares: Array) -> Labels:
    """(N, classes) to (N,); of equal ones, the first."""
    found: Labels = shares.argmax(axis=1)
    return found


def probabilities(logits: NDArray[np.floating]) -> Array:
    """(..., 1) logits of the second of two classes, or (..., classes), to (..., classes).

    In float64: in float32 all logits above 17 would have the probability 1, and the same rank.
    """
    wide = logits.astype(np.float64)
    if wide.shape[-1] == 1:
        both: Array = expit(np.concatenate([-wide, wide], axis=-1))  # 1 - expit(37) would be 0
        return both
    return np.asarray(softmax(wide, axis=-1))


def temperature(logits: Array, labels: Labels) -> float:
    """What to divide logits by so that the cross-entropy of the mean over views is least.

    Guo et al. 2017, On Calibration of Modern Neural Networks. The targets are Platt's, (n + 1) /
    (n + 2) for a class of n pictures and the rest shared by the others, so that it is finite. It is
    1 where the likelihood of 1 is lower by no more than chance makes it (Wilks 1938): of few
    pictures, or calibrated ones, another one does more harm. That is asked of the labels as they
    are, since by Platt's targets a calibrated model that is sure would be too sure.

    Args:
        logits: (N, views, 1 or classes) of pictures that weren't trained on.
        labels: (N,) class numbers.
    """
    classes = max(logits.shape[2], 2)
    counts = np.bincount(labels, minlength=classes)
    sure = ((counts + 1) / (counts + 2))[labels, None]
    true = np.eye(classes)[labels]
    targets = np.where(true == 1, sure, (1 - sure) / (classes - 1))
    both = np.concatenate([np.zeros_like(logits), logits], axis=2) if classes == 2 else logits

    def loss(power: float, wanted: Array) -> float:
        scaled = both * np.exp(-power)
        logs = scaled - logsumexp(scaled, axis=2, keepdims=True)
        return float(-np.sum(wanted * (logsumexp(logs, axis=1) - np.log(logs.shape[1]))))

    ends = (float(np.log(COLDEST)), float(np.log(HOTTEST)))
    found = scipy.optimize.minimize_scalar(loss, args=(targets,), bounds=ends, method="bounded")
    better = 2 * (loss(0.0, true) - loss(float(found.x), true))
    return float(np.exp(found.x)) if better > CHANCE else 1.0


def gains_of_threshold(threshold: float, column: int, classes: int) -> list[list[float]]:
    """Gains by which a class is said from that probability on.

    Of two classes, exactly so; of more, where its odds beat the most probable other's likewise.
    """
    found = np.eye(classes)
    found[column, column] = (1 - threshold) / threshold
    return [[float(each) for each in row] for row in found]


def threshold_of(gains: Sequence[Sequence[float]] | None, column: int) -> float:
    """The probability of one of two classes from which on it is said; the inverse of gains."""
    if gains is None:
        return 0.5
    other = 1 - column
    lost = gains[other][other] - gains[other][column]  # by saying it where it's wrong
    won = gains[column][column] - gains[column][other]
    return lost / (lost + won)


def gains_of_costs(
    costs: Mapping[str, Mapping[str, float]], classes: Sequence[str]
) -> list[list[float]]:
    """Gains by which the least cost is expected; mistakes that aren't listed cost 1."""
    found = np.eye(len(classes)) - 1
    for actual, by_class in costs.items():
        for said, cost in by_class.items():
            found[classes.index(actual), classes.index(said)] = -cost
    return [[float(each) for each in row] for row in found]


def find_threshold(rule: str, least: float, truth: NDArray[np.bool_], shares: Array) -> float:
    """The threshold of a class that reaches a recall or a precision.

    Of those that do: for a recall the highest, which calls the fewest others the class; for a
    precision the lowest, which misses the fewest. It lies midway between two pictures.

    Args:
        rule: recall or precision.
        least: what is to be reached.
        truth: (N,) whether each picture is of the class.
        shares: (N,) its probability of the class.

    Raises:
        ValueError: when no threshold reaches it.
    """
    values, hits, counts = _from_the_surest(truth, shares)
    reached = hits / (truth.sum() if rule == "recall" else counts) >= least
    if not reached.any():
        raise ValueError(f"no threshold has a {rule} of {least:g}")
    return _below(values, np.flatnonzero(reached)[0 if rule == "recall" else -1])


def find_rejection(rule: str, share: float, right: NDArray[np.bool_], confidence: Array) -> float:
    """The confidence below which pictures are rejected.

    The least one at which the rest has that accuracy; or the one at which that share is left.

    Args:
        rule: accuracy or coverage.
        share: what is to be reached.
        right: (N,) whether each picture is decided rightly.
        confidence: (N,).

    Raises:
        ValueError: when no confidence reaches it.
    """
    values, accuracy, coverage = selective(right, confidence)
    reached = (accuracy if rule == "accuracy" else coverage) >= share
    if not reached.any():
        raise ValueError(f"no confidence has an {rule} of {share:g}")
    return _below(values, np.flatnonzero(reached)[-1 if rule == "accuracy" else 0])


def selective(right: NDArray[np.bool_], confidence: Array) -> tuple[Array, Array, Array]:
    """The accuracy of what is decided, by how much is (El-Yaniv and Wiener 2010).

    Returns:
        The confidence, from high to low; the accuracy of pictures that have it or more; and their
        share of all, each (points,).
    """
    values, hits, counts = _from_the_surest(right, confidence)
    return values, hits / counts, counts / len(right)


def at_coverage(share: float, right: NDArray[np.bool_], confidence: Array) -> float:
    """The accuracy of that share of the pictures which are the surest, or a few more."""
    _, accuracy, coverage = selective(right, confidence)
    return float(accuracy[int(np.argmax(coverage >= share))])


def _from_the_surest(truth: NDArray[np.bool_], shares: Array) -> tuple[Array, Labels, Labels]:
    """Each share, from high to low, how many have it or more, and how many of those are true."""
    order = np.argsort(-shares, kind="stable")
    last = np.append(np.flatnonzero(np.diff(shares[order])), len(order) - 1)
    return shares[order][last], np.cumsum(truth[order])[last], last + 1


def _below(values: Array, at: int) -> float:
    """Midway between a value and the next lower one."""
    return float((values[at] + (values[at + 1] if at + 1 < len(values) else 0.0)) / 2)
