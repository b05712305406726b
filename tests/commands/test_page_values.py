"""What `make page` takes from a run's files, without a browser."""

import contextlib
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from commands import page


@pytest.mark.parametrize(
    ("decided", "classes", "expected"),
    [
        ({}, ["a", "b"], (0.5, "b")),
        ({"threshold": 0.31, "positive": "a"}, ["a", "b"], (0.31, "a")),
        ({"gains": [[0, -1], [-9, 0]]}, ["a", "b"], (0.1, "b")),
        ({}, ["a", "b", "c"], (None, "b")),
        ({"threshold": 0.31, "positive": "c"}, ["a", "b", "c"], (0.31, "c")),
    ],
)
def test_the_threshold_in_use_is_the_decided_one(
    tmp_path: Path, decided: dict[str, object], classes: list[str], expected: tuple[float, str]
) -> None:
    none = {"threshold": None, "positive": None, "gains": None}
    (tmp_path / "metrics").mkdir()
    (tmp_path / "metrics/decision.json").write_text(json.dumps({"fine_tuned": none | decided}))
    with contextlib.chdir(tmp_path):
        threshold, positive = page.in_use(SimpleNamespace(positive="b"), classes)
    assert threshold == (expected[0] and pytest.approx(expected[0]))
    assert positive == expected[1]


def test_mistakes_are_of_the_class_that_is_said() -> None:
    labels = np.array([0, 0, 1, 1])
    shares = np.array([[0.9, 0.1], [0.6, 0.4], [0.6, 0.4], [0.8, 0.2]])
    shown, wrong = page.chosen(labels, shares, np.array([0, 1, 1, 0]), 3)
    assert wrong == [3, 1]  # the more confident first
    assert shown == [0, 1, 3]


def test_the_time_of_a_picture_is_measured_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged: list[str] = []
    model = SimpleNamespace(look=lambda path: path, judge=lambda path: judged.append(path.name))
    monkeypatch.setattr(page, "Classifier", lambda _: model)
    rows = pd.DataFrame({"path": [f"{number}.png" for number in range(30)]})
    with contextlib.chdir(tmp_path):
        path = Path("model.onnx")
        path.write_bytes(b"one")
        first = page.seconds(path, rows)
        assert judged == [f"{number}.png" for number in range(page.TIMED)]
        assert page.seconds(path, rows) == first
        assert len(judged) == page.TIMED
        path.write_bytes(b"another")
        page.seconds(path, rows)
        assert len(judged) == 2 * page.TIMED
