"""`python src gate` between runs that Git and DVC hold; the runs are written by hand."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from repository import Repository
from thaw.files import tables
from thaw.files.serialize import write_csv
from thaw.review import folds
from thaw.review.revisions import WORKSPACE, opened
from written import CLASSES, restored, write_two

FILES = ("*.yaml", "metrics/*.json", "data/*.csv", "folds/*.csv", "src/thaw/training/loop.py")


def write_folds(repository: Repository, wrong: set[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Folds of the present parameters, of a head alone that takes `wrong` for the other class."""
    monkeypatch.chdir(repository.path)
    pictures = tables.read(repository.path / "data/validation_predictions.csv")
    table = pictures[["path", "label", "subgroup"]].assign(group="", repeat=1, fold=0)
    table["cluster"] = table["path"]
    labels = table["label"].map(CLASSES.index).to_numpy()
    second = np.where([n in wrong for n in range(len(labels))], 1 - labels, labels) * 0.8 + 0.1
    head = np.stack([1 - second, second], axis=1)
    found = folds.Folds(CLASSES, table[[*folds.ABOUT]], {"head": head}, {})
    with opened(WORKSPACE) as now:
        settings = folds.settings(now, fine_tuned=False)
    result = {"settings": settings, "classes": [*CLASSES], "head": {}}
    folds.write(replace(found, result=result))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """`main` with ten mistakes of 40 and folds, and a workspace of other fine-tuning with three."""
    repository = Repository(tmp_path_factory.mktemp("gate"))
    with pytest.MonkeyPatch.context() as patch:
        # The runs' pictures are few; folds lie on main.
        write_two(repository)
        repository.run("git", "stash", "--quiet", "--include-untracked")
        write_folds(repository, {*range(10)}, patch)
        repository.run("git", "add", "folds", "metrics")
        repository.commit("Keep folds")
        repository.run("git", "stash", "pop", "--quiet")
    return repository


@pytest.fixture
def repository(made: Repository) -> Iterator[Repository]:
    with restored(made, *FILES):
        yield made


def gate(repository: Repository, *words: str, code: int = 0) -> str:
    return repository.command("gate", *words, code=code)


def test_validation_pictures_decide_where_folds_do_not(repository: Repository) -> None:
    """Folds of the head don't show what other fine-tuning does."""
    told = gate(repository)
    assert told.startswith("better\nAccuracy changed by +17.50 points [")
    assert "on 40 pictures of validation that both have" in told


def test_the_test_pictures_are_read_on_request_alone(repository: Repository) -> None:
    path = repository.path / "data/predictions.csv"
    path.write_text("not a table\n")
    assert "of validation" in gate(repository)
    assert "predictions.csv" in gate(repository, "--test", code=4)


def test_worse_and_not_to_be_told(repository: Repository) -> None:
    path = repository.path / "data/validation_predictions.csv"
    before = pd.read_csv(path)
    columns = [f"fine_tuned_{name}" for name in CLASSES]
    mistaken = before.copy()
    mistaken.loc[10:, columns] = before.loc[10:, columns[::-1]].to_numpy()
    write_csv(path, tuple(mistaken), mistaken.itertuples(index=False, name=None))
    assert gate(repository, code=1).startswith("worse\n")
    some = before.copy()
    some.loc[20:28, columns] = before.loc[20:28, columns[::-1]].to_numpy()
    write_csv(path, tuple(some), some.itertuples(index=False, name=None))
    assert gate(repository, code=2).startswith("can't be told\n")
    assert gate(repository, "--allow", "unsure").startswith("can't be told\n")
    assert gate(repository, "--margin", "40").startswith("no worse\n")


def test_folds_decide_where_both_have_them(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository.run("git", "checkout", "--quiet", "main", "--", "params.yaml")
    repository.edit({"head.dropout": 0.4})
    write_folds(repository, {*range(20)}, monkeypatch)
    told = gate(repository, code=1)
    assert told.startswith("worse\nAccuracy changed by -25.00 points [")
    assert "on 40 pictures of folds, by the head, that both have" in told
    # Of other parameters, they say nothing of these.
    repository.edit({"head.dropout": 0.5})
    told = gate(repository, code=3)
    assert told.startswith("no verdict\nworkspace was not run since these changed: ")
    assert gate(repository, "--allow", "all").startswith("no verdict\n")


def test_another_dataset_gives_no_verdict(repository: Repository) -> None:
    repository.edit({"dataset": "cats_and_dogs"})
    told = gate(repository, code=3)
    assert told.startswith("no verdict\nThe datasets differ (folder and cats_and_dogs), so ")


def test_missing_predictions_give_no_verdict(repository: Repository) -> None:
    first = repository.run("git", "rev-list", "--max-parents=0", "HEAD").strip()
    told = gate(repository, "--base", first, code=3)
    assert told.startswith("no verdict\n")
    assert "data/validation_predictions.csv" in told


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--base", "nowhere"], "error: nowhere is no Git revision and no DVC experiment here"),
        (["--margin", "-1"], "error: --margin: -1: give a number of points from 0 to 100"),
        (["--margin", "half"], "error: --margin: half: give a number of points from 0 to 100"),
        (["--score", "speed"], "error: --score: invalid choice: 'speed'"),
    ],
)
def test_a_mistake_is_no_verdict_of_worse(
    repository: Repository, words: list[str], sentence: str
) -> None:
    assert gate(repository, *words, code=4).startswith(sentence)
