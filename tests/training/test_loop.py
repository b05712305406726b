"""`thaw.training.loop`: the order of views, weights, and fitting."""

import thaw.networks.quiet  # noqa: F401

import queue
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn import metrics
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from helpers import picture
from thaw.core import progress
from thaw.pictures import augmentation, decoding, sessions
from thaw.pictures.augmentation import Augmentation
from thaw.training import choosing, classifiers, heads, loop, views
from thaw.training.choosing import Selection
from thaw.training.views import Soft, Views

HEAD = heads.HeadSpec("average", (), 0.0, 0.0, "glorot_uniform", False)


def numbers(count: int, **options: object) -> Views:
    """Views whose batches hold the picture's number and the view's."""
    return Views(lambda rows, turns: np.stack([rows, turns], 1), np.arange(count) % 2, **options)


def epoch(views: Views) -> list[tuple[int, int]]:
    batches = [views[index] for index in range(len(views))]
    for batch, labels, _ in batches:
        np.testing.assert_array_equal(labels[:, 0], batch[:, 0] % 2)
    seen = [tuple(pair) for batch, _, _ in batches for pair in batch.tolist()]
    views.on_epoch_end()
    return seen


def test_every_picture_once_an_epoch_and_views_in_turn() -> None:
    views = numbers(10, batch_size=4, views=3, seed=1)
    epochs = [epoch(views) for _ in range(3)]
    for seen in epochs:
        assert sorted(row for row, _ in seen) == list(range(10))
    assert sorted(pair for seen in epochs for pair in seen) == [
        (row, turn) for row in range(10) for turn in range(3)
    ]
    assert len({turn for _, turn in epochs[0]}) > 1  # they don't all start with the same view
    assert len({tuple(row for row, _ in seen) for seen in epochs}) == 3  # a new order each


@pytest.mark.parametrize("name", loop.OPTIMIZERS)
def test_an_optimizer_has_the_numbers_of_its_preset_and_of_the_parameters(name: str) -> None:
    """Keras's defaults, so far; what it may add is off."""
    default = keras.optimizers.get(name).get_config()
    own = loop.optimizer_of(loop.Optimization(name, 0.01, "constant", 1, 0.004, 0.0)).get_config()
    assert own == default | {"name": own["name"], "learning_rate": own["learning_rate"]}
    told = {"name", "learning_rate", "momentum", *loop.OPTIMIZERS[name]}
    told |= {"weight_decay"} if name == "adamw" else set()
    off = {"ema_momentum": 0.99}  # without use_ema it does nothing
    assert {n: v for n, v in own.items() if n not in told and v} == off
    turned = loop.optimizer_of(loop.Optimization(name, 0.1, "constant", 1, 0.2, 0.8)).get_config()
    decay, momentum = turned["weight_decay"], turned.get("momentum", 0.0)
    assert decay == (0.2 if name == "adamw" else None)
    assert momentum == (0.8 if name in ("sgd", "rmsprop") else 0.0)


def test_the_last_batch_may_be_small() -> None:
    views = numbers(10, batch_size=4, seed=1)
    assert [len(views[index][0]) for index in range(len(views))] == [4, 4, 2]


def test_the_order_follows_from_the_seed() -> None:
    def order(seed: int) -> list[list[tuple[int, int]]]:
        views = numbers(20, batch_size=4, views=3, seed=seed)
        return [epoch(views) for _ in range(3)]

    assert order(1) == order(1)
    assert order(1) != order(2)


def test_views_go_on_where_earlier_epochs_ended() -> None:
    views = numbers(10, batch_size=4, views=3, seed=1)
    epochs = [epoch(views) for _ in range(3)]
    later = numbers(10, batch_size=4, views=3, seed=1, first_epoch=2)
    assert epoch(later) == epochs[2]


def test_validation_keeps_the_pictures_order() -> None:
    views = numbers(5, batch_size=2)
    expected = [(row, 0) for row in range(5)]
    assert [epoch(views), epoch(views)] == [expected, expected]


def test_weights_go_with_their_pictures() -> None:
    weights = np.arange(10, dtype=np.float32)
    views = numbers(10, batch_size=4, seed=3, weights=weights)
    for index in range(len(views)):
        batch, _, drawn = views[index]
        np.testing.assert_array_equal(drawn, batch[:, 0])


def test_balanced_makes_each_class_count_the_same() -> None:
    labels = np.array([0, 0, 0, 1, 2, 2])
    weights = views.class_weights("balanced", labels, "abc")
    assert weights is not None
    np.testing.assert_allclose(weights, [2 / 3, 2 / 3, 2 / 3, 2, 1, 1])
    assert weights.dtype == np.float32


def test_weights_by_class() -> None:
    labels = np.array([0, 1, 2, 1])
    assert views.class_weights("none", labels, "abc") is None
    found = views.class_weights({"b": 3.0, "c": 0.5}, labels, "abc")
    assert found is not None
    assert found.tolist() == [1.0, 3.0, 0.5, 3.0]


@pytest.mark.parametrize("seed", [1, 2])
def test_balanced_sampling_draws_each_class_as_often(seed: int) -> None:
    labels = np.array([0] * 30 + [1] * 6 + [2] * 5)
    drawn = Views(
        lambda rows, turns: np.stack([rows, turns], 1),
        labels,
        batch_size=8,
        views=4,
        seed=seed,
        even=True,
    )
    seen = set()
    for _ in range(8):
        batches = [drawn[index] for index in range(len(drawn))]
        rows = np.concatenate([batch for batch, _, _ in batches])
        classes = np.concatenate([found for _, found, _ in batches])[:, 0]
        np.testing.assert_array_equal(labels[rows[:, 0]], classes)
        assert sorted(np.bincount(classes)) == [13, 14, 14]
        rare = rows[labels[rows[:, 0]] == 2]
        # Each of five pictures two or three times, and never the same view of it twice.
        assert {*np.unique(rare[:, 0], return_counts=True)[1]} == {2, 3}
        assert len({tuple(each) for each in rare.tolist()}) == len(rare)
        seen |= {*rows[:, 0].tolist()}
        drawn.on_epoch_end()
    assert seen == {*range(41)}


@pytest.mark.parametrize(
    "drawing", [None, Augmentation(3, "both", True, 0.0)], ids=["none", "dihedral"]
)
def test_cache_and_pictures_give_the_same_views(
    tmp_path: Path, drawing: Augmentation | None
) -> None:
    paths = [picture(tmp_path / f"{n}.png", seed=n).name for n in range(5)]
    count = drawing.count if drawing else 1
    cached = np.zeros((5, count, 8, 8, 3), np.uint8)
    for row, path in enumerate(paths):
        pixels = decoding.load(tmp_path / path, 8)
        for turn in range(count):
            cached[row, turn] = (
                augmentation.view(pixels, drawing, turn, 7, path) if drawing else pixels
            )

    def drawn(row: int, turn: int) -> decoding.Pixels:
        one = decoding.load(tmp_path / paths[row], 8)
        return augmentation.view(one, drawing, turn, 7, paths[row]) if drawing else one

    live = views.from_pictures(drawn, ["pictures"])
    rows = np.array([4, 0, 2, 4])
    turns = np.array([0, 1, 2, 1]) % count
    batch = live(rows, turns)["pictures"]
    assert batch.dtype == np.float32
    np.testing.assert_array_equal(batch, views.from_cache(cached)(rows, turns))


@pytest.mark.parametrize("provider", [sessions.CPU, sessions.CUDA])
def test_a_gpu_gets_the_pictures_of_a_batch_together(provider: str) -> None:
    got = []

    class Frozen:
        """Gives each picture's mean and its double."""

        def get_inputs(self) -> list[SimpleNamespace]:
            return [SimpleNamespace(name="picture", shape=["n", 2, 2, 3])]

        def get_providers(self) -> list[str]:
            return [provider]

        def run(self, _: None, given: dict[str, np.ndarray]) -> list[np.ndarray]:
            mean = given["picture"].mean(axis=(1, 2, 3))
            got.append(len(mean))
            return [mean, 2 * mean]

    def drawn(row: int, turn: int) -> decoding.Pixels:
        return np.full((2, 2, 3), 10 * row + turn, np.uint8)

    read = views.from_pictures(drawn, ["boundary", "below"], Frozen())
    batch = read(np.array([4, 0, 2]), np.array([0, 1, 2]))
    assert {name: values.tolist() for name, values in batch.items()} == {
        "boundary": [40, 1, 22],
        "below": [80, 2, 44],
    }
    assert got == ([3] if provider == sessions.CUDA else [1, 1, 1])


def test_together_reads_by_name() -> None:
    one, two = np.arange(6).reshape(3, 2), np.arange(6).reshape(3, 2) * 10
    both = views.together({"a": views.from_cache(one), "b": views.from_cache(two)})
    batch = both(np.array([2, 0]), np.array([1, 0]))
    assert {name: values.tolist() for name, values in batch.items()} == {"a": [5, 0], "b": [50, 0]}


def problem(classes: int) -> tuple[np.ndarray, np.ndarray]:
    """(60, 2 views, 4) features of classes that a plane separates."""
    generator = np.random.default_rng(classes)
    labels = np.arange(60) % classes
    centres = np.eye(4)[:classes] * 6
    noise = generator.normal(size=(60, 2, 4)) * 0.5
    return (centres[labels][:, None] + noise).astype(np.float32), labels


def fitted(
    classes: int = 2, optimizer: str = "adam", schedule: str = "constant", epochs: int = 4
) -> tuple[keras.Model, list[tuple[float, ...]], Views]:
    features, labels = problem(classes)
    keras.utils.set_random_seed(1)
    model = classifiers.head_alone(heads.layers(HEAD, classes), (4,))
    read = views.from_cache(features)
    train = Views(read, labels, batch_size=8, views=2, seed=1)
    validation = Views(read, labels, batch_size=8)
    recipe = loop.Optimization(optimizer, 0.1, schedule, epochs)
    found = loop.fit(model, train, validation, recipe, first_epoch=10)
    assert found.taken == epochs
    return model, found.rows, validation


@pytest.mark.parametrize("classes", [2, 3])
def test_fit_learns_a_separable_problem(classes: int) -> None:
    model, history, validation = fitted(classes)
    assert [row[0] for row in history] == [11, 12, 13, 14]
    last = dict(zip(loop.HISTORY, history[-1], strict=True))
    assert last["validation_accuracy"] == 1.0
    assert last["train_loss"] < history[0][1]
    found = choosing.validated(model, validation)
    assert found["accuracy"] == last["validation_accuracy"]
    assert found["loss"] == pytest.approx(last["validation_loss"], rel=1e-5)


def test_evaluate_equals_the_formula() -> None:
    features, labels = problem(2)
    model = classifiers.head_alone(heads.layers(HEAD, 2), (4,))
    pictures = Views(views.from_cache(features), labels, batch_size=7)
    logits = np.asarray(model(features[:, 0]))[:, 0].astype(np.float64)
    loss = np.log1p(np.exp(np.where(labels == 1, -logits, logits))).mean()
    found = choosing.validated(model, pictures)
    assert found["loss"] == pytest.approx(loss, rel=1e-4)
    assert found["accuracy"] == pytest.approx(((logits > 0) == labels).mean())


def test_all_views_of_each_come_one_after_the_other() -> None:
    views = numbers(3, batch_size=4, views=2, every=True)
    assert len(views) == 2
    seen = epoch(views)
    assert seen == [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1)]
    assert epoch(views) == seen


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("select", ["loss", "f1", "roc_auc"])
def test_validation_is_of_the_mean_over_views(classes: int, select: str) -> None:
    """Pictures whose views say different things; a batch may end between two of them."""
    generator = np.random.default_rng(5)
    features = generator.normal(size=(12, 3, 4)).astype(np.float32)
    labels = np.arange(12) % classes
    model = classifiers.head_alone(heads.layers(HEAD, classes), (4,))
    pictures = Views(views.from_cache(features), labels, batch_size=7, views=3, every=True)
    logits = np.asarray(model(features.reshape(36, 4))).astype(np.float64)
    if classes == 2:
        logits = np.concatenate([0 * logits, logits], axis=1)
    shares = (np.exp(logits) / np.exp(logits).sum(1, keepdims=True)).reshape(12, 3, -1).mean(1)
    found = choosing.validated(model, pictures, select)
    assert found["loss"] == pytest.approx(-np.log(shares[np.arange(12), labels]).mean(), rel=1e-5)
    assert found["accuracy"] == pytest.approx((shares.argmax(1) == labels).mean())
    if select == "f1":
        wanted = metrics.f1_score(labels, shares.argmax(1), average="macro")
    elif classes == 2:
        wanted = metrics.roc_auc_score(labels, shares[:, 1])
    else:
        wanted = metrics.roc_auc_score(labels, shares, multi_class="ovr")
    assert found.get(select) == pytest.approx(found["loss"] if select == "loss" else wanted)


def test_an_epoch_that_is_better_by_one_view_alone_is_not_taken() -> None:
    """Training goes by the first number, which in the other two views says the contrary."""
    labels = np.arange(40) % 2
    sign = (2 * labels - 1).astype(np.float32)
    features = np.stack([sign, -3 * sign, -3 * sign], 1)[..., None]
    layer = heads.layers(HEAD, 2)
    model = classifiers.head_alone(layer, (1,))
    layer[-1].set_weights([np.zeros((1, 1)), np.zeros(1)])
    read = views.from_cache(features)
    train = Views(read, labels, batch_size=8, seed=1)
    taken = {}
    for name, seen in (("one", 1), ("mean", 3)):
        layer[-1].set_weights([np.zeros((1, 1)), np.zeros(1)])
        validation = Views(read, labels, batch_size=8, views=seen, every=True)
        recipe = loop.Optimization("sgd", 0.1, "constant", 2)
        found = loop.fit(
            model, train, validation, recipe, selection=Selection("loss"), from_start=True
        )
        taken[name] = found.taken
    assert taken == {"one": 2, "mean": 0}


def test_validation_includes_the_penalty_of_large_weights() -> None:
    features, labels = problem(2)
    head = heads.layers(replace(HEAD, l2=0.3), 2)
    model = classifiers.head_alone(head, (4,))
    pictures = Views(views.from_cache(features), labels, batch_size=8)
    logits = np.asarray(model(features[:, 0]))[:, 0].astype(np.float64)
    loss = np.log1p(np.exp(np.where(labels == 1, -logits, logits))).mean()
    penalty = 0.3 * np.square(head[-1].kernel.numpy()).sum()
    assert penalty > 0.01
    found = choosing.validated(model, pictures)
    assert found["loss"] == pytest.approx(loss + penalty, rel=1e-5)


def test_averaged_weights_are_looked_at_and_training_goes_on_from_its_own() -> None:
    features, labels = problem(2)
    losses = []
    for ema in (0.0, 0.9):
        keras.utils.set_random_seed(1)
        model = classifiers.head_alone(heads.layers(HEAD, 2), (4,))
        read = views.from_cache(features)
        train = Views(read, labels, batch_size=8, views=2, seed=1)
        recipe = loop.Optimization("adam", 0.1, "constant", 3, ema=ema)
        found = loop.fit(model, train, Views(read, labels, batch_size=8), recipe)
        losses.append(np.array(found.rows)[:, 1:3])
    np.testing.assert_array_equal(losses[0][:, 0], losses[1][:, 0])
    assert (losses[0][:, 1] != losses[1][:, 1]).all()


def test_in_a_log_an_epoch_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    fitted(2)
    lines = capsys.readouterr().out.splitlines()
    number = r"\d+\.\d{4}"
    for epoch, line in enumerate(lines, start=1):
        assert re.fullmatch(
            rf"epoch {epoch} of {len(lines)}: loss {number}, accuracy {number}; "
            rf"validation loss {number}, accuracy {number}; \d+\.\d s",
            line,
        )
    assert len(lines) > 1


def test_in_a_log_a_long_epoch_says_how_far_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "SECONDS", 0)
    fitted(2)
    told = capsys.readouterr().err
    assert re.match(r"epoch 1 of \d+: 1 of (\d+) batches in \d+ s\n", told)


def test_fit_draws_each_view_once_before_any_again() -> None:
    """Keras itself must call `on_epoch_end`, and never ask for a batch twice."""
    seen: list[tuple[int, int]] = []

    def read(rows: np.ndarray, turns: np.ndarray) -> np.ndarray:
        seen.extend(zip(rows.tolist(), turns.tolist(), strict=True))
        return np.zeros((len(rows), 4), np.float32)

    labels = np.arange(10) % 2
    train = Views(read, labels, batch_size=4, views=3, seed=1)
    validation = Views(views.from_cache(np.zeros((10, 1, 4))), labels, batch_size=4)
    model = classifiers.head_alone(heads.layers(HEAD, 2), (4,))
    loop.fit(model, train, validation, loop.Optimization("sgd", 0.1, "constant", 3))
    # Keras looks at the first batch, to see its shapes, before the first epoch.
    assert set(seen) == {(row, turn) for row in range(10) for turn in range(3)}
    drawn = seen[-30:]
    assert len(set(drawn)) == 30


def test_the_end_of_an_epoch_waits_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keras itself waits a tenth of a second for one batch more, in training and validation."""
    get, waited = queue.Queue.get, []

    def watched(self: queue.Queue, block: bool = True, timeout: float | None = None) -> object:
        try:
            return get(self, block, timeout)
        except queue.Empty:
            waited.extend([timeout] if timeout else [])
            raise

    monkeypatch.setattr(queue.Queue, "get", watched)
    fitted(epochs=3)
    assert waited == []


def test_the_same_fit_gives_the_same_bytes() -> None:
    first, second = fitted()[0].get_weights(), fitted()[0].get_weights()
    assert [w.tobytes() for w in first] == [w.tobytes() for w in second]


def test_tensorboard_shows_curves_and_histograms_of_the_last_training_alone(tmp_path: Path) -> None:
    features, labels = problem(2)
    pictures = Views(views.from_cache(features), labels, batch_size=8)
    model = classifiers.head_alone(heads.layers(HEAD, 2), (4,))
    for first, epochs in ((0, 4), (10, 3)):
        recipe = loop.Optimization("adam", 0.1, "constant", epochs)
        history = loop.fit(model, pictures, pictures, recipe, first, logs=tmp_path / "head").rows
    for part, column in (("train", 1), ("validation", 2)):
        events = EventAccumulator(str(tmp_path / "head" / part)).Reload()
        losses = events.Tensors("epoch_loss")
        assert [event.step for event in losses] == [11, 12, 13]
        values = [float(tf.make_ndarray(event.tensor_proto)) for event in losses]
        np.testing.assert_allclose(values, [row[column] for row in history], rtol=1e-6)
        assert [event.step for event in events.Tensors("epoch_accuracy")] == [11, 12, 13]
    events = EventAccumulator(str(tmp_path / "head/train")).Reload()
    for weights in ("logits/kernel", "logits/bias"):
        assert [e.step for e in events.Tensors(f"{weights}/histogram")] == [11, 12, 13]


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "rmsprop", "sgd"])
def test_optimizers(optimizer: str) -> None:
    model, history, _ = fitted(optimizer=optimizer, epochs=2)
    assert type(model.optimizer) is loop.KINDS[optimizer]
    assert float(model.optimizer.learning_rate) == pytest.approx(0.1)
    assert history[-1][1] < history[0][1]


def test_cosine_schedule_ends_at_0_with_the_last_step() -> None:
    optimizer = fitted(schedule="cosine", epochs=3)[0].optimizer
    steps = 3 * 8
    assert int(optimizer.iterations) == steps
    assert float(optimizer.learning_rate) == pytest.approx(0, abs=1e-7)
    optimizer.iterations.assign(steps // 2)
    assert float(optimizer.learning_rate) == pytest.approx(0.05)
    optimizer.iterations.assign(steps - 1)
    assert 0 < float(optimizer.learning_rate) < 0.001


def test_weights_change_the_loss() -> None:
    """A class of weight 0 is never learnt."""
    features, labels = problem(2)
    read = views.from_cache(features)
    weights = (labels == 0).astype(np.float32)
    train = Views(read, labels, batch_size=8, weights=weights, seed=1)
    keras.utils.set_random_seed(1)
    model = classifiers.head_alone(heads.layers(HEAD, 2), (4,))
    recipe = loop.Optimization("adam", 0.1, "constant", 4)
    loop.fit(model, train, Views(read, labels, batch_size=8), recipe)
    assert (np.asarray(model(features[labels == 0, 0])) < 0).all()
    assert (np.asarray(model(features[labels == 1, 0])) < 0).mean() > 0.5


def test_the_best_epoch_is_taken_and_training_ends_when_none_is_better() -> None:
    """A rate far too high ruins a head that is right: what it was before is the result."""
    features, labels = problem(2)
    read = views.from_cache(features)
    model, *_ = fitted(epochs=4)
    kept = model.get_weights()
    train = Views(read, labels, batch_size=8, views=2, seed=1)
    validation = Views(read, 1 - labels, batch_size=8)  # which learning makes worse
    how = loop.Optimization("adam", 0.5, "constant", 9)
    chosen = Selection("loss", 2)
    found = loop.fit(model, train, validation, how, selection=chosen, from_start=True)
    assert (found.taken, len(found.rows)) == (0, 2)
    assert found.start is not None
    assert found.start["loss"] < min(row[2] for row in found.rows)
    for before, after in zip(kept, model.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)
    found = loop.fit(model, train, validation, how, selection=chosen)
    assert (found.taken, len(found.rows)) == (1, 3)
    assert choosing.validated(model, validation)["loss"] == pytest.approx(
        found.rows[0][2], rel=1e-5
    )


def test_validation_is_of_the_model_that_ships() -> None:
    """Which shares its weights with the one that is trained, but may compute otherwise."""
    features, labels = problem(2)
    read = views.from_cache(features)
    keras.utils.set_random_seed(1)
    model = classifiers.head_alone(heads.layers(HEAD, 2), (4,))
    shipped = keras.Model(model.inputs, model.outputs[0] - 3.0)
    train, validation = (Views(read, labels, batch_size=8, views=v, seed=1) for v in (2, 1))
    how = loop.Optimization("sgd", 0.1, "constant", 2, ema=0.5)
    chosen = Selection("loss")
    found = loop.fit(
        model, train, validation, how, selection=chosen, from_start=True, shipped=shipped
    )
    losses = [found.start["loss"] if found.start else 0, *(row[2] for row in found.rows)]
    assert choosing.validated(shipped, validation)["loss"] == pytest.approx(min(losses), rel=1e-5)
    assert choosing.validated(model, validation)["loss"] < min(losses) / 2


def test_averaged_weights_are_what_is_validated_and_kept() -> None:
    features, labels = problem(2)
    read = views.from_cache(features)
    keras.utils.set_random_seed(1)
    model = classifiers.head_alone(heads.layers(HEAD, 2), (4,))
    train, validation = (Views(read, labels, batch_size=8, views=v, seed=1) for v in (2, 1))
    how = loop.Optimization("sgd", 0.1, "constant", 2, ema=0.9)
    states: list[list[np.ndarray]] = []

    class Seen(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: object = None) -> None:  # noqa: ARG002
            states.append(self.model.get_weights())

    fit = model.fit
    model.fit = lambda *args, callbacks, **more: fit(*args, callbacks=[Seen(), *callbacks], **more)
    found = loop.fit(model, train, validation, how)
    average, kept = states[0], loop.averaging(how, len(train))
    for state in states[1:]:
        average = [kept * a + (1 - kept) * b for a, b in zip(average, state, strict=True)]
    for value, expected in zip(model.get_weights(), average, strict=True):
        np.testing.assert_allclose(value, expected, rtol=1e-4, atol=1e-6)
    loss = choosing.validated(model, validation)["loss"]
    assert loss == pytest.approx(found.rows[-1][2], rel=1e-4)


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "rmsprop", "sgd"])
def test_the_rate_of_a_variable_is_multiplied(optimizer: str) -> None:
    """At a tenth of the rate a first step goes a tenth as far, weight decay included."""

    def moved(rate: float | None) -> np.ndarray:
        keras.utils.set_random_seed(1)
        model = classifiers.head_alone(heads.layers(HEAD, 2), (4,))
        kernel = model.trainable_variables[0]
        before = kernel.numpy()
        how = loop.Optimization(optimizer, 0.1, "constant", 1, weight_decay=0.1)
        steps = [] if rate is None else [loop.Step(kernel, rate)]
        loop.compile_model(model, how, 1, steps)
        model.train_on_batch(np.ones((8, 4), np.float32), np.arange(8)[:, None] % 2)
        step: np.ndarray = kernel.numpy() - before
        return step

    np.testing.assert_allclose(moved(1.0), moved(None), rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(moved(0.1), 0.1 * moved(1.0), rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_a_centred_step_adds_nothing_to_the_sum_of_an_outputs_weights(optimizer: str) -> None:
    """It is the step that the optimizer takes, less its mean."""
    rows = np.abs(np.random.default_rng(1).normal(size=(8, 4))).astype(np.float32)

    def moved(axes: tuple[int, ...]) -> np.ndarray:
        keras.utils.set_random_seed(1)
        model = classifiers.head_alone(heads.layers(HEAD, 3), (4,))
        kernel = model.trainable_variables[0]
        before = kernel.numpy()
        how = loop.Optimization(optimizer, 0.1, "constant", 1, weight_decay=0.0)
        loop.compile_model(model, how, 1, [loop.Step(kernel, centred=axes)])
        model.train_on_batch(rows, np.arange(8)[:, None] % 3)
        step: np.ndarray = kernel.numpy() - before
        return step

    plain, centred = moved(()), moved((0,))
    assert np.abs(plain.mean(0)).max() > 1e-3
    np.testing.assert_allclose(centred, plain - plain.mean(0), rtol=1e-3, atol=1e-6)


def test_the_rate_rises_then_falls() -> None:
    how = loop.Optimization("adam", 0.1, "cosine", 5, warmup=1)
    rate = loop.schedule(how, 10)
    assert [float(rate(step)) for step in (0, 5, 10, 30, 50)] == pytest.approx(
        [0, 0.05, 0.1, 0.05, 0], abs=1e-6
    )
    level = loop.schedule(replace(how, schedule="constant"), 10)
    assert [float(level(step)) for step in (5, 10, 49)] == pytest.approx([0.05, 0.1, 0.1])


def test_a_gradient_is_clipped_by_its_norm() -> None:
    how = loop.Optimization("sgd", 1.0, "constant", 1, clip=0.01)
    model = classifiers.head_alone(heads.layers(HEAD, 2), (4,))
    before = model.get_weights()
    loop.compile_model(model, how, 1)
    model.train_on_batch(100 * np.ones((8, 4), np.float32), np.zeros((8, 1)))
    step = [after - was for after, was in zip(model.get_weights(), before, strict=True)]
    assert np.sqrt(sum((part**2).sum() for part in step)) == pytest.approx(0.01, rel=1e-3)


@pytest.mark.parametrize("classes", [2, 3])
def test_labels_are_smoothed_and_pictures_mixed(classes: int) -> None:
    labels = np.arange(12) % classes
    features = np.eye(12, dtype=np.float32)[:, None]
    soft = Soft(classes, smoothing=0.1, mixup=0.4)
    pictures = Views(views.from_cache(features), labels, batch_size=6, seed=3, soft=soft)
    again = Views(views.from_cache(features), labels, batch_size=6, seed=3, soft=soft)
    for index in range(2):
        batch, shares, _ = pictures[index]
        assert batch.sum(axis=1) == pytest.approx(1)
        assert np.count_nonzero(batch) > 6
        hard = np.eye(classes)[labels]
        expected = batch @ hard * 0.9 + 0.1 / classes
        found = shares if classes > 2 else np.concatenate([1 - shares, shares], 1)
        np.testing.assert_allclose(found, expected, atol=1e-6)
        np.testing.assert_array_equal(batch, again[index][0])


@pytest.mark.parametrize("classes", [2, 3])
def test_soft_labels_are_learnt_and_validation_is_of_hard_ones(classes: int) -> None:
    features, labels = problem(classes)
    keras.utils.set_random_seed(1)
    model = classifiers.head_alone(heads.layers(HEAD, classes), (4,))
    read = views.from_cache(features)
    soft, hard = Soft(classes, 0.2, 0.2), Soft(classes)
    train = Views(read, labels, batch_size=8, views=2, seed=1, soft=soft)
    validation = Views(read, labels, batch_size=8, soft=hard)
    how = loop.Optimization("adam", 0.1, "constant", 4)
    row = loop.fit(model, train, validation, how).rows[-1]
    assert row[4] == 1.0
    assert row[1] > 0.3  # no less is to be had of labels of 0.9
    found = choosing.validated(model, Views(read, labels, batch_size=8))
    assert found["loss"] == pytest.approx(row[2], rel=1e-5)


@pytest.mark.parametrize(
    ("ema", "epochs", "steps", "used"),
    [(0.99, 8, 54, 0.99), (0.99, 8, 2, 0.75), (0.99, 2, 2, 0.0), (0.0, 8, 54, 0.0)],
)
def test_averages_remember_a_quarter_of_the_training(
    ema: float, epochs: int, steps: int, used: float
) -> None:
    how = loop.Optimization("adamw", 0.1, "cosine", epochs, ema=ema)
    assert loop.averaging(how, steps) == pytest.approx(used)
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    loop.compile_model(model, how, steps)
    assert model.optimizer.use_ema == (used > 0)
    if used:
        assert model.optimizer.ema_momentum == pytest.approx(used)


@pytest.mark.parametrize("decay", [None, 0.1])
def test_adam_in_one_operator_is_keras_adam(decay: float | None) -> None:
    config = loop.OPTIMIZERS["adam"] | {"weight_decay": decay, "use_ema": True}
    rates = keras.optimizers.schedules.CosineDecay(0.01, 20)
    generator = np.random.default_rng(0)
    shapes = [(3, 4), (5,)]
    gradients = [[generator.normal(size=s).astype(np.float32) for s in shapes] for _ in range(20)]

    def trained(kind: type[keras.Optimizer]) -> list[np.ndarray]:
        variables = [keras.Variable(np.ones(shape, np.float32)) for shape in shapes]
        optimizer = kind(rates, **config)
        for each in gradients:
            optimizer.apply([tf.constant(g) for g in each], variables)
        return [v.numpy() for v in (*variables, *optimizer.variables[2:])]

    pairs = zip(trained(loop.FusedAdam), trained(keras.optimizers.Adam), strict=True)
    for one, other in pairs:
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)
