"""`thaw.core.gpus`: what CUDA's driver tells, which is not here; a stand-in has its functions."""

import ctypes
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from thaw.core import cluster, engines, gpus

NO_DEVICE = 100


class Driver:
    """As libcuda.so.1: results through pointers, 0 where a call succeeds."""

    def __init__(self, *names: str) -> None:
        self.names = names

    def cuInit(self, flags: int) -> int:  # noqa: N802
        return 0 if self.names and flags == 0 else NO_DEVICE

    def cuDeviceGetCount(self, count: object) -> int:  # noqa: N802
        count._obj.value = len(self.names)
        return 0

    def cuDeviceGet(self, device: object, number: int) -> int:  # noqa: N802
        device._obj.value = 10 + number
        return 0

    def cuDeviceGetName(self, name: ctypes.Array, size: int, device: ctypes.c_int) -> int:  # noqa: N802
        assert size == len(name)
        name.value = self.names[device.value - 10].encode()
        return 0


@pytest.fixture(autouse=True)
def asked_anew() -> Iterator[None]:
    gpus.names.cache_clear()
    yield
    gpus.names.cache_clear()


@pytest.mark.parametrize(
    ("names", "described"),
    [
        ([], ""),
        (["NVIDIA T4"], "NVIDIA T4"),
        (["NVIDIA T4", "NVIDIA A100", "NVIDIA T4"], "2 x NVIDIA T4, NVIDIA A100"),
    ],
)
def test_the_driver_names_them(
    monkeypatch: pytest.MonkeyPatch, names: list[str], described: str
) -> None:
    asked = []
    monkeypatch.setattr(ctypes, "CDLL", lambda name: asked.append(name) or Driver(*names))
    assert gpus.names() == tuple(names)
    assert gpus.described() == described
    assert asked == ["libcuda.so.1"]


def test_there_are_none_without_a_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(ctypes, "CDLL", missing)
    assert gpus.names() == ()
    assert gpus.described() == ""


class Visible:
    """Work that tells which GPUs a process may see when it opens what it needs."""

    def start(self) -> Callable[[str], str]:
        seen = os.environ["CUDA_VISIBLE_DEVICES"]
        return lambda _: seen


def test_processes_of_a_cluster_see_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    monkeypatch.setattr(engines, "at", engines.at)
    monkeypatch.chdir(tmp_path)
    process = cluster._Process()
    process.go(str(tmp_path), str(tmp_path / "note"))
    assert process.begin(Visible()) is None
    assert process.do(["a picture"]) == ["-1"]
