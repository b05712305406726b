"""How far a long job came, kept in a file, so that it goes on after it was killed."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO

from thaw.files.serialize import write_text


class Journal:
    """What was noted of pieces of work, by their numbers; that of another job is forgotten."""

    def __init__(self, path: Path, key: str) -> None:
        """Open or begin one.

        Args:
            path: of the file.
            key: of the job; what was noted under another doesn't count.
        """
        self._path = path
        self._key = key
        self._file: IO[str] | None = None
        self.found: dict[int, list[str]] = {}  # by number, the words of what was noted last
        text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
        first, *lines = text[: text.rfind("\n") + 1].splitlines() or [""]  # a kill may leave half
        if first != key:
            return
        for line in lines:
            with suppress(ValueError):  # a power cut may leave anything
                number, *words = line.split()
                self.found[int(number)] = words

    def begin(self, found: Mapping[int, list[str]]) -> None:
        """Go on after these, and no others."""
        lines = [f"{number} {' '.join(words)}" for number, words in found.items()]
        write_text(self._path, "\n".join([self._key, *lines, ""]))
        self._file = self._path.open("a", encoding="utf-8", buffering=1)

    def add(self, number: int, *words: object) -> None:
        """Note what was done of a piece."""
        assert self._file
        print(number, *words, file=self._file)

    def close(self) -> None:
        """Leave it for another day."""
        if self._file:
            self._file.close()
