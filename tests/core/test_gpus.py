"""`thaw.core.gpus`: what CUDA's driver tells, which is not here; a stand-in has its functions."""

import ctypes
from collections.abc import Iterator

import pytest

from thaw.core import gpus

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
