"""How unlike the training pictures a picture is, by the features that the head reads."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
PER_AXIS = 4  # pictures at least, so that most of the variance isn't fitted
AXES = 64  # docs/build/doubt.md compares numbers of axes, and other scores
SMALL = 0.1  # of the median deviation: what varies less is divided by that
LEAST = 1e-6


@dataclass(frozen=True)
class Unlikeness:
    """A Gaussian along the features' principal axes, and one variance for all that lies beside.

    The score is the root of a picture's mean squared deviation, so 1 is usual (Tipping and Bishop
    1999, Probabilistic Principal Component Analysis). Each feature is standardised before.
    """

    mean: Array  # (D,) of the features
    scale: Array  # (D,) what they are multiplied by, less the mean
    axes: Array  # (D, K) orthonormal
    weights: Array  # (K,) 1 / variance along each, less that beside
    beside: float  # 1 / variance beside the axes

    def score(self, features: Array) -> Array:
        """(N, D) to (N,)."""
        apart = (features - self.mean) * self.scale
        along = apart @ self.axes
        total = np.square(apart).sum(axis=1) * self.beside + np.square(along) @ self.weights
        found: Array = np.sqrt(np.maximum(total, 0) / len(self.mean))
        return found


def fit(features: Array) -> Unlikeness:
    """Of training pictures' features (N, D), N at least 2."""
    count, width = features.shape
    deviation = features.std(axis=0)
    varying = deviation > 0
    floor = SMALL * float(np.median(deviation[varying])) if varying.any() else 1.0
    mean, scale = features.mean(axis=0), 1 / np.maximum(deviation, floor)
    apart = (features - mean) * scale
    kept = min(AXES, count // PER_AXIS, width // 2)
    _, values, axes = np.linalg.svd(apart, full_matrices=False)
    variances = np.square(values) / (count - 1)
    beside = max(float(variances[kept:].sum()) / max(width - kept, 1), LEAST)
    along = np.maximum(variances[:kept], beside)
    return Unlikeness(mean, scale, axes[:kept].T, 1 / along - 1 / beside, 1 / beside)
