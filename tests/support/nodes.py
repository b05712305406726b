"""A Ray cluster of real processes on this machine, and how to wait for processes."""

import contextlib
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest

from thaw.core import cluster

STORE = 80_000_000  # bytes of a node's own store


def until(so: Callable[[], object], seconds: float = 60) -> None:
    """Wait for it."""
    end = time.monotonic() + seconds
    while not so():
        assert time.monotonic() < end
        time.sleep(0.02)


def gone(pid: int) -> bool:
    """Whether a process has ended, also where nobody has asked for its code."""
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def processes(folder: str) -> list[psutil.Process]:
    """All that name the folder: Ray's own."""
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if any(folder in word for word in process.info["cmdline"] or ())
    ]


@contextlib.contextmanager
def short_folder() -> Iterator[str]:
    """For Ray, whose sockets' names have 107 bytes; with it ends all of Ray that names it."""
    folder = tempfile.mkdtemp(prefix="ray", dir="/tmp")
    try:
        yield folder
    finally:
        for process in processes(folder):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def running(cores: list[int], missed: int, answer: int) -> Iterator[tuple[Any, str]]:
    """A cluster, whose address `RAY_ADDRESS` is, and the folder that its processes name.

    Args:
        cores: of each node, the head first.
        missed: looks at a node, one a second, after which it is held to be gone, not thirty.
        answer: milliseconds in which it has to answer one.
    """
    kind = pytest.importorskip("ray.cluster_utils", reason="Ray isn't installed here").Cluster
    soon = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 1000}
    soon |= {"health_check_failure_threshold": missed, "health_check_timeout_ms": answer}
    with short_folder() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_TMPDIR", folder)
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        head = {"num_cpus": cores[0], "object_store_memory": STORE, "include_dashboard": False}
        made = kind(initialize_head=True, head_node_args=head | {"_system_config": soon})
        for count in cores[1:]:
            made.add_node(num_cpus=count, object_store_memory=STORE)
        patch.setenv(cluster.ADDRESS, made.address)
        patch.setattr(cluster, "_ray", None)
        patch.setattr(cluster, "_resting", [])
        try:
            yield made, folder
        finally:
            if cluster._ray:
                cluster._ray.shutdown()
            made.shutdown()
