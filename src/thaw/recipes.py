"""Recipes: published systems as parameters, with what they report and what was measured here."""

import copy
import difflib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from thaw.errors import ThawError

Text = Annotated[str, Field(min_length=1)]
COLUMNS = ("recipe", "published", "measured here", "differs")


class Recipe(BaseModel):
    """A file of `recipes/`."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    title: Text
    source: Text  # where the system was published
    published: Text  # what it reports, and on which data
    measured: Text  # the same here, on which data, and how far shortened
    differs: Text  # what explains the difference
    params: dict[str, Any]  # what it overrides in params.yaml


def names(folder: Path) -> list[str]:
    """The recipes there are."""
    return sorted(path.stem for path in folder.glob("*.yaml"))


def read(folder: Path, name: str) -> Recipe:
    """Read a recipe.

    Raises:
        ThawError: when there is none of that name, or it isn't one.
    """
    known = names(folder)
    if name not in known:
        close = difflib.get_close_matches(name, known, n=3, cutoff=0.4) or known
        raise ThawError(
            f"{name}: {folder}/ has no recipe of that name; give one such as {', '.join(close)}"
        )
    path = folder / f"{name}.yaml"
    try:
        return Recipe.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (yaml.YAMLError, UnicodeDecodeError):
        raise ThawError(f"{path} is not YAML; mend it there") from None
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(str(part) for part in problem["loc"])
        raise ThawError(f"{path}: {where}: {problem['msg'].lower()}; mend it there") from None


def merge(values: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters with some overridden, group by group."""
    merged = copy.deepcopy(dict(values))
    for name, value in overrides.items():
        inner = merged.get(name)
        if isinstance(inner, dict) and isinstance(value, Mapping):
            merged[name] = merge(inner, value)
        else:
            merged[name] = copy.deepcopy(value)
    return merged


def setting(text: str) -> dict[str, Any]:
    """`head.dropout=0.5` as the parameters that it overrides.

    Raises:
        ThawError: when it isn't of that form.
    """
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise ThawError(f"{text}: give a parameter and its value, such as batch_size=64")
    try:
        found: Any = yaml.safe_load(value)
    except yaml.YAMLError:
        raise ThawError(f"{text}: the value is not YAML; quote it") from None
    for part in reversed(name.split(".")):
        found = {part: found}
    return dict(found)


def leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Each single parameter: `head.dropout` and its value."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def table(recipes: Mapping[str, Recipe], columns: Sequence[str] = COLUMNS) -> str:
    """Published and measured results side by side, as Markdown."""
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for name, recipe in recipes.items():
        cells = (f"`{name}`: {recipe.title}", recipe.published, recipe.measured, recipe.differs)
        lines.append(f"| {' | '.join(' '.join(cell.split()) for cell in cells)} |")
    return "\n".join(lines) + "\n"
