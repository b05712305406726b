"""`thaw.files.arrays`: mapped arrays, and letting go of what was read."""

from pathlib import Path

import numpy as np
import pytest

from thaw.files.arrays import forget

STATUS = Path("/proc/self/status")


def resident() -> int:
    """Bytes of files that this process holds in memory."""
    (line,) = [each for each in STATUS.read_text().splitlines() if each.startswith("RssFile")]
    return int(line.split()[1]) * 1024


@pytest.mark.skipif(not STATUS.exists(), reason="resident memory is read as Linux gives it")
def test_forget_lets_go_of_what_was_read(tmp_path: Path) -> None:
    size = 64 * 2**20
    np.save(tmp_path / "a.npy", np.arange(size, dtype=np.uint8).reshape(64, -1))
    mapped = np.load(tmp_path / "a.npy", mmap_mode="r")
    before = resident()
    total = int(mapped.sum(dtype=np.int64))
    assert resident() - before > size / 2
    forget(mapped)
    assert resident() - before < size / 8
    assert int(mapped.sum(dtype=np.int64)) == total
    forget(mapped[:, 3:])  # a part of it is mapped too


def test_forget_leaves_other_arrays_alone() -> None:
    array = np.arange(5)
    forget(array)
    assert array.tolist() == [0, 1, 2, 3, 4]
