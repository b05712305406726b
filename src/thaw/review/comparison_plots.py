"""Pictures of two runs side by side."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from thaw.drawing import plots
from thaw.files.serialize import atomic

COLUMNS = ("epoch", "train_loss", "validation_loss", "train_accuracy", "validation_accuracy")
STYLES = {"before": (plots.TRAINING, "o"), "after": (plots.VALIDATION, "s")}  # colour and marker


@dataclass(frozen=True)
class Curves:
    """The learning curves of a run, a row of `COLUMNS` an epoch."""

    history: pd.DataFrame
    fine_tuning_starts: int | None


def learning_curves(before: Curves, after: Curves, path: Path) -> None:
    """Accuracy and loss by epoch of both: validation dashed, training thin, markers by run."""
    figure = Figure(figsize=(9, 8), layout="constrained")
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
    with atomic(path) as temporary:
        figure.savefig(temporary, dpi=plots.DPI, format="png", metadata={"Software": None})
