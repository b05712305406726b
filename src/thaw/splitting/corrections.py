"""Corrections of a dataset's labels, which people make and Git keeps: corrections.csv."""

import csv
import io
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from thaw.core.errors import ThawError, shortlist, some

COLUMNS = ("path", "label", "reason", "who")
DROP = "drop"  # in the place of a label
Cells = dict[str, str]


@dataclass(frozen=True)
class Correction:
    """What a person says of a picture: its label, which may be the one that it has, or `DROP`."""

    path: str
    label: str
    reason: str
    who: str
    line: int  # of the file


def read(path: Path) -> list[Correction]:
    """The corrections of a file; none where there is no file.

    Raises:
        ThawError: when it isn't one of corrections.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        return []
    except UnicodeDecodeError:
        raise ThawError(f"{path} is not UTF-8; save it as UTF-8") from None
    return parse(text, str(path))


def parse(text: str, place: str) -> list[Correction]:
    """Corrections from a table's text.

    Raises:
        ThawError: naming the line, and what to write.
    """
    reader = csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""), strict=True)
    found: list[Correction] = []
    lines: dict[str, int] = {}
    header, began = None, 1
    try:
        for cells in reader:
            line, began = began, reader.line_num + 1
            if not any(cell.strip() for cell in cells):
                continue
            if header is None:
                header = [cell.strip() for cell in cells]
                if header != [*COLUMNS]:
                    raise ThawError(
                        f"{place}, line {line} is {','.join(header)}; it must be "
                        f"{','.join(COLUMNS)}, the names of the columns"
                    )
                continue
            found.append(_correction(cells, line, place))
            if before := lines.setdefault(found[-1].path, line) - line:
                raise ThawError(
                    f"{place}: lines {line + before} and {line} both correct {found[-1].path}; "
                    "remove one"
                )
    except csv.Error as error:
        raise ThawError(
            f"{place}, line {began} is no line of a table ({error}); look for a quote that isn't "
            "closed"
        ) from None
    return found


def _correction(cells: Sequence[str], line: int, place: str) -> Correction:
    if len(cells) != len(COLUMNS):
        raise ThawError(
            f"{place}, line {line} has {some(len(cells), 'column')}, not {len(COLUMNS)} "
            f"({','.join(COLUMNS)}); put a text with commas in quotes"
        )
    path, label, reason, who = cells
    for name, cell in (("path", path), ("label", label), ("reason", reason)):
        if not cell.strip():
            remedy = f"a class, or {DROP}" if name == "label" else f"a {name}"
            raise ThawError(f"{place}, line {line} has no {name}; give {remedy}")
    return Correction(path, label.strip(), reason.strip(), who.strip(), line)


def check(
    found: Sequence[Correction], paths: Collection[str], classes: Sequence[str], place: str
) -> None:
    """Refuse corrections of pictures and classes that aren't there.

    Raises:
        ThawError: naming the line, and what would be right.
    """
    there = {*paths}
    if found and DROP in classes:
        raise ThawError(
            f"{place}: {DROP} is a class of this dataset, so it can't mean to leave a picture out; "
            "give that class another name"
        )
    for each in found:
        where = f"{place}, line {each.line}"
        if each.path not in there:
            name = each.path.rpartition("/")[2]
            near = sorted(path for path in there if path.rpartition("/")[2] == name)
            remedy = f"did you mean {shortlist(near, 3)}?" if near else "mend or remove the line"
            raise ThawError(f"{where}: the dataset has no picture {each.path}; {remedy}")
        if each.label != DROP and each.label not in classes:
            raise ThawError(
                f"{where}: {each.label} is no class; give one of {shortlist([*classes])}, or {DROP}"
            )


def dropped(found: Sequence[Correction]) -> set[str]:
    """The pictures that are left out."""
    return {each.path for each in found if each.label == DROP}


def corrected(labels: Mapping[str, str], found: Sequence[Correction]) -> dict[str, str]:
    """The label of each picture as corrections have it; of what they drop, as it was."""
    return {**labels} | {each.path: each.label for each in found if each.label != DROP}


@dataclass(frozen=True)
class Counted:
    """Corrections by what they do, and each with the label that was there."""

    relabelled: int
    dropped: int
    confirmed: int  # the label that it has is said to be right
    listed: list[Cells]

    def __str__(self) -> str:
        """As "2 labels changed, 1 picture dropped, 1 label confirmed"."""
        kinds = (
            (self.relabelled, "label", "changed"),
            (self.dropped, "picture", "dropped"),
            (self.confirmed, "label", "confirmed"),
        )
        return ", ".join(f"{some(count, noun)} {what}" for count, noun, what in kinds if count)


def count(found: Sequence[Correction], labels: Mapping[str, str]) -> Counted:
    """Count and list corrections.

    Args:
        found: corrections.
        labels: of each picture, as the dataset has it.
    """
    gone = len(dropped(found))
    same = sum(each.label == labels[each.path] for each in found)
    return Counted(
        len(found) - gone - same,
        gone,
        same,
        [
            {"path": e.path, "was": labels[e.path], "label": e.label, "reason": e.reason}
            | {"who": e.who}
            for e in sorted(found, key=lambda each: each.path)
        ],
    )
