"""Work for the processes of a cluster: what tests hand to `engines.spread`."""

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import workspace
from thaw.core import engines, errors
from thaw.features import cache, extraction
from thaw.files import tables
from thaw.pictures.decoding import BadImageError

BLOCK = 2  # pictures that a journal has a line for


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


class Opens:
    """Gives a file's text, which it reads as it arrives, by a relative path."""

    def __init__(self, name: str) -> None:
        self._name, self._text = name, Path(name).read_text()

    def __reduce__(self) -> tuple[object, ...]:
        return Opens, (self._name,)

    def start(self) -> Callable[[int], str]:
        return lambda _: self._text


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


def extractor(repository: Path) -> tuple[extraction.Extractor, list[str]]:
    """Of a repository whose stages have run, with all its pictures."""
    facts = cache.read_facts(repository / workspace.FEATURES)
    frozen, images = repository / workspace.FROZEN, repository / workspace.IMAGES
    paths = tables.read(repository / workspace.SPLIT)["path"].tolist()
    return extraction.Extractor(str(frozen), images, facts, facts.augmentation.count), paths


def main() -> None:
    """Extract on a cluster, so slowly that it can be killed meanwhile."""

    def slowly(items: Iterable[object], *_: object) -> Iterator[object]:
        for item in items:
            time.sleep(0.2)
            yield item

    extraction.track = slowly  # type: ignore[assignment]
    extraction.BLOCK = BLOCK
    engines.use("ray")
    found, paths = extractor(Path(sys.argv[1]))
    out = Path(sys.argv[2])
    extraction.extract(found, paths, out, "train", scratch=out)


if __name__ == "__main__":
    errors.run(main)
