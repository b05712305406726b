"""Folds: every picture predicted by a model that didn't see it. Which, how well, and read again."""

import hashlib
import io
import json
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from thaw.core.errors import ThawError, shortlist, some
from thaw.drawing import summary
from thaw.evaluation import influence, intervals, predictions
from thaw.evaluation.record import COMPARED, TITLES, Comparison
from thaw.files import dialects, tables
from thaw.files.arrays import forget
from thaw.files.serialize import write_json
from thaw.review import recipes
from thaw.review.revisions import Revision

RESULT = Path("metrics/folds.json")
PREDICTIONS = Path("folds/predictions.csv")
PARAMS, LOCK = Path("params.yaml"), Path("dvc.lock")
CODE = "src/thaw/training"
ABOUT = ("path", "label", "subgroup", "group", "cluster", "repeat", "fold")
# Parameters from which no prediction of folds follows, and those of fine-tuning alone.
OTHERS = {"cores", "engine", "positive", "tensorboard"}
FINE_TUNING = "fine_tune"
MANY = 1000  # units
LISTED = 10  # groups, the worst first
Numbers = NDArray[np.int64]


class Joined:
    """Rows of arrays of the cache that lie end to end; none is read before it is asked for."""

    def __init__(self, parts: Sequence[NDArray[Any]], rows: Numbers) -> None:
        """Take such rows of the parts' (pictures, views, ...)."""
        self._parts, self._rows = parts, rows
        self._ends = np.cumsum([len(part) for part in parts])
        self.shape = (len(rows), *parts[0].shape[1:])

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, key: Any) -> Any:
        """What is at rows, at rows and views, or (`[..., :n]`) the first channels of all."""
        at, *more = key if isinstance(key, tuple) else (key,)
        if at is Ellipsis:
            return Joined([part[..., more[0]] for part in self._parts], self._rows)
        rows = np.atleast_1d(self._rows[at])
        views = [np.broadcast_to(more[0], rows.shape)] if more else []
        found = np.empty((len(rows), *self.shape[1 + len(views) :]), self._parts[0].dtype)
        place = np.searchsorted(self._ends, rows, side="right")
        for number in np.unique(place).tolist():
            part, mine = self._parts[number], place == number
            own = rows[mine] - (self._ends[number] - len(part))
            found[mine] = part[(own, *(each[mine] for each in views))]
            forget(part)
        return found[0] if np.ndim(self._rows[at]) == 0 else found


def clusters(keys: Iterable[Sequence[str]], alike: Iterable[tuple[int, int]] = ()) -> Numbers:
    """The number of the first picture of those that must share a fold, for each picture.

    Args:
        keys: of each picture: its group, what it holds; pictures that share one belong together.
        alike: pairs of pictures that belong together, too.
    """
    parent: list[int] = []
    first: dict[str, int] = {}

    def least(each: int) -> int:
        while parent[each] != each:
            parent[each] = each = parent[parent[each]]
        return each

    def tie(one: int, other: int) -> None:
        small, large = sorted((least(one), least(other)))
        parent[large] = small

    for number, own in enumerate(keys):
        parent.append(number)
        for key in own:
            tie(first.setdefault(key, number), number)
    for one, other in alike:
        tie(one, other)
    return np.array([least(each) for each in range(len(parent))])


def divide(labels: Numbers, units: Numbers, k: int, seed: int, classes: Sequence[str]) -> Numbers:
    """The fold of each picture, from 0: stratified by class, units whole.

    Args:
        labels: (N,) class numbers.
        units: (N,) what shares a fold, as `clusters` gives it.
        k: folds.
        seed: chooses them.
        classes: their names.

    Raises:
        ThawError: when a fold would lack a class.
    """
    have = [len(np.unique(units[labels == number])) for number in range(len(classes))]
    least = int(np.argmin(have))
    if have[least] < k:
        kind = "pictures" if len(np.unique(units)) == len(units) else "groups of pictures"
        remedy = f"give K={have[least]} at most" if have[least] > 1 else "add some"
        raise ThawError(
            f"--k {k}: the class {classes[least]} has {have[least]} {kind} to train and validate "
            f"on, too few for {k} folds; {remedy}"
        )
    found = _stratified(labels, units, k, seed)
    for number in range(k):
        missing = sorted(set(range(len(classes))) - {*labels[found == number].tolist()})
        if missing:
            raise ThawError(
                f"--k {k}: groups lie so that fold {number + 1} has no picture of the class "
                f"{shortlist([classes[each] for each in missing])}; give fewer folds"
            )
    return found


def _stratified(labels: Numbers, units: Numbers, k: int, seed: int) -> Numbers:
    """The fold of each picture.

    Few units may be large, and are laid one by one to where they fit: a millisecond each.
    Many are divided by the class that most of their pictures have.
    """
    names, unit = np.unique(units, return_inverse=True)
    found = np.zeros(len(labels), np.int64)
    if len(names) < MANY:
        parts = StratifiedGroupKFold(k, shuffle=True, random_state=seed)
        for number, (_, part) in enumerate(parts.split(labels, labels, unit)):
            found[part] = number
        return found
    classes = np.zeros((len(names), labels.max() + 1), np.int64)
    np.add.at(classes, (unit, labels), 1)
    of = np.zeros(len(names), np.int64)
    plain = StratifiedKFold(k, shuffle=True, random_state=seed)
    for number, (_, part) in enumerate(plain.split(of, classes.argmax(axis=1))):
        of[part] = number
    found[:] = of[unit]
    return found


def validation(
    labels: Numbers, units: Numbers, rows: Numbers, share: float, seed: int, classes: Sequence[str]
) -> tuple[Numbers, Numbers]:
    """Divide the pictures that a fold learns from: to train on, and to choose the epoch by.

    Args:
        labels: (N,) of all pictures.
        units: likewise.
        rows: of the pictures to divide.
        share: to validate on, as the pipeline's split has it.
        seed: chooses them.
        classes: their names.

    Raises:
        ThawError: when a class would lack.
    """
    have = [len(np.unique(units[rows][labels[rows] == each])) for each in range(len(classes))]
    parts = max(2, min(round(1 / share), *have))
    place = _stratified(labels[rows], units[rows], parts, seed)
    learn, validate = rows[place != 0], rows[place == 0]
    for part in (learn, validate):
        if missing := sorted(set(range(len(classes))) - {*labels[part].tolist()}):
            raise ThawError(
                f"the class {shortlist([classes[each] for each in missing])} has too few pictures "
                "to leave some out, to validate on some and to train on the others; add some, or "
                "give more folds"
            )
    return learn, validate


@dataclass(frozen=True)
class Folds:
    """Predictions of folds: a row for each picture and repeat."""

    classes: tuple[str, ...]
    table: pd.DataFrame  # with the columns `ABOUT`
    probabilities: Mapping[str, influence.Array]  # of each model: (rows, classes)
    result: Mapping[str, Any]  # as `judge` gives it

    @property
    def labels(self) -> Numbers:
        """(rows,) class numbers."""
        return np.array([self.classes.index(label) for label in self.table["label"]])


def judge(found: Folds, positive: int | None) -> dict[str, Any]:
    """Scores of each model: mean and spread over folds, all together with its interval.

    Pictures that share a fold, and a picture that several repeats predict, count as one.

    Args:
        found: `result` isn't used.
        positive: as in `metrics.scores`.
    """
    labels, rows = found.labels, found.table
    folds = pd.factorize(pd.Series(zip(rows["repeat"], rows["fold"], strict=True)))[0]
    units = intervals.numbered(rows["cluster"].tolist(), len(rows))
    known: dict[str, Any] = {}
    for model, shares in found.probabilities.items():
        together = influence.judge(labels, shares, positive)
        within = intervals.scores(together, units)
        each = [
            influence.judge(labels[folds == fold], shares[folds == fold], positive).scores
            for fold in range(folds.max() + 1)
        ]
        right = shares.argmax(axis=1) == labels
        known[model] = {
            "scores": {
                name: {
                    "mean": float(np.mean([scores[name] for scores in each])),
                    "spread": float(np.std([scores[name] for scores in each], ddof=1)),
                    "together": together.scores[name],
                    "low": within[name][0],
                    "high": within[name][1],
                }
                for name in TITLES
            },
            "groups": {
                kind: by_group(rows, kind, right, units, order)
                for kind, order in (
                    ("label", found.classes),
                    ("subgroup", sorted(set(rows["subgroup"]))),
                    ("group", sorted(set(rows["group"]))),
                )
                if len(set(rows[kind])) > 1
            },
        }
    return known


def by_group(
    rows: pd.DataFrame,
    kind: str,
    right: NDArray[np.bool_],
    units: Numbers,
    order: Sequence[str],
) -> dict[str, dict[str, float]]:
    """Pictures, accuracy and its interval of each group, by Wilson and by clusters."""
    found = {}
    for name in order:
        mine = (rows[kind] == name).to_numpy()
        share, own = float(right[mine].mean()), units[mine]
        larger = intervals.effect(right[mine] - share, own)
        # Where all are right, or none, there is nothing to see of clusters: each counts as one.
        counted = mine.sum() / larger if 0 < share < 1 else len(np.unique(own))
        low, high = intervals.wilson(share, counted)
        pictures = int(rows["path"][mine].nunique())
        found[name] = {"pictures": pictures, "accuracy": share, "low": low, "high": high}
    return found


def opening(result: Mapping[str, Any]) -> str:
    """What was predicted, and how often."""
    often = "once" if result["repeats"] == 1 else f"{result['repeats']} times"
    return (
        f"{result['k']} folds: each of {result['pictures']:,} training and validation pictures was "
        f"predicted {often}, by a model that didn't see it. The test pictures were not read."
    )


def closing(result: Mapping[str, Any]) -> str:
    """What the figures are of."""
    return (
        "Mean and spread (standard deviation) are of "
        f"{some(result['k'] * result['repeats'], 'fold')}; the interval counts a picture once."
    )


def text(result: Mapping[str, Any]) -> str:
    """What folds found, in 100 columns."""
    lines = textwrap.wrap(opening(result), 100)
    for model in models(result):
        lines += [
            "",
            f"{COMPARED[model]:<34}{'mean':>9}{'spread':>9}   all together, 95 % interval",
        ]
        for name, each in result[model]["scores"].items():
            title = summary.title(name, result["positive"]).replace("`", "")
            within = summary.score(each["together"], (each["low"], each["high"]))
            lines.append(
                f"{_cut(title, 34):<34}{each['mean']:>9.4f}{each['spread']:>9.4f}   {within}"
            )
    for kind, title in (("label", "class"), ("subgroup", "subgroup"), ("group", "group")):
        names = result[models(result)[-1]]["groups"].get(kind, {})
        if not names:
            continue
        shown = list(names)
        if len(shown) > LISTED:
            shown = sorted(shown, key=lambda name: names[name]["accuracy"])[:LISTED]
        titles = "".join(f"   {COMPARED[model] + ', accuracy':<24}" for model in models(result))
        lines += ["", f"{'by ' + title:<28}{'pictures':>9}{titles}".rstrip()]
        for name in shown:
            cells = [
                "   " + summary.score(each["accuracy"], (each["low"], each["high"])).ljust(24)
                for model in models(result)
                for each in [result[model]["groups"][kind][name]]
            ]
            label = _cut(name or "(none)", 27)
            lines.append(f"{label:<28}{names[name]['pictures']:>9,}{''.join(cells)}".rstrip())
        if len(names) > len(shown):
            lines.append(f"the worst {len(shown)} of {len(names):,}; all are in {RESULT}")
    if result["fine_tuning"]:
        found = summary.verdict(Comparison(**result["fine_tuning"]))
        lines += ["", *textwrap.wrap(found.replace("these pictures", "these folds"), 100)]
    return "\n".join([*lines, "", closing(result)])


def _cut(name: str, width: int) -> str:
    return name if len(name) < width else f"{name[: width - 2]}…"


def models(result: Mapping[str, Any]) -> list[str]:
    """The models that folds were made of: the head, and what fine-tuning made of it."""
    return [name for name in COMPARED if name in result]


def write(found: Folds) -> None:
    """Write both files."""
    predictions.write(PREDICTIONS, found.table[[*ABOUT]], found.classes, found.probabilities, {})
    noted = hashlib.sha256(PREDICTIONS.read_bytes()).hexdigest()
    write_json(RESULT, {**found.result, "predictions": noted})


def settings(run: Revision, *, fine_tuned: bool) -> str:
    """A SHA-256 of all that the folds of a run follow from.

    Its parameters, the code that trains, and what dvc.lock says of the cache: so of the pictures,
    the split, the weights and the code before.
    """
    params = run.read(PARAMS, dialects.load) or {}
    left_out = OTHERS if fine_tuned else OTHERS | {FINE_TUNING, "fine_tune_at"}
    known = {
        name: repr(value)
        for name, value in recipes.leaves(params)
        if name.split(".")[0] not in left_out
    }
    digest = hashlib.sha256(json.dumps(known, sort_keys=True).encode())
    digest.update(cached(run).encode())
    files = run.repo.dvcfs.find(CODE)
    for path in sorted(path for path in files if path.endswith(".py")):
        digest.update(f"{Path(path).name}\0".encode() + run.repo.dvcfs.read_bytes(path))
    return digest.hexdigest()


def cached(run: Revision) -> str:
    """The hash of the cache that dvc.lock has; empty where it has none."""
    lock = run.read(LOCK, yaml.safe_load) or {}
    outs = lock.get("stages", {}).get("extract_features", {}).get("outs", [])
    return next((out.get("md5", "") for out in outs if out.get("path") == "data/features"), "")


def read(run: Revision) -> Folds | None:
    """The folds of a run; None where it has none that are of its present parameters."""
    if not (run.has(RESULT) and run.has(PREDICTIONS)):
        return None
    result = run.read(RESULT, json.loads)
    content = run.read(PREDICTIONS, lambda text: text)
    if not result or not content:
        return None
    if hashlib.sha256(content.encode()).hexdigest() != result["predictions"]:
        return None
    if settings(run, fine_tuned="fine_tuned" in result) != result["settings"]:
        return None
    return parse(content, result)


def parse(content: str, result: Mapping[str, Any]) -> Folds:
    """Folds from what their two files hold.

    Raises:
        ValueError: when the table isn't one of folds.
    """
    table = tables.read(io.StringIO(content))
    classes = tuple(result["classes"])
    columns = [f"{model}_{name}" for model in models(result) for name in classes]
    if [*table.columns] != [*ABOUT, *columns]:
        raise ValueError("not the columns of folds")
    shares = table[columns].to_numpy(np.float64)
    parts = np.split(shares, len(models(result)), axis=1)
    return Folds(classes, table[[*ABOUT]], dict(zip(models(result), parts, strict=True)), result)
