"""Which learning rate: a short training at each of several, judged on the validation pictures.

The usual test, one training whose rate rises (Smith 2017, arXiv:1506.01186), shows where a head
learns that was never trained. Fine-tuning begins with a trained one, whose loss on the pictures it
knows only rises; and what a rate does in three steps isn't what it does in three hundred.
"""

import thaw.networks.quiet  # noqa: F401

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import keras
import numpy as np
from numpy.typing import NDArray

from thaw.core.errors import ThawError
from thaw.core.progress import track
from thaw.drawing import markdown
from thaw.training import choosing, loop
from thaw.training.views import Views

Array = NDArray[np.float64]

PER_DECADE = 2  # rates to a power of ten
LOWEST = {"sgd": -5, "adam": -6, "adamw": -6, "rmsprop": -6}  # powers of ten
RATES = 11  # at most: five powers of ten
WORSE = 2  # rates in a row whose loss is this much above the best, after which none is tried:
MUCH = 0.1  # of the loss
AS_GOOD = 3.5  # a factor: a rate tried beside another is as good
RULE = (
    "Rule: the rate with the lowest validation loss after a training of {} steps, which goes "
    "through the recipe's warm-up and schedule; between tried rates by the parabola through the "
    "lowest and its neighbours. An error is the standard error of the difference from the loss "
    "before, over the {:,} validation pictures, one view each."
)


@dataclass(frozen=True)
class Tried:
    """A rate, and what a short training at it gave."""

    rate: float
    loss: float  # on the validation pictures
    error: float  # standard error of its difference from the loss before
    accuracy: float


@dataclass(frozen=True)
class Found:
    """What was tried for one training."""

    group: str  # of params.yaml: head or fine_tune
    present: float  # its learning rate there
    before: Tried  # at the rate 0
    tried: Sequence[Tried]  # from low to high
    steps: int
    pictures: int  # of validation

    @property
    def title(self) -> str:
        return {"head": "The head", "fine_tune": "Fine-tuning"}[self.group]

    @property
    def best(self) -> Tried:
        """The tried rate with the lowest loss."""
        return min(self.tried, key=lambda each: each.loss)

    @property
    def helps(self) -> bool:
        """Whether the lowest loss is below that before by more than its standard error."""
        return self.best.loss < self.before.loss - self.best.error

    @property
    def advised(self) -> float:
        """A rate of one digit."""
        at = self.tried.index(self.best)
        place = math.log10(self.best.rate)
        if 0 < at < len(self.tried) - 1:
            low, mid, high = (each.loss for each in self.tried[at - 1 : at + 2])
            place += 0.5 * (low - high) / (low - 2 * mid + high) / PER_DECADE
        return float(f"{10**place:.0e}")


def sweep(
    group: str,
    model: keras.Model,
    train: Views,
    validation: Views,
    how: loop.Optimization,
    count: int,
    steps: loop.Steps = (),
) -> Found:
    """Train for some steps at each rate, from the same weights on the same batches.

    The model has its first weights again afterwards.

    Args:
        group: of params.yaml.
        model: logits out.
        train: batches.
        validation: what a rate is judged on.
        how: the optimizer, the schedule, and the present rate. Weights aren't averaged.
        count: of steps at each rate.
        steps: as in `loop.fit`.

    Raises:
        ThawError: when the lowest rate leaves no number.
    """
    first = 10.0 ** LOWEST[how.optimizer]
    plain = replace(how, schedule="constant", warmup=0.0, learning_rate=first, ema=0.0)
    loop.compile_model(model, plain, count, steps, soft=train.soft)
    model.optimizer.build(model.trainable_variables)
    variables = [*model.variables, *model.optimizer.variables]
    start = [variable.numpy() for variable in variables]
    base, right = losses(model, validation)
    before = Tried(0.0, float(base.mean()), 0.0, float(right.mean()))
    tried: list[Tried] = []
    grid = [first * 10 ** (number / PER_DECADE) for number in range(RATES)]
    for rate in track(grid, f"rates of {group}", unit="rates"):
        schedule = loop.schedule(
            replace(how, learning_rate=rate, epochs=1, warmup=how.warmup / how.epochs), count
        )
        for variable, value in zip(variables, start, strict=True):
            variable.assign(value)
        for step in range(count):
            if step and step % len(train) == 0:
                train.skip(1)
            model.optimizer.learning_rate = float(schedule(step))
            model.train_on_batch(*train[step % len(train)])
        train.skip(-((count - 1) // len(train)))
        loss, right = losses(model, validation)
        if not np.isfinite(loss).all():
            break
        error = float(np.std(loss - base)) / math.sqrt(len(loss))
        tried.append(Tried(rate, float(loss.mean()), error, float(right.mean())))
        if _past(tried):
            break
    for variable, value in zip(variables, start, strict=True):
        variable.assign(value)
    if not tried:
        raise ThawError(
            f"params.yaml: {group}: at a learning rate of {first:g} the validation loss is no "
            "number; where that is the head's doing, run `dvc repro -f train_head`"
        )
    return Found(group, how.learning_rate, before, tried, count, len(base))


def _past(tried: Sequence[Tried]) -> bool:
    """Whether higher rates can only be worse, as the last ones are by far."""
    least = min(each.loss for each in tried)
    last = tried[-WORSE:]
    return len(tried) > WORSE and all(each.loss >= least * (1 + MUCH) for each in last)


def losses(model: keras.Model, validation: Views) -> tuple[Array, NDArray[np.bool_]]:
    """Of each validation picture's first view the cross-entropy, and whether it is right, (N,)."""
    logits, classes = choosing.outputs(model, validation.first())
    shares = choosing.log_shares(logits)
    return -shares[np.arange(len(classes)), classes], shares.argmax(axis=1) == classes


def table(found: Found) -> str:
    """The rates as a Markdown table, the best marked."""
    columns = ("learning rate", "validation loss", "change", "accuracy")
    rows = [
        (
            f"{each.rate:.1e}{' ←' if each is found.best else ''}" if each.rate else "before",
            f"{each.loss:.4f}",
            f"{each.loss - found.before.loss:+.4f} ± {each.error:.4f}" if each.rate else "",
            f"{each.accuracy:.4f}",
        )
        for each in (found.before, *found.tried)
    ]
    return markdown.table(columns, rows) + "\n"


def sentences(found: Found) -> str:
    """The advice, and how to follow it."""
    name = f"{found.group}.learning_rate"
    if not found.helps:
        return (
            "No advice: no rate lowers the validation loss by more than its error in "
            f"{found.steps} steps. What this training can gain comes later, if at all, and the "
            f"learning curves of a whole one tell; `{name}` is {found.present:g}.\n"
        )
    factor = max(found.advised / found.present, found.present / found.advised)
    if factor <= AS_GOOD:
        near = f", which is near {found.advised:g}" if found.advised != found.present else ""
        return f"Advice: keep `{name}: {found.present:g}`{near}.\n"
    return (
        f"Advice: `dvc exp run -S {name}={found.advised:g}`; it is {found.present:g} in "
        "params.yaml.\n"
    )


def report(found: Sequence[Found]) -> str:
    """All that was found, as Markdown."""
    parts = []
    for each in found:
        rule = RULE.format(each.steps, each.pictures)
        parts.append(f"## {each.title}\n\n{table(each)}\n{sentences(each)}\n{rule}\n")
    return "\n".join(parts)
