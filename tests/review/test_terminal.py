"""`thaw.terminal`: learning curves as text."""

import re

import numpy as np
import pandas as pd
import pytest

from thaw.review import terminal


def history(epochs: int) -> pd.DataFrame:
    epoch = np.arange(1.0, epochs + 1)
    return pd.DataFrame(
        {
            "epoch": epoch,
            "train_loss": 1 / epoch,
            "validation_loss": 0.25 + abs(epoch - 4) / 100,
            "train_accuracy": 1 - 1 / (epoch + 1),
            "validation_accuracy": 0.8 - abs(epoch - 3) / 100,
        }
    )


@pytest.mark.parametrize("size", [(80, 23), (140, 39), (40, 16)])
@pytest.mark.parametrize("epochs", [1, 2, 45])
def test_the_curves_fit_and_need_no_colour(size: tuple[int, int], epochs: int) -> None:
    lines = terminal.learning_curves(history(epochs), None, size, False).splitlines()
    assert len(lines) == size[1]
    assert max(map(len, lines[:-3])) <= size[0]
    assert [line for line in lines if re.search(r"[\x00-\x1f\x7f]", line)] == []
    assert "• training  x validation" in lines[0]
    inside = "".join(lines[1:-3])
    assert "x" in inside
    assert epochs == 1 or "•" in inside


def test_fine_tuning_is_marked() -> None:
    curves = terminal.learning_curves(history(7), 4, (80, 23), False)
    assert "│ fine-tuning starts" in curves.splitlines()[0]
    frame = {line.find("│", 7) for line in curves.splitlines()[2:7]}
    assert len(frame) == 1
    assert "epoch 7: 3 of fine-tuning, after 4 of the head" in curves


def test_colours_leave_the_ground_as_it_is() -> None:
    curves = terminal.learning_curves(history(7), 4, (80, 23), True)
    assert set(re.findall(r"\x1b\[([\d;]*)m", curves)) == {"0", "38;5;33", "38;5;208"}
    plain = terminal.learning_curves(history(7), 4, (80, 23), False)
    without = re.sub(r"\x1b\[[\d;]*m", "", curves)
    assert [line.rstrip() for line in without.splitlines()] == plain.splitlines()


@pytest.mark.parametrize("size", [(39, 50), (200, 15), (1, 1)])
def test_where_there_is_no_room_the_words_are_left(size: tuple[int, int]) -> None:
    assert terminal.learning_curves(history(7), None, size, False) == (
        "epoch 7: head\n"
        "accuracy 0.8750 training, 0.7600 validation (best 0.8000, epoch 3)\n"
        "loss     0.1429 training, 0.2800 validation (least 0.2500, epoch 4)"
    )
