"""Recipes: published systems as parameters, with what they report and what was measured here."""

import copy
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from thaw.core.errors import ThawError
from thaw.drawing import markdown
from thaw.files import catalogues

Text = Annotated[str, Field(min_length=1)]
COLUMNS = ("recipe", "published", "measured here", "differs")
INDENT = 17  # of the texts in a listing, behind their labels


class Recipe(BaseModel):
    """A file of `recipes/`."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    title: Text
    source: Text  # where the system was published
    published: Text  # what it reports, and on which data
    measured: Text  # the same here, on which data, and how far shortened
    differs: Text  # what explains the difference
    params: dict[str, Any]  # what it overrides in params.yaml


def read(folder: Path, name: str) -> Recipe:
    """Read a recipe.

    Raises:
        ThawError: when there is none of that name, or it isn't one.
    """
    return catalogues.read(folder, name, Recipe)


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
    return nested(name, catalogues.parse_yaml(value, text))


def nested(name: str, value: Any) -> dict[str, Any]:
    """A parameter by its dotted name, as the groups that hold it."""
    *groups, last = name.split(".")
    found = {last: value}
    for group in reversed(groups):
        found = {group: found}
    return found


def leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Each single parameter: `head.dropout` and its value."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def table(recipes: Mapping[str, Recipe]) -> str:
    """Published and measured results side by side, as Markdown."""
    rows = [
        [f"`{name}`: {_line(recipe.title)}", *_cells(recipe)] for name, recipe in recipes.items()
    ]
    return markdown.table(COLUMNS, rows) + "\n"


def listing(recipes: Mapping[str, Recipe], width: int) -> str:
    """The same one below the other, for a terminal of so many columns."""
    margin = " " * INDENT
    blocks = []
    for name, recipe in recipes.items():
        lines = [_wrapped(f"{name}: {_line(recipe.title)}", width, "", "  ")]
        for label, text in zip(COLUMNS[1:], _cells(recipe), strict=True):
            lines.append(_wrapped(text, width, f"  {label}".ljust(INDENT), margin))
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def _cells(recipe: Recipe) -> list[str]:
    return [_line(text) for text in (recipe.published, recipe.measured, recipe.differs)]


def _line(text: str) -> str:
    return " ".join(text.split())


def _wrapped(text: str, width: int, first: str, others: str) -> str:
    return textwrap.fill(
        text,
        width,
        initial_indent=first,
        subsequent_indent=others,
        break_long_words=False,
        break_on_hyphens=False,
    )
