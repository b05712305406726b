"""Which epoch's weights a training ends with: the best by validation, and when it stops early."""

import thaw.networks.quiet  # noqa: F401

import functools
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from thaw.training import devices
from thaw.training.views import Views

LOWER = ("loss",)  # is better; of the others, higher is
OWN = ("f1", "roc_auc")  # need every validation picture's logits


@dataclass(frozen=True)
class Selection:
    """How an epoch is chosen."""

    select: str = "last"  # loss, accuracy, f1 or roc_auc, of validation; or last
    patience: int | None = None  # epochs without a better one, after which the training ends


LAST = Selection()


class Best(keras.callbacks.Callback):
    """Keeps the weights of the best epoch so far; an equal one that comes later isn't better.

    It stands before `keras.callbacks.SwapEMAWeights`, so that it sees what was validated.
    """

    def __init__(self, how: Selection, validation: Views) -> None:
        super().__init__()
        self.taken = 0  # the epoch, from 1; 0: the weights before the first
        self.start: dict[str, float] | None = None  # validation before the first, if looked at
        self._how = how
        self._validation = validation
        self._value: float | None = None
        self._epoch = 0
        self._weights: list[NDArray[Any]] = []
        self._validated: list[NDArray[Any]] = []
        self._measured = 0.0

    def look_at_start(self, model: keras.Model) -> None:
        """Let the weights before the first epoch be what an epoch has to beat."""
        found = model.evaluate(self._validation.feed(), verbose=0, return_dict=True)
        self.start = {name: float(found[name]) for name in ("loss", "accuracy")}
        self._weights = _values(model)
        if self._how.select != "last":
            own = self._how.select in OWN
            self._value = self._score(model) if own else self.start[self._how.select]

    def on_test_end(self, logs: object = None) -> None:  # noqa: ARG002
        self._validated = _values(self.model)
        if self._how.select in OWN:
            self._measured = self._score(self.model)

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        select = self._how.select
        self._epoch = epoch + 1
        value = self._measured if select in OWN else logs.get(f"val_{select}", 0.0)
        if self._value is None or select == "last" or self._better(float(value)):
            self._value, self._weights, self.taken = float(value), self._validated, self._epoch
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

    def _score(self, model: keras.Model) -> float:
        from sklearn import metrics  # here, as importing it takes a second

        logits, classes = outputs(model, self._validation)
        if self._how.select == "f1":
            predicted = logits.argmax(1) if logits.shape[1] > 1 else (logits[:, 0] > 0).astype(int)
            return float(metrics.f1_score(classes, predicted, average="macro"))
        if logits.shape[1] == 1:
            return float(metrics.roc_auc_score(classes, logits[:, 0]))
        return float(metrics.roc_auc_score(classes, softmax(logits, axis=1), multi_class="ovr"))


def outputs(model: keras.Model, pictures: Views) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """What a model gives for each picture, (N, 1 or classes), and its class, (N,)."""
    batches = (pictures[number] for number in range(len(pictures)))
    predict = model.predict_on_batch
    if devices.count() > 1:  # which would each predict the whole batch
        predict = functools.partial(model, training=False)
    pairs = [(np.asarray(predict(inputs)), _classes(targets)) for inputs, targets, _ in batches]
    logits, classes = (np.concatenate(each) for each in zip(*pairs, strict=True))
    return logits.astype(np.float64), classes


def _classes(targets: NDArray[Any]) -> NDArray[np.int64]:
    """Class numbers from (N, 1) numbers or (N, classes) shares."""
    found = targets.argmax(1) if targets.shape[1] > 1 else targets[:, 0]
    return found.astype(np.int64)


def _values(model: keras.Model) -> list[NDArray[Any]]:
    return [variable.numpy() for variable in model.variables]
