"""The files below a folder."""

import os
from collections.abc import Iterator
from pathlib import Path

from thaw.core.errors import ThawError

# What systems put beside pictures: copies in small (macOS, Synology), what was thrown away.
SYSTEMS = {
    "__MACOSX",
    "@eaDir",
    "#recycle",
    "$RECYCLE.BIN",
    "System Volume Information",
    "lost+found",
}


def hidden(name: str) -> bool:
    """Whether a file or folder of that name is no part of a dataset."""
    return name.startswith(".") or name in SYSTEMS


def walk(folder: Path) -> Iterator[Path]:
    """The files below a folder, sorted, without hidden ones.

    Follows links to folders, but none that leads back up, and enters no folder twice, so that a
    loop of links ends.

    Raises:
        ThawError: when a folder can't be read.
    """
    for where, _, names in folders(folder):
        yield from (where / name for name in names)


def folders(folder: Path) -> Iterator[tuple[Path, list[str], list[str]]]:
    """Each folder from this one down, with the names of the folders and files in it, as `walk`.

    A link to a folder that is come to without it is left out.
    """
    top = folder.resolve()
    seen: set[Path] = set()
    for where, inside, names in os.walk(folder, onerror=_refuse, followlinks=True):
        here = Path(where).resolve()
        linked = Path(where) != folder and Path(where).is_symlink()
        met = linked and here.is_relative_to(top) and not _hidden_below(top, here)
        if here in seen or met or (here != top and top.is_relative_to(here)):
            inside.clear()
            continue
        seen.add(here)
        inside[:] = sorted(name for name in inside if not hidden(name))
        yield Path(where), inside, sorted(name for name in names if not hidden(name))


def _hidden_below(top: Path, folder: Path) -> bool:
    return any(hidden(part) for part in folder.relative_to(top).parts)


def _refuse(error: OSError) -> None:
    raise ThawError(
        f"{error.filename} can't be read ({error.strerror}); change its rights or move it away"
    ) from None
