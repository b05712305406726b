"""How many processor cores this process may use."""

import math
import os
from collections.abc import Iterator
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUPS = Path("/proc/self/cgroup")
_limit: int | None = None


def limit(count: int | None) -> None:
    """Use no more than `count` cores for pictures and frozen layers; None for all there are."""
    global _limit
    _limit = count


def available() -> int:
    """Cores that this process may run on: a container's, `taskset`'s and `limit`'s count.

    A container may have a share of the time of all cores instead (`docker run --cpus 2`): more
    threads than that would only wait for each other.
    """
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:
        count = os.cpu_count() or 1
    return min(count, _limit or count, *(max(1, math.ceil(share)) for share in _shares()))


def _shares() -> Iterator[float]:
    """How many cores' time each control group that this process is in may use, where limited."""
    try:
        lines = OWN_CGROUPS.read_text().splitlines()
    except OSError:  # no Linux
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        top = CGROUPS / controllers if controllers else CGROUPS
        # In a container the path may be the host's, and the group lies at the top.
        below = Path(path.lstrip("/"))
        for folder in {top, *(top / part for part in (below, *below.parents))}:
            if share := _share(folder):
                yield share


def _share(folder: Path) -> float | None:
    """By `cpu.max`, "quota period" or "max period"; by two files of the first version's."""
    try:
        if (folder / "cpu.max").is_file():
            quota, period = (folder / "cpu.max").read_text().split()
        else:
            quota = (folder / "cpu.cfs_quota_us").read_text()
            period = (folder / "cpu.cfs_period_us").read_text()
        share = int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):  # "max", or none there
        return None
    return share if share > 0 else None  # -1: no limit
