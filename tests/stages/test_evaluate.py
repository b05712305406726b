import contextlib
import csv
import json
from pathlib import Path

import numpy as np
import pytest
import vl_convert

from places import ROOT
from stages import evaluate


@pytest.mark.parametrize(("classes", "cells"), [(3, 9), (1000, 1002)])
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
        said = evaluate.Said(shares, shares.argmax(axis=1), ("",) * len(labels), shares)
        evaluate.write_curves("head", labels, said, names, None)
        with Path("plots/confusion_head.csv").open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    assert len(rows) == cells
    found = {(row["actual"], row["predicted"]): row for row in rows}
    assert found["class 0", "class 1"]["pictures"] == "1"
    many = classes > 20
    assert ("drawn" in rows[0]) == many
    drawn = {pair for pair, row in found.items() if row.get("drawn", "1") == "1"}
    assert len(drawn) == (4 if many else 9)  # DVC's plot shows the confused classes alone


def test_pictures_that_a_model_does_not_know_are_listed_with_the_reason(tmp_path: Path) -> None:
    shares = np.eye(2)[[0, 1, 1]]
    found = {
        name: evaluate.Said(shares, shares.argmax(axis=1), doubts, shares)
        for name, doubts in (("head", ("", "", "too unsure")), ("fine_tuned", ("unlike", "", "")))
    }
    assert found["head"].in_doubt.tolist() == [False, False, True]
    with contextlib.chdir(tmp_path):
        evaluate.write_doubts(["a.png", "b.png", "c.png"], found)
        written = Path("data/doubts.csv").read_text(encoding="utf-8")
    assert written == "path,model,why\nc.png,head,too unsure\na.png,fine_tuned,unlike\n"


def test_as_many_confused_classes_are_drawn_as_there_is_room() -> None:
    table = np.diag([5] * 40)
    for label in range(0, 40, 2):
        table[label, label + 1] = 40 - label
    assert evaluate.most_confused(table) == [*range(20)]


def test_the_plot_of_dvc_leaves_out_what_is_not_drawn() -> None:
    text = (ROOT / ".dvc/plots/matrix.json").read_text(encoding="utf-8")
    rows = [
        {
            "filename": "head",
            "rev": "",
            "actual": a,
            "predicted": b,
            "pictures": "3",
            "drawn": drawn,
        }
        for a, b, drawn in (("moss", "moss", "1"), ("iron", "iron", "0"))
    ]
    for word, value in (("Y", "actual"), ("X", "predicted"), ("TITLE", "t")):
        text = text.replace(f"<DVC_METRIC_{word}>", value)
    svg = vl_convert.vegalite_to_svg(text.replace('"<DVC_METRIC_DATA>"', json.dumps(rows)))
    assert ">moss<" in svg
    assert ">iron<" not in svg
