"""Stage `evaluate`: compare the head-only and the fine-tuned model: metrics/, plots/.

Metrics are those of both models on the validation and the test pictures. All else is of the test
pictures.
"""

from dataclasses import asdict
from pathlib import Path

import numpy as np

import workspace
from thaw.core.errors import ThawError
from thaw.core.params import plain
from thaw.core.progress import track
from thaw.drawing import gallery, plots, summary
from thaw.evaluation import comparison, metrics
from thaw.evaluation.inference import Classifier
from thaw.files.serialize import read_csv, write_csv, write_json, write_text
from thaw.pictures.augmentation import Augmentation

FILES = {"head": workspace.MODELS / "head.onnx", "fine_tuned": workspace.MODELS / "model.onnx"}
PARTS = ("test", "validation")
Rows = list[dict[str, str]]


def predict(model: str, part: str, rows: Rows) -> metrics.Array:
    """(pictures, classes) probabilities."""
    classifier = Classifier(FILES[model])
    paths = [workspace.IMAGES / row["path"] for row in rows]
    found = []
    for result in track(classifier.classify(paths), f"{model}, {part}", len(paths)):
        if result.probabilities is None:
            raise ThawError(f"{result.path} can't be read any more ({result.reason})")
        found.append(result.probabilities)
    return np.stack(found).astype(np.float64)


def write_curves(
    name: str, labels: metrics.Labels, probabilities: metrics.Array, classes: list[str]
) -> None:
    for kind, columns in (("roc", ("fpr", "tpr")), ("pr", ("recall", "precision"))):
        points = comparison.curve(kind, labels, probabilities)
        write_csv(workspace.PLOTS / f"{kind}_{name}.csv", (*columns, "threshold"), points)
    table = metrics.confusion(labels, probabilities.argmax(axis=1), len(classes))
    cells = [(classes[a], classes[b], int(count)) for (a, b), count in np.ndenumerate(table)]
    write_csv(workspace.PLOTS / f"confusion_{name}.csv", ("actual", "predicted", "pictures"), cells)


def history(path: Path) -> list[dict[str, float]]:
    return [{name: float(cell) for name, cell in row.items()} for row in read_csv(path)]


def main() -> None:
    params = workspace.read_params()
    classes: list[str] = workspace.read_dataset()["classes"]
    split = read_csv(workspace.SPLIT)
    rows = {part: [row for row in split if row["split"] == part] for part in ("train", *PARTS)}
    labels = {part: np.array([classes.index(row["label"]) for row in rows[part]]) for part in PARTS}
    found = {part: {model: predict(model, part, rows[part]) for model in FILES} for part in PARTS}
    scores = {
        part: {model: metrics.scores(labels[part], found[part][model]) for model in FILES}
        for part in PARTS
    }
    write_json(
        workspace.METRICS / "evaluation.json",
        {
            part: {
                model: {name: scores[part][model][name] for name in comparison.DECISIVE}
                for model in reversed(FILES)
            }
            for part in PARTS
        },
    )
    tested = comparison.evaluate(
        labels["test"], found["test"], scores["test"], rows["test"], params.seed
    )
    write_json(workspace.METRICS / "test.json", asdict(tested))
    write_text(workspace.METRICS / "evaluation.md", summary.text(tested))
    for model, shares in found["test"].items():
        write_curves(model, labels["test"], shares, classes)
    tables = [
        (comparison.COMPARED[model].capitalize(), np.array(tested.confusion[model]))
        for model in FILES
    ]
    plots.confusion_matrices(tables, classes, workspace.PLOTS / "confusion.png")
    before, after = (history(workspace.PLOTS / f"{name}.csv") for name in ("head", "model"))
    starts = len(before) if after else None
    plots.learning_curves(before + after, starts, workspace.PLOTS / "learning_curves.png")
    write_predictions(classes, rows["test"], found["test"])
    gallery.draw(
        gallery.Source(
            workspace.IMAGES, params.resize, plain(Augmentation, params.augment), params.seed
        ),
        classes,
        rows["train"],
        rows["test"],
        found["test"]["fine_tuned"],
        workspace.PLOTS / "pictures",
    )


def write_predictions(classes: list[str], rows: Rows, found: dict[str, metrics.Array]) -> None:
    """Write data/predictions.csv: what both models say of every test picture."""
    columns = ["path", "label", "subgroup"]
    columns += [f"{name}_{label}" for name in found for label in classes]
    table = [
        [row["path"], row["label"], row["subgroup"]]
        + [float(f"{p:.6g}") for shares in found.values() for p in shares[index]]
        for index, row in enumerate(rows)
    ]
    write_csv(workspace.PREDICTIONS, columns, table)
