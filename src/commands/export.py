"""Write the model as SavedModel, LiteRT and 8-bit LiteRT, compared: export/.

    make export

SavedModel, LiteRT (tflite), and LiteRT in 8-bit integers (int8), each compared on the test pictures
with the model in Keras. Takes the first way to integers that loses less than half a point of
accuracy on the validation pictures; if every way loses more, it writes no such file.
"""

import thaw.networks.quiet  # noqa: F401

import argparse
import shutil
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

import workspace
from thaw.core.arguments import Parser
from thaw.core.cores import available
from thaw.core.errors import ThawError, reason
from thaw.core.progress import track
from thaw.core.threads import in_threads
from thaw.drawing import markdown
from thaw.evaluation.deciding import probabilities
from thaw.evaluation.inference import Classifier
from thaw.files import tables
from thaw.files.serialize import write_bytes, write_json, write_text
from thaw.pictures import augmentation, decoding
from thaw.review import exports
from thaw.training import saving

EXPORT = Path("export")
FORMATS = ("saved_model", "tflite", "int8")
FILES = {"saved_model": "saved_model", "tflite": "model.tflite", "int8": "model_int8.tflite"}
TITLES = {
    "keras": "Keras",
    "onnx": "ONNX",
    "saved_model": "SavedModel",
    "tflite": "LiteRT",
    "int8": "LiteRT, int8",
}
MOST_LOST = 0.005  # of the validation accuracy, in 8-bit integers
CALIBRATION = 200  # training pictures
ROUNDS = 30  # of measuring times


@dataclass(frozen=True)
class Pictures:
    """The pictures of a part of the split, as the network takes them."""

    paths: list[str]
    labels: NDArray[np.int64]
    classifier: Classifier

    def load(self, path: str) -> decoding.Pixels:
        model = self.classifier
        try:
            return decoding.load(
                workspace.IMAGES / path, model.image_size, model.resize, model.bit_depth
            )
        except decoding.BadImageError as error:
            raise ThawError(
                f"{error}; bring the pictures back with `dvc repro` (or `dvc pull`)"
            ) from None

    def views(self) -> Iterator[exports.Array]:
        """(symmetries, S, S, 3) views of each picture; `python src predict` gives their mean."""
        for pixels in in_threads(self.load, self.paths):
            found = [augmentation.symmetric(pixels, *each) for each in self.classifier.symmetries]
            yield np.stack(found).astype(np.float32)


@dataclass(frozen=True)
class Measured:
    """A format on the pictures of a part."""

    logits: exports.Array  # (pictures, symmetries, 1 or classes)
    right: int

    @property
    def accuracy(self) -> float:
        return self.right / len(self.logits)


def arguments() -> argparse.Namespace:
    parser = Parser(__doc__)
    parser.add_argument(
        "formats",
        nargs="*",
        metavar="FORMAT",
        help=f"of {', '.join(FORMATS)}; all if none is given",
    )
    return parser.read()


def check(formats: Sequence[str]) -> None:
    """Refuse what isn't there, before any work.

    Raises:
        ThawError: for an unknown format, a missing model, or missing pictures.
    """
    for name in formats:
        if name not in FORMATS:
            raise ThawError(f"there is no format {name!r}; give {', '.join(FORMATS)}")
    for path in (workspace.MODELS / "model.keras", workspace.SPLIT, workspace.IMAGES):
        if not path.exists():
            raise ThawError(f"{path} is missing; run `dvc repro` (or `dvc pull`), which makes it")


def part(name: str, classifier: Classifier) -> Pictures:
    split = tables.read(workspace.SPLIT)
    rows = split[split["split"] == name]
    try:
        labels = rows["label"].map(classifier.classes.index)
    except ValueError as error:
        raise ThawError(
            f"data/split.csv and models/model.onnx have other classes ({error}); run `dvc repro`"
        ) from None
    return Pictures(rows["path"].tolist(), labels.to_numpy(), classifier)


def measure(found: dict[str, exports.Logits], pictures: Pictures, what: str) -> dict[str, Measured]:
    """Each format's logits, and its right answers by the mean over the views."""
    logits: dict[str, list[exports.Array]] = {name: [] for name in found}
    for views in track(pictures.views(), what, len(pictures.paths)):
        for name, function in found.items():
            logits[name].append(function(views))
    measured = {}
    for name, each in logits.items():
        means = [probabilities(of_views).mean(axis=0).argmax() for of_views in each]
        measured[name] = Measured(np.stack(each), int((np.array(means) == pictures.labels).sum()))
    return measured


def milliseconds(found: dict[str, exports.Logits], views: exports.Array) -> dict[str, float]:
    """The median time for one view; the formats take turns."""
    took: dict[str, list[float]] = {name: [] for name in found}
    for number in range(ROUNDS + 1):
        for name, function in found.items():
            began = time.perf_counter()
            function(views[:1])
            if number:  # the first one warms up
                took[name].append(1000 * (time.perf_counter() - began))
    return {name: statistics.median(each) for name, each in took.items()}


def int8(model: keras.Model, classifier: Classifier, seed: int) -> tuple[bytes | None, str]:
    """The model in integers and, in words, which part; or None, and what it would lose."""
    train = part("train", classifier)
    order = augmentation.random(seed, "int8").permutation(len(train.paths))[:CALIBRATION]
    chosen = [train.paths[number] for number in sorted(order.tolist())]

    def calibration() -> Iterator[exports.Array]:
        yield from (train.load(path).astype(np.float32) for path in chosen)

    validation = part("validation", classifier)
    reference: Callable[[exports.Array], exports.Array] = exports.keras_logits(model)
    whole = measure({"keras": reference}, validation, "validation, Keras")["keras"].accuracy
    lost = []
    for way in exports.WAYS:
        print(f"int8: {way.about}")
        content = exports.to_int8(model, calibration, way)
        try:
            lite = {"int8": exports.tflite_logits(content)}
        except RuntimeError as error:
            print(f"int8: {way.about}: LiteRT can't run it ({reason(error)})")
            continue
        lost.append(whole - measure(lite, validation, "validation, int8")["int8"].accuracy)
        print(f"int8: {way.about}: {lost[-1]:.2%} of validation accuracy lost")
        if lost[-1] < MOST_LOST:
            return content, f"in integers: {way.about}; {lost[-1]:.2%} of validation accuracy lost"
    if not lost:
        return None, "int8 is not written: LiteRT can't run this network in integers"
    return None, (
        f"int8 is not written: it would lose {min(lost):.2%} of validation accuracy, and "
        f"{MOST_LOST:.1%} is too much"
    )


def size(path: Path) -> int:
    """In bytes, of a file or of all in a folder."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(each.stat().st_size for each in files if each.is_file())


def table(rows: Sequence[dict[str, Any]], notes: Sequence[str], pictures: int, views: int) -> str:
    columns = ("format", "file", "MB", "ms", "largest difference of a logit", "test accuracy")
    cells = [
        (
            TITLES[row["format"]],
            f"`{row['file']}`",
            f"{row['bytes'] / 1e6:.1f}",
            f"{row['milliseconds']:.1f}",
            f"{row['largest_difference']:.2g}" if row["format"] != "keras" else "",
            f"{row['test_accuracy']:.2%} ({row['right']} of {pictures})",
        )
        for row in rows
    ]
    mean = f", each the mean over {views} views" if views > 1 else ""
    cores = available()
    about = (
        f"{pictures} test pictures{mean}; differences are from Keras's logits. Times are medians "
        f"of {ROUNDS} for one view, on {cores} core{'s' * (cores > 1)}."
    )
    shown = markdown.table(columns, cells)
    return "\n".join([shown, "", about, *(f"\n{note[0].upper()}{note[1:]}." for note in notes)])


def write(formats: Sequence[str], folder: Path) -> str:
    """Write the formats and the comparison to a folder; the comparison as Markdown."""
    params = workspace.read_params()
    if workspace.onnx_given(params):
        raise ThawError(
            f"params.yaml: base_model: {params.base_model}: of an ONNX file's network there is no "
            "other format than models/model.onnx"
        )
    classifier = Classifier(workspace.MODELS / "model.onnx")
    temperature = classifier.decision.temperature
    model = exports.calibrated(saving.load(workspace.MODELS / "model.keras"), temperature)
    paths = {"keras": workspace.MODELS / "model.keras", "onnx": workspace.MODELS / "model.onnx"}
    found = {"keras": exports.keras_logits(model), "onnx": exports.onnx_logits(paths["onnx"])}
    notes = [
        f"all logits here are divided by the temperature {temperature:.4g}, as those of "
        "models/model.onnx; models/model.keras itself gives them as they were trained"
    ]
    for name in formats:
        paths[name] = folder / FILES[name]
        if name == "saved_model":
            exports.save_saved_model(model, paths[name])
            found[name] = exports.saved_model_logits(paths[name])
            continue
        content: bytes | None = None
        if name == "tflite":
            content = exports.to_tflite(model)
        else:
            content, note = int8(model, classifier, params.split.seed)
            notes.append(note)
        if content is not None:
            write_bytes(paths[name], content)
            found[name] = exports.tflite_logits(content)
    test = part("test", classifier)
    measured = measure(found, test, "test pictures")
    times = milliseconds(found, next(test.views()))
    rows = [
        {
            "format": name,
            "file": FILES.get(name) or paths[name].as_posix(),
            "bytes": size(paths[name]),
            "milliseconds": times[name],
            "largest_difference": float(np.abs(each.logits - measured["keras"].logits).max()),
            "test_accuracy": each.accuracy,
            "right": each.right,
        }
        for name, each in measured.items()
    ]
    text = table(rows, notes, len(test.paths), len(classifier.symmetries)) + "\n"
    facts = {
        "classes": classifier.classes,
        "image_size": classifier.image_size,
        "resize": classifier.resize,
        "bit_depth": classifier.bit_depth,
        "symmetries": classifier.symmetries,
        "decision": asdict(classifier.decision),
        "test_pictures": len(test.paths),
        "formats": rows,
        "notes": notes,
    }
    write_json(folder / "export.json", facts)
    write_text(folder / "export.md", text)
    return text


def main() -> None:
    formats = arguments().formats
    check(formats)
    part_made = EXPORT.with_name(f".part-{EXPORT.name}")
    shutil.rmtree(part_made, ignore_errors=True)
    try:
        part_made.mkdir()
        text = write([name for name in FORMATS if name in (formats or FORMATS)], part_made)
        shutil.rmtree(EXPORT, ignore_errors=True)
        part_made.rename(EXPORT)
    except OSError as error:
        raise ThawError(
            f"{EXPORT}/ can't be written ({error.strerror or error}); free disk space or make this "
            "folder writable"
        ) from error
    finally:
        shutil.rmtree(part_made, ignore_errors=True)
    print(f"\n{text}\n{EXPORT}/ holds them, and how they compare in export.md and export.json")
