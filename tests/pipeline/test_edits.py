"""What an edit re-runs: real edits, in a repository whose stages are all up to date."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from dvc.repo import Repo

from repository import STAGES, UNCHANGED, Repository
from written import write_run

TRAININGS = {"train_head", "fine_tune"}


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    made = Repository(tmp_path_factory.mktemp("edits"))
    write_run(made, wrong={1})
    made.dvc("commit", "--force", "--quiet")
    return made


def changed(repository: Repository) -> set[str]:
    """The stages whose own dependencies changed. What follows runs if their outputs change."""
    with contextlib.chdir(repository.path), Repo() as repo:
        return repo.status().keys() - UNCHANGED.keys()


@contextlib.contextmanager
def edited(path: Path, more: str) -> Iterator[None]:
    before = path.read_bytes() if path.exists() else None
    path.parent.mkdir(exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(more)
    try:
        yield
    finally:
        if before is None:
            path.unlink()
        else:
            path.write_bytes(before)


@pytest.mark.parametrize(
    ("path", "stages"),
    [
        ("src/thaw/drawing/plots.py", {"evaluate", "model_card"}),
        ("src/thaw/drawing/templates/model_card.md.j2", {"evaluate", "model_card"}),
        ("src/thaw/evaluation/metrics.py", {"decide", "evaluate", "model_card"}),
        ("src/thaw/training/folding.py", TRAININGS),
        ("src/thaw/features/cache.py", {"check", "extract_features", *TRAININGS}),
        ("src/thaw/networks/backbones.py", {"weights", "freeze", *TRAININGS}),
        ("src/thaw/pretrained/formats.py", {"weights"}),
        ("src/thaw/splitting/splits.py", {"split"}),
        ("src/thaw/datasets/layouts.py", {"download"}),
        ("src/thaw/files/serialize.py", set(STAGES)),
        ("src/stages/train_head.py", {"train_head"}),
        ("datasets/folder.yaml", {"check", "download", "model_card"}),
        ("pretrained/VGG16.yaml", {"check", "weights", "model_card"}),
        # Nothing of the result follows from these.
        ("datasets/elpv.yaml", {"check"}),
        ("datasets/one_more.yaml", {"check"}),
        ("src/thaw/core/progress.py", set()),
        ("src/thaw/core/errors.py", set()),
        ("src/thaw/core/params.py", set()),
        ("src/thaw/review/reports.py", set()),
        ("src/commands/page.py", set()),
        ("src/commands/probe.py", set()),
        ("src/workspace.py", set()),
        # Nor from what Python, editors and systems leave beside the code.
        ("src/thaw/files/__pycache__/serialize.cpython-311.pyc", set()),
        ("src/thaw/training/.heads.py.swp", set()),
        ("src/thaw/training/heads.py~", set()),
        ("src/thaw/drawing/.DS_Store", set()),
    ],
)
def test_an_edit_of_code_re_runs(repository: Repository, path: str, stages: set[str]) -> None:
    with edited(repository.path / path, "# an edit\n"):
        assert changed(repository) == stages
    assert changed(repository) == set()


@pytest.mark.parametrize(
    ("name", "value", "stages"),
    [
        ("fine_tune_at", 11, {"check", "fine_tune", "model_card"}),
        ("head.dropout", 0.5, {"check", "train_head", "model_card"}),
        ("on_bad_image", "skip", {"check", "split", "model_card"}),
        # Two training seeds are compared on the same pictures and views.
        ("seed", 2, {"check", "train_head", "fine_tune", "model_card"}),
        (
            "split.seed",
            2,
            {"check", "split", "extract_features", "decide", "evaluate", "model_card"},
        ),
        ("decide.threshold", 0.3, {"check", "decide", "model_card"}),
        ("cores", 1, set()),
    ],
)
def test_a_change_of_a_parameter_re_runs(
    repository: Repository, name: str, value: object, stages: set[str]
) -> None:
    with edited(repository.path / "params.yaml", ""):
        repository.edit({name: value})
        assert changed(repository) == stages
