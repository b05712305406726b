import warnings
from pathlib import Path

import numpy as np
import pytest

from helpers import pixels
from thaw.drawing import plots
from thaw.drawing.lettering import legible, transliterated


@pytest.mark.parametrize(
    ("text", "drawn"),
    [
        ("cats", "cats"),
        ("Größe, кошка, γάτα", "Größe, кошка, γάτα"),
        ("قطة", "قطة"),  # the font has it, and Matplotlib joins its letters from right to left
        ("שלום", "שלום"),
        ("e\u0301te\u0301", "e\u0301te\u0301"),
        ("  two  blanks", "  two  blanks"),
        ("猫", "Mao"),
        ("小狗 85%", "XiaoGou 85%"),
        ("ネコ", "neko"),
        ("고양이", "GoYangI"),
        ("हिन्दी", "hindi"),
        ("ไทย", "aithy"),
        ("🦥 asleep", "sloth asleep"),
        ("\U0010fffd", "?"),
    ],
)
def test_what_the_font_lacks_is_transliterated(text: str, drawn: str):
    assert transliterated(text) == drawn


def test_a_class_that_cannot_be_drawn_has_its_number():
    assert legible(["猫", "dogs", "貓", "قطة"]) == {
        "猫": "1 Mao",
        "dogs": "dogs",
        "貓": "3 Mao",
        "قطة": "قطة",
    }


def test_no_plot_has_boxes(tmp_path: Path):
    """Matplotlib warns of each glyph that it lacks."""
    classes = ["猫咪", "ネコ", "고양이", "قطة", "😀", "🦥", "हिन्दी"]
    counts = np.ones((7, 7), np.int64)
    tiles = [plots.Tile(pixels(1), f"{name} 85%\nwrong: is {name}") for name in classes]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plots.confusion_matrices([plots.Matrix("猫", counts, classes)], tmp_path / "confusion.png")
        plots.grid(tiles, "猫", tmp_path / "grid.png")
