"""95 % intervals of scores.

docs/build/statistics.md tells why these; benchmarks/coverage.py counts how often they hold.
"""

from collections.abc import Hashable, Sequence

import numpy as np
import scipy.special
from numpy.typing import NDArray

from thaw.evaluation.influence import Array, Judgement
from thaw.evaluation.record import LEVEL

Z = float(scipy.special.ndtri(1 - LEVEL / 2))
PRIOR = 2.0  # errors: how much what is known of a score before any is seen counts beside them
Clusters = NDArray[np.int64]
Groups = Sequence[Hashable] | Clusters  # what each prediction belongs to


def wilson(share: float, pictures: float, z: float = Z) -> tuple[float, float]:
    """Wilson's interval of a share (1927, Probable inference); pictures need not be whole."""
    centre = (share + z**2 / (2 * pictures)) / (1 + z**2 / pictures)
    half = z * (share * (1 - share) / pictures + (z / (2 * pictures)) ** 2) ** 0.5
    half /= 1 + z**2 / pictures
    return max(centre - half, 0.0), min(centre + half, 1.0)


def numbered(clusters: Groups | None, pictures: int) -> Clusters:
    """(N,) the number of each prediction's cluster; without clusters, each is one of its own."""
    if clusters is None:
        return np.arange(pictures)
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(each, len(numbers)) for each in clusters], dtype=np.int64)


def spread(influences: Array, clusters: Clusters) -> tuple[float, float]:
    """The variance of a score, and on how many clusters it rests: few if few deviate."""
    sums = np.square(np.bincount(clusters, influences))
    total = sums.sum()
    if total == 0:
        return 0.0, 0.0
    return float(total / len(influences) ** 2), float(total**2 / np.square(sums).sum())


def effect(values: Array, clusters: Clusters) -> float:
    """How many times larger clusters make the variance of a sum, of values whose mean is near 0."""
    alone = float(np.square(values).sum())
    return max(1.0, float(np.square(np.bincount(clusters, values)).sum()) / alone) if alone else 1.0


def weight(found: Judgement, name: str, clusters: Clusters) -> float:
    """How many pictures a share rests on: share (1 - share) / variance.

    Where few or no errors are seen, the variance is mostly that which the score has in general.
    """
    share = found.scores[name]
    base = found.weights[name] * float((clusters.max() + 1) / len(clusters))
    apart, seen = spread(found.influences[name], clusters)
    if not 0 < share < 1 or seen == 0:
        return base
    ratio = apart * base / (share * (1 - share))  # 1 where it is as in general
    return base * (seen + PRIOR) / (seen * ratio + PRIOR)


def variance(found: Judgement, name: str, clusters: Clusters) -> float:
    """The variance of a share, not 0 where no error is seen: that of its interval's middle."""
    pictures = weight(found, name, clusters)
    share = (found.scores[name] * pictures + Z**2 / 2) / (pictures + Z**2)
    return share * (1 - share) / (pictures + Z**2)


def scores(found: Judgement, clusters: Groups | None = None) -> dict[str, tuple[float, float]]:
    """The interval of each score, which holds the score.

    Args:
        found: of the pictures.
        clusters: as in `differences`.
    """
    groups = numbered(clusters, len(found.influences["accuracy"]))
    made = {name: of_share(found, name, groups) for name in found.weights}
    made["loss"] = of_loss(found, groups)
    made["calibration_error"] = of_calibration(found, groups)
    return {
        name: (min(made[name][0], value), max(made[name][1], value))
        for name, value in found.scores.items()
    }


def of_share(found: Judgement, name: str, clusters: Clusters) -> tuple[float, float]:
    """Wilson's, of as many pictures as the score rests on.

    Of a mean over classes this number is an estimate itself, hence Student's t in place of 1.96.
    """
    z = Z
    if found.several and name != "accuracy":
        _, seen = spread(found.influences[name], clusters)
        z = student(seen + PRIOR)
    return wilson(found.middles[name], weight(found, name, clusters), z)


def of_calibration(found: Judgement, clusters: Clusters) -> tuple[float, float]:
    """As `calibration.Calibration` says."""
    larger = effect(found.influences["calibration_error"], clusters)
    return found.calibration.interval(Z, larger)


def of_loss(found: Judgement, clusters: Clusters) -> tuple[float, float]:
    """By Student's t, below of the logarithm, above of the pictures and a mistake more.

    Cross-entropy has no upper bound, and most of it may come from few mistakes: where none is seen,
    one that is twice as dear as a guess stands for those to come.
    """
    value = found.scores["loss"]
    sums = np.bincount(clusters, found.influences["loss"])
    deviations = sums * len(sums) / len(clusters)
    apart, seen = spread(deviations, np.arange(len(sums)))
    low = value * float(np.exp(-student(seen) * apart**0.5 / value)) if value else 0.0
    more = np.append(deviations, 2 * found.guessed - value)
    shift = float(more.mean())
    apart, seen = spread(more - shift, np.arange(len(more)))
    return low, value + shift + student(seen) * apart**0.5


def student(seen: float) -> float:
    """How many deviations 95 % are, of a deviation that rests on so few."""
    return float(scipy.special.stdtrit(max(seen, 1.0), 1 - LEVEL / 2))
