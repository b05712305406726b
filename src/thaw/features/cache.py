"""Cached features: what the frozen part of the network computes for each view of each picture."""

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from thaw.core import graphs
from thaw.core.errors import ThawError, reason
from thaw.features import stores
from thaw.files.serialize import atomic, write_json
from thaw.pictures.augmentation import Augmentation
from thaw.pictures.depths import BitDepth

FLOAT16_MAX = float(np.finfo(np.float16).max)


@dataclass(frozen=True)
class Facts:
    """What the cache holds, kept beside it as `features.json`."""

    base_model: str  # graphs.FOREIGN for an ONNX file
    image_size: int
    resize: str  # stretch or crop
    boundary: int  # index of the cached layer; 0, the input, for pixels
    boundary_name: str
    bottleneck: str  # pooled, blocks or full
    classes: list[str]
    augmentation: Augmentation
    seed: int  # of the views
    feature_layer: str | None = None  # where the network is cut; None: nowhere
    bit_depth: BitDepth = "file"

    @property
    def foreign(self) -> bool:
        """Whether an ONNX file computes the features."""
        return self.base_model == graphs.FOREIGN

    @property
    def live(self) -> bool:
        """Whether pixels are cached, so that views are drawn anew each epoch."""
        return self.boundary == 0


def write_facts(facts: Facts, labels: dict[str, list[int]], out: Path) -> None:
    """Write `features.json`, and each split's labels, (pictures,) int64.

    What is None isn't written, nor what of the augmentation is off.
    """
    for name, values in labels.items():
        with atomic(out / f"{name}_labels.npy") as file:
            np.save(file, np.asarray(values, np.int64), allow_pickle=False)
    known = {name: value for name, value in asdict(facts).items() if value is not None}
    off = {field.name: field.default for field in fields(Augmentation)}
    drawn = asdict(facts.augmentation).items()
    known["augmentation"] = {name: value for name, value in drawn if value != off[name]}
    write_json(out / "features.json", known)


def read_facts(out: Path) -> Facts:
    """Read `features.json`.

    Raises:
        ThawError: when it isn't as `write_facts` wrote it.
    """
    file = out / "features.json"
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
        values["augmentation"] = Augmentation(**values["augmentation"])
        return Facts(**values)
    except (ValueError, TypeError, KeyError) as error:
        raise _damaged(file, error) from None


def read(out: Path, name: str) -> NDArray[Any]:
    """Map an array of the cache into memory, without reading it.

    Of one whose parts lie in a store, what is given reads them as they are asked for.

    Raises:
        ThawError: when the file is no array of numbers, or not all of one.
    """
    file = path(out, name)
    try:
        if file.suffix == ".json":
            return cast(NDArray[Any], stores.Parts(file, out.parent))
        array: NDArray[Any] = np.lib.format.open_memmap(file, mode="r")  # it takes no pickles
    except (ValueError, TypeError, KeyError, EOFError) as error:
        raise _damaged(file, error) from None
    return array


def path(out: Path, name: str) -> Path:
    """Where an array of the cache lies: its file, or the list of its parts."""
    listed = out / f"{name}.json"
    return listed if listed.exists() else out / f"{name}.npy"


def _damaged(file: Path, error: Exception) -> ThawError:
    return ThawError(
        f"{file} is not as stage extract_features wrote it ({reason(error)}); "
        "run `dvc repro -f extract_features`"
    )
