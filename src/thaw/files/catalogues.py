"""Catalogues: a folder with a YAML file for each dataset, base model or recipe."""

import difflib
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import TypeAdapter, ValidationError
from yaml.constructor import ConstructorError

from thaw.core.errors import ThawError, shortlist
from thaw.files import dialects

Entry = TypeVar("Entry")


def names(folder: Path) -> list[str]:
    """What a catalogue holds.

    Raises:
        ThawError: when there is no such folder.
    """
    if not folder.is_dir():
        raise ThawError(f"{folder}/ is missing here; run from the folder that holds it")
    return sorted(path.stem for path in folder.glob("*.yaml"))


def read(folder: Path, name: str, kind: type[Entry], place: str = "") -> Entry:
    """An entry of a catalogue, checked.

    Args:
        folder: the catalogue.
        name: of the entry, its file's without `.yaml`.
        kind: what it must be.
        place: where the name was given, for the error: "params.yaml: dataset: ".

    Raises:
        ThawError: when there is none of that name, or it isn't of that kind.
    """
    known = names(folder)
    if name not in known:
        close = difflib.get_close_matches(name, known, n=3, cutoff=0.4) or known
        raise ThawError(
            f"{place}{name}: {folder}/ has no {name}.yaml; give one such as {shortlist(close)}"
        )
    return check(read_yaml(folder / f"{name}.yaml"), kind, f"{folder}/{name}.yaml")


def check(values: object, kind: type[Entry], place: str) -> Entry:
    """What a file holds, if it is of that kind.

    Raises:
        ThawError: naming the first value that isn't as it must be, and what would be right.
    """
    try:
        return TypeAdapter(kind).validate_python(values)
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(str(part) for part in problem["loc"])
        told = problem["msg"].removeprefix("Value error, ")
        told = told[0].lower() + told[1:]
        remedy = "mend it there"
        if problem["type"] == "string_type" and not isinstance(problem["input"], list | dict):
            told = f"{problem['input']} is no text"
            remedy = "write it in quotes there"
        raise ThawError(f"{place}: {where + ': ' if where else ''}{told}; {remedy}") from None


def read_yaml(path: Path) -> object:
    """Read a YAML file.

    Raises:
        ThawError: when it is missing or isn't YAML.
    """
    try:
        return dialects.load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ThawError(f"{path} is missing here; run from the folder that holds it") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ThawError(f"{path}{_told(error)}") from None


def parse_yaml(text: str, place: str) -> Any:
    """Read YAML that is no file.

    Raises:
        ThawError: when it isn't YAML; it begins with `place`.
    """
    try:
        return dialects.load(text)
    except yaml.YAMLError as error:
        raise ThawError(f"{place}{_told(error)}") from None


def _told(error: Exception) -> str:
    """Where and why text isn't YAML, to go on after its name."""
    mark = getattr(error, "problem_mark", None)
    line = f", line {mark.line + 1}" if mark else ""
    if isinstance(error, ConstructorError):
        return f"{line}: {error.problem}"
    return f"{line} is not YAML; mend it there"
