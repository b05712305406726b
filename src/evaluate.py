"""Stage `evaluate`: head-only and fine-tuned model on the test pictures, to metrics/ and plots/."""

from dataclasses import asdict

import numpy as np

import gallery
import stage
from thaw import evaluation, metrics, plots
from thaw.errors import ThawError
from thaw.inference import Classifier
from thaw.progress import track
from thaw.serialize import read_csv, write_csv, write_json, write_text

MODELS = {"head": "head", "fine_tuned": "model"}


def predict(name: str, rows: list[dict[str, str]]) -> metrics.Array:
    classifier = Classifier(stage.MODELS / f"{MODELS[name]}.onnx")
    paths = [stage.IMAGES / row["path"] for row in rows]
    found = []
    for result in track(classifier.classify(paths), name, len(paths)):
        if result.probabilities is None:
            raise ThawError(f"{result.path} can't be read any more ({result.reason})")
        found.append(result.probabilities)
    return np.stack(found).astype(np.float64)


def write_curves(
    name: str, labels: metrics.Labels, probabilities: metrics.Array, classes: list[str]
) -> None:
    for kind, columns in (("roc", ("fpr", "tpr")), ("pr", ("recall", "precision"))):
        points = evaluation.curve(kind, labels, probabilities)
        write_csv(stage.PLOTS / f"{kind}_{name}.csv", (*columns, "threshold"), points)
    predicted = probabilities.argmax(axis=1)
    pairs = [(classes[a], classes[b]) for a, b in zip(labels, predicted, strict=True)]
    write_csv(stage.PLOTS / f"confusion_{name}.csv", ("actual", "predicted"), pairs)


def main() -> None:
    params = stage.read_params()
    classes = stage.read_dataset()["classes"]
    rows = [row for row in read_csv(stage.SPLIT) if row["split"] == "test"]
    labels = np.array([classes.index(row["label"]) for row in rows])
    drawn = metrics.resamples(labels, params.seed)
    found = {name: predict(name, rows) for name in MODELS}
    scores = {name: metrics.scores(labels, found[name]) for name in MODELS}
    intervals = {name: metrics.intervals(labels, found[name], drawn) for name in MODELS}
    comparison = metrics.compare(labels, found["head"], found["fine_tuned"], drawn)
    write_json(stage.METRICS / "evaluation.json", {**scores, "fine_tuning": asdict(comparison)})
    write_json(stage.METRICS / "intervals.json", intervals)
    groups = {
        kind: {
            name: evaluation.by_group(labels, found[name], [row[kind] for row in rows])
            for name in MODELS
        }
        for kind in ("label", "subgroup")
    }
    write_json(stage.METRICS / "groups.json", groups)
    for name in MODELS:
        write_curves(name, labels, found[name], classes)
    tables = [
        (title, metrics.confusion(labels, found[name].argmax(axis=1), len(classes)))
        for name, title in (("head", "Head only"), ("fine_tuned", "Fine-tuned"))
    ]
    plots.confusion_matrices(tables, classes, stage.PLOTS / "confusion.png")
    gallery.draw(params, classes, rows, found)
    report = evaluation.table(
        scores["head"],
        intervals["head"],
        scores["fine_tuned"],
        intervals["fine_tuned"],
        comparison,
        len(rows),
    )
    write_text(stage.METRICS / "evaluation.md", report)


if __name__ == "__main__":
    stage.run(main)
