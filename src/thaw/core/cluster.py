"""Work on a Ray cluster: parts go to processes by number, and come back in order.

Each process has one core and one picture at a time. A process, a node or Ray's own memory watch may
end any of them: its parts go to others. What a part gives never depends on who does it.
"""

import atexit
import mmap
import os
import shutil
import socket
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from heapq import heappop, heappush
from importlib import import_module
from pathlib import Path
from threading import Timer
from typing import Any
from urllib.parse import urlsplit

from thaw.core import engines
from thaw.core.cores import available
from thaw.core.errors import ThawError, one_line, reason

SRC = Path(__file__).parents[2]
UNFINISHED = SRC.parent / "data/unfinished/cluster"
ADDRESS = "RAY_ADDRESS"
TRIES = 3  # processes that a picture may end before it is named
WAITING = 2  # parts that a process has, so that it never waits for the next
AHEAD = 4  # parts a process that may be done out of order, so that memory stays flat
LOOK = 2.0  # seconds between two looks at how many cores the cluster has
REST = 15.0  # seconds that processes wait for the next work
STALLED = 60  # seconds without any process after which that is told
ANSWER = 5  # seconds in which a cluster has to answer
NAME = 4096  # bytes of the name of what a process works on
STORE = 200_000_000  # bytes of Ray's own store here: results are small


def spread(work: engines.Work[Any, Any], items: Sequence[Any], at_once: int) -> Iterator[Any]:
    """Do work on each item on the cluster, in order. As `engines.spread` has it."""
    ray = connect()
    count = -(-len(items) // at_once)
    if not count:
        return
    team = _Team(ray, work, items, at_once)
    done: dict[int, list[Any]] = {}  # by number, what came before its turn
    again: list[int] = []  # parts that a process had when it ended
    begun = 0
    try:
        for number in range(count):
            while number not in done:
                while again or begun < min(count, number + team.window):
                    worker = team.idle()
                    if worker is None:
                        break
                    part = heappop(again) if again else begun
                    begun = max(begun, part + 1)
                    team.give(worker, part)
                found, lost = team.collect()
                done |= found
                for part in lost:
                    heappush(again, part)
            for result in done.pop(number):
                if isinstance(result, _Raised):
                    raise result.error
                yield result
    finally:
        team.close()


class _Raised:
    """What work raised, to be raised in its turn."""

    def __init__(self, error: Exception) -> None:
        self.error: Exception = error
        if not isinstance(error, ThawError | OSError | MemoryError):  # others may not travel
            self.error = RuntimeError("".join(traceback.format_exception(error)))


class _Process:
    """A process of the cluster, with what it works on; one work after the other."""

    def go(self, root: str, note: str) -> None:
        """Go to the folder, before work comes, which may open files by relative paths."""
        self._each: Any = None  # of the work before, beside which memory has no room for the next
        self._wrong: Exception | None = None
        try:
            for each in (root, str(Path(note).parent)):
                if not Path(each).is_dir():
                    raise ThawError(
                        f"node {os.uname().nodename} doesn't see {each}; every node needs the same "
                        "folders under the same paths (docs/use/cluster.md)"
                    )
            os.chdir(root)
            with Path(note).open("w+b") as file:
                file.truncate(NAME)
                self._note = mmap.mmap(file.fileno(), NAME)
        except Exception as error:
            self._wrong = error

    def begin(self, work: engines.Work[Any, Any]) -> _Raised | None:
        """Open what all items need; what that raises."""
        try:
            if self._wrong:
                raise self._wrong
            os.environ["CUDA_VISIBLE_DEVICES"] = "-1"  # so that every node computes alike
            engines.at = self._works_on
            self._each = work.start()
        except Exception as error:
            return _Raised(error)
        return None

    def _works_on(self, name: str) -> None:
        self._note[:] = name.encode("utf-8", "surrogateescape")[:NAME].ljust(NAME, b"\0")

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


@dataclass(eq=False)
class _Worker:
    """A process as it is seen from here."""

    process: Any
    note: Path  # where it says what it works on
    parts: list[int] = field(default_factory=list)  # that it has, in order


_resting: list[Any] = []  # processes that wait for the next work: to begin takes seconds
_timer: Timer | None = None  # that ends them


def dismiss() -> None:
    """End the processes that rest, since their cores are wanted."""
    while _resting:
        with suppress(Exception):  # another thread may have taken the last
            _ray.kill(_resting.pop())


def _rest(processes: Sequence[Any]) -> None:
    """Let them wait for the next work, but no longer than a while: others may want their cores."""
    global _timer
    if _timer:
        _timer.cancel()
    _resting.extend(processes)
    _timer = Timer(REST, dismiss)
    _timer.daemon = True
    _timer.start()


class _Team:
    """Processes that come and go, and the parts that each of them has."""

    def __init__(
        self, ray: Any, work: engines.Work[Any, Any], items: Sequence[Any], at_once: int
    ) -> None:
        self._ray = ray
        self._items, self._at_once = items, at_once
        self._work = ray.put(work)
        self._root = str(Path.cwd())
        self._notes = _notes()
        self._kind = ray.remote(_Process)
        self._born = 0
        self._starting: dict[Any, _Worker] = {}  # by the promise that it began
        self._ready: list[_Worker] = []
        self._running: dict[Any, tuple[int, _Worker]] = {}  # by the promise of a part
        self._deaths: Counter[str] = Counter()  # by what was worked on
        self._wanted = 0  # processes
        self._unknown = 0  # deaths in a row of processes that never began
        self._fewer = 0  # processes that memory has no room for
        self._alone = 0  # times in a row that it had none for the only one
        self._looked = 0.0
        self._alive = time.monotonic()  # when there last was a process

    @property
    def window(self) -> int:
        """How far ahead of the first part that is missing others may be begun."""
        return AHEAD * max(1, len(self._ready))

    def idle(self) -> _Worker | None:
        """A process that can take a part; None where all have enough."""
        worker = min(self._ready, key=lambda one: len(one.parts), default=None)
        # While others are starting, the next part is theirs.
        waiting = 1 if self._starting else WAITING
        return worker if worker and len(worker.parts) < waiting else None

    def give(self, worker: _Worker, part: int) -> None:
        """Hand it a part."""
        self._running[worker.process.do.remote(self._of(part))] = part, worker
        worker.parts.append(part)

    def _of(self, part: int) -> Sequence[Any]:
        """The items of a part."""
        numbers = range(len(self._items))[part * self._at_once : (part + 1) * self._at_once]
        return [self._items[number] for number in numbers]  # some know no slices

    def collect(self) -> tuple[dict[int, list[Any]], list[int]]:
        """Wait a moment: parts that are done, and those that nobody has any more.

        Raises:
            ThawError: when going on would change nothing.
        """
        self._look()
        waited = [*self._starting, *self._running]
        self._ray.wait(waited, num_returns=1, timeout=LOOK)
        ready, _ = self._ray.wait(waited, num_returns=len(waited), timeout=0)
        done: dict[int, list[Any]] = {}
        lost: list[int] = []
        errors = self._ray.exceptions
        for promise in ready:
            if promise in self._starting:
                self._begun(promise)
            elif promise in self._running:  # and not of a process that was seen to end just now
                part, worker = self._running[promise]
                try:
                    done[part] = self._ray.get(promise)
                except (errors.RayActorError, errors.OutOfMemoryError) as error:
                    lost += self._died(worker, error)
                    continue
                except errors.ObjectLostError:  # with the node that kept what it gave
                    lost.append(part)
                except errors.RayError as error:
                    raise ThawError(f"Ray: {one_line(reason(error))}") from None
                self._alone = 0
                del self._running[promise]
                worker.parts.remove(part)
        return done, lost

    def close(self) -> None:
        """End the processes that have something to do still; the others rest."""
        for worker in [*self._starting.values(), *(each for each in self._ready if each.parts)]:
            self._end(worker)
        _rest([worker.process for worker in self._ready if not worker.parts])
        shutil.rmtree(self._notes, ignore_errors=True)

    def _end(self, worker: _Worker) -> None:
        """End a process, also one that only can't be reached any more."""
        with suppress(Exception):
            self._ray.kill(worker.process)

    def _look(self) -> None:
        """As many processes as the cluster has cores, and no more than there are parts."""
        now = time.monotonic()
        if self._ready:
            self._alive = now
        if self._looked and now - self._looked < LOOK:
            return
        self._looked = now
        cores = int(self._ray.cluster_resources().get("CPU", 0))
        there = len(self._ready) + len(self._starting)
        parts = -(-len(self._items) // self._at_once)
        self._wanted = min(max(1, cores - self._fewer), parts)
        for _ in range(self._wanted - there):
            note = self._notes / f"{self._born}"
            self._born += 1
            process = self._process()
            process.go.remote(self._root, str(note))
            self._starting[process.begin.remote(self._work)] = _Worker(process, note)
        if now - self._alive > STALLED:
            self._alive = now
            print(
                f"note: no process of the cluster has begun for {STALLED} s; it waits for a free "
                "core (`ray status` tells of them)",
                file=sys.stderr,
            )

    def _process(self) -> Any:
        """One that rests, or a new one."""
        with suppress(IndexError):
            return _resting.pop()
        return self._kind.options(num_cpus=1, max_restarts=0).remote()

    def _begun(self, promise: Any) -> None:
        """Take in a process that can work now.

        Raises:
            ThawError: when it can't, and others wouldn't either.
            Exception: what the work raised as it started.
        """
        worker = self._starting.pop(promise)
        try:
            raised = self._ray.get(promise)
        except self._ray.exceptions.OutOfMemoryError:
            self._memory_ran_out("")
            return
        except self._ray.exceptions.RayError as error:
            self._end(worker)
            self._unknown += 1
            self._looked = 0.0
            # Killed ones say nothing of the others; and a node's may all end at once.
            tries = 2 if getattr(error, "actor_init_failed", True) else 10
            if self._unknown >= tries * max(TRIES, self._wanted):
                lines = str(error).strip().splitlines()
                raise ThawError(
                    f"no process of the cluster can begin ({one_line(lines[-1])}); every node "
                    "needs Thaw's .venv with Ray under the same path (docs/use/cluster.md)"
                ) from None
            return
        if raised:
            self._end(worker)
            raise raised.error
        self._unknown = 0
        self._ready.append(worker)

    def _died(self, worker: _Worker, error: Exception) -> list[int]:
        """Forget a process that ended, and give its parts back.

        Raises:
            ThawError: when what it worked on ended others too.
        """
        self._end(worker)
        self._running = {
            promise: having for promise, having in self._running.items() if having[1] is not worker
        }
        self._ready.remove(worker)
        self._looked = 0.0
        name = _noted(worker.note)
        if isinstance(error, self._ray.exceptions.OutOfMemoryError):
            self._memory_ran_out(name)
            return worker.parts
        # A process may end between two pictures, or where nothing names them.
        tries = TRIES
        if not name and worker.parts:
            items, tries = self._of(worker.parts[0]), 2 * TRIES
            name = f"something from {items[0]} to {items[-1]}"
        if name:
            self._deaths[name] += 1
            if self._deaths[name] >= tries:
                raise ThawError(
                    f"{one_line(name)} ended {tries} processes that worked on it, one after the "
                    "other; mend or remove it, then `dvc repro`"
                )
        return worker.parts

    def _memory_ran_out(self, name: str) -> None:
        """Go on with a process fewer.

        Raises:
            ThawError: when one alone has no room either.
        """
        left = len(self._ready) + len(self._starting)
        self._fewer += 1
        if left:
            print(
                "note: memory ran out on a node of the cluster; it goes on with "
                f"{left} process{'' if left == 1 else 'es'}",
                file=sys.stderr,
            )
            return
        self._alone += 1
        if self._alone >= TRIES:
            at = f" at {name}" if name else ""
            raise ThawError(
                f"memory ran out on a node of the cluster{at}, {TRIES} times with one process "
                "alone; give nodes more memory, end other programs there, or set a smaller "
                "image_size or fewer augment.views in params.yaml"
            )


def _notes() -> Path:
    """A folder for notes of this process; those that killed ones left here are removed."""
    node = socket.gethostname()
    for left in UNFINISHED.glob(f"{node}-*"):
        try:
            os.kill(int(left.name.removeprefix(f"{node}-")), 0)
        except (ProcessLookupError, ValueError):
            shutil.rmtree(left, ignore_errors=True)
        except OSError:  # another user's
            continue
    notes = UNFINISHED / f"{node}-{os.getpid()}"
    notes.mkdir(parents=True, exist_ok=True)
    return notes


def _noted(note: Path) -> str:
    """What a process worked on when it ended; empty where it isn't known."""
    try:
        return note.read_bytes().rstrip(b"\0").decode("utf-8", "surrogateescape")
    except OSError:
        return ""


_ray: Any = None


def connect() -> Any:
    """Ray, connected to the cluster that `RAY_ADDRESS` names, or to one begun here.

    Raises:
        ThawError: when the cluster doesn't answer, or the address is of Ray's client.
    """
    global _ray
    if _ray is not None:
        return _ray
    address = os.environ.get(ADDRESS, "")
    if address.startswith("ray://"):
        raise ThawError(
            f"{ADDRESS}={address}: a stage has to run on a node of the cluster, and ray:// is for "
            "those that don't; run it on one, with the head's own address, such as 10.0.0.1:6379"
        )
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray
    from ray.job_config import JobConfig

    # Ray prints pages of its own to standard output when a process ends, whatever `ray.init` is
    # told. Where that isn't its name any more, they are back, and a test fails.
    inner: Any = import_module("ray._private.worker")
    inner.print_to_stdstream = lambda *_, **__: None
    how: dict[str, Any] = {
        "log_to_driver": False,
        "logging_level": "CRITICAL",
        # Unlike an environment of the run's own, this lets it take processes that Ray has ready.
        "job_config": JobConfig(_py_driver_sys_path=[str(SRC)]),
    }
    if not address:
        # A stage's own folder for temporary files may be too deep: a socket's path has 107 bytes.
        os.environ.setdefault("RAY_TMPDIR", f"/tmp/ray-{os.getuid()}")
        Path(os.environ["RAY_TMPDIR"]).mkdir(parents=True, exist_ok=True)
        how |= {"num_cpus": available(), "object_store_memory": STORE, "include_dashboard": False}
    try:
        _reach(address)
        ray.init(address=address or "local", **how)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        at = f"{ADDRESS}={address}: " if address else ""
        raise ThawError(
            f"{at}Ray can't be reached ({one_line(reason(error))}); start it with `ray start "
            "--head`, set RAY_AUTH_MODE=token if it wants a token (docs/use/cluster.md), or unset "
            f"{ADDRESS} to use this machine alone"
        ) from None
    atexit.register(ray.shutdown)
    _resting.clear()
    _ray = ray
    return ray


def _reach(address: str) -> None:
    """Fail at once where nobody answers, which Ray waits for.

    Raises:
        OSError: when nobody does.
    """
    at = urlsplit(address if "://" in address else f"//{address}")
    if at.hostname and at.port:
        socket.create_connection((at.hostname, at.port), ANSWER).close()
