"""The cache raised: frozen layers above the cached one run once, instead of in each epoch."""

import thaw.networks.quiet  # noqa: F401

import fcntl
import math
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from thaw.core.errors import ThawError
from thaw.core.progress import track
from thaw.core.threads import in_threads
from thaw.features import cache, stores
from thaw.files.arrays import forget
from thaw.files.serialize import atomic, refuse_full
from thaw.networks import backbones
from thaw.networks.onnx_export import to_onnx
from thaw.pictures import sessions
from thaw.training import checkpoints

Maps = NDArray[Any]  # (pictures, views, H, W, C), float16, mapped from a file
NAMES = ("train", "validation")
MARGIN = 1.25  # so many times the views are what the epochs read, for one pass over them to pay


class _BeyondError(Exception):
    """A value that float16 can't hold."""


def raised(
    features: Path, base: keras.Model, epochs: int, out: Path, *, training_mode: bool
) -> tuple[int, dict[str, Maps]]:
    """The layer to train above, and what it gives for the views of `train` and `validation`.

    That is the cached layer, and the cache, where raising it doesn't pay. What was raised is kept
    in `out`, and found there by the next training that starts from the same layer.

    Args:
        features: the cache's folder.
        base: the network, its frozen layers not trainable.
        epochs: of the training.
        out: where to keep it: one raised cache at a time.
        training_mode: as for `classifiers.top`.
    """
    facts = cache.read_facts(features)
    cached = {name: cache.read(features, f"{name}_boundary") for name in NAMES}
    start, end = facts.boundary, layer(base, facts.boundary, training_mode=training_mode)
    if end == start or not pays(epochs, cached):
        return start, cached
    part = keras.Model(base.layers[start].output, base.layers[end].output)
    inputs = [features / "features.json", *(cache.path(features, f"{n}_boundary") for n in NAMES)]
    folder = out / checkpoints.key(f"raised to {end}: {facts}", part, inputs)[:16]
    shape = base.layers[end].output.shape[1:]
    name = f"{base.layers[end].name} (index {end})"
    out.mkdir(parents=True, exist_ok=True)
    with (out / "raised.lock").open("a") as lock:  # `make lr` may run beside a training
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = _read(folder, cached, shape)
        if found:
            print(f"the cache was raised to {name} before")
            return end, found
        for other in out.iterdir():
            if other.is_dir() and other != folder:
                shutil.rmtree(other)
        needed = 2 * math.prod(shape) * sum(math.prod(maps.shape[:2]) for maps in cached.values())
        remedy = f"set cache.layer: {base.layers[end].name}, which leaves nothing to raise"
        refuse_full(out, needed, "the cache, raised for fine_tune_at,", remedy)
        print(f"raises the cache to {name}, so that the frozen layers below it run once")
        try:
            _write(part, cached, folder)
        except _BeyondError:
            shutil.rmtree(folder)
            print(f"not raised: it has values beyond {cache.FLOAT16_MAX:,.0f}, float16's largest")
            return start, cached
        return end, _read(folder, cached, shape)


def layer(base: keras.Model, cached: int, *, training_mode: bool) -> int:
    """The index of the layer to raise a cache to; that of the cached one where there is none.

    It is the deepest below all that training changes, of those through which everything passes and
    whose output is no larger than the cached one's. Larger ones lie within a block: what is left of
    it costs a step less than reading so much more, and the raised cache is never the larger one.

    Args:
        base: the network, its frozen layers not trainable.
        cached: index of the cached layer.
        training_mode: whether Dropout drops, that of frozen layers too; its output is then no
            constant.
    """

    def changes(each: keras.layers.Layer) -> bool:
        random = len(each.variables) > len(each.weights)  # it has a generator's state
        return bool(each.trainable and each.weights) or (training_mode and random)

    def size(index: int) -> int:
        return math.prod(base.layers[index].output.shape[1:])

    last = len(base.layers) - 1
    above = range(cached + 1, last)
    first = next((index for index in above if changes(base.layers[index])), last)
    found = [
        index
        for index in backbones.bottlenecks(base)
        if cached < index < first
        and size(index) <= size(cached)
        and any(each.weights for each in base.layers[cached + 1 : index + 1])
    ]
    return max(found, default=cached)


def pays(epochs: int, cached: dict[str, Maps]) -> bool:
    """Whether so many epochs read enough more than there are views in the cache.

    An epoch reads a view of each training picture, and all of each validation picture.
    """
    views = {name: maps.shape[0] * maps.shape[1] for name, maps in cached.items()}
    read = epochs * (len(cached["train"]) + views["validation"])
    return bool(read >= MARGIN * sum(views.values()))


def _write(part: keras.Model, cached: dict[str, Maps], folder: Path) -> None:
    """Run frozen layers over the cache, writing as they go: memory doesn't grow with it."""
    session = sessions.session(to_onnx(part))
    for name, maps in cached.items():

        def compute(row: int, maps: Maps = maps) -> bytes:
            views = np.asarray(maps[row], np.float32)
            forget(maps)
            (found,) = sessions.run(session, views)
            if not (np.abs(found) <= cache.FLOAT16_MAX).all():
                raise _BeyondError
            content: bytes = found.astype(np.float16).tobytes()
            return content

        shape = (*maps.shape[:2], *session.get_outputs()[0].shape[1:])
        numbers = np.arange(len(maps))
        order = [row for rows in stores.in_turn(maps, 64) for row in numbers[rows].tolist()]
        with atomic(folder / f"{name}.npy") as path, path.open("wb") as file:
            header = {"descr": "<f2", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
            begin = file.tell()
            found = track(in_threads(compute, order), f"raise {name}", len(maps))
            for row, content in zip(order, found, strict=True):
                file.seek(begin + row * len(content))
                file.write(content)


def _read(folder: Path, cached: dict[str, Maps], shape: tuple[int, ...]) -> dict[str, Maps]:
    """What was raised; nothing where it isn't there, or isn't whole."""
    found = {}
    for name, maps in cached.items():
        with suppress(ThawError, OSError):
            kept = cache.read(folder, name)
            if kept.shape == (*maps.shape[:2], *shape):
                found[name] = kept
    return found if len(found) == len(cached) else {}
