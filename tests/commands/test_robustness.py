"""`python src robustness` on pictures and a model made by hand."""

import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from commands import robustness as command
from helpers import onnx_model
from places import ROOT
from stages import model_card
from thaw.core import cores
from thaw.core.errors import ThawError
from thaw.drawing import plots
from thaw.evaluation.inference import Classifier
from thaw.evaluation.robustness import Robustness
from thaw.files.serialize import write_csv
from thaw.review import robustness

FILES = ["robustness.csv", "robustness.json", "robustness.md", "robustness.png"]
SYMMETRIES = [[0, False, False], [0, True, False]]
Run = Callable[..., dict[str, bytes]]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace: 12 pictures to validate and 6 to test on, and a model of the top left pixel."""
    for name in ("params.yaml", "datasets", "pretrained"):
        (tmp_path / name).symlink_to(ROOT / name)
    rows = []
    for number in range(18):
        label, part = ("cold", "warm")[number % 2], "test" if number >= 12 else "validation"
        path = tmp_path / f"data/dataset/images/{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        base = [140, 110, 118] if label == "warm" else [118, 110, 140]
        noise = np.random.default_rng(number).integers(-12, 13, (16, 16, 3))
        Image.fromarray((base + noise).astype(np.uint8)).save(path)
        rows.append((path.name, label, part, ""))
    write_csv(tmp_path / "data/split.csv", ("path", "label", "split", "subgroup"), rows)
    (tmp_path / "models").mkdir()
    facts = {"classes": ["cold", "warm"], "image_size": 16, "resize": "stretch"}
    weights = [[0.1], [0.0], [-0.1]]  # red less blue
    onnx_model(tmp_path / "models/model.onnx", weights, **facts, symmetries=SYMMETRIES)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(home: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    def run(*words: str) -> dict[str, bytes]:
        monkeypatch.setattr(sys, "argv", ["python src robustness", *words])
        command.main()
        return {path.name: path.read_bytes() for path in sorted((home / "robustness").iterdir())}

    return run


def found(files: dict[str, bytes]) -> Robustness:
    return Robustness.of_json(json.loads(files["robustness.json"]))


def test_all_files_are_written_the_same_for_any_number_of_cores(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = run()
    printed = capsys.readouterr().out
    assert [*made] == FILES
    assert found(made).part == "validation"
    assert (found(made).pictures, found(made).of, found(made).views) == (12, 12, 1)
    assert found(made).model == hashlib.md5(Path("models/model.onnx").read_bytes()).hexdigest()
    assert len(found(made).strengths) == len(robustness.CONDITIONS) == 45
    noise = found(made).kinds["noise"]
    assert noise[-1].accuracy < found(made).accuracy
    assert made["robustness.csv"].count(b"\n") == 46
    assert max(map(len, printed.splitlines())) <= 100
    assert "noise, standard deviation, grey levels" in printed
    for count in (1, 5):
        monkeypatch.setattr(cores, "available", lambda count=count: count)
        monkeypatch.setattr("thaw.core.threads.available", lambda count=count: count)
        assert run() == made


def test_some_pictures_all_views_and_the_test_pictures(run: Run) -> None:
    few = found(run("--pictures", "6"))
    assert (few.pictures, few.of) == (6, 12)
    assert found(run("--pictures", "99")).pictures == 12
    tested = found(run("--test", "--views", "all"))
    assert (tested.part, tested.pictures, tested.views) == ("test", 6, 2)
    assert not few.alike(tested)


def test_views_are_averaged_as_predict_does(home: Path) -> None:
    classifier = Classifier(home / "models/model.onnx")
    images, paths = home / "data/dataset/images", ["0.png", "1.png"]
    predicted = [one.probabilities for one in classifier.classify([images / p for p in paths])]
    averaged = robustness.predict(classifier, images, paths, 1, 2)
    alone = robustness.predict(classifier, images, paths, 1, 1)
    assert averaged.shape == alone.shape == (2, 46, 2)
    np.testing.assert_array_equal(averaged[:, 0], predicted)
    assert not np.array_equal(averaged[:, 0], alone[:, 0])


def test_some_pictures_have_each_class_with_its_share_and_more_hold_fewer() -> None:
    labels = np.array([0] * 60 + [1] * 30 + [2] * 10)
    before: set[int] = set()
    for count in (10, 20, 50, 100, 200):
        some = robustness.stratified(labels, count, 1)
        assert len(some) == min(count, 100)
        shares = np.bincount(labels[some], minlength=3) / len(some)
        np.testing.assert_allclose(shares, [0.6, 0.3, 0.1], atol=1 / len(some))
        assert before <= set(some.tolist())
        before = set(some.tolist())
    assert not np.array_equal(
        robustness.stratified(labels, 10, 2), robustness.stratified(labels, 10, 1)
    )


def test_labels_that_the_model_doesnt_know_are_a_sentence(home: Path, run: Run) -> None:
    split = home / "data/split.csv"
    split.write_text(split.read_text().replace("warm", "hot"))
    with pytest.raises(ThawError, match=r"hot: models/model.onnx knows only cold, warm; run `dvc"):
        run()
    (home / "models/model.onnx").unlink()
    with pytest.raises(ThawError, match=r"model\.onnx is missing; run `dvc repro`"):
        run()


def test_what_is_interrupted_leaves_the_files_of_before(
    home: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = run()

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(plots, "robustness", stop)
    with pytest.raises(KeyboardInterrupt):
        run("--test")
    assert {p.name: p.read_bytes() for p in (home / "robustness").iterdir()} == made
    assert not [*home.glob(".part-*")]


def test_the_card_says_what_was_found_of_this_model_alone(home: Path, run: Run) -> None:
    measure = "Not measured for this model: `make robustness`, then `dvc repro`."
    assert model_card.robustness() == measure
    run()
    assert model_card.robustness().startswith("On 12 validation pictures, one view each, accuracy")
    with (home / "models/model.onnx").open("ab") as file:
        file.write(b"\0")
    assert model_card.robustness() == measure
    (home / "robustness/robustness.json").write_text("{}")
    with pytest.raises(ThawError, match=r"robustness\.json is not what `make robustness` writes"):
        model_card.robustness()
