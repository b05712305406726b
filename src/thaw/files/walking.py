"""Which files below a folder are pictures."""

import os
from collections.abc import Iterator
from pathlib import Path

from thaw.core.errors import ThawError

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif")


def hidden(name: str) -> bool:
    """Whether a file or folder of that name is no part of a dataset."""
    return name.startswith(".") or name == "__MACOSX"


def walk(folder: Path) -> Iterator[Path]:
    """The files below a folder, sorted, without hidden ones.

    Follows links to folders, but none that leads back up, and enters no folder twice, so that a
    loop of links ends.

    Raises:
        ThawError: when a folder can't be read.
    """
    top = folder.resolve()
    seen: set[Path] = set()
    for where, folders, names in os.walk(folder, onerror=_refuse, followlinks=True):
        here = Path(where).resolve()
        if here in seen or (here != top and top.is_relative_to(here)):
            folders.clear()
            continue
        seen.add(here)
        folders[:] = sorted(name for name in folders if not hidden(name))
        for name in sorted(names):
            if not hidden(name):
                yield Path(where, name)


def _refuse(error: OSError) -> None:
    raise ThawError(
        f"{error.filename} can't be read ({error.strerror}); change its rights or move it away"
    ) from None
