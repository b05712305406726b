"""The one place that writes files: whole or not at all, the same bytes each time."""

import csv
import io
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from thaw.core.errors import ThawError


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`, and move it to `path` only when the block ends well.

    Raises:
        ThawError: when the file can't be written (full disk, read-only folder).
    """
    temporary = path.with_name(f".part-{path.name}")
    try:
        with writable(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            temporary.replace(path)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextmanager
def writable(path: Path) -> Iterator[None]:
    """Write a file in the block.

    Raises:
        ThawError: when it can't be written (full disk, read-only folder).
    """
    try:
        yield
    except OSError as error:
        raise ThawError(
            f"{path} can't be written ({error.strerror or error}); "
            "free disk space or make its folder writable"
        ) from error


def refuse_full(folder: Path, needed: int, what: str, remedy: str) -> None:
    """Refuse what the disk has no room for, before the work and not after.

    Raises:
        ThawError: when fewer bytes are free; it says what needs them, and what would help.
    """
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise ThawError(
            f"{what} needs {needed / 1e9:,.1f} GB in {folder}, and {free / 1e9:,.1f} GB are free; "
            f"free disk space, or {remedy}"
        )


def write_bytes(path: Path, content: bytes) -> None:
    """Write bytes, atomically."""
    with atomic(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, content: str) -> None:
    """Write UTF-8 text with `\\n` line ends, atomically."""
    write_bytes(path, content.encode())


def write_json(path: Path, content: Any) -> None:
    """Write JSON, keys in the order given, floats rounded to nine digits."""
    text = json.dumps(_rounded(content), indent=2, ensure_ascii=False, allow_nan=False)
    write_text(path, text + "\n")


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a CSV table with `\\n` line ends, floats rounded to nine digits."""
    write_text(path, "".join(_line(cells) for cells in (columns, *rows)))


def _line(cells: Sequence[Any]) -> str:
    buffer = io.StringIO()
    # The writer quotes a cell that holds a character of its line end, so give it both characters.
    csv.writer(buffer, lineterminator="\r\n").writerow([_rounded(cell) for cell in cells])
    return buffer.getvalue().removesuffix("\r\n") + "\n"


def _rounded(content: Any) -> Any:
    if isinstance(content, float):
        return float(f"{content:.9g}")
    if isinstance(content, Mapping):
        return {key: _rounded(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_rounded(value) for value in content]
    return content
