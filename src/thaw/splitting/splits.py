"""Divide labelled pictures into training, validation and test."""

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd

from thaw.core.errors import ThawError, shortlist, some

SPLITS = ("train", "validation", "test")
PARTS = ("", *SPLITS)  # that a dataset may bring
TRAIN = PARTS.index("train")
COLUMNS = ("path", "label", "split", "subgroup")
LACKING = 1e9  # harm of a split without a class: more than any other
MOVES = 200  # of groups, to mend what came of taking one after the other
FEW = 100  # test pictures: with fewer, the interval of a good model's accuracy is 12 points or more


@dataclass(frozen=True)
class Shares:
    """Of what to hold out, and of what to test on of that."""

    held_out: float
    test: float


WHOLE = Shares(0.3, 0.5)  # 15 % to test on, 15 % to validate
PARTED = Shares(0.2, 0.2)  # the 80/20 of the TensorFlow tutorial
FEW_GROUPS = 20
Cut = Callable[[int], dict[str, int]]  # of so many pictures, as `_bounds`


@dataclass(frozen=True)
class Divided:
    """Which split each picture is in, and what was found on the way."""

    split: dict[str, str]  # a picture's path to its split; those left out are missing
    left_out: list[str]  # training pictures that a picture held out is identical to
    straddling: list[str]  # left out as their group, or one like them, is in a later brought part


def divide(
    pictures: pd.DataFrame,
    content: Mapping[str, str],
    *,
    held_out: float,
    test: float,
    seed: int,
    groups: Mapping[str, str] | None = None,
    alike: Iterable[tuple[str, str]] = (),
) -> Divided:
    """Divide pictures, stratified by class; identical ones always share a split.

    A picture's place follows from a SHA-256 of the seed and of its content, so the split is the
    same on every machine, whatever the files are called and in whatever order they are listed,
    and one more picture moves few others. With groups it follows from their names and sizes.

    Args:
        pictures: what the dataset holds, with columns path, label and part. Parts that it brings
            (train, validation, test) are kept: without a test part, the share `test` of validation
            becomes one; without a validation part, the share `held_out` of train does.
        content: a hash of each path's picture.
        held_out: the share to hold out of training where the dataset brings no validation part.
        test: the share of those held out to test on.
        seed: chooses the pictures.
        groups: the group of each path; a group shares a split, too.
        alike: pairs of paths that share a split, too.

    Raises:
        ThawError: when a class has too few pictures for each split to get one.
    """
    found = pictures[["path", "label"]].assign(
        content=pictures["path"].map(content), part=pictures["part"].map(PARTS.index)
    )
    # Identical pictures count as one and go to the latest of their parts; training keeps no copy.
    same = found.groupby("content", sort=False)
    own, found["part"] = found["part"], same["part"].transform("max")
    left_out = found["path"][(own == TRAIN) & (found["part"] > TRAIN)]
    # Held-out parts stay as they were brought; earlier parts keep nothing that is tied to them.
    found["unit"] = _units(found, groups, alike)
    kept = found.drop(left_out.index)
    latest = kept.groupby("unit", sort=False)["part"].transform("max")
    straddling = kept["path"][kept["part"] < latest]
    kept = kept.drop(straddling.index)

    brought = {PARTS[at] for at in kept["part"]}
    place = _by_class if groups is None else _by_group
    side: dict[str, str] = {}
    for at, rows in kept.groupby("part"):
        part = PARTS[int(at)]
        cut = partial(_bounds, part, brought=brought, held_out=held_out, test=test)
        side |= place(rows, cut, seed)
    split = dict(zip(kept["path"], kept["unit"].map(side), strict=True))
    _check(split, dict(zip(found["path"], found["label"], strict=True)), brought, groups)
    return Divided(split, sorted(left_out), sorted(straddling))


def conflicts(labels: Mapping[str, str], content: Mapping[str, str]) -> list[str]:
    """Identical pictures with different labels.

    Args:
        labels: of each path.
        content: a hash of each path's picture.
    """
    seen: dict[str, set[str]] = {}
    for path, label in labels.items():
        seen.setdefault(content[path], set()).add(label)
    return sorted(path for path in labels if len(seen[content[path]]) > 1)


def _units(
    found: pd.DataFrame, groups: Mapping[str, str] | None, alike: Iterable[tuple[str, str]]
) -> list[str]:
    """A name for each picture, the same for all that share a split.

    It is the least of the contents that are tied to each other, or, where there are groups, of
    their names: it follows from no path and no order.
    """
    own = found["content"] if groups is None else found["path"].map(groups)
    key = dict(zip(found["path"], own, strict=True))
    parent = {each: each for each in key.values()}

    def least(each: str) -> str:
        while parent[each] != each:
            parent[each] = parent[parent[each]]
            each = parent[each]
        return each

    def tie(one: str, other: str) -> None:
        first, second = sorted((least(key[one]), least(key[other])))
        parent[second] = first

    for one, other in alike:
        tie(one, other)
    seen: dict[str, str] = {}
    for path, content in zip(found["path"], found["content"], strict=True):
        tie(path, seen.setdefault(content, path))
    return [least(key[path]) for path in found["path"]]


def _order(units: Iterable[str], seed: int) -> list[bytes]:
    return [hashlib.sha256(f"{seed}\0{unit}".encode()).digest() for unit in units]


def _by_class(rows: pd.DataFrame, cut: Cut, seed: int) -> dict[str, str]:
    """The split of each unit: of each class, they fill one split after the other."""
    units = rows.sort_values("label").drop_duplicates("unit").set_index("unit")
    units["pictures"] = rows["unit"].value_counts()
    units["order"] = _order(units.index, seed)
    side: dict[str, str] = {}
    for _, stratum in units.sort_values("order").groupby("label"):
        sizes = stratum["pictures"]
        bounds = cut(int(sizes.sum()))
        places = np.searchsorted([*bounds.values()], sizes.cumsum() - sizes, side="right")
        names = [*bounds]
        for unit, place in zip(stratum.index, places, strict=True):
            side[unit] = names[min(place, len(names) - 1)]
    return side


def _by_group(rows: pd.DataFrame, cut: Cut, seed: int) -> dict[str, str]:
    """The split of each unit, each split near its share of each class.

    Harm is Pearson's chi-squared, the sum over splits and classes of (has - wanted)^2 / wanted, and
    much more for a class that a split lacks. Units come by size, in powers of two, the largest
    first, and among those by hash, each to where it does the least harm. Then single ones move as
    long as that helps.
    """
    table = pd.crosstab(rows["unit"], rows["label"])
    order = pd.DataFrame({"order": _order(table.index, seed)}, table.index)
    order["size"] = -np.log2(table.sum(axis="columns")).astype(int)
    table = table.loc[order.sort_values(["size", "order"]).index]
    units = table.to_numpy(float)  # (units, classes)
    bounds = cut(10**9)
    wanted = np.outer(np.diff([0, *bounds.values()]) / 10**9, units.sum(axis=0))
    has = np.zeros_like(wanted)  # (splits, classes)

    def more(of: np.ndarray) -> np.ndarray:
        """The harm that each unit does to each split where it comes, (units, splits)."""
        slope = 2 * (has - wanted) / wanted
        fills = (of > 0).astype(float) @ (has == 0).T.astype(float)
        return np.asarray(of @ slope.T + of**2 @ (1 / wanted).T - LACKING * fills)

    place = np.zeros(len(units), int)
    for number, unit in enumerate(units):
        place[number] = np.argmin(more(unit[None])[0])
        has[place[number]] += unit
    every = np.arange(len(units))
    for _ in range(MOVES):
        slope = 2 * (has - wanted) / wanted
        empties = ((units > 0) & (has[place] == units)).sum(axis=1)
        less = (units**2 / wanted[place] - units * slope[place]).sum(axis=1) + LACKING * empties
        change = more(units) + less[:, None]
        change[every, place] = 0
        number, to = divmod(int(np.argmin(change)), len(has))
        if change[number, to] > -1e-6:
            break
        has[place[number]] -= units[number]
        has[to] += units[number]
        place[number] = to
    names = [*bounds]
    return {str(unit): names[at] for unit, at in zip(table.index, place, strict=True)}


def balance(split: Mapping[str, str], labels: Mapping[str, str], groups: Mapping[str, str]) -> str:
    """A sentence on how well groups let themselves be divided."""
    parts = {part: [path for path in split if split[path] == part] for part in SPLITS}
    numbers = {part: len({groups[path] for path in paths}) for part, paths in parts.items()}
    overall = Counter(labels[path] for path in split)
    worst = (-1.0, "", "", 0.0, 0.0)
    for part, paths in parts.items():
        own = Counter(labels[path] for path in paths)
        for name, count in sorted(overall.items()):
            here, all_in_all = own[name] / len(paths), count / len(split)
            worst = max(worst, (abs(here - all_in_all), part, name, here, all_in_all))
    off, part, name, here, all_in_all = worst
    sentence = (
        f"groups: {', '.join(f'{count:,} in {each}' for each, count in numbers.items())}, none on "
        f"two sides; no class's share is off by more than {100 * off:.1f} points ({name}: "
        f"{100 * here:.1f} % of {part}, {100 * all_in_all:.1f} % of all)"
    )
    if numbers["test"] < FEW_GROUPS:
        sentence += (
            f"\nnote: {some(numbers['test'], 'group')} to test on "
            f"{'is' if numbers['test'] == 1 else 'are'} few: pictures of one group are often right "
            "or wrong together, so intervals are too narrow; add groups"
        )
    return sentence


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
    part: str, total: int, *, brought: set[str], held_out: float, test: float
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


def _check(
    split: Mapping[str, str],
    labels: Mapping[str, str],
    brought: set[str],
    groups: Mapping[str, str] | None,
) -> None:
    for part, by_class in counts(split, labels).items():
        empty = [name for name, count in by_class.items() if count == 0]
        if empty and part in brought:
            tied = "" if groups is None else " or of a group in a later part"
            raise ThawError(
                f"the dataset's own {part} part has no picture of the class {shortlist(empty)} "
                f"that isn't in a later part too{tied}; add some to it"
            )
        if empty:
            have = Counter(labels.values())[empty[0]]
            change = ", or change split.held_out and split.test"
            of, kind = "", "pictures"
            if groups is not None:
                kinds = {groups[path] for path, label in labels.items() if label == empty[0]}
                of, kind = f" in {some(len(kinds), 'group')}", "groups"
                few = len(kinds) < len(SPLITS)
            else:
                few = have < len(SPLITS)
            raise ThawError(
                f"params.yaml: split: the {part} split would get no picture of the class "
                f"{shortlist(empty)} (it has {have}{of}); add {kind}"
                f"{', three at least, or remove the class' if few else change}"
            )
