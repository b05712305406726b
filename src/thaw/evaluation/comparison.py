"""Compare two models on the same test pictures: intervals, groups, curves."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from thaw.evaluation import metrics
from thaw.evaluation.record import Evaluation

Array = NDArray[np.float64]
Labels = NDArray[np.int64]
KINDS = ("label", "subgroup")  # of groups
CURVE_POINTS = 500


def evaluate(
    labels: Labels,
    found: Mapping[str, Array],
    scores: Mapping[str, Mapping[str, float]],
    rows: pd.DataFrame,
    seed: int,
) -> Evaluation:
    """Compare the models of `COMPARED`.

    Args:
        labels: (N,) class numbers of the test pictures.
        found: (N, classes) probabilities by model.
        scores: of `metrics.scores` by model.
        rows: of the test pictures, with columns `KINDS`.
        seed: of the bootstrap.
    """
    drawn = metrics.resamples(labels, seed)
    classes = found["head"].shape[1]
    return Evaluation(
        len(labels),
        scores,
        {name: metrics.intervals(labels, shares, drawn) for name, shares in found.items()},
        metrics.compare(labels, found["head"], found["fine_tuned"], drawn),
        {
            kind: {
                name: by_group(rows, kind, shares.argmax(axis=1) == labels)
                for name, shares in found.items()
            }
            for kind in KINDS
        },
        {
            name: metrics.confusion(labels, shares.argmax(axis=1), classes).tolist()
            for name, shares in found.items()
        },
    )


def curve(kind: str, labels: Labels, probabilities: Array) -> list[tuple[float, float, float]]:
    """Points of a "roc" (FPR, TPR, threshold) or "pr" (recall, precision, threshold) curve.

    With two classes it is the second's; with more, that of all classes pooled (micro-average).
    Keeps at most 500 points.
    """
    classes = probabilities.shape[1]
    truth = np.eye(classes, dtype=bool)[labels]
    columns = slice(1, 2) if classes == 2 else slice(None)
    measure = metrics.roc_curve if kind == "roc" else metrics.precision_recall_curve
    found = measure(truth[:, columns].ravel(), probabilities[:, columns].ravel())
    points = list(zip(*(axis.tolist() for axis in found), strict=True))
    keep = np.unique(np.linspace(0, len(points) - 1, min(len(points), CURVE_POINTS)).astype(int))
    return [points[index] for index in keep]


def by_group(
    rows: pd.DataFrame, kind: str, right: NDArray[np.bool_]
) -> dict[str, dict[str, float]]:
    """Pictures and accuracy of each group, such as each class or each kind of subject.

    Args:
        rows: of the pictures.
        kind: the column of their groups.
        right: (pictures,) whether each is predicted as what it is.
    """
    found = rows.assign(right=right).groupby(kind)["right"].agg(pictures="size", accuracy="mean")
    return {
        name: {"pictures": pictures, "accuracy": accuracy}
        for name, pictures, accuracy in found.itertuples(name=None)
    }
