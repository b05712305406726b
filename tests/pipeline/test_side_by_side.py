"""Whole runs on the nodes of a Ray cluster: real processes of Ray on this machine."""

import functools
import os
import re
import shlex
import signal
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

import nodes as nodes_here
import warm
from nodes import STORE, gone
from repository import Finished, Repository, results
from thaw.core import cluster, engines, places
from thaw.core.errors import ThawError

pytestmark = pytest.mark.timeout(900)
CORES = 2  # of each node, and of each run
NODE = {"num_cpus": CORES, "object_store_memory": STORE}
until = functools.partial(nodes_here.until, seconds=120)


@pytest.fixture(scope="module")
def nodes() -> Iterator[Any]:
    """Two, and this process as their driver; with fewer missed looks, a busy machine loses some."""
    with (
        nodes_here.running([CORES, CORES], missed=5, answer=2000) as (made, _),
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(engines, "_engine", "ray")
        cluster.connect()
        yield made


class Two:
    """Two runs that fill the cluster, each a command that begins another and waits."""

    def __init__(self, folder: Path, where: places.Places) -> None:
        self.ended: list[Future[places.Ended]] = []
        self._folder = folder
        self._pool = ThreadPoolExecutor(2)
        for number in range(2):
            note = shlex.quote(str(folder / f"{number}.pids"))
            words = ["sh", "-c", f"sleep 100 & echo $$ $! ${places.CORES} > {note}; wait"]
            log = folder / f"{number}.log"
            self.ended.append(self._pool.submit(where.run, lambda given=words: given, log))
        until(lambda: all(len(each) == 3 for each in map(self.noted, range(2))))

    def noted(self, number: int) -> list[int]:
        """The numbers of both processes, and the cores that the run is told to use."""
        path = self._folder / f"{number}.pids"
        return [int(each) for each in path.read_text().split()] if path.exists() else []


@pytest.mark.parametrize("what", ["command", "keeper", "node"])
def test_a_run_that_is_killed_is_told_and_the_other_goes_on(
    nodes: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.chdir(tmp_path)
    if what == "node" and len(nodes.worker_nodes) < 1:
        nodes.add_node(**NODE)
    where = places.find(None, CORES)
    assert str(where) == f"2 at a time, {CORES} cores each, on a Ray cluster of 2 nodes"
    two = Two(tmp_path, where)
    try:
        assert [two.noted(number)[2] for number in range(2)] == [CORES, CORES]
        if what == "command":
            os.kill(two.noted(0)[0], signal.SIGKILL)
        elif what == "keeper":
            *_, keeper = (
                each
                for each in psutil.Process(two.noted(0)[0]).parents()
                if "Keeper" in "".join(each.cmdline())
            )
            keeper.kill()
        else:
            (node,) = nodes.worker_nodes
            nodes.remove_node(node, allow_graceful=False)
        until(lambda: any(each.done() for each in two.ended))
        (killed,) = (n for n, each in enumerate(two.ended) if each.done())
        assert two.ended[killed].result().code < 0
        until(lambda: all(map(gone, two.noted(killed)[:2])))
        assert not any(map(gone, two.noted(1 - killed)[:2]))
    finally:
        where.close()
    assert two.ended[1 - killed].result(120).code < 0
    until(lambda: all(map(gone, two.noted(1 - killed)[:2])))
    if what == "node":
        nodes.add_node(**NODE)


@pytest.mark.usefixtures("nodes")
def test_a_node_that_does_not_see_the_folder_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    where = places.find(None, CORES)
    with pytest.raises(ThawError, match=rf"node \S+ doesn't see {tmp_path}; every node needs"):
        where.run(lambda: ["true"], tmp_path / "missing/run.log")


def found(repository: Repository) -> dict[str, dict[str, str]]:
    """The hashes of the outputs of each experiment, by its name."""
    lines = repository.run("git", "for-each-ref", "--format=%(objectname) %(refname)", "refs/exps")
    made = {}
    for line in lines.splitlines():
        commit, name = line.split()
        made[name.rpartition("/")[2]] = results(repository.run("git", "show", f"{commit}:dvc.lock"))
    return made


@pytest.mark.usefixtures("nodes")
def test_a_sweep_gives_the_same_bytes_as_here(finished: Finished, tmp_path: Path) -> None:
    here, there = (finished.repository.copy(tmp_path / name) for name in ("here", "there"))
    there.edit({"engine": "ray"})
    told = {}
    for each, seeds in ((there, "seed=2,3"), (here, "seed=2")):
        each.env = warm.environment(each.env | {cluster.ADDRESS: os.environ[cluster.ADDRESS]})
        told[each] = each.command("sweep", seeds, "fine_tune_at=null")
        assert list(each.path.glob(".dvc/tmp/exps/standalone/*")) == []
    assert "runs 2 at a time, 2 cores each, on a Ray cluster of 2 nodes" in told[there]
    assert len(re.findall(r"^\[\d/2\] sweep-seed-[23] on \S+: ", told[there], re.MULTILINE)) == 2
    assert "runs one at a time" in told[here]
    elsewhere = found(there)
    assert elsewhere["sweep-seed-2"] == found(here)["sweep"]
    assert elsewhere["sweep-seed-2"] != elsewhere["sweep-seed-3"]
    assert there.run("git", "diff", "--name-only") == "params.yaml\n"
