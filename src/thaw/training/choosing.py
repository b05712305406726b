"""Which epoch's weights a training ends with: the best by validation, and when it stops early."""

import thaw.networks.quiet  # noqa: F401

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax, logsumexp

from thaw.training import devices
from thaw.training.views import Views

LOWER = ("loss",)  # is better; of the others, higher is
OWN = ("f1", "roc_auc")  # are computed only where they are selected by


@dataclass(frozen=True)
class Selection:
    """How an epoch is chosen."""

    select: str = "last"  # loss, accuracy, f1 or roc_auc, of validation; or last
    patience: int | None = None  # epochs without a better one, after which the training ends


LAST = Selection()


class Best(keras.callbacks.Callback):
    """Looks at the validation pictures after each epoch, and keeps the weights of the best so far.

    A picture counts as the model predicts it: by the mean over its views, where there are several,
    and by averaged weights, where the optimizer averages them. An equal epoch that comes later
    isn't better. It stands before all callbacks that read what validation gave.

    Args:
        how: which epoch is the best.
        validation: the pictures.
        shipped: what predicts them, and shares the trained model's variables; None for that model.
    """

    def __init__(
        self, how: Selection, validation: Views, shipped: keras.Model | None = None
    ) -> None:
        super().__init__()
        self.taken = 0  # the epoch, from 1; 0: the weights before the first
        self.start: dict[str, float] | None = None  # validation before the first, if looked at
        self._how = how
        self._validation = validation
        self._shipped = shipped
        self._value: float | None = None
        self._epoch = 0
        self._weights: list[NDArray[Any]] = []

    def look_at_start(self, model: keras.Model) -> None:
        """Let the weights before the first epoch be what an epoch has to beat."""
        found = validated(self._shipped or model, self._validation, self._how.select)
        self.start = {name: found[name] for name in ("loss", "accuracy")}
        self._weights = _values(model)
        if self._how.select != "last":
            self._value = found[self._how.select]

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        select = self._how.select
        self._epoch = epoch + 1
        with _averaged(self.model):
            found = validated(self._shipped or self.model, self._validation, select)
            value = found.get(select, 0.0)
            if self._value is None or select == "last" or self._better(value):
                self._value, self._weights, self.taken = value, _values(self.model), self._epoch
        logs |= {f"val_{name}": found[name] for name in ("loss", "accuracy")}
        if self.exhausted:
            self.model.stop_training = True

    def _better(self, value: float) -> bool:
        assert self._value is not None
        return value < self._value if self._how.select in LOWER else value > self._value

    @property
    def exhausted(self) -> bool:
        """Whether so many epochs brought nothing better that the training ends."""
        patience = self._how.patience
        return patience is not None and self._epoch - self.taken >= patience

    def apply(self, model: keras.Model) -> None:
        """Give the model the weights of the epoch that was taken."""
        for variable, value in zip(model.variables, self._weights, strict=True):
            variable.assign(value)

    def state(self) -> dict[str, Any]:
        """What a killed training needs to go on choosing."""
        weights = {f"best_{number}": value for number, value in enumerate(self._weights)}
        place = [self.taken, self._epoch]
        value = np.nan if self._value is None else self._value
        return weights | {"best_place": np.array(place), "best_value": np.array(value)}

    def restore(self, kept: dict[str, Any]) -> None:
        """Take back what `state` gave."""
        count = sum(name.startswith("best_") for name in kept) - 2
        self._weights = [kept[f"best_{number}"] for number in range(count)]
        self.taken, self._epoch = map(int, kept["best_place"])
        value = float(kept["best_value"])
        self._value = None if np.isnan(value) else value


def validated(model: keras.Model, pictures: Views, select: str = "loss") -> dict[str, float]:
    """The loss, with the penalty of large weights, and accuracy; f1 or roc_auc, if selected by."""
    logits, classes = outputs(model, pictures)
    shares = log_shares(logits)
    found = scores(shares, classes)
    found["loss"] += sum(float(each) for each in model.losses)
    if select not in OWN:
        return found
    from sklearn import metrics  # here, as importing it takes a second

    if select == "f1":
        predicted = shares.argmax(axis=1)
        return found | {select: float(metrics.f1_score(classes, predicted, average="macro"))}
    if shares.shape[1] == 2:
        score = metrics.roc_auc_score(classes, shares[:, 1] - shares[:, 0])
    else:
        score = metrics.roc_auc_score(classes, np.exp(shares), multi_class="ovr")
    return found | {select: float(score)}


def scores(shares: NDArray[np.float64], classes: NDArray[np.int64]) -> dict[str, float]:
    """Loss and accuracy of pictures, from `log_shares`."""
    return {
        "loss": float(-shares[np.arange(len(classes)), classes].mean()),
        "accuracy": float((shares.argmax(axis=1) == classes).mean()),
    }


def log_shares(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, classes) logarithms of probabilities, the mean over views, from `outputs`."""
    if logits.shape[-1] == 1:
        logits = np.concatenate([np.zeros_like(logits), logits], axis=-1)
    found: NDArray[np.float64] = logsumexp(log_softmax(logits, axis=-1), axis=1)
    found -= np.log(logits.shape[1])
    return found


def outputs(model: keras.Model, pictures: Views) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """What a model gives for each view of a picture, (N, V, 1 or classes), and its class, (N,)."""
    batches = (pictures[number] for number in range(len(pictures)))
    predict = model.predict_on_batch
    if devices.count() > 1:  # which would each predict the whole batch
        predict = functools.partial(model, training=False)
    pairs = [(np.asarray(predict(inputs)), _classes(targets)) for inputs, targets, _ in batches]
    logits, classes = (np.concatenate(each) for each in zip(*pairs, strict=True))
    each = pictures.together
    return logits.astype(np.float64).reshape(-1, each, logits.shape[1]), classes[::each]


@contextmanager
def _averaged(model: keras.Model) -> Iterator[None]:
    """Let the model have the weights that its optimizer averaged, if it does."""
    if not model.optimizer.use_ema:
        yield
        return
    trained = [variable.numpy() for variable in model.trainable_variables]
    model.optimizer.finalize_variable_values(model.trainable_variables)
    yield
    for variable, value in zip(model.trainable_variables, trained, strict=True):
        variable.assign(value)


def _classes(targets: NDArray[Any]) -> NDArray[np.int64]:
    """Class numbers from (N, 1) numbers or (N, classes) shares."""
    found = targets.argmax(1) if targets.shape[1] > 1 else targets[:, 0]
    return found.astype(np.int64)


def _values(model: keras.Model) -> list[NDArray[Any]]:
    return [variable.numpy() for variable in model.variables]
