"""How far a long job is: a bar on a terminal, a plain line now and then where a log is kept."""

import sys
import time
from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")

SECONDS = 10  # between two lines


class Lines:
    """Lines on standard error. The first comes after `SECONDS`, so a short job writes none."""

    def __init__(self, what: str, total: int = 0, unit: str = "pictures") -> None:
        """Count up to `total`; 0 where that isn't known."""
        self.total = total
        self._what = what
        self._unit = unit
        self._done = self._told_done = 0
        self._began = self._told = time.monotonic()

    def update(self, more: int) -> None:
        """Count so many more."""
        self._done += more
        if time.monotonic() - self._told >= SECONDS:
            self._tell()

    def reset(self) -> None:
        """Begin again at 0."""
        self._done = 0

    def close(self) -> None:
        """Write a last line, if one was written before that wasn't the last."""
        if self._told > self._began and self._told_done < self._done:
            self._tell()

    def _tell(self) -> None:
        self._told, self._told_done = time.monotonic(), self._done
        of = f" of {self.total:,}" if self.total else ""
        took = self._told - self._began
        line = f"{self._what}: {self._done:,}{of} {self._unit} in {took:.0f} s"
        print(line, file=sys.stderr, flush=True)


def track(
    items: Iterable[Item], what: str, total: int | None = None, unit: str = "pictures"
) -> Iterator[Item]:
    """Go through items and show how far that is.

    Args:
        items: what the loop is over.
        what: the job, in a word or two.
        total: how many there are; None to ask `items`, which may not know.
        unit: what one of them is, in the plural.
    """
    if sys.stderr.isatty():
        yield from tqdm(items, what, total, unit=f" {unit}")
        return
    lines = Lines(what, total or (len(items) if isinstance(items, Sized) else 0), unit)
    for item in items:
        yield item
        lines.update(1)
    lines.close()
