"""The table of labels that stage `download` writes."""

from dataclasses import dataclass
from pathlib import Path

from thaw.files.serialize import read_csv

COLUMNS = ("path", "label", "part", "subgroup")


@dataclass(frozen=True)
class Labelled:
    """A picture's path below the pictures' folder, its class, and what the dataset says of it."""

    path: str
    label: str
    part: str = ""  # train, validation or test where the dataset brings its own split
    subgroup: str = ""


def read_labels(raw: Path) -> list[Labelled]:
    """Read `raw/labels.csv` as `bring` wrote it."""
    return [Labelled(**row) for row in read_csv(raw / "labels.csv")]
