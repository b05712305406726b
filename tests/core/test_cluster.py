"""`thaw.core.cluster`: what it does with a cluster of which nothing here runs."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from thaw.core import cluster, engines
from thaw.core.errors import ThawError


class RayError(Exception):
    pass


class RayActorError(RayError):
    actor_init_failed = False


class OutOfMemoryError(RayError):
    pass


class ObjectLostError(RayError):
    pass


class FakeRay:
    """What `spread` uses of Ray: processes do what they were handed, the last one's first.

    Args:
        cores: of the cluster.
        fate: from how many were done before and the items to what becomes of a part; None: done.
    """

    exceptions = SimpleNamespace(
        RayError=RayError,
        RayActorError=RayActorError,
        OutOfMemoryError=OutOfMemoryError,
        ObjectLostError=ObjectLostError,
    )

    def __init__(
        self, cores: int, fate: Callable[[int, Sequence[Any]], Exception | None] = lambda *_: None
    ) -> None:
        self.cores, self.fate = cores, fate
        self.begun = self.handed = self.most = 0
        self.there: set[Any] = set()

    def put(self, value: object) -> object:
        return value

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": float(self.cores)}

    def remote(self, kind: type) -> Any:
        def begin() -> Any:
            process = kind()
            handle = SimpleNamespace()

            def first(work: Any) -> Any:
                if id(handle) not in self.there:
                    raise RayActorError("The actor died")
                return process.begin(work)

            handle.go = SimpleNamespace(remote=process.go)
            handle.begin = SimpleNamespace(remote=lambda work: Promise(process, first, work))
            handle.do = SimpleNamespace(
                remote=lambda items: Promise(process, self.do, process, items)
            )
            self.begun += 1
            self.there.add(id(handle))
            self.most = max(self.most, len(self.there))
            return handle

        return SimpleNamespace(options=lambda **_: SimpleNamespace(remote=begin))

    def do(self, process: Any, items: Sequence[Any]) -> list[Any]:
        self.handed += 1
        if error := self.fate(self.handed, items):
            raise error
        found: list[Any] = process.do(items)
        return found

    def kill(self, handle: Any) -> None:
        self.there.discard(id(handle))

    def wait(self, promises: list[Any], num_returns: int, timeout: float) -> tuple[list[Any], Any]:
        first: dict[int, Promise] = {}
        for promise in promises:
            first.setdefault(id(promise.process), promise)
        return [*first.values()][::-1][:num_returns], timeout

    def get(self, promise: Any) -> Any:
        return promise.get()


class Promise:
    """Of what a function gives, in a process."""

    def __init__(self, process: object, function: Callable[..., Any], *words: Any) -> None:
        self.process = process
        self.get = lambda: function(*words)


class Doubles:
    def start(self) -> Callable[[int], int]:
        def work(item: int) -> int:
            engines.works_on(f"{item}.png")
            return 2 * item

        return work


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cluster, "UNFINISHED", tmp_path / "notes")
    monkeypatch.setattr(engines, "_engine", "ray")
    monkeypatch.setattr(engines, "at", lambda _: None)
    monkeypatch.setattr(cluster, "_ray", None)
    monkeypatch.setattr(cluster, "_resting", [])
    monkeypatch.delenv(cluster.ADDRESS, raising=False)
    return tmp_path


def run(monkeypatch: pytest.MonkeyPatch, ray: FakeRay, items: int = 100) -> list[int]:
    monkeypatch.setattr(cluster, "_ray", ray)
    found = list(engines.spread(Doubles(), range(items), 4))
    assert found == [2 * item for item in range(items)]
    assert ray.there == {id(each) for each in cluster._resting}
    assert [*cluster.UNFINISHED.glob("*")] == []
    return found


@pytest.mark.parametrize("cores", [0, 1, 2, 5, 1000])
def test_there_are_as_many_processes_as_cores_and_never_more_than_parts(
    cores: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    ray = FakeRay(cores)
    run(monkeypatch, ray)
    assert ray.most == min(max(1, cores), 25)


def test_nothing_to_do_starts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = FakeRay(2)
    run(monkeypatch, ray, items=0)
    assert ray.begun == 0


def test_parts_of_processes_that_end_are_done_by_others(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = FakeRay(3, lambda count, _: RayActorError() if count % 5 == 0 else None)
    run(monkeypatch, ray)
    assert ray.begun > 5


def test_what_was_lost_with_a_node_is_done_again(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = FakeRay(3, lambda count, _: ObjectLostError() if count == 5 else None)
    run(monkeypatch, ray)
    assert (ray.begun, ray.handed) == (3, 26)


def test_where_memory_runs_out_fewer_processes_go_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ray = FakeRay(3, lambda count, _: OutOfMemoryError() if count in (4, 9) else None)
    run(monkeypatch, ray)
    assert ray.begun == 3
    assert capsys.readouterr().err.splitlines() == [
        "note: memory ran out on a node of the cluster; it goes on with 2 processes",
        "note: memory ran out on a node of the cluster; it goes on with 1 process",
    ]


def test_memory_short_for_one_process_is_told_and_not_tried_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ray = FakeRay(2, lambda _, items: OutOfMemoryError() if 20 in items else None)
    with pytest.raises(ThawError, match=r"^memory ran out on a node of the cluster, 3 times with"):
        run(monkeypatch, ray)
    assert ray.begun == 2 + 2
    assert ray.there == set()


def test_processes_rest_a_while_and_take_the_next_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that ended meanwhile are replaced; where their cores are wanted, they end."""
    ray = FakeRay(3)
    run(monkeypatch, ray)
    run(monkeypatch, ray, items=5)
    assert (ray.begun, len(ray.there)) == (3, 3)
    ray.kill(cluster._resting[-1])
    run(monkeypatch, ray)
    assert (ray.begun, len(ray.there)) == (4, 3)
    cluster.dismiss()
    assert (ray.there, cluster._resting) == (set(), [])
    monkeypatch.setattr(cluster, "REST", 0.01)
    run(monkeypatch, ray)
    assert ray.begun == 4 + 3
    end = time.monotonic() + 10
    while ray.there and time.monotonic() < end:
        time.sleep(0.01)
    assert (ray.there, cluster._resting) == (set(), [])


def test_a_process_that_is_at_work_when_nobody_wants_it_any_more_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ray = FakeRay(2)
    monkeypatch.setattr(cluster, "_ray", ray)
    found = engines.spread(Doubles(), range(100), 4)
    assert next(found) == 0
    assert len(ray.there) == 2
    found.close()
    assert ray.there == {id(each) for each in cluster._resting}
    assert len(ray.there) < 2


def test_what_ends_processes_is_told_by_its_part_where_nothing_names_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ray = FakeRay(1, lambda _, items: RayActorError("high memory usage") if 20 in items else None)
    with pytest.raises(ThawError, match=r"^something from 20 to 23 ended 6 processes"):
        run(monkeypatch, ray)


@pytest.mark.parametrize(("failed", "tries"), [(True, 6), (False, 30)])  # else it was killed
def test_processes_that_cannot_begin_are_not_started_for_ever(
    failed: bool, tries: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        error = RayActorError("The actor died\nModuleNotFoundError: No module named 'thaw'")
        error.actor_init_failed = failed
        raise error

    ray = FakeRay(2)
    monkeypatch.setattr(cluster._Process, "begin", fails)
    with pytest.raises(
        ThawError, match=r"^no process of the cluster can begin \(ModuleNotFoundError: No module"
    ):
        run(monkeypatch, ray)
    assert ray.begun == tries


def test_a_node_whose_processes_end_as_they_begin_does_not_end_the_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    left = iter(range(15))
    begin = cluster._Process.begin

    def fails(process: cluster._Process, work: Any) -> Any:
        if next(left, None) is not None:
            raise RayActorError("The actor died")
        return begin(process, work)

    monkeypatch.setattr(cluster._Process, "begin", fails)
    ray = FakeRay(20)
    run(monkeypatch, ray)
    assert ray.begun == 20 + 15


def test_without_any_process_it_says_that_it_waits(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ray = FakeRay(1)
    waits = iter([[], []])
    wait = ray.wait
    monkeypatch.setattr(
        ray, "wait", lambda *words, **more: (next(waits, None) or wait(*words, **more)[0], None)
    )
    monkeypatch.setattr(cluster, "STALLED", -1)
    run(monkeypatch, ray)
    assert "it waits for a free core" in capsys.readouterr().err


def test_the_notes_of_killed_runs_are_removed(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    node = socket.gethostname()
    names = (f"{node}-{ended.pid}", f"{node}-{os.getppid()}", f"other-{ended.pid}")
    for name in names:
        (here / cluster.UNFINISHED / name).mkdir(parents=True)
    monkeypatch.setattr(cluster, "_ray", FakeRay(1))
    list(engines.spread(Doubles(), range(3)))
    assert {path.name for path in (here / cluster.UNFINISHED).iterdir()} == {*names[1:]}


def test_an_address_of_rays_client_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stage that ran there would look for pictures and parts that other machines have."""
    monkeypatch.setenv(cluster.ADDRESS, "ray://10.0.0.1:10001")
    with pytest.raises(
        ThawError, match=r"^RAY_ADDRESS=ray://10\.0\.0\.1:10001: a stage has to run on"
    ):
        list(engines.spread(Doubles(), range(3)))


def test_an_address_at_which_nobody_answers_is_told_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("ray", reason="Ray isn't installed here")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and doesn't listen
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        monkeypatch.setenv(cluster.ADDRESS, address)
        monkeypatch.delenv("RAY_TMPDIR", raising=False)
        began = time.monotonic()
        with pytest.raises(
            ThawError,
            match=rf"^RAY_ADDRESS={address}: Ray can't be reached \(.*refused\); start it",
        ):
            list(engines.spread(Doubles(), range(3)))
    assert time.monotonic() - began < 30  # of which importing Ray takes most
    assert "RAY_TMPDIR" not in os.environ  # where RAY_ADDRESS=auto looks for a cluster


def test_missing_ray_is_told_before_any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "find_spec", lambda _: None)
    monkeypatch.setattr(engines, "_engine", "local")
    with pytest.raises(ThawError, match="engine: ray: Ray isn't installed here; run `make venv-c"):
        engines.use("ray")
    assert engines.current() == "local"
