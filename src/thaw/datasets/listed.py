"""Find the pictures that a table names, however Windows, macOS or a registry of ids spells them."""

import os
import re
from collections import defaultdict
from collections.abc import Callable
from functools import cached_property
from pathlib import Path, PurePosixPath

from thaw.core.errors import ThawError, shortlist
from thaw.datasets.catalogue import composed
from thaw.files import kinds
from thaw.files.walking import walk

DRIVE = re.compile(r"[A-Za-z]:[\\/]|[\\/]")  # how a path from the top of a disk begins


class Finder:
    """The files below a folder, by the names that a table in it has for them."""

    def __init__(self, root: Path, table: Path) -> None:
        self.root = root
        self._beside = table.parent.relative_to(root).as_posix()
        self._prefix: str | None = None  # of paths from the top of a disk; known after the first

    def find(self, name: str) -> str:
        """The path of a picture below the root.

        The name is as in the table: relative to the table, or from the top of another disk (all
        with the same folders before), with slashes or backslashes, in any Unicode form or case,
        with or without a suffix; or an id that is the name of one picture alone.

        Raises:
            ThawError: when there is none or several, or it lies outside. What comes before is for
                the caller to say.
        """
        plain = name if self._is_file(name) else name.replace("\\", "/")
        if DRIVE.match(name):
            plain = self._without_prefix(plain)
        found = self._look_up(plain)
        if not found and "/" not in plain:
            found = self._by(_name, plain) or self._by(_id, plain)
        if not found:
            raise ThawError(f"names {name}, which is not there; mend the line")
        if len(found) > 1:
            raise ThawError(
                f"names {name}, which may be {shortlist(found, 3)}; give the path with its suffix"
            )
        return found[0]

    def _look_up(self, name: str) -> list[str]:
        """The files that a path may mean: from the table on, or else from the root on."""
        path = os.path.normpath(f"{self._beside}/{name}")
        if path.startswith(".."):
            raise ThawError(f"names {name}, which lies outside of the dataset; move it in")
        if self._is_file(name):
            return [path]
        places = dict.fromkeys([path, os.path.normpath(name)])
        for spelling in (composed, _bare, _folded):
            if found := [each for place in places for each in self._by(spelling, place)]:
                return found
        return []

    def _is_file(self, name: str) -> bool:
        try:
            return (self.root / self._beside / name).is_file()
        except (OSError, ValueError):  # too long for a name
            return False

    def _without_prefix(self, path: str) -> str:
        if self._prefix is None:
            parts = PurePosixPath(path).parts
            ends = ["/".join(parts[first:]) for first in range(1, len(parts))]
            there = next((end for end in ends if self._look_up(end)), None)
            if there is None:
                raise ThawError(
                    f"names {path}, from the top of a disk, and no end of that is here; give paths "
                    "relative to the table"
                )
            self._prefix = path.removesuffix(there)
            print(f"paths in the table begin with {self._prefix}, which is left out")
        if not path.startswith(self._prefix):
            raise ThawError(
                f"names {path}, which doesn't begin with {self._prefix} as those before; give "
                "paths relative to the table"
            )
        return path.removeprefix(self._prefix)

    def _by(self, spelling: Callable[[str], str], path: str) -> list[str]:
        return self._indices[spelling].get(spelling(path), [])

    @cached_property
    def pictures(self) -> list[str]:
        """All pictures below the root."""
        files = [each for each in walk(self.root) if kinds.means_picture(each)]
        return [each.relative_to(self.root).as_posix() for each in files]

    @cached_property
    def _indices(self) -> dict[Callable[[str], str], dict[str, list[str]]]:
        found: dict[Callable[[str], str], dict[str, list[str]]] = {}
        for spelling in (composed, _bare, _folded, _name, _id):
            index: dict[str, list[str]] = defaultdict(list)
            for path in self.pictures:
                index[spelling(path)].append(path)
            found[spelling] = index
        return found


def _bare(path: str) -> str:
    """Without a suffix; what isn't one of a picture stays, as in `v1.2`."""
    here = PurePosixPath(composed(path))
    return str(here.with_suffix("") if here.suffix.lower() in kinds.SUFFIXES else here)


def _folded(path: str) -> str:
    return _bare(path).casefold()


def _name(path: str) -> str:
    return PurePosixPath(composed(path)).name


def _id(path: str) -> str:
    return PurePosixPath(_bare(path)).name
