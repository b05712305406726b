"""Learning curves as text, for a terminal or a log."""

from typing import Any

import pandas as pd
import plotext

# Shape and colour tell them apart: blue and orange of the 256, on dark ground and on light.
PARTS = {"train": ("training", "•", 33), "validation": ("validation", "x", 208)}
SMALLEST = (40, 16)  # columns and lines; where there are fewer, no curves are drawn


def learning_curves(
    history: pd.DataFrame, fine_tuning_starts: int | None, size: tuple[int, int], colour: bool
) -> str:
    """Accuracy and loss by epoch, with a line where fine-tuning starts, and the last in words.

    Args:
        history: a row an epoch, at least one, with columns epoch, train_loss, validation_loss,
            train_accuracy, validation_accuracy.
        fine_tuning_starts: the last epoch of the head's training; None without fine-tuning.
        size: columns and lines to fill; where they are too few, it gives the words alone.
        colour: whether colours may be written, which are control codes.
    """
    text = words(history, fine_tuning_starts)
    width, height = size
    if width < SMALLEST[0] or height < SMALLEST[1]:
        return text
    plotext.terminal.limit(False, False)  # otherwise it cuts at a size that it finds out itself
    figure = plotext.figure
    figure.clear()
    figure.plot_size(width, height - len(text.splitlines()))
    figure.subplots(2, 1)
    for row, name in ((1, "accuracy"), (2, "loss")):
        _draw(figure.subplot(row, 1), history, name, fine_tuning_starts, colour)
    drawn: str = figure.build().string(colorless=not colour)
    return "\n".join([*(line.rstrip() for line in drawn.splitlines()), text])


def _draw(
    axes: Any,
    history: pd.DataFrame,
    name: str,
    fine_tuning_starts: int | None,
    colour: bool,
) -> None:
    axes.theme("colorless")  # none but those given here: the ground stays the terminal's
    epochs = history["epoch"].tolist()
    every: list[float] = []
    keys = []
    for part, (title, symbol, shade) in PARTS.items():
        values = history[f"{part}_{name}"].tolist()
        every += values
        keys.append(f"{symbol} {title}")
        marker = plotext.marker(symbol, shade if colour else None)
        axes.draw(axes.signal(epochs, values, marker=marker).lines())
    first, last = int(epochs[0]), int(epochs[-1])
    step = max(1, -(-(last - first) // 8))
    axes.ruler("x").ticks(list(range(first, last + 1, step)))
    low, high = min(every), max(every)
    if fine_tuning_starts is not None:
        # As a signal: `axes.line` would bring a ground of its own.
        axes.draw(axes.segment([fine_tuning_starts + 0.5] * 2, [low, high], plotext.marker("│")))
        keys.append("│ fine-tuning starts")
    axes.title(f"{name}:  {'  '.join(keys)}")
    ticks = [low + (high - low) * part / 4 for part in range(5)] if high > low else [low]
    axes.ruler("y").ticks(ticks, [f"{tick:.3f}" for tick in ticks])


def words(history: pd.DataFrame, fine_tuning_starts: int | None) -> str:
    """Where the training is, its last epoch's figures and its best, in three lines."""
    last = history.iloc[-1]
    epoch, head = int(last["epoch"]), fine_tuning_starts
    best = history.iloc[history["validation_accuracy"].argmax()]
    least = history.iloc[history["validation_loss"].argmin()]
    part = "head" if head is None else f"{epoch - head} of fine-tuning, after {head} of the head"
    return "\n".join(
        [
            f"epoch {epoch}: {part}",
            f"accuracy {last['train_accuracy']:.4f} training, {last['validation_accuracy']:.4f} "
            f"validation (best {best['validation_accuracy']:.4f}, epoch {best['epoch']:.0f})",
            f"loss     {last['train_loss']:.4f} training, {last['validation_loss']:.4f} "
            f"validation (least {least['validation_loss']:.4f}, epoch {least['epoch']:.0f})",
        ]
    )
