from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from drawings import HISTORY, drawn
from thaw.review import comparison_plots
from thaw.review.comparison_plots import Curves


def paths(folder: Path, *runs: Curves) -> Path:
    path = folder / "new" / f"{len(list(folder.glob('**/*.png')))}.png"
    comparison_plots.learning_curves(*runs, path)
    return path


def test_both_runs_are_drawn_the_same_each_time(tmp_path: Path) -> None:
    before, after = Curves(HISTORY, 2), Curves(HISTORY[:3], None)
    first, second = paths(tmp_path, before, after), paths(tmp_path, before, after)
    assert first.read_bytes() == second.read_bytes()
    assert b"Matplotlib" not in first.read_bytes()
    assert drawn(first).std() > 10


def colours(path: Path) -> set[tuple[int, ...]]:
    with Image.open(path) as image:
        found, counts = np.unique(
            np.asarray(image.convert("RGB")).reshape(-1, 3), axis=0, return_counts=True
        )
    return {
        tuple(map(int, colour)) for colour, count in zip(found, counts, strict=True) if count > 50
    }


@pytest.mark.parametrize("swapped", [False, True])
def test_each_run_has_its_colour(tmp_path: Path, swapped: bool) -> None:
    runs = [Curves(HISTORY, 2), Curves(HISTORY[:0], None)]
    found = colours(paths(tmp_path, *(runs[::-1] if swapped else runs)))
    blue, vermilion = (0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00)
    assert (vermilion if swapped else blue) in found


def test_every_number_shows(tmp_path: Path) -> None:
    whole = paths(tmp_path, Curves(HISTORY, 2), Curves(HISTORY, 2))
    for name in ("train_loss", "validation_loss", "train_accuracy", "validation_accuracy"):
        changed = HISTORY.assign(**{name: HISTORY[name] * 0.9})
        other = paths(tmp_path, Curves(HISTORY, 2), Curves(changed, 2))
        assert other.read_bytes() != whole.read_bytes(), name
    moved = paths(tmp_path, Curves(HISTORY, 2), Curves(HISTORY, 3))
    assert moved.read_bytes() != whole.read_bytes()
