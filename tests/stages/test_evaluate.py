import contextlib
import csv
from pathlib import Path

import numpy as np
import pytest

from stages import evaluate


@pytest.mark.parametrize(("classes", "cells"), [(3, 9), (1000, 1001)])
def test_of_many_classes_empty_cells_are_left_out(
    tmp_path: Path, classes: int, cells: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A million rows are no file for Git."""
    monkeypatch.setattr(evaluate.comparison, "curve", lambda *_: [(0.0, 1.0)])
    labels = np.arange(2 * classes) % classes
    shares = np.eye(classes)[labels]
    shares[0] = np.eye(classes)[1]
    names = [f"class {number}" for number in range(classes)]
    with contextlib.chdir(tmp_path):
        said = evaluate.Said(shares, shares.argmax(axis=1), labels < 0, shares)
        evaluate.write_curves("head", labels, said, names, None)
        with Path("plots/confusion_head.csv").open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    assert len(rows) == cells
    assert {"actual": "class 0", "predicted": "class 1", "pictures": "1"} in rows
