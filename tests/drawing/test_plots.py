from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from matplotlib.text import Text

from drawings import HISTORY, drawn
from helpers import pixels
from thaw.drawing import plots
from thaw.evaluation.robustness import Robustness, Strength

TILES = [plots.Tile(pixels(seed), f"picture {seed}\nright", "#0072b2") for seed in range(5)]
TABLE = np.array([[30, 2], [5, 13]])
DEPTHS = [
    {
        "block": f"block_{place}_add",
        "accuracy": 0.6 + 0.1 * min(place, 3),
        "standard_error": 0.02,
        "fine_tune_at": f"block_{place + 1}_expand",
        "parameters": 1_000_000 - 100_000 * place,
        "seconds": 10.0 - place,
    }
    for place in range(6)
]
STRENGTHS = [
    Strength(kind, "grey levels", at, 0.9 - 0.1 * at, 0.9, 0.1 * at, 0.1 * at - 0.05, 0.3, False)
    for kind in ("noise", "blur")
    for at in (1, 2)
]
CORRUPTED = Robustness(
    "m", "validation", 9, 9, "s", 1, 0.9, 0.8, 1, 0.9, 0.7, 0.9, 0.2, 0.1, 0.3, STRENGTHS
)
ADVICE = {"best": DEPTHS[3], "chosen": DEPTHS[3], "thawed": DEPTHS[3]}


SURE = plots.Sure("head only", np.linspace(0.5, 1, 40), np.arange(40) % 5 > 0)


DRAW: dict[str, Callable[[Path], None]] = {
    "confidence": lambda path: plots.confidence(SURE, None, [SURE], path),
    "calibrated": lambda path: plots.confidence(SURE, SURE, [SURE, SURE], path),
    "depths": lambda path: plots.depths(DEPTHS, ADVICE, path),
    "curves": lambda path: plots.learning_curves(HISTORY, 2, path),
    "robustness": lambda path: plots.robustness(CORRUPTED, path),
    "grid": lambda path: plots.grid(TILES, "Pictures", path),
    "confusion": lambda path: plots.confusion_matrices(
        [plots.Matrix("Head", TABLE, ["a", "b"])], path
    ),
}


@pytest.mark.parametrize("kind", DRAW)
def test_drawing_is_a_png_with_something_on_it_the_same_each_time(tmp_path: Path, kind: str):
    first, second = tmp_path / "new" / "1.png", tmp_path / "2.png"
    DRAW[kind](first)
    DRAW[kind](second)
    assert drawn(first).std() > 10
    assert first.read_bytes() == second.read_bytes()
    assert b"Matplotlib" not in first.read_bytes()
    assert [path.name for path in first.parent.iterdir()] == ["1.png"]


def test_start_of_fine_tuning_is_drawn_only_where_there_is_any(tmp_path: Path):
    plots.learning_curves(HISTORY, 2, tmp_path / "with.png")
    plots.learning_curves(HISTORY, None, tmp_path / "without.png")
    assert not np.array_equal(drawn(tmp_path / "with.png"), drawn(tmp_path / "without.png"))


@pytest.mark.parametrize(
    ("count", "columns", "wide", "high"), [(5, 4, 4, 2), (4, None, 2, 2), (1, None, 1, 1)]
)
def test_grid_grows_with_its_tiles(
    tmp_path: Path, count: int, columns: int | None, wide: int, high: int
):
    plots.grid((TILES * 2)[:count], "Pictures", tmp_path / "a.png", columns)
    height, width, _ = drawn(tmp_path / "a.png").shape
    assert width == pytest.approx(230 * wide, abs=2)
    assert 230 * high <= height <= 300 * high + 60


def test_grid_shows_the_pictures(tmp_path: Path):
    red = np.full((8, 8, 3), (255, 0, 0), dtype=np.uint8)
    plots.grid([plots.Tile(red, "red")], "Pictures", tmp_path / "a.png")
    found = drawn(tmp_path / "a.png")
    assert np.all(found == (255, 0, 0), axis=2).mean() > 0.3


def test_empty_grid_says_so(tmp_path: Path):
    plots.grid([], "Mistakes", tmp_path / "a.png", 4)
    assert drawn(tmp_path / "a.png")[60:].min() < 100  # below the title


@pytest.mark.parametrize("classes", [2, 5, 13, 20, 100, 1000])
def test_confusion_is_never_wider_than_a_screen(tmp_path: Path, classes: int):
    table = np.arange(classes**2).reshape(classes, classes)
    table[0] = 0  # a class without test pictures
    names = [f"class {number}" for number in range(classes)]
    matrices = [plots.Matrix("Head", table, names), plots.Matrix("Fine", table.T, names)]
    plots.confusion_matrices(matrices, tmp_path / "a.png")
    height, width, _ = drawn(tmp_path / "a.png").shape
    assert width <= 100 * plots.WIDEST
    assert (width > 1.6 * height) == (classes == 2)  # side by side, else one below the other


def test_of_many_classes_the_most_confused_pairs_are_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    names = [f"class {number}" for number in range(100)]
    table = 50 * np.eye(100, dtype=np.int64)
    table[3, 5], table[5, 3], table[7, 8] = 9, 4, 30
    texts: list[str] = []
    monkeypatch.setattr(
        plots, "_save", lambda figure, _: texts.extend(t.get_text() for t in figure.findobj(Text))
    )
    plots.confusion_matrices([plots.Matrix("Head", table, names)], tmp_path / "a.png")
    pairs = [*dict.fromkeys(text for text in texts if "taken for" in text)]  # both sides' ticks
    assert pairs == [
        "class 7 taken for class 8",
        "class 3 taken for class 5",
        "class 5 taken for class 3",
    ]
    assert "30 of 80" in texts
    assert any("3 most confused of 3 pairs" in text for text in texts)


def test_a_grid_names_files_by_the_end_of_a_long_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    texts: list[str] = []
    monkeypatch.setattr(
        plots, "_save", lambda figure, _: texts.extend(t.get_text() for t in figure.findobj(Text))
    )
    tile = plots.Tile(pixels(), "cat 90%\nright", file=f"{'folder/' * 9}7.png")
    plots.grid([tile], "1 of 9", tmp_path / "a.png")
    (caption,) = (text for text in texts if "cat" in text)
    assert caption.split("\n")[1:] == ["cat 90%", "right"]
    assert caption.startswith("…")
    assert caption.split("\n")[0].endswith("folder/7.png")


def test_confusion_is_darkest_where_most_pictures_are(tmp_path: Path):
    one = plots.Matrix("", np.array([[40, 0], [0, 0]]), ["a", "b"])
    plots.confusion_matrices([one], tmp_path / "a.png")
    found = drawn(tmp_path / "a.png")
    dark = np.argwhere((found[:, :, 2] > found[:, :, 0].astype(int) + 50) & (found[:, :, 0] < 50))
    assert len(dark) > 1000
    assert dark.max(axis=0)[0] < found.shape[0] * 0.6  # the first row
    assert dark.max(axis=0)[1] < found.shape[1] * 0.7  # the first column


NAMES = [
    "with space",
    "Größe",
    "a_b^c",
    "100 %",
    "&<",
    "-",
    "$5",
    "$x$",
    r"$\no$",
    "שלום",
    'a, "b"',
    "n" * 250,
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.filterwarnings("error")  # of Matplotlib, when names leave no place for the matrix
def test_names_are_shown_as_they_are(tmp_path: Path, name: str):
    plots.grid(
        [plots.Tile(pixels(), f"{name} 90%\nwrong: is {name}")], name[:9], tmp_path / "a.png"
    )
    plots.confusion_matrices([plots.Matrix("Head", TABLE, [name, "b"])], tmp_path / "b.png")
    assert drawn(tmp_path / "b.png").std() > 10


@pytest.mark.filterwarnings("error")  # of Matplotlib, when names leave no place for the curves
@pytest.mark.slow
def test_the_advised_depth_is_marked_and_many_depths_make_a_wider_picture(tmp_path: Path):
    plots.depths(DEPTHS, ADVICE, tmp_path / "a.png")
    plots.depths(DEPTHS, ADVICE | {"thawed": DEPTHS[0]}, tmp_path / "b.png")
    orange = [
        np.argwhere(np.all(drawn(tmp_path / name) == (213, 94, 0), axis=2))[:, 1].mean()
        for name in ("a.png", "b.png")
    ]
    assert orange[1] < orange[0] - 100
    many = [DEPTHS[place % 6] | {"block": f"conv5_block{place}_concat"} for place in range(70)]
    plots.depths(many, dict.fromkeys(ADVICE, many[3]), tmp_path / "c.png")
    assert drawn(tmp_path / "c.png").shape[1] > 2 * drawn(tmp_path / "a.png").shape[1]
