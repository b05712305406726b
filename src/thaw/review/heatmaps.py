"""Where a classifier looked: Grad-CAM of the feature maps that its head reads."""

import thaw.networks.quiet  # noqa: F401

import re
from collections.abc import Sequence
from typing import Any

import keras
import matplotlib as mpl
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from thaw.core.errors import ThawError
from thaw.pictures import augmentation, decoding

Heat = NDArray[np.float32]  # (S, S), from 0, nothing, to 1, the most
Symmetry = tuple[int, bool, bool]
POOLING = re.compile(r"(?:average|max)_pooling_(\d+)|flatten")
PALETTE = mpl.colormaps["inferno"]  # readable for colour-blind people, and in grey
SCALE = 128  # pixels
STRENGTH = 0.7  # of the colour where the heat is greatest


class Explainer:
    """A classifier, cut where its head begins."""

    def __init__(self, classifier: keras.Model) -> None:
        """Cut it.

        Args:
            classifier: as `classifiers.classifier` makes it.

        Raises:
            ThawError: when its head doesn't pool or flatten feature maps.
        """
        if classifier.name == "head_on_maps":
            raise ThawError(
                "there are no heat maps of a network from an ONNX file, which has no slopes"
            )
        read: dict[str, keras.KerasTensor] = {}
        for layer in classifier.layers:
            if found := POOLING.fullmatch(layer.name):
                read[found[1] or "0"] = layer.input
        if not read:
            raise ThawError(
                f"{classifier.name} pools no feature maps, so that nothing shows where it looked; "
                "give a model that stage train_head or fine_tune wrote"
            )
        self.size: int = classifier.input_shape[1]
        self._below = keras.Model(classifier.input, list(read.values()))
        self._head = keras.Model(list(read.values()), classifier.output)

    def heat(self, pixels: decoding.Pixels, label: int, symmetries: Sequence[Symmetry]) -> Heat:
        """What speaks for a class, and where: the mean over symmetric views, turned back.

        Grad-CAM (Selvaraju et al. 2017, https://arxiv.org/abs/1610.02391) of each map A that the
        head reads: sum_k a_k A_k, where a_k is the mean over all places of the slope of the class's
        logit by channel k. The maps of several depths are scaled to the picture, each by its own
        number of places, and summed. So for a linear head on averages, the mean of the sum is all
        that the maps add to the logit. What speaks against the class is cut off.

        Args:
            pixels: (S, S, 3) from 0 to 255.
            label: the class's number.
            symmetries: of the views, as `Augmentation.symmetries` gives them.
        """
        views = np.stack([augmentation.symmetric(pixels, *symmetry) for symmetry in symmetries])
        seen = self._seen(tf.constant(views, tf.float32), label).numpy()
        places: NDArray[Any] = np.arange(self.size**2).reshape(self.size, self.size, 1)
        total = np.zeros(self.size**2, np.float32)
        for heat, symmetry in zip(seen, symmetries, strict=True):
            total[augmentation.symmetric(places, *symmetry).ravel()] += heat.ravel()
        total = np.maximum(total, 0)
        scaled: Heat = (total / max(float(total.max()), 1e-12)).reshape(self.size, self.size)
        return scaled

    def _seen(self, views: tf.Tensor, label: int) -> tf.Tensor:
        """(N, S, S) of views (N, S, S, 3)."""
        maps = self._below(views, training=False)
        maps = maps if isinstance(maps, list) else [maps]
        with tf.GradientTape() as tape:
            tape.watch(maps)
            logits = self._head(maps, training=False)
            if logits.shape[-1] == 1:
                target = logits[:, 0] if label else -logits[:, 0]
            else:
                target = logits[:, label]
        total = tf.zeros((len(views), self.size, self.size))
        for each, slope in zip(maps, tape.gradient(target, maps), strict=True):
            height, width = each.shape[1:3]
            weights = height * width * tf.reduce_mean(slope, axis=(1, 2), keepdims=True)
            heat = tf.reduce_sum(weights * each, axis=-1, keepdims=True)
            total += tf.image.resize(heat, (self.size, self.size))[..., 0]
        return total


def scale() -> decoding.Pixels:
    """The colours of a heat map from nothing, left, to the most, on a picture of middle grey."""
    heat = np.tile(np.linspace(0, 1, SCALE, dtype=np.float32), (8, 1))
    return overlay(np.full((8, SCALE, 3), 128, np.uint8), heat)


def overlay(pixels: decoding.Pixels, heat: Heat) -> decoding.Pixels:
    """The picture in grey, coloured where there is heat; both (S, S, ...)."""
    grey = pixels.astype(np.float32).mean(axis=-1, keepdims=True)
    colour = 255 * PALETTE(heat)[..., :3]
    share = STRENGTH * heat[..., None]
    mixed: decoding.Pixels = (grey * (1 - share) + colour * share).round().astype(np.uint8)
    return mixed
