"""Cached features: what the frozen part of the network computes for each view of each picture."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from thaw.core import graphs
from thaw.core.errors import ThawError, reason
from thaw.core.progress import track
from thaw.files.serialize import atomic, write_json
from thaw.pictures import augmentation, decoding, sessions
from thaw.pictures.augmentation import Augmentation
from thaw.pictures.depths import BitDepth
from thaw.pictures.threads import in_threads

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


def extract(
    session: onnxruntime.InferenceSession,
    folder: Path,
    paths: Sequence[str],
    facts: Facts,
    views: int,
    out: Path,
    name: str,
) -> int:
    """Run every view of every picture once, writing as it goes: memory doesn't grow with them.

    Writes `{name}_boundary.npy`, float16 (pictures, views, H, W, C), or uint8 (pictures, views, S,
    S, 3) where pixels are cached, and `{name}_bottleneck.npy`, float32 (pictures, views, 2, C) or
    (pictures, views, H, W, C). Each core decodes a picture, draws its views and runs the network
    on them.

    Args:
        session: an `extractor`, exported.
        folder: what `paths` are relative to.
        paths: the pictures.
        facts: image size, how to resize, augmentation and seed are used.
        views: augmented views of each picture; 0 for the picture itself alone.
        out: the folder to write to.
        name: of the split.

    Returns:
        How many of the boundary's values float16 can't hold; they are cut to its largest one.
    """
    *shapes, bottleneck_shape = [tuple(output.shape[1:]) for output in session.get_outputs()]
    boundary_shape = shapes[0] if shapes else (facts.image_size, facts.image_size, 3)
    boundary_type = np.float16 if shapes else np.uint8

    def compute(path: str) -> tuple[bytes, bytes, int]:
        pixels = decoding.load(folder / path, facts.image_size, facts.resize, facts.bit_depth)
        drawn = [
            augmentation.view(pixels, facts.augmentation, index, facts.seed, path)
            for index in range(views)
        ]
        stacked = np.stack(drawn or [pixels])
        *cached, bottleneck = sessions.run(session, stacked)
        boundary, beyond = stacked, 0
        if cached:
            boundary = np.clip(cached[0], -FLOAT16_MAX, FLOAT16_MAX)
            beyond = int(np.count_nonzero(boundary != cached[0]))  # and what is no number
        as_float32 = bottleneck.astype(np.float32)
        return boundary.astype(boundary_type).tobytes(), as_float32.tobytes(), beyond

    out.mkdir(parents=True, exist_ok=True)
    with (
        atomic(out / f"{name}_boundary.npy") as boundary_path,
        atomic(out / f"{name}_bottleneck.npy") as bottleneck_path,
        boundary_path.open("wb") as boundary_file,
        bottleneck_path.open("wb") as bottleneck_file,
    ):
        for file, shape, kind in (
            (boundary_file, boundary_shape, boundary_type),
            (bottleneck_file, bottleneck_shape, np.float32),
        ):
            header = {
                "descr": np.lib.format.dtype_to_descr(np.dtype(kind)),
                "fortran_order": False,
                "shape": (len(paths), max(views, 1), *shape),
            }
            np.lib.format.write_array_header_1_0(file, header)
        found = in_threads(compute, paths)
        cut = 0
        for boundary, bottleneck, beyond in track(found, name, len(paths)):
            boundary_file.write(boundary)
            bottleneck_file.write(bottleneck)
            cut += beyond
    return cut


def write_facts(facts: Facts, labels: dict[str, list[int]], out: Path) -> None:
    """Write `features.json`, and each split's labels, (pictures,) int64.

    What is None isn't written, nor what of the augmentation is off.
    """
    for name, values in labels.items():
        with atomic(out / f"{name}_labels.npy") as path:
            np.save(path, np.asarray(values, np.int64), allow_pickle=False)
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
    path = out / "features.json"
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        values["augmentation"] = Augmentation(**values["augmentation"])
        return Facts(**values)
    except (ValueError, TypeError, KeyError) as error:
        raise _damaged(path, error) from None


def read(out: Path, name: str) -> NDArray[Any]:
    """Map an array of the cache into memory, without reading it.

    Raises:
        ThawError: when the file is no array of numbers, or not all of one.
    """
    path = out / f"{name}.npy"
    try:
        array: NDArray[Any] = np.lib.format.open_memmap(path, mode="r")  # it takes no pickles
    except (ValueError, EOFError) as error:
        raise _damaged(path, error) from None
    return array


def _damaged(path: Path, error: Exception) -> ThawError:
    return ThawError(
        f"{path} is not as stage extract_features wrote it ({reason(error)}); "
        "run `dvc repro -f extract_features`"
    )
