"""Where the files of a run lie, and `params.yaml`, read and checked."""

import json
import os
from pathlib import Path
from typing import Any

from thaw.core import cores, params
from thaw.core.errors import ThawError, shortlist
from thaw.files.catalogues import read_yaml

PARAMS = Path("params.yaml")
DATASETS = Path("datasets")  # a file a dataset
PRETRAINED = Path("pretrained")  # a file a base model
RECIPES = Path("recipes")
RAW = Path("data/raw")
IMAGES = RAW / "images"
LABELS = RAW / "labels.csv"
SPLIT = Path("data/split.csv")
BAD_IMAGES = Path("data/bad_images.csv")
WEIGHTS = Path("data/weights/base.weights.h5")
FEATURES = Path("data/features")
PREDICTIONS = Path("data/predictions.csv")
MODELS = Path("models")
METRICS = Path("metrics")
PLOTS = Path("plots")
# No output in dvc.yaml, so that dvc.lock is the same on every machine.
ENVIRONMENT = METRICS / "environment.json"
UNFINISHED = Path("data/unfinished")  # no stage's output: DVC leaves it alone


def logs(phase: str) -> Path:
    """Where TensorBoard's files of a training lie.

    Under the experiment's name; where DVC runs it in a copy of the repository, in the repository
    itself.
    """
    root = os.environ.get("DVC_ROOT", "")
    return Path(root, "logs", os.environ.get("DVC_EXP_NAME") or "workspace", phase)


def read_params() -> params.Params:
    """Read and check `params.yaml`, all of it, so that a mistake stops the first stage.

    `cores` takes effect here. It's no stage's dependency in dvc.yaml: results don't follow from it.
    """
    checked = params.parse(read_yaml(PARAMS))
    cores.limit(checked.cores)
    return checked


def check_positive(given: params.Params, classes: list[str]) -> int | None:
    """The number of the class `positive`; None where it is null.

    Raises:
        ThawError: when the dataset has no such class.
    """
    if given.positive is None:
        return None
    if given.positive not in classes:
        raise ThawError(
            f"params.yaml: positive: {given.positive}: the dataset has the classes "
            f"{shortlist(classes)}; give one of them, or null"
        )
    return classes.index(given.positive)


def read_json(path: Path) -> dict[str, Any]:
    """What a stage wrote."""
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def read_dataset() -> dict[str, Any]:
    """What stage `download` noted of the dataset: title, classes, split, licence, citation."""
    return read_json(RAW / "dataset.json")
