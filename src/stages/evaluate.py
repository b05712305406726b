"""Stage `evaluate`: compare the head-only and the fine-tuned model: metrics/, plots/.

Metrics are those of both models on the validation and the test pictures, and weak spots are looked
for among both. All else is of the test pictures.
"""

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

import workspace
from thaw.core.errors import ThawError
from thaw.core.params import Params
from thaw.core.progress import track
from thaw.drawing import gallery, plots, summary
from thaw.evaluation import (
    calibration,
    comparison,
    deciding,
    metrics,
    predictions,
    record,
    weak_spots,
)
from thaw.evaluation.inference import Classifier
from thaw.evaluation.record import WeakSpots
from thaw.files import tables
from thaw.files.serialize import write_csv, write_json, write_text
from thaw.pictures import sessions
from thaw.pictures.augmentation import Augmentation

FILES = {"head": workspace.MODELS / "head.onnx", "fine_tuned": workspace.MODELS / "model.onnx"}
PARTS = ("test", "validation")


@dataclass(frozen=True)
class Said:
    """What a model says of pictures."""

    probabilities: metrics.Array  # (N, classes)
    decided: metrics.Labels  # (N,) class numbers
    doubts: tuple[str, ...]  # of each, why the model doesn't know; empty where it does
    uncalibrated: metrics.Array  # (N, classes) probabilities, had no temperature been chosen

    @property
    def in_doubt(self) -> NDArray[np.bool_]:
        return np.array([bool(why) for why in self.doubts])

    def sure(self, title: str, labels: metrics.Labels) -> plots.Sure:
        """To be drawn."""
        confidence = deciding.confidence(self.probabilities, self.decided)
        return plots.Sure(title, confidence, self.decided == labels)


def predict(path: Path, rows: pd.DataFrame, what: str) -> Said:
    """What a model says of test pictures."""
    classifier = Classifier(path)
    paths = [workspace.IMAGES / each for each in rows["path"]]
    shares, decided, doubts, uncalibrated = [], [], [], []
    for result in track(classifier.classify(paths), what, len(paths)):
        if result.probabilities is None:
            raise ThawError(f"{result.path} can't be read any more ({result.reason})")
        shares.append(result.probabilities)
        decided.append(result.decided)
        doubts.append(result.doubt)
        assert result.logits is not None
        warm = result.logits.astype(np.float64) * classifier.decision.temperature
        uncalibrated.append(deciding.probabilities(warm).mean(axis=0))
    return Said(np.stack(shares), np.array(decided), tuple(doubts), np.stack(uncalibrated))


def predict_all(rows: pd.DataFrame) -> dict[str, Said]:
    """By model; one that has the bytes of another says the same."""
    found: dict[str, Said] = {}
    known: dict[bytes, Said] = {}
    for name, path in FILES.items():
        content = path.read_bytes()
        if content not in known:
            known[content] = predict(path, rows, f"{name}, test")
        found[name] = known[content]
    return found


def validated(classes: list[str]) -> tuple[metrics.Labels, dict[str, Said]]:
    """Of the validation pictures, their labels and what stage `decide` found."""
    table = tables.read(workspace.VALIDATION)
    found = {}
    for name in FILES:
        shares = table[[f"{name}_{each}" for each in classes]].to_numpy(np.float64)
        decided = predictions.decided(table, classes, name)
        said = shares.argmax(axis=1) if decided is None else decided
        found[name] = Said(shares, said, ("",) * len(said), shares)
    return table["label"].map(classes.index).to_numpy(), found


def calibration_error(labels: metrics.Labels, said: Said) -> float:
    """Had no temperature been chosen."""
    sure = deciding.confidence(said.uncalibrated, said.decided)
    return calibration.binned(sure, said.decided == labels).error


def confidence(labels: metrics.Labels, said: Said) -> dict[str, float]:
    """How good it is where it is sure, and where it isn't in doubt."""
    right = said.decided == labels
    sure = deciding.confidence(said.probabilities, said.decided)
    kept = ~said.in_doubt
    return {
        "accuracy_at_80": deciding.at_coverage(0.8, right, sure),
        "uncalibrated_error": calibration_error(labels, said),
        "in_doubt": float(said.in_doubt.mean()),
        "accuracy_without_doubt": float(right[kept].mean()) if kept.any() else 0.0,
    }


def digest(rows: pd.DataFrame) -> str:
    """SHA-256 of pictures: names, labels and contents, in the order of their names."""
    found = hashlib.sha256()
    for path, label in sorted(zip(rows["path"], rows["label"], strict=True)):
        content = hashlib.sha256((workspace.IMAGES / path).read_bytes()).hexdigest()
        found.update(f"{path}\0{label}\0{content}\n".encode())
    return found.hexdigest()


def find_weak_spots(rows: pd.DataFrame, right: NDArray[np.bool_], params: Params) -> WeakSpots:
    """Search among validation and test pictures, from neither of which the model learned."""
    at = weak_spots.chosen(len(rows))
    rows, right = rows.iloc[at], right[at]
    session = sessions.session(str(workspace.FROZEN))
    size: int = json.loads(session.get_modelmeta().custom_metadata_map["image_size"])
    paths = [workspace.IMAGES / path for path in rows["path"]]
    seen, features = weak_spots.look(session, paths, size, params.resize, params.bit_depth)
    candidates = weak_spots.groups(rows["subgroup"].tolist(), seen, weak_spots.clusters(features))
    strata = list(zip(rows["split"], rows["label"], strict=True))
    found, pictures = weak_spots.search(right, strata, candidates)
    write_json(workspace.METRICS / "weak_spots.json", asdict(found))
    inside = (
        (path, number)
        for number, mask in enumerate(pictures)
        for path in rows["path"].to_numpy()[mask]
    )
    write_csv(workspace.WEAK_SPOTS, ("path", "spot"), inside)
    return found


def write_doubts(paths: list[str], found: dict[str, Said]) -> None:
    doubted = (
        (path, name, why)
        for name, said in found.items()
        for path, why in zip(paths, said.doubts, strict=True)
        if why
    )
    write_csv(workspace.DOUBTS, ("path", "model", "why"), doubted)


def write_curves(
    name: str,
    labels: metrics.Labels,
    said: Said,
    classes: list[str],
    positive: int | None,
) -> None:
    for kind, columns in (("roc", ("fpr", "tpr")), ("pr", ("recall", "precision"))):
        points = comparison.curve(kind, labels, said.probabilities, positive)
        known = (*columns, "threshold")[: len(points[0])]
        write_csv(workspace.PLOTS / f"{kind}_{name}.csv", known, points)
    table = metrics.confusion(labels, said.decided, len(classes))
    heads = ["actual", "predicted", "pictures"]
    few = len(classes) <= plots.MOST_CLASSES  # of more, most cells are empty, and no plot has room
    drawn = {*most_confused(table)}
    if not few:
        heads.append("drawn")
    cells = [
        (classes[actual], classes[predicted], int(count), int({actual, predicted} <= drawn))
        for (actual, predicted), count in np.ndenumerate(table)
        if few or count or {actual, predicted} <= drawn
    ]
    rows = [cell[: len(heads)] for cell in cells]
    write_csv(workspace.PLOTS / f"confusion_{name}.csv", heads, rows)


def most_confused(table: NDArray[np.int64]) -> list[int]:
    """The classes of the pairs that are confused most, as many as a plot has room for."""
    found: list[int] = []
    for pair in metrics.confused(table):
        more = [label for label in pair if label not in found]
        if len(found) + len(more) > plots.MOST_CLASSES:
            break
        found += more
    return found


def main() -> None:
    params = workspace.read_params()
    classes: list[str] = workspace.read_dataset()["classes"]
    positive = workspace.check_positive(params, classes)
    split = tables.read(workspace.SPLIT)
    rows = {part: split[split["split"] == part] for part in ("train", *PARTS)}
    test = rows["test"]["label"].map(classes.index).to_numpy()
    validation, before_test = validated(classes)
    labels = {"test": test, "validation": validation}
    found = {"test": predict_all(rows["test"]), "validation": before_test}
    scores = {
        part: {
            model: metrics.scores(labels[part], said.probabilities, positive, said.decided)
            for model, said in found[part].items()
        }
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
        test,
        {name: said.probabilities for name, said in found["test"].items()},
        {name: said.decided for name, said in found["test"].items()},
        scores["test"],
        rows["test"],
        classes=classes,
        positive=judged,
        test_set=digest(rows["test"]),
        confidence={name: confidence(test, said) for name, said in found["test"].items()},
        taken=after["taken"].tolist(),
    )
    write_json(workspace.METRICS / "test.json", asdict(tested))
    right = [found[part]["fine_tuned"].decided == labels[part] for part in PARTS]
    spots = find_weak_spots(
        pd.concat([rows[part] for part in PARTS]), np.concatenate(right), params
    )
    write_text(workspace.METRICS / "evaluation.md", summary.text(tested, spots))
    for model, said in found["test"].items():
        write_curves(model, test, said, classes, positive)
    confusions = [
        plots.Matrix(
            title.capitalize(),
            metrics.confusion(test, found["test"][model].decided, len(classes)),
            classes,
        )
        for model, title in tested.compared.items()
    ]
    plots.confusion_matrices(confusions, workspace.PLOTS / "confusion.png")
    result = found["test"]["fine_tuned"]
    calibrated = result.sure("as trained", test)
    before_it: plots.Sure | None = None
    if not np.array_equal(result.uncalibrated, result.probabilities):
        calibrated = result.sure("calibrated", test)
        without = replace(result, probabilities=result.uncalibrated)
        before_it = without.sure("before calibration", test)
    plots.confidence(
        *(calibrated, before_it),
        [found["test"][name].sure(title, test) for name, title in tested.compared.items()],
        workspace.PLOTS / "confidence.png",
    )
    starts = len(before) if len(after) else None
    plots.learning_curves(
        pd.concat([before, after]), starts, workspace.PLOTS / "learning_curves.png"
    )
    predictions.write(
        workspace.PREDICTIONS,
        rows["test"][["path", "label", "subgroup"]],
        classes,
        {name: said.probabilities for name, said in found["test"].items()},
        {name: said.decided for name, said in found["test"].items()},
    )
    write_doubts(rows["test"]["path"].tolist(), found["test"])
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
        found["test"]["fine_tuned"].probabilities,
        found["test"]["fine_tuned"].decided,
        workspace.PLOTS / "pictures",
    )
