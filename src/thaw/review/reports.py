"""Runs compared for a pull request: what changed, scores and predictions, as Markdown."""

import io
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from thaw.core.errors import as_yaml
from thaw.drawing import markdown
from thaw.drawing.markdown import code, signed, table
from thaw.evaluation import differences, metrics
from thaw.evaluation.predictions import DECIDED, decided
from thaw.evaluation.record import (
    BY_CLASS,
    LEVEL,
    LOWER_IS_BETTER,
    TITLES,
    Comparison,
    Difference,
)
from thaw.evaluation.robustness import Robustness, sentences
from thaw.files import tables
from thaw.review import recipes
from thaw.splitting.corrections import Correction

FLIPS = ("right to wrong", "wrong to right", "wrong to another wrong")
LISTED = 20  # rows of a table of flips: a comment on GitHub holds 65,536 characters
GROUPS = 12  # rows of a table of classes or groups
NAMED = 6  # files in a sentence
ABSENT = "–"
# By word and arrow, so that neither colour nor the metric's direction is needed.
BETTER, WORSE, CHANCE, SAME = "▲ better", "▼ worse", "≈ chance", "= same"
IDENTICAL = "both give every test picture the same probabilities"


@dataclass(frozen=True)
class Predictions:
    """What both models of a run say of its test pictures."""

    classes: tuple[str, ...]
    labels: dict[str, str]  # the class of each picture, by its path
    probabilities: dict[str, metrics.Array]  # of each model: (N, classes), rows as in `labels`
    groups: dict[str, str]  # the subgroup of each picture, by its path; empty where it has none
    decided: dict[str, metrics.Labels]  # of each model: (N,) numbers of the classes that it says


@dataclass(frozen=True)
class Tested:
    """On what a run was tested, as far as its files tell."""

    dataset: object  # as params.yaml names it
    classes: frozenset[str]  # empty where they aren't known
    test_set: str  # of `Evaluation`; empty where an older run has none
    predictions: Predictions | None
    contents: Mapping[str, str] | None = None  # the checksum of each picture, by its path


@dataclass(frozen=True)
class Unlike:
    """Why two runs can't be compared: for a table's cell, and as a sentence."""

    note: str
    sentence: str


@dataclass(frozen=True)
class Pair:
    """The predictions of two runs for the same test pictures, by one model."""

    labels: metrics.Labels  # as the second run has them
    before: metrics.Array
    after: metrics.Array
    decided: tuple[metrics.Labels, metrics.Labels]  # the classes that each says
    paths: Sequence[str] = ()  # as the second run has them
    groups: Sequence[str] = ()
    relabelled: int = 0  # pictures that the first run has another label of


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


@dataclass(frozen=True)
class Changes:
    """How a dataset changed; each picture by its path, with its label."""

    added: Mapping[str, str]
    removed: Mapping[str, str]
    relabelled: Mapping[str, tuple[str, str]]  # before and after, by the path after
    renamed: int
    kept: int  # of the same contents and label


@dataclass(frozen=True)
class Cost:
    """What a model takes; None is unknown."""

    size: int | None  # bytes of the ONNX file
    parameters: int | None
    milliseconds: float | None  # a picture, here and now
    seconds: Mapping[str, float]  # of each training, where it ran on this machine


def predictions(text: str) -> Predictions:
    """Read the table that stage `evaluate` writes: path, label, subgroup, shares by each model.

    Raises:
        ValueError: when it isn't one.
    """
    found = tables.read(io.StringIO(text))
    models = ("head", "fine_tuned")
    others = [f"{DECIDED}{model}" for model in models]
    columns = [name for name in found.columns[3:] if name not in others]
    count = len(columns) // 2
    names = [name.removeprefix("head_") for name in columns[:count]]
    if not count or columns != [f"{model}_{n}" for model in models for n in names]:
        raise ValueError("not the predictions that stage evaluate writes")
    shares = found[columns].to_numpy(np.float64)
    by_model = {"head": shares[:, :count], "fine_tuned": shares[:, count:]}
    said = {model: decided(found, names, model) for model in models}
    return Predictions(
        tuple(names),
        dict(zip(found["path"], found["label"], strict=True)),
        by_model,
        dict(zip(found["path"], found.iloc[:, 2], strict=True)),
        {m: by_model[m].argmax(axis=1) if each is None else each for m, each in said.items()},
    )


def matched(before: Mapping[str, str], after: Mapping[str, str]) -> dict[str, str]:
    """Which picture of the first run each one of the second is, by their paths.

    A picture is known by its contents, whatever its name.

    Args:
        before: the checksum of each picture, by its path.
        after: likewise.
    """
    found = {path: path for path, content in after.items() if before.get(path) == content}
    left: dict[str, list[str]] = {}
    for path, content in before.items():
        if path not in found:
            left.setdefault(content, []).append(path)
    for path, content in after.items():
        if path not in found and left.get(content):
            found[path] = left[content].pop(0)
    return found


def common(before: Tested, after: Tested) -> dict[str, str] | None:
    """Which test picture of the first run each one of the second is; None where it isn't known.

    The test sets may differ, and labels, too.
    """
    if before.predictions is None or after.predictions is None:
        return None
    first, second = before.predictions.labels, after.predictions.labels
    known = bool(before.test_set and after.test_set)
    if known and before.test_set == after.test_set:
        return {path: path for path in second}
    if before.contents is not None and after.contents is not None:
        contents = [
            {path: each.contents[path] for path in labels if path in each.contents}
            for each, labels in ((before, first), (after, second))
            if each.contents is not None
        ]
        return matched(*contents)
    return {path: path for path in second} if first == second and not known else None


def unlike(before: Tested, after: Tested) -> Unlike | None:
    """Why two runs can't be compared: no picture was a test picture of both; None if some were.

    A picture is known by its contents; where these aren't known, names and labels decide.
    """
    if before.classes and after.classes and before.classes != after.classes:
        names = " before; ".join(
            ", ".join(map(code, sorted(each.classes)[:NAMED]))
            + (f" and {more} more" if (more := len(each.classes) - NAMED) > 0 else "")
            for each in (before, after)
        )
        return Unlike("other classes", f"the classes differ ({names} after)")
    known = bool(before.test_set and after.test_set)
    if known and before.test_set == after.test_set:
        return None
    if before.dataset != after.dataset:
        names = f"{code(before.dataset)} before, {code(after.dataset)} after"
        return Unlike("another dataset", f"the datasets differ ({names})")
    if before.predictions is None or after.predictions is None:
        if known:
            return Unlike(
                "other test pictures",
                "the test pictures differ, and the predictions of one are missing",
            )
        return Unlike(
            "predictions are missing",
            "whether both were tested on the same pictures isn't known, since the predictions of "
            "one are missing",
        )
    pairs = common(before, after)
    counts = f"{len(before.predictions.labels)} before, {len(after.predictions.labels)} after"
    if pairs is None:
        return Unlike(
            "other test pictures",
            f"the test pictures differ ({counts}), and which of them are in both isn't known, "
            "since the list of pictures of one is neither in the cache here nor on the remote",
        )
    if not pairs:
        return Unlike("other test pictures", f"no test picture is in both ({counts})")
    return None


def pair(before: Tested, after: Tested, model: str) -> Pair | None:
    """Both runs' predictions of the test pictures that both have; None where they are `unlike`.

    Both are judged by the labels of the second, so that a corrected label is no mistake of either.
    """
    first, second = before.predictions, after.predictions
    if first is None or second is None or unlike(before, after):
        return None
    pairs = common(before, after) or {}
    places = [{path: row for row, path in enumerate(each.labels)} for each in (first, second)]
    rows = [[places[0][path] for path in pairs.values()], [places[1][path] for path in pairs]]
    columns = [second.classes.index(name) for name in first.classes]
    theirs = np.argsort(columns)  # the number that a class of the second run has in the first
    return Pair(
        np.array([first.classes.index(second.labels[path]) for path in pairs]),
        first.probabilities[model][rows[0]],
        second.probabilities[model][np.ix_(rows[1], columns)],
        (first.decided[model][rows[0]], theirs[second.decided[model][rows[1]]]),
        list(pairs),
        [second.groups[path] for path in pairs],
        sum(second.labels[path] != first.labels[other] for path, other in pairs.items()),
    )


def identical(found: Pair) -> bool:
    """Whether both runs give every picture the same probabilities, and the same class."""
    return np.array_equal(found.before, found.after) and np.array_equal(*found.decided)


def apart(
    before: Mapping[str, Sequence[float]], after: Mapping[str, Sequence[float]]
) -> dict[str, bool]:
    """Whether the intervals of both sides lie apart: less than a paired test tells, but safe."""
    return {
        name: before[name][0] > after[name][1] or before[name][1] < after[name][0]
        for name in before.keys() & after.keys()
    }


def flips(found: Pair, classes: Sequence[str]) -> list[Flip]:
    """The pictures whose prediction changed: right to wrong first, the most confident first."""
    firsts, seconds = found.decided
    changed = [
        Flip(
            found.paths[row],
            classes[found.labels[row]],
            classes[firsts[row]],
            classes[seconds[row]],
            float(found.before[row, firsts[row]]),
            float(found.after[row, seconds[row]]),
        )
        for row in np.flatnonzero(firsts != seconds).tolist()
    ]
    return sorted(changed, key=lambda flip: (FLIPS.index(flip.kind), -flip.share_after, flip.path))


def word(name: str, change: float, chance: bool) -> str:
    """What a metric's change is worth, as far as three digits show it."""
    if not re.search("[1-9]", f"{change:.3f}"):
        return SAME
    if chance:
        return CHANCE
    return BETTER if (change < 0) == (name in LOWER_IS_BETTER) else WORSE


def changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """Each single value that differs: its name (`head.dropout`), before and after, or ABSENT."""
    first, second = dict(recipes.leaves(before)), dict(recipes.leaves(after))
    for name in dict.fromkeys((*first, *second)):
        one, other = first.get(name, ABSENT), second.get(name, ABSENT)
        if one != other and str(one) != str(other):  # PyYAML reads 1e-05 as text
            yield name, one, other


def parameters(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """The parameters that changed."""
    rows = []
    for name, *values in changed(before, after):
        shown = [markdown.place(value) for value in values]
        if shown[0] == shown[1] != values[0]:
            shown[1] = f"{shown[1]} (another folder)"
        rows.append([code(name), *map(_value, shown)])
    return table(("parameter", "before", "after"), rows) if rows else "Parameters: the same."


def numbers(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """Other numbers that changed, without a judgement."""
    rows = []
    for name, first, second in changed(before, after):
        change = ABSENT
        if isinstance(first, int | float) and isinstance(second, int | float):
            difference = second - first
            change = signed(difference, ".3f" if isinstance(difference, float) else "d")
        rows.append([code(name), _figure(first), _figure(second), change])
    return table(("number", "before", "after", "change"), rows) if rows else "None of them changed."


def _figure(value: object) -> str:
    return score(value) if isinstance(value, float) else _value(value)


def _value(value: object) -> str:
    return ABSENT if value == ABSENT else code(as_yaml(value))


@dataclass(frozen=True)
class Side:
    """The scores of one model of a run, and the class that `BY_CLASS` are of."""

    scores: Mapping[str, float]
    intervals: Mapping[str, Sequence[float]]
    positive: str | None


def scores(
    before: Side, after: Side, found: Mapping[str, Difference] | None, verdicts: bool = True
) -> str:
    """Every test metric of the result: before, after, the change, and what it is worth.

    Args:
        before: on the pictures that are compared.
        after: likewise.
        found: the paired differences; None where there are none.
        verdicts: whether the runs can be compared at all.
    """
    same = before.positive == after.positive
    lie_apart = apart(before.intervals, after.intervals)
    more = differences.more_than_chance(found) if found else {}
    rows = []
    for name, title in TITLES.items():
        cells = [score(side.scores.get(name)) for side in (before, after)]
        change = interval = worth = ABSENT
        both = name in before.scores and name in after.scores
        if verdicts and both and (same or name not in BY_CLASS):
            value = after.scores[name] - before.scores[name]
            change = signed(value, ".3f")
            if found is not None:
                each = found[name]
                interval = f"[{signed(each.low, '.3f')}, {signed(each.high, '.3f')}]"
                worth = word(name, value, not more[name])
            elif name in lie_apart:
                worth = word(name, value, not lie_apart[name])
        rows.append([title, *cells, *([change, interval, worth] if verdicts else [])])
    columns = ("change", "95 % interval", "") if verdicts else ()
    return table(("", "before", "after", *columns), rows)


def score(value: float | None) -> str:
    """Any share or loss, the same way everywhere."""
    return ABSENT if value is None else f"{value:.3f}"


def verdict(found: Pair | None, comparison: Comparison | None) -> str:
    """In a word, bold, whether accuracy changed."""
    if found is None or comparison is None:
        return "**No verdict**"
    if identical(found):
        return "**Identical**"
    if comparison.chance:
        return "**No difference that can be told**"
    return "**Better**" if comparison.difference > 0 else "**Worse**"


def why(found: Pair, comparison: Comparison) -> str:
    """What the verdict rests on."""
    if identical(found):
        return IDENTICAL
    pictures = f"{len(found.labels):,} test pictures"
    return (
        f"of {pictures}, {comparison.mended} are right now that were wrong and "
        f"{comparison.broken} are wrong that were right, {chance(comparison.p_value)}"
    )


def chance(p_value: float) -> str:
    """A p-value in words."""
    p = "p < 0.001" if p_value < 0.001 else f"p = {p_value:.3f}"
    return f"which can be chance ({p})" if p_value >= LEVEL else f"more than chance ({p})"


def by_group(
    title: str, names: Sequence[str], found: Pair, members: Sequence[int] | metrics.Labels
) -> str:
    """Accuracy of each class or group on the pictures that both have, and what changed there.

    Args:
        title: of their column.
        names: of the groups.
        found: the predictions.
        members: (N,) the number of each picture's group.
    """
    rights = [each == found.labels for each in found.decided]
    numbers = np.asarray(members)
    counts = np.bincount(numbers, minlength=len(names))
    before, after = (np.bincount(numbers, right, len(names)) for right in rights)
    mended = np.bincount(numbers, rights[1] & ~rights[0], len(names)).astype(int)
    broken = np.bincount(numbers, rights[0] & ~rights[1], len(names)).astype(int)
    there = np.flatnonzero(counts).tolist()
    shown = there
    if len(there) > GROUPS:
        shown = sorted(there, key=lambda row: (-abs(mended[row] - broken[row]), row))[:GROUPS]
    rows = [
        [
            code(names[row]) if names[row] else "none",
            f"{counts[row]:,}",
            score(before[row] / counts[row]),
            score(after[row] / counts[row]),
            signed((after[row] - before[row]) / counts[row], ".3f"),
            f"{mended[row]} mended, {broken[row]} broken"
            if mended[row] or broken[row]
            else "nothing",
        ]
        for row in shown
    ]
    text = table((title, "pictures", "before", "after", "change", "what changed"), rows)
    more = len(there) - len(shown)
    return f"{text}\n\nAnd {more:,} more, which changed less." if more else text


def confused(found: Pair, classes: Sequence[str], most: int = 8) -> str:
    """The pairs of classes that the runs take for each other most often."""
    counts = [
        Counter(
            (label, guess)
            for label, guess in zip(found.labels.tolist(), said.tolist(), strict=True)
            if label != guess
        )
        for said in found.decided
    ]
    pairs = sorted(counts[0] | counts[1], key=lambda each: (-max(c[each] for c in counts), each))
    rows = [
        [
            f"{code(classes[label])} taken for {code(classes[guess])}",
            *(str(count[label, guess]) for count in counts),
            signed(counts[1][label, guess] - counts[0][label, guess], "d"),
        ]
        for label, guess in pairs[:most]
    ]
    if not rows:
        return "Neither makes a mistake."
    text = table(("most confused", "before", "after", "change"), rows)
    more = len(pairs) - len(rows)
    return f"{text}\n\nOf {len(pairs):,} pairs of classes that are confused." if more else text


def dataset_changes(before: pd.DataFrame, after: pd.DataFrame) -> Changes:
    """How a dataset changed.

    Args:
        before: a row a picture, with columns path, label and content.
        after: likewise.
    """
    contents = [dict(zip(each["path"], each["content"], strict=True)) for each in (before, after)]
    labels = [dict(zip(each["path"], each["label"], strict=True)) for each in (before, after)]
    found = matched(*contents)
    gone = labels[0].keys() - set(found.values())
    relabelled = {
        path: (labels[0][other], labels[1][path])
        for path, other in found.items()
        if labels[0][other] != labels[1][path]
    }
    return Changes(
        {path: label for path, label in labels[1].items() if path not in found},
        {path: label for path, label in labels[0].items() if path in gone},
        relabelled,
        sum(path != other for path, other in found.items()),
        len(found) - len(relabelled),
    )


def in_words(found: Changes) -> str:
    """How a dataset changed, in a sentence."""
    parts = [
        f"{len(pictures):,} {what} ({_counted(code(label) for label in pictures.values())})"
        for what, pictures in (("added", found.added), ("removed", found.removed))
        if pictures
    ]
    if found.relabelled:
        pairs = (f"{code(old)} to {code(new)}" for old, new in found.relabelled.values())
        parts.append(f"{len(found.relabelled):,} relabelled ({_counted(pairs)})")
    if found.renamed:
        parts.append(f"{found.renamed:,} renamed")
    if not parts:
        return f"Pictures: the same {found.kept:,}."
    return f"Pictures: {', '.join(parts)}; {found.kept:,} stayed as they were."


def corrected(before: Sequence[Correction], after: Sequence[Correction]) -> str:
    """Which corrections of labels came, and which were taken back; empty where none did.

    That a label changed is told by `in_words`; this tells why, and by whom.
    """
    old, new = ({(e.path, e.label, e.reason, e.who) for e in side} for side in (before, after))
    rows = [
        (what, *(code(cell) if cell else "" for cell in each))
        for what, lines in (("new", new - old), ("taken back", old - new))
        for each in sorted(lines)
    ]
    if not rows:
        return ""
    more = f"\n\nand {len(rows) - LISTED:,} more." if len(rows) > LISTED else ""
    listed = table(("correction", "picture", "label, or drop", "why", "who"), rows[:LISTED])
    return folded(f"Corrections of labels that came or went: {len(rows):,}", listed + more)


def _counted(names: Iterable[str]) -> str:
    counts = Counter(names).most_common()
    text = ", ".join(f"{count:,} {name}" for name, count in counts[:NAMED])
    return f"{text}, …" if len(counts) > NAMED else text


def code_changes(files: Sequence[str], dependencies: Mapping[str, Sequence[str]]) -> str:
    """Which files changed: those that results follow from by name, and how many others.

    Args:
        files: of the repository.
        dependencies: the stages that depend on each file or folder.
    """
    stages: dict[str, list[str]] = {}
    for name in files:
        for place, users in dependencies.items():
            if name == place or name.startswith(f"{place}/"):
                stages.setdefault(name, []).extend(users)
    parts = []
    if stages:
        users = ", ".join(
            map(code, dict.fromkeys(each for all_ in stages.values() for each in all_))
        )
        names = ", ".join(map(code, [*stages][:NAMED]))
        more = f" and {len(stages) - NAMED} more" if len(stages) > NAMED else ""
        parts.append(f"Code: {names}{more} changed, on which depend {users}.")
    others = len(files) - len(stages)
    if others:
        what = "other files" if stages else "files"
        parts.append(f"{others:,} {what} changed that no result follows from.")
    return " ".join(parts) or "Code: the same."


def costs(before: Cost, after: Cost, cores: int) -> str:
    """Size, speed and training time of both models."""
    trainings = dict.fromkeys([*before.seconds, *after.seconds])
    rows = [
        _cost("size", before.size, after.size, lambda value: f"{value / 1e6:.1f} MB"),
        _cost(
            "parameters", before.parameters, after.parameters, lambda v: f"{v / 1e6:.2f} million"
        ),
        _cost(
            "time for a picture",
            before.milliseconds,
            after.milliseconds,
            lambda value: f"{value:.1f} ms",
        ),
        *(
            _cost(f"training: {name}", before.seconds.get(name), after.seconds.get(name), duration)
            for name in trainings
        ),
    ]
    text = table(("", "before", "after", "change"), rows)
    notes = []
    if before.milliseconds is not None or after.milliseconds is not None:
        notes.append(
            f"Milliseconds were measured here and now, on {cores} cores, one picture at a time, "
            "without reading the file: other machines take other times."
        )
    if trainings:
        notes.append(
            "Training times are known of what was trained on this machine; of one that was "
            "interrupted, its last part."
        )
    else:
        notes.append("Training times aren't known: neither was trained on this machine.")
    return f"{text}\n\n{' '.join(notes)}"


def _cost(
    title: str, before: float | None, after: float | None, form: Callable[[float], str]
) -> list[str]:
    cells = [ABSENT if value is None else form(value) for value in (before, after)]
    change = ABSENT
    if before is not None and after is not None:
        same = cells[0] == cells[1] or not before
        change = SAME if same else f"{signed(100 * (after / before - 1), '.0f')} %"
    return [title, *cells, change]


def duration(seconds: float) -> str:
    """Seconds, or minutes and seconds."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.0f} s"


@dataclass(frozen=True)
class Run:
    """A run beside others: a row of their table."""

    title: str
    link: str  # to its own report
    scores: Mapping[str, float]
    changed: Sequence[str]
    word: str
    difference: Difference | None = None


def runs(bases: Sequence[Run], others: Sequence[Run]) -> str:
    """Any number of runs side by side, below what they are compared with."""
    rows = [[each.title, score(each.scores.get("accuracy")), *[ABSENT] * 3] for each in bases]
    for each in others:
        found = each.difference
        change, interval = ABSENT, ABSENT
        if found is not None:
            change = signed(found.value, ".3f")
            interval = f"[{signed(found.low, '.3f')}, {signed(found.high, '.3f')}]"
        name = f"[{each.title}]({each.link})"
        rows.append([name, score(each.scores.get("accuracy")), change, interval, each.word])
    return table(("run", "accuracy", "change", "95 % interval", ""), rows)


def other_scores(all_runs: Sequence[Run]) -> str:
    """Their other scores, a row a run."""
    names = ("loss", "f1", "roc_auc", "calibration_error")
    rows = [[run.title, *(score(run.scores.get(name)) for name in names)] for run in all_runs]
    return table(("run", *(TITLES[name] for name in names)), rows)


def flipped(found: Sequence[Flip]) -> str:
    """A table of flips, the first of them where there are many."""
    rows = [
        [
            code(flip.path),
            code(flip.label),
            f"{code(flip.before)} {flip.share_before:.3f}",
            f"{code(flip.after)} {flip.share_after:.3f}",
        ]
        for flip in found[:LISTED]
    ]
    text = table(("picture", "is", "before", "after"), rows)
    more = len(found) - LISTED
    return f"{text}\n\nAnd {more} more, in flipped.csv." if more > 0 else text


def caption(flip: Flip) -> str:
    """The line below a picture that flipped: what it was taken for."""
    return f"{flip.before} {flip.share_before:.0%} → {flip.after} {flip.share_after:.0%}"


def folded(title: str, text: str) -> str:
    """What a reader opens when they want it."""
    return f"<details><summary>{title}</summary>\n\n{text}\n\n</details>"


def robustness(before: Robustness | None, after: Robustness) -> str:
    """What corrupted pictures say of a run's model, beside another's where it was measured alike.

    Args:
        before: None where nothing is known of it.
        after: the run's.
    """
    if before is None or not before.alike(after):
        return sentences(after)
    shares = {
        "as they are": [each.accuracy for each in (before, after)],
        "mean of all corrupted": [each.mean_accuracy for each in (before, after)],
    }
    for kind in after.kinds:
        shares[kind] = [
            float(np.mean([strength.accuracy for strength in each.kinds[kind]]))
            for each in (before, after)
        ]
    rows = [
        [name, f"{old:.1%}", f"{new:.1%}", signed(100 * (new - old), ".1f")]
        for name, (old, new) in shares.items()
    ]
    return f"{table(('accuracy', 'before', 'after', 'points'), rows)}\n\n{sentences(after)}"
