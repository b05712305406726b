"""The rate that is best on pictures that are easy to learn, the advice on known losses."""

import thaw.networks.quiet  # noqa: F401

import dataclasses
from collections.abc import Sequence

import keras
import numpy as np
import pytest
from sklearn.metrics import log_loss

from thaw.core.errors import ThawError
from thaw.review import rates
from thaw.training import loop
from thaw.training.views import Views, from_cache

HOW = loop.Optimization("adam", 1e-3, "cosine", epochs=4, warmup=1)


def found(
    losses: Sequence[float], before: float = 1.0, present: float = 1e-3, error: float = 0.01
) -> rates.Found:
    """Rates from 1e-6 up, as sweeps have them."""
    tried = [
        rates.Tried(10 ** (-6 + place / 2), loss, error, 0.5) for place, loss in enumerate(losses)
    ]
    start = rates.Tried(0.0, before, 0.0, 0.5)
    return rates.Found("fine_tune", present, start, tried, steps=10, pictures=100)


@pytest.mark.parametrize(
    ("losses", "advised"),
    [
        ([0.9, 0.8, 0.9], 3e-6),  # as much to either side: the middle itself
        ([0.9, 0.8, 0.82, 0.9], 5e-6),  # 10 ** (-5.5 + 0.25 * 0.08 / 0.12 / 1)
        ([0.8, 0.9], 1e-6),  # at an end: that end
        ([0.9, 0.8], 3e-6),
        ([0.8, 0.8, 0.8], 1e-6),
        ([0.9, 0.8, 0.8, 0.8], 6e-6),
    ],
)
def test_the_advice_lies_at_the_lowest_loss(losses: list[float], advised: float) -> None:
    assert found(losses).advised == pytest.approx(advised, rel=0.2)


def test_a_fall_within_its_error_is_none() -> None:
    assert not found([0.995, 1.2], error=0.01).helps
    assert found([0.985, 1.2], error=0.01).helps
    assert "no rate lowers" in rates.sentences(found([0.995, 1.2], error=0.01))


def test_a_rate_within_a_factor_of_three_is_kept() -> None:
    assert "keep `fine_tune.learning_rate: 1e-05`" in rates.sentences(
        found([0.9, 0.8, 0.9], present=1e-5)
    )
    assert "-S fine_tune.learning_rate=3e-06" in rates.sentences(
        found([0.9, 0.8, 0.9], present=1e-3)
    )


def trained(classes: int = 2) -> tuple[keras.Model, Views, Views]:
    """A linear model, and 96 + 32 rows that a line separates but for some."""
    keras.utils.set_random_seed(1)
    generator = np.random.default_rng(1)
    rows = generator.normal(size=(128, 1, 6)).astype(np.float32)
    labels = (rows[:, 0, :classes] + generator.normal(size=(128, classes)) * 0.3).argmax(1)
    inputs = keras.Input((6,))
    outputs = keras.layers.Dense(1 if classes == 2 else classes)(keras.layers.Dropout(0.1)(inputs))
    return (
        keras.Model(inputs, outputs),
        Views(from_cache(rows[:96]), labels[:96], batch_size=16, seed=1),
        Views(from_cache(rows[96:]), labels[96:], batch_size=16),
    )


def test_a_sweep_finds_a_rate_that_learns_and_leaves_all_as_it_was() -> None:
    model, train, validation = trained()
    first, before = train[0], [each.numpy() for each in model.variables]
    swept = rates.sweep("head", model, train, validation, HOW, 20)
    assert swept.helps
    assert 1e-2 <= swept.best.rate <= 1  # Adam moves each of six numbers by some 10 rates
    assert swept.best.loss < 0.8 * swept.before.loss
    for now, then in zip(model.variables, before, strict=True):
        if "seed" not in now.path:
            assert np.array_equal(now.numpy(), then)
    assert np.array_equal(train[0][0], first[0])
    again = rates.sweep("head", *trained(), HOW, 20)
    assert again == swept


def test_a_rate_knows_nothing_of_those_tried_before(monkeypatch: pytest.MonkeyPatch) -> None:
    all_of_them = rates.sweep("head", *trained(), HOW, 10).tried
    monkeypatch.setitem(rates.LOWEST, "adam", -2)
    monkeypatch.setattr(rates, "RATES", 1)
    alone = rates.sweep("head", *trained(), HOW, 10).tried
    same = next(each for each in all_of_them if each.rate == pytest.approx(0.01))
    assert same.loss == pytest.approx(alone[0].loss, rel=1e-3)


def test_rates_far_too_high_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    model, train, validation = trained()
    sgd = dataclasses.replace(HOW, optimizer="sgd", learning_rate=0.1)
    calm = rates.sweep("head", model, train, validation, sgd, 5)
    assert len(calm.tried) == rates.RATES
    monkeypatch.setitem(rates.LOWEST, "adam", -2)
    wild = rates.sweep("head", model, train, validation, HOW, 20)
    worse = [each.loss >= wild.best.loss * (1 + rates.MUCH) for each in wild.tried[-2:]]
    assert len(wild.tried) < rates.RATES
    assert all(worse)


@pytest.mark.parametrize("classes", [2, 3])
def test_losses_are_cross_entropies_of_each_picture(classes: int) -> None:
    model, _, validation = trained(classes)
    labels = np.concatenate([validation[number][1] for number in range(len(validation))])
    each, right = rates.losses(model, validation)
    rows = np.concatenate([validation[number][0] for number in range(len(validation))])
    logits = model.predict(rows, verbose=0).astype(np.float64)
    if classes == 2:
        logits = np.concatenate([0 * logits, logits], axis=1)
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    assert each.mean() == pytest.approx(log_loss(labels[:, 0], shares), rel=1e-5)
    assert right.mean() == pytest.approx((shares.argmax(1) == labels[:, 0]).mean())


def test_after_two_rates_that_are_worse_by_far_none_is_tried() -> None:
    def tried(*losses: float) -> list[rates.Tried]:
        return [rates.Tried(1e-3, loss, 0.0, 0.5) for loss in losses]

    assert rates._past(tried(0.5, 0.6, 0.7))
    assert not rates._past(tried(0.5, 0.6, 0.54))
    assert not rates._past(tried(0.5, 0.6))


def test_a_lowest_rate_that_leaves_no_number_is_a_sentence() -> None:
    model, train, validation = trained()
    inputs = keras.Input((6,))
    explodes = keras.Model(inputs, keras.ops.exp(1e3 * model(inputs) ** 2) + model(inputs))
    with pytest.raises(ThawError, match="head: at a learning rate of 1e-06 the validation loss"):
        rates.sweep("head", explodes, train, validation, HOW, 3)


@pytest.mark.parametrize("batch_size", [1, 4, 5, 6, 32])
def test_rates_are_judged_on_the_first_view_of_each(batch_size: int) -> None:
    labels = np.arange(7) % 2

    def read(rows: np.ndarray, turns: np.ndarray) -> dict[str, np.ndarray]:
        return {"picture": rows, "view": turns}

    views = Views(read, labels, batch_size=batch_size, views=3, every=True)
    batches = views.first()
    found = [batches[number] for number in range(len(batches))]
    assert np.concatenate([batch["picture"] for batch, _, _ in found]).tolist() == [*range(7)]
    assert not np.concatenate([batch["view"] for batch, _, _ in found]).any()
    assert np.concatenate([each for _, each, _ in found])[:, 0].tolist() == labels.tolist()
