"""Base models that `keras.applications` lacks, to be trained from scratch."""

import thaw.networks.quiet  # noqa: F401

from dataclasses import dataclass

import keras
from keras import layers

NAMES = ("cifar10_cnn",)


@dataclass(frozen=True)
class Options:
    """What the convolutions of these networks are like."""

    padding: str = "same"  # of the first of each two; the second's is valid
    l2: float = 0.0
    initializer: str = "glorot_uniform"
    batch_norm: bool = False


DEFAULT = Options()


def build(name: str, image_size: int | None, options: Options) -> keras.Model:
    """The network of that name, without its dense layers.

    Args:
        name: one of `NAMES`.
        image_size: height and width in pixels; None for any.
        options: of its convolutions.
    """
    picture = keras.Input((image_size, image_size, 3), name="pixels")
    return keras.Model(picture, _cifar10_cnn(picture, options), name=name)


def _cifar10_cnn(maps: keras.KerasTensor, options: Options) -> keras.KerasTensor:
    """Two blocks of two convolutions and a pooling.

    From the article "Методы тонкой настройки нейросети. Keras".

    (N, S, S, 3) from 0 to 1, to (N, 6, 6, 64) for S = 32, to (N, 5, 5, 64) where padding is valid.
    """
    for block, width in ((1, 32), (2, 64)):
        for number, padding in ((1, options.padding), (2, "valid")):
            place = f"block{block}_{{}}{number}".format
            maps = layers.Conv2D(
                width,
                3,
                padding=padding,
                kernel_initializer=options.initializer,
                kernel_regularizer=keras.regularizers.L2(options.l2) if options.l2 else None,
                name=place("conv"),
            )(maps)
            maps = layers.Activation("relu", name=place("relu"))(maps)
            if options.batch_norm:
                # The article means each channel; its axis=1 would be the rows of maps.
                maps = layers.BatchNormalization(axis=-1, name=place("norm"))(maps)
        maps = layers.MaxPooling2D(2, name=f"block{block}_pool")(maps)
    return maps
