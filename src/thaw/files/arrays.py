"""Arrays mapped from files, read a part at a time."""

import io
import mmap
from typing import Any

import numpy as np
from numpy.typing import NDArray


def forget(array: NDArray[Any]) -> None:
    """Let go of the parts of a mapped array that were read; its file still has them.

    Otherwise a process that reads a whole file ends up holding it in memory. Leaves arrays that
    aren't mapped alone.
    """
    mapped = getattr(array, "_mmap", None)
    if mapped is not None and hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)


def as_npy(array: NDArray[Any]) -> bytes:
    """The contents of a .npy file."""
    file = io.BytesIO()
    np.lib.format.write_array(file, array, (1, 0), allow_pickle=False)
    return file.getvalue()
