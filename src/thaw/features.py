"""Cached features: what the frozen part of the network computes for each view of each picture."""

import thaw.quiet  # noqa: F401

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnxruntime
from numpy.typing import NDArray
from tqdm import tqdm

from thaw import backbones, heads, images
from thaw.cores import available
from thaw.serialize import atomic, write_json

BATCH = 32
FLOAT16_MAX = float(np.finfo(np.float16).max)


@dataclass(frozen=True)
class Facts:
    """What the cache holds, kept beside it as `features.json`."""

    base_model: str
    image_size: int
    boundary: int  # index of the cached layer
    boundary_name: str
    bottleneck: str  # pooled, blocks or full
    classes: list[str]
    augmentation: images.Augmentation
    seed: int


def extractor(base: keras.Model, image_size: int, boundary: int, bottleneck: str) -> keras.Model:
    """A model from (N, S, S, 3) pixels to the boundary's output and the bottleneck features.

    The bottleneck features are (N, H, W, C) if "full"; averages and maxima (N, 2, C) of the last
    layer if "pooled", and of every block's output, side by side, if "blocks".
    """
    pictures = keras.Input((image_size, image_size, 3), name="picture")
    read = backbones.blocks(base) if bottleneck == "blocks" else [-1]
    outputs = [base.layers[index].output for index in (boundary, *read)]
    cached, *maps = keras.Model(base.input, outputs)(
        backbones.preprocess(base.name, pictures), training=False
    )
    if bottleneck == "full":
        return keras.Model(pictures, [cached, maps[0]])
    pooled = [heads.pool(kind, maps) for kind in ("average", "max")]
    return keras.Model(pictures, [cached, keras.ops.stack(pooled, axis=1)])


def extract(
    session: onnxruntime.InferenceSession,
    folder: Path,
    paths: Sequence[str],
    facts: Facts,
    views: int,
    out: Path,
    name: str,
) -> None:
    """Run every view of every picture once, writing as it goes: memory doesn't grow with them.

    Writes `{name}_boundary.npy`, float16 (pictures, views, H, W, C), and `{name}_bottleneck.npy`,
    float32 (pictures, views, 2, C) or (pictures, views, H, W, C). Pictures are decoded in threads
    while the network runs.

    Args:
        session: an `extractor`, exported.
        folder: what `paths` are relative to.
        paths: the pictures.
        facts: image size, augmentation and seed are used.
        views: augmented views of each picture; 0 for the picture itself alone.
        out: the folder to write to.
        name: of the split.
    """
    shapes = [tuple(output.shape[1:]) for output in session.get_outputs()]
    count = max(views, 1)

    def load(path: str) -> list[images.Pixels]:
        pixels = images.load(folder / path, facts.image_size)
        if not views:
            return [pixels]
        return [
            images.view(pixels, facts.augmentation, index, facts.seed, path)
            for index in range(views)
        ]

    def batches() -> Iterator[NDArray[np.float32]]:
        loaded = images.in_threads(load, paths, available(), ahead=2 * BATCH)
        batch: list[images.Pixels] = []
        with tqdm(total=len(paths), desc=name, unit=" pictures", disable=None) as progress:
            for pixels in loaded:
                for one in pixels:
                    batch.append(one)
                    if len(batch) == BATCH:
                        yield np.stack(batch).astype(np.float32)
                        batch = []
                progress.update()
        if batch:
            yield np.stack(batch).astype(np.float32)

    out.mkdir(parents=True, exist_ok=True)
    with (
        atomic(out / f"{name}_boundary.npy") as boundary_path,
        atomic(out / f"{name}_bottleneck.npy") as bottleneck_path,
        boundary_path.open("wb") as boundary_file,
        bottleneck_path.open("wb") as bottleneck_file,
    ):
        for file, shape, kind in (
            (boundary_file, shapes[0], np.float16),
            (bottleneck_file, shapes[1], np.float32),
        ):
            header = {
                "descr": np.lib.format.dtype_to_descr(np.dtype(kind)),
                "fortran_order": False,
                "shape": (len(paths), count, *shape),
            }
            np.lib.format.write_array_header_1_0(file, header)
        source = session.get_inputs()[0].name
        for batch in batches():
            cached, bottleneck = session.run(None, {source: batch})
            np.clip(cached, -FLOAT16_MAX, FLOAT16_MAX, out=cached)
            boundary_file.write(cached.astype(np.float16).tobytes())
            bottleneck_file.write(bottleneck.astype(np.float32).tobytes())


def write_facts(facts: Facts, labels: dict[str, list[int]], out: Path) -> None:
    """Write `features.json` and each split's labels, (pictures,) int64."""
    for name, values in labels.items():
        with atomic(out / f"{name}_labels.npy") as path:
            np.save(path, np.asarray(values, np.int64), allow_pickle=False)
    write_json(out / "features.json", asdict(facts))


def read_facts(out: Path) -> Facts:
    """Read `features.json`."""
    values = json.loads((out / "features.json").read_text(encoding="utf-8"))
    values["augmentation"] = images.Augmentation(**values["augmentation"])
    return Facts(**values)


def read(out: Path, name: str) -> NDArray[Any]:
    """Map an array of the cache into memory, without reading it."""
    array: NDArray[Any] = np.load(out / f"{name}.npy", mmap_mode="r", allow_pickle=False)
    return array
