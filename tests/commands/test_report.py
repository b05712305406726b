"""`python src report` between runs that Git and DVC hold; the runs are written by hand."""

import json
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from commands import report as command
from places import ROOT
from repository import Repository
from thaw.files.serialize import write_text
from written import restored, write_two


def report(repository: Repository, *words: str, code: int = 0) -> str:
    return repository.command("report", *words, code=code)


def row(text: str, name: str) -> list[str]:
    """The cells of the first row of that name, after the name."""
    found = re.search(rf"^\| {re.escape(name)} \| (.*) \|$", text, re.MULTILINE)
    assert found, f"no {name} in\n{text}"
    return found[1].split(" | ")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """`main`, an experiment `bolder` of other parameters, and a workspace like it."""
    repository = Repository(tmp_path_factory.mktemp("report"))
    write_two(repository)
    return repository


@pytest.fixture
def repository(made: Repository) -> Iterator[Repository]:
    with restored(made, "*.yaml", "metrics/*.json", "plots/*.csv", "data/predictions.csv"):
        yield made


def clone(repository: Repository, folder: Path, *outputs: str) -> Repository:
    """A fresh clone, without cache, after these outputs of `main` were pushed."""
    if outputs:
        repository.dvc("push", "--quiet", "--all-branches", *outputs)
    other = object.__new__(Repository)
    other.path, other.env = folder / "clone", repository.env
    repository.run("git", "clone", "--quiet", str(repository.path), str(other.path))
    return other


def test_the_workspace_beside_main(repository: Repository) -> None:
    text = report(repository)
    assert (repository.path / "report/report.md").read_text() == text
    assert "Missing" not in text
    assert "was not run since" not in text
    assert row(text, "`fine_tune_at`") == ["`8`", "`11`"]
    assert text.count("`11`") == 1
    accuracy = row(text, "accuracy")
    assert accuracy[0].startswith("0.7500 [")
    assert accuracy[1].startswith("0.9250 [")
    assert accuracy[2] == "+0.1750 better"
    assert accuracy[4] == "more than chance"
    assert row(text, "cross-entropy")[2].startswith("−")
    assert row(text, "cross-entropy")[2].endswith(" better")
    assert "8 went from wrong to right and 1 from right to wrong" in text
    head = text[text.index("### Head only") :]
    assert "Identical: both give every test picture the same probabilities." in head
    assert row(head, "accuracy")[2:] == ["0.0000 same", "–", "–"]
    assert len(row(text, "recall of `rusty iron`")) == 5
    assert text.index("### Right to wrong: 1") < text.index("### Wrong to right: 8")
    flip = ["`rusty iron`", "`rusty iron` 86.1%", "`moss` 93.9%"]
    assert row(text, "`rusty iron/39.png`") == flip
    for name in re.findall(r"!\[.*\]\((.*)\)", text):
        assert (repository.path / "report" / name).read_bytes().startswith(b"\x89PNG")
    assert {path.name for path in (repository.path / "report").iterdir()} == {
        "report.md",
        "learning_curves.png",
        "confusion_matrices.png",
        "right_to_wrong.png",
        "wrong_to_right.png",
        "flipped.csv",
    }
    assert "report" not in repository.run("git", "status", "--short")
    assert list(repository.path.glob(".part-*")) == []


def test_a_revision_beside_an_experiment_says_the_same(repository: Repository) -> None:
    def facts(text: str) -> list[str]:
        return [line for line in text.splitlines() if "chance" in line or "png" in line]

    workspace = report(repository)
    between = report(repository, "HEAD", "bolder")
    assert facts(between) == facts(workspace)
    back = report(repository, "bolder", "main")
    assert row(back, "accuracy")[2] == "−0.1750 worse"
    assert "### Right to wrong: 8" in back
    assert row(back, "`fine_tune_at`") == ["`11`", "`8`"]


def test_a_run_beside_itself(repository: Repository) -> None:
    for other in ("main", "HEAD"):
        text = report(repository, "main", other)
        assert text.endswith("\n\nIdentical: both names mean the same commit.\n")
        assert len(text.splitlines()) == 3
        assert [path.name for path in (repository.path / "report").iterdir()] == ["report.md"]


def put(repository: Repository, name: str, *replaced: tuple[str, str]) -> None:
    path = repository.path / name
    text = path.read_text()
    for old, new in replaced:
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)


def test_another_order_of_classes_and_another_positive_one(repository: Repository) -> None:
    """The report keeps each run's order, and compares no recall of different classes."""
    put(repository, "metrics/test.json", ('"positive": "rusty iron"', '"positive": "moss"'))
    text = report(repository)
    assert "are of `rusty iron` before and of `moss` after: they aren't compared." in text
    assert row(text, "recall")[2:] == ["–", "–", "–"]
    assert row(text, "accuracy")[2] == "+0.1750 better"
    cells = "rusty iron,rusty iron,3\nrusty iron,moss,1\nmoss,moss,4\n"
    found = command.matrix("After", command.confusion(f"actual,predicted,pictures\n{cells}"))
    assert found.classes == ["rusty iron", "moss"]
    assert found.counts.tolist() == [[3, 1], [0, 4]]


def test_where_nothing_was_fine_tuned_there_is_no_such_model(repository: Repository) -> None:
    put(repository, "metrics/test.json", ('"thawed": true', '"thawed": false'))
    text = report(repository)
    assert "### Fine-tuned before, the head's otherwise" in text
    assert "## Predictions of the result that changed" in text
    found = [{"thawed": False}] * 2
    assert command.titles(found) == {"head": "head only"}
    assert command.titles([{}, {}]) == {"head": "head only", "fine_tuned": "fine-tuned"}


def test_other_classes_are_not_compared(repository: Repository) -> None:
    put(repository, "metrics/test.json", ("moss", "cat"), ("40 pictures", "pets"))
    for name in ("data/predictions.csv", "plots/confusion_fine_tuned.csv"):
        put(repository, name, ("moss", "cat"))
    text = report(repository)
    assert (
        "The classes differ (`moss`, `rusty iron` before; `cat`, `rusty iron` after): these runs "
        "can't be compared, so there is no verdict."
    ) in text
    assert "chance" not in text
    assert "better" not in text
    assert "Not compared: the classes differ" in text


def test_what_was_not_pushed_is_said(repository: Repository, tmp_path: Path) -> None:
    other = clone(repository, tmp_path)
    text = report(other, "main")
    commit = repository.run("git", "rev-parse", "--short=7", "main").strip()
    assert (
        f"- Missing: `data/predictions.csv` of `main` ({commit}) is neither in the cache here nor "
        "on the remote; `dvc push` it where it was made, or `dvc repro` there.\n"
    ) in text
    assert "The predictions of one are missing: no paired test." in text
    assert row(text, "accuracy")[2:] == ["0.0000 same", "–", "can be chance"]
    assert (other.path / "report/confusion_matrices.png").exists()


def test_what_was_pushed_is_fetched_and_pictures_that_were_not_are_said(
    repository: Repository, tmp_path: Path
) -> None:
    other = clone(repository, tmp_path, "data/predictions.csv")
    name = "data/predictions.csv"
    (other.path / name).write_bytes((repository.path / name).read_bytes())
    text = report(other)
    assert "### Wrong to right: 8" in text
    assert "8 of 8 pictures to show are neither in the cache here nor on the remote" in text
    assert "right_to_wrong.png" not in text
    repository.dvc("push", "--quiet", "data/dataset")
    text = report(other)
    assert "Missing" not in text
    assert (other.path / "report/right_to_wrong.png").exists()


def test_other_test_pictures_are_not_compared(repository: Repository) -> None:
    path = repository.path / "data/predictions.csv"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-2]))
    put(repository, "metrics/test.json", ("40 pictures", "38 pictures"))
    text = report(repository)
    differ = "The test pictures differ (40 before, 38 after, 38 of the same name and class)"
    assert f"{differ}: these runs can't be compared, so there is no verdict." in text
    assert "Not compared: the test pictures differ" in text
    assert "McNemar" not in text
    assert "chance" not in text
    assert len(row(text, "accuracy")) == 2


def test_parameters_that_were_not_run_are_said(repository: Repository) -> None:
    repository.edit({"head.epochs": 7})
    text = report(repository)
    assert "`workspace` was not run since these changed: `head`, `head.epochs`." in text


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["nonsense"], "error: nonsense is no Git revision and no DVC experiment here; give one"),
        (["main", "nonsense"], "error: nonsense is no Git revision"),
        (["--option"], "error: --option: there is no such option; `python src report --help`"),
    ],
)
def test_a_wrong_name_is_a_sentence_and_the_last_report_stays(
    repository: Repository, words: list[str], sentence: str
) -> None:
    write_text(repository.path / "report/report.md", "kept")
    printed = report(repository, *words, code=1)
    assert sentence in printed
    assert "Traceback" not in printed
    assert (repository.path / "report/report.md").read_text() == "kept"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("metrics/test.json", "{"),
        ("metrics/test.json", "<<<<<<< HEAD\n"),
        ("metrics/test.json", "[1]"),
        ("plots/model.csv", "epoch\n3\n"),
        ("plots/confusion_fine_tuned.csv", "moss\nmoss\n"),
    ],
)
def test_a_file_that_is_broken_is_a_sentence(
    repository: Repository, name: str, content: str
) -> None:
    (repository.path / name).write_text(content)
    printed = report(repository, code=1)
    assert f"error: {name} of workspace is not what the stages write; `dvc repro` there" in printed
    assert "Traceback" not in printed


@pytest.mark.parametrize("name", ["dvc.yaml", "params.yaml"])
def test_a_pipeline_that_is_broken_is_a_sentence(repository: Repository, name: str) -> None:
    (repository.path / name).write_text("stages: [\n")
    printed = report(repository, code=1)
    assert printed.startswith("error: workspace: ")
    assert name in printed
    assert printed.endswith("; mend it there\n")
    assert "Traceback" not in printed


def test_elsewhere_is_a_sentence(repository: Repository, tmp_path: Path) -> None:
    script = str(repository.path / "src")
    away = object.__new__(Repository)
    away.path, away.env = tmp_path, repository.env
    shutil.copy(repository.path / "dvc.yaml", tmp_path)
    printed = away.python(script, "report", code=1)
    assert printed.startswith("error: ")
    assert printed.endswith("; clone the repository with Git\n")
    assert len(printed.splitlines()) == 1


def test_a_run_without_results_is_said(repository: Repository) -> None:
    first = repository.run("git", "rev-list", "--max-parents=0", "main").strip()
    text = report(repository, first, "main")
    assert "has no `metrics/test.json`; `dvc repro` there and commit what it writes." in text
    assert "Not drawn: one of them is missing." in text
    assert row(text, "accuracy")[0] == "–"
    assert json.loads((repository.path / "metrics/evaluation.json").read_text())


def test_the_commands_of_continuous_integration(repository: Repository, tmp_path: Path) -> None:
    """`dvc pull` and `make report` as the workflows have them, in a fresh clone."""
    other = clone(repository, tmp_path, "data/predictions.csv", "data/dataset")
    other.dvc("pull", "--allow-missing", "--run-cache")
    assert (other.path / "data/predictions.csv").exists()
    shutil.copy(ROOT / "Makefile", other.path)
    write_text(other.path / "tools/venv.sh", "exit 0\n")
    other.edit({"seed": 3})
    text = other.run("make", "report", "BASE=origin/main", f"BIN={Path(sys.executable).parent}")
    assert text.startswith("# From `origin/main` (")
    assert row(text, "`seed`") == ["`1`", "`3`"]
    assert (other.path / "report/report.md").read_text() == text
