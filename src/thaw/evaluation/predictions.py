"""What models say of pictures, as a table."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from thaw.files.serialize import write_csv

DECIDED = "decided_"


def write(
    path: Path,
    about: pd.DataFrame,
    classes: Sequence[str],
    found: Mapping[str, NDArray[np.float64]],
    decided: Mapping[str, NDArray[np.int64]],
) -> None:
    """Write a column MODEL_CLASS for each model and class beside what is known of pictures.

    Where models don't say the most probable class, there is a column decided_MODEL of each.

    Args:
        path: of the CSV file.
        about: a row a picture.
        classes: their names.
        found: (pictures, classes) probabilities of each model.
        decided: (pictures,) the numbers of the classes that each model says.
    """
    columns = [*about.columns, *(f"{name}_{label}" for name in found for label in classes)]
    known = about.itertuples(index=False, name=None)
    shares = np.hstack([*found.values()])
    said: list[tuple[str, ...]] = [()] * len(about)
    if any(not np.array_equal(found[name].argmax(axis=1), each) for name, each in decided.items()):
        columns += [f"{DECIDED}{name}" for name in decided]
        names = np.array([*classes], dtype=object)
        said = [*zip(*(names[each] for each in decided.values()), strict=True)]
    lines = (
        (*cells, *map(six_digits, each), *words)
        for cells, each, words in zip(known, shares, said, strict=True)
    )
    write_csv(path, columns, lines)


def decided(table: pd.DataFrame, classes: Sequence[str], model: str) -> NDArray[np.int64] | None:
    """(pictures,) the numbers of the classes that a model says, of a table that `write` wrote.

    None where it says the most probable ones.
    """
    name = f"{DECIDED}{model}"
    if name not in table:
        return None
    return np.array([classes.index(each) for each in table[name]], np.int64)


def six_digits(share: float) -> str:
    """As Python writes a number of six digits."""
    text = f"{share:.6g}"
    return f"{text}.0" if text in ("0", "1") else text
