"""Map over many items in threads, in order, in flat memory."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from thaw.core.cores import available

T = TypeVar("T")
R = TypeVar("R")


def in_threads(
    work: Callable[[T], R], items: Iterable[T], threads: int | None = None, ahead: int | None = None
) -> Iterator[R]:
    """Map in threads, in order; at most `ahead` results wait, so that memory stays flat.

    By default there are as many threads as cores, and four results a thread may wait.
    """
    threads = threads or available()
    ahead = ahead or 4 * threads
    with ThreadPoolExecutor(threads) as pool:
        waiting: list[Future[R]] = []
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) > ahead:
                    yield waiting.pop(0).result()
            while waiting:
                yield waiting.pop(0).result()
        finally:
            for future in waiting:
                future.cancel()
