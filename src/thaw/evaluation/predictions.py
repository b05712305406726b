"""What models say of pictures, as a table."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from thaw.files.serialize import write_csv


def write(
    path: Path,
    about: pd.DataFrame,
    classes: Sequence[str],
    found: Mapping[str, NDArray[np.float64]],
) -> None:
    """Write a column MODEL_CLASS for each model and class beside what is known of pictures.

    Args:
        path: of the CSV file.
        about: a row a picture.
        classes: their names.
        found: (pictures, classes) probabilities of each model.
    """
    columns = [*about.columns, *(f"{name}_{label}" for name in found for label in classes)]
    known = about.itertuples(index=False, name=None)
    shares = np.hstack([*found.values()])
    lines = ((*cells, *map(six_digits, each)) for cells, each in zip(known, shares, strict=True))
    write_csv(path, columns, lines)


def six_digits(share: float) -> str:
    """As Python writes a number of six digits."""
    text = f"{share:.6g}"
    return f"{text}.0" if text in ("0", "1") else text
