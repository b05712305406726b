"""How many processor cores this process may use."""

import os

_limit: int | None = None


def limit(count: int | None) -> None:
    """Use no more than `count` cores for pictures and frozen layers; None for all there are."""
    global _limit
    _limit = count


def available() -> int:
    """Cores that this process may run on: a container's, `taskset`'s and `limit`'s count."""
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:
        count = os.cpu_count() or 1
    return min(count, _limit or count)
