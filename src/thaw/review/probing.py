"""Where features stop being general: a linear probe on the pooled output of every block.

Alain and Bengio (2016), arXiv:1610.01644, probe every layer like this; Yosinski et al. (2014),
arXiv:1411.1792, find that features go from general to specific with depth.
"""

import thaw.networks.quiet  # noqa: F401

import math
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import onnxruntime
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from thaw.core.errors import ThawError
from thaw.core.progress import track
from thaw.core.threads import in_threads
from thaw.drawing import markdown
from thaw.files.arrays import forget
from thaw.networks import backbones, pooling
from thaw.pictures import augmentation, decoding
from thaw.pictures.depths import BitDepth
from thaw.training import classifiers, loop

Array = NDArray[np.float32]
Labels = NDArray[np.int64]

PIXELS = "pixels"  # the depth below the first layer
STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # scikit-learn's C, the inverse of regularisation
FOLDS = 5
STEPS = 5  # timed at each depth that is measured, after one to warm up
MEASURED = 5  # depths
MOST = 4000  # training pictures that the probes learn from, so that they take minutes at most
NEAR = 0.75  # of the depth
LARGE = 1000  # numbers to train to a training picture
RULE = (
    "Rule: the probe's accuracy rises with depth while features help. Of the blocks within one "
    "standard error of the best (Hastie, Tibshirani and Friedman, The Elements of Statistical "
    "Learning, 7.10) the shallowest is taken, and `fine_tune_at` is the first layer with weights "
    "after it; where none is left after it, the first of the last block. The pictures are near the "
    "pretrained network's where that block lies in the last quarter of the layers, else far; few "
    f"where more than {LARGE:,} numbers would be trained to a training picture (TensorFlow's "
    "tutorial, which gains from fine-tuning, has 931), else many."
)
LAST_LAYER = "codes-svm"  # the recipe that reads the last layer's output
# (near, large): a situation's number in Stanford's course CS231n, a recipe for it, what that does.
SITUATIONS = {
    (True, False): (1, LAST_LAYER, "a linear classifier on the frozen network's output"),
    (True, True): (2, "tensorflow-tutorial", "fine-tune the layers after {}"),
    (False, False): (3, "earlier-layer-svm", "a linear classifier on an earlier layer, {}"),
    (False, True): (4, "all-layers", "fine-tune the whole network"),
}


@dataclass(frozen=True)
class Depth:
    """A block, and what thawing the layers after it would take."""

    index: int  # of the layer that ends the block; 0 for the pixels
    block: str
    accuracy: float  # of the probe, on the validation pictures
    standard_error: float
    fine_tune_at: str | None  # the first layer with weights after the block
    parameters: int  # numbers that training from there changes, the head's included; 0 for none
    seconds: float  # of an epoch from there with the block's output cached; 0 for none


@dataclass(frozen=True)
class Advice:
    """Where to thaw, and which of the four situations this is."""

    best: Depth
    chosen: Depth  # where the features stop being general
    thawed: Depth  # whose `fine_tune_at` is advised: the chosen one, or one block shallower
    near: bool
    large: bool
    situation: int
    recipe: str
    deed: str  # what the recipe does


def depths(base: keras.Model) -> list[int]:
    """Indices of the input and of the layers that end a block.

    Raises:
        ThawError: when no block but the last has layers with weights after it.
    """
    found = [0, *backbones.blocks(base)]
    if first_after(base, found[1]) is None:
        raise ThawError(
            f"params.yaml: base_model: {base.name} has no blocks (additions, concatenations or "
            "poolings that everything passes) to compare; choose another network, such as "
            "MobileNetV2, or try values of fine_tune_at"
        )
    return found


def first_after(base: keras.Model, index: int) -> str | None:
    """The first layer with weights after a layer; None where there is none."""
    return next((layer.name for layer in base.layers[index + 1 :] if layer.weights), None)


def network(base: keras.Model, image_size: int) -> keras.Model:
    """From (N, S, S, 3) pixels to (N, 2, C): averages and maxima of the preprocessed pixels and of
    every block's output, side by side.
    """
    pictures = keras.Input((image_size, image_size, 3), name="picture")
    pixels = backbones.preprocess(base.name, pictures)
    maps = backbones.with_blocks(base)(pixels, training=False)
    return keras.Model(pictures, [pooling.averages_and_maxima([pixels, *maps])])


def widths(base: keras.Model) -> list[int]:
    """Channels of each of `depths`, in order: how `network`'s output is divided."""
    return [3, *(base.layers[index].output.shape[-1] for index in backbones.blocks(base))]


def extract(
    session: onnxruntime.InferenceSession,
    folder: Path,
    paths: Sequence[str],
    image_size: int,
    resize: str,
    out: Path,
    bit_depth: BitDepth = "file",
) -> Array:
    """Run an exported `network` once over every picture.

    Args:
        session: the network.
        folder: what `paths` are relative to.
        paths: the pictures.
        image_size: height and width in pixels.
        resize: stretch or crop.
        out: the file that the result is mapped from, 8 bytes a channel and picture (17 KB a picture
            for MobileNetV2); memory holds a few pictures.
        bit_depth: as for `decoding.read`.

    Returns:
        (pictures, 2, C) float32.
    """
    source = session.get_inputs()[0].name
    shape = (len(paths), *session.get_outputs()[0].shape[1:])
    found: Array = np.lib.format.open_memmap(out, "w+", np.float32, shape)

    def compute(path: str) -> Array:
        pixels = decoding.load(folder / path, image_size, resize, bit_depth)[None]
        pooled: Array = session.run(None, {source: pixels.astype(np.float32)})[0][0]
        return pooled

    computed = in_threads(compute, paths)
    for row, pooled in enumerate(track(computed, out.stem, len(paths))):
        found[row] = pooled
        forget(found)
    return found


def part(pooled: Array, channels: Sequence[int], depth: int) -> Array:
    """One depth's features, (pictures, 2 C): its averages, then its maxima."""
    start = sum(channels[:depth])
    own = pooled[:, :, start : start + channels[depth]].reshape(len(pooled), -1)
    forget(pooled)
    return own


def probe(features: Array, labels: Labels, balanced: bool, seed: int) -> Pipeline:
    """A logistic regression on standardised features.

    Cross-validation within these pictures chooses its regularisation among `STRENGTHS`: the one of
    best accuracy, and the strongest of equal ones.

    Args:
        features: (pictures, D) of the training pictures.
        labels: (pictures,) class numbers.
        balanced: whether each class counts the same.
        seed: of the folds.

    Raises:
        ThawError: when a class has one picture, which can't be divided.
    """
    fewest = int(np.unique(labels, return_counts=True)[1].min())
    if fewest < 2:
        raise ThawError(
            "data/split.csv: a class has one training picture, and the probe needs two of each; "
            "add pictures or set a smaller split.held_out in params.yaml"
        )
    one = LogisticRegression(class_weight="balanced" if balanced else None, max_iter=1000)
    folds = StratifiedKFold(min(FOLDS, fewest), shuffle=True, random_state=seed)
    search = GridSearchCV(
        make_pipeline(StandardScaler(), one), {"logisticregression__C": STRENGTHS}, cv=folds
    )
    best: Pipeline = search.fit(features, labels).best_estimator_
    return best


def standard_error(accuracy: float, pictures: int) -> float:
    """The standard error of a share of so many pictures: sqrt(p (1 - p) / n)."""
    return math.sqrt(accuracy * (1 - accuracy) / pictures)


def depth(
    base: keras.Model, index: int, accuracy: float, pictures: int, parameters: int, seconds: float
) -> Depth:
    """What was found at a depth, the accuracy on so many pictures."""
    return Depth(
        index,
        base.layers[index].name if index else PIXELS,
        accuracy,
        standard_error(accuracy, pictures),
        first_after(base, index),
        parameters,
        seconds if parameters else 0.0,
    )


def multiply_adds(base: keras.Model, index: int) -> int:
    """Multiplications of the layers above one for a picture, without element-wise ones."""
    return sum(
        math.prod(weight.shape) * math.prod(layer.output.shape[1:-1])
        for layer in base.layers[index + 1 :]
        for weight in layer.weights
        if len(weight.shape) > 1
    )


def thaw_above(classifier: keras.Model, base: keras.Model, index: int) -> int:
    """Thaw the layers after one; count the numbers that training then changes, 0 without layers."""
    backbones.freeze_below(base, index + 1 if first_after(base, index) else None)
    if first_after(base, index) is None:
        return 0
    return sum(weight.shape.num_elements() for weight in classifier.trainable_weights)


def seconds_a_step(
    classifier: keras.Model,
    base: keras.Model,
    index: int,
    pooling: str,
    recipe: loop.Optimization,
    batch_size: int,
    precision: str = "float32",
) -> float:
    """Median time of a training step of the part above a block, on random features.

    The model's weights are of no use afterwards.

    Args:
        classifier: the whole.
        base: its base model, of a `classifier`.
        index: of the layer that ends the block; 0 to train from pictures.
        pooling: of the head.
        recipe: the optimizer.
        batch_size: pictures in a step.
        precision: of convolutions.
    """
    thaw_above(classifier, base, index)
    top = classifiers.top(classifier, base, index or None, pooling, precision=precision)
    loop.compile_model(top, recipe, STEPS + 1)
    random = augmentation.random("probe")
    batch = {
        each.name: random.random((batch_size, *each.shape[1:]), np.float32) for each in top.inputs
    }
    labels = np.zeros((batch_size, 1), np.int64)
    taken = []
    for _ in range(STEPS + 1):
        begun = time.perf_counter()
        top.train_on_batch(batch, labels)
        taken.append(time.perf_counter() - begun)
    return statistics.median(taken[1:])


def spread(count: int) -> list[int]:
    """Some of `count` places at even distances, the first and the last among them."""
    return sorted({round(place) for place in np.linspace(0, count - 1, min(count, MEASURED))})


def interpolate(work: Sequence[int], measured: Mapping[int, float]) -> list[float]:
    """The time at every depth, from the time at some, in proportion to the work between them.

    Args:
        work: multiplications at each depth, fewer with depth.
        measured: seconds at some depths, the first and the last among them.
    """
    places = sorted(measured, key=lambda place: work[place])
    known = [work[place] for place in places]
    return [float(x) for x in np.interp(work, known, [measured[place] for place in places])]


def advise(found: Sequence[Depth], pictures: int) -> Advice:
    """Where to thaw, by the rule that `RULE` states.

    Args:
        found: the depths, shallow to deep.
        pictures: how many there are to train on.
    """
    best = max(found, key=lambda depth: depth.accuracy)
    enough = best.accuracy - best.standard_error
    place = next(i for i, depth in enumerate(found) if depth.accuracy >= enough)
    thawed = next(depth for depth in reversed(found[: place + 1]) if depth.fine_tune_at)
    near = found[place].index >= NEAR * found[-1].index
    large = thawed.parameters <= LARGE * pictures
    situation, recipe, deed = SITUATIONS[near, large]
    last = found[-1]
    if recipe == LAST_LAYER and last.accuracy < enough:
        _, recipe, deed = SITUATIONS[False, False]
        deed += (
            f" ({LAST_LAYER}, usual in this situation, reads {last.block}, whose probe is "
            f"{100 * (best.accuracy - last.accuracy):.1f} points below the best)"
        )
    deed = deed.format(found[place].block)
    return Advice(best, found[place], thawed, near, large, situation, recipe, deed)


def table(found: Sequence[Depth], advice: Advice) -> str:
    """The depths as a Markdown table, the advised one marked."""
    columns = ("block", "probe's accuracy", "thaw from", "numbers trained", "seconds an epoch")
    rows = [
        (
            depth.block,
            f"{depth.accuracy:.3f} ± {depth.standard_error:.3f}",
            f"{depth.fine_tune_at or 'null'}{' ←' if depth is advice.thawed else ''}",
            f"{depth.parameters:,}" if depth.fine_tune_at else "0",
            f"{depth.seconds:.1f}" if depth.fine_tune_at else "0",
        )
        for depth in found
    ]
    return markdown.table(columns, rows) + "\n"


def sentences(advice: Advice, pictures: int, tested: int, command: str) -> str:
    """The advice, how to follow it, and by what rule.

    Args:
        advice: as `advise` gives it.
        pictures: of training.
        tested: pictures of validation.
        command: that follows the advice.
    """
    best, chosen, thawed = advice.best, advice.chosen, advice.thawed
    gains = (
        f"the best is {best.block} ({best.accuracy:.3f} ± {best.standard_error:.3f}), and of those "
        f"within one standard error of it {chosen.block} is the shallowest ({chosen.accuracy:.3f})"
        if chosen is not best
        else f"no block before {best.block} comes within one standard error of it "
        f"({best.accuracy:.3f} ± {best.standard_error:.3f})"
    )
    rest = "" if thawed is chosen else "; no layer with weights comes after it"
    few = "many" if advice.large else "few"
    near = "near" if advice.near else "far from"
    return (
        f"Advice: `{command}`: {gains}{rest}.\n\n"
        f"Situation {advice.situation} of 4: {few} pictures ({pictures:,}, "
        f"{thawed.parameters / pictures:,.0f} numbers to train for each), {near} those of the "
        f"pretrained network. Recipe {advice.recipe}: {advice.deed}.\n\n{RULE}\n\n"
        f"Seconds are those of training steps on cached features, measured at up to {MEASURED} "
        "depths and interpolated between them by multiplications. The probes are logistic "
        "regressions on standardised averages and maxima of each block's output; the standard "
        f"error is that of a share of {tested:,} validation pictures.\n"
    )
