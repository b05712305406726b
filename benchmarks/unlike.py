"""How well a score tells pictures of something else from those of the training's kind.

    python benchmarks/unlike.py --others ~/cats-and-dogs

Of the run in this folder: its training pictures tell what is usual, its test pictures are of the
same kind; against them stand pictures of noise, of text, and those of the folder given. Compares
the score of stage `decide` with others on the same features, those that the fine-tuned model's head
reads, by the area under the ROC curve. A dataset that isn't run keeps its last figures. Writes
benchmarks/results/unlike.json and .md.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from sklearn.metrics import roc_auc_score

import tables
import workspace
from thaw.core import errors
from thaw.core.errors import ThawError
from thaw.core.progress import track
from thaw.core.threads import in_threads
from thaw.drawing import markdown
from thaw.evaluation import unlikeness
from thaw.evaluation.inference import Classifier
from thaw.files import kinds
from thaw.files import tables as files
from thaw.files.walking import walk
from thaw.pictures import decoding

MOST = 1000  # pictures of each kind
MADE = 500  # of noise, and of text
AXES = 64  # of Mahalanobis's distance
NEIGHBOUR = 5
WORDS = ["the", "of", "and", "a", "model", "picture", "training", "is", "for", "on", "cell"]
Array = NDArray[np.float64]
Score = Callable[[Array], Array]


def noise(number: int, size: int) -> decoding.Pixels:
    """Uniform, normal of several widths, or grey."""
    generator = np.random.default_rng(2000 + number)
    kind = number % 3
    if kind == 0:
        return generator.integers(0, 256, (size, size, 3), dtype=np.uint8)
    if kind == 1:
        values = generator.normal(128, 30 + number % 60, (size, size, 3))
        return np.clip(values, 0, 255).astype(np.uint8)
    return np.repeat(generator.integers(0, 256, (size, size, 1), dtype=np.uint8), 3, axis=2)


def text(number: int, size: int) -> decoding.Pixels:
    """Lines of words, dark on a light ground."""
    generator = np.random.default_rng(1000 + number)
    ground = tuple(generator.integers(180, 256, 3).tolist()) if number % 2 else (255, 255, 255)
    image = Image.new("RGB", (size, size), ground)
    drawing = ImageDraw.Draw(image)
    height = int(generator.integers(size // 30, size // 10))
    font = ImageFont.load_default(height)
    for top in range(5, size, height + 4):
        line = " ".join(generator.choice(WORDS, 20))
        drawing.text((5, top), line, tuple(generator.integers(0, 80, 3).tolist()), font)
    return np.asarray(image)


def scores(usual: Array, labels: NDArray[np.int64]) -> dict[str, Score]:
    """Each score of features (N, D), from the training's (pictures, D) and their classes."""
    known = unlikeness.fit(usual)

    def scaled(features: Array) -> Array:
        return (features - known.mean) * known.scale

    own = scaled(usual)
    axes = np.linalg.svd(own, full_matrices=False)[2][:AXES].T
    along = own @ axes
    means = np.stack([along[labels == each].mean(axis=0) for each in np.unique(labels)])
    apart = along - means[np.unique(labels, return_inverse=True)[1]]
    inverse = np.linalg.inv(np.cov(apart.T) + 1e-3 * np.var(apart) * np.eye(axes.shape[1]))

    def mahalanobis(features: Array) -> Array:
        found = scaled(features) @ axes
        each = [np.einsum("ij,jk,ik->i", found - m, inverse, found - m) for m in means]
        return np.min(each, axis=0)

    def neighbour(features: Array, unit: Callable[[Array], Array]) -> Array:
        one, other = unit(scaled(features)), unit(own)
        squares = (one**2).sum(1)[:, None] + (other**2).sum(1) - 2 * one @ other.T
        return np.partition(squares, NEIGHBOUR, axis=1)[:, NEIGHBOUR - 1]

    def length(values: Array) -> Array:
        return values / np.linalg.norm(values, axis=1, keepdims=True)

    return {
        "64 axes and the rest (stage `decide`)": known.score,
        "Mahalanobis, by class": mahalanobis,
        "fifth neighbour": lambda features: neighbour(features, lambda values: values),
        "fifth neighbour, cosine": lambda features: neighbour(features, length),
        "distance from the mean": lambda features: np.square(scaled(features)).sum(axis=1),
    }


def features(model: Classifier, pictures: Sequence[Any], load: Any, what: str) -> Array:
    """(N, D) of pictures, by threads."""

    def work(each: Any) -> NDArray[np.float32]:
        return model.outputs(load(each)[None])[1][0]

    return np.stack([*track(in_threads(work, pictures), what, len(pictures))]).astype(np.float64)


def measure(others: Path, most: int, made: int) -> tuple[str, dict[str, Any]]:
    """The dataset's name, and of each score the areas against each kind of other pictures."""
    if not workspace.FINE_TUNED_ONNX.is_file():
        raise ThawError(f"{workspace.FINE_TUNED_ONNX} is missing; run `dvc repro`")
    model = Classifier(workspace.FINE_TUNED_ONNX)
    split = files.read(workspace.SPLIT)
    of = {part: split[split["split"] == part] for part in ("train", "test")}
    chance = np.random.default_rng(1)
    train = of["train"].iloc[chance.permutation(len(of["train"]))[:most]]
    test = of["test"]["path"].iloc[chance.permutation(len(of["test"]))[:most]]
    found = [path for path in walk(others) if kinds.means_picture(path)]
    if not found:
        raise ThawError(f"{others} holds no picture; give a folder of pictures of something else")
    found = [found[number] for number in chance.permutation(len(found))[:most].tolist()]
    size = model.image_size

    def own(path: str) -> decoding.Pixels:
        return model.look(workspace.IMAGES / path)

    usual = features(model, train["path"].tolist(), own, "training pictures")
    labels = train["label"].map(model.classes.index).to_numpy()
    inside = features(model, test.tolist(), own, "test pictures")
    outside = {
        "noise": features(model, range(made), lambda number: noise(number, size), "noise"),
        "text": features(model, range(made), lambda number: text(number, size), "text"),
        "others": features(model, found, model.look, "other pictures"),
    }
    known = {
        name: {
            kind: roc_auc_score(
                [0] * len(inside) + [1] * len(each), np.concatenate([score(inside), score(each)])
            )
            for kind, each in outside.items()
        }
        for name, score in scores(usual, labels).items()
    }
    counts = {"train": len(usual), "test": len(inside)} | {k: len(v) for k, v in outside.items()}
    name: str = workspace.read_params().dataset
    return name, {"image_size": size, "pictures": counts, "areas": known}


def section(dataset: str, found: dict[str, Any]) -> str:
    """A dataset's table."""
    counts = found["pictures"]
    columns = ["score", *(f"{kind} ({counts[kind]})" for kind in ("noise", "text", "others"))]
    rows = [
        [name, *(f"{areas[kind]:.4f}" for kind in ("noise", "text", "others"))]
        for name, areas in found["areas"].items()
    ]
    about = (
        f"{markdown.code(dataset)}, {found['image_size']} pixels: {counts['train']:,} training "
        f"pictures, {counts['test']:,} test pictures against others."
    )
    return f"{about}\n\n{markdown.table(columns, rows)}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--others", type=Path, required=True, help="a folder of other pictures")
    parser.add_argument("--most", type=int, default=MOST, help="pictures of each kind")
    parser.add_argument("--made", type=int, default=MADE, help="pictures of noise, and of text")
    given = parser.parse_args()
    path = tables.RESULTS / "unlike.json"
    every = json.loads(path.read_text("utf-8"))["datasets"] if path.exists() else {}
    name, found = measure(given.others, given.most, given.made)
    every[name] = found
    machine = tables.machine()
    sections = [section(dataset, each) for dataset, each in every.items()]
    page = "\n\n".join([tables.machine_line(machine), *sections]) + "\n"
    tables.write("unlike", {"machine": machine, "datasets": every}, page)


if __name__ == "__main__":
    errors.run(main)
