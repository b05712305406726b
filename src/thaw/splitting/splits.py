"""Divide labelled pictures into training, validation and test."""

import hashlib
import math
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from thaw.core.errors import ThawError, shortlist

SPLITS = ("train", "validation", "test")
PARTS = ("", *SPLITS)  # that a dataset may bring
TRAIN = PARTS.index("train")
COLUMNS = ("path", "label", "split", "subgroup")
FEW = 100  # test pictures: with fewer, the interval of a good model's accuracy is 12 points or more


@dataclass(frozen=True)
class Shares:
    """Of what to hold out, and of what to test on of that."""

    held_out: float
    test: float


WHOLE = Shares(0.3, 0.5)  # 15 % to test on, 15 % to validate
PARTED = Shares(0.2, 0.2)  # the 80/20 of the TensorFlow tutorial


@dataclass(frozen=True)
class Divided:
    """Which split each picture is in, and what was found on the way."""

    split: dict[str, str]  # a picture's path to its split; those left out are missing
    duplicates: int  # pictures whose content an earlier one has too
    left_out: list[str]  # training pictures that a picture held out is identical to
    conflicts: list[str]  # identical pictures with different labels


def divide(
    pictures: pd.DataFrame,
    content: Mapping[str, str],
    *,
    held_out: float,
    test: float,
    seed: int,
) -> Divided:
    """Divide pictures, stratified by class; identical ones always share a split.

    A picture's place follows from a SHA-256 of the seed and of its content, so the split is the
    same on every machine, whatever the files are called and in whatever order they are listed,
    and one more picture moves few others.

    Args:
        pictures: what the dataset holds, with columns path, label and part. Parts that it brings
            (train, validation, test) are kept: without a test part, the share `test` of validation
            becomes one; without a validation part, the share `held_out` of train does.
        content: a hash of each path's picture.
        held_out: the share to hold out of training where the dataset brings no validation part.
        test: the share of those held out to test on.
        seed: chooses the pictures.

    Raises:
        ThawError: when a class has too few pictures for each split to get one.
    """
    found = pictures[["path", "label"]].assign(
        content=pictures["path"].map(content), part=pictures["part"].map(PARTS.index)
    )
    # Identical pictures count as one and go to the latest of their parts; training keeps no copy.
    alike = found.groupby("content", sort=False)
    conflicts = found["path"][alike["label"].transform("nunique") > 1]
    own, found["part"] = found["part"], alike["part"].transform("max")
    left_out = found["path"][(own == TRAIN) & (found["part"] > TRAIN)]
    kept = found.drop(left_out.index)
    groups = found.sort_values("label").drop_duplicates("content").set_index("content")
    groups["pictures"] = kept["content"].value_counts()
    groups["order"] = [hashlib.sha256(f"{seed}\0{key}".encode()).digest() for key in groups.index]

    brought = {PARTS[at] for at in groups["part"]}
    side: dict[str, str] = {}
    for (at, _), stratum in groups.sort_values("order").groupby(["part", "label"]):
        sizes = stratum["pictures"]
        bounds = _bounds(PARTS[at], int(sizes.sum()), brought, held_out, test)
        places = np.searchsorted([*bounds.values()], sizes.cumsum() - sizes, side="right")
        names = [*bounds]
        for key, place in zip(stratum.index, places, strict=True):
            side[key] = names[min(place, len(names) - 1)]
    split = dict(zip(kept["path"], kept["content"].map(side), strict=True))
    _check(split, dict(zip(found["path"], found["label"], strict=True)), brought)
    return Divided(split, len(found) - len(groups), sorted(left_out), sorted(conflicts))


def usual_shares(parts: Collection[str]) -> Shares:
    """The shares where neither a person nor a publication gives some.

    Args:
        parts: that the dataset brings; "" stands for pictures of none.
    """
    return PARTED if {*parts} - {""} else WHOLE


def doubt(count: int) -> str:
    """A sentence on what so few test pictures tell; empty where they are enough."""
    if count >= FEW:
        return ""
    right = round(0.9 * count)
    low, high = (100 * bound for bound in wilson(right, count))
    pictures = "picture tells" if count == 1 else "pictures tell"
    return (
        f"{count} test {pictures} little: {right} right of {count} means {low:.0f} to {high:.0f} % "
        f"(95 % interval, {high - low:.0f} points wide); add pictures, or test on a larger share "
        "(split.held_out and split.test)"
    )


def wilson(right: int, count: int) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson 1927, J. Am. Stat. Assoc. 22)."""
    z = 1.959964
    share, spread = right / count, z * z / count
    middle = (share + spread / 2) / (1 + spread)
    half = math.sqrt(share * (1 - share) * spread + spread * spread / 4) / (1 + spread)
    return middle - half, middle + half


def _bounds(
    part: str, total: int, brought: set[str], held_out: float, test: float
) -> dict[str, int]:
    """The splits that pictures of a part and class go to, and how many lie in each or before it."""
    if part == "train" and "validation" not in brought:
        return {"validation": _share(total, held_out), "train": total}
    if part in ("train", "test") or (part == "validation" and "test" in brought):
        return {part: total}
    if part == "validation":
        return {"test": _share(total, test), "validation": total}
    out = _share(total, held_out)
    return {"test": _share(out, test), "validation": out, "train": total}


def counts(split: Mapping[str, str], labels: Mapping[str, str]) -> dict[str, dict[str, int]]:
    """Pictures in each split, by class."""
    table = Counter((part, labels[path]) for path, part in split.items())
    classes = sorted(set(labels.values()))
    return {part: {name: table[part, name] for name in classes} for part in SPLITS}


def _share(total: int, share: float) -> int:
    return math.floor(total * share + 0.5)


def _check(split: Mapping[str, str], labels: Mapping[str, str], brought: set[str]) -> None:
    for part, by_class in counts(split, labels).items():
        empty = [name for name, count in by_class.items() if count == 0]
        if empty and part in brought:
            raise ThawError(
                f"the dataset's own {part} part has no picture of the class {shortlist(empty)} "
                "that isn't in a later part too; add some to it"
            )
        if empty:
            have = Counter(labels.values())[empty[0]]
            change = ", or change split.held_out and split.test"
            raise ThawError(
                f"params.yaml: split: the {part} split would get no picture of the class "
                f"{shortlist(empty)} (it has {have}); add pictures"
                f"{change if have >= len(SPLITS) else ', three at least, or remove the class'}"
            )
