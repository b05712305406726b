"""A cluster of three nodes on this machine: real processes of Ray, which are killed."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import works
from nodes import STORE, processes, running, short_folder, until
from places import ROOT, SRC
from repository import Finished
from thaw.core import cluster, engines
from thaw.core.errors import ThawError
from thaw.features import extraction
from thaw.pictures.decoding import BadImageError
from works import Kills, Opens, Raises, Squares

cloudpickle = pytest.importorskip("ray.cloudpickle", reason="Ray isn't installed here")

pytestmark = pytest.mark.timeout(300)
CORES = 2  # of each node but the first, which has one


@dataclass
class Nodes:
    """A cluster, and the folder that all its processes name on their command lines."""

    cluster: Any
    folder: str

    def add(self) -> Any:
        return self.cluster.add_node(num_cpus=CORES, object_store_memory=STORE)

    def kill(self, node: Any) -> None:
        self.cluster.remove_node(node, allow_graceful=False)


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    """Three, and this process as their driver."""
    with running([1, CORES, CORES], missed=2, answer=1000) as (made, folder):
        cloudpickle.register_pickle_by_value(works)  # nodes know the repository's `src` alone
        yield Nodes(made, folder)


@pytest.fixture
def here(nodes: Nodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, and `engine: ray`."""
    (tmp_path / "pids").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cluster, "UNFINISHED", tmp_path / "notes")
    monkeypatch.setattr(engines, "_engine", "ray")
    assert nodes
    return tmp_path


@pytest.mark.parametrize(("at_once", "processes"), [(20, 1), (10, 2), (2, 5)])
def test_any_number_of_processes_gives_the_same_in_order(
    here: Path, at_once: int, processes: int
) -> None:
    """Parts of even numbers come late."""
    (here / "slow").touch()
    found = list(engines.spread(Squares(here / "pids"), range(20), at_once))
    assert found == [item * item for item in range(20)]
    # Which are all that there are room for, unless they need longer to begin than the work takes.
    assert 1 <= len([*(here / "pids").iterdir()]) <= processes
    rested = [*cluster._resting]
    assert len(list(engines.spread(Squares(here / "pids"), range(len(rested)), 1))) == len(rested)
    assert rested
    assert all(each in rested for each in cluster._resting)
    assert [*(here / cluster.UNFINISHED).glob("*")] == []


def test_work_opens_what_lies_in_the_folder(here: Path) -> None:
    (here / "model").write_text("mine")
    assert list(engines.spread(Opens("model"), range(1), 1)) == ["mine"]


@pytest.mark.usefixtures("here")
def test_what_work_raises_comes_unchanged_and_in_its_turn() -> None:
    found = engines.spread(Raises(7), range(12), 6)
    assert [next(found) for _ in range(7)] == list(range(7))
    with pytest.raises(BadImageError) as raised:
        next(found)
    again = Raises(7)._error()
    assert (str(raised.value), vars(raised.value)) == (str(again), vars(again))
    assert str(again).startswith("photos/7.png can't be read (not the bytes of a picture)")


@pytest.mark.usefixtures("here")
def test_what_it_raises_as_it_starts_does_too() -> None:
    with pytest.raises(BadImageError, match=r"^photos/7.png can't be read"):
        list(engines.spread(Raises(-1), range(1), 1))


@pytest.mark.usefixtures("here")
def test_an_error_that_cannot_travel_is_told_with_where_it_was() -> None:
    with pytest.raises(RuntimeError, match="ValueError: odd") as raised:
        list(engines.spread(Raises(0, picture=False), range(1), 1))
    assert "works.py" in str(raised.value)


@pytest.mark.usefixtures("here")
def test_a_picture_that_kills_its_process_is_named(capfd: pytest.CaptureFixture[str]) -> None:
    found = engines.spread(Kills(5), range(8), 4)
    assert [next(found) for _ in range(4)] == list(range(4))
    told = (
        r"^photos/5\.png ended 3 processes that worked on it, one after the other; mend or remove"
    )
    with pytest.raises(ThawError, match=told):
        next(found)
    assert capfd.readouterr() == ("", "")  # Ray would print pages


def test_killed_processes_and_a_killed_node_change_nothing(
    here: Path, nodes: Nodes, capfd: pytest.CaptureFixture[str]
) -> None:
    """Of five processes two are killed, then a node with two; others take their places."""
    pids, slow = here / "pids", here / "slow"
    slow.touch()
    found: list[int] = []
    items = range(1000)
    thread = threading.Thread(
        target=lambda: found.extend(engines.spread(Squares(pids), items, at_once=2))
    )
    thread.start()
    until(lambda: len([*pids.iterdir()]) == 5)
    for pid in [*pids.iterdir()][:2]:
        os.kill(int(pid.name), signal.SIGKILL)
    nodes.kill(nodes.cluster.list_all_nodes()[-1])
    until(lambda: len([*pids.iterdir()]) > 5)
    slow.unlink()
    thread.join(60)
    assert found == [item * item for item in items]
    assert capfd.readouterr() == ("", "")


@pytest.mark.usefixtures("here")
def test_a_node_that_does_not_see_the_folder_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getcwd", lambda: "/only/here")
    with pytest.raises(ThawError, match=r"^node .* doesn't see /only/here; every node needs"):
        list(engines.spread(Raises(-1), range(1), 1))


def environment(**more: str | None) -> dict[str, str]:
    """This process's, with these; without those that are None."""
    return {name: value for name, value in (os.environ | more).items() if value is not None}


def extract(repository: Path, out: Path, **env: str | None) -> subprocess.Popen[str]:
    """Extract on a cluster in a process of its own; every picture takes a while."""
    cluster.dismiss()  # its cores are for that
    places = (str(SRC), str(ROOT / "tests/support"))
    return subprocess.Popen(
        [sys.executable, "-m", "works", str(repository), str(out)],
        cwd=out.parent,
        env=environment(PYTHONPATH=os.pathsep.join(places), **env),
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def lines(out: Path) -> int:
    """Of the journal of what was extracted."""
    journal = out / ".part-train.journal"
    return journal.read_text().count("\n") if journal.exists() else 0


def extracts(repository: Path, out: Path, **env: str | None) -> bool:
    """Whether it comes as far as some pictures."""
    with extract(repository, out, **env) as driver:
        until(lambda: lines(out) > 3 or driver.poll() is not None)
        driver.terminate()
        assert "can't be reached" not in driver.communicate(timeout=60)[1]
    return lines(out) > 3


def test_extraction_whose_driver_is_killed_goes_on_in_the_same_bytes(
    finished: Finished,
    nodes: Nodes,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(extraction, "BLOCK", works.BLOCK)
    extractor, paths = works.extractor(finished.repository.path)
    extraction.extract(extractor, paths, tmp_path / "undisturbed", "train")
    out = tmp_path / "killed"
    with extract(finished.repository.path, out) as driver:
        until(lambda: lines(out) > 3)
        driver.kill()
    ray = cluster.connect()
    until(lambda: ray.available_resources().get("CPU") == ray.cluster_resources()["CPU"])
    capsys.readouterr()
    extraction.extract(extractor, paths, out, "train", scratch=out)
    extraction.finish(out, out, ["train"])
    assert f"of {len(paths)} pictures, which are there" in capsys.readouterr().out
    assert nodes
    for path in (tmp_path / "undisturbed").iterdir():
        assert (out / path.name).read_bytes() == path.read_bytes()


def test_a_cluster_begins_where_temporary_files_lie_deep(
    finished: Finished, tmp_path: Path
) -> None:
    """As a stage's do, below a repository whose path is long: sockets' paths may not be."""
    deep = tmp_path / ("deep" * 20)
    deep.mkdir()
    more = {cluster.ADDRESS: "", "RAY_TMPDIR": None, "TMPDIR": str(deep)}
    assert extracts(finished.repository.path, tmp_path / "out", **more)


def test_where_a_cluster_wants_a_token_that_is_told(finished: Finished, tmp_path: Path) -> None:
    """Begun by hand; `ray start` wants one where there is one, as once a cluster was begun here."""
    token = tmp_path / "home/.ray/auth_token"
    token.parent.mkdir(parents=True)
    token.write_text("0123456789abcdef" * 4)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    ray = [str(Path(sys.executable).parent / "ray"), "start", "--head", f"--port={port}"]
    ray += [f"--object-store-memory={STORE}", "--num-cpus=1", "--include-dashboard=false"]
    with short_folder() as folder:
        own = {"HOME": str(tmp_path / "home"), "RAY_TMPDIR": folder, "RAY_AUTH_MODE": None}
        begun = environment(**own | {cluster.ADDRESS: None})
        subprocess.run([*ray, f"--temp-dir={folder}"], env=begun, check=True, capture_output=True)
        own |= {cluster.ADDRESS: f"127.0.0.1:{port}"}
        with extract(finished.repository.path, tmp_path / "out", **own) as driver:
            told = driver.communicate(timeout=60)[1].splitlines()[-1]
        assert re.match(rf"error: RAY_ADDRESS=127.0.0.1:{port}: Ray can't be reached", told)
        assert "set RAY_AUTH_MODE=token if it wants a token" in told
        own |= {"RAY_AUTH_MODE": "token"}
        assert extracts(finished.repository.path, tmp_path / "out", **own)


def test_ctrl_c_ends_all_processes_of_a_cluster_that_was_begun_here(
    finished: Finished, tmp_path: Path
) -> None:
    with short_folder() as folder:
        out = tmp_path / "out"
        more = {cluster.ADDRESS: "", "RAY_TMPDIR": folder}
        with extract(finished.repository.path, out, **more) as driver:
            until(lambda: lines(out) > 3 or driver.poll() is not None)
            assert processes(folder)
            os.killpg(driver.pid, signal.SIGINT)
            told = driver.communicate(timeout=60)[1]
        assert told == "error: interrupted; run it again\n"
        until(lambda: not processes(folder))


def test_every_stage_gives_the_same_lock(finished: Finished, nodes: Nodes, tmp_path: Path) -> None:
    repository = finished.repository.copy(tmp_path)
    lock = (repository.path / "dvc.lock").read_text()
    repository.edit({"engine": "ray"})
    assert nodes
    repository.env |= {name: os.environ[name] for name in (cluster.ADDRESS, "RAY_TMPDIR")}
    stages = ("split", "extract_features", "decide", "evaluate")
    repository.dvc("repro", "--force", "--single-item", *stages)
    assert (repository.path / "dvc.lock").read_text() == lock
