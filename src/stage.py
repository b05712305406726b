"""What every stage script shares: where files lie, and reading `params.yaml`."""

import json
from pathlib import Path
from typing import Any

import yaml

from thaw import cores, params
from thaw.errors import ThawError

RAW = Path("data/raw")
IMAGES = RAW / "images"
SPLIT = Path("data/split.csv")
BAD_IMAGES = Path("data/bad_images.csv")
WEIGHTS = Path("data/weights/base.weights.h5")
FEATURES = Path("data/features")
MODELS = Path("models")
METRICS = Path("metrics")
PLOTS = Path("plots")
PREDICTIONS = Path("data/predictions.csv")


def read_yaml(path: Path) -> object:
    """Read a YAML file.

    Raises:
        ThawError: when it is missing or isn't YAML.
    """
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ThawError(f"{path} is missing here; run from the folder that holds it") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        where = getattr(error, "problem_mark", None)
        line = f", line {where.line + 1}" if where else ""
        raise ThawError(f"{path}{line} is not YAML; mend it there") from None


def read_params() -> params.Params:
    """Read and check `params.yaml`, all of it, so that a mistake stops the first stage.

    `cores` takes effect here. It's no stage's dependency in dvc.yaml: results don't follow from it.
    """
    checked = params.parse(read_yaml(Path("params.yaml")))
    cores.limit(checked.cores)
    return checked


def read_dataset() -> dict[str, Any]:
    """What stage `download` noted of the dataset: title, classes, split, licence, citation."""
    facts: dict[str, Any] = json.loads((RAW / "dataset.json").read_text(encoding="utf-8"))
    return facts
