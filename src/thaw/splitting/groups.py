"""Which group each picture is of: a patient, a module, a video."""

import re
from collections.abc import Callable
from pathlib import PurePosixPath

import pandas as pd

from thaw.core.errors import ThawError, shortlist

PLACE = "params.yaml: split.group"
FURTHER = "column:"  # as `datasets.labels.FURTHER`


def assign(pictures: pd.DataFrame, rule: str) -> pd.Series:
    """The group of each picture.

    Args:
        pictures: with the columns path, part and subgroup, and those that begin with `FURTHER`.
        rule: `column:patient`, `folder:2` or `name:^(\\d+)_`, as `params.Split.group` says.

    Raises:
        ThawError: when there is no such column or folder, when a picture has no group, or when all
            have the same.
    """
    kind, _, value = rule.partition(":")
    if kind == "column":
        found, without = _of_column(pictures, value), "have an empty cell there"
    elif kind == "folder":
        found = pictures["path"].map(_of_folder(int(value)))
        without = "lie in fewer folders"
    else:
        found = pictures["path"].map(_of_name(value))
        without = "have a name that it doesn't fit, or with nothing in the group's place"
    missing = pictures["path"][found == ""]
    if len(missing):
        raise ThawError(
            f"{PLACE}: {rule}: {len(missing):,} of {len(pictures):,} pictures {without}, such as "
            f"{', '.join(missing[:3])}; mend them, give another rule, or null"
        )
    if found.nunique() == 1:
        raise ThawError(
            f"{PLACE}: {rule}: all pictures are of the one group {found.iloc[0]}; give another "
            "rule, or null"
        )
    return found


def _of_column(pictures: pd.DataFrame, name: str) -> pd.Series:
    further = [column for column in pictures if column.startswith(FURTHER)]
    if f"{FURTHER}{name}" in further:
        return pictures[f"{FURTHER}{name}"].str.strip()
    known = [column.removeprefix(FURTHER) for column in further]
    if pictures["subgroup"].any():
        known.append("subgroup (the column that table.subgroup in its file names)")
        if name == "subgroup":
            return pictures["subgroup"].str.strip()
    if not known:
        raise ThawError(
            f"{PLACE}: {FURTHER}{name}: this dataset has no table with further columns; give "
            "folder: and a level, name: and a pattern, or null"
        )
    raise ThawError(
        f"{PLACE}: {FURTHER}{name}: the dataset's table has no further column {name}; give one of "
        f"{shortlist(known)}, or null"
    )


def _of_folder(level: int) -> Callable[[str], str]:
    def of(path: str) -> str:
        folders = PurePosixPath(path).parts[:-1]
        at = level - 1 if level > 0 else level + len(folders)
        return folders[at] if 0 <= at < len(folders) else ""

    return of


def _of_name(pattern: str) -> Callable[[str], str]:
    compiled = re.compile(pattern)

    def of(path: str) -> str:
        found = compiled.search(PurePosixPath(path).name)
        return (found[1] or "") if found else ""

    return of
