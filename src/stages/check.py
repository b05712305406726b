"""Stage `check`: check all parameters, before any other stage removes what it made.

It moves aside what people put where stages write. It notes in data/given/ what `source` and
`weights` point at, if they are paths; the stages that read them run again when that changes. DVC
doesn't look behind a path, so where there is one, data/given/dvc.yaml has this done in every run.
"""

import json
from pathlib import Path
from typing import Any

import keeping
import workspace
from thaw.core import effects, graphs
from thaw.core.errors import ThawError
from thaw.files import checksums, fetching, listing
from thaw.files.serialize import write_json, write_text
from thaw.pictures import presets

LOOK = """\
# Written by stage `check`: it looks in every run whether what a path points at has changed.
stages:
  look:
    desc: Note what source and weights point at
    cmd: python3 src check
    wdir: ../..
    always_changed: true
    outs:
      - data/given/source.json: {cache: false, persist: true}
      - data/given/weights.json: {cache: false, persist: true}
"""


def main() -> None:
    params = workspace.read_params()
    drawing = presets.fill(params.augment.model_dump())
    for line in effects.notes(params, drawing):
        print(f"note: {line}")
    onnx_file = workspace.onnx_given(params)
    weights = params.weights if params.weights.endswith(".weights.h5") else ""
    given = {
        "source": workspace.source_given(params),
        "weights": params.base_model.removeprefix(graphs.FOREIGN) if onnx_file else weights,
    }
    named = {"source": "source", "weights": "base_model" if onnx_file else "weights"}
    paths = {name: path for name, value in given.items() if value and (path := _local(value))}
    for name, path in paths.items():
        keeping.refuse_inside(given[name], path, f"params.yaml: {named[name]}")
    if onnx_file is not None and onnx_file.exists():
        from thaw.files import onnx_files  # here, as few need it

        onnx_files.read(onnx_file, params.image_size, params.feature_layer)
    if params.cache.store is not None:
        from thaw.features import stores  # likewise

        stores.opened(params.cache.store).check()
    keeping.protect()
    for name, value in given.items():
        write_json(workspace.GIVEN / f"{name}.json", _noted(name, named[name], value))
    look = workspace.GIVEN / "dvc.yaml"
    if paths and not look.exists():
        write_text(look, LOOK)
    write_text(workspace.CHECKED, "params.yaml is sound\n")


def _local(value: str) -> Path | None:
    try:
        return fetching.local_path(workspace.at_home(value))
    except (ValueError, RuntimeError, OSError):  # `_noted` says what is wrong
        return None


def _noted(name: str, place: str, value: str) -> dict[str, Any]:
    """What a path holds; empty for an address, which its name and checksum tell.

    Says how it differs from the last time. Where the path isn't here, as at a colleague's, what was
    noted of it stays.
    """
    of = {"of": checksums.short(value)}  # no path of a machine
    try:
        path = fetching.find(workspace.at_home(value)) if value else None
    except ThawError as error:
        before = _read(workspace.GIVEN / f"{name}.json")
        if before.get("of") != of["of"]:
            raise ThawError(f"params.yaml: {place}: {error}") from None
        print(f"note: {place}: {value} is not here; what it held is as it was recorded")
        return before
    if path is None:
        return {}
    remembered = workspace.listing(name)
    known = _read(remembered)
    before = known.get("files", {}) if known.get("path") == str(path.absolute()) else {}
    now = listing.look(path, before)
    if before and (differs := listing.difference(before, now)):
        print(f"{place}: {value} has changed: {differs}")
    write_json(remembered, {"path": str(path.absolute()), "files": now})
    return of | listing.digest(now)


def _read(path: Path) -> dict[str, Any]:
    """A note; empty the first time, and where it was cut short."""
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
