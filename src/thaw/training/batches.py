"""Batches that a head or the top of a network is trained on: from the cache, or from pictures."""

import thaw.networks.quiet  # noqa: F401

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

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
        live = from_pictures(_pixels(source, "train", True), ["bottleneck"], frozen)
        views = LIVE

        def train(rows: Numbers, turns: Numbers) -> heads.Array:
            return select(live(rows, turns)["bottleneck"])

    return _views(source, train, validation, views, of=None if frozen else learnt)


def boundaries(
    source: Source,
    cached: dict[str, NDArray],  # type: ignore[type-arg]
    width_below: int,
) -> tuple[Views, Views]:
    """Training and validation batches for `classifiers.top`, from a cache as `raising` gives it."""

    def read(name: str) -> tuple[Reader, int]:
        boundary = cached[name]
        readers = {"boundary": from_cache(boundary)}
        if width_below:
            pooled = source.read(f"{name}_bottleneck")
            readers["below"] = from_cache(pooled[..., :width_below])
        return together(readers), boundary.shape[1]

    (train, views), (validation, _) = read("train"), read("validation")
    return _views(source, train, validation, views, of=cached["train"])


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
    train, validation = (
        from_pictures(_pixels(source, name, name == "train"), names, frozen)
        for name in ("train", "validation")
    )
    if source.facts.live:
        return _views(source, train, validation, LIVE, first_epoch)
    return _views(source, train, validation, source.facts.augmentation.count)


def _pixels(source: Source, name: str, augmented: bool) -> Callable[[int, int], decoding.Pixels]:
    """From a picture's number and its view's to (S, S, 3): cached pixels, or the picture's file."""
    facts = source.facts
    if facts.live:
        cached = source.read(f"{name}_boundary")
        paths = [str(number) for number in range(len(cached))]
    else:
        paths = source.paths[name]

    def pixels(number: int, turn: int) -> decoding.Pixels:
        one: decoding.Pixels
        if facts.live:
            one = cached[number, 0]
            forget(cached)
        else:
            one = decoding.load(
                source.images / paths[number], facts.image_size, facts.resize, facts.bit_depth
            )
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
    of: NDArray | None = None,  # type: ignore[type-arg]
) -> tuple[Views, Views]:
    labels = source.read("train_labels")
    blocks = None
    if isinstance(of, stores.Parts):
        blocks = Blocks(of.each, stores.WINDOW, of.expect)
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
            blocks=blocks,
        ),
        Views(
            validation,
            source.read("validation_labels"),
            batch_size=source.batch_size,
            soft=hard,
        ),
    )
