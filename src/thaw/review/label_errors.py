"""Labels that look wrong: what two models say of a picture that neither of them learnt.

One is a fold's, the other ridge regression on the cached features. Confident learning (Northcutt,
Jiang and Chuang 2021, J. Artif. Intell. Res. 70) tells how many labels are wrong.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thaw.features.stores import in_turn

Array = NDArray[np.float64]
Numbers = NDArray[np.int64]
# Of those tried in benchmarks/label_errors.py, these found most on both datasets.
WIDTH = 2.0  # of the kernel, exp(-WIDTH (1 - cosine))
RIDGE = 1.0
TOGETHER = 4000  # pictures in one kernel: 128 MB
ROWS = 500  # pictures whose neighbours are looked for at once
AT_ONCE = 100  # pictures that are read from the cache at once


def features(*parts: NDArray[Any]) -> NDArray[np.float32]:
    """(N, F) features of unit length, from (pictures, views, ..., channels) of the cache.

    Views and places are averaged, each channel is standardised.
    """
    read = []
    for part in parts:
        numbers, means = [], []
        for rows in in_turn(part, AT_ONCE):
            some = np.asarray(part[rows], np.float32)
            if part.ndim == 5:  # maps: (pictures, views, H, W, C)
                some = some.mean(axis=(2, 3))
            numbers.append(np.arange(len(part))[rows])
            means.append(some.mean(axis=1).reshape(len(some), -1))
        read.append(np.concatenate(means)[np.argsort(np.concatenate(numbers))])
    found = np.concatenate(read)
    found -= found.mean(axis=0)
    found /= found.std(axis=0) + 1e-6
    found /= np.linalg.norm(found, axis=1, keepdims=True) + 1e-12
    return found


def ridge(of: NDArray[np.float32], labels: Numbers, units: Numbers, classes: int) -> Array:
    """(N, C) what kernel ridge regression on all other pictures says of each, about 0 to 1.

    Leaving a picture out is a formula of the inverse; what shares a unit with it is left out too.

    Args:
        of: (N, F) features of unit length.
        labels: (N,) class numbers.
        units: (N,) what belongs together, such as copies.
        classes: how many.
    """
    targets = np.eye(classes)[labels]
    found = np.zeros((len(labels), classes))
    for rows in _blocks(units):
        kernel = of[rows] @ of[rows].T
        kernel = np.exp(WIDTH * (kernel.astype(np.float64) - 1)) + 1  # 1: an intercept
        kernel[np.diag_indices(len(rows))] += RIDGE
        inverse = np.linalg.inv(kernel)
        weights = inverse @ targets[rows]
        _, unit = np.unique(units[rows], return_inverse=True)
        order = np.argsort(unit, kind="stable")
        for own in np.split(order, np.flatnonzero(np.diff(unit[order])) + 1):
            left = np.linalg.solve(inverse[np.ix_(own, own)], weights[own])
            found[rows[own]] = targets[rows[own]] - left
    return found


def _blocks(units: Numbers) -> Iterator[Numbers]:
    """Rows, shuffled by units into blocks of some `TOGETHER`."""
    names, unit = np.unique(units, return_inverse=True)
    order = np.random.default_rng(0).permutation(len(names))[unit]
    count = -(-len(units) // TOGETHER)
    for part in range(count):
        yield np.flatnonzero(order % count == part)


def margins(shares: Array, labels: Numbers) -> Array:
    """(N,) the share of each picture's label less the largest other one: low where it looks wrong.

    Args:
        shares: (N, C).
        labels: (N,) class numbers.
    """
    rows = np.arange(len(labels))
    others = shares.copy()
    others[rows, labels] = -np.inf
    return np.asarray(shares[rows, labels] - others.max(axis=1))


def joint(shares: Array, labels: Numbers) -> Numbers:
    """(C, C) the confident joint: pictures by their label and by the class that they seem to be.

    A picture seems to be of a class where that class's share is at least the mean that it has in
    pictures with its label; of several such classes, the one of the largest share.
    """
    classes = shares.shape[1]
    least = np.array(
        [shares[labels == k, k].mean() if (labels == k).any() else np.inf for k in range(classes)]
    )
    sure = np.where(shares >= least, shares, -np.inf)
    seen = np.isfinite(sure.max(axis=1))
    found = np.zeros((classes, classes), np.int64)
    np.add.at(found, (labels[seen], sure[seen].argmax(axis=1)), 1)
    return found


@dataclass(frozen=True)
class Near:
    """Of each picture the others that are most like it."""

    rows: Numbers  # (N, K), the nearest first
    distances: Array  # (N, K): 1 - cosine


def nearest(of: NDArray[np.float32], count: int) -> Near:
    """The nearest pictures of each, itself aside.

    Args:
        of: (N, F) features of unit length.
        count: how many of each.
    """
    count = min(count, len(of) - 1)
    rows, distances = [], []
    for start in range(0, len(of), ROWS):
        like = of[start : start + ROWS] @ of.T
        own = np.arange(len(like))
        like[own, start + own] = -np.inf
        most = np.argpartition(-like, count - 1, axis=1)[:, :count]
        order = np.argsort(-np.take_along_axis(like, most, axis=1), axis=1, kind="stable")
        most = np.take_along_axis(most, order, axis=1)
        rows.append(most)
        distances.append(1 - np.take_along_axis(like, most, axis=1).astype(np.float64))
    return Near(np.concatenate(rows), np.concatenate(distances))
