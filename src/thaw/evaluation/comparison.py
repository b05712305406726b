"""Compare two models on the same test pictures: intervals, groups, curves."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from thaw.evaluation import differences, influence, intervals, metrics
from thaw.evaluation.record import Evaluation

Array = NDArray[np.float64]
Labels = NDArray[np.int64]
CURVE_POINTS = 500


def evaluate(
    labels: Labels,
    found: Mapping[str, Array],
    decided: Mapping[str, Labels],
    scores: Mapping[str, Mapping[str, float]],
    rows: pd.DataFrame,
    *,
    classes: Sequence[str],
    positive: str | None,
    test_set: str,
    confidence: Mapping[str, Mapping[str, float]] | None = None,
    taken: Sequence[float] = (1,),
) -> Evaluation:
    """Compare the models of `COMPARED`.

    Args:
        labels: (N,) class numbers of the test pictures.
        found: (N, classes) probabilities by model.
        decided: (N,) numbers of the classes that they say.
        scores: of `metrics.scores` by model.
        rows: of the test pictures, with columns label and subgroup.
        classes: their names, in order.
        positive: whose precision and recall these are; None for the mean over the classes.
        test_set: of `Evaluation`.
        confidence: of `Evaluation`.
        taken: of each epoch of fine-tuning, whether it is the result.
    """
    at = None if positive is None else classes.index(positive)
    orders: dict[str, Sequence[str]] = {"label": classes, "subgroup": sorted(set(rows["subgroup"]))}
    return Evaluation(
        len(labels),
        test_set,
        positive,
        any(taken),
        len(taken),
        scores,
        {
            name: intervals.scores(influence.judge(labels, shares, at, decided[name]))
            for name, shares in found.items()
        },
        differences.compare(labels, decided["head"], decided["fine_tuned"]),
        {
            kind: {
                name: by_group(rows, kind, order, said == labels) for name, said in decided.items()
            }
            for kind, order in orders.items()
        },
        {
            name: metrics.cells(metrics.confusion(labels, said, len(classes)))
            for name, said in decided.items()
        },
        confidence or {},
    )


def curve(
    kind: str, labels: Labels, probabilities: Array, positive: int | None = None
) -> list[tuple[float, ...]]:
    """Points of a "roc" (FPR, TPR, threshold) or "pr" (recall, precision, threshold) curve.

    Of the class that `metrics.scores` judges. Where it judges all, the mean of their curves, whose
    area is the mean of their areas; its points have no threshold. Keeps at most 500 points.
    """
    columns = influence.judged(probabilities.shape[1], positive)
    measure = metrics.roc_curve if kind == "roc" else metrics.precision_recall_curve
    curves = [measure(labels == column, probabilities[:, column]) for column in columns]
    found: Sequence[Array] = curves[0]
    if len(curves) > 1:
        mean = mean_roc if kind == "roc" else mean_precision
        found = mean([(across, up) for across, up, _ in curves])
    points = list(zip(*(axis.tolist() for axis in found), strict=True))
    keep = np.unique(np.linspace(0, len(points) - 1, min(len(points), CURVE_POINTS)).astype(int))
    return [points[index] for index in keep]


def mean_roc(curves: Sequence[tuple[Array, Array]]) -> tuple[Array, Array]:
    """The mean of ROC curves, straight between their points: false and true positive rate.

    At a step up there are two points: the mean of the lower ends and that of the upper ends.
    """
    across = np.unique(np.concatenate([fpr for fpr, _ in curves]))
    ends = []
    for fpr, tpr in curves:
        own, first = np.unique(fpr, return_index=True)
        last = np.append(first[1:], len(fpr)) - 1
        after = np.searchsorted(own, across)
        before = np.maximum(after - 1, 0)
        width = np.where(after > before, own[after] - own[before], 1.0)
        share = np.where(after > before, (across - own[before]) / width, 1.0)
        low = (1 - share) * tpr[last[before]] + share * tpr[first[after]]
        ends.append((low, np.where(own[after] == across, tpr[last[after]], low)))
    return np.repeat(across, 2), np.mean(ends, axis=0).T.ravel()


def mean_precision(curves: Sequence[tuple[Array, Array]]) -> tuple[Array, Array]:
    """The mean of precision-recall curves, each step with the precision at its end, as in average
    precision: recall and precision, from all found to none.
    """
    across = np.unique(np.concatenate([recall for recall, _ in curves]))
    ups = []
    for recall, precision in curves:
        rising, own = recall[::-1], precision[::-1]
        ups.append(own[np.searchsorted(rising, across)])
    return across[::-1], np.mean(ups, axis=0)[::-1]


def by_group(
    rows: pd.DataFrame, kind: str, order: Sequence[str], right: NDArray[np.bool_]
) -> dict[str, dict[str, float]]:
    """Pictures, accuracy and its interval of each group, such as each class or kind of subject.

    Args:
        rows: of the pictures.
        kind: the column of their groups.
        order: of the groups; those without a picture are left out.
        right: (pictures,) whether each is predicted as what it is.
    """
    found = rows.assign(right=right).groupby(kind)["right"].agg(pictures="size", accuracy="mean")
    known = {}
    for name, pictures, accuracy in found.itertuples(name=None):
        low, high = intervals.wilson(accuracy, pictures)
        known[name] = {"pictures": pictures, "accuracy": accuracy, "low": low, "high": high}
    return {name: known[name] for name in order if name in known}
