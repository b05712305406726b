"""Batches that a head or the top of a network is trained on: from the cache, or from pictures."""

import thaw.networks.quiet  # noqa: F401

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnxruntime
from numpy.typing import NDArray

from thaw.features import cache, stores
from thaw.files.arrays import forget
from thaw.pictures import augmentation, decoding
from thaw.training import heads
from thaw.training.views import (
    Blocks,
    Numbers,
    Reader,
    Soft,
    Views,
    class_weights,
    from_cache,
    from_pictures,
    together,
)

LIVE = 2**31  # views of a picture, where none need ever come back
AT_ONCE = 512  # views that a head is validated on at once, at most, and
BYTES = 2**24  # how large they are


@dataclass(frozen=True)
class Source:
    """What batches are made of, and how."""

    features: Path  # the cache's folder
    images: Path  # the pictures' folder
    paths: dict[str, list[str]]  # of the pictures of `train` and `validation`, below it
    facts: cache.Facts
    batch_size: int
    class_weight: str | Mapping[str, float]  # as `views.class_weights` has it
    sampling: str  # all; or balanced, each class as often as the others
    seed: int  # of the order and of mixup; of the views, that of `facts`
    smoothing: float = 0.0  # of labels, and
    mixup: float = 0.0  # as `views.Soft` has them

    def read(self, name: str) -> NDArray:  # type: ignore[type-arg]
        """An array of the cache."""
        return cache.read(self.features, name)


def bottlenecks(
    source: Source,
    select: Callable[[heads.Array], heads.Array],
    frozen: onnxruntime.InferenceSession | None = None,
) -> tuple[Views, Views]:
    """Training and validation batches of bottleneck features, as the head reads them.

    Args:
        source: what they are made of.
        select: as `heads.selector` gives it.
        frozen: an exported `freezing.extractor`, to draw views of cached pixels anew each epoch;
            None to read them from the cache.
    """

    learnt, held = (source.read(f"{name}_bottleneck") for name in ("train", "validation"))
    train, validation, views = from_cache(learnt, select), from_cache(held, select), learnt.shape[1]
    if frozen:
        cached = source.read("train_boundary")
        live = from_pictures(_pixels(source, "train", True, cached), ["bottleneck"], frozen)
        views = LIVE

        def train(rows: Numbers, turns: Numbers) -> heads.Array:
            return select(live(rows, turns)["bottleneck"])

    fitting = min(AT_ONCE, BYTES // (4 * math.prod(held.shape[2:])))
    return _views(
        source,
        train,
        validation,
        views,
        of=[cached if frozen else learnt],
        held=[held],
        validated=max(fitting, source.batch_size),
    )


def boundaries(
    source: Source,
    cached: dict[str, NDArray],  # type: ignore[type-arg]
    width_below: int,
) -> tuple[Views, Views]:
    """Training and validation batches for `classifiers.top`, from a cache as `raising` gives it."""

    def read(name: str) -> dict[str, NDArray]:  # type: ignore[type-arg]
        arrays = {"boundary": cached[name]}
        if width_below:
            arrays["below"] = source.read(f"{name}_bottleneck")[..., :width_below]
        return arrays

    def reader(arrays: dict[str, NDArray]) -> Reader:  # type: ignore[type-arg]
        return together({name: from_cache(array) for name, array in arrays.items()})

    of, held = read("train"), read("validation")
    return _views(
        source,
        reader(of),
        reader(held),
        cached["train"].shape[1],
        of=[*of.values()],
        held=[*held.values()],
    )


def pictures(
    source: Source, frozen: onnxruntime.InferenceSession | None, first_epoch: int
) -> tuple[Views, Views]:
    """Training and validation batches for `classifiers.top`, from pictures.

    The views are those of the cache; where it holds pixels, they are drawn anew each epoch.

    Args:
        source: what they are made of.
        frozen: the layers below the top, exported; None where there are none.
        first_epoch: of those whose views are drawn anew.
    """
    names = ("boundary", "below")[: len(frozen.get_outputs())] if frozen else ["pictures"]
    live = source.facts.live
    of, held = (
        source.read(f"{name}_boundary") if live else None for name in ("train", "validation")
    )
    train = from_pictures(_pixels(source, "train", True, of), names, frozen)
    validation = from_pictures(_pixels(source, "validation", False, held), names, frozen)
    if live:
        return _views(source, train, validation, LIVE, first_epoch, of=[of], held=[held])
    return _views(source, train, validation, source.facts.augmentation.count)


def _pixels(
    source: Source,
    name: str,
    augmented: bool,
    cached: NDArray | None,  # type: ignore[type-arg]
) -> Callable[[int, int], decoding.Pixels]:
    """From a picture's number and its view's to (S, S, 3): cached pixels, or the picture's file."""
    facts = source.facts
    if cached is not None:
        paths = [str(number) for number in range(len(cached))]
    else:
        paths = source.paths[name]

    def pixels(number: int, turn: int) -> decoding.Pixels:
        one: decoding.Pixels
        if cached is not None:
            one = cached[number, 0 if augmented else turn]
            forget(cached)
        else:
            one = decoding.load(
                source.images / paths[number], facts.image_size, facts.resize, facts.bit_depth
            )
            if not augmented:
                one = augmentation.symmetric(one, *facts.augmentation.symmetries[turn])
        if not augmented:
            return one
        return augmentation.view(one, facts.augmentation, turn, facts.seed, paths[number])

    return pixels


def _views(
    source: Source,
    train: Reader,
    validation: Reader,
    views: int,
    first_epoch: int = 0,
    *,
    of: Sequence[Any] = (),
    held: Sequence[Any] = (),
    validated: int | None = None,
) -> tuple[Views, Views]:
    """Both, from what `train` and `validation` read, where that are arrays of the cache.

    As many views of a validation picture are validated on as the cache has, so many at once.
    """
    labels = source.read("train_labels")
    for array in held:
        if isinstance(array, stores.Parts):
            array.expect(range(array.layout.parts))
    soft = hard = None
    if source.smoothing or source.mixup:
        classes = len(source.facts.classes)
        soft, hard = Soft(classes, source.smoothing, source.mixup), Soft(classes)
    return (
        Views(
            train,
            labels,
            batch_size=source.batch_size,
            views=views,
            weights=class_weights(source.class_weight, labels, source.facts.classes),
            seed=source.seed,
            first_epoch=first_epoch,
            soft=soft,
            even=source.sampling == "balanced",
            blocks=_blocks([array for array in of if isinstance(array, stores.Parts)]),
        ),
        Views(
            validation,
            source.read("validation_labels"),
            batch_size=validated or source.batch_size,
            views=source.read("validation_bottleneck").shape[1],
            every=True,
            soft=hard,
        ),
    )


def _blocks(parts: Sequence[stores.Parts]) -> Blocks | None:
    """How the pictures of arrays that lie in parts are mixed; None where none does."""
    if not parts:
        return None
    layout, window = parts[0].layout, stores.WINDOW
    if layout.parts > window:
        print(
            f"training pictures are mixed by parts of {layout.each}: each epoch reads the "
            f"{layout.parts:,} parts of the cache in a random order, and mixes {window} at a time"
        )

    def expect(order: Sequence[int]) -> None:
        for array in parts:
            array.expect(order)

    return Blocks(lambda pictures: layout.places(pictures)[0], window, expect)
