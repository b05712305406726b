"""What all tests share: their order, their limits, one run of the pipeline; Ctrl-C."""

import contextlib
import os
import signal
from collections.abc import Iterator
from types import FrameType

import psutil
import pytest

from repository import Finished

# A shell has a job in the background ignore it, and so would all that the tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Slowest first: begun last, one would run alone at the end. The second needs no run of the
# pipeline, and so doesn't wait while the first makes it.
SLOW = (
    "test_killed",
    "test_cluster",
    "test_stages",
    "test_reproducible",
    "test_experiments",
    "test_page",
    "test_pipeline",
    "test_report",
    "test_storage",
    "test_recipe",
    "test_export",
    "test_demo",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def place(item: pytest.Item) -> int:
        return SLOW.index(item.path.stem) if item.path.stem in SLOW else len(SLOW)

    items.sort(key=place)


@pytest.hookimpl(wrapper=True)
def pytest_timeout_set_timer() -> Iterator[None]:
    """When a test's time is up, all that it started is killed, while it is known whose it is."""
    result = yield
    ours, fail = psutil.Process(), signal.getsignal(signal.SIGALRM)
    before = set(ours.children(recursive=True))

    def end(number: int, frame: FrameType | None) -> None:
        for process in set(ours.children(recursive=True)) - before:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        if callable(fail):
            fail(number, frame)

    signal.signal(signal.SIGALRM, end)
    return result


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """One run of the pipeline for all tests, those of the other worker too: copy it."""
    base = tmp_path_factory.getbasetemp()
    return Finished.once(base.parent if "PYTEST_XDIST_WORKER" in os.environ else base)
