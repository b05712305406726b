"""Sweeps: every combination of some parameters' values, each value judged over all seeds."""

import itertools
import math
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thaw.core.errors import ThawError, as_yaml
from thaw.drawing.markdown import signed
from thaw.drawing.markdown import table as markdown_table
from thaw.evaluation import differences, influence, intervals
from thaw.evaluation.record import LEVEL
from thaw.files import catalogues

SEEDS = ("seed", "split.seed")  # repeats of a setting, not settings
MOST = 200  # runs


@dataclass(frozen=True, eq=False)  # values may be lists
class Run:
    """One combination."""

    values: tuple[tuple[str, Any], ...]  # parameters in the order in which they were given

    @property
    def setting(self) -> str:
        """All but the seeds."""
        return told([each for each in self.values if each[0] not in SEEDS])

    @property
    def seeds(self) -> str:
        """Which repeat of the setting it is."""
        return told([each for each in self.values if each[0] in SEEDS])

    def apart(self, varied: Sequence[str]) -> tuple["Run", "Run"]:
        """What tells it from others, and what all share; where seeds alone are varied, no part."""
        if not {*varied} - {*SEEDS}:
            return self, Run(())
        sides = [each for each in self.values if each[0] in varied]
        return Run(tuple(sides)), Run(tuple(each for each in self.values if each not in sides))

    def name(self, prefix: str, varied: Sequence[str]) -> str:
        """Of the experiment: what is varied, in characters that Git takes in a name."""
        parts = [f"{key.split('.')[-1]}-{value}" for key, value in self.values if key in varied]
        text = "-".join([prefix, *parts])
        return "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "_" for c in text)

    def __str__(self) -> str:
        """As on a command line."""
        return told(self.values)


def told(values: Sequence[tuple[str, Any]]) -> str:
    return " ".join(f"{key}={as_yaml(value)}" for key, value in values) or "as it is"


def plan(settings: Sequence[str]) -> tuple[list[Run], list[str]]:
    """Every combination of the values of `KEY=VALUE,VALUE`, and the parameters that are varied.

    Raises:
        ThawError: when one isn't of that form, or they are more than 200.
    """
    choices: dict[str, list[Any]] = {}
    for text in settings:
        key, equals, values = text.partition("=")
        if not key or not equals or not values.strip():
            raise ThawError(
                f"{text}: give a parameter and its values, such as fine_tune_at=100,120,134"
            )
        if key in choices:
            raise ThawError(f"{text}: {key} is there twice; give all its values at once")
        found = catalogues.parse_yaml(f"[{values}]", text)
        assert isinstance(found, list)
        twice = [each for n, each in enumerate(found) if each in found[:n]]
        if twice:
            raise ThawError(f"{text}: {as_yaml(twice[0])} is there twice; give each value once")
        choices[key] = found
    count = math.prod(map(len, choices.values()))
    if count > MOST:
        raise ThawError(f"these are {count:,} runs; give fewer values, at most {MOST} runs in all")
    runs = [
        Run(tuple(zip(choices, values, strict=True)))
        for values in itertools.product(*choices.values())
    ]
    return runs, [key for key, values in choices.items() if len(values) > 1]


@dataclass(frozen=True)
class Said:
    """What the model of a run says of pictures that it didn't learn from."""

    classes: tuple[str, ...]
    labels: Mapping[str, str]  # by the picture's path
    probabilities: NDArray[np.float64]  # (N, classes), rows as in `labels`
    decided: NDArray[np.int64]  # (N,)


@dataclass(frozen=True)
class Row:
    """A setting, over its runs."""

    setting: str
    runs: int
    failed: int
    accuracy: float = math.nan  # the mean over the runs
    low: float = math.nan  # of its 95 % interval, in which a picture counts once
    high: float = math.nan
    spread: float = math.nan  # standard deviation over the runs; nan of one
    difference: float = math.nan  # to the first setting, on the seeds that both have
    difference_low: float = math.nan
    difference_high: float = math.nan
    p_value: float = math.nan


def judge(runs: Mapping[Run, Said | None]) -> list[Row]:
    """A row for each setting, in the order in which they were given.

    Predictions of one picture by several runs count as one (`intervals.spread`), so that seeds
    don't make more of the evidence than the pictures are.

    Args:
        runs: what each says; None of one that failed.
    """
    settings = list(dict.fromkeys(run.setting for run in runs))
    rows = []
    for setting in settings:
        mine = {run: said for run, said in runs.items() if run.setting == setting}
        sound = {run: said for run, said in mine.items() if said is not None}
        row = Row(setting, len(sound), len(mine) - len(sound))
        if sound:
            row = _judged(row, sound)
        if sound and setting != settings[0]:
            row = _compared(row, runs, setting, settings[0])
        rows.append(row)
    return rows


def _judged(row: Row, sound: Mapping[Run, Said]) -> Row:
    labels, shares, decided, owners = _together(list(sound.values()))
    found = influence.judge(labels, shares, decided=decided)
    low, high = intervals.scores(found, owners)["accuracy"]
    each = [float(np.mean(_numbers(said) == said.decided)) for said in sound.values()]
    spread = float(np.std(each, ddof=1)) if len(each) > 1 else math.nan
    return Row(row.setting, row.runs, row.failed, found.scores["accuracy"], low, high, spread)


def _compared(row: Row, runs: Mapping[Run, Said | None], setting: str, first: str) -> Row:
    """With the first setting, run by run of the same seeds."""
    seeds = {(run.setting, run.seeds): said for run, said in runs.items() if said is not None}
    pairs = [
        (seeds[first, repeat], said)
        for (own, repeat), said in seeds.items()
        if own == setting and (first, repeat) in seeds
    ]
    pairs = [(one, other) for one, other in pairs if one.labels == other.labels]
    if not pairs:
        return row
    before, after = ([pair[side] for pair in pairs] for side in (0, 1))
    labels, _, said, owners = _together(before)
    found = differences.compare(labels, said, _together(after)[2], owners)
    return replace(
        row,
        difference=found.difference,
        difference_low=found.low,
        difference_high=found.high,
        p_value=found.p_value,
    )


def _together(
    said: Sequence[Said],
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64], list[Hashable]]:
    owners: list[Hashable] = [path for each in said for path in each.labels]
    return (
        np.concatenate([_numbers(each) for each in said]),
        np.concatenate([each.probabilities for each in said]),
        np.concatenate([each.decided for each in said]),
        owners,
    )


def _numbers(said: Said) -> NDArray[np.int64]:
    return np.array([said.classes.index(label) for label in said.labels.values()])


HEADS = ("setting", "runs", "accuracy, %", "over seeds", "points to the first")


def cells(rows: Sequence[Row]) -> Iterator[tuple[str, ...]]:
    """For people: a row a setting."""
    for row in rows:
        runs = f"{row.runs}" + (f", {row.failed} failed" if row.failed else "")
        if math.isnan(row.accuracy):
            yield row.setting, runs, "–", "–", "–"
            continue
        accuracy = f"{100 * row.accuracy:.2f} [{100 * row.low:.1f}, {100 * row.high:.1f}]"
        spread = "–" if math.isnan(row.spread) else f"± {100 * row.spread:.2f}"
        apart = "–"
        if not math.isnan(row.difference):
            points, low, high = (
                signed(100 * each, ".2f")
                for each in (row.difference, row.difference_low, row.difference_high)
            )
            worth = (
                "chance" if row.p_value >= LEVEL else "better" if row.difference > 0 else "worse"
            )
            apart = f"{points} [{low}, {high}] {worth}"
        yield row.setting, runs, accuracy, spread, apart


def text(rows: Sequence[Row]) -> str:
    """A table for a terminal."""
    lines = [HEADS, *cells(rows)]
    widths = [max(len(line[place]) for line in lines) for place in range(len(HEADS))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def markdown(rows: Sequence[Row]) -> str:
    """The same in Markdown."""
    return markdown_table(HEADS, [list(each) for each in cells(rows)]) + "\n"
