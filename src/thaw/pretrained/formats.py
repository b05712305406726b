"""Weights in the formats of other tools, read into a base model."""

import thaw.networks.quiet  # noqa: F401

import re
from collections.abc import Callable
from pathlib import Path

import h5py
import keras
import numpy as np
import onnx
import onnx.numpy_helper
from numpy.typing import NDArray

from thaw.core.errors import shortlist
from thaw.pretrained import torch_file

Array = NDArray[np.float32]


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


def _read_torch_efficientnet_lite(base: keras.Model, path: Path) -> None:
    """EfficientNet-PyTorch numbers all blocks; convolutions are (out, in, height, width) there.

    Raises:
        ValueError: when a tensor is missing, has another shape, or is left over.
    """
    tensors = torch_file.read(path)
    blocks = [layer.name[:-7] for layer in base.layers if layer.name.endswith("_dwconv")]
    places = {"stem_conv": "_conv_stem", "stem_bn": "_bn0", "top_conv": "_conv_head"}
    places["top_bn"] = "_bn1"
    for number, block in enumerate(blocks):
        places |= {
            f"{block}_{ours}": f"_blocks.{number}.{theirs}"
            for ours, theirs in (
                ("expand_conv", "_expand_conv"),
                ("expand_bn", "_bn0"),
                ("dwconv", "_depthwise_conv"),
                ("bn", "_bn1"),
                ("project_conv", "_project_conv"),
                ("project_bn", "_bn2"),
            )
        }

    def taken(name: str) -> Array:
        if name not in tensors:
            raise ValueError(f"{name} is missing")
        return tensors.pop(name)

    for layer in base.layers:
        if not layer.weights:
            continue
        place = places[layer.name]
        if isinstance(layer, keras.layers.BatchNormalization):
            names = ("weight", "bias", "running_mean", "running_var")
            layer.set_weights([taken(f"{place}.{name}") for name in names])
        else:
            depthwise = isinstance(layer, keras.layers.DepthwiseConv2D)
            axes = (2, 3, 0, 1) if depthwise else (2, 3, 1, 0)
            layer.set_weights([taken(f"{place}.weight").transpose(axes)])
    left = {name for name in tensors if not name.endswith("num_batches_tracked")}
    if left != {"_fc.weight", "_fc.bias"}:
        raise ValueError(f"{shortlist(sorted(left), 3)} left over")


READERS: dict[str, Callable[[keras.Model, Path], None]] = {
    "tfhub-mobilenet-v2": _read_tfhub_mobilenet_v2,
    "onnx-vgg": _read_onnx_vgg,
    "torch-efficientnet-lite": _read_torch_efficientnet_lite,
}
