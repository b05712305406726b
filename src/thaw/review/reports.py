"""Two runs compared for a pull request: parameters, metrics and predictions, as Markdown."""

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from thaw.core.errors import as_yaml
from thaw.drawing import markdown, summary
from thaw.drawing.markdown import code, signed, table
from thaw.evaluation import differences, metrics
from thaw.evaluation.record import BY_CLASS, LOWER_IS_BETTER, TITLES, Comparison
from thaw.files import tables
from thaw.review import recipes

FLIPS = ("right to wrong", "wrong to right", "wrong to another wrong")
LISTED = 20  # rows of a table of flips: a comment on GitHub holds 65,536 characters
ABSENT = "–"


@dataclass(frozen=True)
class Predictions:
    """What both models of a run say of its test pictures."""

    classes: tuple[str, ...]
    labels: dict[str, str]  # the class of each picture, by its path
    probabilities: dict[str, metrics.Array]  # of each model: (N, classes), rows as in `labels`


@dataclass(frozen=True)
class Tested:
    """On what a run was tested, as far as its files tell."""

    dataset: object  # as params.yaml names it
    classes: frozenset[str]  # empty where they aren't known
    test_set: str  # of `Evaluation`; empty where an older run has none
    predictions: Predictions | None


@dataclass(frozen=True)
class Unlike:
    """Why two runs can't be compared: for a table's cell, and as a sentence."""

    note: str
    sentence: str


@dataclass(frozen=True)
class Pair:
    """The predictions of two runs for the same test pictures, by one model."""

    labels: metrics.Labels
    before: metrics.Array
    after: metrics.Array


@dataclass(frozen=True)
class Noise:
    """Whether the change of a metric is more than chance, and its interval where there is one."""

    chance: bool
    interval: tuple[float, float] | None = None


@dataclass(frozen=True)
class Flip:
    """A test picture whose predicted class changed; shares are the confidence in each."""

    path: str
    label: str
    before: str
    after: str
    share_before: float
    share_after: float

    @property
    def kind(self) -> str:
        if self.before == self.label:
            return FLIPS[0]
        return FLIPS[1] if self.after == self.label else FLIPS[2]


def predictions(text: str) -> Predictions:
    """Read the table that stage `evaluate` writes: path, label, subgroup, shares by each model.

    Raises:
        ValueError: when it isn't one.
    """
    found = tables.read(io.StringIO(text))
    columns = found.columns[3:].tolist()
    count = len(columns) // 2
    names = [name.removeprefix("head_") for name in columns[:count]]
    if columns != [f"{model}_{name}" for model in ("head", "fine_tuned") for name in names]:
        raise ValueError("not the columns that stage evaluate writes")
    shares = found[columns].to_numpy(np.float64)
    return Predictions(
        tuple(names),
        dict(zip(found["path"], found["label"], strict=True)),
        {"head": shares[:, :count], "fine_tuned": shares[:, count:]},
    )


def unlike(before: Tested, after: Tested) -> Unlike | None:
    """Why two runs can't be compared: they weren't tested on the same pictures; None if they were.

    Where both know the contents of their test pictures, these decide; else names and labels do.
    """
    if before.classes and after.classes and before.classes != after.classes:
        names = " before; ".join(
            ", ".join(map(code, sorted(each.classes))) for each in (before, after)
        )
        return Unlike("other classes", f"The classes differ ({names} after)")
    known = bool(before.test_set and after.test_set)
    if known and before.test_set == after.test_set:
        return None
    if before.dataset != after.dataset:
        names = f"{code(before.dataset)} before, {code(after.dataset)} after"
        return Unlike("another dataset", f"The datasets differ ({names})")
    if before.predictions is None or after.predictions is None:
        if known:
            return Unlike("other test pictures", "The test pictures differ")
        return Unlike(
            "predictions are missing",
            "Whether both were tested on the same pictures isn't known, since the predictions of "
            "one are missing",
        )
    first, second = before.predictions.labels, after.predictions.labels
    if first != second:
        common = len(first.items() & second.items())
        return Unlike(
            "other test pictures",
            f"The test pictures differ ({len(first)} before, {len(second)} after, {common} of the "
            "same name and class)",
        )
    if known:
        return Unlike(
            "other test pictures", "The test pictures have the same names but other contents"
        )
    return None


def pair(before: Predictions, after: Predictions, model: str) -> Pair:
    """Both runs' predictions in the order of the first; they must not be `unlike`."""
    places = {path: place for place, path in enumerate(after.labels)}
    rows = [places[path] for path in before.labels]
    columns = [after.classes.index(name) for name in before.classes]
    labels = np.array([before.classes.index(label) for label in before.labels.values()])
    second = after.probabilities[model][np.ix_(rows, columns)]
    return Pair(labels, before.probabilities[model], second)


def identical(found: Pair) -> bool:
    """Whether both runs give every picture the same probabilities."""
    return np.array_equal(found.before, found.after)


def paired_noise(pair: Pair, positive: int | None = None) -> tuple[dict[str, Noise], Comparison]:
    """The 95 % interval of each metric's change, and which are more than chance together.

    Args:
        pair: the predictions.
        positive: as in `metrics.scores`.
    """
    found = differences.differences(pair.labels, pair.before, pair.after, positive)
    more = differences.more_than_chance(found)
    noise = {name: Noise(not more[name], (each.low, each.high)) for name, each in found.items()}
    return noise, differences.compare(pair.labels, pair.before, pair.after)


def unpaired_noise(
    before: Mapping[str, Sequence[float]], after: Mapping[str, Sequence[float]]
) -> dict[str, Noise]:
    """By the intervals of both sides: where they overlap, a change is called chance, for safety."""
    return {
        name: Noise(before[name][0] <= after[name][1] and after[name][0] <= before[name][1])
        for name in before.keys() & after.keys()
    }


def flips(found: Pair, paths: Sequence[str], classes: Sequence[str]) -> list[Flip]:
    """The pictures whose prediction changed: right to wrong first, the most confident first."""
    firsts, seconds = found.before.argmax(axis=1), found.after.argmax(axis=1)
    changed = [
        Flip(
            paths[row],
            classes[found.labels[row]],
            classes[firsts[row]],
            classes[seconds[row]],
            float(found.before[row].max()),
            float(found.after[row].max()),
        )
        for row in np.flatnonzero(firsts != seconds).tolist()
    ]
    return sorted(changed, key=lambda flip: (FLIPS.index(flip.kind), -flip.share_after, flip.path))


def word(name: str, change: float) -> str:
    """What a metric's change is worth, as far as four digits show it."""
    if not re.search("[1-9]", f"{change:.4f}"):
        return "same"
    return "better" if (change < 0) == (name in LOWER_IS_BETTER) else "worse"


def changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """Each single value that differs: its name (`head.dropout`), before and after, or ABSENT."""
    first, second = dict(recipes.leaves(before)), dict(recipes.leaves(after))
    for name in dict.fromkeys((*first, *second)):
        one, other = first.get(name, ABSENT), second.get(name, ABSENT)
        if one != other and str(one) != str(other):  # PyYAML reads 1e-05 as text
            yield name, one, other


def parameters(before: Mapping[str, Any], after: Mapping[str, Any], columns: Sequence[str]) -> str:
    """The parameters that changed."""
    rows = []
    for name, *values in changed(before, after):
        shown = [markdown.place(value) for value in values]
        if shown[0] == shown[1] != values[0]:
            shown[1] = f"{shown[1]} (another folder)"
        rows.append([code(name), *map(_value, shown)])
    return table(("parameter", *columns), rows) if rows else "No parameter changed."


def numbers(before: Mapping[str, Any], after: Mapping[str, Any], columns: Sequence[str]) -> str:
    """Other numbers that changed, without a judgement."""
    rows = []
    for name, first, second in changed(before, after):
        both = isinstance(first, int | float) and isinstance(second, int | float)
        change = signed(second - first, ".4g") if both else ABSENT
        rows.append([code(name), _value(first), _value(second), change])
    return table(("number", *columns, "change"), rows) if rows else "None of them changed."


def _value(value: object) -> str:
    return ABSENT if value == ABSENT else code(as_yaml(value))


def scores(
    sides: Sequence[Mapping[str, float]],
    intervals: Sequence[Mapping[str, Sequence[float]]],
    noise: Mapping[str, Noise] | None,
    positives: Sequence[str | None],
    columns: Sequence[str],
) -> str:
    """Every test metric of one model: before, after, the change, and whether that is noise.

    Args:
        sides: of both runs.
        intervals: of both runs.
        noise: of each metric that has one; None where the runs can't be compared.
        positives: the class of both runs that `BY_CLASS` are of; such a score is compared with one
            of the same class alone.
        columns: the titles of both runs.
    """
    same = positives[0] == positives[1]
    rows = []
    for name in TITLES:
        title = summary.title(name, positives[1]) if same else TITLES[name]
        cells = [
            _score(side.get(name), within.get(name))
            for side, within in zip(sides, intervals, strict=True)
        ]
        if noise is None:
            rows.append([title, *cells])
            continue
        change = range_ = verdict = ABSENT
        if all(name in side for side in sides) and (same or name not in BY_CLASS):
            difference = sides[1][name] - sides[0][name]
            change = f"{signed(difference)} {word(name, difference)}".strip()
            if name in noise:
                verdict = "can be chance" if noise[name].chance else "more than chance"
                range_ = _range(noise[name].interval)
        rows.append([title, *cells, change, range_, verdict])
    more = () if noise is None else ("change", "95 % interval of the change", "noise")
    return table(("metric", *columns, *more), rows)


def _score(value: float | None, interval: Sequence[float] | None) -> str:
    if value is None:
        return ABSENT
    return f"{value:.4f} [{interval[0]:.4f}, {interval[1]:.4f}]" if interval else f"{value:.4f}"


def _range(interval: tuple[float, float] | None) -> str:
    return f"[{signed(interval[0])}, {signed(interval[1])}]" if interval else ABSENT


def verdict(comparison: Comparison, pictures: int) -> str:
    """What the paired test says of accuracy."""
    change = (
        f"On the same {pictures} test pictures, {comparison.mended} went from wrong to right and "
        f"{comparison.broken} from right to wrong: accuracy {signed(comparison.difference, '.2%')} "
        f"[{signed(comparison.low, '.2%')}, {signed(comparison.high, '.2%')}], "
        f"McNemar p = {comparison.p_value:.2g}."
    )
    if comparison.chance:
        return f"{change} That can be chance."
    return f"{change} That is more than chance."


def flipped(found: Sequence[Flip]) -> str:
    """A table of flips, the first of them where there are many."""
    rows = [
        [
            code(flip.path),
            code(flip.label),
            f"{code(flip.before)} {flip.share_before:.1%}",
            f"{code(flip.after)} {flip.share_after:.1%}",
        ]
        for flip in found[:LISTED]
    ]
    text = table(("picture", "is", "predicted before", "predicted after"), rows)
    more = len(found) - LISTED
    return f"{text}\n\nAnd {more} more, in flipped.csv." if more > 0 else text


def caption(flip: Flip) -> str:
    """The one line below a picture that flipped, for which `plots.grid` has room."""
    return f"{flip.before} {flip.share_before:.0%} → {flip.after} {flip.share_after:.0%}"
