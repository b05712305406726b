"""Features computed once for many trainings: of all pictures, then the rows of each split."""

import json
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import library  # noqa: F401
import workspace
from thaw.files.serialize import write_csv, write_json
from thaw.pictures.augmentation import Augmentation, random
from thaw.splitting.splits import COLUMNS
from workspaces import Workspace

PARTS = ("train", "validation")  # of the split, that the cache holds
Row = Mapping[str, str]  # of split.csv


@dataclass(frozen=True)
class Everything:
    """Features of pictures, each as for training and as for validation."""

    folder: Path  # with the split.csv that names their rows
    seconds: float  # that it took


def shared(made: Workspace) -> bool:
    """Whether every split.seed caches the same of a picture: all its views, or its pixels."""
    augmentation = Augmentation.of(made.params["augment"])
    every = not augmentation.endless and augmentation.count == len(augmentation.symmetries)
    return every or made.params["cache"]["layer"] == "pixels"


def write_split(made: Workspace, rows: Iterable[Row]) -> None:
    """Write data/split.csv."""
    write_csv(made.folder / workspace.SPLIT, COLUMNS, [[row[n] for n in COLUMNS] for row in rows])


def extract(made: Workspace, pictures: Iterable[Row]) -> Everything:
    """Compute the features of pictures, as for training and as for validation."""
    pictures = list(pictures)
    write_split(made, [{**row, "split": part} for part in PARTS for row in pictures])
    seconds = made.stage("extract_features").seconds
    folder = (made.folder / workspace.FEATURES).rename(made.folder / "everything")
    (made.folder / workspace.SPLIT).rename(folder / "split.csv")
    return Everything(folder, seconds)


def select(made: Workspace, everything: Everything) -> None:
    """Write data/features as stage `extract_features` would for the split that is there.

    They are rows of `everything`. Where its split.seed was another, the views of each picture are
    put into the order of this one; that needs `shared`.
    """
    features = made.folder / workspace.FEATURES
    shutil.rmtree(features, ignore_errors=True)
    features.mkdir()
    facts = json.loads((everything.folder / "features.json").read_text(encoding="utf-8"))
    before, after = facts["seed"], made.params["split"]["seed"]
    write_json(features / "features.json", facts | {"seed": after})
    views = len(Augmentation(**facts["augmentation"]).symmetries)
    known = made.rows(everything.folder / "split.csv")
    split = made.rows(workspace.SPLIT)
    for part in PARTS:
        paths = [row["path"] for row in known if row["split"] == part]
        place = {path: number for number, path in enumerate(paths)}
        rows = [place[row["path"]] for row in split if row["split"] == part]
        for path in everything.folder.glob(f"{part}_*.npy"):
            whole = np.load(path, mmap_mode="r")
            shape = (len(rows), *whole.shape[1:])
            some = np.lib.format.open_memmap(features / path.name, "w+", whole.dtype, shape)
            turning = before != after and whole.ndim > 1 and whole.shape[1] == views > 1
            for number, row in enumerate(rows):
                order = turned(paths[row], views, before, after) if turning else slice(None)
                some[number] = whole[row][order] if whole.ndim > 1 else whole[row]
            some.flush()


def turned(path: str, views: int, before: int, after: int) -> NDArray[np.int64]:
    """(views,) where each view of a picture by one seed lies among those of another."""
    first, second = (random("view", seed, path).permutation(views) for seed in (before, after))
    found: NDArray[np.int64] = np.argsort(first)[second]
    return found
