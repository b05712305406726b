"""An entry of the catalogue of datasets: where one comes from and how it is laid out."""

import re
import unicodedata
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from thaw.core.errors import shortlist
from thaw.files import catalogues

UNWRITABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")  # control characters, not UTF-8


def composed(name: str) -> str:
    """In the Unicode form NFC: macOS may write an é as two characters."""
    return unicodedata.normalize("NFC", name)


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Table(_Model):
    """How to read labels from a text table beside the pictures."""

    path: str
    columns: list[str] | None = None  # None: the first line names them
    # None: the one of white space, tab, `;` and `,` that fits.
    separator: Annotated[str, Field(pattern=r'^([^"\r\n]|whitespace)$')] | None = None
    picture: str
    label: str
    threshold: float | None = None  # at or above it the second class, below it the first
    decimal: Literal[".", ","] = "."  # in the numbers that a threshold divides
    subgroup: str | None = None

    @model_validator(mode="after")
    def _columns_are_there(self) -> Self:
        for name in self.needed:
            if self.columns is not None and self.columns.count(name) != 1:
                count = "are two" if name in self.columns else "is no"
                raise ValueError(
                    f"there {count} {name} in `columns` ({shortlist(self.columns)}); mend one "
                    "of them"
                )
        return self

    @property
    def needed(self) -> list[str]:
        """The columns that are read."""
        return [self.picture, self.label, *([self.subgroup] if self.subgroup else [])]


class Shares(_Model):
    """The split that the dataset's publication uses."""

    held_out: Annotated[float, Field(gt=0, lt=1)] | None = None
    test: Annotated[float, Field(gt=0, lt=1)] | None = None


class Entry(_Model):
    """A file of `datasets/`."""

    title: str
    source: str | None = None
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None
    size: int | None = None
    layout: Literal["folders", "table", "cifar"]
    root: str = ""
    classes: list[Annotated[str, AfterValidator(composed)]] | None = None
    table: Table | None = None
    split: Shares = Shares()
    licence: str
    citation: str = ""

    @model_validator(mode="after")
    def _layout_is_whole(self) -> Self:
        if self.layout == "table" and (self.table is None or self.classes is None):
            raise ValueError("layout table needs `table` and `classes`")
        if self.layout == "cifar" and self.classes is not None:
            raise ValueError("layout cifar brings its classes along; remove `classes`")
        if self.table and self.table.threshold is not None and len(self.classes or ()) != 2:
            raise ValueError("table.threshold needs two `classes`: below it, and from it on")
        for name in self.classes or ():
            if UNWRITABLE.search(name):
                raise ValueError(f"{name!r} in `classes` has a control character; rename it")
            if self.classes and self.classes.count(name) > 1:
                raise ValueError(f"`classes` names {name} twice; remove one")
        return self


def entry(folder: Path, name: str) -> Entry:
    """The dataset of that name in a catalogue.

    Raises:
        ThawError: when there is none, or it is not well formed.
    """
    return catalogues.read(folder, name, Entry, "params.yaml: dataset: ")
