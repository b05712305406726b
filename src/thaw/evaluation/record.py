"""What stage `evaluate` found out, as `metrics/test.json` holds it.

It imports neither pandas nor scikit-learn, which are most of a second each.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Self

LEVEL = 0.05  # of the paired test
MADE = (  # how an interval is made, to stand beside it
    "95 % intervals, Wilson's for shares and alike for the others (docs/build/statistics.md)"
)
Intervals = Mapping[str, Sequence[float]]  # low and high of each score
Groups = Mapping[str, Mapping[str, float]]  # pictures, accuracy and its low and high of each
COMPARED = {"head": "head only", "fine_tuned": "fine-tuned"}  # the models, and their titles
TITLES = {
    "accuracy": "accuracy",
    "loss": "cross-entropy",
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "roc_auc": "ROC AUC",
    "average_precision": "average precision",
    "calibration_error": "calibration error",
}
LOWER_IS_BETTER = {"loss", "calibration_error"}
# Of one class against the rest, or the mean over the classes.
BY_CLASS = {"precision", "recall", "f1", "roc_auc", "average_precision"}
DECISIVE = ("accuracy", "loss", "f1", "roc_auc", "calibration_error")  # what DVC calls a metric


def compared(thawed: bool) -> Mapping[str, str]:
    """The models to show, and their titles: one where nothing was fine-tuned."""
    return COMPARED if thawed else {"head": COMPARED["head"]}


def whose(name: str, positive: str | None) -> str:
    """Whose a score is, to stand beside its name; empty where it is of all pictures."""
    if name not in BY_CLASS:
        return ""
    return "mean over the classes" if positive is None else f"of {positive}"


class Verdict(StrEnum):
    """What a difference is worth, by a margin."""

    BETTER = "better"
    NO_WORSE = "no worse"
    WORSE = "worse"
    OPEN = "can't be told"


@dataclass(frozen=True)
class Difference:
    """How a score of the second of two models differs from the first's, on the same pictures."""

    value: float  # second less first
    low: float  # of the 95 % interval, which holds 0 where the test calls it chance
    high: float
    p_value: float

    @property
    def chance(self) -> bool:
        """Whether the test leaves it open that nothing but chance is at work."""
        return self.p_value >= LEVEL

    def verdict(self, name: str, margin: float) -> Verdict:
        """Better, or no worse by the margin, or worse, as far as the interval tells.

        Args:
            name: of the score.
            margin: how much worse is still no worse, in the score's unit; 0 or more.
        """
        low, high = self.low, self.high
        if name in LOWER_IS_BETTER:
            low, high = -high, -low
        if low >= 0 and not self.chance:
            return Verdict.BETTER
        if low > -margin:
            return Verdict.NO_WORSE
        return Verdict.WORSE if high <= 0 and not self.chance else Verdict.OPEN


@dataclass(frozen=True)
class Comparison:
    """A paired comparison of two classifiers on the same pictures."""

    mended: int  # wrong by the first, right by the second
    broken: int  # right by the first, wrong by the second
    p_value: float
    difference: float  # of accuracy, second less first
    low: float
    high: float

    @property
    def chance(self) -> bool:
        """Whether the test leaves it open that nothing but chance is at work."""
        return self.p_value >= LEVEL


# A confusion matrix where it isn't empty: numbers of actual and predicted class, and of pictures.
Cells = Sequence[tuple[int, int, int]]


@dataclass(frozen=True)
class Evaluation:
    """What the test pictures say of both models; each mapping is by `COMPARED`."""

    pictures: int
    test_set: str  # SHA-256 of the test pictures: names, labels, contents
    positive: str | None  # the class that `BY_CLASS` are of; None: the mean over the classes
    thawed: bool  # whether an epoch of fine-tuning was taken; if not, both models are the head's
    tried: int  # epochs of fine-tuning
    scores: Mapping[str, Mapping[str, float]]  # of `metrics.scores`
    intervals: Mapping[str, Intervals]  # 95 %
    fine_tuning: Comparison
    groups: Mapping[str, Mapping[str, Groups]]  # by label and by subgroup
    confusion: Mapping[str, Cells]
    # Accuracy of the surest 80 %, the share that is in doubt, accuracy of the rest; new in 2026.
    confidence: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    @property
    def compared(self) -> Mapping[str, str]:
        """As the function `compared` says."""
        return compared(self.thawed)

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """As read back from JSON.

        Raises:
            TypeError: when it isn't one.
            KeyError: likewise.
        """
        found = Comparison(**values["fine_tuning"])
        return cls(**{**values, "fine_tuning": found})


@dataclass(frozen=True)
class Spot:
    """A group of pictures on which the model is right less often."""

    subgroup: str | None
    about: str
    pictures: int
    right: int
    low: float  # of the 95 % interval of the share that is right
    high: float
    others: float  # that share of the other pictures, counted with this group's shares of classes
    p_value: float  # Holm's, of all groups looked at

    @property
    def accuracy(self) -> float:
        return self.right / self.pictures


@dataclass(frozen=True)
class WeakSpots:
    """What a search for them found, as `metrics/weak_spots.json` holds it."""

    pictures: int
    groups: int  # looked at
    found: Sequence[Spot]

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """As read back from JSON.

        Raises:
            TypeError: when it isn't one.
            KeyError: likewise.
        """
        return cls(**{**values, "found": [Spot(**each) for each in values["found"]]})
