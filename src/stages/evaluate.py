"""Stage `evaluate`: compare the head-only and the fine-tuned model: metrics/, plots/.

Metrics are those of both models on the validation and the test pictures. All else is of the test
pictures.
"""

import hashlib
from dataclasses import asdict

import numpy as np
import pandas as pd

import workspace
from thaw.core.errors import ThawError
from thaw.core.progress import track
from thaw.drawing import gallery, plots, summary
from thaw.evaluation import comparison, metrics, predictions, record
from thaw.evaluation.inference import Classifier
from thaw.files import tables
from thaw.files.serialize import write_csv, write_json, write_text
from thaw.pictures.augmentation import Augmentation

FILES = {"head": workspace.MODELS / "head.onnx", "fine_tuned": workspace.MODELS / "model.onnx"}
PARTS = ("test", "validation")


def predict(model: str, part: str, rows: pd.DataFrame) -> metrics.Array:
    """(pictures, classes) probabilities."""
    classifier = Classifier(FILES[model])
    paths = [workspace.IMAGES / path for path in rows["path"]]
    found = []
    for result in track(classifier.classify(paths), f"{model}, {part}", len(paths)):
        if result.probabilities is None:
            raise ThawError(f"{result.path} can't be read any more ({result.reason})")
        found.append(result.probabilities)
    return np.stack(found).astype(np.float64)


def digest(rows: pd.DataFrame) -> str:
    """SHA-256 of pictures: names, labels and contents, in the order of their names."""
    found = hashlib.sha256()
    for path, label in sorted(zip(rows["path"], rows["label"], strict=True)):
        content = hashlib.sha256((workspace.IMAGES / path).read_bytes()).hexdigest()
        found.update(f"{path}\0{label}\0{content}\n".encode())
    return found.hexdigest()


def write_curves(
    name: str,
    labels: metrics.Labels,
    probabilities: metrics.Array,
    classes: list[str],
    positive: int | None,
) -> None:
    for kind, columns in (("roc", ("fpr", "tpr")), ("pr", ("recall", "precision"))):
        points = comparison.curve(kind, labels, probabilities, positive)
        known = (*columns, "threshold")[: len(points[0])]
        write_csv(workspace.PLOTS / f"{kind}_{name}.csv", known, points)
    table = metrics.confusion(labels, probabilities.argmax(axis=1), len(classes))
    few = len(classes) <= plots.MOST_CLASSES  # of more, most cells are empty
    cells = [
        (classes[actual], classes[predicted], int(count))
        for (actual, predicted), count in np.ndenumerate(table)
        if few or count
    ]
    write_csv(workspace.PLOTS / f"confusion_{name}.csv", ("actual", "predicted", "pictures"), cells)


def main() -> None:
    params = workspace.read_params()
    classes: list[str] = workspace.read_dataset()["classes"]
    positive = workspace.check_positive(params, classes)
    split = tables.read(workspace.SPLIT)
    rows = {part: split[split["split"] == part] for part in ("train", *PARTS)}
    labels = {part: rows[part]["label"].map(classes.index).to_numpy() for part in PARTS}
    found = {part: {model: predict(model, part, rows[part]) for model in FILES} for part in PARTS}
    scores = {
        part: {model: metrics.scores(labels[part], found[part][model], positive) for model in FILES}
        for part in PARTS
    }
    judged = params.positive or (classes[1] if len(classes) == 2 else None)
    decisive = {
        part: {
            model: {name: scores[part][model][name] for name in record.DECISIVE}
            for model in reversed(FILES)
        }
        for part in PARTS
    }
    write_json(
        workspace.METRICS / "evaluation.json",
        decisive | ({"positive": judged} if judged else {}),
    )
    before, after = (tables.numbers(workspace.PLOTS / f"{n}.csv") for n in ("head", "model"))
    tested = comparison.evaluate(
        labels["test"],
        found["test"],
        scores["test"],
        rows["test"],
        classes=classes,
        positive=judged,
        test_set=digest(rows["test"]),
        thawed=bool(len(after)),
    )
    write_json(workspace.METRICS / "test.json", asdict(tested))
    write_text(workspace.METRICS / "evaluation.md", summary.text(tested))
    for model, shares in found["test"].items():
        write_curves(model, labels["test"], shares, classes, positive)
    confusions = [
        plots.Matrix(
            title.capitalize(),
            metrics.confusion(labels["test"], found["test"][model].argmax(axis=1), len(classes)),
            classes,
        )
        for model, title in tested.compared.items()
    ]
    plots.confusion_matrices(confusions, workspace.PLOTS / "confusion.png")
    starts = len(before) if len(after) else None
    plots.learning_curves(
        pd.concat([before, after]), starts, workspace.PLOTS / "learning_curves.png"
    )
    for part, path in (("test", workspace.PREDICTIONS), ("validation", workspace.VALIDATION)):
        about = rows[part][["path", "label", "subgroup"]]
        predictions.write(path, about, classes, found[part])
    gallery.draw(
        gallery.Source(
            workspace.IMAGES,
            params.resize,
            Augmentation.of(params.augment.model_dump()),
            params.split.seed,
            params.bit_depth,
        ),
        classes,
        rows["train"],
        rows["test"],
        found["test"]["fine_tuned"],
        workspace.PLOTS / "pictures",
    )
