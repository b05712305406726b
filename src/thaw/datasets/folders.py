"""Read classes, and the parts that a dataset brings, from the names of its folders.

docs/build/layouts.md tells how public archives are laid out. What is certain is understood, and
what is left out is said; all else is refused.
"""

import filecmp
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from thaw.core.errors import ThawError, shortlist, some
from thaw.datasets.catalogue import UNWRITABLE, composed
from thaw.datasets.labels import Labelled
from thaw.files import kinds
from thaw.files.walking import folders

PARTS = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "validate": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}
# What else a part's name may say: `training_set`, `test_images`.
NEUTRAL = {
    "data",
    "dataset",
    "folder",
    "image",
    "images",
    "img",
    "imgs",
    "pictures",
    "set",
    "split",
}
PICTURES = {"image", "images", "img", "imgs", "originals", "photos", "pictures"}
MASKS = {
    "annotation",
    "annotations",
    "ground truth",
    "groundtruth",
    "gt",
    "label",
    "labels",
    "mask",
}
MASKS |= {"masks", "meta", "metadata", "segmentation", "segmentations", "trimaps"}
UNLABELLED = {"pred", "predict", "prediction", "predictions", "unlabeled", "unlabelled", "unseen"}
MASK = re.compile(r"(.+?)[ _-](mask|segmentation|groundtruth|gt)([ _-]?\d+)?", re.IGNORECASE)
DATE = re.compile(r"\d{4}([-_.]?\d{2}){0,2}|\d{1,2}[-_.]\d{1,2}[-_.]\d{2,4}")


@dataclass
class Folder:
    """A folder: the pictures and other files that lie in it, and the folders in it."""

    path: Path
    pictures: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    folders: dict[str, "Folder"] = field(default_factory=dict)

    @property
    def full(self) -> dict[str, "Folder"]:
        """The folders in it that hold pictures, however deep."""
        return {name: each for name, each in self.folders.items() if each.holds_pictures()}

    def holds_pictures(self) -> bool:
        return bool(self.pictures) or any(each.holds_pictures() for each in self.folders.values())

    def walk(self) -> Iterator["Folder"]:
        """The folder, and all below it."""
        yield self
        for each in self.folders.values():
            yield from each.walk()

    def below(self) -> list[Path]:
        """The pictures in it, and below."""
        return [each.path / name for each in self.walk() for name in each.pictures]


@dataclass(frozen=True)
class _Reading:
    """What is read: its address for errors, the classes that its file in `datasets/` names."""

    address: str
    classes: frozenset[str]

    def refuse(self, sentence: str) -> NoReturn:
        raise ThawError(f"{self.address} {sentence}")

    def are_classes(self, folders: Iterable[str]) -> bool:
        return self.classes == {composed(name) for name in folders}


def read(
    root: Path, address: str, classes: Iterable[str] = ()
) -> tuple[list[Labelled], list[str], Path]:
    """Read a folder of one folder a class, or of parts with one folder a class each.

    Args:
        root: the folder.
        address: where it comes from, for errors.
        classes: their names, where the dataset's file gives them: folders of just these names are
            classes, whatever they sound like.

    Returns:
        A row for each picture; the classes, sorted; the folder that the rows' paths are relative
        to. What is left out is printed.

    Raises:
        ThawError: when it may mean two things, a part lacks a class, or a name can't be used.
    """
    reading = _Reading(address, frozenset(classes))
    top = _tree(root)
    for each in top.walk():
        _leave_out_masks(each)
    top = _step_in(reading, top)
    parts = _parts(reading, top)
    if parts:
        groups = _labelled(reading, top, parts)
    else:
        groups = {"": top}
        _check_classes(reading, top)
    around = {each.path: each.pictures for each in (top, *groups.values())}
    loose = sum(map(len, around.values()))
    if loose:
        print(f"{some(loose, 'picture')} left out: in no class's folder")
    others = [
        each.path / name
        for group in groups.values()
        for one in group.folders.values()
        for each in one.walk()
        for name in each.others
    ]
    if others:
        print(
            f"{some(len(others), 'file')} left out: no picture by its bytes ({kinds.said(others)})"
        )
    rows, names = _rows(reading, top.path, groups)
    if len(groups) > 1:
        _check_parts(reading, groups)
    return rows, names, top.path


def _tree(root: Path) -> Folder:
    nodes = {root: Folder(root)}
    for where, _, names in folders(root):
        node = nodes.setdefault(where, Folder(where))
        if where != root:
            nodes[where.parent].folders[where.name] = node
        for name in names:
            (node.pictures if kinds.means_picture(where / name) else node.others).append(name)
    return nodes[root]


def _leave_out(parent: Folder, name: str, why: str) -> None:
    count = len(parent.folders.pop(name).below())
    print(f"{name}/ left out, {why}" + (f": {some(count, 'picture')}" if count else ""))


def _leave_out_masks(folder: Folder) -> None:
    """Masks beside the pictures that they belong to, in folders or by name."""
    stems = {Path(name).stem for name in folder.pictures}
    for name, one in [*folder.folders.items()]:
        of_these = one.pictures and {Path(each).stem for each in one.pictures} <= stems
        beside = any(_is(each, PICTURES) for each in folder.full)
        if _is(name, MASKS) and (beside or of_these):
            _leave_out(folder, name, f"masks or annotations in {folder.path.name}/")
    masks = {
        name
        for name in folder.pictures
        if (found := MASK.fullmatch(Path(name).stem)) and found[1] in stems
    }
    if masks:
        print(f"{some(len(masks), 'mask')} left out in {folder.path.name}/, such as {min(masks)}")
        folder.pictures = [name for name in folder.pictures if name not in masks]


def _step_in(reading: _Reading, folder: Folder) -> Folder:
    """Step into the one folder of folders that holds pictures, unless it is a part or a class."""
    while True:
        _leave_out_copies(reading, folder)
        _leave_out_unlabelled(folder)
        if len(folder.full) != 1:
            return folder
        ((name, one),) = folder.full.items()
        beside = [each for other, each in folder.folders.items() if other != name]
        maybe_classes = not all(any(inner.others for inner in each.walk()) for each in beside)
        if _part(name) or maybe_classes or not one.full or reading.are_classes([name]):
            return folder
        if folder.pictures:
            print(f"{some(len(folder.pictures), 'picture')} left out: beside {name}/")
        folder = one


def _leave_out_unlabelled(folder: Folder) -> None:
    """`test/` without classes beside a folder that holds the parts."""
    whole = [name for name, one in folder.full.items() if _training(_inside(one))]
    rest = {name: one for name, one in folder.full.items() if name not in whole}
    if len(whole) == 1 and not any(map(_has_classes, rest.values())):
        for name in [name for name in rest if _part(name) or {*_words(name)} & UNLABELLED]:
            _leave_out(folder, name, f"without a folder a class, beside {whole[0]}/")


def _training(folder: Folder) -> Folder | None:
    """The folder of the training part in a folder, if it has classes."""
    found = [one for name, one in folder.full.items() if _part(name) == "train" and one.full]
    return found[0] if len(found) == 1 else None


def _leave_out_copies(reading: _Reading, folder: Folder) -> None:
    """A copy of folders that lie beside it, whole; and the second of two equal folders."""
    if reading.are_classes(folder.full):
        return
    for name, one in [*folder.full.items()]:
        inner = _inside(one).full
        beside = {other: each for other, each in folder.full.items() if other != name}
        if len(inner) > 1 and {*inner} <= {*beside}:
            if not all(_same(each, beside[other]) for other, each in inner.items()):
                reading.refuse(
                    f"holds {_listed(inner)} twice, once more in {name}/, and the pictures differ; "
                    "move one of them away"
                )
            _leave_out(folder, name, f"a copy of {_listed(inner)} beside it")
    kept: list[Folder] = []
    for name, one in folder.full.items():
        folders_of_folders = len(_inside(one).full) > 1 and not {*_words(name)} & {*PARTS}
        twins = [each for each in kept if folders_of_folders and _same(one, each)]
        if twins:
            _leave_out(folder, name, f"a copy of {twins[0].path.name}/")
        else:
            kept.append(one)


def _same(one: Folder, other: Folder) -> bool:
    """Whether all pictures of one folder are in another, under the same names."""
    there = {path.relative_to(other.path): path for path in other.below()}
    pairs = [(path, there.get(path.relative_to(one.path))) for path in one.below()]
    return all(
        twin is not None and path.stat().st_size == twin.stat().st_size for path, twin in pairs
    ) and all(filecmp.cmp(path, twin, shallow=False) for path, twin in pairs if twin)


def _inside(folder: Folder) -> Folder:
    """Where a lone folder of folders leads, as in `seg_train/seg_train/`."""
    while len(folder.full) == 1 and not folder.pictures:
        (one,) = folder.full.values()
        if not one.full:
            break
        folder = one
    return folder


def _words(name: str) -> list[str]:
    """`asl_alphabetTrain2` to asl, alphabet, train."""
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    return [word for word in re.split(r"[\W_\d]+", apart.casefold()) if word]


def _is(name: str, known: set[str]) -> bool:
    return " ".join(_words(name)) in known


def _part(name: str) -> str | None:
    """The part that a folder is by its name alone: `Training`, `test_set`."""
    words = [word for word in _words(name) if word not in NEUTRAL]
    return PARTS.get(words[0]) if len(words) == 1 else None


def _parts(reading: _Reading, top: Folder) -> dict[str, str]:
    """The part that each folder is which is one; none where the folders are classes."""
    full = top.full
    if reading.are_classes(full) or {name.casefold() for name in full} >= {"valid", "invalid"}:
        return {}
    parts = {name: part for name in full if (part := _part(name))}
    if "train" not in parts.values():
        parts |= _affixed(reading, [*full])
    flat = [name for name in parts if not full[name].full]
    if not parts or (len(full) > 1 and flat and [*parts.values()] == ["train"]):
        return {}  # a class may be called train
    told = f"holds {_listed(full)}: {_listed(parts)} may be of a dataset's parts"
    if "train" not in parts.values():
        reading.refuse(
            f"{told}, and none is train/; rename it if it is a class, else add train/ or move it "
            "away"
        )
    if len(flat) == len(parts):
        reading.refuse(
            f"{told}, and there is no folder a class in it; sort the pictures into one folder a "
            "class, or rename it if it is a class"
        )
    for part in parts.values():
        if len(alike := [name for name in parts if parts[name] == part]) > 1:
            reading.refuse(
                f"holds {_listed(alike)}, each of which may be the {part} part; move the pictures "
                "into one of them, or one of them away"
            )
    unsure = [name for name in full if name not in parts and not {*_words(name)} & UNLABELLED]
    if len(parts) == 1 and unsure:
        reading.refuse(
            f"{told}, but not {_listed(unsure)}; call the parts train/, validation/ and test/, or "
            "put all classes side by side"
        )
    return parts


def _affixed(reading: _Reading, names: list[str]) -> dict[str, str]:
    """Parts whose names have the same besides: `seg_train`, `seg_test`."""
    groups: dict[tuple[str, ...], dict[str, str]] = {}
    for name in names:
        words = [word for word in _words(name) if word not in NEUTRAL]
        said = [PARTS[word] for word in words if word in PARTS]
        if len(said) == 1:
            rest = tuple(word for word in words if word not in PARTS)
            groups.setdefault(rest, {})[name] = said[0]
    whole = [group for group in groups.values() if {"train"} < {*group.values()}]
    if len(whole) > 1:
        reading.refuse(
            f"holds {_listed(names)}, with part and class in one name; give train/, validation/ "
            "and test/ with one folder a class each"
        )
    return whole[0] if whole else {}


def _labelled(reading: _Reading, top: Folder, parts: Mapping[str, str]) -> dict[str, Folder]:
    """The parts that have folders of classes; "" where that is training alone."""
    groups: dict[str, Folder] = {}
    for name, part in parts.items():
        one = _inside(top.folders[name])
        if _has_classes(one):
            _leave_out_copies(reading, one)
            groups[part] = one
        elif part == "train":
            reading.refuse(
                f"holds {_listed(parts)}, and no folder a class in {name}/; sort its pictures into "
                "folders"
            )
        else:
            _leave_out(top, name, f"without a folder a class, so no {part} part")
    known = {name for one in groups.values() for name in one.full}
    for name, one in [*top.folders.items()]:
        if name in parts:
            continue
        if not _is(name, MASKS) and {name, *_inside(one).full} & known:
            reading.refuse(
                f"holds {_listed(parts)} and, with the same classes, {name}/; "
                "name it as a part if it is one, else move it away"
            )
        _leave_out(top, name, "no part")
    if [*groups] == ["train"]:
        print("train/ alone has folders of classes: `split` in params.yaml divides it")
        return {"": groups["train"]}
    return groups


def _has_classes(part: Folder) -> bool:
    """Whether there are folders of classes, and not `test/images/` or `test/test/` alone."""
    full = part.full
    lone = next(iter(full.values())) if len(full) == 1 else None
    if lone is None or lone.full:
        return bool(full)
    plain = {*_words(lone.path.name)} <= {*NEUTRAL, *PICTURES, *PARTS, *UNLABELLED}
    return not plain and lone.path.name != part.path.name


def _check_classes(reading: _Reading, top: Folder) -> None:
    """Refuse folders that aren't, with certainty, classes."""
    full = top.full
    if reading.are_classes(full):
        return
    for name, one in full.items():
        inner = _inside(one).full
        if _training(_inside(one)):
            reading.refuse(
                f"holds {_listed(full)}, and {_listed(inner)} in {name}/: give {name}/ alone, as "
                "`source` in params.yaml or `root` in its file in datasets/"
            )
        if {"train"} < {*map(_part, inner)} - {None}:
            reading.refuse(
                f"holds {_listed(inner)} in {name}/; parts come first and classes in each of "
                "them: train/, validation/ and test/ with one folder a class each"
            )
    inside = [{*_inside(one).full} for one in full.values() if not one.pictures]
    shared = [] if len(inside) < len(full) else sorted(set.union(*inside))
    same = len(full) > 1 and all(each == {*shared} for each in inside)
    if same and len(shared) > 1 and not all(DATE.fullmatch(each) for each in shared):
        reading.refuse(
            f"holds {_listed(full)} with {_listed(shared)} in each: which are the classes? If the "
            f"inner ones, give {min(full)}/ alone, or put all into one folder a class; if the "
            "outer ones, take the folders in them away, or list `classes` in its file in datasets/"
        )
    for name in [name for name in top.folders if name not in full and _is(name, MASKS)]:
        _leave_out(top, name, "no pictures")


def _check_parts(reading: _Reading, groups: Mapping[str, Folder]) -> None:
    """Refuse a part whose classes aren't those of training."""
    trained = {composed(name) for name in groups["train"].full}
    for part, folder in groups.items():
        found = {composed(name) for name in folder.full}
        where = f"{folder.path.name}/"
        if lacking := sorted(trained - found):
            reading.refuse(
                f"has no picture of the class {shortlist(lacking)} in {where}, its {part} part; "
                f"add some, or move {where} away, and `split` in params.yaml makes that part"
            )
        if more := sorted(found - trained):
            reading.refuse(
                f"has the class {shortlist(more)} in {where}, its {part} part, and not in "
                f"{groups['train'].path.name}/; add pictures there, or remove the class"
            )


def _rows(
    reading: _Reading, root: Path, groups: Mapping[str, Folder]
) -> tuple[list[Labelled], list[str]]:
    rows = []
    classes: dict[str, str] = {}  # what tells a class from others, and its folder
    for part, group in groups.items():
        for folder, one in group.folders.items():
            label = composed(folder)
            like = classes.setdefault(" ".join(label.casefold().split()), folder)
            if like != folder:
                reading.refuse(
                    f"has the classes {like!a} and {folder!a}, the same but for case, blanks or "
                    "Unicode form; rename one, since people and some disks take them for one"
                )
            for path in one.below():
                name = path.relative_to(root).as_posix()
                _check_name(reading, name)
                rows.append(Labelled(name, label, part))
    return rows, sorted(composed(name) for name in classes.values())


def _check_name(reading: _Reading, name: str) -> None:
    if not name.isascii() and sys.getfilesystemencoding() != "utf-8":
        raise ThawError(
            f"{reading.address}: {name!a} would have another name elsewhere: this locale "
            f"reads it as {sys.getfilesystemencoding()}; set PYTHONUTF8=1 and try again"
        )
    if UNWRITABLE.search(name):
        raise ThawError(
            f"{reading.address}: {name!r} has a control character or is not UTF-8; rename it"
        )


def _listed(names: Iterable[str]) -> str:
    return shortlist([f"{name}/" for name in names], 8)
