"""Train a Keras model on one view of each picture an epoch, the same way each time."""

import thaw.quiet  # noqa: F401

import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnxruntime
import tensorflow as tf
from numpy.typing import NDArray

from thaw import images, progress
from thaw.arrays import forget
from thaw.checkpoints import Checkpoint, History

Array = NDArray[np.float32]
Numbers = NDArray[np.int64]
# From picture numbers and the number of each one's view, both (n,), to a batch of inputs.
Reader = Callable[[Numbers, Numbers], Any]
HISTORY = ("epoch", "train_loss", "validation_loss", "train_accuracy", "validation_accuracy")
KERAS_NAMES = ("loss", "val_loss", "accuracy", "val_accuracy")  # of what follows the epoch
Rows = list[tuple[float, ...]]


@dataclass(frozen=True)
class Recipe:
    """How to optimise."""

    optimizer: str
    learning_rate: float
    schedule: str  # constant, or cosine: down to zero over the epochs
    epochs: int


def prepare(seed: int, threads: int) -> None:
    """Make training repeatable: seeds, and a fixed number of threads.

    The bytes of a trained model depend on the number of threads, not on the number of cores.
    """
    keras.utils.set_random_seed(seed)
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    if tf.config.list_physical_devices("GPU"):
        tf.config.experimental.enable_op_determinism()


class Views(keras.utils.PyDataset):
    """Batches in an order drawn anew each epoch; each picture's views take turns, none repeated
    before all were seen.
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
    ) -> None:
        """Draw from `read`.

        Args:
            read: from picture numbers and view numbers to a batch.
            labels: (pictures,) class numbers.
            batch_size: pictures in a batch; the last may have fewer.
            views: of each picture.
            weights: (pictures,) of the loss; None for ones.
            seed: of the order; None to keep the pictures' own, as in validation.
            first_epoch: where the order and the views go on from.
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
        self._error: BaseException | None = None
        self._start(first_epoch)

    def _start(self, epoch: int) -> None:
        count = len(self._labels)
        self._epoch = epoch
        if self._seed is None:
            self._order = np.arange(count)
            self._turn = np.zeros(count, np.int64)
            return
        self._order = images.random("order", self._seed, epoch).permutation(count)
        first = images.random("first", self._seed).integers(self._views, size=count)
        self._turn = (first + epoch) % self._views

    def skip(self, epochs: int) -> None:
        """Go on from where so many epochs more would have ended."""
        self._start(self._epoch + epochs)

    def __len__(self) -> int:
        return -(-len(self._labels) // self._batch_size)

    def __getitem__(self, index: int) -> tuple[Any, NDArray[np.int64], Array]:
        rows = self._order[index * self._batch_size : (index + 1) * self._batch_size]
        try:
            batch = self._read(rows, self._turn[rows])
        except BaseException as error:
            self._error = error
            raise
        return batch, self._labels[rows, None], self._weights[rows]

    @contextmanager
    def own_errors(self) -> Iterator[None]:
        """Raise what reading a batch raised, instead of what TensorFlow makes of it, a text."""
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
    pixels: Callable[[int, int], images.Pixels],
    names: Sequence[str],
    frozen: onnxruntime.InferenceSession | None = None,
) -> Reader:
    """Read batches of pictures, or of what frozen layers compute for them, in threads.

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
        parts = zip(*images.in_threads(work, pairs), strict=True)
        return {name: np.concatenate(part) for name, part in zip(names, parts, strict=True)}

    return read


def balanced(labels: NDArray[np.int64]) -> Array:
    """Weights that make each class count the same: pictures / (classes x pictures of the class)."""
    counts = np.bincount(labels)
    return (len(labels) / (len(counts) * counts))[labels].astype(np.float32)


def fit(
    model: keras.Model,
    train: Views,
    validation: Views,
    recipe: Recipe,
    first_epoch: int = 0,
    checkpoint: Checkpoint | None = None,
    logs: Path | None = None,
    show: Callable[[Rows], object] = lambda _: None,
) -> Rows:
    """Train a model that outputs logits.

    Binary cross-entropy for one logit, categorical for more.

    Args:
        model: (N, 1) or (N, classes) logits out.
        train: the training pictures.
        validation: looked at after each epoch.
        recipe: optimizer and epochs.
        first_epoch: what the history's numbering starts after.
        checkpoint: where each epoch's state is kept, and the training goes on from, if it was
            killed; the result is the same to the byte.
        logs: a folder for TensorBoard's files: curves, and histograms of all weights by epoch.
        show: given the rows so far, after each epoch, and before the first one that follows those
            of a killed run.

    Returns:
        A row an epoch, the columns of `HISTORY`.
    """
    compile_model(model, recipe, recipe.epochs * len(train))
    history = checkpoint.restore(model) if checkpoint else {}
    finished = len(history.get("loss", ()))
    if finished:
        print(f"continues after epoch {finished} of {recipe.epochs}, where an earlier run stopped")
        train.skip(finished)
        show(_rows(history, first_epoch))
    callbacks: list[keras.callbacks.Callback] = []
    if logs:
        if not finished and logs.is_dir():
            shutil.rmtree(logs)  # of another training, whose curves would be drawn over these
        callbacks.append(_TensorBoard(logs, first_epoch + 1))
    if checkpoint:
        callbacks.append(checkpoint)
    callbacks.append(_Watched(lambda later: show(_rows(_joined(history, later), first_epoch))))
    if not sys.stdout.isatty():
        callbacks.append(_Lines())
    with train.own_errors(), validation.own_errors():
        later = model.fit(
            train,
            validation_data=validation,
            epochs=recipe.epochs,
            initial_epoch=finished,
            shuffle=False,
            verbose=int(sys.stdout.isatty()),
            callbacks=callbacks,
        ).history
    return _rows(_joined(history, later), first_epoch)


def _joined(history: History, later: History) -> History:
    return {name: history.get(name, []) + later.get(name, []) for name in KERAS_NAMES}


def _rows(history: History, first_epoch: int) -> Rows:
    columns = (history[name] for name in KERAS_NAMES)
    return [
        (first_epoch + number, *map(float, values))
        for number, values in enumerate(zip(*columns, strict=True), start=1)
    ]


class _Watched(keras.callbacks.Callback):
    """Hands on the metrics by epoch, of this process, after each."""

    def __init__(self, show: Callable[[History], object]) -> None:
        super().__init__()
        self._show = show
        self._history: History = {}

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:  # noqa: ARG002
        for name, value in logs.items():
            self._history.setdefault(name, []).append(value)
        self._show(self._history)


class _Lines(keras.callbacks.Callback):
    """A line an epoch for a log, and in long epochs one now and then, where Keras draws a bar."""

    def on_epoch_begin(self, epoch: int, logs: object = None) -> None:  # noqa: ARG002
        self._epoch = f"epoch {epoch + 1} of {self.params['epochs']}"
        self._began = time.monotonic()
        self._batches = progress.Lines(self._epoch, self.params["steps"], "batches")

    def on_train_batch_end(self, batch: int, logs: object = None) -> None:  # noqa: ARG002
        self._batches.update(1)

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:  # noqa: ARG002
        loss, validation_loss, accuracy, validation_accuracy = (logs[name] for name in KERAS_NAMES)
        print(
            f"{self._epoch}: loss {loss:.4f}, accuracy {accuracy:.4f}; "
            f"validation loss {validation_loss:.4f}, accuracy {validation_accuracy:.4f}; "
            f"{time.monotonic() - self._began:.1f} s"
        )


class _TensorBoard(keras.callbacks.TensorBoard):
    """Keras's, with epochs numbered as in the learning curves."""

    def __init__(self, folder: Path, first: int) -> None:
        super().__init__(folder, histogram_freq=1, write_graph=False)
        self._first = first

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        super().on_epoch_end(self._first + epoch, logs)


def compile_model(model: keras.Model, recipe: Recipe, steps: int) -> None:
    """Give a model that outputs logits its optimizer, for so many steps, its loss and accuracy."""
    rate: object = recipe.learning_rate
    if recipe.schedule == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(recipe.learning_rate, steps)
    optimizer = keras.optimizers.get(
        {"class_name": recipe.optimizer, "config": {"learning_rate": recipe.learning_rate}}
    )
    optimizer.learning_rate = rate
    loss, accuracy = _loss_and_accuracy(model)
    model.compile(optimizer, loss, weighted_metrics=[], metrics=[accuracy])


def evaluate(model: keras.Model, pictures: Views) -> dict[str, float]:
    """Loss and accuracy of a model that outputs logits."""
    loss, accuracy = _loss_and_accuracy(model)
    model.compile(loss=loss, metrics=[accuracy], weighted_metrics=[])
    found = model.evaluate(pictures, verbose=0, return_dict=True)
    return {name: float(found[name]) for name in ("loss", "accuracy")}


def _loss_and_accuracy(model: keras.Model) -> tuple[keras.losses.Loss, keras.metrics.Metric]:
    if model.output_shape[-1] == 1:
        return (
            keras.losses.BinaryCrossentropy(from_logits=True),
            keras.metrics.BinaryAccuracy("accuracy", threshold=0.0),
        )
    return (
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        keras.metrics.SparseCategoricalAccuracy("accuracy"),
    )
