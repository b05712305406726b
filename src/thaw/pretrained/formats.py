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


READERS: dict[str, Callable[[keras.Model, Path], None]] = {
    "tfhub-mobilenet-v2": _read_tfhub_mobilenet_v2,
    "onnx-vgg": _read_onnx_vgg,
}
