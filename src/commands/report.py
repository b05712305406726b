"""Compare two runs for a pull request: report/.

    make report [BASE=main] [HEAD=vgg16-adam]
    python src report [BASE] [HEAD]

BASE and HEAD are Git revisions or DVC experiments; without HEAD, the workspace. Writes
report/report.md and its pictures from what Git and DVC hold of both. No stage runs.
"""

import argparse
import io
import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import astuple
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import workspace
from thaw.core.arguments import Parser
from thaw.drawing import markdown, plots
from thaw.evaluation.record import COMPARED, compared
from thaw.files import dialects, tables
from thaw.files.serialize import write_csv, write_text
from thaw.pictures import decoding
from thaw.review import comparison_plots, reports
from thaw.review.revisions import WORKSPACE, Revision, opened

REPORT = Path("report")
TILE = 160  # pixels
SHOWN = 12  # pictures of each kind of flip
MODEL = "fine_tuned"  # what a run results in, whose confusion and flips are shown
NO_PAIRS = "no paired test. A change is called chance where the intervals of both overlap."
TOGETHER = (
    "Accuracy is told by its own test (McNemar), which calls chance more in one comparison of "
    "twenty. The other seven scores are told together (Holm), so that one of them does in one of "
    "twenty, not in one of five; the interval of each is its own."
)
IDENTICAL = "Identical: both give every test picture the same probabilities."
ONE_IS_MISSING = "Not drawn: one of them is missing."
Runs = tuple[Revision, Revision]
Predictions = tuple[reports.Predictions, reports.Predictions]


def picture(path: Path) -> str:
    return f"![{path.stem.replace('_', ' ').capitalize()}]({path.name})"


def arguments() -> argparse.Namespace:
    parser = Parser(__doc__)
    parser.add_argument("base", nargs="?", default="main", help="default: %(default)s")
    parser.add_argument("head", nargs="?", default=WORKSPACE, help="default: %(default)s")
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
    )


def thawed(found: dict[str, Any]) -> bool:
    """Whether a run fine-tuned anything, from what `read_test` gives; older runs don't tell."""
    return bool(found.get("thawed", True))


def titles(found: list[dict[str, Any]]) -> Mapping[str, str]:
    """The models of two runs to compare, and their titles."""
    before, after = map(thawed, found)
    if before != after:
        which = "before" if before else "after"
        return COMPARED | {MODEL: f"{COMPARED[MODEL]} {which}, the head's otherwise"}
    return compared(before)


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


def compare_parameters(runs: Runs, columns: list[str]) -> str:
    before, after = (read_params(run) for run in runs)
    parts = [reports.parameters(before, after, columns)]
    for run in runs:
        if stale := run.stale():
            names = ", ".join(map(markdown.code, stale))
            parts.append(
                f"{run.title} was not run since these changed: {names}. What follows is of an "
                "older run; `dvc repro` there and commit what it writes."
            )
    return "\n\n".join(parts)


def compare_metrics(
    found: list[dict[str, Any]], both: list[reports.Tested], columns: list[str]
) -> str:
    """Scores of both runs, and a verdict where they were tested on the same pictures.

    Args:
        found: as `read_test` gives it.
        both: on what they were tested.
        columns: their titles.
    """
    different = reports.unlike(*both)
    pairs = paired(both)
    if different:
        parts = [f"{different.sentence}: these runs can't be compared, so there is no verdict."]
    elif pairs:
        parts = [TOGETHER]
    else:
        parts = [f"The predictions of one are missing: {NO_PAIRS}"]
    positives = [positive(*each) for each in zip(found, both, strict=True)]
    if positives[0] != positives[1] and not different:
        of = " and ".join(
            f"{'the mean over the classes' if name is None else f'of {markdown.code(name)}'} {when}"
            for name, when in zip(positives, ("before", "after"), strict=True)
        )
        parts.append(
            f"Precision, recall, F1, ROC AUC and average precision are {of}: they aren't compared."
        )
    for model, title in reversed(list(titles(found).items())):
        parts.append(f"### {title.capitalize()}")
        within = [each.get("intervals", {}).get(model, {}) for each in found]
        noise = None if different else reports.unpaired_noise(within[0], within[1])
        if pairs:
            pair = reports.pair(*pairs, model)
            if reports.identical(pair):
                parts.append(IDENTICAL)
                noise = {}
            else:
                name = positives[0]
                at = None if name is None else pairs[0].classes.index(name)
                noise, comparison = reports.paired_noise(pair, at)
                parts.append(reports.verdict(comparison, len(pair.labels)))
        values = [each.get("scores", {}).get(model, {}) for each in found]
        parts.append(reports.scores(values, within, noise, positives, columns))
    return "\n\n".join(parts)


def paired(both: list[reports.Tested]) -> Predictions | None:
    """The predictions of both runs, where they are of the same pictures."""
    before, after = (each.predictions for each in both)
    return (before, after) if before and after and not reports.unlike(*both) else None


def compare_numbers(runs: Runs, columns: list[str]) -> str:
    before, after = (
        {name: read_metrics(run, name) for name in ("split", "head", "model")} for run in runs
    )
    return reports.numbers(before, after, columns)


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
    return picture(path)


def draw_confusion(runs: Runs, folder: Path) -> str:
    before, after = (
        run.read(workspace.PLOTS / f"confusion_{MODEL}.csv", confusion) for run in runs
    )
    if before is None or after is None:
        return ONE_IS_MISSING
    matrices = [matrix(title, found) for title, found in (("Before", before), ("After", after))]
    path = folder / "confusion_matrices.png"
    plots.confusion_matrices(matrices, path)
    return picture(path)


def matrix(title: str, found: pd.Series) -> plots.Matrix:
    """A run's own classes, in its own order."""
    classes = list(dict.fromkeys([*found.index.unique(0), *found.index.unique(1)]))
    cells = pd.MultiIndex.from_product([classes, classes])
    counts = found.reindex(cells, fill_value=0).to_numpy(np.int64)
    return plots.Matrix(title, counts.reshape(len(classes), len(classes)), classes)


def show_flips(runs: Runs, both: list[reports.Tested], folder: Path) -> str:
    found = paired(both)
    if not found:
        different = reports.unlike(*both)
        why = different.sentence if different else "The predictions of one are missing"
        return f"Not compared: {why[0].lower()}{why[1:]}."
    pair = reports.pair(*found, MODEL)
    flips = reports.flips(pair, list(found[0].labels), found[0].classes)
    if not flips:
        return "No prediction changed."
    columns = ("picture", "actual", "before", "after", "share_before", "share_after")
    write_csv(folder / "flipped.csv", columns, [astuple(flip) for flip in flips])
    parts = []
    for kind in reports.FLIPS:
        if chosen := [flip for flip in flips if flip.kind == kind]:
            path = folder / f"{kind.replace(' ', '_')}.png"
            parts.append(f"### {kind.capitalize()}: {len(chosen)}")
            if draw_flips(runs, chosen[:SHOWN], path):
                parts.append(picture(path))
            parts.append(reports.flipped(chosen))
    return "\n\n".join(parts)


def draw_flips(runs: Runs, flips: list[reports.Flip], path: Path) -> bool:
    """Draw the pictures that can be had; tell whether there are any."""
    params = read_params(runs[1])
    resize, bit_depth = params.get("resize", "stretch"), params.get("bit_depth", "file")
    tiles = []
    with tempfile.TemporaryDirectory(prefix=".part-", dir=path.parent) as folder:
        for flip in flips:
            copies = (
                run.copy(workspace.IMAGES / flip.path, Path(folder)) for run in reversed(runs)
            )
            if copy := next(filter(None, copies), None):
                pixels = decoding.load(copy, TILE, resize, bit_depth)
                colour = plots.RIGHT if flip.after == flip.label else plots.WRONG
                tiles.append(plots.Tile(pixels, reports.caption(flip), colour))
    if gone := len(flips) - len(tiles):
        runs[1].missing.append(
            f"{gone} of {len(flips)} pictures to show are neither in the cache here nor on the "
            "remote; `dvc push` them where they are, or `dvc repro download`"
        )
    if tiles:
        plots.grid(tiles, path.stem.replace("_", " ").capitalize(), path, 4)
    return bool(tiles)


def same_commit(runs: Runs) -> bool:
    revs = [None if run.name == WORKSPACE else run.repo.get_rev() for run in runs]
    return revs[0] == revs[1] is not None


def write(runs: Runs, folder: Path) -> None:
    columns = [f"{when}: {run.title}" for when, run in zip(("before", "after"), runs, strict=True)]
    title = f"# From {runs[0].title} to {runs[1].title}"
    if same_commit(runs):
        sentence = "Identical: both names mean the same commit."
        write_text(folder / "report.md", f"{title}\n\n{sentence}\n")
        return
    found = [read_test(run) for run in runs]
    both = [tested(*each) for each in zip(runs, found, strict=True)]
    result = "the fine-tuned model" if titles(found) == COMPARED else "the result"
    sections = {
        "Parameters": compare_parameters(runs, columns),
        "Test pictures": compare_metrics(found, both, columns),
        "Data and training": compare_numbers(runs, columns),
        "Learning curves": draw_curves(runs, folder),
        f"Confusion matrices of {result}": draw_confusion(runs, folder),
        f"Predictions of {result} that changed": show_flips(runs, both, folder),
    }
    parts = [title]
    missing = dict.fromkeys(sentence for run in runs for sentence in run.missing)
    if missing:
        parts.append("\n".join(f"- Missing: {sentence}." for sentence in missing))
    parts += [f"## {title}\n\n{text}" for title, text in sections.items()]
    write_text(folder / "report.md", "\n\n".join(parts) + "\n")


def main() -> None:
    given = arguments()
    with (
        opened(given.base) as base,
        opened(given.head) as head,
        tempfile.TemporaryDirectory(prefix=".part-", dir=".") as folder,
    ):
        made = Path(folder) / REPORT
        write((base, head), made)
        shutil.rmtree(REPORT, ignore_errors=True)
        made.replace(REPORT)
    print((REPORT / "report.md").read_text(encoding="utf-8"), end="")
