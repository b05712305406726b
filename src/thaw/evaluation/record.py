"""What stage `evaluate` found out, as `metrics/test.json` holds it.

It imports neither pandas nor scikit-learn, which are most of a second each.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

LEVEL = 0.05  # of the paired test
Intervals = Mapping[str, Sequence[float]]  # low and high of each score
Groups = Mapping[str, Mapping[str, float]]  # pictures and accuracy of each
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
DECISIVE = ("accuracy", "loss", "f1", "roc_auc", "calibration_error")  # what DVC calls a metric


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


@dataclass(frozen=True)
class Evaluation:
    """What the test pictures say of both models; each mapping is by `COMPARED`."""

    pictures: int
    scores: Mapping[str, Mapping[str, float]]  # of `metrics.scores`
    intervals: Mapping[str, Intervals]  # 95 %
    fine_tuning: Comparison
    groups: Mapping[str, Mapping[str, Groups]]  # by label and by subgroup
    confusion: Mapping[str, Sequence[Sequence[int]]]  # rows of actual classes

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """As read back from JSON.

        Raises:
            TypeError: when it isn't one.
            KeyError: likewise.
        """
        found = Comparison(**values["fine_tuning"])
        return cls(**{**values, "fine_tuning": found})
