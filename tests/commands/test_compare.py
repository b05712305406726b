"""`python src compare`: experiments that were written by hand, side by side."""

import csv
import io
import json
from collections.abc import Iterator
from unittest import mock

import pytest

from repository import Repository
from thaw.evaluation.record import Comparison
from thaw.review import comparing
from thaw.review.revisions import Revision
from written import restored, write_run, write_two


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    repository = Repository(tmp_path_factory.mktemp("compare"))
    write_two(repository)
    return repository


@pytest.fixture
def repository(made: Repository) -> Iterator[Repository]:
    with restored(made, "*.yaml", "metrics/*.json", "data/predictions.csv"):
        yield made


def compare(repository: Repository, *words: str, code: int = 0) -> str:
    return repository.command("compare", *words, code=code)


def test_the_workspace_and_every_experiment_beside_their_commit(repository: Repository) -> None:
    lines = compare(repository).splitlines()
    assert all(len(line) <= 100 for line in lines)
    assert lines[2].split() == ["HEAD", "(the", "base)", *["90.0", "75.0"] * 2, "–"]
    for name, line in zip(("workspace", "bolder"), lines[3:], strict=True):
        assert line.split()[:7] == [name, "fine_tune_at:", "11", *["90.0", "92.5"] * 2]
        assert "+17.5 [+" in line
        assert line.endswith("] better")


def test_a_program_reads_the_same(repository: Repository) -> None:
    base, workspace, bolder = csv.DictReader(io.StringIO(compare(repository, "--csv")))
    assert (base["experiment"], base["difference"]) == ("HEAD", "")
    assert (workspace["experiment"], bolder["experiment"]) == ("workspace", "bolder")
    assert float(bolder["test_fine_tuned"]) == 0.925
    assert float(bolder["difference"]) == pytest.approx(0.175)
    assert float(bolder["low"]) < 0.175 < float(bolder["high"])
    assert float(bolder["p_value"]) < 0.05
    table = compare(repository, "--md", "bolder").splitlines()
    assert table[0].startswith("| experiment | changed | validation, head only |")
    assert len(table) == 4
    assert table[3].startswith("| `bolder` | `fine_tune_at: 11` | 90.0 | 92.5 |")


def test_what_was_not_run_since_has_no_figures(repository: Repository) -> None:
    repository.edit({"batch_size": 16})
    first, second, *_ = compare(repository, "workspace").splitlines()[3:]
    assert first.split()[:4] == ["workspace", "fine_tune_at:", "11", "–"]
    assert "not run since batch_size" in first
    assert second.split()[:2] == ["batch_size:", "16"]


def test_of_other_test_pictures_those_that_both_have_are_compared(repository: Repository) -> None:
    write_run(repository, wrong={1}, pictures=30)
    assert "of 30 that both have" in " ".join(compare(repository, "workspace").split())


def test_what_can_not_be_compared_says_why(repository: Repository) -> None:
    path = repository.path / "metrics/test.json"
    path.write_text(path.read_text().replace("40 pictures", "pets"))
    repository.edit({"dataset": "pets"})
    with mock.patch.object(Revision, "stale", return_value=[]):
        line = compare(repository, "workspace").splitlines()[3]
        assert line.endswith("another dataset")
        path = repository.path / "data/predictions.csv"
        path.write_text(path.read_text().replace("moss", "cat"))
        assert "other classes" in compare(repository, "workspace")


def test_the_same_run_twice_is_identical(repository: Repository) -> None:
    line = compare(repository, "bolder", "--base", "bolder").splitlines()[3]
    assert line.split() == ["bolder", *["90.0", "92.5"] * 2, "identical"]
    (row,) = list(csv.DictReader(io.StringIO(compare(repository, "main", "--csv"))))[1:]
    assert (float(row["difference"]), row["note"]) == (0, "identical")


def test_where_nothing_was_fine_tuned_the_head_stands_alone(repository: Repository) -> None:
    path = repository.path / "metrics/test.json"
    path.write_text(path.read_text().replace('"thawed": true', '"thawed": false'))
    lines = compare(repository, "workspace").splitlines()
    assert "result on test," in lines[0]
    assert lines[3].split()[3:7] == ["90.0", "–", "90.0", "–"]
    assert "+17.5 [+" in lines[3]  # of what both result in


def test_a_run_of_the_layout_before_shows_its_test_pictures(repository: Repository) -> None:
    path = repository.path / "metrics/evaluation.json"
    path.write_text(json.dumps(json.loads(path.read_text())["test"] | {"fine_tuning": {}}))
    line = compare(repository, "workspace").splitlines()[3]
    assert line.split()[3:7] == ["–", "–", "90.0", "92.5"]


def test_mistakes_are_sentences(repository: Repository) -> None:
    for words in (["bald"], ["--base", "bald"], ["--base", "bald", "bolder"]):
        told = compare(repository, *words, code=1)
        assert told.startswith("error: bald is no Git revision and no DVC experiment here; give")


def test_nothing_to_compare_says_what_to_do(repository: Repository) -> None:
    told = compare(repository, "--base", "bolder", "workspace")
    assert "nothing to compare `bolder` with; `dvc exp run -S fine_tune_at=120` makes" in told


def test_long_names_and_many_changes_stay_within_the_terminal() -> None:
    accuracy = {part: dict.fromkeys(("head", "fine_tuned"), 1.0) for part in comparing.PARTS}
    changed = [f"a.long.group.of.parameters.{n}: {'word ' * 20}" for n in range(3)]
    worse = Comparison(10, 200, 0.001, -0.28963, -0.28963, -0.28963)
    row = comparing.Row("an-experiment-with-a-name-of-many-words" * 2, changed, accuracy, worse)
    lines = comparing.text([row]).splitlines()
    assert max(map(len, lines)) <= 100
    assert "−29.0 [−29.0, −29.0] worse" in lines[2]
    whole = "".join("".join(line.split()) for line in lines)
    assert whole.count("word") == 62  # two in the name
