"""Train a Keras model on one view of each picture an epoch, the same way each time."""

import thaw.networks.quiet  # noqa: F401

import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from thaw.core import progress
from thaw.training.checkpoints import Checkpoint, History
from thaw.training.views import Views

Array = NDArray[np.float32]
HISTORY = ("epoch", "train_loss", "validation_loss", "train_accuracy", "validation_accuracy")
KERAS_NAMES = ("loss", "val_loss", "accuracy", "val_accuracy")  # of what follows the epoch
Rows = list[tuple[float, ...]]
# What `optimizer` in params.yaml names: Keras's defaults, kept here so that they stay.
_ADAM = {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7, "amsgrad": False}
OPTIMIZERS: dict[str, dict[str, float]] = {
    "adam": _ADAM,
    "adamw": _ADAM,
    "rmsprop": {"rho": 0.9, "epsilon": 1e-7, "centered": False},
    "sgd": {"nesterov": False},
}


@dataclass(frozen=True)
class Optimization:
    """How to optimise."""

    optimizer: str
    learning_rate: float
    schedule: str  # constant, or cosine: down to zero over the epochs
    epochs: int
    weight_decay: float = 0.004  # of adamw
    momentum: float = 0.0  # of sgd and rmsprop


def prepare(seed: int, threads: int) -> None:
    """Make training repeatable: seeds, and a fixed number of threads.

    The bytes of a trained model depend on the number of threads, not on the number of cores.
    """
    keras.utils.set_random_seed(seed)
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    if tf.config.list_physical_devices("GPU"):
        tf.config.experimental.enable_op_determinism()


def fit(
    model: keras.Model,
    train: Views,
    validation: Views,
    how: Optimization,
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
        how: optimizer and epochs.
        first_epoch: what the history's numbering starts after.
        checkpoint: where each epoch's state is kept, and the training goes on from, if it was
            killed; the result is the same to the byte.
        logs: a folder for TensorBoard's files: curves, and histograms of all weights by epoch.
        show: given the rows so far, after each epoch, and before the first one that follows those
            of a killed run.

    Returns:
        A row an epoch, the columns of `HISTORY`.
    """
    compile_model(model, how, how.epochs * len(train))
    history = checkpoint.restore(model) if checkpoint else {}
    finished = len(history.get("loss", ()))
    if finished:
        print(f"continues after epoch {finished} of {how.epochs}, where an earlier run stopped")
        train.skip(finished)
        show(_rows(history, first_epoch))
    callbacks: list[keras.callbacks.Callback] = []
    if logs:
        if not finished and logs.is_dir():
            shutil.rmtree(logs)  # another training's curves would be drawn over these
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
            epochs=how.epochs,
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
    """Hands on the metrics of this process's epochs after each epoch."""

    def __init__(self, show: Callable[[History], object]) -> None:
        super().__init__()
        self._show = show
        self._history: History = {}

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:  # noqa: ARG002
        for name, value in logs.items():
            self._history.setdefault(name, []).append(value)
        self._show(self._history)


class _Lines(keras.callbacks.Callback):
    """Lines for a log in place of Keras's bar: one an epoch, in long epochs one now and then."""

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


def optimizer_of(how: Optimization) -> keras.optimizers.Optimizer:
    """The optimizer, at the rate with which it begins."""
    config = {"learning_rate": how.learning_rate, **OPTIMIZERS[how.optimizer]}
    if how.optimizer == "adamw":
        config["weight_decay"] = how.weight_decay
    if how.optimizer in ("rmsprop", "sgd"):
        config["momentum"] = how.momentum
    return keras.optimizers.get({"class_name": how.optimizer, "config": config})


def compile_model(model: keras.Model, how: Optimization, steps: int) -> None:
    """Give a model that outputs logits its optimizer, for so many steps, its loss and accuracy."""
    rate: object = how.learning_rate
    if how.schedule == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(how.learning_rate, steps)
    optimizer = optimizer_of(how)
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
