"""PyTorch's file of before 1.6: written by hand here, as PyTorch writes it."""

import io
import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from thaw.pretrained import torch_file

FIRST = np.arange(12, dtype="<f4").reshape(3, 4)


class _Named:
    """Pickled as a global of that name."""

    def __init__(self, module: str, name: str) -> None:
        self.place = f"c{module}\n{name}\n".encode()


def write(path: Path, kind: str = "FloatStorage", numbers: bytes = FIRST.tobytes()) -> None:
    """A dictionary of two tensors in one storage: all of it, and its transposed last two rows."""

    def storage() -> bytes:
        return (
            b"(X\x07\x00\x00\x00storage"
            + _Named("torch", kind).place
            + (b"X\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x0cNtQ")
        )

    def tensor(offset: int, shape: tuple[int, int], strides: tuple[int, int]) -> bytes:
        sizes = b"".join(b"K%cK%c\x86" % pair for pair in (shape, strides))
        rebuild = _Named("torch._utils", "_rebuild_tensor_v2").place
        return rebuild + b"(" + storage() + b"K%c" % offset + sizes + b"\x89NtR"

    entries = b"X\x05\x00\x00\x00whole" + tensor(0, (3, 4), (4, 1))
    entries += b"X\x04\x00\x00\x00part" + tensor(4, (4, 2), (1, 4))
    with path.open("wb") as file:
        for value in (torch_file.MAGIC, torch_file.VERSION, {"little_endian": True}):
            pickle.dump(value, file, protocol=2)
        file.write(b"\x80\x02ccollections\nOrderedDict\n)R(" + entries + b"u.")
        pickle.dump(["0"], file, protocol=2)
        file.write((12).to_bytes(8, "little") + numbers)


def test_tensors_are_read_with_their_strides(tmp_path: Path) -> None:
    write(tmp_path / "a.pth")
    found = torch_file.read(tmp_path / "a.pth")
    assert list(found) == ["whole", "part"]
    np.testing.assert_array_equal(found["whole"], FIRST)
    np.testing.assert_array_equal(found["part"], FIRST[1:].T)


class Harmful:
    """Runs a command where a plain unpickler reads it."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch harmed",)


def test_no_code_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "b.pth"
    with path.open("wb") as file:
        for value in (torch_file.MAGIC, torch_file.VERSION, {}, Harmful()):
            pickle.dump(value, file, protocol=2)
    with pytest.raises(ValueError, match=r"asks for (posix|nt)\.system"):
        torch_file.read(path)
    assert not (tmp_path / "harmed").exists()


@pytest.mark.parametrize(
    ("kind", "numbers", "told"),
    [
        ("FloatStorage", FIRST.tobytes()[:-1], "cut short"),
        ("HalfStorage", FIRST.tobytes(), "asks for torch.HalfStorage"),
        ("LongStorage", FIRST.tobytes(), "cut short"),
    ],
)
def test_damage_is_told(tmp_path: Path, kind: str, numbers: bytes, told: str) -> None:
    write(tmp_path / "c.pth", kind, numbers)
    with pytest.raises(ValueError, match=told):
        torch_file.read(tmp_path / "c.pth")


def test_other_files_are_refused(tmp_path: Path) -> None:
    for content in (b"", b"PK\x03\x04", pickle.dumps(1), io.BytesIO().read()):
        (tmp_path / "d.pth").write_bytes(content)
        with pytest.raises(ValueError, match="not PyTorch's format"):
            torch_file.read(tmp_path / "d.pth")
