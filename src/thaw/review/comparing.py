"""Experiments side by side, for a terminal, a pull request or a program."""

import csv
import io
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from thaw.drawing.markdown import code, signed, table
from thaw.evaluation.record import COMPARED, Comparison
from thaw.review.reports import ABSENT

PARTS = ("validation", "test")
NAME, CHANGED, APART = 20, 22, 26  # columns of what is wrapped
GAP = "  "


@dataclass(frozen=True)
class Row:
    """A run, and what it is compared with."""

    name: str
    changed: Sequence[str]  # "fine_tune_at: 120", against the base
    accuracy: Mapping[str, Mapping[str, float]]  # by `PARTS` and model; what is missing is left out
    difference: Comparison | None = None  # of what the runs result in, on the test pictures
    note: str = ""  # stands in place of a difference in the tables for people
    pictures: int | None = None  # that both have; None where they are all test pictures of both

    def cell(self, part: str, model: str) -> str:
        """An accuracy in percent."""
        value = self.accuracy.get(part, {}).get(model)
        return ABSENT if value is None else f"{100 * value:.1f}"

    @property
    def apart(self) -> str:
        """The difference to the base in points, its interval, and what it is worth."""
        if self.note or self.difference is None:
            return self.note or ABSENT
        points, low, high = (
            signed(100 * value, ".1f")
            for value in (self.difference.difference, self.difference.low, self.difference.high)
        )
        of = "" if self.pictures is None else f" of {self.pictures:,} that both have"
        return f"{points} [{low}, {high}] {self.worth}{of}"

    @property
    def worth(self) -> str:
        """Whether the difference is more than chance, by McNemar's test."""
        assert self.difference is not None
        if self.difference.chance:
            return "chance"
        return "better" if self.difference.difference > 0 else "worse"


def text(rows: Sequence[Row]) -> str:
    """A table of at most 100 columns: accuracies in percent, differences in points."""
    upper = ("", "", "validation", "", "test", "", "result on test,")
    lower = ("experiment", "changed", "head", "tuned", "head", "tuned", "points to the first")
    wrapped = [
        (
            textwrap.wrap(row.name, NAME) or [""],
            [line for each in row.changed for line in _wrap(each)] or [""],
            *([row.cell(part, model)] for part in PARTS for model in COMPARED),
            textwrap.wrap(row.apart, APART) or [""],
        )
        for row in rows
    ]
    widths = [
        max(map(len, (head, *(line for row in wrapped for line in row[place]))))
        for place, head in enumerate(lower)
    ]
    lines = [_line(upper, widths), _line(lower, widths)]
    for row in wrapped:
        for number in range(max(map(len, row))):
            cells = [each[number] if number < len(each) else "" for each in row]
            lines.append(_line(cells, widths))
    return "\n".join(lines)


def _wrap(change: str) -> list[str]:
    return textwrap.wrap(change, CHANGED, subsequent_indent="  ")


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    """Words to the left, numbers to the right; a head over two columns may reach into the next."""
    found = ""
    for place, (cell, width) in enumerate(zip(cells, widths, strict=True)):
        number = 2 <= place <= 5 and not cell.isalpha()
        start = sum(widths[:place]) + place * len(GAP)
        found = found.ljust(start) + (cell.rjust(width) if number else cell)
    return found.rstrip()


def markdown(rows: Sequence[Row]) -> str:
    """The same as a Markdown table."""
    columns = ["experiment", "changed"]
    columns += [f"{part}, {title}" for part in PARTS for title in COMPARED.values()]
    columns.append("result on test, points to the first")
    cells = [
        [
            code(row.name),
            "<br>".join(map(code, row.changed)),
            *(row.cell(part, model) for part in PARTS for model in COMPARED),
            row.apart,
        ]
        for row in rows
    ]
    return table(columns, cells)


def separated(rows: Sequence[Row]) -> str:
    """The same as CSV: shares from 0 to 1, a difference and its p-value in columns of their own."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(
        [
            *("experiment", "changed"),
            *(f"{part}_{model}" for part in PARTS for model in COMPARED),
            *("difference", "low", "high", "p_value", "note"),
        ]
    )
    for row in rows:
        found = row.difference
        numbers = (found.difference, found.low, found.high, found.p_value) if found else ("",) * 4
        shares = [row.accuracy.get(part, {}).get(m, "") for part in PARTS for m in COMPARED]
        writer.writerow([row.name, "; ".join(row.changed), *shares, *numbers, row.note])
    return buffer.getvalue().rstrip("\n")
