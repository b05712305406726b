"""`python src report` between runs that Git and DVC hold; the runs are written by hand."""

import hashlib
import json
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from PIL import Image

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


@pytest.fixture(autouse=True)
def undrawn(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes seconds: one test looks at what is drawn."""
    if request.node.name != test_the_workspace_beside_main.__name__:
        monkeypatch.setattr(Figure, "savefig", lambda _, path, **__: path.write_bytes(b"\x89PNG"))


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
    printed = report(repository)
    text, last = printed.rsplit("\n\n", 1)
    assert last == "report/report.md\n"
    assert (repository.path / "report/report.md").read_text() == f"{text}\n"
    commit = repository.run("git", "rev-parse", "--short=7", "main").strip()
    assert text.splitlines()[0] == (
        f"**Better**: `main` ({commit} with changes) has an accuracy of 0.925, `main` ({commit}) "
        "of 0.750: of 40 test pictures, 8 are right now that were wrong and 1 are wrong that were "
        "right, more than chance (p = 0.021)."
    )
    assert "Missing" not in text
    assert "was not run since" not in text
    assert row(text, "`fine_tune_at`") == ["`8`", "`11`"]
    assert text.count("`11`") == 1
    assert "Code: the same." in text
    assert "Pictures: the same 40." in text
    accuracy = row(text, "accuracy")
    assert accuracy[:3] == ["0.750", "0.925", "+0.175"]
    assert accuracy[4] == "▲ better"
    assert row(text, "cross-entropy")[2].startswith("−")
    assert row(text, "cross-entropy")[4] == "≈ chance"
    assert "average precision are of `rusty iron`" in text
    assert row(text, "`moss`")[4] == "4 mended, 0 broken"
    assert row(text, "`rusty iron`")[4] == "4 mended, 1 broken"
    assert text.index("### Right to wrong: 1") < text.index("### Wrong to right: 8")
    flip = ["`rusty iron`", "`rusty iron` 0.861", "`moss` 0.939"]
    assert row(text, "`rusty iron/39.png`") == flip
    for name in re.findall(r"!\[.*\]\((.*)\)", text):
        path = repository.path / "report" / name
        assert path.read_bytes().startswith(b"\x89PNG")
        with Image.open(path) as image:
            assert image.size[0] <= 1000
    assert {path.name for path in (repository.path / "report").iterdir()} == {
        "report.md",
        "learning_curves.png",
        "confusion_matrices.png",
        "reliability.png",
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
    assert facts(between)[1:] == facts(workspace)[1:]
    back = report(repository, "bolder", "main")
    assert back.startswith("**Worse**: `main` (")
    assert row(back, "accuracy")[2:5:2] == ["−0.175", "▼ worse"]
    assert "### Right to wrong: 8" in back
    assert row(back, "`fine_tune_at`") == ["`11`", "`8`"]


def test_robustness_is_of_this_runs_model_or_said_not_to_be(repository: Repository) -> None:
    stale = "Not measured for this run's model: `make robustness`."
    assert stale in report(repository)
    path = repository.path / "robustness/robustness.json"
    kept = path.read_bytes()
    model = (repository.path / "models/model.onnx").read_bytes()
    facts = json.loads(kept) | {"model": hashlib.md5(model).hexdigest()}
    path.write_text(json.dumps(facts))
    text = report(repository)
    path.write_bytes(kept)
    assert stale not in text
    assert "## Robustness\n\nOn " in text


def test_a_run_beside_itself(repository: Repository) -> None:
    for other in ("main", "HEAD"):
        text = report(repository, "main", other)
        assert text.startswith("**Identical**: `main` (")
        assert text.endswith(": both names mean the same commit.\n\nreport/report.md\n")
        assert [path.name for path in (repository.path / "report").iterdir()] == ["report.md"]


def test_pictures_are_not_shown_where_they_must_stay(repository: Repository) -> None:
    text = report(repository, "--pictures", "no")
    assert "wrong_to_right.png" not in text
    assert not (repository.path / "report/wrong_to_right.png").exists()
    assert "### Wrong to right: 8" in text
    assert (repository.path / "report/learning_curves.png").exists()


def test_any_number_of_runs_side_by_side(repository: Repository) -> None:
    text = report(repository, "main", "bolder", "workspace", "main~0")
    assert text.startswith("**Better**: `bolder` (")
    lines = [line for line in text.splitlines() if line.startswith("| [")]
    assert [line.split(" | ")[1] for line in lines] == ["0.925", "0.925", "0.750"]
    assert [line.split(" | ")[-1] for line in lines] == ["▲ better |", "▲ better |", "= same |"]
    assert "`fine_tune_at: 11`" in text
    for link in re.findall(r"\]\((.*?/report\.md)\)", text):
        alone = (repository.path / "report" / link).read_text()
        assert alone.splitlines()[0].lstrip("*").startswith(("Better", "Identical"))


def test_what_main_gained_since_is_not_the_runs_loss(
    repository: Repository, tmp_path: Path
) -> None:
    branched = repository.copy(tmp_path)
    branched.run("git", "checkout", "--quiet", "-b", "mine")
    branched.run("git", "commit", "--quiet", "--all", "--message", "Mine")
    whole = report(branched, "main")
    for number in range(2):
        tree = branched.run("git", "rev-parse", "main^{tree}").strip()
        made = branched.run("git", "commit-tree", tree, "-p", "main", "-m", f"{number}").strip()
        branched.run("git", "branch", "--force", "main", made)
    text = report(branched, "main")
    assert "where it branched off) of 0.750" in text.splitlines()[0]
    assert "`mine` (" in text.splitlines()[0]
    assert "- `main` went on by 2 commits since; they don't count here." in text
    assert row(text, "accuracy") == row(whole, "accuracy")
    assert "**Worse**" in report(branched, "mine", "main~2").splitlines()[0]


def test_a_corrected_label_and_a_new_picture_keep_the_paired_test(repository: Repository) -> None:
    """Contents are known from DVC, by the names of the pictures."""
    put(repository, "metrics/test.json", ("40 pictures", "41 pictures"))
    put(repository, "data/predictions.csv", ("moss/0.png,moss", "moss/0.png,rusty iron"))
    path = repository.path / "data/predictions.csv"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*lines[:-1], lines[-1].replace("39.png", "new.png")]))
    text = report(repository)
    assert text.startswith("**Better**: ")
    assert "of 39 test pictures, 8 are right now" in text.splitlines()[0]
    differ = "- The test pictures differ (40 before, 40 after): all figures are of the 39 that both"
    assert f"{differ} have." in text
    assert "- 1 of them has another label now, by which both are judged." in text


def test_the_trend_along_main(repository: Repository, tmp_path: Path) -> None:
    other = repository.copy(tmp_path)
    assert "Along" not in report(other)  # one commit is no trend
    other.run("git", "commit", "--quiet", "--message", "Again", "metrics")
    assert "## Along `main`\n\n![Trend](trend.png)" in report(other)


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
    assert row(text, "accuracy")[4] == "▲ better"
    cells = "rusty iron,rusty iron,3\nrusty iron,moss,1\nmoss,moss,4\n"
    found = command.matrix("After", command.confusion(f"actual,predicted,pictures\n{cells}"))
    assert found.classes == ["rusty iron", "moss"]
    assert found.counts.tolist() == [[3, 1], [0, 4]]


def test_where_nothing_was_fine_tuned_there_is_no_such_model(repository: Repository) -> None:
    put(repository, "metrics/test.json", ('"thawed": true', '"thawed": false'))
    assert "## Test pictures, by the result" in report(repository)


def test_other_classes_are_not_compared(repository: Repository) -> None:
    put(repository, "metrics/test.json", ("moss", "cat"), ("40 pictures", "pets"))
    for name in ("data/predictions.csv", "plots/confusion_fine_tuned.csv"):
        put(repository, name, ("moss", "cat"))
    text = report(repository)
    assert text.startswith(
        "**No verdict**: the classes differ (`moss`, `rusty iron` before; `cat`, `rusty iron` "
        "after). This is `main` ("
    )
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
    assert text.startswith("**No verdict**: the predictions of one are missing, so that no paired")
    assert row(text, "accuracy")[2:] == ["0.000", "–", "= same"]
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
    path.write_text(path.read_text().replace(".png", ".jpg"))
    put(repository, "metrics/test.json", ("40 pictures", "38 pictures"))
    text = report(repository)
    differ = "no test picture is in both (40 before, 40 after)"
    assert text.startswith(f"**No verdict**: {differ}. This is `main` (")
    assert f"Not compared: {differ}" in text
    assert "chance" not in text
    assert len(row(text, "accuracy")) == 2


def test_parameters_that_were_not_run_are_said(repository: Repository) -> None:
    repository.edit({"head.epochs": 7})
    text = report(repository)
    assert " with changes) was not run since these changed: `head`, `head.epochs`." in text


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
    assert "`origin/main` (" in text.splitlines()[0]
    assert row(text, "`seed`") == ["`1`", "`3`"]
    assert text.endswith("\n\nreport/report.md\n")
