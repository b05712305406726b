"""`keeping`: what people put where stages write is never lost."""

import shutil
import subprocess
from pathlib import Path

import pytest
from dvc.repo import Repo

import keeping
from commands import undo
from thaw.core.errors import ThawError

PIPELINE = """\
stages:
  download:
    cmd: mkdir -p data/dataset/images && echo a > data/dataset/images/a && echo b > data/dataset/b
    deps: [params.yaml]
    outs: [data/dataset]
  fine_tune:
    cmd: mkdir -p models && cp params.yaml models/model.onnx
    deps: [params.yaml]
    outs: [models/model.onnx]
  model_card:
    cmd: cp params.yaml models/model_card.md
    deps: [params.yaml]
    outs:
      - models/model_card.md: {cache: false}
"""


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small pipeline that ran, committed."""
    folder = tmp_path_factory.mktemp("small") / "repository"
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch=main")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        Repo.init().close()
        Path("dvc.yaml").write_text(PIPELINE)
        Path("params.yaml").write_text("seed: 1\n")
        with Repo() as repo:
            repo.reproduce()
        for name in ("folds", "robustness"):
            Path(name).mkdir()
            Path(name, "found.csv").write_text("of seed 1\n")
    git(folder, "add", "--all")
    git(folder, "-c", "user.name=A", "-c", "user.email=a@b", "commit", "--quiet", "-m", "Run")
    return folder


@pytest.fixture
def here(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "copy"
    shutil.copytree(template, folder, symlinks=True)
    monkeypatch.chdir(folder)
    return folder


def git(folder: Path, *words: str) -> None:
    subprocess.run(["git", *words], cwd=folder, check=True)


def moved() -> dict[str, str]:
    """What lies in `kept/`, by its place before."""
    return {
        Path(*path.relative_to(keeping.KEPT).parts[1:]).as_posix(): path.read_text()
        for path in keeping.KEPT.rglob("*")
        if path.is_file()
    }


@pytest.mark.usefixtures("here")
def test_what_stages_wrote_stays() -> None:
    keeping.protect()
    assert moved() == {}


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    "path",
    ["data/dataset/b", "data/dataset/images/new", "models/model.onnx", "models/model_card.md"],
)
def test_what_a_person_changed_is_moved_aside_and_named(path: str) -> None:
    Path(path).write_text("mine")
    with pytest.raises(ThawError, match=rf"\({path}\); it is in kept/[-\d]+/ now") as told:
        keeping.protect()
    assert ("add pictures and mend labels where `source` points" in str(told.value)) == (
        path.startswith("data/dataset")
    )
    assert moved() == {path: "mine"}
    assert not Path(path).exists()
    keeping.protect()  # and the next run goes on


@pytest.mark.usefixtures("here")
def test_all_of_it_where_dvc_lost_what_it_recorded() -> None:
    shutil.rmtree(".dvc/cache")
    shutil.rmtree("data/dataset")
    Path("data/dataset/cats").mkdir(parents=True)
    Path("data/dataset/cats/1.png").write_text("mine")
    with pytest.raises(ThawError, match=r"data/dataset/cats/1\.png"):
        keeping.protect()
    assert moved() == {"data/dataset/cats/1.png": "mine"}


@pytest.mark.usefixtures("here")
def test_results_of_another_commit_stay() -> None:
    """Whatever DVC's cache or Git can bring back, as after `git checkout` of another branch."""
    for folder, name in (("data/dataset", "b"), ("models", "model.onnx")):
        Path(folder, name).write_text("another run's")
    with Repo() as repo:
        repo.commit(force=True)
    git(Path(), "checkout", "--quiet", "dvc.lock")
    keeping.protect()
    assert moved() == {}


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("killed", [True, False])
def test_what_a_stage_left_that_was_stopped_stays(killed: bool) -> None:
    keeping.workspace.UNFINISHED.mkdir(parents=True)
    (keeping.workspace.UNFINISHED / "fine_tune.lock").touch()
    keeping.forget("fine_tune")
    Path("models/model.onnx").write_text("half of it")
    if not killed:
        keeping.note("fine_tune")
    keeping.protect()
    Path("data/dataset/new").write_text("mine")
    if not killed:
        Path("models/model.onnx").write_text("by hand, later")
    with pytest.raises(ThawError, match="data/dataset/new"):
        keeping.protect()
    assert set(moved()) == {"data/dataset/new", *([] if killed else ["models/model.onnx"])}


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (
            "data/dataset",
            r"lies where stage `download` writes \(data/dataset\).*`mv data/dataset m",
        ),
        ("data/dataset/images", "lies where stage `download` writes"),
        ("data/../data/dataset", "lies where stage `download` writes"),
        ("models/model.onnx", "lies where stage `fine_tune` writes"),
        ("data", "holds data/dataset, which stage `download` writes"),
        (".", "holds data/dataset"),
        ("link", "lies where"),
    ],
)
def test_a_source_in_an_output_is_refused(value: str, sentence: str) -> None:
    Path("link").symlink_to("data/dataset")
    with pytest.raises(ThawError, match=rf"^params\.yaml: source: {value} {sentence}"):
        keeping.refuse_inside(value, Path(value), "params.yaml: source")
    Path("data/raw").mkdir()
    keeping.refuse_inside("data/raw", Path("data/raw"), "params.yaml: source")


def test_undo_brings_all_back_and_loses_nothing(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A digit changed within the second of the last commit, which `git diff` doesn't see."""
    Path("params.yaml").write_text("seed: 2\n")
    status = Path("params.yaml").stat()
    git(here, "update-index", "--assume-unchanged", "params.yaml")
    Path("models/model_card.md").write_text("mine")
    Path("models/model.onnx").unlink()
    Path("src.py").write_text("code")
    Path("folds/found.csv").write_text("of seed 2\n")
    Path("robustness/found.csv").unlink()
    undo.main()
    assert status.st_size == Path("params.yaml").stat().st_size
    assert Path("params.yaml").read_text() == "seed: 1\n"
    assert Path("models/model.onnx").read_text() == "seed: 1\n"
    assert Path("models/model_card.md").read_text() == "seed: 1\n"
    assert Path("src.py").read_text() == "code"
    for name in ("folds", "robustness"):
        assert Path(name, "found.csv").read_text() == "of seed 1\n"
    assert moved() == {
        "params.yaml": "seed: 2\n",
        "models/model_card.md": "mine",
        "folds/found.csv": "of seed 2\n",
    }
    said = capsys.readouterr().out
    assert "params.yaml and all results are as last committed" in said
    assert "  folds/found.csv\n  models/model_card.md\n  params.yaml\n" in said


@pytest.mark.usefixtures("here")
def test_undo_says_what_cannot_be_brought_back() -> None:
    shutil.rmtree(".dvc/cache")
    Path("models/model.onnx").unlink()
    with pytest.raises(
        ThawError, match=r"lacks some results of then: models/model\.onnx.*dvc pull"
    ):
        undo.main()
    assert Path("data/dataset/b").read_text() == "b\n"  # which DVC's own checkout would remove


def test_undo_without_git_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(ThawError, match="Git can't tell what was committed"):
        undo.main()
