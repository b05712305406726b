"""Divide labelled pictures into training, validation and test."""

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from thaw.core.errors import ThawError, shortlist
from thaw.datasets.labels import Labelled

SPLITS = ("train", "validation", "test")
COLUMNS = ("path", "label", "split", "subgroup")


@dataclass(frozen=True)
class Divided:
    """Which split each picture is in, and what was found on the way."""

    split: dict[str, str]  # a picture's path to its split; those left out are missing
    duplicates: int  # pictures whose content an earlier one has too
    left_out: list[str]  # training pictures that a picture held out is identical to
    conflicts: list[str]  # identical pictures with different labels


def divide(
    pictures: Sequence[Labelled],
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
        pictures: what the dataset holds. Parts that it brings (train, validation, test) are kept:
            without a test part, the share `test` of validation becomes one; without a
            validation part, the share `held_out` of train does.
        content: a hash of each path's picture.
        held_out: the share to hold out of training where the dataset brings no validation part.
        test: the share of those held out to test on.
        seed: chooses the pictures.

    Raises:
        ThawError: when a class has too few pictures for each split to get one.
    """
    groups: dict[str, list[Labelled]] = defaultdict(list)
    for picture in pictures:
        groups[content[picture.path]].append(picture)
    split: dict[str, str] = {}
    left_out: list[str] = []
    conflicts: list[str] = []
    strata: dict[tuple[str, str], list[str]] = defaultdict(list)
    for key, group in groups.items():
        if len({picture.label for picture in group}) > 1:
            conflicts += [picture.path for picture in group]
        parts = {picture.part for picture in group}
        part = "test" if "test" in parts else "validation" if "validation" in parts else ""
        if part:
            left_out += [picture.path for picture in group if picture.part == "train"]
            groups[key] = [picture for picture in group if picture.part != "train"]
        elif "train" in parts:
            part = "train"
        strata[part, min(picture.label for picture in group)].append(key)

    brought = {part for part, _ in strata}
    for (part, _), keys in sorted(strata.items()):
        keys.sort(key=lambda key: hashlib.sha256(f"{seed}\0{key}".encode()).digest())
        sizes = [len(groups[key]) for key in keys]
        total = sum(sizes)
        if part == "train" and "validation" not in brought:
            bounds = {"validation": _share(total, held_out), "train": total}
        elif part in ("train", "test") or (part == "validation" and "test" in brought):
            bounds = {part: total}
        elif part == "validation":
            in_test = _share(total, test)
            bounds = {"test": in_test, "validation": total}
        else:
            out = _share(total, held_out)
            in_test = _share(out, test)
            bounds = {"test": in_test, "validation": out, "train": total}
        names = list(bounds)
        taken = 0
        for key, size in zip(keys, sizes, strict=True):
            while taken >= bounds[names[0]] and len(names) > 1:
                names.pop(0)
            for picture in groups[key]:
                split[picture.path] = names[0]
            taken += size
    labels = {picture.path: picture.label for picture in pictures}
    _check(split, labels)
    duplicates = len(pictures) - len(groups)
    return Divided(split, duplicates, sorted(left_out), sorted(conflicts))


def counts(split: Mapping[str, str], labels: Mapping[str, str]) -> dict[str, dict[str, int]]:
    """Pictures in each split, by class."""
    table = Counter((part, labels[path]) for path, part in split.items())
    classes = sorted(set(labels.values()))
    return {part: {name: table[part, name] for name in classes} for part in SPLITS}


def _share(total: int, share: float) -> int:
    return math.floor(total * share + 0.5)


def _check(split: Mapping[str, str], labels: Mapping[str, str]) -> None:
    for part, by_class in counts(split, labels).items():
        if empty := [name for name, count in by_class.items() if count == 0]:
            have = Counter(labels.values())
            raise ThawError(
                f"params.yaml: split: the {part} split would get no picture of the class "
                f"{shortlist(empty)} (it has {have[empty[0]]}); add pictures, change "
                "split.held_out and split.test, or try another seed"
            )
