"""What a path that isn't ours holds: its files' contents, read again only where they may differ."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from thaw.core.errors import ThawError, shortlist
from thaw.files.checksums import sha256
from thaw.files.walking import walk

Listing = dict[str, list[Any]]  # a file's name: what the system knows of it, then its SHA-256


def look(path: Path, before: Mapping[str, list[Any]]) -> Listing:
    """List a folder's files, or a lone file under an empty name.

    Args:
        path: the folder or file.
        before: an earlier listing. A file whose size, times and place on the disk are as they were
            isn't read again.

    Raises:
        ThawError: when a name isn't UTF-8, in which DVC writes names down.
    """
    found: Listing = {}
    for file in walk(path) if path.is_dir() else [path]:
        name = file.relative_to(path).as_posix() if file != path else ""
        if not _is_utf8(name):
            raise ThawError(f"{path}: the name {name!r} is not UTF-8; rename the file or folder")
        try:
            status = file.stat()
            known = [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]
            if before.get(name, [])[:-1] == known:
                found[name] = before[name]
                continue
            found[name] = [*known, sha256(file)]
        except OSError:  # a link to nowhere, no right to read it: who needs the file says so
            continue
    return found


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def digest(listing: Mapping[str, list[Any]]) -> dict[str, object]:
    """The same for the same names and contents, wherever they lie."""
    lines = [json.dumps([name, listing[name][-1]]) for name in sorted(listing)]
    return {
        "files": len(listing),
        "bytes": sum(known[0] for known in listing.values()),
        "sha256": hashlib.sha256("\n".join(lines).encode()).hexdigest(),
    }


def difference(before: Mapping[str, list[Any]], now: Mapping[str, list[Any]]) -> str:
    """`2 new (a.jpg, b.jpg), 1 gone (c.jpg)`; empty where nothing differs."""
    kinds = {
        "new": now.keys() - before.keys(),
        "gone": before.keys() - now.keys(),
        "changed": {
            name for name in now.keys() & before.keys() if now[name][-1] != before[name][-1]
        },
    }
    return ", ".join(
        f"{len(names)} {kind}" + (f" ({shortlist(sorted(names), 3)})" if any(names) else "")
        for kind, names in kinds.items()
        if names
    )
