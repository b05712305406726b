"""Batches of one view of each picture an epoch, the same in each run."""

import thaw.networks.quiet  # noqa: F401

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import onnxruntime
import tensorflow as tf
from numpy.typing import NDArray

from thaw.core.threads import in_threads
from thaw.files.arrays import forget
from thaw.pictures import augmentation, decoding, sessions
from thaw.training import devices

Array = NDArray[np.float32]
Numbers = NDArray[np.int64]


# From picture numbers and the number of each one's view, both (n,), to a batch of inputs.
Reader = Callable[[Numbers, Numbers], Any]


@dataclass(frozen=True)
class Soft:
    """Labels as shares of classes: (N, 1) of the second of two, or (N, classes)."""

    classes: int
    smoothing: float = 0.0  # of each label, spread over all classes
    mixup: float = 0.0  # of the Beta distribution that a batch is mixed by; 0: not mixed

    def shares(self, labels: NDArray[np.int64]) -> Array:
        """Of class numbers (N, 1)."""
        if self.classes == 2:
            hard = labels.astype(np.float32)
        else:
            hard = np.eye(self.classes, dtype=np.float32)[labels[:, 0]]
        return hard * np.float32(1 - self.smoothing) + np.float32(self.smoothing / self.classes)


@dataclass(frozen=True)
class Blocks:
    """Pictures that lie in parts, of which some are open at a time."""

    part: Callable[[Numbers], Numbers]  # from pictures to the parts that they lie in
    window: int  # parts that are open at a time
    expect: Callable[[list[int]], None]  # is told the order of parts

    def order(self, drawn: Numbers, generator: np.random.Generator) -> Numbers:
        """The same pictures: those of as many random parts as are open, mixed, then the next.

        Those of these parts keep the order in which they were drawn; where all parts can be open,
        all do.
        """
        parts = self.part(drawn)
        mixed = generator.permutation(np.unique(parts))
        self.expect(mixed.tolist())
        if len(mixed) <= self.window:
            return drawn
        window = np.empty(mixed.max() + 1, np.int64)
        window[mixed] = np.arange(len(mixed)) // self.window
        return drawn[np.argsort(window[parts], kind="stable")]


class Views(keras.utils.PyDataset):
    """Batches of pictures in an order that is drawn anew each epoch.

    The views of a picture take turns: no view is repeated before all were seen.
    """

    def __init__(
        self,
        read: Reader,
        labels: NDArray[np.int64],
        *,
        batch_size: int,
        views: int = 1,
        weights: NDArray[np.float32] | None = None,
        seed: int | None = None,
        first_epoch: int = 0,
        soft: Soft | None = None,
        even: bool = False,
        every: bool = False,
        blocks: Blocks | None = None,
    ) -> None:
        """Draw from `read`.

        Args:
            read: from picture numbers and view numbers to a batch.
            labels: (pictures,) class numbers.
            batch_size: pictures in a batch; the last may have fewer.
            views: of each picture, of which an epoch has one.
            weights: (pictures,) of the loss; None for ones.
            seed: of the order; None to keep the pictures' own, as in validation.
            first_epoch: where the order and the views go on from.
            soft: how labels become shares of classes; None for class numbers.
            even: whether each class is drawn as often as the others.
            every: whether it has all views of each, one after the other, as in validation.
            blocks: pictures that are read together, where they lie in parts; None where each can
                be read by itself.
        """
        # Two workers: with one, Keras reads through a tf.data pipeline that tunes itself, and each
        # epoch's end would wait for the tuner to wake, up to a minute.
        super().__init__(workers=2, max_queue_size=2)
        self._read = read
        self._labels = labels
        self._weights = np.ones(len(labels), np.float32) if weights is None else weights
        self._batch_size = batch_size
        self._views = views
        self._seed = seed
        self._soft = soft
        self._even = even
        self._every = every
        self._blocks = blocks
        self._error: BaseException | None = None
        self._start(first_epoch)

    def _start(self, epoch: int) -> None:
        count = len(self._labels)
        self._epoch = epoch
        if self._seed is None:
            self._order = np.arange(count).repeat(self.together)
            self._turn = np.tile(np.arange(self.together), count)
            return
        generator = augmentation.random("order", self._seed, epoch)
        first = augmentation.random("first", self._seed).integers(self._views, size=count)
        again: Numbers | int = 0
        if self._even:
            self._order, again = evenly(self._labels, generator)
        else:
            self._order = generator.permutation(count)
        if self._blocks:
            self._order = self._blocks.order(self._order, generator)
        self._turn = (first[self._order] + epoch + again) % self._views

    def feed(self) -> Any:
        """What Keras is to read: these batches, or where several devices share each, a stream."""
        return self if devices.count() == 1 else devices.stream(self)

    def first(self) -> "Views":
        """The same pictures in their own order, of which only the first view is seen."""
        return Views(self._read, self._labels, batch_size=self._batch_size, soft=self._soft)

    @property
    def together(self) -> int:
        """How many views of a picture come one after the other."""
        return self._views if self._every else 1

    @property
    def soft(self) -> bool:
        """Whether labels are shares of classes."""
        return self._soft is not None

    def skip(self, epochs: int) -> None:
        """Go on from where so many epochs more would have ended."""
        self._start(self._epoch + epochs)

    def __len__(self) -> int:
        return -(-len(self._order) // self._batch_size)

    def __getitem__(self, index: int) -> tuple[Any, NDArray[Any], Array]:
        mine = slice(index * self._batch_size, (index + 1) * self._batch_size)
        rows = self._order[mine]
        try:
            batch = self._read(rows, self._turn[mine])
        except BaseException as error:
            self._error = error
            raise
        labels, weights = self._labels[rows, None], self._weights[rows]
        if self._soft is None:
            return batch, labels, weights
        shares = self._soft.shares(labels)
        if not self._soft.mixup:
            return batch, shares, weights
        generator = augmentation.random("mixup", self._seed, self._epoch, index)
        part = np.float32(generator.beta(self._soft.mixup, self._soft.mixup))

        def mixed(values: Array) -> Array:
            return part * values + (1 - part) * values[::-1]

        if isinstance(batch, dict):
            batch = {name: mixed(values) for name, values in batch.items()}
        else:
            batch = mixed(batch)
        return batch, mixed(shares), mixed(weights)

    @contextmanager
    def own_errors(self) -> Iterator[None]:
        """Raise the error that reading a batch raised; TensorFlow would make a text of it."""
        try:
            yield
        except tf.errors.OpError:
            if self._error is None:
                raise
            raise self._error from None

    def on_epoch_end(self) -> None:
        """Draw the next epoch's order and views."""
        self.skip(1)


def from_cache(
    features: NDArray[np.generic], select: Callable[[Array], Array] = lambda x: x
) -> Reader:
    """Read batches from cached features (pictures, views, ...)."""

    def read(rows: Numbers, turns: Numbers) -> Array:
        batch = np.asarray(features[rows, turns], np.float32)
        forget(features)
        return select(batch)

    return read


def together(readers: dict[str, Reader]) -> Reader:
    """Read several inputs of a model, by name."""

    def read(rows: Numbers, turns: Numbers) -> dict[str, Array]:
        return {name: reader(rows, turns) for name, reader in readers.items()}

    return read


def from_pictures(
    pixels: Callable[[int, int], decoding.Pixels],
    names: Sequence[str],
    frozen: onnxruntime.InferenceSession | None = None,
) -> Reader:
    """Read batches of pictures, or of what frozen layers compute for them, in threads.

    A GPU gets the pictures of a batch together.

    Args:
        pixels: from a picture's number and its view's to (S, S, 3).
        names: of the inputs of the model that the batches are for.
        frozen: from pictures to these inputs; None for the pictures themselves, as float32.
    """

    source = frozen.get_inputs()[0].name if frozen else ""

    def work(picture: tuple[int, int]) -> list[Array]:
        one = pixels(*picture)[None].astype(np.float32)
        if frozen is None:
            return [one]
        outputs: list[Array] = frozen.run(None, {source: one})
        return outputs

    def read(rows: Numbers, turns: Numbers) -> dict[str, Array]:
        pairs = zip(rows.tolist(), turns.tolist(), strict=True)
        if frozen is not None and sessions.on_gpu(frozen):
            stacked = np.stack([*in_threads(lambda pair: pixels(*pair), pairs)])
            return dict(zip(names, sessions.run(frozen, stacked), strict=True))
        parts = zip(*in_threads(work, pairs), strict=True)
        return {name: np.concatenate(part) for name, part in zip(names, parts, strict=True)}

    return read


def class_weights(
    how: str | Mapping[str, float], labels: NDArray[np.int64], classes: Sequence[str]
) -> Array | None:
    """(pictures,) how much each counts in the loss; None where all count the same.

    Args:
        how: none; balanced, pictures / (classes x pictures of the class), so that each class counts
            the same; or a number by class, 1 where none is given.
        labels: (pictures,) class numbers.
        classes: their names.
    """
    if how == "none":
        return None
    if isinstance(how, str):
        counts = np.bincount(labels)
        return (len(labels) / (len(counts) * counts))[labels].astype(np.float32)
    return np.array([how.get(name, 1.0) for name in classes], np.float32)[labels]


def evenly(labels: NDArray[np.int64], generator: np.random.Generator) -> tuple[Numbers, Numbers]:
    """As many picture numbers as there are pictures, each class as often as the others, mixed.

    Pictures of a rare class come several times, those of a frequent one in one epoch of several.

    Returns:
        The numbers, and how often each has come before in this epoch, both (pictures,).
    """
    own = [np.flatnonzero(labels == each) for each in np.unique(labels)]
    wanted = np.full(len(own), len(labels) // len(own))
    wanted[generator.permutation(len(own))[: len(labels) % len(own)]] += 1
    order, again = [], []
    for pictures, count in zip(own, wanted, strict=True):
        rounds = -(-count // len(pictures))
        drawn = [generator.permutation(pictures) for _ in range(rounds)]
        order.append(np.concatenate(drawn)[:count])
        again.append(np.repeat(np.arange(rounds), len(pictures))[:count])
    mixed = generator.permutation(len(labels))
    return np.concatenate(order)[mixed], np.concatenate(again)[mixed]
