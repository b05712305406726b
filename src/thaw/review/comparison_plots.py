"""Pictures of two runs side by side."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from thaw.drawing import plots
from thaw.evaluation import deciding, metrics
from thaw.files.serialize import atomic

COLUMNS = ("epoch", "train_loss", "validation_loss", "train_accuracy", "validation_accuracy")
WIDTH = 7.8  # inches: a page of GitHub shows 780 pixels
BINS = 10  # of confidence
STYLES = {"before": (plots.TRAINING, "o"), "after": (plots.VALIDATION, "s")}  # colour and marker


@dataclass(frozen=True)
class Curves:
    """The learning curves of a run, a row of `COLUMNS` an epoch."""

    history: pd.DataFrame
    fine_tuning_starts: int | None


def learning_curves(before: Curves, after: Curves, path: Path) -> None:
    """Accuracy and loss by epoch of both: validation dashed, training thin, markers by run."""
    figure = Figure(figsize=(WIDTH, 7.5), layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True)
    for axes, name, title in ((top, "accuracy", "Accuracy"), (bottom, "loss", "Cross-entropy")):
        for (when, (colour, marker)), run in zip(STYLES.items(), (before, after), strict=True):
            for part, style, width in (("train", "-", 0.8), ("validation", "--", 1.8)):
                axes.plot(
                    run.history["epoch"],
                    run.history[f"{part}_{name}"],
                    style,
                    color=colour,
                    linewidth=width,
                    marker=marker,
                    markersize=3,
                    label=f"{when}: {'training' if part == 'train' else 'validation'}",
                )
            if run.fine_tuning_starts is not None:
                axes.axvline(
                    run.fine_tuning_starts + 0.5,
                    color=colour,
                    linestyle="-." if marker == "o" else ":",
                    label=f"{when}: fine-tuning starts",
                )
        axes.set_ylabel(title)
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    top.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False)
    bottom.set_xlabel("Epoch")
    bottom.set_ylim(bottom=0)
    bottom.xaxis.get_major_locator().set_params(integer=True)
    _save(figure, path)


@dataclass(frozen=True)
class Calibration:
    """What a reliability diagram shows of a run."""

    shares: metrics.Array  # (N, classes) probabilities
    decided: metrics.Labels  # (N,) numbers of the classes that it says
    error: float


def reliability(
    labels: metrics.Labels, before: Calibration, after: Calibration, path: Path
) -> None:
    """How often predictions of each confidence are right, and how many there are of each.

    Args:
        labels: (N,) class numbers.
        before: of the first run.
        after: of the second.
        path: of the PNG.
    """
    figure = Figure(figsize=(WIDTH, 5.5), layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": [3, 1]})
    top.plot([0, 1], [0, 1], color="grey", linewidth=1, label="as right as confident")
    lowest = 1 / before.shares.shape[1]
    floor = [lowest]
    for place, ((when, (colour, marker)), run) in enumerate(
        zip(STYLES.items(), (before, after), strict=True)
    ):
        sure, right = deciding.confidence(run.shares, run.decided), run.decided == labels
        bins = np.minimum((sure * BINS).astype(int), BINS - 1)
        counts = np.bincount(bins, minlength=BINS)
        there = counts > 0
        mean, share = (
            np.bincount(bins, each, BINS)[there] / counts[there] for each in (sure, right)
        )
        floor += share.tolist()
        top.plot(
            mean,
            share,
            "--" if place else "-",
            color=colour,
            marker=marker,
            label=f"{when}: calibration error {run.error:.3f}",
        )
        middles = (np.arange(BINS) + 0.3 + 0.4 * place) / BINS
        bottom.bar(middles, counts, width=0.38 / BINS, color=colour, label=when)
    top.set_ylabel("Share that is right")
    top.set_ylim(max(0, min(floor) - 0.05), 1.02)
    top.legend(loc="upper left", frameon=False)
    bottom.set_ylabel("Pictures")
    bottom.set_xlabel("Confidence in the predicted class")
    bottom.set_xlim(np.floor(lowest * BINS) / BINS, 1)
    for axes in (top, bottom):
        _plain(axes)
    _save(figure, path)


@dataclass(frozen=True)
class Point:
    """The accuracy of a run in a branch's history."""

    name: str
    accuracy: float
    interval: tuple[float, float]
    test_set: str


def trend(points: Sequence[Point], path: Path) -> None:
    """Accuracy along a branch, the last point a run that isn't in it; broken where the test
    pictures changed.
    """
    figure = Figure(figsize=(WIDTH, 3.4), layout="constrained")
    axes = figure.subplots()
    numbered = list(enumerate(points))
    known: list[str] = []  # an older commit without is as the one after it
    for point in reversed(points):
        known.insert(0, point.test_set or (known[0] if known else ""))
    for _, group in groupby(numbered, key=lambda each: known[each[0]]):
        found = list(group)
        axes.plot(
            [place for place, _ in found],
            [point.accuracy for _, point in found],
            color=plots.TRAINING,
            linewidth=1,
        )
        if found[0][0]:
            axes.axvline(found[0][0] - 0.5, color="grey", linestyle=":")
    for place, point in numbered:
        colour, marker = STYLES["after" if place == len(points) - 1 else "before"]
        low, high = point.interval
        errors = [[point.accuracy - low], [high - point.accuracy]]
        axes.errorbar(place, point.accuracy, errors, color=colour, marker=marker, capsize=3)
    names = [point.name for point in points]
    axes.set_xticks(range(len(names)), names, parse_math=False)
    if len(names) > 5:
        axes.tick_params("x", rotation=60)
    axes.set_xlim(-0.5, len(names) - 0.5)
    axes.set_ylabel("Test accuracy")
    _plain(axes)
    _save(figure, path)


def _plain(axes: Axes) -> None:
    axes.grid(alpha=0.3)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _save(figure: Figure, path: Path) -> None:
    with atomic(path) as temporary:
        figure.savefig(temporary, dpi=plots.DPI, format="png", metadata={"Software": None})
