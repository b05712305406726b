"""Where work that is heavy for each picture runs: in threads here, or on a Ray cluster.

No byte of a result follows from which: results come in the order of what they are of.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.util import find_spec
from typing import Literal, Protocol, TypeVar

from thaw.core.errors import ThawError
from thaw.core.threads import in_threads

T_contra = TypeVar("T_contra", contravariant=True)
R_co = TypeVar("R_co", covariant=True)
T = TypeVar("T")
R = TypeVar("R")
Engine = Literal["local", "ray"]
_engine: Engine = "local"


class Work(Protocol[T_contra, R_co]):
    """What is to be done with each item; it can be pickled, so plain values make it up."""

    def start(self) -> Callable[[T_contra], R_co]:
        """Open what all items need, once in each process, and give what does the work."""
        ...


def use(engine: Engine) -> None:
    """Run work there from now on.

    Raises:
        ThawError: when Ray is missing.
    """
    global _engine
    if engine == "ray" and find_spec("ray") is None:
        raise ThawError(
            "engine: ray: Ray isn't installed here; run `make venv-cluster`, or set engine: local"
        )
    _engine = engine


def current() -> Engine:
    """Where work runs."""
    return _engine


def _nowhere(name: str) -> None:
    """In one process nobody asks."""


at: Callable[[str], None] = _nowhere


def works_on(name: str) -> None:
    """Say which picture is worked on: if it kills the process, that is what it leaves."""
    at(name)


def spread(work: Work[T, R], items: Iterable[T], at_once: int = 16) -> Iterator[R]:
    """Do work on each item, in order; memory stays flat.

    Args:
        work: what to do.
        items: what with.
        at_once: how many a process of a cluster is handed at a time.

    Raises:
        ThawError: what the work raises; that Ray is missing or can't be reached; that an item kills
            every process that works on it, naming it.
    """
    if _engine == "local":
        yield from in_threads(work.start(), items)
        return
    from thaw.core import cluster  # here, as it is for a cluster alone

    yield from cluster.spread(work, items if isinstance(items, Sequence) else list(items), at_once)
