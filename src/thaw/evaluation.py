"""Two models on the same test pictures: curves, groups, and a table to read."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from thaw import metrics

Array = NDArray[np.float64]
Labels = NDArray[np.int64]
Intervals = Mapping[str, tuple[float, float]]
CURVE_POINTS = 500
TITLES = {
    "accuracy": "accuracy",
    "loss": "cross-entropy",
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "roc_auc": "ROC AUC",
    "average_precision": "average precision",
    "calibration_error": "calibration error",
}


def curve(kind: str, labels: Labels, probabilities: Array) -> list[tuple[float, float, float]]:
    """Points of a "roc" (FPR, TPR, threshold) or "pr" (recall, precision, threshold) curve.

    Of the second class where there are two; with more, of all classes pooled (micro-average).
    At most 500 points are kept.
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
    labels: Labels, probabilities: Array, groups: Sequence[str]
) -> dict[str, dict[str, float]]:
    """Pictures and accuracy of each group, such as each class or each kind of subject."""
    right = probabilities.argmax(axis=1) == labels
    names = np.asarray(groups)
    return {
        str(name): {
            "pictures": int(np.sum(names == name)),
            "accuracy": float(right[names == name].mean()),
        }
        for name in np.unique(names)
    }


def table(
    head: Mapping[str, float],
    head_intervals: Intervals,
    tuned: Mapping[str, float],
    tuned_intervals: Intervals,
    comparison: metrics.Comparison,
    pictures: int,
) -> str:
    """The evaluation as Markdown, 95 % intervals in brackets, and what the paired test says."""

    def cell(value: float, interval: tuple[float, float]) -> str:
        return f"{value:.4f} [{interval[0]:.4f}, {interval[1]:.4f}]"

    lines = [
        f"Test: {pictures} pictures. In brackets: 95 % bootstrap intervals.",
        "",
        "|  | head only | fine-tuned |",
        "|---|---|---|",
    ]
    for name, title in TITLES.items():
        first = cell(head[name], head_intervals[name])
        lines.append(f"| {title} | {first} | {cell(tuned[name], tuned_intervals[name])} |")
    return "\n".join(lines) + "\n\n" + verdict(comparison) + "\n"


def verdict(comparison: metrics.Comparison) -> str:
    """Whether fine-tuning helped, in a sentence or two."""
    change = (
        f"Fine-tuning mended {comparison.mended} of the head's mistakes and broke "
        f"{comparison.broken} that were right: accuracy {comparison.difference:+.2%} "
        f"[{comparison.low:+.2%}, {comparison.high:+.2%}], McNemar p = {comparison.p_value:.2g}."
    )
    if comparison.p_value >= 0.05:
        return f"{change} On these pictures that can be chance."
    return f"{change} That is more than chance."
