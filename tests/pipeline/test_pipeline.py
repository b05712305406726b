"""The pipeline as a person runs it: `dvc` itself, in a Git repository made here."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from PIL import Image

from places import ROOT
from repository import CHANGES, PICTURES, STAGES, UNCHANGED, Finished, Repository, ran, results
from thaw.evaluation.record import DECISIVE
from written import restored

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def made(finished: Finished, tmp_path_factory: pytest.TempPathFactory) -> Repository:
    return finished.repository.copy(tmp_path_factory.mktemp("pipeline"))


@pytest.fixture
def repository(made: Repository) -> Iterator[Repository]:
    """The repository after one `dvc repro`; what the test edits in params.yaml is undone."""
    before = (made.path / "params.yaml").read_text()
    yield made
    (made.path / "params.yaml").write_text(before)


def test_repro_runs_every_stage_once(finished: Finished) -> None:
    assert sorted(ran(finished.output)) == sorted(STAGES)
    assert ran(finished.output)[-5:] == [
        "train_head",
        "fine_tune",
        "decide",
        "evaluate",
        "model_card",
    ]


def test_a_page_draws_the_pipeline(repository: Repository) -> None:
    with restored(repository, "data/given/dvc.yaml"):  # there where pictures are one's own
        (repository.path / "data/given/dvc.yaml").unlink()
        drawing = repository.dvc("dag", "--mermaid").strip()
    page = (ROOT / "docs/use/pipeline.md").read_text(encoding="utf-8")
    assert f"```mermaid\n{drawing}\n```" in page


def test_repro_makes_every_output(repository: Repository) -> None:
    stages = yaml.safe_load((repository.path / "dvc.yaml").read_text())["stages"]
    for stage in stages.values():
        for kind in ("outs", "metrics", "plots"):
            for out in stage.get(kind, []):
                place = repository.path / (out if isinstance(out, str) else next(iter(out)))
                assert place.exists(), place
                assert place.stat().st_size > 0, place


def test_git_keeps_the_small_files_and_dvc_the_rest(repository: Repository) -> None:
    tracked = repository.run("git", "ls-files").splitlines()
    assert {"dvc.lock", "metrics/evaluation.md", "plots/confusion.png"} <= set(tracked)
    given = ("source.json", "weights.json", "given/dvc.yaml", "given/dvc.lock")
    small = (".gitignore", "models/model_card.md", *given)
    for path in tracked:
        assert not path.startswith(("data/", "models/", "plots/pictures")) or path.endswith(small)
    assert repository.run("git", "status", "--porcelain") == ""


def test_the_metrics_are_numbers_of_this_run(repository: Repository) -> None:
    for path in (repository.path / "metrics").glob("*.json"):
        assert json.loads(path.read_text()), path
    scores = repository.json("metrics/evaluation.json")
    assert scores.pop("positive") == "rusty iron"
    assert set(scores) == {"test", "validation"}
    assert "| recall of `rusty iron` |" in (repository.path / "metrics/evaluation.md").read_text()
    for part in scores.values():
        for name in ("head", "fine_tuned"):
            assert set(part[name]) == set(DECISIVE)
            assert 0 <= part[name]["accuracy"] <= 1
    assert repository.json("metrics/head.json")["epochs"] == CHANGES["head.epochs"]
    model = repository.json("metrics/model.json")
    assert model["epochs"] == CHANGES["fine_tune.epochs"]
    assert 0 < model["trainable_parameters"] < model["parameters"]


def test_the_split_counts_every_picture_and_the_one_that_lies_twice(repository: Repository) -> None:
    split = repository.json("metrics/split.json")
    total = sum(sum(part.values()) for part in split["pictures"].values())
    assert total + split["identical_left_out"] == PICTURES
    assert split["identical"] == 1
    assert split["bad"] == 0
    assert {frozenset(part) for part in split["pictures"].values()} == {
        frozenset({"moss", "rusty iron"})
    }


def test_the_report_is_a_table_of_both_models(repository: Repository) -> None:
    report = (repository.path / "metrics/evaluation.md").read_text()
    assert re.search(r"^\|( ?:?-+:? ?\|)+$", report, re.MULTILINE)
    assert re.search(r"^\| accuracy", report, re.MULTILINE | re.IGNORECASE)
    tests = sum(repository.json("metrics/split.json")["pictures"]["test"].values())
    assert str(tests) in report


def test_the_pictures_open(repository: Repository) -> None:
    names = {path.relative_to(repository.path / "plots").as_posix() for path in drawn(repository)}
    assert {"confusion.png", "learning_curves.png"} <= names
    assert {f"pictures/{name}.png" for name in ("samples", "augmented", "predictions")} <= names
    for path in drawn(repository):
        with Image.open(path) as picture:
            picture.load()
            assert picture.format == "PNG"
            assert min(picture.size) > 50


def test_dvc_finds_every_plot(repository: Repository) -> None:
    assert "failed" not in repository.dvc("plots", "show")
    page = (repository.path / "dvc_plots/index.html").read_text(encoding="utf-8")
    assert page.count("var spec = {") == 5
    assert "var spec = {};" not in page
    assert page.count('<img src="static') == len(drawn(repository))


def drawn(repository: Repository) -> list[Path]:
    return sorted((repository.path / "plots").rglob("*.png"))


def test_predict_answers_with_the_model(repository: Repository) -> None:
    folder = repository.pictures / "rusty iron"
    output = repository.python("src", "predict", str(folder))
    lines = output.splitlines()
    assert len(lines) == len(list(folder.iterdir()))
    assert all(re.search(r"\d%  (moss|rusty iron)(  in doubt: .+)?$", line) for line in lines)


def test_a_second_repro_runs_nothing(repository: Repository) -> None:
    output = repository.dvc("repro")
    assert ran(output) == []
    assert output.count("didn't change, skipping") == len(STAGES)
    assert repository.run("git", "status", "--porcelain") == ""


@pytest.mark.parametrize(
    ("changes", "stages"),
    [
        ({"fine_tune_at": 11}, {"fine_tune"}),
        ({"fine_tune_at": "block2_conv2"}, {"fine_tune"}),
        ({"fine_tune_at": None}, {"fine_tune"}),
        ({"fine_tune.learning_rate": 0.001}, {"fine_tune"}),
        ({"head.dropout": 0.5}, {"train_head"}),
        ({"batch_size": 4}, {"train_head", "fine_tune"}),
        ({"image_size": 64}, {"weights", "freeze"}),
        ({"cache.layer": "block1_relu2"}, {"freeze"}),
        ({"augment.views": 3}, {"extract_features", "evaluate"}),
        ({"split.test": 0.4}, {"split"}),
        ({"on_bad_image": "skip"}, {"split"}),
        ({"dataset": "elpv"}, {"download"}),
        ({"weights": "imagenet"}, {"weights"}),
        ({"source": "/somewhere/else"}, {"download"}),
    ],
    ids=lambda value: "" if isinstance(value, set) else f"{next(iter(value.items()))}",
)
def test_a_change_touches_these_stages_first(
    repository: Repository, changes: dict[str, object], stages: set[str]
) -> None:
    repository.edit(changes)
    assert set(repository.dvc_json("status")) == {*stages, "check", "model_card", *UNCHANGED}


@pytest.mark.parametrize(
    ("stage", "downstream"),
    [
        ("fine_tune", set()),
        ("train_head", {"fine_tune"}),
        ("extract_features", {"train_head", "fine_tune"}),
        ("freeze", {"extract_features", "train_head", "fine_tune"}),
        ("weights", {"freeze", "extract_features", "train_head", "fine_tune"}),
        ("split", {"extract_features", "train_head", "fine_tune"}),
        ("download", {"split", "extract_features", "train_head", "fine_tune"}),
    ],
)
def test_after_a_stage_these_run_too(
    repository: Repository, stage: str, downstream: set[str]
) -> None:
    output = repository.dvc("repro", "--dry", "--force", "--downstream", stage)
    assert set(ran(output)) == {stage, *downstream, "decide", "evaluate", "model_card"}


@pytest.mark.parametrize(
    ("change", "script", "sentence"),
    [
        (
            {"fine_tune_at": 400},
            "fine_tune",
            "fine_tune_at: 400: cifar10_cnn has 15 layers; give 0 to 14, a layer's name, or null",
        ),
        ({"dataset": "unknown"}, "download", "give one such as cats_and_dogs, cifar10, elpv, fo"),
    ],
)
def test_a_wrong_parameter_is_answered_before_anything_is_removed(
    repository: Repository, change: dict[str, object], script: str, sentence: str
) -> None:
    repository.edit(change)
    output = repository.dvc("repro", code=255)
    assert ran(output) == ["check"]
    assert sentence in output
    assert "Traceback" not in output
    outputs = results((repository.path / "dvc.lock").read_text())
    missing = {path for path in outputs if not (repository.path / path).exists()}
    assert missing <= {"data/checked.txt"}
    output = repository.python("src", script, code=1)
    assert sentence in output
    assert "Traceback" not in output
    repository.restore()


def test_gc_keeps_what_the_workspace_needs(repository: Repository) -> None:
    repository.dvc("gc", "--workspace", "--force")
    assert repository.dvc_json("status") == UNCHANGED
    shutil.rmtree(repository.path / "data/features")
    for path in (repository.path / "models").glob("model.*"):
        path.unlink()
    repository.restore()
    assert repository.dvc_json("status") == UNCHANGED
    assert ran(repository.dvc("repro")) == []
