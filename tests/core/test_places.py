"""Whole runs on this machine: each ends with the one who waits for it, and all that it began."""

import functools
import os
import shlex
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import nodes
import workspace
from nodes import gone
from places import ROOT, SRC
from thaw.core import cores, engines, places

until = functools.partial(nodes.until, seconds=20)


def sleeper(folder: Path) -> list[str]:
    """A command that begins another, notes the number of both, and waits."""
    return ["sh", "-c", f"sleep 60 & echo $$ $! > {shlex.quote(str(folder / 'pids'))}; wait"]


def noted(folder: Path) -> list[int]:
    path = folder / "pids"
    until(lambda: path.exists() and path.read_text().endswith("\n"))
    return [int(each) for each in path.read_text().split()]


@pytest.mark.parametrize(
    ("script", "code"), [("echo said; echo too >&2", 0), ("exit 3", 3), ("exit 255", 255)]
)
def test_a_run_has_its_code_and_its_log(tmp_path: Path, script: str, code: int) -> None:
    log = tmp_path / "run.log"
    assert places.Here(1).run(lambda: ["sh", "-c", script], log) == places.Ended(code)
    assert log.read_text() == ("said\ntoo\n" if code == 0 else "")


def test_runs_share_the_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "available", lambda: 7)
    log = tmp_path / "run.log"
    places.Here(3).run(lambda: ["sh", "-c", f"echo ${places.CORES}"], log)
    assert log.read_text() == "2\n"
    places.Here(9).run(lambda: ["sh", "-c", f"echo ${places.CORES}"], log)
    assert log.read_text() == "1\n"


@pytest.mark.parametrize("end", ["killed", "closed"])
def test_all_of_a_run_ends(tmp_path: Path, end: str) -> None:
    here = places.Here(1)
    ended: list[places.Ended] = []
    waits = threading.Thread(
        target=lambda: ended.append(here.run(lambda: sleeper(tmp_path), tmp_path / "run.log"))
    )
    waits.start()
    pids = noted(tmp_path)
    if end == "killed":
        os.kill(pids[0], signal.SIGKILL)
    else:
        here.close()
    waits.join(20)
    until(lambda: all(map(gone, pids)))
    assert ended[0].code < 0
    if end == "closed":
        assert here.run(lambda: pytest.fail("it begins"), tmp_path / "run.log").code < 0


def test_a_run_ends_with_the_one_who_waits_for_it(tmp_path: Path) -> None:
    """Who is killed can't end anything any more."""
    script = (
        "import sys; from pathlib import Path; from thaw.core import places\n"
        "places.Here(1).run(lambda: sys.argv[2:], Path(sys.argv[1]))"
    )
    log = str(tmp_path / "run.log")
    words = [sys.executable, "-c", script, log, *sleeper(tmp_path)]
    waits = subprocess.Popen(words, env=os.environ | {"PYTHONPATH": str(SRC)})
    pids = noted(tmp_path)
    waits.kill()
    waits.wait()
    until(lambda: all(map(gone, pids)))


@pytest.mark.parametrize(
    ("given", "engine", "limit"), [("", "ray", 4), ("2", "local", 2), ("8", "local", 4)]
)
def test_a_run_that_has_a_place_begins_no_cluster_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str, engine: str, limit: int
) -> None:
    for name in ("datasets", "pretrained"):
        (tmp_path / name).symlink_to(ROOT / name)
    params = (ROOT / "params.yaml").read_text().replace("\nengine: local", "\nengine: ray")
    (tmp_path / "params.yaml").write_text(params.replace("\ncores: null", "\ncores: 4"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(engines, "find_spec", lambda _: True)
    monkeypatch.setattr(engines, "_engine", "local")
    monkeypatch.setattr(cores, "_limit", None)
    monkeypatch.setenv(places.CORES, given)
    workspace.read_params()
    assert (engines.current(), cores._limit) == (engine, limit)
