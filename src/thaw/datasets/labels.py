"""The rows of the table of labels that stage `download` writes."""

from dataclasses import dataclass

COLUMNS = ("path", "label", "part", "subgroup")
FURTHER = "column:"  # before the names of the columns that a dataset's table has besides


@dataclass(frozen=True)
class Labelled:
    """A picture's path below the pictures' folder, its class, and what the dataset says of it."""

    path: str
    label: str
    part: str = ""  # train, validation or test where the dataset brings its own split
    subgroup: str = ""
    further: tuple[str, ...] = ()  # cells of the table's other columns
