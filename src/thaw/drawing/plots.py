"""Pictures for people: learning curves, samples, augmented views, predictions, mistakes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from thaw.drawing.lettering import FONT, legible, transliterated
from thaw.evaluation import metrics
from thaw.evaluation.robustness import Robustness
from thaw.files.serialize import atomic
from thaw.pictures.decoding import Pixels

mpl.use("Agg")
mpl.rcdefaults()  # not those of the user's matplotlibrc
mpl.rcParams["font.family"] = FONT  # Matplotlib's own, without fallbacks
# Blue and vermilion of Okabe and Ito's palette: colour-blind people can tell them apart, and so can
# readers of a grey print.
TRAINING, VALIDATION, RIGHT, WRONG = "#0072b2", "#d55e00", "#0072b2", "#d55e00"
DPI = 100
WIDEST = 10.0  # inches
MOST_CLASSES = 20  # of a confusion matrix; of more, the most confused pairs are drawn
MOST_PAIRS = 15
SURE_BINS, LEAST_IN_BIN = 10, 5


@dataclass(frozen=True)
class Tile:
    """A picture of a grid, with its file's name and its caption below it."""

    pixels: Pixels
    caption: str
    colour: str = "black"
    file: str = ""


@dataclass(frozen=True)
class Matrix:
    """A confusion matrix: a row for each actual class, a column for each predicted one."""

    title: str
    counts: NDArray[np.int64]
    classes: Sequence[str]


def learning_curves(history: pd.DataFrame, fine_tuning_starts: int | None, path: Path) -> None:
    """Accuracy and loss by epoch, with a line where fine-tuning starts.

    Args:
        history: with columns epoch, train_loss, validation_loss, train_accuracy,
            validation_accuracy, and taken: 1 for an epoch whose weights were kept.
        fine_tuning_starts: the last epoch of the head's training; None without fine-tuning.
        path: of the PNG.
    """
    kept = history[history["taken"] == 1]
    figure = Figure(figsize=(8, 7), layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True)
    for axes, name, title in ((top, "accuracy", "Accuracy"), (bottom, "loss", "Cross-entropy")):
        for part, colour, style in (("train", TRAINING, "-"), ("validation", VALIDATION, "--")):
            label = "Training" if part == "train" else "Validation"
            axes.plot(
                history["epoch"],
                history[f"{part}_{name}"],
                style,
                color=colour,
                marker="o",
                markersize=3,
                label=label,
            )
        axes.plot(
            kept["epoch"],
            kept[f"validation_{name}"],
            "o",
            color=VALIDATION,
            markersize=9,
            fillstyle="none",
            label="Taken",
        )
        if fine_tuning_starts is not None:
            axes.axvline(
                fine_tuning_starts + 0.5, color="grey", linewidth=1.5, label="Fine-tuning starts"
            )
        axes.set_ylabel(title)
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    top.legend(loc="lower right")
    bottom.set_xlabel("Epoch")
    bottom.set_ylim(bottom=0)
    bottom.xaxis.get_major_locator().set_params(integer=True)
    figure.suptitle("Learning curves (training: dropout, augmentation; validation: as it predicts)")
    _save(figure, path)


def depths(rows: Sequence[dict[str, Any]], advice: dict[str, Any], path: Path) -> None:
    """A probe's accuracy by depth; below it what thawing there trains, and how long that takes.

    Args:
        rows: with block, accuracy, standard_error, fine_tune_at, parameters and seconds.
        advice: with best, chosen and thawed, each one of the rows.
        path: of the PNG.
    """
    names = [row["block"] for row in rows]
    places = range(len(rows))
    width = max(8, 0.32 * len(rows) + 2)
    figure = Figure(figsize=(width, 8.5), layout="constrained")
    top, middle, bottom = figure.subplots(
        3, 1, sharex=True, gridspec_kw={"height_ratios": [3, 1.2, 1.2]}
    )
    accuracy = [100 * row["accuracy"] for row in rows]
    errors = [100 * row["standard_error"] for row in rows]
    top.errorbar(places, accuracy, errors, color=TRAINING, marker="o", markersize=5, capsize=3)
    best, chosen, thawed = (advice[name] for name in ("best", "chosen", "thawed"))
    top.axhspan(
        100 * (best["accuracy"] - best["standard_error"]),
        100 * best["accuracy"],
        color="grey",
        alpha=0.25,
        linewidth=0,
        label="Within one standard error of the best",
    )
    at = names.index(chosen["block"])
    top.plot(
        at,
        accuracy[at],
        "D",
        color=VALIDATION,
        markersize=10,
        label=f"Shallowest block in that band: {chosen['block']}",
    )
    top.set_ylabel("Validation accuracy of\na linear probe (%)")
    top.set_xlim(-0.6, len(rows) - 0.4)
    top.legend(loc="best")
    marked = names.index(thawed["block"])
    for axes, column, scale, label in (
        (middle, "parameters", 1e6, "Million numbers\nto train"),
        (bottom, "seconds", 1, "Seconds\nan epoch"),
    ):
        colours = [VALIDATION if place == marked else TRAINING for place in places]
        axes.bar(places, [row[column] / scale for row in rows], color=colours)
        axes.set_ylabel(label)
    for axes in (top, middle, bottom):
        axes.grid(alpha=0.3)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    bottom.set_xticks(places, names, rotation=60, ha="right", rotation_mode="anchor")
    bottom.set_xlabel("Block after which layers are thawed (orange: as advised)")
    figure.suptitle(
        f"Features are general up to {chosen['block']}: thaw from {thawed['fine_tune_at']} on"
    )
    _save(figure, path)


def rates(found: Sequence[dict[str, Any]], path: Path) -> None:
    """Validation loss against the learning rate, a panel for each training.

    Args:
        found: with title, present, before, tried (each with rate, loss, error) and advised.
        path: of the PNG.
    """
    figure = Figure(figsize=(5.5 * len(found) + 1, 4.4), layout="constrained")
    panels = figure.subplots(1, len(found), squeeze=False)[0]
    for axes, each in zip(panels, found, strict=True):
        at = [one["rate"] for one in each["tried"]]
        loss = [one["loss"] for one in each["tried"]]
        errors = [one["error"] for one in each["tried"]]
        axes.errorbar(at, loss, errors, color=TRAINING, marker="o", markersize=5, capsize=3)
        before = each["before"]["loss"]
        axes.axhline(before, color="grey", linestyle="--", label="Before")
        axes.axvline(
            each["advised"], color=VALIDATION, label=f"Advised: {each['advised']:g}", zorder=1
        )
        axes.axvline(
            each["present"],
            color=VALIDATION,
            linestyle=":",
            label=f"In params.yaml: {each['present']:g}",
            zorder=1,
        )
        lowest, highest = min(*loss, before), max(*loss[:-1], before)
        axes.set_ylim(lowest - 0.15 * (highest - lowest), highest + 0.15 * (highest - lowest))
        axes.set_xscale("log")
        axes.set_title(each["title"])
        axes.set_xlabel("Learning rate")
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=3, frameon=False)
    panels[0].set_ylabel("Validation loss after a short training")
    _save(figure, path)


def robustness(found: Robustness, path: Path) -> None:
    """Accuracy and mean confidence against strength, a panel for each kind of corruption.

    Args:
        found: of the corrupted pictures.
        path: of the PNG.
    """
    across = 3
    down = math.ceil(len(found.kinds) / across)
    figure = Figure(figsize=(WIDEST, 2.6 * down + 0.8), layout="constrained")
    panels = figure.subplots(down, across, sharey=True, squeeze=False).ravel()
    for axes, (kind, some) in zip(panels, found.kinds.items(), strict=False):
        places = range(1, len(some) + 1)
        accuracy = [100 * value for value in (found.accuracy, *(each.accuracy for each in some))]
        confidence = [found.confidence, *(each.confidence for each in some)]
        below = [100 * min(each.high - each.drop, each.accuracy) for each in some]
        above = [100 * min(each.drop - each.low, 1 - each.accuracy) for each in some]
        axes.axhline(100 * found.accuracy, color="grey", linewidth=1)
        axes.errorbar(
            places, accuracy[1:], (below, above), color=RIGHT, linewidth=0, elinewidth=1.5
        )
        axes.plot(accuracy, color=RIGHT, marker="o", markersize=4, label="Accuracy")
        axes.plot(
            [100 * value for value in confidence],
            "--",
            color=WRONG,
            marker="o",
            markersize=3,
            label="Mean confidence",
        )
        axes.set_title(kind, fontsize=11)
        axes.set_xlabel(some[0].unit, fontsize=9)
        axes.set_xticks([0, *places], ["–", *(f"{each.strength:g}" for each in some)], fontsize=9)
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    for axes in panels[len(found.kinds) :]:
        axes.axis("off")
    for axes in panels[::across]:
        axes.set_ylabel("%")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False)
    figure.suptitle(
        f"{found.pictures:,} {found.part} pictures, as they are (–) and corrupted: "
        "bars are 95 % intervals of what is lost"
    )
    _save(figure, path)


def grid(tiles: Sequence[Tile], title: str, path: Path, columns: int | None = None) -> None:
    """A grid of pictures with captions."""
    columns = columns or max(1, math.ceil(math.sqrt(len(tiles))))
    rows = max(1, math.ceil(len(tiles) / columns))
    texts = [_below(tile) for tile in tiles]
    lines = max((text.count("\n") + 1 for text in texts), default=0)
    high = 2.3 + 0.175 * max(lines, 2)
    figure = Figure(figsize=(2.3 * columns, high * rows + 0.5), layout="constrained")
    places = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in places:
        axes.axis("off")
    for axes, tile, text in zip(places, tiles, texts, strict=False):
        axes.imshow(tile.pixels)
        axes.text(
            0.5,
            -0.03,
            text,
            fontsize=9,
            color=tile.colour,
            ha="center",
            va="top",
            transform=axes.transAxes,
            parse_math=False,  # a $ in a class's name
        )
    if not tiles:
        places[0].text(0.5, 0.5, "none", ha="center", va="center")
    figure.suptitle(transliterated(title), parse_math=False)
    _save(figure, path)


def _below(tile: Tile) -> str:
    lines = [_short(transliterated(line), 34) for line in tile.caption.split("\n")]
    if tile.file:
        name = transliterated(tile.file)
        lines.insert(0, name if len(name) <= 34 else f"…{name[-33:]}")  # its end tells it apart
    return "\n".join(lines)


def confusion_matrices(matrices: Sequence[Matrix], path: Path) -> None:
    """Confusion matrices: counts, shaded by the share of the actual class.

    Side by side where they are small, else one below the other. Of more than 20 classes, the pairs
    that are confused most. No picture is wider than a small screen.
    """
    classes = max(len(each.classes) for each in matrices)
    if classes > MOST_CLASSES:
        _confused(matrices, path)
        return
    side = max(3.2, 0.55 * classes + 2)
    across = len(matrices) if side * len(matrices) + 0.6 <= WIDEST else 1
    side = min(side, WIDEST - 0.6)
    down = math.ceil(len(matrices) / across)
    figure = Figure(figsize=(side * across + 0.6, side * down + 0.6 * down), layout="constrained")
    places = figure.subplots(down, across, squeeze=False).ravel()
    for axes, each in zip(places, matrices, strict=True):
        _confusion(axes, each.counts, each.classes)
        axes.set_title(transliterated(each.title), parse_math=False)
    _save(figure, path)


@dataclass(frozen=True)
class Sure:
    """What a model said of test pictures, each (N,): its confidence, and whether it was right."""

    title: str
    confidence: NDArray[np.float64]
    right: NDArray[np.bool_]


def confidence(result: Sure, before: Sure | None, models: Sequence[Sure], path: Path) -> None:
    """How often pictures of each confidence are right, and the accuracy of the surest of them.

    Args:
        result: of the model that is used.
        before: what it would have said, had it not been calibrated; None where it wasn't.
        models: whose accuracy is drawn against the share of pictures that is decided.
        path: of the PNG.
    """
    figure = Figure(figsize=(WIDEST, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot([0, 1], [0, 1], color="grey", linewidth=1, label="as right as sure")
    lowest = min(float(each.confidence.min()) for each in (result, *models))
    for each, colour, marker, line in (
        (before, VALIDATION, "s", "--"),
        (result, TRAINING, "o", "-"),
    ):
        if each is None:
            continue
        bins = np.minimum((each.confidence * SURE_BINS).astype(int), SURE_BINS - 1)
        counts = np.bincount(bins, minlength=SURE_BINS)
        there = counts >= LEAST_IN_BIN
        sums = (np.bincount(bins, v, SURE_BINS)[there] for v in (each.confidence, each.right))
        across, up = (each_sum / counts[there] for each_sum in sums)
        left.plot(across, up, line, color=colour, marker=marker, label=each.title)
    left.set_xlim(lowest, 1)
    left.set_ylim(0, 1.02)
    left.set_xlabel(f"Confidence (bins of {LEAST_IN_BIN} pictures or more)")
    left.set_ylabel("Share that is right")
    left.legend(loc="upper left", frameon=False)
    for each, colour, line in zip(models, (TRAINING, VALIDATION), ("-", "--"), strict=False):
        order = np.argsort(-each.confidence, kind="stable")
        counted = np.arange(1, len(order) + 1)
        some = counted >= min(LEAST_IN_BIN, len(order))
        accuracy = np.cumsum(each.right[order]) / counted
        right.plot(
            (counted / len(order))[some], accuracy[some], line, color=colour, label=each.title
        )
    right.set_xlabel("Share of the test pictures that is decided, the surest first")
    right.set_ylabel("Accuracy of these")
    right.set_xlim(0, 1)
    right.set_ylim(top=1.005)
    right.legend(loc="lower left", frameon=False)
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    _save(figure, path)


def _confusion(axes: Axes, table: NDArray[np.int64], classes: Sequence[str]) -> None:
    shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(table):
        dark = shares[row, column] > 0.5
        text = f"{count}\n{shares[row, column]:.0%}" if len(classes) <= 12 else f"{count}"
        axes.text(column, row, text, ha="center", va="center", color="white" if dark else "black")
    turned = 45 if len(classes) > 3 else 0
    names = [_short(name, 20) for name in legible(classes).values()]
    axes.set_xticks(range(len(classes)), names, rotation=turned, parse_math=False)
    axes.set_yticks(range(len(classes)), names, parse_math=False)
    axes.set_xlabel("Predicted")
    axes.set_ylabel("Actual")


def _confused(matrices: Sequence[Matrix], path: Path) -> None:
    """The pairs of classes that are taken for each other most, a panel a matrix."""
    figure = Figure(figsize=(WIDEST, 5.2 * len(matrices)), layout="constrained")
    places = figure.subplots(len(matrices), 1, squeeze=False).ravel()
    for axes, each in zip(places, matrices, strict=True):
        names = list(legible(each.classes).values())
        wrong = metrics.confused(each.counts)
        pairs = wrong[:MOST_PAIRS]
        actual = each.counts.sum(axis=1)
        counts = [int(each.counts[pair]) for pair in pairs]
        bars = axes.barh(range(len(pairs)), counts, color=WRONG)
        axes.bar_label(
            bars,
            [f"{count} of {actual[row]}" for count, (row, _) in zip(counts, pairs, strict=True)],
            padding=3,
        )
        labels = [
            f"{_short(names[row], 24)} taken for {_short(names[to], 24)}" for row, to in pairs
        ]
        axes.set_yticks(range(len(pairs)), labels, parse_math=False)
        axes.invert_yaxis()
        axes.margins(x=0.12)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_title(
            transliterated(
                f"{each.title}: {np.trace(each.counts):,} of {each.counts.sum():,} right\n"
                f"the {len(pairs)} most confused of {len(wrong):,} pairs of classes"
            ),
            parse_math=False,
            fontsize=11,
        )
    places[-1].set_xlabel("Test pictures")
    _save(figure, path)


def _short(text: str, longest: int) -> str:
    """A class's name can be as long as a file's: cut it, so that the picture has room."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def _save(figure: Figure, path: Path) -> None:
    with atomic(path) as temporary:
        # Matplotlib writes its version into a PNG unless told not to.
        figure.savefig(temporary, dpi=DPI, format="png", metadata={"Software": None})
