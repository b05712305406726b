"""The frozen part of a network: from pixels to what the cache holds of each picture."""

import thaw.networks.quiet  # noqa: F401

from collections.abc import Sequence

import keras

from thaw.networks import backbones, pooling


def extractor(base: keras.Model, image_size: int, boundary: int, bottleneck: str) -> keras.Model:
    """A model from (N, S, S, 3) pixels to the boundary's output and the bottleneck features.

    With boundary 0 pixels are cached, and the model gives the bottleneck features alone. They are
    (N, H, W, C) if "full"; if "pooled", averages and maxima (N, 2, C) of the last layer; if
    "blocks", those of every block's output side by side.
    """
    pictures = keras.Input((image_size, image_size, 3), name="picture")
    read = backbones.blocks(base) if bottleneck == "blocks" else [-1]
    outputs = [base.layers[index].output for index in (boundary, *read)]
    cached, *maps = keras.Model(base.input, outputs, name=base.name)(
        backbones.preprocess(base.name, pictures), training=False
    )
    features = maps[0] if bottleneck == "full" else pooling.averages_and_maxima(maps)
    return keras.Model(pictures, [cached, features] if boundary else [features])


def above_maps(shape: Sequence[int], boundary: int, bottleneck: str) -> keras.Model:
    """What `extractor` gives, from the (N, H, W, C) maps of an ONNX file's network."""
    maps = keras.Input(tuple(shape), name="maps")
    features = maps if bottleneck == "full" else pooling.averages_and_maxima([maps])
    return keras.Model(maps, [maps, features] if boundary else [features])
