"""Write the current run as one HTML file: page/index.html.

    make page

Reads what the stages wrote. The file fetches nothing: it can be mailed, or opened from the disk.
"""

import argparse
import hashlib
import os
import statistics
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

import workspace
from thaw.core import environment
from thaw.core.arguments import Parser, whole
from thaw.core.errors import ThawError
from thaw.core.progress import track
from thaw.core.threads import in_threads
from thaw.drawing import markdown, plots, summary
from thaw.evaluation import deciding, differences, metrics
from thaw.evaluation.inference import Classifier
from thaw.evaluation.record import TITLES, Evaluation, Spot, WeakSpots, whose
from thaw.evaluation.robustness import of_model, sentences
from thaw.files import checksums, tables
from thaw.files.serialize import write_json, write_text
from thaw.pictures import decoding
from thaw.review import audit_page, auditing, folds, pages, reports, share_tables
from thaw.review.revisions import WORKSPACE, Revision, opened
from thaw.review.robustness import note
from thaw.splitting import corrections

PAGE = Path("page/index.html")
THUMBNAIL = 160  # pixels
MOST = 2000
HEAT_MAPS = 24
TIMED = 9  # pictures
SECTIONS = {
    "summary": "Summary",
    "metrics": "Metrics",
    "curves": "Curves",
    "confusion": "Confusion",
    "threshold": "Threshold",
    "robustness": "Robustness",
    "gallery": "Pictures",
    "audit": "Audit",
    "pipeline": "Pipeline",
    "parameters": "Parameters",
}


def arguments() -> argparse.Namespace:
    parser = Parser(__doc__)
    parser.add_argument(
        "--pictures",
        type=whole(0),
        default=MOST,
        metavar="N",
        help="show no more than N test pictures, mistakes first (default: %(default)s)",
    )
    parser.add_argument(
        "--heat-maps",
        type=whole(0),
        default=HEAT_MAPS,
        metavar="N",
        help="for the N most confident mistakes (default: %(default)s); with 0, TensorFlow isn't "
        "imported",
    )
    return parser.read()


def read_numbers(name: str) -> pd.DataFrame:
    return tables.numbers(workspace.PLOTS / f"{name}.csv")


def graph(now: Revision) -> pages.Drawing:
    stages = {each.name: each.desc or each.name for each in now.repo.index.stages}
    edges = [(early.name, late.name) for late, early in now.repo.index.graph.edges]
    return pages.drawing(stages, edges)


def commit(now: Revision) -> str:
    changed = ", with changes" if now.repo.scm.is_dirty() else ""
    return f"commit {now.repo.scm.get_rev()[:7]}{changed}"


def warnings(now: Revision) -> list[str]:
    if not (stale := now.stale()):
        return []
    return [
        f"{', '.join(stale)} changed in params.yaml since the stages ran: what follows is of an "
        "older run. `dvc repro` brings it up to date."
    ]


def charts(tested: Evaluation) -> list[dict[str, Any]]:
    head, model = read_numbers("head"), read_numbers("model")
    starts = len(head) if len(head) and len(model) else None
    history = pd.concat([head, model])
    found = [
        {
            "title": title,
            "about": f"{title} on training and validation pictures by epoch",
            "spec": pages.learning_curve(history, starts, name, title.lower()),
        }
        for name, title in (("accuracy", "Accuracy"), ("loss", "Cross-entropy"))
    ]
    counts = {name: each["pictures"] for name, each in tested.groups["label"]["head"].items()}
    rate = 1 / len(counts)  # of a class that is guessed
    if tested.positive is not None:
        rate = counts.get(tested.positive, 0) / tested.pictures
    for kind, title, columns, chance in (
        (
            "roc",
            "ROC curve",
            {"fpr": "false positive rate", "tpr": "true positive rate"},
            [(0.0, 0.0), (1.0, 1.0)],
        ),
        (
            "pr",
            "Precision and recall",
            {"recall": "recall", "precision": "precision"},
            [(0.0, rate), (1.0, rate)],
        ),
    ):
        points = {name: read_numbers(f"{kind}_{key}") for key, name in tested.compared.items()}
        across, up = columns
        found.append(
            {
                "title": f"{title}, {whose('roc_auc', tested.positive)}",
                "about": f"{title} on the test pictures",
                "spec": pages.curve(points, across, up, (columns[across], columns[up]), chance),
            }
        )
    return found


def chosen(
    labels: metrics.Labels, shares: metrics.Array, decided: metrics.Labels, most: int
) -> tuple[list[int], list[int]]:
    """The rows to show, in their own order, and the most confident mistakes, worst first."""
    sure = deciding.confidence(shares, decided)
    right = decided == labels
    order = np.lexsort((-sure, right))
    return sorted(order[:most].tolist()), [row for row in order[:most].tolist() if not right[row]]


def thumbnails(paths: Sequence[str]) -> Iterator[str]:
    def thumbnail(path: str) -> str:
        return pages.webp(decoding.read(workspace.IMAGES / path), THUMBNAIL)

    yield from track(in_threads(thumbnail, paths), "pictures", len(paths))


def heat_maps(paths: Sequence[str], predicted: Sequence[int]) -> Iterator[dict[str, Any]]:
    """For each picture: as the network takes it, with its heat map, and whose class that is."""
    from thaw.review import heatmaps
    from thaw.training import saving

    classifier = Classifier(workspace.MODELS / "model.onnx")
    explainer = heatmaps.Explainer(saving.load(workspace.MODELS / "model.keras"))
    for path, label in track(list(zip(paths, predicted, strict=True)), "heat maps"):
        pixels = classifier.look(workspace.IMAGES / path)
        heat = explainer.heat(pixels, label, classifier.symmetries)
        yield {
            "large": pages.webp(Image.fromarray(pixels)),
            "heat": pages.webp(Image.fromarray(heatmaps.overlay(pixels, heat))),
            "heat_of": label,
        }


def heat_scale() -> str:
    from thaw.review import heatmaps

    return pages.webp(Image.fromarray(heatmaps.scale()))


def gallery(
    found: reports.Predictions, models: Sequence[str], given: argparse.Namespace
) -> tuple[list[dict[str, Any]], int]:
    """A row for each test picture shown, and how many of them have heat maps.

    These are of the mistakes of the last of the models.
    """
    last = models[-1]
    rows = tables.read(workspace.PREDICTIONS)
    labels = rows["label"].map(found.classes.index).to_numpy()
    shown, wrong = chosen(labels, found.probabilities[last], found.decided[last], given.pictures)
    worst = wrong[: given.heat_maps]
    predicted = found.decided[last].tolist()
    heat: dict[int, dict[str, Any]] = {}
    if worst:
        drawn = heat_maps(rows["path"][worst].tolist(), [predicted[row] for row in worst])
        heat = dict(zip(worst, drawn, strict=True))
    inside, unsure = spots(), doubts()
    made = thumbnails(rows["path"][shown].tolist())
    pictures = [
        {
            "path": rows["path"][row],
            "label": int(labels[row]),
            "subgroup": rows["subgroup"][row],
            "shares": [found.probabilities[key][row].round(6).tolist() for key in models],
            "predicted": [int(found.decided[key][row]) for key in models],
            "picture": picture,
            "spots": inside.get(rows["path"][row], []),
            "doubts": [unsure.get((rows["path"][row], key), "") for key in models],
            **heat.get(row, {}),
        }
        for row, picture in zip(shown, made, strict=True)
    ]
    return pictures, len(heat)


def spots() -> dict[str, list[int]]:
    """By picture, the numbers of the weak spots that it lies in."""
    found: dict[str, list[int]] = {}
    for path, number in tables.read(workspace.WEAK_SPOTS)[["path", "spot"]].itertuples(index=False):
        found.setdefault(path, []).append(int(number))
    return found


def doubts() -> dict[tuple[str, str], str]:
    """By picture and model, why the model doesn't know."""
    table = tables.read(workspace.DOUBTS)[["path", "model", "why"]]
    return {(path, model): why for path, model, why in table.itertuples(index=False)}


def robustness() -> dict[str, Any]:
    """What `make robustness` found of this model; empty where it didn't look at it."""
    found = of_model(workspace.MODELS / "model.onnx", workspace.ROBUSTNESS)
    if found is None:
        return {}
    return {
        "opening": sentences(found).replace("`", ""),
        "table": share_tables.by_corruption(found),
        "closing": note(found),
    }


def spot_name(spot: Spot) -> str:
    whose = "" if spot.subgroup is None else spot.subgroup or "no subgroup"
    return ", ".join(filter(None, (whose, spot.about)))


def seconds(path: Path, rows: pd.DataFrame) -> tuple[float, str]:
    """How long a picture takes, decoding included, and on what machine.

    Measured once for a model and a machine, so that the page stays the same.
    """
    machine = f"{environment.processor('model name')}, {os.cpu_count()} cores"
    key = f"{checksums.sha256(path)} {machine}"
    try:
        known: dict[str, float] = workspace.read_json(workspace.SPEED)
    except (OSError, ValueError):
        known = {}
    if key not in known:
        classifier = Classifier(path)
        taken = []
        for name in rows["path"][:TIMED]:
            start = time.perf_counter()
            classifier.judge(classifier.look(workspace.IMAGES / name))
            taken.append(time.perf_counter() - start)
        known[key] = round(statistics.median(taken), 6)
        write_json(workspace.SPEED, known)
    return known[key], machine


def size_tile(rows: pd.DataFrame) -> dict[str, str]:
    path = workspace.MODELS / "model.onnx"
    taken, machine = seconds(path, rows)
    return {
        "name": "model.onnx",
        "value": f"{path.stat().st_size / 1e6:.1f} MB",
        "below": f"{1000 * taken:.0f} ms a picture, decoding included ({machine})",
    }


def tiles(tested: Evaluation) -> list[dict[str, str]]:
    found = []
    models = list(tested.compared)[::-1]
    shown = [*((key, "accuracy", ".1%") for key in models), (models[0], "roc_auc", ".3f")]
    for key, metric, form in shown:
        low, high = tested.intervals[key][metric]
        about = f"{of}; " if (of := whose(metric, tested.positive)) else ""
        found.append(
            {
                "name": f"{TITLES[metric]}, {tested.compared[key]}",
                "value": f"{tested.scores[key][metric]:{form}}",
                "below": f"{about}95 % interval {low:{form}} to {high:{form}}",
            }
        )
    classes = [
        f"{each['pictures']:,} {name}" for name, each in tested.groups["label"]["head"].items()
    ]
    more = f" and {len(classes) - 3} more classes" if len(classes) > 3 else ""
    below = ", ".join(classes[:3]) + more
    return [*found, {"name": "test pictures", "value": f"{tested.pictures:,}", "below": below}]


def threshold(
    tested: Evaluation, classes: Sequence[str], parts: Sequence[pages.Judged]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the section of the threshold shows, and what its script reads."""
    used, positive = in_use(tested, classes)
    chosen = positive or classes[0]
    two = len(classes) == 2
    offered = [classes.index(chosen)] if two else [*range(len(classes))]
    if two:
        about = (
            f"With two classes, a picture is taken for {chosen} when the model gives it at least "
            f"the threshold. In use: {used:g}. "
        )
    else:
        about = (
            "With more than two classes, a picture is taken for the class that the model gives "
            "most. Here one class stands against the rest: a picture is taken for it when the "
            "model gives it at least the threshold. "
        )
        if used is not None:
            about += f"In use for {chosen}: {used:g}. "
    about += (
        "Choose a threshold on the validation pictures; the test pictures then say, once, what it "
        "is worth."
    )
    data = pages.thresholds(parts, offered, used)
    context = {
        "about": about,
        "classes": [classes[each] for each in offered],
        "chosen": chosen,
        "mark": used,
        "used": f"{0.5 if used is None else used:g}",
        "parts": [{"title": part.name, "pictures": len(part.labels)} for part in parts],
    }
    return context, data


def in_use(tested: Evaluation, classes: Sequence[str]) -> tuple[float | None, str | None]:
    """The threshold that the model says a class by, and which; of costs, that of two classes."""
    decided = workspace.read_json(workspace.METRICS / "decision.json")["fine_tuned"]
    positive = decided["positive"] or tested.positive
    if decided["threshold"] is not None:
        return float(decided["threshold"]), positive
    if len(classes) > 2:
        return None, positive
    return deciding.threshold_of(decided["gains"], classes.index(positive)), positive


def by_folds(now: Revision) -> dict[str, Any]:
    """What folds of the present parameters found; empty where there are none."""
    found = folds.read(now)
    if not found:
        return {}
    return {
        "opening": folds.opening(found.result),
        "closing": folds.closing(found.result),
        "tables": share_tables.by_folds(found.result),
    }


def audited() -> tuple[dict[str, Any], dict[str, Any]] | None:
    """The section of what `audit` found; None where it found nothing of the present split."""
    if not (auditing.FACTS.is_file() and auditing.FINDINGS.is_file()):
        return None
    facts = workspace.read_json(auditing.FACTS)
    if facts["split"] != hashlib.sha256(workspace.SPLIT.read_bytes()).hexdigest():
        print(
            f"note: {auditing.FINDINGS} is of another {workspace.SPLIT}, so the page has no "
            "section of it; run `make audit`, then this again"
        )
        return None
    rows = tables.read(workspace.SPLIT)

    def small(wanted: Iterable[tuple[str, int]]) -> dict[tuple[str, int], str]:
        def one(each: tuple[str, int]) -> str:
            return pages.webp(decoding.read(workspace.IMAGES / each[0]), each[1])

        listed = list(wanted)
        made = track(in_threads(one, listed), "audit", len(listed))
        return dict(zip(listed, made, strict=True))

    return audit_page.section(
        tables.read(auditing.FINDINGS),
        facts,
        dict(zip(rows["path"], rows["label"], strict=True)),
        corrections.read(workspace.CORRECTIONS),
        small,
    )


def write(now: Revision, given: argparse.Namespace) -> None:
    params = workspace.read_params()
    dataset = workspace.read_dataset()
    found = reports.predictions(workspace.PREDICTIONS.read_text("utf-8"))
    classes = list(found.classes)
    labels = np.array([classes.index(label) for label in found.labels.values()])
    facts = workspace.METRICS / "test.json"
    try:
        tested = Evaluation.of(workspace.read_json(facts))
    except (KeyError, TypeError):
        raise ThawError(f"{facts} was written by an older Thaw; run `dvc repro`") from None
    spots_found = WeakSpots.of(workspace.read_json(workspace.METRICS / "weak_spots.json"))
    model_card = (workspace.MODELS / "model_card.md").read_text("utf-8")
    scores, intervals = tested.scores, tested.intervals
    subgroups = tested.groups["subgroup"]
    rows = tables.read(workspace.PREDICTIONS)
    models = tested.compared
    drawn = charts(tested)
    audit, corrupted = audited(), robustness()
    absent = {name for name, there in (("audit", audit), ("robustness", corrupted)) if not there}
    shares = {key: found.probabilities[key] for key in models}
    positive = None if tested.positive is None else classes.index(tested.positive)
    apart = None
    if len(models) > 1:
        apart = differences.differences(
            labels,
            shares["head"],
            shares["fine_tuned"],
            positive,
            decided=(found.decided["head"], found.decided["fine_tuned"]),
        )
    validated = reports.predictions(workspace.VALIDATION.read_text("utf-8"))
    last = list(models)[-1]
    section, thresholds = threshold(
        tested,
        classes,
        [
            pages.Judged(
                title,
                np.array([classes.index(label) for label in each.labels.values()]),
                each.probabilities[last],
            )
            for title, each in (("Validation: choose here", validated), ("Test", found))
        ],
    )
    many = len(classes) > plots.MOST_CLASSES
    matrix = pages.confused if many else pages.confusion
    if workspace.onnx_given(params):
        given.heat_maps = 0  # a network from an ONNX file has no slopes
    pictures, heated = gallery(found, list(models), given)
    whose_mistakes = "of the fine-tuned model" if tested.thawed else "of the head"
    about = f"{len(pictures)} of {len(labels)} test pictures"
    if len(pictures) < len(labels):
        about += f", the mistakes {whose_mistakes} first"
    if heated:
        about += (
            f". The {heated} most confident mistakes {whose_mistakes} have a heat map "
            "(Grad-CAM): what spoke for the class that was predicted"
        )
    context = {
        "title": dataset["title"],
        "run": f"{markdown.place(params.base_model)} on {params.dataset}, {commit(now)}",
        "warnings": warnings(now),
        "sections": [each for each in SECTIONS.items() if each[0] not in absent],
        "robustness": corrupted,
        "audit": audit[0] if audit else None,
        "tiles": [*tiles(tested), size_tile(rows)],
        "weak_spots": [each.replace("`", "") for each in summary.weak_spots(spots_found)],
        "spots": [spot_name(each) for each in spots_found.found],
        "card": model_card,
        "card_address": pages.saved(model_card),
        "heat_scale": heat_scale() if heated else "",
        "threshold": section,
        "verdict": summary.conclusion(tested).replace("`", ""),
        "sureness": summary.sureness(tested).strip(),
        "dag": graph(now),
        "parameters": pages.grouped(params.model_dump()),
        "pictures": len(labels),
        "models": list(models.values()),
        "model_keys": list(enumerate(models.values()))[::-1],
        "metrics": pages.scores(
            [scores[key] for key in models],
            [intervals[key] for key in models],
            tested.positive,
            apart,
        ),
        "groups": [
            share_tables.by_class({key: tested.confusion[key] for key in models}, classes),
            *(
                [share_tables.by_group("By subgroup", {key: subgroups[key] for key in models})]
                if len(subgroups["head"]) > 1
                else []
            ),
        ],
        "folds": by_folds(now),
        "charts": drawn,
        "classes": classes,
        "confused" if many else "confusion": [
            {"model": name, "key": place, "rows": matrix(labels, found.decided[key], len(classes))}
            for place, (key, name) in enumerate(models.items())
        ],
        "confusion" if many else "confused": [],
        "subgroups": sorted({row["subgroup"] for row in pictures} - {""}),
        "heat_maps": heated,
        "in_doubt": any(any(row["doubts"]) for row in pictures),
        "gallery_about": f"{about}.",
        "footer": f"Made by Thaw. Pictures: {dataset['licence']}. {dataset['citation']}",
    }
    data = {
        "charts": [chart["spec"] for chart in drawn],
        "classes": classes,
        "models": list(models.values()),
        "pictures": pictures,
        "thresholds": thresholds,
    }
    write_text(PAGE, pages.render(context, data, audit[1] if audit else None))


def main() -> None:
    given = arguments()
    with opened(WORKSPACE) as now:
        write(now, given)
    print(f"{PAGE} ({PAGE.stat().st_size / 1e6:.1f} MB); open it in a browser")
