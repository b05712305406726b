"""How far a long job came, kept in a file, so that it goes on after it was killed."""

from collections.abc import Sequence
from pathlib import Path
from typing import IO


class Journal:
    """Lines of words, appended as the job goes; those of another job are forgotten."""

    def __init__(self, path: Path, key: str) -> None:
        """Open or begin one.

        Args:
            path: of the file.
            key: of the job; what was noted under another doesn't count.
        """
        self._path = path
        self._file: IO[str] | None = None
        found = path.read_text(encoding="utf-8") if path.exists() else ""
        whole = found[: found.rfind("\n") + 1].splitlines()  # a kill may leave half a line
        self._key = key
        self.lines = [line.split() for line in whole[1:]] if whole[:1] == [key] else []

    def begin(self, lines: Sequence[Sequence[str]]) -> None:
        """Go on after these lines, and no others."""
        self.lines = [list(line) for line in lines]
        text = "".join(f"{line}\n" for line in [self._key, *map(" ".join, self.lines)])
        self._path.write_text(text, encoding="utf-8")
        self._file = self._path.open("a", encoding="utf-8", buffering=1)

    def add(self, *words: object) -> None:
        """Append a line."""
        assert self._file
        print(*words, file=self._file)

    def close(self) -> None:
        """Leave it for another day."""
        if self._file:
            self._file.close()
