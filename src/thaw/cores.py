"""How many processor cores this process may use."""

import os


def available() -> int:
    """Cores that this process may run on (a container's or `taskset`'s limit included)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
