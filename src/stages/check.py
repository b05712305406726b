"""Stage `check`: check all parameters, before any other stage removes what it made.

It moves aside what people put where stages write. It notes what `source` and `weights` point at, if
they are paths, and lets the links in data/watched/ point there. These are dependencies, so this
stage runs again when something behind a path changes.
"""

import json
import subprocess
from pathlib import Path

import keeping
import workspace
from thaw.core import effects
from thaw.core.errors import ThawError
from thaw.files import fetching, listing
from thaw.files.serialize import write_bytes, write_json

UNWATCHED = {"source": Path("../../datasets"), "weights": Path("../../pretrained")}
NEXT_TO = {"source": "dataset", "weights": "base_model"}  # whose file may name a path, too


def main() -> None:
    params = workspace.read_params()
    for line in effects.notes(params):
        print(f"note: {line}")
    given = [("source", workspace.source_given(params), workspace.GIVEN_SOURCE)]
    if params.weights.endswith(".weights.h5"):
        given.append(("weights", params.weights, workspace.GIVEN_WEIGHTS))
    else:
        write_json(workspace.GIVEN_WEIGHTS, {})
        _watch("weights", None)
    for name, value, _ in given:
        if value and (path := _local(value)):
            keeping.refuse_inside(value, path, f"params.yaml: {name}")
    keeping.protect()
    for name, value, to in given:
        _watch(name, _note(name, value, to))


def _local(value: str) -> Path | None:
    try:
        return fetching.local_path(workspace.at_home(value))
    except (ValueError, RuntimeError, OSError):  # `_note` says what is wrong
        return None


def _note(name: str, value: str, to: Path) -> Path | None:
    """Write down what a path holds, and say how it differs from the last time; return it."""
    try:
        path = fetching.find(workspace.at_home(value)) if value else None
    except ThawError as error:
        found = keeping.recorded(to, {name, NEXT_TO[name]})
        if found is None:
            raise ThawError(f"params.yaml: {name}: {error}") from None
        print(f"note: {name}: {value} is not here; what it held is as it was recorded")
        write_bytes(to, found)
        return None
    if path is None:  # an address: known by its name and checksum
        write_json(to, {})
        return None
    remembered = workspace.listing(name)
    try:
        known = json.loads(remembered.read_text("utf-8"))
        before = known["files"] if known["path"] == str(path.absolute()) else {}
    except (OSError, ValueError, KeyError, TypeError):  # the first time, or cut short
        before = {}
    now = listing.look(path, before)
    if before and (differs := listing.difference(before, now)):
        print(f"{name}: {value} has changed: {differs}")
    write_json(remembered, {"path": str(path.absolute()), "files": now})
    write_json(to, listing.digest(now))
    return path


def _watch(name: str, path: Path | None) -> None:
    """Let a dependency of this stage be a link to a path of one's own; without one, as committed.

    Git is told to leave the link as it is committed: a colleague hasn't that path.
    """
    link = workspace.WATCHED / name
    target = path.absolute() if path else UNWATCHED[name]
    if link.is_symlink() and link.readlink() == target:
        return
    link.parent.mkdir(parents=True, exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(target)
    kept = "--skip-worktree" if path else "--no-skip-worktree"
    subprocess.run(["git", "update-index", kept, "--", link], capture_output=True, check=False)
