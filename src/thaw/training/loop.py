"""Train a Keras model on one view of each picture an epoch, the same way each time."""

import thaw.networks.quiet  # noqa: F401

import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from thaw.core import progress
from thaw.networks import private
from thaw.training import devices
from thaw.training.checkpoints import Checkpoint, History
from thaw.training.choosing import LAST, Best, Selection
from thaw.training.views import Views

Array = NDArray[np.float32]
HISTORY = ("epoch", "train_loss", "validation_loss", "train_accuracy", "validation_accuracy")
KERAS_NAMES = ("loss", "val_loss", "accuracy", "val_accuracy")  # of what follows the epoch
Rows = list[tuple[float, ...]]
REMEMBERED = 4  # averaged weights remember at most that part of a training
# What `optimizer` in params.yaml names: Keras's defaults, kept here so that they stay.
_ADAM = {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7, "amsgrad": False}
OPTIMIZERS: dict[str, dict[str, float]] = {
    "adam": _ADAM,
    "adamw": _ADAM,
    "rmsprop": {"rho": 0.9, "epsilon": 1e-7, "centered": False},
    "sgd": {"nesterov": False},
}


class FusedAdam(keras.optimizers.Adam):
    """Keras's, which updates a variable by one operator of TensorFlow.

    Keras's own has a dozen, each of which reads and writes the whole variable. The numbers are the
    same, within rounding.
    """

    def update_step(
        self, gradient: tf.Tensor, variable: tf.Variable, learning_rate: tf.Tensor
    ) -> None:
        step = tf.cast(self.iterations + 1, variable.dtype)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=private.slots(self, "momentums", variable).handle,
            v=private.slots(self, "velocities", variable).handle,
            beta1_power=tf.pow(self.beta_1, step),
            beta2_power=tf.pow(self.beta_2, step),
            lr=learning_rate,
            beta1=self.beta_1,
            beta2=self.beta_2,
            epsilon=self.epsilon,
            grad=gradient,
        )


KINDS = {
    "adam": FusedAdam,
    "adamw": FusedAdam,  # with the decay of weights
    "rmsprop": keras.optimizers.RMSprop,
    "sgd": keras.optimizers.SGD,
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
    warmup: float = 0.0  # epochs in which the rate rises from 0
    clip: float | None = None  # the gradient's largest norm
    ema: float = 0.0  # the share of the earlier average in averaged weights; 0: no averaging


@dataclass(frozen=True)
class Step:
    """How a step of one variable differs."""

    variable: keras.Variable
    rate: float = 1.0  # by what the learning rate, and with it the weight decay, is multiplied
    centred: Sequence[int] = ()  # axes over which the mean of each step is taken off


Steps = Sequence[Step]


@dataclass(frozen=True)
class Fitted:
    """What a training gave."""

    rows: Rows
    taken: int  # the row, from 1, of the epoch whose weights are kept; 0: those before the first
    start: dict[str, float] | None = None  # validation loss and accuracy before the first


NOTHING = Fitted([], 0)


def prepare(seed: int, threads: int) -> None:
    """Make training repeatable: seeds, and a fixed number of threads.

    The bytes of a trained model depend on the number of threads, not on the number of cores.
    """
    keras.utils.set_random_seed(seed)
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    devices.check()
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
    show: Callable[[Fitted], object] = lambda _: None,
    selection: Selection = LAST,
    from_start: bool = False,
    steps: Steps = (),
    shipped: keras.Model | None = None,
) -> Fitted:
    """Train a model that outputs logits.

    Binary cross-entropy for one logit, categorical for more. The model ends with the weights of the
    epoch that was taken.

    Args:
        model: (N, 1) or (N, classes) logits out.
        train: the training pictures.
        validation: looked at after each epoch, as `choosing.Best` does.
        how: optimizer and epochs.
        first_epoch: what the history's numbering starts after.
        checkpoint: where each epoch's state is kept, and the training goes on from, if it was
            killed; the result is the same to the byte.
        logs: a folder for TensorBoard's files: curves, and histograms of all weights by epoch.
        show: given what there is so far, after each epoch, and before the first one that follows
            those of a killed run.
        selection: which epoch is taken, and when training ends early.
        from_start: whether the weights before the first epoch are taken where none beats them.
        steps: of variables whose steps differ.
        shipped: the model as it will predict, which validation is by; it shares the variables. None
            if it is the model that is trained.

    Returns:
        A row an epoch, the columns of `HISTORY`, and which was taken.
    """
    compile_model(model, how, len(train), steps, soft=train.soft)
    private.end_epochs_at_once()
    if devices.count() > 1:
        private.build_for_several_devices(model, train[0])
    best = Best(selection, validation, shipped)
    if from_start:
        with validation.own_errors():
            best.look_at_start(model)
    history = checkpoint.restore(model, best) if checkpoint else {}
    finished = len(history.get("loss", ()))

    def so_far(later: History) -> Fitted:
        return Fitted(_rows(_joined(history, later), first_epoch), best.taken, best.start)

    if finished:
        print(f"continues after epoch {finished} of {how.epochs}, where an earlier run stopped")
        train.skip(finished)
        show(so_far({}))
    callbacks: list[keras.callbacks.Callback] = [best]
    if logs:
        if not finished and logs.is_dir():
            shutil.rmtree(logs)  # another training's curves would be drawn over these
        callbacks.append(_TensorBoard(logs, first_epoch + 1))
    if checkpoint:
        callbacks.append(checkpoint)
    if devices.count() > 1:
        train.on_epoch_end()  # as Keras does before the first epoch of batches that it knows
        callbacks.append(_Drawn(train))
    callbacks.append(_Watched(lambda later: show(so_far(later))))
    if not sys.stdout.isatty():
        callbacks.append(_Lines())
    later: History = {}
    if finished < how.epochs and not best.exhausted:
        with train.own_errors(), validation.own_errors(), devices.synchronized(model):
            later = model.fit(
                train.feed(),
                epochs=how.epochs,
                initial_epoch=finished,
                shuffle=False,
                verbose=int(sys.stdout.isatty()),
                callbacks=callbacks,
            ).history
    best.apply(model)
    found = so_far(later)
    if len(found.rows) < how.epochs:
        print(
            f"ended after epoch {len(found.rows)} of {how.epochs}: {selection.patience} without a "
            f"better {selection.select}"
        )
    return found


def _joined(history: History, later: History) -> History:
    return {name: history.get(name, []) + later.get(name, []) for name in KERAS_NAMES}


def _rows(history: History, first_epoch: int) -> Rows:
    columns = (history[name] for name in KERAS_NAMES)
    return [
        (first_epoch + number, *map(float, values))
        for number, values in enumerate(zip(*columns, strict=True), start=1)
    ]


class _Drawn(keras.callbacks.Callback):
    """Draws the next epoch's order where Keras doesn't know whose batches it reads."""

    def __init__(self, train: Views) -> None:
        super().__init__()
        self._train = train

    def on_epoch_end(self, epoch: int, logs: object = None) -> None:  # noqa: ARG002
        self._train.on_epoch_end()


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


class _SoftAccuracy(keras.metrics.BinaryAccuracy):
    """Of shares of the second class: right where logit and share are on the same side."""

    def __init__(self, name: str) -> None:
        super().__init__(name, threshold=0.0)

    def update_state(self, shares: Any, logits: Any, sample_weight: Any = None) -> None:
        super().update_state(keras.ops.cast(shares > 0.5, "float32"), logits, sample_weight)


class _TensorBoard(keras.callbacks.TensorBoard):
    """Keras's, with epochs numbered as in the learning curves."""

    def __init__(self, folder: Path, first: int) -> None:
        super().__init__(folder, histogram_freq=1, write_graph=False)
        self._first = first

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        super().on_epoch_end(self._first + epoch, logs)


def optimizer_of(how: Optimization, steps: Steps = ()) -> keras.optimizers.Optimizer:
    """The optimizer, at the rate with which it begins."""
    config: dict[str, Any] = {"learning_rate": how.learning_rate, **OPTIMIZERS[how.optimizer]}
    if how.optimizer == "adamw" and not steps:
        config["weight_decay"] = how.weight_decay
    if how.optimizer in ("rmsprop", "sgd"):
        config["momentum"] = how.momentum
    several = devices.count() > 1
    if how.clip is not None and not several:
        config["global_clipnorm"] = how.clip
    if how.ema:
        config |= {"use_ema": True, "ema_momentum": how.ema}
    kind = KINDS[how.optimizer]
    if steps:
        kind = _by_variable(kind, how, steps)
    if how.clip is not None and several:
        kind = devices.clipped(kind, how.clip)
    made: keras.optimizers.Optimizer = kind(**config)
    return made


def _by_variable(
    kind: type[keras.optimizers.Optimizer], how: Optimization, steps: Steps
) -> type[keras.optimizers.Optimizer]:
    """An optimizer whose steps differ by variable."""
    known: dict[str, Step] = {}
    decay = how.weight_decay if how.optimizer == "adamw" else 0.0

    class ByVariable(kind):
        def update_step(
            self, gradient: tf.Tensor, variable: tf.Variable, learning_rate: tf.Tensor
        ) -> None:
            if not known:
                known.update({private.variable_key(self, each.variable): each for each in steps})
            step = known.get(private.variable_key(self, variable))
            rate = learning_rate * (step.rate if step else 1.0)
            if decay:
                variable.assign_sub(variable * (rate * decay))
            if step is None or not step.centred:
                super().update_step(gradient, variable, rate)
                return
            before = tf.identity(variable)
            super().update_step(gradient, variable, rate)
            mean = tf.reduce_mean(variable - before, step.centred, keepdims=True)
            variable.assign(variable - mean)

    return ByVariable


def averaging(how: Optimization, steps: int) -> float:
    """The share of the earlier average in averaged weights, for epochs of so many steps.

    An average that remembered the whole of a short training would be near where it began.
    """
    return min(how.ema, max(0.0, 1 - REMEMBERED / (how.epochs * steps)))


def schedule(how: Optimization, steps: int) -> keras.optimizers.schedules.LearningRateSchedule:
    """The learning rate over epochs of so many steps."""
    total, rising = how.epochs * steps, round(how.warmup * steps)
    alpha = 0.0 if how.schedule == "cosine" else 1.0
    if not rising:
        return keras.optimizers.schedules.CosineDecay(how.learning_rate, total, alpha)
    return keras.optimizers.schedules.CosineDecay(
        0.0, max(total - rising, 1), alpha, warmup_target=how.learning_rate, warmup_steps=rising
    )


def compile_model(
    model: keras.Model,
    how: Optimization,
    count: int,
    steps: Steps = (),
    *,
    soft: bool = False,
) -> None:
    """Give a model that outputs logits its optimizer, its loss and accuracy.

    Args:
        model: logits out.
        how: to optimise.
        count: of steps in an epoch.
        steps: as in `fit`.
        soft: whether labels are shares of classes.
    """
    optimizer = optimizer_of(replace(how, ema=averaging(how, count)), steps)
    if how.schedule == "cosine" or how.warmup:
        optimizer.learning_rate = schedule(how, count)
    loss, accuracy = _loss_and_accuracy(model, soft)
    model.compile(optimizer, loss, weighted_metrics=[], metrics=[accuracy])


def _loss_and_accuracy(
    model: keras.Model, soft: bool = False
) -> tuple[keras.losses.Loss, keras.metrics.Metric]:
    """For class numbers; for shares of classes, of which the largest counts as right, if `soft`."""
    one = model.output_shape[-1] == 1
    if soft and one:
        return keras.losses.BinaryCrossentropy(from_logits=True), _SoftAccuracy(name="accuracy")
    if soft:
        return (
            keras.losses.CategoricalCrossentropy(from_logits=True),
            keras.metrics.CategoricalAccuracy("accuracy"),
        )
    if one:
        return (
            keras.losses.BinaryCrossentropy(from_logits=True),
            keras.metrics.BinaryAccuracy("accuracy", threshold=0.0),
        )
    return (
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        keras.metrics.SparseCategoricalAccuracy("accuracy"),
    )
