"""`thaw.linear`: scikit-learn's classifiers as weights of a dense layer."""

import thaw.networks.quiet  # noqa: F401

from dataclasses import replace

import keras
import numpy as np
import pytest
from scipy.special import expit, log_softmax
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.svm import LinearSVC
from threadpoolctl import threadpool_info, threadpool_limits

from thaw.core.errors import ThawError
from thaw.training import heads, linear

KINDS = ("svm", "logistic")


def rows(classes: int, count: int, seed: int, noise: float = 1.0, width: int = 12) -> linear.Rows:
    """Classes around points of their own, more noise than what tells them apart; all present."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(classes, size=count)
    labels[:classes] = range(classes)
    centres = np.random.default_rng(0).normal(size=(classes, width))
    features = centres[labels] + noise * generator.normal(size=(count, width))
    return linear.Rows(features.astype(np.float32), labels, np.ones(count, np.float32))


def estimator(kind: str, c: float) -> LinearSVC | LogisticRegression:
    if kind == "svm":
        return LinearSVC(C=c, dual=False, max_iter=1000)
    return LogisticRegression(C=c, max_iter=1000)


def logits(fitted: linear.Fitted, features: np.ndarray) -> np.ndarray:
    return features @ fitted.kernel + fitted.bias


def columns(values: np.ndarray) -> np.ndarray:
    """A logit of each class, where two share one."""
    return values if values.shape[1] > 1 else np.hstack([np.zeros_like(values), values])


@pytest.mark.parametrize("classes", [2, 3])
def test_a_logistic_classifiers_logits_are_scikit_learns(classes: int) -> None:
    train, validation = rows(classes, 200, 1), rows(classes, 100, 2)
    fitted = linear.fit("logistic", train, validation)
    model = estimator("logistic", fitted.c).fit(train.features, train.labels)
    found = logits(fitted, validation.features)
    expected = model.decision_function(validation.features)
    np.testing.assert_allclose(found.squeeze(), expected, rtol=1e-3, atol=1e-3)
    predicted = columns(found).argmax(axis=1)
    np.testing.assert_array_equal(predicted, model.predict(validation.features))


@pytest.mark.parametrize("classes", [2, 3])
def test_an_svms_logits_are_its_margins_scaled_and_shifted(classes: int) -> None:
    train, validation = rows(classes, 200, 1), rows(classes, 100, 2)
    fitted = linear.fit("svm", train, validation)
    model = estimator("svm", fitted.c).fit(train.features, train.labels)
    margins = model.decision_function(validation.features).reshape(100, -1)
    found = logits(fitted, validation.features)
    scale, shift = linear.calibrate(margins, validation.labels, validation.weights)
    np.testing.assert_allclose(found, scale * margins + shift, rtol=1e-2, atol=1e-2)
    assert fitted.kernel.shape == (12, 1 if classes == 2 else 3)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("classes", [2, 3])
def test_c_is_the_one_with_the_least_validation_cross_entropy(kind: str, classes: int) -> None:
    # Mixed, so that the difference of the classes' means, what a tiny C gives, is not the best.
    mixing = np.random.default_rng(3).normal(size=(40, 40)).astype(np.float32)
    train, validation = (
        replace(each, features=each.features @ mixing / 6)
        for each in (rows(classes, 200, 1, 4.0, 40), rows(classes, 300, 2, 4.0, 40))
    )
    fitted = linear.fit(kind, train, validation)
    tried = list(fitted.losses)
    assert tried == list(linear.GRID[: len(tried)])
    assert fitted.losses[fitted.c] == min(fitted.losses.values())
    assert fitted.c not in (tried[0], tried[-1])
    found = columns(logits(fitted, validation.features)).astype(np.float64)
    shares = np.exp(log_softmax(found, axis=1))
    expected = log_loss(validation.labels, shares)
    assert fitted.losses[fitted.c] == pytest.approx(expected, rel=1e-4)


def test_the_whole_grid_is_tried_while_it_helps() -> None:
    train = rows(2, 200, 1, noise=0.1)
    assert list(linear.fit("logistic", train, train).losses) == list(linear.GRID)


def test_the_grid_ends_after_two_in_a_row_that_are_clearly_worse() -> None:
    train, validation = rows(2, 60, 1, 6.0, 40), rows(2, 300, 2, 6.0, 40)
    fitted = linear.fit("logistic", train, validation)
    *before, first, second = fitted.losses.values()
    assert min(first, second) > 1.1 * min(before)
    assert len(before) < len(linear.GRID) - 2
    assert before[-1] <= 1.1 * min(before)


def test_two_classes_are_calibrated_as_platt_does() -> None:
    """Where the logits of margins are known, they are found again."""
    generator = np.random.default_rng(0)
    margins = generator.normal(size=(200_000, 1))
    labels = (generator.uniform(size=200_000) < expit(3 * margins[:, 0] - 1)).astype(np.int64)
    ones = np.ones(200_000, np.float32)
    scale, shift = linear.calibrate(margins, labels, ones)
    assert (scale, shift[0]) == (pytest.approx(3, rel=0.02), pytest.approx(-1, rel=0.03))
    scale, shift = linear.calibrate(margins / 10**6, labels, ones)
    assert (scale, shift[0]) == (pytest.approx(3e6, rel=0.02), pytest.approx(-1, rel=0.03))


def test_three_classes_get_a_temperature_and_biases() -> None:
    generator = np.random.default_rng(0)
    margins = generator.normal(size=(200_000, 3))
    noise = generator.gumbel(size=margins.shape)  # its largest is drawn as from a softmax
    labels = (2 * margins + [0.5, 0.0, -0.5] + noise).argmax(axis=1)
    scale, shift = linear.calibrate(margins, labels, np.ones(200_000, np.float32))
    assert scale == pytest.approx(2, rel=0.02)
    np.testing.assert_allclose(shift - shift.mean(), [0.5, 0.0, -0.5], atol=0.03)


@pytest.mark.parametrize("classes", [2, 3])
def test_margins_that_tell_all_apart_get_platts_confidence(classes: int) -> None:
    labels = np.arange(classes).repeat(8)
    margins = np.eye(classes)[labels][:, -(classes if classes > 2 else 1) :] * 2 - 1
    scale, shift = linear.calibrate(margins, labels, np.ones(len(labels), np.float32))
    shares = np.exp(log_softmax(columns(scale * margins + shift), axis=1))
    right = shares[np.arange(len(labels)), labels]
    np.testing.assert_allclose(right, 9 / 10, rtol=1e-3)  # (n + 1) / (n + 2)


def test_margins_that_mislead_are_left_out_and_never_turned_around() -> None:
    labels = np.array([0, 1] * 10)
    scale, shift = linear.calibrate(1.0 - 2.0 * labels[:, None], labels, np.ones(20, np.float32))
    assert scale == 0
    assert shift[0] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_weights_count_as_so_many_rows_more(kind: str) -> None:
    train, validation = rows(2, 80, 1, noise=2.0), rows(2, 60, 2, noise=2.0)
    heavy = [replace(r, weights=np.where(r.labels == 1, 3, 1)) for r in (train, validation)]
    weighted = linear.fit(kind, *heavy)
    twice = [
        linear.Rows(*(part.repeat(r.weights, axis=0) for part in (r.features, r.labels)), ones)
        for r, ones in ((r, np.ones(r.weights.sum(), np.float32)) for r in heavy)
    ]
    repeated = linear.fit(kind, *twice)
    assert weighted.c == repeated.c
    found, expected = (logits(f, validation.features) for f in (weighted, repeated))
    np.testing.assert_allclose(found, expected, atol=1e-2)
    plain = logits(linear.fit(kind, train, validation), validation.features)
    assert (found - plain).mean() > 0.5  # log 3 = 1.1, where the rest stays


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("classes", [2, 3])
def test_the_same_bytes_whatever_the_number_of_threads(kind: str, classes: int) -> None:
    # So large that two BLAS threads would share the sums.
    train, validation = rows(classes, 2000, 1, 6.0, 300), rows(classes, 500, 2, 6.0, 300)

    def found(threads: int) -> bytes:
        with threadpool_limits(threads):
            fitted = linear.fit(kind, train, validation)
            assert {each["num_threads"] for each in threadpool_info()} == {threads}
        return fitted.kernel.tobytes() + fitted.bias.tobytes()

    assert len({found(1), found(1), found(2)}) == 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("classes", [2, 3])
def test_a_dense_layer_holds_it(kind: str, classes: int) -> None:
    train, validation = rows(classes, 200, 1), rows(classes, 100, 2)
    fitted = linear.fit(kind, train, validation)
    spec = heads.HeadSpec("average", (), 0.2, 0.0, "glorot_uniform", False)
    layers = heads.layers(spec, classes)
    x = keras.Input((12,))
    model = keras.Model(x, heads.apply(layers, x))
    layers[-1].set_weights([fitted.kernel, fitted.bias])
    expected = logits(fitted, validation.features)
    np.testing.assert_allclose(model.predict(validation.features, verbose=0), expected, atol=1e-4)
    loss, accuracy = linear.score(fitted, validation)
    right = columns(expected).argmax(axis=1) == validation.labels
    assert accuracy == pytest.approx(right.mean())
    assert loss == pytest.approx(fitted.losses[fitted.c])


def test_score_weighs_the_loss_and_not_the_accuracy() -> None:
    two = linear.Rows(np.float32([[1], [1]]), np.array([0, 1]), np.float32([1, 3]))
    fitted = linear.Fitted(np.float32([[1]]), np.float32([0]), 1.0, {})
    loss, accuracy = linear.score(fitted, two)
    assert loss == pytest.approx(-(np.log(expit(-1)) + 3 * np.log(expit(1))) / 4)
    assert accuracy == 0.5


def test_what_would_not_fit_in_memory_is_refused() -> None:
    linear.check_size(2**16, 2**10, "svm")
    with pytest.raises(ThawError) as caught:
        linear.check_size(2**16 + 1, 2**10, "svm")
    assert str(caught.value) == (
        "params.yaml: head.classifier: svm: 65,537 views of 1,024 features each are more than the "
        "67,108,864 numbers that it may hold in memory; set fewer augment.views, "
        "cache.bottleneck: pooled with head.pooling: average, or head.classifier: dense"
    )
