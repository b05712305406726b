"""A file that notes the sha256 of downloads, in the form of `sha256sum`."""

import hashlib
from pathlib import Path

from thaw.core.errors import ThawError
from thaw.files.serialize import write_text


def sha256(path: Path) -> str:
    """Of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def short(text: str) -> str:
    """16 digits of a text's sha256, for a name that doesn't tell it."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def noted(notes: Path, address: str) -> str | None:
    """The sha256 that is noted of an address, if any.

    Raises:
        ThawError: when the file isn't of that form.
    """
    for number, line in enumerate(_lines(notes), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        digest, _, named = line.partition("  ")
        if len(digest) != 64 or not named:
            raise ThawError(f"{notes}, line {number} is no sha256 and address; remove the line")
        if named == address:
            return digest
    return None


def note(notes: Path, address: str, digest: str) -> None:
    """Note an address of which none is noted."""
    write_text(notes, "".join(f"{line}\n" for line in [*_lines(notes), f"{digest}  {address}"]))


def _lines(notes: Path) -> list[str]:
    return notes.read_text(encoding="utf-8").splitlines() if notes.is_file() else []
