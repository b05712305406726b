"""Work on a Ray cluster: parts go to processes by number, and come back in order.

Each process has one core and one picture at a time. A process, a node or Ray's own memory watch may
end any of them: its parts go to others. What a part gives never depends on who does it.
"""

import atexit
import mmap
import os
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from thaw.core import engines
from thaw.core.cores import available
from thaw.core.errors import ThawError, one_line, reason, some

SRC = Path(__file__).parents[2]
ADDRESS = "RAY_ADDRESS"
TRIES = 3  # processes that a picture may end before it is named
WAITING = 2  # parts that a process has, so that it never waits for the next
AHEAD = 4  # parts a process that may be done out of order, so that memory stays flat
LOOK = 2.0  # seconds between two looks at how many cores the cluster has
STALLED = 60  # seconds without any process after which that is told
NAME = 4096  # bytes of the name of what a process works on


def spread(work: engines.Work[Any, Any], items: Sequence[Any], at_once: int) -> Iterator[Any]:
    """Do work on each item on the cluster, in order. As `engines.spread` has it."""
    ray = connect()
    starts = range(0, len(items), at_once)
    if not starts:
        return
    team = _Team(ray, work, len(starts))
    done: dict[int, list[Any]] = {}  # by number, what came before its turn
    left = deque(range(len(starts)))
    try:
        for number in range(len(starts)):
            while number not in done:
                while left and left[0] < number + team.window and (one := team.idle()):
                    start = starts[left[0]]
                    team.give(one, left.popleft(), items[start : start + at_once])
                found, again = team.collect()
                done |= found
                left.extendleft(sorted(again, reverse=True))
            for result in done.pop(number):
                if isinstance(result, _Raised):
                    raise result.error
                yield result
    finally:
        team.close()


class _Raised:
    """What work raised for an item, to be raised in its turn."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


class _Process:
    """A process of the cluster, with what it works on."""

    def __init__(self, work: engines.Work[Any, Any], root: str, notes: str, name: str) -> None:
        for seen in (root, notes):
            if not Path(seen).is_dir():
                raise ThawError(
                    f"node {os.uname().nodename} doesn't see {seen}; every node needs the same "
                    "folders under the same paths (docs/use/cluster.md)"
                )
        os.chdir(root)
        path = Path(notes, name)
        with path.open("w+b") as file:
            file.truncate(NAME)
            self._note = mmap.mmap(file.fileno(), NAME)
        engines.at = self._works_on
        self._each = work.start()

    def _works_on(self, name: str) -> None:
        self._note[:] = name.encode("utf-8", "surrogateescape")[:NAME].ljust(NAME, b"\0")

    def ready(self) -> None:
        """Once it began."""

    def do(self, items: Sequence[Any]) -> list[Any]:
        """What the work gives for each; what it raised ends the list."""
        results: list[Any] = []
        for item in items:
            try:
                results.append(self._each(item))
            except Exception as error:
                results.append(_Raised(error))
                break
            finally:
                self._works_on("")
        return results


class _Team:
    """Processes that come and go, and the parts that each of them has."""

    def __init__(self, ray: Any, work: engines.Work[Any, Any], parts: int) -> None:
        self._ray = ray
        self._parts = parts
        self._work = ray.put(work)
        self._root = str(Path.cwd())
        self._notes = SRC.parent / "data/unfinished/cluster" / str(os.getpid())
        self._notes.mkdir(parents=True, exist_ok=True)
        self._kind = ray.remote(_Process)
        self._born = 0
        self._names: dict[Any, str] = {}  # by process, of its note
        self._starting: dict[Any, Any] = {}  # by the promise that it is ready
        self._having: dict[Any, list[int]] = {}  # by process that is ready, its parts
        self._running: dict[Any, tuple[int, Any]] = {}  # by promise: part, and whose
        self._deaths: Counter[str] = Counter()  # by what was worked on
        self._unknown = 0  # deaths in a row of processes that never began
        self._fewer = 0  # processes that memory has no room for
        self._looked = 0.0
        self._alive = time.monotonic()  # when there last was a process
        self._look()

    @property
    def window(self) -> int:
        """How far ahead of the first part that is missing others may be begun."""
        return AHEAD * max(1, len(self._having) + len(self._starting))

    def idle(self) -> Any:
        """A process that can take a part; None where all have enough."""
        free = [one for one, parts in self._having.items() if len(parts) < WAITING]
        return min(free, key=lambda one: len(self._having[one]), default=None)

    def give(self, process: Any, number: int, items: Sequence[Any]) -> None:
        """Hand it a part."""
        self._running[process.do.remote(items)] = number, process
        self._having[process].append(number)

    def collect(self) -> tuple[dict[int, list[Any]], set[int]]:
        """Wait a moment: parts that are done, and those that nobody has any more."""
        self._look()
        waited = [*self._starting, *self._running]
        ready, _ = self._ray.wait(waited, num_returns=1, timeout=LOOK) if waited else ([], [])
        if not waited:
            time.sleep(LOOK)
        done: dict[int, list[Any]] = {}
        lost: set[int] = set()
        for promise in ready:
            if promise in self._starting:
                self._begun(promise)
            elif promise in self._running:
                number, process = self._running[promise]
                try:
                    done[number] = self._ray.get(promise)
                except self._ray.exceptions.RayActorError as error:
                    lost |= self._died(process, error)
                    continue
                except self._ray.exceptions.RayError as error:
                    raise ThawError(
                        f"Ray: {one_line(reason(error))}; see docs/use/cluster.md"
                    ) from None
                del self._running[promise]
                self._having[process].remove(number)
        return done, lost

    def close(self) -> None:
        """End all processes."""
        for process in self._names:
            with suppress(Exception):
                self._ray.kill(process)
        for name in self._names.values():
            (self._notes / name).unlink(missing_ok=True)
        with suppress(OSError):
            self._notes.rmdir()

    def _look(self) -> None:
        """As many processes as the cluster has cores, and no more than there are parts."""
        now = time.monotonic()
        if self._having or not self._looked:
            self._alive = now
        if now - self._looked < LOOK:
            return
        self._looked = now
        cores = int(self._ray.cluster_resources().get("CPU", 0))
        there = len(self._having) + len(self._starting)
        for _ in range(min(max(1, cores - self._fewer), self._parts) - there):
            name = f"{self._born}"
            self._born += 1
            words = (self._work, self._root, str(self._notes), name)
            process = self._kind.options(num_cpus=1, max_restarts=0).remote(*words)
            self._names[process] = name
            self._starting[process.ready.remote()] = process
        if now - self._alive > STALLED:
            self._alive = now
            print(
                "note: the cluster has no free core for this run; it waits for one (`ray status`)",
                file=sys.stderr,
            )

    def _begun(self, promise: Any) -> None:
        process = self._starting.pop(promise)
        try:
            self._ray.get(promise)
        except self._ray.exceptions.RayActorError as error:
            self._forget(process)
            cause = getattr(error, "cause", None) or error.__cause__
            told = str(error)
            if "ThawError" in told or isinstance(cause, ThawError):
                raise ThawError(_sentence(told)) from None
            self._unknown += 1
            if self._unknown >= 2 * TRIES:
                raise ThawError(
                    f"no process of the cluster can begin ({one_line(_sentence(told))}); every "
                    "node needs Thaw's .venv with Ray under the same path (docs/use/cluster.md)"
                ) from None
            return
        self._unknown = 0
        self._having[process] = []

    def _died(self, process: Any, error: Exception) -> set[int]:
        """Forget a process that ended, and give its parts back.

        Raises:
            ThawError: when what it worked on ended others too.
        """
        name = self._at_last(process)
        lost = set(self._having.pop(process, []))
        self._running = {
            promise: (number, whose)
            for promise, (number, whose) in self._running.items()
            if whose != process
        }
        self._forget(process)
        told = str(error)
        if "OutOfMemory" in told or "memory" in told.lower():
            self._fewer += 1
            print("note: memory ran out on a node; one process fewer goes on", file=sys.stderr)
            return lost
        if name:
            self._deaths[name] += 1
            if self._deaths[name] >= TRIES:
                raise ThawError(
                    f"{name} ended {some(TRIES, 'process')[:-1]}es that worked on it, one after "
                    "the other; mend or remove it, then `dvc repro`"
                )
        return lost

    def _at_last(self, process: Any) -> str:
        """What a process worked on when it ended; empty where it isn't known."""
        with suppress(OSError):
            noted = (self._notes / self._names[process]).read_bytes()
            return noted.rstrip(b"\0").decode("utf-8", "surrogateescape")
        return ""

    def _forget(self, process: Any) -> None:
        (self._notes / self._names.pop(process)).unlink(missing_ok=True)


def _sentence(told: str) -> str:
    """Of a process's traceback, what it says at its end."""
    lines = [line for line in told.splitlines() if "Error: " in line] or told.splitlines()
    return lines[-1].split("Error: ", 1)[-1].strip()


_connected: Callable[[], Any] | None = None


def connect() -> Any:
    """Ray, connected to the cluster that `RAY_ADDRESS` names, or to one begun here.

    Raises:
        ThawError: when it is missing or the cluster doesn't answer.
    """
    global _connected
    if _connected is not None:
        return _connected()
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_DEDUP_LOGS", "0")
    import ray

    address = os.environ.get(ADDRESS, "")
    runs = {"env_vars": {"PYTHONPATH": str(SRC), "PYTHONHASHSEED": "0"}}
    how: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR", "runtime_env": runs}
    try:
        if address:
            ray.init(address=address, **how)
        else:
            ray.init(address="local", num_cpus=available(), include_dashboard=False, **how)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        at = f"{ADDRESS}={address}: " if address else ""
        raise ThawError(
            f"{at}Ray can't be reached ({one_line(reason(error))}); start it with `ray start "
            f"--head`, or unset {ADDRESS} to use this machine alone"
        ) from None
    atexit.register(ray.shutdown)
    _connected = lambda: ray  # noqa: E731
    return ray
