"""How far accuracy falls on corrupted pictures, and whether confidence falls with it."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from thaw.core.errors import ThawError, reason
from thaw.evaluation import differences, intervals
from thaw.evaluation.deciding import Decision, confidence
from thaw.evaluation.influence import Array
from thaw.evaluation.record import LEVEL

Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Strength:
    """The same pictures, corrupted in one way; all shares are from 0 to 1."""

    kind: str
    unit: str  # of the strength
    strength: float
    accuracy: float
    confidence: float  # the mean probability of the class that the model says
    drop: float  # of accuracy, from the pictures as they are
    low: float  # of its 95 % interval
    high: float
    chance: bool  # whether the drop may be chance, told together for all strengths (Holm)

    @property
    def lost(self) -> str:
        """The drop in points, with its interval."""
        return points(self.drop, self.low, self.high)


@dataclass(frozen=True)
class Robustness:
    """What corrupted pictures say of a model."""

    model: str  # MD5 of its file, as dvc.lock has it
    part: str  # validation or test
    pictures: int
    of: int  # the part's pictures
    picture_set: str  # SHA-256 of their names and labels
    views: int  # that a prediction is the mean of
    accuracy: float  # on the pictures as they are
    low: float  # of its 95 % interval
    high: float
    confidence: float
    mean_accuracy: float  # over all strengths
    mean_confidence: float
    mean_drop: float
    mean_low: float
    mean_high: float
    strengths: Sequence[Strength]

    @classmethod
    def of_json(cls, values: Mapping[str, Any]) -> Self:
        """As read back from JSON.

        Raises:
            TypeError: when it isn't one.
            KeyError: likewise.
        """
        strengths = [Strength(**each) for each in values["strengths"]]
        return cls(**{**values, "strengths": strengths})

    def alike(self, other: "Robustness") -> bool:
        """Whether both were measured on the same pictures, corrupted in the same ways."""
        ways = [[(one.kind, one.strength) for one in each.strengths] for each in (self, other)]
        same = (self.picture_set, self.views) == (other.picture_set, other.views)
        return same and ways[0] == ways[1]

    @property
    def how(self) -> str:
        """What a prediction is made of."""
        return "one view each" if self.views == 1 else f"the mean of {self.views} views each"

    @property
    def kinds(self) -> dict[str, list[Strength]]:
        """The strengths of each kind, mild to severe."""
        return {kind: list(some) for kind, some in groupby(self.strengths, lambda each: each.kind)}


def of_model(model: Path, path: Path) -> Robustness | None:
    """What `make robustness` wrote, where it looked at this model; None where it didn't.

    Args:
        model: the ONNX file.
        path: what it wrote.

    Raises:
        ThawError: when it isn't what it writes.
    """
    if not path.is_file():
        return None
    try:
        found = Robustness.of_json(json.loads(path.read_text("utf-8")))
    except (ValueError, TypeError, KeyError) as error:
        raise ThawError(
            f"{path} is not what `make robustness` writes ({reason(error)}); run it again"
        ) from None
    same = found.model == hashlib.md5(model.read_bytes(), usedforsecurity=False).hexdigest()
    return found if same else None


def judge(
    labels: Labels,
    clean: Array,
    corrupted: Mapping[tuple[str, str, float], Array],
    *,
    decision: Decision,
    model: str,
    part: str,
    of: int,
    picture_set: str,
    views: int,
) -> Robustness:
    """Compare predictions of corrupted pictures with those of the pictures as they are.

    Args:
        labels: (N,) class numbers.
        clean: (N, classes) probabilities of the pictures as they are.
        corrupted: the same by kind, unit and strength.
        decision: how the model makes classes of them.
        model: of `Robustness`, as are the others.
        part: likewise.
        of: likewise.
        picture_set: likewise.
        views: likewise.
    """
    said = {key: decision.decide(found) for key, found in corrupted.items()}
    as_is = decision.decide(clean)
    tests = {key: differences.compare(labels, as_is, each) for key, each in said.items()}
    p_values = differences.holm({str(key): each.p_value for key, each in tests.items()})
    strengths = [
        Strength(
            *key,
            float((said[key] == labels).mean()),
            _confidence(found, said[key]),
            -tests[key].difference,
            -tests[key].high,
            -tests[key].low,
            p_values[str(key)] >= LEVEL,
        )
        for key, found in corrupted.items()
    ]
    right = as_is == labels
    hits = np.mean([each == labels for each in said.values()], axis=0)
    lost = right - hits
    drop = float(lost.mean())
    half = intervals.student(len(lost) - 1) * float(lost.std(ddof=1)) / len(lost) ** 0.5
    accuracy = float(right.mean())
    low, high = intervals.wilson(accuracy, len(labels))
    return Robustness(
        model,
        part,
        len(labels),
        of,
        picture_set,
        views,
        accuracy,
        low,
        high,
        _confidence(clean, as_is),
        float(hits.mean()),
        float(np.mean([each.confidence for each in strengths])),
        drop,
        drop - half,
        drop + half,
        strengths,
    )


def _confidence(shares: Array, said: Labels) -> float:
    return float(confidence(shares, said).mean())


def told(found: Robustness) -> tuple[list[Strength], list[str]]:
    """The mildest strength of each kind from which on accuracy falls by more than chance.

    Returns:
        These, and the kinds that have none.
    """
    first, none = [], []
    for kind, some in found.kinds.items():
        sure = [each for each in some if not each.chance and each.drop > 0]
        first += sure[:1]
        none += [] if sure else [kind]
    return first, none


def sentences(found: Robustness) -> str:
    """What a card says of it."""
    first, none = told(found)
    parts = [
        f"On {found.pictures:,} {found.part} pictures, {found.how}, accuracy is "
        f"{found.accuracy:.1%} as they are and {found.mean_accuracy:.1%} on average over "
        f"{len(found.strengths)} corruptions of {len(found.kinds)} kinds, while the model is "
        f"{found.confidence:.0%} and {found.mean_confidence:.0%} sure."
    ]
    if first:
        listed = "; ".join(
            f"{each.kind} {each.strength:g} ({each.unit}): {each.lost}" for each in first
        )
        parts.append(f"More than chance is lost from these strengths on, in points: {listed}.")
    if none:
        parts.append(f"No loss beyond chance by {', '.join(none)}.")
    return " ".join(parts)


def points(drop: float, low: float, high: float) -> str:
    """A drop in points, and its interval."""
    value, down, up = (f"{round(100 * each, 1) + 0.0:.1f}" for each in (drop, low, high))  # no -0.0
    return f"{value} [{down}, {up}]".replace("-", "−")
