"""`python src folds` on a small run, and how it trains a head."""

import argparse
import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest

import warm
from commands import folds as command
from repository import Finished, Repository
from thaw.core import places
from thaw.core.errors import ThawError
from thaw.features import stores
from thaw.files import tables
from thaw.review import folds
from thaw.review.revisions import WORKSPACE, opened
from thaw.training import loop
from thaw.training.choosing import Selection
from thaw.training.views import Views


@pytest.fixture(scope="module")
def repository(finished: Finished, tmp_path_factory: pytest.TempPathFactory) -> Repository:
    return finished.repository.copy(tmp_path_factory.mktemp("folds"))


def test_each_picture_but_those_to_test_on_is_predicted_once(repository: Repository) -> None:
    split = tables.read(repository.path / "data/split.csv")
    for path in split["path"][split["split"] == "test"]:
        (repository.path / "data/dataset/images" / path).unlink()
    repository.edit({"head.epochs": 40, "head.learning_rate": 0.02})  # few pictures, many steps
    told = repository.python("src", "folds", "--k", "3")
    assert "3 folds: each of" in told
    assert max(map(len, told.splitlines())) <= 100
    table = tables.read(repository.path / folds.PREDICTIONS)
    known = split[split["split"] != "test"]
    assert sorted(table["path"]) == sorted(known["path"])
    assert set(table["fold"]) == {"1", "2", "3"}
    for _, tied in table.groupby("cluster")["fold"]:
        assert tied.nunique() == 1
    result = json.loads((repository.path / folds.RESULT).read_text())
    assert 0.7 < result["head"]["scores"]["accuracy"]["together"] <= 1
    with contextlib.chdir(repository.path), opened(WORKSPACE) as now:
        assert folds.read(now) is not None


def test_a_run_goes_on_and_gives_the_same(repository: Repository) -> None:
    before = (repository.path / folds.PREDICTIONS).read_bytes()
    kept = sorted((repository.path / command.KEPT).glob("*/3-folds-1-*.npz"))
    assert len(kept) == 3
    kept[1].unlink()
    told = repository.python("src", "folds", "--k", "3")
    assert told.count("of an earlier run") == 2
    assert (repository.path / folds.PREDICTIONS).read_bytes() == before


def test_fine_tuning_too(repository: Repository) -> None:
    told = repository.python("src", "folds", "--k", "2", "--fine-tune")
    assert "fine-tuned" in told
    result = json.loads((repository.path / folds.RESULT).read_text())
    assert folds.models(result) == ["head", "fine_tuned"]
    assert result["fine_tuning"]["mended"] >= 0


def test_a_fold_in_a_process_of_its_own_is_the_same(
    repository: Repository, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As on a cluster's node."""
    (path,) = (repository.path / command.KEPT).glob("*/2-folds-1-2-fine-tuned.npz")
    before = path.read_bytes()
    path.unlink()
    monkeypatch.chdir(repository.path)
    for name, value in warm.environment(repository.env).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(places, "find", lambda *_: places.Here(1))
    params = command.workspace.read_params()
    given = argparse.Namespace(k=2, repeats=1, fine_tune=True)
    assert command.on_nodes(params, given, path.parent) == {path: "on "}
    assert "1 fold, one at a time\n2-folds-1-2-fine-tuned" in capsys.readouterr().out
    assert path.read_bytes() == before


def test_a_cache_that_lies_far_away_is_refused(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In more parts than are kept here: each batch would fetch most of them."""
    monkeypatch.chdir(repository.path)
    now = SimpleNamespace(stale=lambda _: [])
    params = command.workspace.read_params().model_copy(update={"fine_tune_at": 1})

    class Far(stores.Parts):
        nbytes, scattered = 0, True

    monkeypatch.setattr(command.cache, "read", lambda *_: Far.__new__(Far))
    head_alone, tuned = (argparse.Namespace(k=2, fine_tune=each) for each in (False, True))
    assert command.check(now, params, head_alone).classes  # its features are few, and read once
    with pytest.raises(ThawError, match="folds read pictures in any order"):
        command.check(now, params, tuned)


@pytest.mark.parametrize(
    ("code", "said", "runs", "sentence"),
    [
        (1, "a\nerror: the loss is no number", 1, "the loss is no number"),
        (-9, "a", 3, "it was kil"),
    ],
)
def test_a_fold_that_fails_is_named(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    code: int,
    said: str,
    runs: int,
    sentence: str,
) -> None:
    begun = []

    def run(_: places.Here, words: Callable[[], list[str]], log: Path) -> places.Ended:
        begun.append(words())
        log.write_text(said)
        return places.Ended(code)

    monkeypatch.setattr(places.Here, "run", run)
    monkeypatch.setattr(places, "find", lambda *_: places.Here(1))
    given = argparse.Namespace(k=2, repeats=1, fine_tune=True)
    (tmp_path / "2-folds-1-1-fine-tuned.npz").touch()
    with pytest.raises(ThawError, match=rf"^2-folds-1-2-fine-tuned: {sentence}"):
        command.on_nodes(command.workspace.read_params(), given, tmp_path)
    assert len(begun) == runs
    assert begun[0][3:] == ["--k=2", "--repeats=1", "--fine-tune", "--only=2-folds-1-2-fine-tuned"]


@pytest.mark.parametrize(
    ("change", "words", "sentence"),
    [
        ({}, ["--k", "1"], "--k: 1: give a whole number from 2"),
        ({"image_size": 48}, [], "data/features was made before these changed in params.yaml: im"),
        ({"fine_tune_at": None}, ["--fine-tune"], "params.yaml: fine_tune_at: null: nothing is f"),
        ({"head.epochs": 0}, [], "params.yaml: head.epochs: 0: the head isn't trained by itself;"),
    ],
)
def test_what_can_not_be_is_a_sentence(
    repository: Repository, change: dict[str, object], words: list[str], sentence: str
) -> None:
    params = repository.path / "params.yaml"
    before = params.read_text()
    repository.edit(change)
    told = repository.command("folds", *words, code=1)
    params.write_text(before)
    assert told.splitlines()[-1].startswith(f"error: {sentence}")


def test_more_folds_than_a_class_has_pictures_are_refused(repository: Repository) -> None:
    told = repository.python("src", "folds", "--k", "99", code=1)
    assert told.splitlines()[-1].startswith("error: --k 99: the class ")


def test_without_a_cache_it_says_what_to_run(repository: Repository) -> None:
    features = repository.path / "data/features"
    features.rename(features.with_name("gone"))
    told = repository.command("folds", code=1)
    features.with_name("gone").rename(features)
    assert told.startswith("error: data/features is missing; run `make folds`, or `dvc repro ")


def views(seed: int | None = None) -> Views:
    random = np.random.default_rng(3)
    features = random.normal(size=(50, 1, 6)).astype(np.float32)
    labels = (features[:, 0, 0] > 0.2).astype(np.int64)
    return Views(lambda rows, turns: features[rows, turns], labels, batch_size=8, seed=seed)


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_many_steps_at_once_are_the_same_steps(ema: float) -> None:
    how = loop.Optimization("adamw", 0.01, "cosine", 4, ema=ema)
    found = []
    for kind in (keras.Model, command.Quick):
        keras.utils.set_random_seed(1)
        inputs = keras.Input((6,))
        model = kind(inputs, keras.layers.Dense(1)(inputs))
        fitted = loop.fit(model, views(1), views(), how, selection=Selection("loss", None))
        found.append((fitted, model.get_weights()))
    assert np.allclose(found[0][0].rows, found[1][0].rows, rtol=1e-4)
    assert found[0][0].taken == found[1][0].taken
    for one, other in zip(found[0][1], found[1][1], strict=True):
        assert np.allclose(one, other, rtol=1e-4)
