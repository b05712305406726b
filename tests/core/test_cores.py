"""`thaw.core.cores`: as many as the process may use, and no more than asked for."""

import os
from collections.abc import Iterator

import pytest

from thaw.core import cores


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    yield
    cores.limit(None)


def test_all_there_are_by_default() -> None:
    assert cores.available() == len(os.sched_getaffinity(0))


def test_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    cores.limit(3)
    assert cores.available() == 3
    cores.limit(100)
    assert cores.available() == 8
