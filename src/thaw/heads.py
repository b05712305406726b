"""Classification heads: pooling, dense layers, logits."""

import thaw.quiet  # noqa: F401

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import keras
import numpy as np
from numpy.typing import NDArray

from thaw.errors import ThawError

Array = NDArray[np.float32]


@dataclass(frozen=True)
class HeadSpec:
    """A head: pooling, then dense hidden layers, dropout, and a dense layer of logits."""

    pooling: str  # average, max, average_max or flatten
    hidden: Sequence[int]
    dropout: float
    l2: float
    initializer: str


def pool(pooling: str, maps: keras.KerasTensor) -> keras.KerasTensor:
    """(N, H, W, C) feature maps to (N, D): D is C, 2 C for average_max, H W C for flatten."""
    if pooling == "flatten":
        return keras.layers.Flatten(name="flatten")(maps)
    pooled = []
    if pooling in ("average", "average_max"):
        pooled.append(keras.layers.GlobalAveragePooling2D(name="average_pooling")(maps))
    if pooling in ("max", "average_max"):
        pooled.append(keras.layers.GlobalMaxPooling2D(name="max_pooling")(maps))
    return pooled[0] if len(pooled) == 1 else keras.layers.Concatenate(name="pooling")(pooled)


def layers(spec: HeadSpec, classes: int) -> list[keras.Layer]:
    """The layers above the pooling, in order.

    Two classes get one logit (a sigmoid's), more get one each (a softmax's).
    """
    regularizer = keras.regularizers.L2(spec.l2) if spec.l2 else None
    above: list[keras.Layer] = [
        keras.layers.Dense(
            width,
            "relu",
            kernel_initializer=spec.initializer,
            kernel_regularizer=regularizer,
            name=f"hidden_{number}",
        )
        for number, width in enumerate(spec.hidden, start=1)
    ]
    if spec.dropout:
        above.append(keras.layers.Dropout(spec.dropout, name="dropout"))
    above.append(
        keras.layers.Dense(
            1 if classes == 2 else classes, kernel_regularizer=regularizer, name="logits"
        )
    )
    return above


def apply(above: Sequence[keras.Layer], features: keras.KerasTensor) -> keras.KerasTensor:
    """Run features through the layers in order."""
    for layer in above:
        features = layer(features)
    return features


def of(classifier: keras.Model) -> list[keras.Layer]:
    """The layers that `layers` made, found again in a saved classifier."""
    return [
        layer
        for layer in classifier.layers
        if layer.name in ("dropout", "logits") or layer.name.startswith("hidden_")
    ]


def selector(pooling: str, bottleneck: str) -> Callable[[Array], Array]:
    """What turns a batch of cached bottleneck features into what `pool` would give, (N, D).

    Args:
        pooling: of the head.
        bottleneck: what is cached: "pooled", (N, 2, C) averages and maxima, or "full" (N, H, W, C).

    Raises:
        ThawError: when the head wants whole maps and only pooled ones are cached.
    """
    if bottleneck == "pooled":
        if pooling == "flatten":
            raise ThawError(
                "params.yaml: head.pooling: flatten: a flattened head reads whole feature maps; "
                "set cache.bottleneck: full"
            )
        rows = {"average": [0], "max": [1], "average_max": [0, 1]}[pooling]
        return lambda pooled: pooled[:, rows].reshape(len(pooled), -1)

    def select(maps: Array) -> Array:
        if pooling == "flatten":
            return maps.reshape(len(maps), -1)
        parts = {"average": [maps.mean((1, 2))], "max": [maps.max((1, 2))]}
        chosen = ["average", "max"] if pooling == "average_max" else [pooling]
        return np.concatenate([part for name in chosen for part in parts[name]], axis=1)

    return select
