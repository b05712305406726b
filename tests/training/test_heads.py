"""`thaw.training.heads`: pooling live and from the cache, and the layers above it."""

import thaw.networks.quiet  # noqa: F401

import keras
import numpy as np
import pytest
from sklearn.preprocessing import StandardScaler

from thaw.core.errors import ThawError
from thaw.networks.pooling import pool
from thaw.training import heads

SPEC = heads.HeadSpec("average", (), 0.0, 0.0, "glorot_uniform", False)


def maps(*widths: int) -> list[np.ndarray]:
    generator = np.random.default_rng(len(widths))
    return [generator.normal(size=(4, 3, 5, width)).astype(np.float32) for width in widths]


def pooled(each: list[np.ndarray]) -> np.ndarray:
    """(N, 2, C) averages and maxima, as the cache holds them."""
    average = np.concatenate([x.mean((1, 2)) for x in each], axis=1)
    return np.stack([average, np.concatenate([x.max((1, 2)) for x in each], axis=1)], axis=1)


@pytest.mark.parametrize("pooling", ["average", "max", "average_max", "flatten"])
def test_selector_of_full_maps_equals_pool(pooling: str) -> None:
    x = maps(6)
    selected = heads.selector(pooling, "full")(x[0])
    np.testing.assert_allclose(selected, pool(pooling, x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("bottleneck", "widths"), [("pooled", [6]), ("blocks", [2, 4, 6])])
@pytest.mark.parametrize("pooling", ["average", "max", "average_max"])
def test_selector_of_pooled_maps_equals_pool(
    pooling: str, bottleneck: str, widths: list[int]
) -> None:
    x = maps(*widths)
    selected = heads.selector(pooling, bottleneck)(pooled(x))
    rows = {"average": [0], "max": [1], "average_max": [0, 1]}[pooling]
    assert selected.shape == (4, sum(widths) * len(rows))
    np.testing.assert_array_equal(selected, pooled(x)[:, rows].reshape(4, -1))
    np.testing.assert_allclose(selected, pool(pooling, x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("pooling", ["average", "max", "average_max"])
def test_pooled_below_and_maps_above_equal_all_maps(pooling: str, count: int) -> None:
    x = maps(2, 4, 6)
    part = pool(pooling, x[count:], below=pooled(x[:count]))
    np.testing.assert_allclose(part, pool(pooling, x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("bottleneck", ["pooled", "blocks"])
def test_flatten_needs_full_maps(bottleneck: str) -> None:
    with pytest.raises(ThawError, match=r"^params.yaml: head.pooling: flatten: .*full$"):
        heads.selector("flatten", bottleneck)


def test_standardize_gives_mean_0_and_deviation_1() -> None:
    x = np.random.default_rng(0).normal([3, -2, 0], [5, 0.5, 1], (500, 3)).astype(np.float32)
    layer = heads.layers(SPEC, 2, x.mean(0), x.std(0))[0]
    assert layer.name == "standardize"
    y = np.asarray(layer(x))
    np.testing.assert_allclose(y.mean(0), 0, atol=1e-3)
    np.testing.assert_allclose(y.std(0), 1, atol=1e-3)


def test_a_feature_that_is_constant_in_training_is_not_scaled() -> None:
    """As scikit-learn does: an unusual photo's other value would else decide alone."""
    x = np.random.default_rng(0).normal([3, 7, 0], [5, 0, 1], (500, 3)).astype(np.float32)
    layer = heads.layers(SPEC, 2, x.mean(0), x.std(0))[0]
    np.testing.assert_allclose(layer(x), StandardScaler().fit_transform(x), atol=1e-4)
    np.testing.assert_allclose(layer(np.float32([[3, 9, 0]]))[0, 1], 2, atol=1e-5)


def test_a_feature_that_one_training_picture_has_is_not_scaled() -> None:
    x = np.random.default_rng(0).normal(0, 1, (1000, 3)).astype(np.float32)
    x[:, 1] = 0
    x[7, 1] = 1e-3
    layer = heads.layers(SPEC, 2, x.mean(0), x.std(0))[0]
    np.testing.assert_allclose(layer.scale, [1, 1, 1], rtol=0.1)


def test_a_feature_that_varies_by_rounding_alone_is_not_scaled() -> None:
    """The cache keeps maps as float16: fine-tuning from pictures would see other values."""
    mean, deviation = np.float32([0.8, 0.8, -0.8]), np.float32([1e-6, 0.1, 1e-4])
    layer = heads.layers(SPEC, 2, mean, deviation)[0]
    np.testing.assert_allclose(layer.scale, [1, 10, 1], rtol=1e-6)
    alone = heads.layers(SPEC, 2, mean[:1], deviation[:1])[0]
    assert alone.scale == [1]


@pytest.mark.parametrize("size", [1e-6, 1, 1e6])
def test_features_that_are_all_small_or_large_are_scaled(size: float) -> None:
    """But none by more than ten times the scale of the middle one."""
    deviation = np.float32([1, 2, 0.01, 0]) * np.float32(size)
    layer = heads.layers(SPEC, 2, np.zeros(4, np.float32), deviation)[0]
    np.testing.assert_allclose(layer.scale, [*(np.float32([1, 0.5, 10]) / size), 1], rtol=1e-5)
    constant = heads.layers(SPEC, 2, np.zeros(2, np.float32), np.zeros(2, np.float32))[0]
    np.testing.assert_array_equal(constant.scale, [1, 1])


@pytest.mark.parametrize("pooling", ["average", "max", "average_max"])
def test_moments_equal_numpys(pooling: str) -> None:
    cached = np.random.default_rng(1).normal(100, 2, (150, 3, 2, 5)).astype(np.float16)
    select = heads.selector(pooling, "pooled")
    mean, deviation = heads.moments(cached, select)
    flat = select(cached.astype(np.float64).reshape(-1, 2, 5))
    np.testing.assert_allclose(mean, flat.mean(0), rtol=1e-6)
    np.testing.assert_allclose(deviation, flat.std(0), rtol=1e-4)


@pytest.mark.parametrize(("classes", "logits"), [(2, 1), (3, 3), (10, 10)])
def test_logits(classes: int, logits: int) -> None:
    above = heads.layers(SPEC, classes)
    assert heads.apply(above, np.zeros((4, 6), np.float32)).shape == (4, logits)
    assert [layer.name for layer in above] == ["logits"]
    assert above[-1].activation is keras.activations.linear


def test_hidden_layers_dropout_and_regularizer() -> None:
    spec = heads.HeadSpec("average", (8, 4), 0.5, 0.01, "he_normal", False)
    above = heads.layers(spec, 3, np.zeros(6, np.float32), np.ones(6, np.float32))
    names = ["standardize", "hidden_1", "hidden_2", "dropout", "logits"]
    assert [layer.name for layer in above] == names
    assert [above[1].units, above[2].units, above[3].rate] == [8, 4, 0.5]
    assert above[1].activation is keras.activations.relu
    assert isinstance(above[1].kernel_initializer, keras.initializers.HeNormal)
    for dense in (above[1], above[2], above[4]):
        assert float(dense.kernel_regularizer.l2) == pytest.approx(0.01)


@pytest.mark.parametrize(("hidden", "logits"), [((16,), "GlorotUniform"), ((), "HeNormal")])
def test_the_initializer_is_the_hidden_layers_else_the_logits(
    hidden: tuple[int, ...], logits: str
) -> None:
    above = heads.layers(heads.HeadSpec("average", hidden, 0, 0, "he_normal", False), 3)
    found = [type(layer.kernel_initializer).__name__ for layer in above]
    assert found == ["HeNormal"] * len(hidden) + [logits]


def test_batch_normalization_follows_each_hidden_layer() -> None:
    above = heads.layers(heads.HeadSpec("average", (8, 4), 0.5, 0, "he_normal", False, True), 3)
    names = ["hidden_1", "hidden_1_norm", "hidden_2", "hidden_2_norm", "dropout", "logits"]
    assert [layer.name for layer in above] == names
    assert heads.apply(above, np.ones((4, 6), np.float32)).shape == (4, 3)
    assert [above[1].moving_mean.shape, above[3].moving_mean.shape] == [(8,), (4,)]


def test_of_finds_the_heads_layers_again() -> None:
    spec = heads.HeadSpec("average", (8,), 0.5, 0.0, "he_normal", True, True)
    above = heads.layers(spec, 2, np.zeros(6, np.float32), np.ones(6, np.float32))
    x = keras.Input((4, 4, 6))
    model = keras.Model(x, heads.apply(above, pool("average", [x])))
    assert heads.of(model) == above
