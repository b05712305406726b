"""The one place that reads tables: our own, and a stranger's.

Cells are plain Python strings (dtype object): pandas' own text would be PyArrow's where that
happens to be installed.
"""

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

import numpy as np
import pandas as pd

from thaw.core.errors import ThawError, shortlist

WHITE_SPACE = "whitespace"
SEPARATORS = {WHITE_SPACE: "white space", "\t": "tab", ";": "`;`", ",": "`,`"}  # and their names
REMEDY = "say by `table.separator` in its file in datasets/ what parts the columns"


def read(source: Path | TextIO) -> pd.DataFrame:
    """Read a table that `write_csv` wrote, each cell as it is: `NA`, `007`, an empty one.

    Raises:
        FileNotFoundError: when there is none.
        ValueError: when it isn't one.
    """
    cells = pd.read_csv(source, header=None, dtype=object, na_filter=False, encoding="utf-8")
    return cells[1:].set_axis(cells.iloc[0].tolist(), axis="columns").reset_index(drop=True)


def numbers(source: Path | TextIO) -> pd.DataFrame:
    """Read a table of nothing but numbers, as float64.

    Raises:
        FileNotFoundError: when there is none.
        ValueError: when it isn't one.
    """
    return read(source).astype(np.float64)


def stranger(
    path: Path,
    place: str,
    columns: Sequence[str] | None,
    separator: str | None,
    needed: Sequence[str],
) -> pd.DataFrame:
    """Read a table that somebody else wrote.

    pandas would take a line that is short or has a quote amiss, and not say in which line a row
    begins; so `csv` parts the cells.

    Args:
        path: of the table.
        place: what to call it in errors.
        columns: their names; None where the first line has them. A first line that repeats them is
            left out.
        separator: a character, or `WHITE_SPACE`; None for the one of `SEPARATORS` that parts every
            line into the same number of columns.
        needed: the columns that must be there.

    Returns:
        All cells as text; the index is the number of the line in which a row begins. Lines without
        any text in their cells are left out.

    Raises:
        ThawError: when it isn't such a table.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:  # as in UTF-16
        raise ThawError(f"{place} is not UTF-8; save it as UTF-8 (in Excel: CSV UTF-8)")
    found: dict[str, pd.DataFrame] = {}
    misfits: list[_MisfitError] = []
    for tried in [separator] if separator else SEPARATORS:
        try:
            found[tried] = _parted(text, tried, columns, needed)
        except _MisfitError as error:
            misfits.append(error)
    if not found:
        nearest = max(misfits, key=lambda error: error.fitting)
        if separator is None and columns is not None and not any(nearest.fitting):
            *most, last = SEPARATORS.values()
            raise ThawError(
                f"{place}: {', '.join(most)} and {last} don't part the first line into "
                f"{len(columns)} columns ({', '.join(columns)}); mend the line, or {REMEDY}"
            )
        raise ThawError(f"{place}, {nearest}")
    (first, table), *others = found.items()
    for other, differing in others:
        if not table.equals(differing):
            raise ThawError(
                f"{place} can be parted by {SEPARATORS[first]} and by {SEPARATORS[other]}; "
                f"{REMEDY}: {WHITE_SPACE}, or the character"
            )
    if columns is not None and table[:1].to_numpy().tolist() == [list(columns)]:
        print(f"{place}, line {table.index[0]} names the columns, and is left out")
        return table[1:]
    return table


class _MisfitError(Exception):
    """A line that doesn't fit; `fitting` is how many did, and how many names of columns in it."""

    def __init__(self, fitting: tuple[int, int], sentence: str) -> None:
        super().__init__(sentence)
        self.fitting = fitting


def _parted(
    text: str, separator: str, columns: Sequence[str] | None, needed: Sequence[str]
) -> pd.DataFrame:
    lines: list[int] = []
    rows: list[list[str]] = []
    for count, (line, cells) in enumerate(_records(text, separator)):
        if columns is None:
            columns = _named(line, cells, needed)
        elif len(cells) != len(columns):
            raise _MisfitError(
                (count, 0),
                f"line {line} has {len(cells)} columns, not {len(columns)}; mend the line",
            )
        else:
            lines.append(line)
            rows.append(cells)
    return pd.DataFrame(rows, lines, columns or needed, dtype=object)


def _named(line: int, cells: list[str], needed: Sequence[str]) -> list[str]:
    """The names of columns that a line has."""
    for name in needed:
        if cells.count(name) != 1:
            how = "two columns" if name in cells else "no column"
            raise _MisfitError(
                (0, sum(each in cells for each in needed)),
                f"line {line} names {how} {name} ({shortlist(cells)}); mend it, or the names in "
                "`table` in its file in datasets/, or list `columns` there where no line names "
                "them",
            )
    return cells


def _records(text: str, separator: str) -> Iterator[tuple[int, list[str]]]:
    """The cells of each row, and the number of the line in which it begins."""
    stream = io.StringIO(text, newline="")
    if separator == WHITE_SPACE:
        for line, words in enumerate(stream, start=1):
            if cells := words.split():
                yield line, cells
        return
    reader = csv.reader(stream, delimiter=separator, strict=True)
    line = 1
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield line, cells
            line = reader.line_num + 1
    except csv.Error as error:
        raise _MisfitError(
            (line - 1, 0),
            f"line {line} is no line of a table ({error}); look for a quote that isn't closed",
        ) from None
