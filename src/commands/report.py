"""Compare runs for a pull request: report/.

    make report [BASE=main] [HEAD="vgg16-adam codes-svm"]
    python src report [BASE] [HEAD …]

BASE and HEAD are Git revisions or DVC experiments; without HEAD, the workspace. A run is compared
with the commit where it branched off from BASE, so that what BASE gained since isn't its loss.
Writes report/report.md and its drawings from what Git and DVC hold; of several runs, a table of
them all, and a report of each. No stage runs.
"""

import argparse
import io
import json
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import workspace
from thaw.core import cores
from thaw.core.arguments import Parser
from thaw.core.errors import ThawError, as_yaml
from thaw.drawing import markdown, plots
from thaw.evaluation import differences, influence
from thaw.evaluation.inference import Classifier
from thaw.evaluation.record import Comparison, Difference
from thaw.evaluation.robustness import Robustness
from thaw.files import dialects, tables
from thaw.files.serialize import write_csv, write_text
from thaw.pictures import decoding
from thaw.review import comparison_plots, reports, revisions
from thaw.review.revisions import WORKSPACE, Revision, opened
from thaw.splitting import corrections

REPORT = Path("report")
TILE = 160  # pixels
SHOWN = 12  # pictures of each kind
MODEL = "fine_tuned"  # what a run results in, whose confusion and flips are shown
TREND = 20  # commits of a branch
TRIALS, LONGEST = 20, 3.0  # of a picture's time; seconds for them all
ONE_IS_MISSING = "Not drawn: one of them is missing."
TRAININGS = {"head": "train_head", "fine-tuning": "fine_tune"}
MADE = workspace.MODELS / "model.onnx"
LEFT = {  # by each training, and where it lay before stage `decide` was
    "head": (workspace.HEAD_ONNX, workspace.MODELS / "head.onnx"),
    "fine-tuning": (workspace.FINE_TUNED_ONNX, MADE),
}
Runs = tuple[Revision, Revision]


def drawing(path: Path) -> str:
    return f"![{path.stem.replace('_', ' ').capitalize()}]({path.name})"


def arguments() -> argparse.Namespace:
    parser = Parser(__doc__)
    parser.add_argument("base", nargs="?", default="main", help="default: %(default)s")
    parser.add_argument("head", nargs="*", help="default: the workspace")
    parser.add_argument(
        "--pictures",
        choices=("yes", "no"),
        default="yes",
        help="whether to show pictures of the dataset (default: %(default)s)",
    )
    return parser.read()


def mapping(found: object) -> dict[str, Any]:
    if not isinstance(found, dict):
        raise TypeError("not a mapping")
    return found


def read_params(run: Revision) -> dict[str, Any]:
    return run.read(workspace.PARAMS, lambda text: mapping(dialects.load(text))) or {}


def read_metrics(run: Revision, name: str) -> dict[str, Any]:
    path = workspace.METRICS / f"{name}.json"
    return run.read(path, lambda text: mapping(json.loads(text))) or {}


def read_test(run: Revision) -> dict[str, Any]:
    """What its test pictures say of a run, empty where it isn't there."""
    if run.has(workspace.METRICS / "intervals.json"):  # a run of before the end of 2026
        return {
            "scores": read_metrics(run, "evaluation"),
            "intervals": read_metrics(run, "intervals"),
        }
    return read_metrics(run, "test")


def tested(run: Revision, found: dict[str, Any]) -> reports.Tested:
    """On what a run was tested, from what `read_test` gives."""
    known = predictions(run)
    groups = found.get("groups", {}).get("label", {}).get("head", {})
    return reports.Tested(
        read_params(run).get("dataset"),
        frozenset(known.classes if known else groups),
        found.get("test_set", ""),
        known,
        run.checksums(workspace.IMAGES),
    )


def thawed(found: dict[str, Any]) -> bool:
    """Whether a run fine-tuned anything, from what `read_test` gives; older runs don't tell."""
    return bool(found.get("thawed", True))


def positive(found: dict[str, Any], run: reports.Tested) -> str | None:
    """The class whose precision and recall a run gives; of an older run, the second of two."""
    if "positive" in found or run.predictions is None or len(run.classes) != 2:
        return found.get("positive")
    return run.predictions.classes[1]


def history(text: str) -> pd.DataFrame:
    return tables.numbers(io.StringIO(text))[[*comparison_plots.COLUMNS]]


def confusion(text: str) -> pd.Series:
    """Test pictures by actual and predicted class. Older runs have a row for each picture."""
    cells = tables.read(io.StringIO(text))
    counts = cells["pictures"].astype(int) if "pictures" in cells else pd.Series(1, cells.index)
    return counts.groupby([cells["actual"], cells["predicted"]], sort=False).sum()


def predictions(run: Revision) -> reports.Predictions | None:
    return run.read(workspace.PREDICTIONS, reports.predictions)


@dataclass(frozen=True)
class Compared:
    """Two runs, and what is known of their test pictures."""

    runs: Runs
    found: Sequence[dict[str, Any]]  # of `read_test`
    tested: tuple[reports.Tested, reports.Tested]

    @classmethod
    def of(cls, runs: Runs) -> "Compared":
        found = [read_test(run) for run in runs]
        return cls(runs, found, (tested(runs[0], found[0]), tested(runs[1], found[1])))

    @cached_property
    def unlike(self) -> reports.Unlike | None:
        return reports.unlike(*self.tested)

    @cached_property
    def pair(self) -> reports.Pair | None:
        return reports.pair(*self.tested, MODEL)

    @cached_property
    def classes(self) -> Sequence[str]:
        """In the order of the pair."""
        known = self.tested[0].predictions
        return known.classes if known else ()

    @cached_property
    def positives(self) -> list[str | None]:
        return [positive(*each) for each in zip(self.found, self.tested, strict=True)]

    def place(self, side: int) -> int | None:
        """The number of the class that the scores of a run are of."""
        name = self.positives[side]
        return None if name is None else self.classes.index(name)

    @cached_property
    def comparison(self) -> Comparison | None:
        if self.pair is None:
            return None
        return differences.compare(self.pair.labels, *self.pair.decided)

    @cached_property
    def differences(self) -> dict[str, Difference] | None:
        if self.pair is None:
            return None
        both = self.pair.before, self.pair.after
        return differences.differences(
            self.pair.labels, *both, self.place(1), decided=self.pair.decided
        )

    @cached_property
    def sides(self) -> list[reports.Side]:
        """Their scores: of the pictures that both have, where these are known."""
        sides = []
        for side, found in enumerate(self.found):
            known = found.get("scores", {}).get(MODEL, {})
            if self.pair is not None:
                shares = (self.pair.before, self.pair.after)[side]
                said = self.pair.decided[side]
                known = influence.judge(self.pair.labels, shares, self.place(side), said).scores
            within = found.get("intervals", {}).get(MODEL, {})
            sides.append(reports.Side(known, within, self.positives[side]))
        return sides

    @property
    def all_pictures(self) -> bool:
        """Whether both were tested on the pictures of the pair alone."""
        known = [each.predictions for each in self.tested]
        return self.pair is None or all(
            each is None or len(each.labels) == len(self.pair.labels) for each in known
        )


def first_line(both: Compared) -> str:
    """The verdict and its reason, and what was compared."""
    before, after = (run.title for run in both.runs)
    word = reports.verdict(both.pair, both.comparison)
    if both.unlike:
        return f"{word}: {both.unlike.sentence}. This is {after} beside {before}."
    if both.pair is None or both.comparison is None:
        return (
            f"{word}: the predictions of one are missing, so that no paired test can be made. This "
            f"is {after} beside {before}."
        )
    old, new = (reports.score(side.scores["accuracy"]) for side in both.sides)
    return (
        f"{word}: {after} has an accuracy of {new}, {before} of {old}: "
        f"{reports.why(both.pair, both.comparison)}."
    )


def notes(both: Compared, ahead: int, base: str) -> list[str]:
    """What a reader must know of the comparison."""
    found = []
    if ahead:
        commits = "1 commit" if ahead == 1 else f"{ahead:,} commits"
        found.append(f"{markdown.code(base)} went on by {commits} since; they don't count here.")
    for run in both.runs:
        if stale := run.stale():
            names = ", ".join(map(markdown.code, stale))
            found.append(
                f"{run.title} was not run since these changed: {names}. What follows is of an "
                "older run; `dvc repro` there and commit what it writes."
            )
    if both.pair and not both.all_pictures:
        counts = [len(each.predictions.labels) for each in both.tested if each.predictions]
        found.append(
            f"The test pictures differ ({counts[0]:,} before, {counts[1]:,} after): all figures "
            f"are of the {len(both.pair.labels):,} that both have."
        )
    if both.pair and both.pair.relabelled:
        one = both.pair.relabelled == 1
        found.append(
            f"{both.pair.relabelled:,} of them {'has' if one else 'have'} another label now, by "
            "which both are judged."
        )
    return found


def compare_changes(both: Compared, folder: Path, pictures: bool) -> str:
    """What changed: parameters, code, data."""
    before, after = both.runs
    files = [
        name
        for name in revisions.changed_files(before, after)
        if not name.startswith(("metrics/", "plots/", "models/", "data/"))
        and name not in ("dvc.lock", "params.yaml", str(workspace.CORRECTIONS))
    ]
    return "\n\n".join(
        [
            reports.parameters(*map(read_params, both.runs)),
            reports.code_changes(files, after.dependencies()),
            *compare_data(both, folder, pictures),
            *filter(None, [reports.corrected(*map(people, both.runs))]),
        ]
    )


def compare_data(both: Compared, folder: Path, pictures: bool) -> list[str]:
    found = [listing(*each) for each in zip(both.runs, both.tested, strict=True)]
    if found[0] is None or found[1] is None:
        facts = [run.facts(workspace.RAW) for run in both.runs]
        if facts[0] and facts[1] and facts[0][0] == facts[1][0] != "":
            return ["Pictures: the same."]
        return ["Pictures: whether they changed isn't known, since the list of one is missing."]
    changes = reports.dataset_changes(*found)
    parts = [reports.in_words(changes)]
    if not pictures:
        return parts
    wanted = {
        "added": [(path, label) for path, label in changes.added.items()],
        "removed": [(path, label) for path, label in changes.removed.items()],
        "relabelled": [(path, f"{a} → {b}") for path, (a, b) in changes.relabelled.items()],
    }
    for kind, rows in wanted.items():
        tiles = [(path, text, "black") for path, text in rows]
        parts += draw_grid(both.runs, tiles, kind.capitalize(), folder / f"{kind}.png")
    return parts


def listing(run: Revision, known: reports.Tested) -> pd.DataFrame | None:
    """All pictures of a run, as corrections have them: path, label, content."""
    if known.contents is None:
        return None
    contents = known.contents
    table = run.read(workspace.LABELS, lambda text: tables.read(io.StringIO(text)))
    if table is None or not {"path", "label"} <= {*table.columns}:
        return None
    made = people(run)
    gone = corrections.dropped(made)
    labels = corrections.corrected(dict(zip(table["path"], table["label"], strict=True)), made)
    table = table[~table["path"].isin(gone)]
    return table.assign(
        content=[contents.get(path, path) for path in table["path"]],
        label=[labels[path] for path in table["path"]],
    )


def people(run: Revision) -> list[corrections.Correction]:
    """What people corrected in a run's labels."""
    path = workspace.CORRECTIONS
    place = f"{path} of {run.name}"
    return (run.read(path, lambda t: corrections.parse(t, place)) or []) if run.has(path) else []


def compare_metrics(both: Compared) -> str:
    before, after = both.sides
    verdicts = both.unlike is None
    parts = [reports.scores(before, after, both.differences, verdicts)]
    first, second = both.positives
    if verdicts:
        whole = "the mean over the classes" if second is None else f"of {markdown.code(second)}"
        if first == second:
            parts.append(f"Precision, recall, F1, ROC AUC and average precision are {whole}.")
        else:
            other = "the mean over the classes" if first is None else f"of {markdown.code(first)}"
            parts.append(
                f"Precision, recall, F1, ROC AUC and average precision are {other} before and "
                f"{whole} after: they aren't compared."
            )
    if both.differences:
        parts.append(
            "Accuracy is told by its own test (McNemar), at 5 %. The other seven scores are told "
            "together (Holm), so that chance makes one of them look like more in one comparison "
            "of twenty; the interval of each is its own."
        )
    elif verdicts:
        parts.append("A change is called chance where the intervals of both overlap.")
    head = [found.get("scores", {}).get("head", {}).get("accuracy") for found in both.found]
    shown = [found.get("scores", {}).get(MODEL, {}).get("accuracy") for found in both.found]
    if head != shown:
        old, new = map(reports.score, head)
        parts.append(
            f"Head only, on each run's own test pictures: accuracy {old} before, {new} after."
        )
    return "\n\n".join(parts)


def compare_groups(both: Compared) -> str:
    pair = both.pair
    if pair is None:
        return ""
    parts = [reports.by_group("class", both.classes, pair, pair.labels)]
    names = sorted(set(pair.groups))
    if len(names) > 1:
        numbers = [names.index(name) for name in pair.groups]
        parts.append(reports.by_group("group", names, pair, numbers))
    if len(both.classes) > 2:
        parts.append(reports.confused(pair, both.classes))
    return "\n\n".join(parts)


def compare_costs(runs: Runs) -> str:
    sums = [run.facts(MADE) for run in runs]
    times = milliseconds(runs)
    if sums[0] and sums[1] and sums[0][0] == sums[1][0]:
        times = [times[0]] * 2  # one model, measured twice
    found = []
    for run, facts, time_ in zip(runs, sums, times, strict=True):
        parameters = read_metrics(run, "model").get("parameters")
        found.append(reports.Cost(facts[1] if facts else None, parameters, time_, seconds(run)))
    return reports.costs(found[0], found[1], cores.available())


def seconds(run: Revision) -> dict[str, float]:
    """How long its trainings took, where they ran on this machine."""
    known = workspace.read_seconds()
    found = {}
    for name, paths in LEFT.items():
        facts = run.facts(paths[0]) or run.facts(paths[1])
        if facts and (took := known.get(TRAININGS[name], {}).get(facts[0])) is not None:
            found[name] = took
    return found


def milliseconds(runs: Sequence[Revision]) -> list[float | None]:
    """The median time that each model takes for a picture, by turns, so that both have the same
    conditions.
    """
    with tempfile.TemporaryDirectory() as folder:
        models = []
        for number, run in enumerate(runs):
            place = Path(folder, str(number))
            place.mkdir()
            copy = run.copy(MADE, place)
            try:
                models.append(Classifier(copy) if copy else None)
            except ThawError:
                models.append(None)
        taken: list[list[float]] = [[] for _ in runs]
        end = time.perf_counter() + LONGEST
        for trial in range(TRIALS + 1):
            for model, times in zip(models, taken, strict=True):
                if model is not None:
                    pixels = np.full((model.image_size, model.image_size, 3), 127, np.uint8)
                    began = time.perf_counter()
                    model.judge(pixels)
                    if trial:  # the first one allocates
                        times.append(1000 * (time.perf_counter() - began))
            if trial and time.perf_counter() > end:
                break
    return [float(np.median(times)) if times else None for times in taken]


def compare_numbers(runs: Runs) -> str:
    before, after = (
        {name: read_metrics(run, name) for name in ("split", "head", "model")} for run in runs
    )
    return reports.numbers(before, after)


def compare_robustness(runs: Runs) -> str:
    """By `make robustness`, where it looked at these runs' own models."""
    before, after = map(robustness, runs)
    if after is None and runs[1].has(workspace.ROBUSTNESS):
        return "Not measured for this run's model: `make robustness`."
    return reports.robustness(before, after) if after else ""


def robustness(run: Revision) -> Robustness | None:
    """What `make robustness` found of a run's model."""
    model = run.facts(MADE)
    if model is None or not run.has(workspace.ROBUSTNESS):
        return None
    found = run.read(workspace.ROBUSTNESS, lambda text: Robustness.of_json(json.loads(text)))
    return found if found and found.model == model[0] else None


def draw_trend(base: str, both: Compared, folder: Path) -> str:
    """Accuracy along the branch that is compared with, and of the run."""
    names = [workspace.METRICS / f"{name}.json" for name in ("evaluation", "test")]
    revision = "HEAD" if base == WORKSPACE else both.runs[0].commit
    found = []
    for past in revisions.history(revision, names, TREND):
        try:
            scores, facts = (json.loads(past.texts.get(str(name), "{}")) for name in names)
            accuracy = scores.get("test", scores)[MODEL]["accuracy"]
        except (ValueError, KeyError, TypeError, AttributeError):
            continue  # an older form, or a merge's remains
        within = facts.get("intervals", {}).get(MODEL, {}).get("accuracy", (accuracy, accuracy))
        at = f"{past.commit[:7]}\n{past.date}"
        found.append(comparison_plots.Point(at, accuracy, within, facts.get("test_set", "")))
    if len(found) < 2:
        return ""
    last = both.found[1]
    accuracy = last.get("scores", {}).get(MODEL, {}).get("accuracy")
    if accuracy is not None:
        within = last.get("intervals", {}).get(MODEL, {}).get("accuracy", (accuracy, accuracy))
        test_set = last.get("test_set", "")
        found.append(comparison_plots.Point("this run", accuracy, within, test_set))
    path = folder / "trend.png"
    comparison_plots.trend(found, path)
    return (
        f"{drawing(path)}\n\nTest accuracy with its 95 % interval in the latest commits of "
        f"{markdown.code(base)} that changed it. A dotted line is where the test pictures changed."
    )


def curves(run: Revision) -> comparison_plots.Curves | None:
    head, model = (run.read(workspace.PLOTS / f"{name}.csv", history) for name in ("head", "model"))
    if head is None or model is None:
        return None
    return comparison_plots.Curves(pd.concat([head, model]), len(head) if len(model) else None)


def draw_curves(runs: Runs, folder: Path) -> str:
    before, after = map(curves, runs)
    if before is None or after is None:
        return ONE_IS_MISSING
    path = folder / "learning_curves.png"
    comparison_plots.learning_curves(before, after, path)
    return drawing(path)


def draw_confusion(runs: Runs, folder: Path) -> str:
    before, after = (
        run.read(workspace.PLOTS / f"confusion_{MODEL}.csv", confusion) for run in runs
    )
    if before is None or after is None:
        return ONE_IS_MISSING
    matrices = [matrix(title, found) for title, found in (("Before", before), ("After", after))]
    path = folder / "confusion_matrices.png"
    plots.confusion_matrices(matrices, path)
    return drawing(path)


def matrix(title: str, found: pd.Series) -> plots.Matrix:
    """A run's own classes, in its own order."""
    classes = list(dict.fromkeys([*found.index.unique(0), *found.index.unique(1)]))
    cells = pd.MultiIndex.from_product([classes, classes])
    counts = found.reindex(cells, fill_value=0).to_numpy(np.int64)
    return plots.Matrix(title, counts.reshape(len(classes), len(classes)), classes)


def draw_reliability(both: Compared, folder: Path) -> str:
    if both.pair is None:
        return ""
    path = folder / "reliability.png"
    shares = (both.pair.before, both.pair.after)
    before, after = (
        comparison_plots.Calibration(each, said, side.scores["calibration_error"])
        for each, said, side in zip(shares, both.pair.decided, both.sides, strict=True)
    )
    comparison_plots.reliability(both.pair.labels, before, after, path)
    return (
        f"{drawing(path)}\n\nAbove the grey line predictions are right more often than the "
        "model is sure, below it less often."
    )


def show_flips(both: Compared, folder: Path, pictures: bool) -> str:
    if both.pair is None:
        why = both.unlike.sentence if both.unlike else "the predictions of one are missing"
        return f"Not compared: {why}."
    flips = reports.flips(both.pair, both.classes)
    if not flips:
        return "No prediction changed."
    columns = ("picture", "actual", "before", "after", "share_before", "share_after")
    write_csv(folder / "flipped.csv", columns, [astuple(flip) for flip in flips])
    parts = []
    for kind in reports.FLIPS:
        if chosen := [flip for flip in flips if flip.kind == kind]:
            path = folder / f"{kind.replace(' ', '_')}.png"
            parts.append(f"### {kind.capitalize()}: {len(chosen)}")
            if pictures:
                tiles = [
                    (
                        flip.path,
                        reports.caption(flip),
                        plots.RIGHT if flip.after == flip.label else plots.WRONG,
                    )
                    for flip in chosen
                ]
                parts += draw_grid(both.runs, tiles, kind.capitalize(), path)
            parts.append(reports.folded("As a table", reports.flipped(chosen)))
    return "\n\n".join(parts)


def draw_grid(
    runs: Runs, wanted: Sequence[tuple[str, str, str]], title: str, path: Path
) -> list[str]:
    """Draw the first of some pictures that can be had, of their path, caption and colour."""
    params = read_params(runs[1])
    resize, bit_depth = params.get("resize", "stretch"), params.get("bit_depth", "file")
    shown, tiles = wanted[:SHOWN], []
    with tempfile.TemporaryDirectory(prefix=".part-", dir=path.parent) as folder:
        for name, caption, colour in shown:
            copies = (run.copy(workspace.IMAGES / name, Path(folder)) for run in reversed(runs))
            if copy := next(filter(None, copies), None):
                pixels = decoding.load(copy, TILE, resize, bit_depth)
                tiles.append(plots.Tile(pixels, caption, colour, name))
    if gone := len(shown) - len(tiles):
        runs[1].missing.append(
            f"{gone} of {len(shown)} pictures to show are neither in the cache here nor on the "
            "remote; `dvc push` them where they are, or `dvc repro download`"
        )
    if not tiles:
        return []
    plots.grid(tiles, f"{title}: {len(tiles)} of {len(wanted):,}", path, 4)
    return [drawing(path)]


def same_commit(runs: Runs) -> bool:
    revs = [None if run.name == WORKSPACE else run.repo.get_rev() for run in runs]
    return revs[0] == revs[1] is not None


@contextmanager
def opened_pair(base: str, head: str) -> Iterator[tuple[Runs, int]]:
    """A run and what it is compared with, and how many commits the base has had since."""
    forked = revisions.fork(base, head)
    commit, ahead = forked or (None, 0)
    about = "where it branched off" if forked else ""
    with opened(base, commit, about) as first, opened(head) as second:
        yield (first, second), ahead


def write(base: str, both: Compared, ahead: int, folder: Path, pictures: bool) -> None:
    """Write a report of two runs."""
    runs = both.runs
    if same_commit(runs):
        title = f"{runs[0].title} and {runs[1].title}"
        text = f"**Identical**: {title}: both names mean the same commit.\n"
        write_text(folder / "report.md", text)
        return
    thaws = any(map(thawed, both.found))
    result = "the fine-tuned model" if all(map(thawed, both.found)) else "the result"
    groups = "Classes" if not both.pair or len(set(both.pair.groups)) < 2 else "Classes and groups"
    folder.mkdir(parents=True, exist_ok=True)
    sections = {
        "What changed": compare_changes(both, folder, pictures),
        f"Test pictures, by {result}" if thaws else "Test pictures": compare_metrics(both),
        groups: compare_groups(both),
        "Predictions that changed": show_flips(both, folder, pictures),
        "Confusion": draw_confusion(runs, folder),
        "Confidence": draw_reliability(both, folder),
        "Robustness": compare_robustness(runs),
        "Size and time": compare_costs(runs),
        f"Along {markdown.code(base)}": draw_trend(base, both, folder),
        "Learning curves": draw_curves(runs, folder),
        "Training": reports.folded("Numbers that changed", compare_numbers(runs)),
    }
    parts = [first_line(both)]
    told = notes(both, ahead, base)
    told += [f"Missing: {each}." for each in dict.fromkeys(s for run in runs for s in run.missing)]
    if told:
        parts.append("\n".join(f"- {sentence}" for sentence in told))
    parts += [f"## {title}\n\n{text}" for title, text in sections.items() if text]
    write_text(folder / "report.md", "\n\n".join(parts) + "\n")


def row(both: Compared, link: str) -> reports.Run:
    """A run beside others, compared with the base."""
    changed = [
        f"{name}: {as_yaml(markdown.place(value))}"
        for name, _, value in reports.changed(*map(read_params, both.runs))
    ]
    found = (both.differences or {}).get("accuracy")
    word = both.unlike.note if both.unlike else reports.ABSENT
    if found is not None:
        word = reports.word("accuracy", found.value, found.chance)
    scores = both.found[1].get("scores", {}).get(MODEL, {})
    return reports.Run(both.runs[1].title, link, scores, changed, word, found)


def write_several(base: str, heads: Sequence[str], folder: Path, pictures: bool) -> None:
    """Write a table of all runs, and a report of each in a folder of its name."""
    rows, lines, bases = [], [], {}
    for number, head in enumerate(heads, start=1):
        place = f"{number}-{''.join(c if c.isalnum() or c in '-_.' else '-' for c in head)}"
        with opened_pair(base, head) as (runs, ahead):
            both = Compared.of(runs)
            write(base, both, ahead, folder / place, pictures)
            found = row(both, f"{place}/report.md")
            rows.append(found)
            lines.append(f"- {first_line(both)}")
            scores = both.found[0].get("scores", {}).get(MODEL, {})
            bases[runs[0].title] = reports.Run(runs[0].title, "", scores, [], "")
    best = [each for each in rows if each.word == reports.BETTER]
    best.sort(key=lambda each: -(each.difference.value if each.difference else 0))
    if best:
        first = f"**Better**: {', '.join(each.title for each in best)} than {markdown.code(base)}"
        first += f"; {best[0].title} gains most." if len(best) > 1 else "."
    else:
        first = f"**None is better** than {markdown.code(base)}, as far as can be told."
    changed = [
        f"- {each.title}: {', '.join(map(markdown.code, each.changed)) or 'nothing'}"
        for each in rows
    ]
    parts = [
        first,
        reports.runs(list(bases.values()), rows),
        "Each is compared with the commit where it branched off, on the test pictures that both "
        f"have, at 5 %: of {len(rows)} runs, one may look like more than chance by chance.",
        "\n".join(lines),
        "## Other scores",
        reports.other_scores([*bases.values(), *rows]),
        "## Parameters that each changed",
        "\n".join(changed),
    ]
    write_text(folder / "report.md", "\n\n".join(parts) + "\n")


def main() -> None:
    given = arguments()
    heads = given.head or [WORKSPACE]
    pictures = given.pictures == "yes"
    with tempfile.TemporaryDirectory(prefix=".part-", dir=".") as folder:
        made = Path(folder) / REPORT
        if len(heads) > 1:
            write_several(given.base, heads, made, pictures)
        else:
            with opened_pair(given.base, heads[0]) as (runs, ahead):
                write(given.base, Compared.of(runs), ahead, made, pictures)
        shutil.rmtree(REPORT, ignore_errors=True)
        made.replace(REPORT)
    print((REPORT / "report.md").read_text(encoding="utf-8"), end="")
    print(f"\n{REPORT / 'report.md'}")
