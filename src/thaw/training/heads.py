"""Classification heads: pooling, dense layers, logits."""

import thaw.networks.quiet  # noqa: F401

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import keras
import numpy as np
from numpy.typing import NDArray

from thaw.core.errors import ThawError
from thaw.features import stores
from thaw.files.arrays import forget

Array = NDArray[np.float32]
ROUNDING = 1e-3  # of the mean, and
RARE = 1e-3  # of the median deviation: what varies less counts as constant, and
SMALL = 0.1  # of it: what varies less is divided by that


@dataclass(frozen=True)
class HeadSpec:
    """A head: pooling, then dense hidden layers, dropout, and a dense layer of logits.

    The initializer is that of the hidden layers, and the logits then have Glorot's uniform one;
    without hidden layers it is that of the logits. With `batch_norm`, BatchNormalization follows
    each hidden layer.
    """

    pooling: str  # average, max, average_max or flatten
    hidden: Sequence[int]
    dropout: float
    l2: float
    initializer: str
    standardize: bool
    batch_norm: bool = False


def layers(
    spec: HeadSpec, classes: int, mean: Array | None = None, deviation: Array | None = None
) -> list[keras.Layer]:
    """The layers above the pooling, in order.

    Two classes get one logit (a sigmoid's), more get one each (a softmax's).

    Args:
        spec: the head.
        classes: how many.
        mean: (D,) of the pooled features, to standardise them.
        deviation: (D,) their standard deviations.
    """
    regularizer = keras.regularizers.L2(spec.l2) if spec.l2 else None
    above: list[keras.Layer] = []
    if mean is not None and deviation is not None:
        scale = 1 / _safe(mean, deviation)
        above.append(
            keras.layers.Rescaling(
                scale.tolist(), offset=(-mean * scale).tolist(), name="standardize"
            )
        )
    for number, width in enumerate(spec.hidden, start=1):
        above.append(
            keras.layers.Dense(
                width,
                "relu",
                kernel_initializer=spec.initializer,
                kernel_regularizer=regularizer,
                name=f"hidden_{number}",
            )
        )
        if spec.batch_norm:
            name = f"hidden_{number}_norm"
            above.append(keras.layers.BatchNormalization(momentum=0.99, epsilon=1e-3, name=name))
    if spec.dropout:
        above.append(keras.layers.Dropout(spec.dropout, name="dropout"))
    above.append(
        keras.layers.Dense(
            1 if classes == 2 else classes,
            kernel_initializer="glorot_uniform" if spec.hidden else spec.initializer,
            kernel_regularizer=regularizer,
            name="logits",
        )
    )
    return above


def _safe(mean: Array, deviation: Array) -> Array:
    """Deviations to divide by: 1 where a feature is as good as constant in training.

    scikit-learn's `StandardScaler` does so where it is constant up to rounding; here that is to a
    thousandth of the mean, since maps are cached as float16. A feature that few training pictures
    have is alike: one of another kind would have it thousands of deviations away, and that alone
    would decide. So it is done below a thousandth of the median of those that vary, too. Those
    below a tenth are scaled as if they varied that much: by hundreds, they would make any change of
    the layers below, as in fine-tuning, a leap of the logits.
    """
    varying = deviation > ROUNDING * np.abs(mean)
    floor = np.float32(0)
    if varying.any():
        median = np.median(deviation[varying])
        varying &= deviation >= RARE * median
        floor = np.float32(SMALL * median)
    return np.where(varying, np.maximum(deviation, floor), np.float32(1))


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
        if layer.name in ("standardize", "dropout", "logits") or layer.name.startswith("hidden_")
    ]


def selector(pooling: str, bottleneck: str) -> Callable[[Array], Array]:
    """What turns a batch of cached bottleneck features into what `pool` would give, (N, D).

    Args:
        pooling: of the head.
        bottleneck: what is cached: "pooled" or "blocks", (N, 2, C) averages and maxima, or "full",
            (N, H, W, C) maps.

    Raises:
        ThawError: when the head wants whole maps and only pooled ones are cached.
    """
    if bottleneck != "full":
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


def moments(features: NDArray[np.generic], select: Callable[[Array], Array]) -> tuple[Array, Array]:
    """Mean and standard deviation, each (D,), of cached features (pictures, views, ...).

    Read a few at a time, in float64.
    """
    count, total, squares = 0, np.float64(0), np.float64(0)
    for rows in stores.in_turn(features, 64):
        part = np.asarray(features[rows], np.float32)
        batch = select(part.reshape(-1, *part.shape[2:])).astype(np.float64)
        count += len(batch)
        total = total + batch.sum(axis=0)
        squares = squares + (batch**2).sum(axis=0)
        forget(features)
    mean = total / count
    deviation = np.sqrt(np.maximum(squares / count - mean**2, 0))
    return np.asarray(mean, np.float32), np.asarray(deviation, np.float32)


def standardized(
    features: NDArray[np.generic], select: Callable[[Array], Array], layer: keras.Layer
) -> Array:
    """Cached features (pictures, views, ...) as (pictures x views, D), all in memory.

    Args:
        features: the cache.
        select: as `selector` gives it.
        layer: the "standardize" that `layers` made.
    """
    pictures, views = features.shape[:2]
    found = np.empty((pictures, views, len(layer.scale)), np.float32)
    for rows in stores.in_turn(features, 64):
        part = np.asarray(features[rows], np.float32)
        values = np.asarray(layer(select(part.reshape(-1, *part.shape[2:]))))
        found[rows] = values.reshape(-1, *found.shape[1:])
        forget(features)
    return found.reshape(pictures * views, -1)
