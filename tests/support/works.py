"""Work for the processes of a cluster: what tests hand to `engines.spread`."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from thaw.core import engines
from thaw.pictures.decoding import BadImageError


@dataclass(frozen=True)
class Squares:
    """Squares numbers, even ones slowly while there is a file `slow`.

    Each process leaves a file of its number in a folder.
    """

    pids: Path
    slow: Path = Path("slow")

    def start(self) -> Callable[[int], int]:
        note = self.pids / str(os.getpid())

        def work(item: int) -> int:
            note.touch()
            time.sleep(0.2 if item % 2 == 0 and self.slow.exists() else 0)
            return item * item

        return work


@dataclass(frozen=True)
class Kills:
    """Gives what it is given, but one item kills its process."""

    deadly: int
    named: bool = True

    def start(self) -> Callable[[int], int]:
        def work(item: int) -> int:
            if self.named:
                engines.works_on(f"photos/{item}.png")
            if item == self.deadly:
                os.kill(os.getpid(), 9)
            return item

        return work


@dataclass(frozen=True)
class Raises:
    """Raises for one item, as it starts for item -1: a bad picture, or what can't be pickled."""

    item: int
    picture: bool = True

    def start(self) -> Callable[[int], int]:
        def work(item: int) -> int:
            if item == self.item:
                raise self._error()
            return item

        if self.item == -1:
            raise self._error()
        return work

    def _error(self) -> Exception:
        if self.picture:
            return BadImageError(Path("photos/7.png"), "not the bytes of a picture")
        error = ValueError("odd")
        error.what = lambda: None  # type: ignore[attr-defined]
        return error
