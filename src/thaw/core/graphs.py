"""Base models' layers as data: parameters that name one are checked without building a network."""

import csv
import difflib
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from thaw.core.errors import ThawError

LAYERS = Path(__file__).with_name("layers")  # tools/list_layers.py writes it
COLUMNS = ("layer", "kind", "everything_passes")
OPTIONAL = ("cifar10_cnn",)  # have the options of `network`
# Not of keras.applications.
OWN = (*OPTIONAL, "EfficientNetLite0", "EfficientNetLite1", "EfficientNetLite2")
SCALING = ("BatchNormalization", "DepthwiseConv2D", "LayerNormalization")  # each channel by itself
FOREIGN = "onnx:"  # begins a base model that is an ONNX file, of which no layer is known
SMALLEST = {"InceptionV3": 75, "InceptionResNetV2": 75, "Xception": 71}  # pixels; others: 32


@dataclass(frozen=True)
class Graph:
    """What is known of a network without building it."""

    name: str
    layers: Sequence[str]  # names
    kinds: Sequence[str]  # Keras's classes
    passed: Sequence[int]  # indices of those through which everything passes


def foreign(name: str) -> bool:
    """Whether a base model is an ONNX file."""
    return name.startswith(FOREIGN)


def path(name: str, batch_norm: bool = False) -> Path:
    """The file of a network; with BatchNormalization for one of ours."""
    return LAYERS / f"{name}{'-batch_norm' if batch_norm else ''}.csv"


@functools.cache
def names() -> tuple[str, ...]:
    """All base models."""
    return tuple(sorted(each.stem for each in LAYERS.glob("*.csv") if "-" not in each.stem))


@functools.cache
def read(name: str, batch_norm: bool, place: str) -> Graph:
    """A base model's layers.

    Args:
        name: such as "MobileNetV2".
        batch_norm: whether one of `OPTIONAL` has BatchNormalization.
        place: the parameter's name, for the error.

    Raises:
        ThawError: when there is no such network.
    """
    if foreign(name):
        return Graph("an ONNX file", ("pixels", "features"), ("InputLayer", "ONNX"), (0, 1))
    if name not in names():
        raise unknown(name, names(), place)
    with path(name, batch_norm and name in OPTIONAL).open(newline="", encoding="utf-8") as file:
        _, *rows = csv.reader(file)
    layers, kinds, passed = zip(*rows, strict=True)
    return Graph(name, layers, kinds, tuple(i for i, each in enumerate(passed) if each == "1"))


def unknown(name: str, known: Sequence[str], place: str) -> ThawError:
    """The error for a base model that isn't there."""
    close = difflib.get_close_matches(name, known, n=3) or sorted(known)
    return ThawError(
        f"{place}: {name}: there is no such network in keras.applications or among Thaw's own; "
        f"give one such as {', '.join(close)}"
    )


def index(
    network: str,
    layers: Sequence[str],
    layer: int | str,
    place: str,
    feature_layer: int | str | None = None,
) -> int:
    """The index of a layer given by index or name.

    Args:
        network: its name, for the error.
        layers: their names.
        layer: an index or a name.
        place: the parameter's name, for the error.
        feature_layer: where the network was cut, for the error.

    Raises:
        ThawError: when there is no such layer.
    """
    if layer in layers:
        return layers.index(str(layer))
    count = len(layers)
    if isinstance(layer, int) and 0 <= layer < count:
        return layer
    if feature_layer is not None:
        network += f", cut at feature_layer {feature_layer},"
    if isinstance(layer, int):
        other = "pixels" if place.endswith("cache.layer") else "null"
        raise ThawError(
            f"{place}: {layer}: {network} has {count} layers; "
            f"give 0 to {count - 1}, a layer's name, or {other}"
        )
    close = difflib.get_close_matches(layer, layers, n=3, cutoff=0.4) or layers[-3:]
    raise ThawError(
        f"{place}: {layer}: {network} has no layer of that name; "
        f"give one such as {', '.join(close)}, or an index from 0 to {count - 1}"
    )


def cut(graph: Graph, feature_layer: int | str, place: str) -> int:
    """The index of the layer at which a network is cut.

    Raises:
        ThawError: when there is no such layer, or not everything passes through it.
    """
    at = index(graph.name, graph.layers, feature_layer, place)
    passed = graph.passed[1:]  # the input gives no features
    if at not in passed:
        near = [max((i for i in passed if i < at), default=None)]
        near.append(min((i for i in passed if i > at), default=None))
        nearest = " or ".join(graph.layers[i] for i in near if i is not None)
        raise ThawError(
            f"{place}: {feature_layer}: {graph.layers[at]} is no layer of {graph.name} through "
            f"which everything passes; the nearest are {nearest}"
        )
    return at
