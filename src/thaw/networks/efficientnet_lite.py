"""EfficientNet-Lite 0 to 2, which `keras.applications` lacks.

EfficientNets without squeeze-and-excitation, with ReLU6 in place of swish, and whose stem and top
don't grow: they compute fast without a GPU. After
https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite
"""

import thaw.networks.quiet  # noqa: F401

import math

import keras
from keras import layers

SCALES = {  # of width and depth
    "EfficientNetLite0": (1.0, 1.0),
    "EfficientNetLite1": (1.0, 1.1),
    "EfficientNetLite2": (1.1, 1.2),
}
# Kernel size, stride of the first, expansion, width, and how many blocks.
STAGES = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)
STEM, TOP = 32, 1280
CENTRE, SPREAD = 127.0, 128.0  # pixels go in as (x - 127) / 128


def build(name: str, image_size: int | None) -> keras.Model:
    """The network of that name, without its classification layers.

    Args:
        name: one of `SCALES`.
        image_size: height and width in pixels; None for any.
    """
    wide, deep = SCALES[name]
    pictures = keras.Input((image_size, image_size, 3), name="pixels")
    maps = _convolution(pictures, STEM, "stem", size=3, strides=2)
    for number, (size, strides, expansion, width, count) in enumerate(STAGES, start=1):
        repeated = 1 < number < len(STAGES)
        for place in range(math.ceil(count * deep) if repeated else count):
            maps = _block(
                maps,
                f"block{number}{'abcdefgh'[place]}",
                size=size,
                strides=1 if place else strides,
                expansion=expansion,
                width=_rounded(width * wide),
            )
    maps = _convolution(maps, TOP, "top")
    return keras.Model(pictures, maps, name=name)


def _rounded(width: float) -> int:
    """To a multiple of 8, and not down by more than a tenth."""
    near = max(8, int(width + 4) // 8 * 8)
    return near + 8 if near < 0.9 * width else near


def _block(
    inputs: keras.KerasTensor, name: str, *, size: int, strides: int, expansion: int, width: int
) -> keras.KerasTensor:
    before = inputs.shape[-1]
    maps = inputs
    if expansion > 1:
        maps = _convolution(maps, before * expansion, f"{name}_expand")
    maps = layers.DepthwiseConv2D(
        size, strides, padding="same", use_bias=False, name=f"{name}_dwconv"
    )(maps)
    maps = layers.BatchNormalization(name=f"{name}_bn")(maps)
    maps = layers.ReLU(6.0, name=f"{name}_activation")(maps)
    maps = layers.Conv2D(width, 1, use_bias=False, name=f"{name}_project_conv")(maps)
    maps = layers.BatchNormalization(name=f"{name}_project_bn")(maps)
    if strides == 1 and before == width:
        maps = layers.Add(name=f"{name}_add")([inputs, maps])
    return maps


def _convolution(
    maps: keras.KerasTensor, width: int, name: str, size: int = 1, strides: int = 1
) -> keras.KerasTensor:
    maps = layers.Conv2D(width, size, strides, padding="same", use_bias=False, name=f"{name}_conv")(
        maps
    )
    maps = layers.BatchNormalization(name=f"{name}_bn")(maps)
    return layers.ReLU(6.0, name=f"{name}_activation")(maps)
