"""95 % intervals of scores.

docs/build/statistics.md tells why these; benchmarks/coverage.py counts how often they hold.
"""

from collections.abc import Hashable, Sequence

import numpy as np
import pandas as pd
import scipy.stats
from numpy.typing import NDArray

from thaw.evaluation.influence import Array, Judgement
from thaw.evaluation.record import LEVEL

Z = float(scipy.stats.norm.ppf(1 - LEVEL / 2))
PRIOR = 2.0  # errors: how much what is known of a score before any is seen counts beside them
Clusters = NDArray[np.int64]


def wilson(share: float, pictures: float) -> tuple[float, float]:
    """Wilson's interval of a share (1927, Probable inference); pictures need not be whole."""
    centre = (share + Z**2 / (2 * pictures)) / (1 + Z**2 / pictures)
    half = Z * np.sqrt(share * (1 - share) / pictures + (Z / (2 * pictures)) ** 2)
    half /= 1 + Z**2 / pictures
    return min(max(centre - half, 0.0), share), max(min(centre + half, 1.0), share)


def numbered(clusters: Sequence[Hashable] | None, pictures: int) -> Clusters:
    """(N,) the number of each prediction's cluster; without clusters, each is one of its own."""
    if clusters is None:
        return np.arange(pictures)
    found: Clusters = pd.factorize(pd.Series(clusters))[0]
    return found


def spread(influences: Array, clusters: Clusters) -> tuple[float, float]:
    """The variance of a score, and on how many clusters it rests: few if few deviate."""
    sums = np.square(np.bincount(clusters, influences))
    total = sums.sum()
    if total == 0:
        return 0.0, 0.0
    return float(total / len(influences) ** 2), float(total**2 / np.square(sums).sum())


def weight(found: Judgement, name: str, clusters: Clusters) -> float:
    """How many pictures a share rests on: share (1 - share) / variance.

    Where few or no errors are seen, the variance is mostly that which the score has in general.
    """
    share = found.scores[name]
    base = found.weights[name] * float((clusters.max() + 1) / len(clusters))
    apart, seen = spread(found.influences[name], clusters)
    if not 0 < share < 1 or seen == 0:
        return base
    effect = apart * base / (share * (1 - share))  # 1 where it is as in general
    return base * (seen + PRIOR) / (seen * effect + PRIOR)


def variance(found: Judgement, name: str, clusters: Clusters) -> float:
    """The variance of a share, not 0 where no error is seen: of the middle of its interval."""
    pictures = weight(found, name, clusters)
    share = (found.scores[name] * pictures + Z**2 / 2) / (pictures + Z**2)
    return float(share * (1 - share) / (pictures + Z**2))


def scores(
    found: Judgement, clusters: Sequence[Hashable] | None = None
) -> dict[str, tuple[float, float]]:
    """The interval of each score.

    Args:
        found: of the pictures.
        clusters: as in `differences`.
    """
    groups = numbered(clusters, len(found.influences["accuracy"]))
    return {
        name: wilson(value, weight(found, name, groups))
        if name in found.weights
        else unbounded(value, found.influences[name], groups)
        for name, value in found.scores.items()
    }


def unbounded(value: float, influences: Array, clusters: Clusters) -> tuple[float, float]:
    """By Student's t of the logarithm, since cross-entropy has no upper bound."""
    apart, seen = spread(influences, clusters)
    if value <= 0 or apart == 0:
        return value, value
    half = scipy.stats.t.ppf(1 - LEVEL / 2, max(seen, 1.0)) * apart**0.5 / value
    return value * float(np.exp(-half)), value * float(np.exp(half))
