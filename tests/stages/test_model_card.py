"""Stage `model_card`: what it says of the training."""

import json
from pathlib import Path

import pytest

import workspace
from stages import model_card

FIGURES = {
    "epochs": 2,
    "taken": 1,
    "parameters": 10,
    "trainable_parameters": 5,
    "validation_accuracy": 0.75,
}


@pytest.mark.parametrize(
    ("noted", "end"),
    [({}, "then: 75.0%."), ({"gpus": "2 x NVIDIA T4"}, " It was trained on `2 x NVIDIA T4`.")],
)
def test_the_gpus_that_trained_are_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, noted: dict[str, str], end: str
) -> None:
    for name in ("head", "model"):
        (tmp_path / f"{name}.json").write_text(json.dumps(FIGURES | noted), encoding="utf-8")
    monkeypatch.setattr(workspace, "METRICS", tmp_path)
    assert model_card.trained("loss").endswith(end)
