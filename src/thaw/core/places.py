"""Places for whole runs, each a process of its own: on this machine, or on a Ray cluster's nodes.

A run has its place to itself, so it computes there what it would compute alone.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any, Protocol, TypeVar

from thaw.core import engines
from thaw.core.cores import available
from thaw.core.errors import ThawError, one_line, reason, some

Key = TypeVar("Key")
T = TypeVar("T")
LEASH = Path(__file__).with_name("leash.py")
CORES = "THAW_CORES"  # of a run that has a place: so many cores, and no cluster of its own
KILLED = -signal.SIGKILL
TRIES = 3  # of a run that is killed
# What Ray tells a process of the accelerators that are its own.
DEVICES = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES")


@dataclass(frozen=True)
class Ended:
    """How a run ended."""

    code: int  # of its exit; negative where it, or its node, was killed
    node: str = ""  # of the cluster; empty here


class Places(Protocol):
    """Where whole runs go."""

    at_once: int  # how many may ask for a place
    closed: bool  # nothing begins any more

    def __str__(self) -> str:
        """For people: how many, and where."""
        ...

    def run(self, command: Callable[[], Sequence[str]], log: Path) -> Ended:
        """Wait for a place, ask for the command, and run it there; many threads may call this.

        Args:
            command: asked for once there is a place.
            log: what it writes, to either stream.
        """
        ...

    def close(self) -> None:
        """End all that runs; nothing begins any more."""
        ...


def find(jobs: int | None, cores: int) -> Places:
    """Places on the engine that `params.yaml` names.

    Args:
        jobs: how many runs at once, at most; None for one here, on a cluster for all that it has
            room for.
        cores: of a run on a cluster.

    Raises:
        ThawError: that Ray is missing or can't be reached.
    """
    return Cluster(jobs, cores) if engines.current() == "ray" else Here(jobs or 1)


def side_by_side(
    where: Places, jobs: Mapping[Key, Callable[[], T]]
) -> Generator[tuple[Key, T], None, None]:
    """Do all jobs, which run something there; each, as it ends.

    One that raises, and Ctrl-C, end all.
    """
    with ThreadPoolExecutor(max(1, min(where.at_once, len(jobs)))) as pool:
        waited = {pool.submit(job): key for key, job in jobs.items()}
        try:
            for done in as_completed(waited):
                yield waited[done], done.result()
        except BaseException:
            where.close()
            pool.shutdown(cancel_futures=True)
            raise


def begin(command: Sequence[str], log: Path, env: dict[str, str]) -> "subprocess.Popen[bytes]":
    """Begin a command that ends with this process, whatever ends that."""
    with log.open("wb") as file:
        return subprocess.Popen(
            [sys.executable, "-ISE", str(LEASH), *command],
            stdin=subprocess.PIPE,
            stdout=file,
            stderr=subprocess.STDOUT,
            env=env,
            start_new_session=True,  # Ctrl-C is for the one who waits
        )


def environment(cores: int) -> dict[str, str]:
    """Of a run: as it is here, so that nothing else follows from the place."""
    return os.environ | {CORES: str(cores)}


def at_a_time(count: int) -> str:
    """For people."""
    return f"{'one' if count == 1 else count} at a time"


class Here:
    """Places on this machine."""

    def __init__(self, jobs: int) -> None:
        self.at_once = jobs
        self.closed = False
        self._lock = Lock()
        self._running: set[subprocess.Popen[bytes]] = set()

    def __str__(self) -> str:
        return at_a_time(self.at_once)

    def run(self, command: Callable[[], Sequence[str]], log: Path) -> Ended:
        """As `Places` has it. All cores are divided among the runs."""
        if self.closed:
            return Ended(KILLED)
        words = command()
        with self._lock:
            if self.closed:
                return Ended(KILLED)
            process = begin(words, log, environment(max(1, available() // self.at_once)))
            self._running.add(process)
        code = process.wait()
        with self._lock:
            self._running.remove(process)
            _let_go(process)
        return Ended(code)

    def close(self) -> None:
        """As `Places` has it."""
        with self._lock:
            self.closed = True
            for process in self._running:
                _let_go(process)


def _let_go(process: "subprocess.Popen[bytes]") -> None:
    """Close the leash: what still runs ends."""
    if process.stdin and not process.stdin.closed:
        process.stdin.close()


class Keeper:
    """A process on a node that keeps cores for a run; with it, the run ends."""

    def node(self) -> str:
        """Where it is, once it began."""
        return os.uname().nodename

    def run(self, command: Sequence[str], log: str, root: str, env: dict[str, str]) -> int:
        """Run a command, and give its exit code."""
        if not Path(root).is_dir() or not Path(log).parent.is_dir():
            raise ThawError(
                f"node {self.node()} doesn't see {root}; every node needs the repository's folder "
                "under the same path (docs/use/cluster.md)"
            )
        os.chdir(root)
        own = {name: os.environ[name] for name in DEVICES if name in os.environ}
        return begin(command, Path(log), env | own).wait()


class Cluster:
    """Places on a Ray cluster."""

    def __init__(self, jobs: int | None, cores: int) -> None:
        from thaw.core.cluster import connect, dismiss

        self._ray = connect()
        dismiss()
        nodes = [each["Resources"] for each in self._ray.nodes() if each["Alive"]]
        # A node that has fewer takes a run all the same, or none would ever begin.
        self._cores = max(1, min(cores, int(max(each.get("CPU", 0) for each in nodes))))
        self._gpus = int(any(each.get("GPU", 0) for each in nodes))
        self._room = sum(int(each.get("CPU", 0)) // self._cores for each in nodes)
        self._count = len(nodes)
        self._most = jobs
        self.at_once = jobs or 10_000  # more nodes may join
        self.closed = False
        self._lock = Lock()
        self._keepers: set[Any] = set()
        resources = {"num_cpus": self._cores, "num_gpus": self._gpus, "max_restarts": 0}
        self._kind = self._ray.remote(Keeper).options(**resources)

    def __str__(self) -> str:
        count = min(self._room, self._most or self._room)
        each = some(self._cores, "core") + " and a GPU" * self._gpus
        where = some(self._count, "node")
        return f"{at_a_time(count)}, {each} each, on a Ray cluster of {where}"

    def run(self, command: Callable[[], Sequence[str]], log: Path) -> Ended:
        """As `Places` has it."""
        errors = self._ray.exceptions
        node = ""
        with self._lock:
            if self.closed:
                return Ended(KILLED)
            keeper = self._kind.remote()
            self._keepers.add(keeper)
        try:
            node = self._ray.get(keeper.node.remote())
            words = list(command())
            where = (str(log.resolve()), str(Path.cwd()), environment(self._cores))
            return Ended(self._ray.get(keeper.run.remote(words, *where)), node)
        except (errors.RayActorError, errors.OutOfMemoryError):
            return Ended(KILLED, node)
        except errors.RayTaskError as error:
            if isinstance(error.cause, ThawError):
                raise ThawError(str(error.cause)) from None
            raise
        except errors.RayError as error:
            raise ThawError(f"Ray: {one_line(reason(error))}; see docs/use/cluster.md") from None
        finally:
            with self._lock:
                self._keepers.discard(keeper)
            with suppress(Exception):  # the cluster may be gone
                self._ray.kill(keeper)

    def close(self) -> None:
        """As `Places` has it."""
        with self._lock:
            self.closed = True
            for keeper in self._keepers:
                with suppress(Exception):
                    self._ray.kill(keeper)
