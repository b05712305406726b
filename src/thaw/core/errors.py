"""The one kind of error that a person can mend, and how it is shown."""

import errno
import io
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

# What TensorFlow, ONNX Runtime and C++ say when no memory is left; none is imported here.
NO_MEMORY = re.compile(
    r"ResourceExhausted|OOM when allocating|bad_?alloc|bad allocation|"
    r"[Ff]ailed to allocate memory|[Cc]annot allocate memory|CUDA.*out of memory|_ALLOC_FAILED"
)
# What Git and libgit2 say of a repository of another user, as in a container.
OTHER_OWNER = re.compile("not owned by current user|dubious ownership")
OTHER_OWNERS = (
    "this folder belongs to another user, so Git won't read it; run `git config --global --add "
    'safe.directory "$PWD"` here, then this again'
)


OF_THE_MACHINE = (
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOMEM,
    errno.EIO,
    errno.ENOSPC,
    errno.ESTALE,
    errno.ETIMEDOUT,
)


class ThawError(Exception):
    """A mistake outside the code. Its message is one sentence: the value, the place, the remedy."""


class MachineError(ThawError):
    """A fault of the machine, which says nothing of what was read."""


def run(main: Callable[[], object], again: str = "run it again") -> None:
    """Run a script's `main`; a `ThawError` becomes a sentence on standard error and exit code 1.

    `again` is what whoever interrupts it is told to do. A reader that stops early, as in
    `python src predict photos | head -1`, is told nothing. Output is written line by line, in a log
    too, where Python would keep it back. A character that standard output can't encode, as in a
    file name that isn't UTF-8, is written as an escape.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace", line_buffering=True)
    try:
        try:
            main()
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        # Python flushes once more as it ends; let that go nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except ThawError as error:
        sys.exit(f"error: {one_line(str(error))}")
    except FileNotFoundError as error:
        missing = error.filename or error
        sys.exit(
            f"error: {one_line(str(missing))} is missing; run `dvc repro`, which makes it first"
        )
    except Exception as error:
        if sentence := _outside(error):
            sys.exit(f"error: {sentence}")
        raise
    except KeyboardInterrupt:
        sys.exit(f"error: interrupted; {again}")


def one_line(text: str) -> str:
    """Write line ends and control characters as escapes: a file's name may hold some."""
    return re.sub(r"[\x00-\x1f\x7f-\x9f]", lambda found: repr(found[0])[1:-1], text)


def of_the_machine(error: BaseException) -> bool:
    """Whether memory, files, the disk or a GPU ran out or failed: what was read may be right."""
    if isinstance(error, MemoryError | MachineError) or NO_MEMORY.search(
        f"{type(error).__name__} {error}"
    ):
        return True
    return isinstance(error, OSError) and error.errno in OF_THE_MACHINE


def _outside(error: Exception) -> str:
    """A sentence on an error that disk, memory or a folder's owner made; empty for a bug's."""
    if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
        return (
            "too many files are open; allow more with `ulimit -n 4096`, or set fewer cores in "
            "params.yaml"
        )
    if isinstance(error, OSError) and error.errno is not None:
        where = error.filename or f"a file in {Path.cwd()}"
        return (
            f"{where} can't be read or written ({error.strerror}); "
            "free disk space or change its rights"
        )
    if OTHER_OWNER.search(str(error)):
        return OTHER_OWNERS
    if of_the_machine(error):
        return (
            "memory ran out; set a smaller batch_size or image_size or fewer cores in "
            "params.yaml, or end other programs"
        )
    return ""


def reason(error: Exception) -> str:
    """The first line of what an error says, or its kind where it says nothing."""
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def some(count: int, noun: str) -> str:
    """A number and what it counts: "1 picture", "2,000 pictures"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def as_yaml(value: object) -> str:
    """A parameter's value as params.yaml has it."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    return str(value)


def shortlist(names: list[str], limit: int = 20) -> str:
    """Join names for an error message, saying how many were left out."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more
