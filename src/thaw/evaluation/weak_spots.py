"""Groups of pictures on which a model is right less often than on the others."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import pandas as pd
from numpy.typing import NDArray
from scipy.special import gammaln
from sklearn.cluster import KMeans

from thaw.core.progress import track
from thaw.core.threads import in_threads
from thaw.evaluation import differences, intervals
from thaw.evaluation.record import LEVEL, Spot, WeakSpots
from thaw.pictures import decoding, sessions
from thaw.pictures.appearance import appearance
from thaw.pictures.depths import BitDepth

Mask = NDArray[np.bool_]
Array = NDArray[np.float64]
SMALLEST = 20  # pictures of a group, and of the others
MOST = 5000  # pictures looked at; of more, as many evenly
CLUSTERS = 8
EACH = 40  # pictures in a cluster on average, at least
# What the lowest and the highest quarter are, and how its border is told.
QUARTERS = {
    "side": ("small", "large", "as many pixels as a square of {:.0f}"),
    "shape": ("narrow", "wide", "{:.2f} times as wide as high"),
    "brightness": ("dark", "bright", "a mean grey of {:.0f} of 255"),
    "contrast": ("low in contrast", "high in contrast", "a deviation of grey of {:.0f}"),
    "detail": ("smooth", "rich in detail", "neighbours {:.2f} deviations apart"),
}


@dataclass(frozen=True)
class Group:
    """Pictures that have something in common."""

    subgroup: str | None  # of the table of labels; None: of any
    about: str  # what else; empty where the subgroup is all
    pictures: Mask


def chosen(pictures: int) -> NDArray[np.int64]:
    """Which pictures are looked at: all, or as many as `MOST`, evenly."""
    return np.unique(np.linspace(0, pictures - 1, min(pictures, MOST)).astype(np.int64))


def look(
    session: onnxruntime.InferenceSession,
    paths: Sequence[Path],
    size: int,
    resize: str,
    bit_depth: BitDepth,
) -> tuple[pd.DataFrame, Array]:
    """The appearance of pictures, a row each, and their pooled features (pictures, C).

    Args:
        session: of the frozen layers, whose last output is the bottleneck.
        paths: of the pictures.
        size: of `decoding.load`, and so are the others.
    """

    def look_at(path: Path) -> tuple[dict[str, float], Array]:
        pixels = decoding.load(path, size, resize, bit_depth)
        bottleneck = sessions.run(session, pixels[None])[-1][0]
        found = asdict(appearance(pixels, *decoding.dimensions(path)))
        # Averages and maxima of channels, of which the averages do; or maps.
        pooled = bottleneck[0] if bottleneck.ndim == 2 else bottleneck.mean(axis=(0, 1))
        return found, pooled

    seen = track(in_threads(look_at, paths), "weak spots", len(paths))
    rows, features = zip(*seen, strict=True)
    return pd.DataFrame(rows), np.stack(features)


def clusters(features: Array) -> NDArray[np.int64]:
    """(N,) the cluster of each picture, the largest 0; one where there are few pictures."""
    count = min(CLUSTERS, len(features) // EACH)
    if count < 2:
        return np.zeros(len(features), np.int64)
    scaled = (features - features.mean(axis=0)) / np.maximum(features.std(axis=0), 1e-6)
    found = KMeans(count, n_init=4, random_state=0).fit_predict(scaled)
    order = np.argsort(-np.bincount(found, minlength=count), kind="stable")
    ranks: NDArray[np.int64] = np.argsort(order)[found]
    return ranks


def groups(subgroups: Sequence[str], seen: pd.DataFrame, cluster: NDArray[np.int64]) -> list[Group]:
    """All that may be looked at: subgroups, quarters, clusters, and each of these in a subgroup.

    Args:
        subgroups: (N,) of each picture; all empty where the dataset has none.
        seen: of the pictures, with the columns of `QUARTERS`.
        cluster: (N,) of `clusters`.
    """
    plain = [*_quarters(seen)]
    count = int(cluster.max(initial=0)) + 1
    if count > 1:
        plain += [
            (f"in cluster {number + 1} of {count} by the network's features", cluster == number)
            for number in range(count)
        ]
    names, of = np.unique(np.asarray(subgroups, dtype=str), return_inverse=True)
    found = [Group(None, about, mask) for about, mask in plain]
    if len(names) > 1:
        for number, name in enumerate(names.tolist()):
            own = of == number
            found.append(Group(name, "", own))
            found += [
                Group(name, about, own & mask) for about, mask in plain if (mask & ~own).any()
            ]
    return [each for each in found if SMALLEST <= each.pictures.sum() <= len(of) - SMALLEST]


def _quarters(seen: pd.DataFrame) -> Iterator[tuple[str, Mask]]:
    for column, (low, high, border) in QUARTERS.items():
        values = seen[column].to_numpy()
        if values.min() == values.max():
            continue
        lower, upper = np.quantile(values, (0.25, 0.75))
        for name, word, edge, mask in (
            (low, "up to", lower, values <= lower),
            (high, "from", upper, values >= upper),
        ):
            if mask.mean() <= 0.5:  # more, where many have the same value
                yield f"{name} ({word} {border.format(edge)})", mask


def search(
    right: Mask, strata: Sequence[object], candidates: Sequence[Group]
) -> tuple[WeakSpots, list[Mask]]:
    """The groups on which a model is right less often than chance explains, the surest first.

    Each is compared with the other pictures stratum by stratum, so a group of which many pictures
    are of a hard class is no weak spot for that. Holm's method over all of them keeps the chance
    that any is named wrongly below one in twenty. A group of which half the pictures lie in those
    named before isn't named.

    Args:
        right: (N,) whether a picture is predicted as what it is.
        strata: (N,) what is compared with its like alone, such as the class.
        candidates: of `groups`.

    Returns:
        What was found, and the pictures of each spot.
    """
    of = intervals.numbered(strata, len(right))
    compared = [worse(right, each.pictures, of) for each in candidates]
    raised = differences.holm({str(n): p_value for n, (p_value, _) in enumerate(compared)})
    order = sorted(range(len(candidates)), key=lambda n: (raised[str(n)], compared[n][0], n))
    spots: list[Spot] = []
    masks: list[Mask] = []
    covered = np.zeros(len(right), bool)
    for number in order:
        p_value, group = raised[str(number)], candidates[number]
        if p_value >= LEVEL:
            break
        if (covered & group.pictures).sum() * 2 >= group.pictures.sum():
            continue
        covered |= group.pictures
        count, hits = int(group.pictures.sum()), int(right[group.pictures].sum())
        low, high = intervals.wilson(hits / count, count)
        others = compared[number][1]
        spots.append(Spot(group.subgroup, group.about, count, hits, low, high, others, p_value))
        masks.append(group.pictures)
    return WeakSpots(len(right), len(candidates), spots), masks


def worse(right: Mask, group: Mask, strata: NDArray[np.int64]) -> tuple[float, float]:
    """How likely chance makes so few right in a group, and what the others make of its classes.

    Exact, given how many are right in each stratum: there the group's number is hypergeometric
    (Fisher 1935), and these add up (Birch 1964).
    """
    size = np.bincount(strata)
    hits, own, both = (
        np.bincount(strata, each).astype(np.int64) for each in (right, group, right & group)
    )
    shares, least = np.ones(1), 0  # of each number that can be right, from `least` on
    for whole, good, drawn in zip(size, hits, own, strict=True):
        lowest = max(0, drawn + good - whole)
        can = np.arange(lowest, min(drawn, good) + 1)
        least += lowest
        logs = _ways(good, can) + _ways(whole - good, drawn - can)
        weights = np.exp(logs - logs.max())
        shares = np.convolve(shares, weights / weights.sum())
    p_value = min(1.0, float(shares[: both.sum() - least + 1].sum()))
    rest = size - own
    like = np.where(rest > 0, (hits - both) / np.maximum(rest, 1), both / np.maximum(own, 1))
    return p_value, float(own @ like / own.sum())


def _ways(whole: int, part: NDArray[np.int64]) -> Array:
    """The logarithm of how many ways there are to choose."""
    ways: Array = gammaln(whole + 1) - gammaln(part + 1) - gammaln(whole - part + 1)
    return ways
