"""Folders in which Thaw's stages run: the code, parameters, and pictures of their own."""

import csv
import json
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from processes import Usage, run

ROOT = Path(__file__).resolve().parent.parent
Params = dict[str, Any]
Shares = dict[str, int]  # how many pictures of train and of validation, test's among the latter


@dataclass(frozen=True)
class Workspace:
    """A folder with src/, params.yaml and what the stages have made there."""

    folder: Path
    params: Params

    def stage(self, name: str, **changes: object) -> Usage:
        """Run a stage's script, with some parameters changed."""
        print(f"  {name}", flush=True)
        self.write_params(**changes)
        return run(self.folder, f"src/{name}.py")

    def write_params(self, **changes: object) -> None:
        text = yaml.safe_dump(self.params | changes)
        (self.folder / "params.yaml").write_text(text, encoding="utf-8")

    def read(self, name: str) -> dict[str, Any]:
        """A JSON object that a script wrote."""
        found: dict[str, Any] = json.loads((self.folder / name).read_text(encoding="utf-8"))
        return found


def create(folder: Path, params: Params) -> Workspace:
    """A workspace without data."""
    shutil.copytree(ROOT / "src", folder / "src")
    for name in ("datasets.yaml", "weights.yaml"):
        shutil.copyfile(ROOT / name, folder / name)
    return Workspace(folder, params)


def read_params(epochs: int, views: int, recipe: str | None = None) -> Params:
    """The parameters of params.yaml, those of a recipe in their place, and how much to run."""
    values = merged(recipe)
    values["augment"]["views"] = views
    values["head"]["epochs"] = values["fine_tune"]["epochs"] = epochs
    return values


def merged(recipe: str | None = None) -> Params:
    """The parameters of params.yaml, those of a recipe in their place."""
    values: Params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    if recipe:
        path = ROOT / "recipes" / f"{recipe}.yaml"
        overrides = yaml.safe_load(path.read_text(encoding="utf-8"))["params"]
        for name, value in overrides.items():
            values[name] = values[name] | value if isinstance(value, dict) else value
    return values


def vgg16(params: Params) -> Params:
    """The parameters changed to VGG16 with a head of its own, fine-tuned from its last block on."""
    return params | {
        "base_model": "VGG16",
        "image_size": 150,
        "augment": {"views": 1, "flip": "none", "quarter_turns": False, "rotation": 0.0},
        "cache": {"layer": "block4_pool", "bottleneck": "full"},
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
    with (whole.folder / "data/raw/labels.csv").open(newline="", encoding="utf-8") as file:
        paths = balanced(csv.DictReader(file), shares)
    pictures = folder / "pictures"
    for path in paths:
        (pictures / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(whole.folder / "data/raw/images" / path, pictures / path)
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
