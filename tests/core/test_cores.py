"""`thaw.core.cores`: as many as the process may use, and no more than asked for."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from thaw.core import cores


@pytest.fixture(autouse=True)
def many(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """A machine of eight cores without control groups."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    monkeypatch.setattr(cores, "CGROUPS", tmp_path / "groups")
    monkeypatch.setattr(cores, "OWN_CGROUPS", tmp_path / "own")
    yield
    cores.limit(None)


def test_all_there_are_by_default() -> None:
    assert cores.available() == 8


def test_limit() -> None:
    cores.limit(3)
    assert cores.available() == 3
    cores.limit(100)
    assert cores.available() == 8


@pytest.mark.parametrize(
    ("own", "files", "count"),
    [
        ("0::/\n", {"cpu.max": "200000 100000\n"}, 2),  # docker run --cpus 2
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 2),
        ("0::/\n", {"cpu.max": "20000 100000\n"}, 1),
        ("0::/\n", {"cpu.max": "max 100000\n"}, 8),
        ("0::/a/b\n", {"a/cpu.max": "300000 100000\n", "a/b/cpu.max": "max 100000\n"}, 3),
        ("0::/host/path\n", {"cpu.max": "300000 100000\n"}, 3),
        (
            "5:cpuset:/x\n4:cpu,cpuacct:/docker/x\n",
            {"cpu,cpuacct/cpu.cfs_quota_us": "400000\n", "cpu,cpuacct/cpu.cfs_period_us": "100000"},
            4,
        ),
        ("4:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 8),
        ("0::/\n", {"cpu.max": "nonsense"}, 8),
    ],
)
def test_a_share_of_time(tmp_path: Path, own: str, files: dict[str, str], count: int) -> None:
    (tmp_path / "own").write_text(own)
    for name, text in files.items():
        path = tmp_path / "groups" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert cores.available() == count


def test_a_limit_of_ones_own_below_it(tmp_path: Path) -> None:
    (tmp_path / "own").write_text("0::/\n")
    (tmp_path / "groups").mkdir()
    (tmp_path / "groups/cpu.max").write_text("400000 100000\n")
    cores.limit(3)
    assert cores.available() == 3
