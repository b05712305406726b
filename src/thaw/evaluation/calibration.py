"""How far confidence and accuracy are apart, without what chance alone makes of it."""

from dataclasses import dataclass

import numpy as np
import scipy.optimize
import scipy.special
from numpy.typing import NDArray

Array = NDArray[np.float64]
BINS = 15


@dataclass(frozen=True)
class Calibration:
    """The predicted classes' confidence beside how often they are right, in 15 equal bins.

    The plain error, the mean of |accuracy - confidence| weighted by pictures (Guo et al. 2017), is
    too large, since a bin of few pictures is apart by chance (Kumar et al. 2019, Verified
    Uncertainty Calibration). The error here is the gap that, if all bins had it, would make as
    large a plain error on average; 0 where a calibrated model would make a larger one.
    """

    weights: Array  # (15,) the share of the pictures in each bin
    gaps: Array  # (15,) accuracy less confidence; 0 where a bin is empty
    errors: Array  # (15,) standard errors of the gaps

    @property
    def plain(self) -> float:
        return float(self.weights @ np.abs(self.gaps))

    @property
    def error(self) -> float:
        return self._gap(0.0)

    def interval(self, z: float, effect: float = 1.0) -> tuple[float, float]:
        """The gaps under which the plain error is no surprise.

        Args:
            z: how many deviations are a surprise.
            effect: how many times larger clusters make the variance.
        """
        return self._gap(z, effect), self._gap(-z, effect)

    def signs(self, confidence: Array) -> Array:
        """(N,) 1 where a picture's bin is right more often than it is sure, -1 where less."""
        found: Array = np.sign(self.gaps)[bins(confidence)]
        return found

    def _gap(self, z: float, effect: float = 1.0) -> float:
        """The gap under which the plain error is z deviations above its mean."""
        errors = self.errors * effect**0.5

        def excess(gap: float) -> float:
            mean, variance = folded(gap, errors)
            spread = float(np.sqrt(np.square(self.weights) @ variance))
            return float(self.weights @ mean) + z * spread - self.plain

        if excess(0.0) >= 0:
            return 0.0
        if excess(1.0) <= 0:
            return 1.0
        return float(scipy.optimize.brentq(excess, 0.0, 1.0))


def folded(mean: float, errors: Array) -> tuple[Array, Array]:
    """Mean and variance of |X|, X normal (Leone, Nelson and Nottingham 1961)."""
    share = mean / errors
    found = errors * (2 / np.pi) ** 0.5 * np.exp(-(share**2) / 2)
    found += mean * scipy.special.erf(share / 2**0.5)
    return found, np.maximum(mean**2 + errors**2 - found**2, 0.0)


def bins(confidence: Array) -> NDArray[np.int64]:
    """(N,) the number of each picture's bin."""
    found: NDArray[np.int64] = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    return found


def binned(confidence: Array, right: NDArray[np.bool_]) -> Calibration:
    """Of pictures' confidence, (N,), and whether each is right."""
    place = bins(confidence)
    counts, sure, hits = (
        np.bincount(place, each, BINS) for each in (None, confidence, right.astype(float))
    )
    some = np.maximum(counts, 1)
    # A picture more, which is as sure as the others and right as often, and half of one that is
    # right every other time: so a bin without mistakes has an error, too.
    rate = (hits + sure / some + 0.25) / (counts + 1.5)
    errors = np.sqrt(rate * (1 - rate) / some)
    return Calibration(counts / len(confidence), (hits - sure) / some, errors)
