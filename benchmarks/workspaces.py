"""Folders in which Thaw's stages run: the code, parameters, and pictures of their own."""

import csv
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

import library
import workspace
from processes import Usage, run
from thaw.core.params import parse
from thaw.files import catalogues
from thaw.review import recipes

COPIED = ("src", workspace.DATASETS, workspace.PRETRAINED)
Params = dict[str, Any]
Shares = dict[str, int]  # how many pictures of train and of validation, test's among the latter


@dataclass(frozen=True)
class Workspace:
    """A folder with the code, params.yaml and what the stages have made there."""

    folder: Path
    params: Params

    def stage(self, name: str, **changes: object) -> Usage:
        """Run a stage or a command, with some parameters changed."""
        print(f"  {name}", flush=True)
        self.write_params(**changes)
        return run(self.folder, "src", name)

    def write_params(self, **changes: object) -> None:
        text = yaml.safe_dump(self.params | changes)
        (self.folder / workspace.PARAMS).write_text(text, encoding="utf-8")

    def read(self, name: str) -> dict[str, Any]:
        """A JSON object that a script wrote."""
        return workspace.read_json(self.folder / name)

    def rows(self, name: str | Path) -> list[dict[str, str]]:
        """A CSV table that a script wrote."""
        with (self.folder / name).open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))


def create(folder: Path, params: Params) -> Workspace:
    """A workspace without data."""
    for name in COPIED:
        shutil.copytree(library.ROOT / name, folder / name)
    return Workspace(folder, params)


@contextmanager
def temporary(told: str = "no result was written") -> Iterator[Path]:
    """A folder for workspaces, removed at the end; Ctrl-C ends the benchmark with a sentence."""
    try:
        with tempfile.TemporaryDirectory(prefix="thaw-benchmark-") as folder:
            yield Path(folder)
    except KeyboardInterrupt:
        sys.exit(f"error: interrupted; {told}")


def read_params(epochs: int, views: int, recipe: str | None = None) -> Params:
    """The parameters of params.yaml, overridden by a recipe's, and how much to run."""
    values = merged(recipe)
    values["augment"]["views"] = views
    values["head"]["epochs"] = values["fine_tune"]["epochs"] = epochs
    return values


def merged(recipe: str | None = None, settings: Sequence[str] = ()) -> Params:
    """The parameters of params.yaml, overridden by a recipe's, then by settings.

    Args:
        recipe: its name.
        settings: such as `head.dropout=0.5`.

    Raises:
        ThawError: when there is no such recipe, or a parameter isn't as it must be.
    """
    folder = library.ROOT / workspace.RECIPES
    overrides = [recipes.read(folder, recipe).params] if recipe else []
    values: Any = catalogues.read_yaml(library.ROOT / workspace.PARAMS)
    for each in (*overrides, *map(recipes.setting, settings)):
        values = recipes.merge(values, each)
    parse(values)
    return dict(values)


def vgg16(params: Params) -> Params:
    """The parameters changed to VGG16 with a head of its own, fine-tuned from its last block on."""
    return params | {
        "base_model": "VGG16",
        "image_size": 150,
        "augment": dict.fromkeys(params["augment"]) | {"preset": "none", "views": 1},
        "cache": {"layer": "block4_pool", "bottleneck": "full", "store": None},
        "head": params["head"]
        | {"pooling": "flatten", "hidden": [256], "dropout": 0.5, "epochs": 1},
        "fine_tune_at": "block5_conv1",
        "fine_tune": params["fine_tune"] | {"optimizer": "adam", "learning_rate": 1e-5},
    }


def part_of(whole: Workspace, folder: Path, params: Params, shares: Shares) -> Workspace:
    """A workspace with some of another one's pictures, downloaded and split, weights beside them.

    Args:
        whole: where `download` has run, of a dataset with parts of its own.
        folder: of the new one.
        params: of the new one.
        shares: how many pictures of each part, as `balanced` takes them.
    """
    pictures = folder / "pictures"
    for path in balanced(whole.rows(workspace.LABELS), shares):
        (pictures / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(whole.folder / workspace.IMAGES / path, pictures / path)
    made = create(folder, params | {"dataset": "folder", "source": str(pictures)})
    for name in ("download", "weights", "split"):
        made.stage(name)
    return made


def balanced(rows: Iterable[Mapping[str, str]], shares: Shares) -> list[str]:
    """Paths of the first pictures of each part, as many of each class.

    Args:
        rows: path, label and part of each picture, of two classes.
        shares: how many pictures of each part, the two classes together.
    """
    taken: Counter[tuple[str, str]] = Counter()
    paths = []
    for row in rows:
        group = (row["part"], row["label"])
        if taken[group] < shares[row["part"]] // 2:
            taken[group] += 1
            paths.append(row["path"])
    return paths
