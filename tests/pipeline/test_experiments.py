"""Experiments of DVC's: alone, compared, and queued, two at once."""

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from repository import CHANGES, Finished, Repository, ran, results

pytestmark = pytest.mark.timeout(900)
ENVIRONMENT = "metrics/environment.json"


@pytest.fixture(scope="module")
def repository(finished: Finished, tmp_path_factory: pytest.TempPathFactory) -> Repository:
    return finished.repository.copy(tmp_path_factory.mktemp("experiments"))


@pytest.fixture(scope="module")
def experiment(repository: Repository) -> Iterator[str]:
    output = repository.dvc("exp", "run", "--name", "thaw-less", "-S", "fine_tune_at=11")
    yield output
    repository.restore()


def test_an_experiment_runs_fine_tuning_and_evaluation_alone(experiment: str) -> None:
    assert ran(experiment) == ["check", "fine_tune", "decide", "evaluate", "model_card"]


@pytest.mark.usefixtures("experiment")
class TestAfterAnExperiment:
    def test_params_diff(self, repository: Repository) -> None:
        assert repository.dvc_json("params", "diff") == {
            "params.yaml": {"fine_tune_at": {"old": 8, "new": 11, "diff": 3}}
        }
        assert "fine_tune_at" in repository.dvc("params", "diff", "main", "--md")

    def test_metrics_diff(self, repository: Repository) -> None:
        (changed,) = repository.dvc_json("metrics", "diff", "--all").items()
        assert changed[0] == "metrics/evaluation.json"
        assert "test.fine_tuned.loss" in changed[1]
        printed = repository.dvc("metrics", "diff", "main", "--all", "--md")
        table = [line for line in printed.splitlines() if " positive " not in line]  # a class
        (first,) = (line for line in table if "test.fine_tuned.accuracy" in line)
        assert table.index(first) == 2  # after the names of the columns and a line

    def test_exp_show(self, repository: Repository) -> None:
        rows = repository.dvc_json("exp", "show")
        (shown,) = [
            row["revs"][0]
            for entry in rows
            for row in entry.get("experiments") or []
            if row["name"] == "thaw-less"
        ]
        assert shown["data"]["params"]["params.yaml"]["data"]["fine_tune_at"] == 11
        assert "fine_tuned" in shown["data"]["metrics"]["metrics/evaluation.json"]["data"]["test"]
        assert "thaw-less" in repository.dvc("exp", "show", "--md")

    @pytest.mark.parametrize("command", ["show", "diff"])
    def test_plots(self, repository: Repository, command: str, tmp_path: Path) -> None:
        revisions = ["main", "workspace"] if command == "diff" else []
        repository.dvc("plots", command, *revisions, "--out", str(tmp_path))
        page = (tmp_path / "index.html").read_text()
        for name in (
            "Accuracy by epoch",
            "Loss by epoch",
            "ROC of the test pictures",
            "Precision and recall of the test pictures",
            "Confusion of the test pictures",
        ):
            assert name in page
        for name in ("confusion.png", "learning_curves.png", "samples.png"):
            assert name in page
        for name in ("validation_accuracy", "fpr", "predicted"):
            assert name in page


@pytest.fixture(scope="module")
def queue(finished: Finished, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Repository]:
    """With a cache of its own, so that nothing is taken from experiments that ran before."""
    repository = finished.repository.copy(tmp_path_factory.mktemp("queue"))
    yield repository
    repository.dvc("queue", "stop", "--kill")


def test_experiments_at_once_run_to_success_and_are_those_of_each_alone(
    repository: Repository, experiment: str, queue: Repository
) -> None:
    """The first two fine-tune and evaluate at the same time, and nothing else."""
    queue.dvc("exp", "run", "--queue", "--name", "faster", "-S", "fine_tune.learning_rate=0.01")
    queue.dvc("exp", "run", "--queue", "-S", "fine_tune_at=11,null")
    assert len(queued(queue, "Queued")) == 3
    queue.dvc("queue", "start", "--jobs", "2")
    assert "fine_tune" in ran(experiment)
    repository.restore()
    repository.dvc("exp", "run", "--name", "faster", "-S", "fine_tune.learning_rate=0.01")
    repository.restore()
    deadline = time.monotonic() + 600
    while len(queued(queue, "Success")) < 3:
        assert queued(queue, "Failed") == []
        assert time.monotonic() < deadline, queue.dvc("queue", "status")
        time.sleep(10)
    at_once, alone = committed(queue), committed(repository)
    assert set(at_once) == {*alone, "null"}
    processors = {each["environment"] for each in (*at_once.values(), *alone.values())}
    assert len(processors) == 1, "the processor changed under the test; run it again"
    for name, lock in alone.items():
        assert results(at_once[name]["lock"]) == results(lock["lock"]), name
    assert len({each["lock"] for each in at_once.values()}) == 3
    (shallow, none) = (json.loads(at_once[at]["model"]) for at in ("11", "null"))
    assert shallow["epochs"] == CHANGES["fine_tune.epochs"]
    assert shallow["trainable_parameters"] > none["trainable_parameters"]
    assert none["epochs"] == 0
    assert queue.run("git", "status", "--porcelain") == ""


def committed(repository: Repository) -> dict[str, dict[str, str]]:
    """What experiments committed, by their `fine_tune_at`, or `faster` where it is the usual."""
    found = {}
    for commit in repository.run(
        "git", "for-each-ref", "--format=%(objectname)", "refs/exps/*/*/*"
    ).split():
        params, lock, model, environment = (
            repository.run("git", "show", f"{commit}:{name}")
            for name in ("params.yaml", "dvc.lock", "metrics/model.json", ENVIRONMENT)
        )
        at = json.dumps(yaml.safe_load(params)["fine_tune_at"])
        found["faster" if at == "8" else at] = {
            "lock": lock,
            "model": model,
            "environment": environment,
        }
    return found


def queued(repository: Repository, status: str) -> list[str]:
    table = repository.dvc("queue", "status")
    return [line for line in table.splitlines() if re.search(rf"\b{status}\b", line)]


def test_a_sweep_runs_each_combination_tells_of_a_failure_and_goes_on(
    repository: Repository,
) -> None:
    """Of 60 pictures 1 % are too few to train on, which stage `split` finds out."""
    words = ("split.held_out=0.7,0.99", "decide.threshold=0.3", "--name", "s")
    told = repository.command("sweep", *words, code=1)
    assert "2 runs: split.held_out; logs in sweep/" in told
    assert "[2/2] s-held_out-0.99: failed: " in told
    assert "1 of 2 runs failed" in told
    assert "s-held_out-0.7" in repository.dvc("exp", "list", "--name-only").split()
    again = repository.command("sweep", *words, code=1)
    assert "1 of 2 were run before" in again
    rows = [line.split() for line in again.splitlines() if line.startswith("split.held_out=")]
    assert [row[1] for row in rows] == ["1", "0,"]
    assert "\nAll with decide.threshold=0.3.\n" in again
    assert repository.run("git", "status", "--porcelain", "params.yaml") == ""
