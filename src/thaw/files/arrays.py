"""Arrays mapped from files, read a part at a time."""

import mmap
from typing import Any

from numpy.typing import NDArray


def forget(array: NDArray[Any]) -> None:
    """Let go of the parts of a mapped array that were read; its file still has them.

    Else a process that reads all of a file comes to hold all of it. Other arrays are left alone.
    """
    mapped = getattr(array, "_mmap", None)
    if mapped is not None and hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)
