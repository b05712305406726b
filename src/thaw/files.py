"""Which files below a folder are pictures."""

import os
from collections.abc import Iterator
from pathlib import Path

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif")


def hidden(name: str) -> bool:
    """Whether a file or folder of that name is no part of a dataset."""
    return name.startswith(".") or name == "__MACOSX"


def walk(folder: Path) -> Iterator[Path]:
    """The files below a folder, sorted, without hidden ones."""
    # os.walk doesn't follow links to folders, so a loop of links ends.
    for where, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not hidden(name))
        for name in sorted(names):
            if not hidden(name):
                yield Path(where, name)
