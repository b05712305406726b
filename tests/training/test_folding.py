"""`thaw.folding`: the folded layers are the same function of the same variables as Keras's own."""

import thaw.networks.quiet  # noqa: F401

from collections.abc import Callable

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from thaw.networks import backbones
from thaw.training import folding

SIZES = {"MobileNetV2": 32, "ResNet50": 32, "EfficientNetB0": 32, "DenseNet121": 32, "Xception": 71}
SIZES["EfficientNetLite0"] = 32


def randomise(model: keras.Model, seed: int = 0) -> None:
    """BatchNormalization as training leaves it: no statistic or variable at its initial value."""
    generator = np.random.default_rng(seed)
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            width = layer.moving_mean.shape
            values = {
                "gamma": generator.uniform(0.7, 1.3, width),
                "beta": generator.normal(0, 0.2, width),
                "moving_mean": generator.normal(0, 0.2, width),
                "moving_variance": generator.uniform(0.5, 1.5, width),
            }
            for name, value in values.items():
                if getattr(layer, name) is not None:
                    getattr(layer, name).assign(value)


def close(found: object, expected: object, tolerance: float = 1e-4) -> None:
    """Within `tolerance` of the largest of `expected`."""
    scale = float(np.abs(expected).max())
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * scale + 1e-9)


class Case:
    """A network, thawed above its boundary, and what its folded part reads."""

    def __init__(self, name: str, share: float = 0.7) -> None:
        keras.utils.set_random_seed(0)
        size = SIZES[name]
        self.base = backbones.build(name, size)
        randomise(self.base)
        self.boundary = backbones.boundary(self.base, int(share * len(self.base.layers)))
        backbones.freeze_below(self.base, self.boundary + 1)
        x = np.random.default_rng(1).normal(size=(4, size, size, 3)).astype(np.float32)
        below = keras.Model(self.base.inputs, self.base.layers[self.boundary].output)
        self.pictures = x
        self.cached = below(x, training=False)
        self.folded = folding.folded_above(self.base, self.boundary)


@pytest.fixture(scope="module", params=SIZES)
def case(request: pytest.FixtureRequest) -> Case:
    return Case(request.param)


def output(model: Callable[..., object], x: object, **options: object) -> tf.Tensor:
    result = model(x, **options)
    return result[0] if isinstance(result, list) else result


def test_same_output(case: Case) -> None:
    whole = output(case.base, case.pictures, training=False)
    assert np.abs(whole).max() > 0
    close(output(case.folded, case.cached), whole)


def test_something_is_folded(case: Case) -> None:
    kinds = [type(layer) for layer in case.folded.layers]
    assert kinds.count(folding.FoldedConvolution) >= 5


def test_same_trainable_variables(case: Case) -> None:
    plain = {id(variable) for variable in case.base.trainable_variables}
    assert len(plain) > 10
    found = [id(variable) for variable in case.folded.trainable_variables]
    assert len(found) == len(set(found))
    assert set(found) == plain


def test_same_gradients(case: Case) -> None:
    variables = case.base.trainable_variables
    weights = np.random.default_rng(2).normal(
        size=case.base.compute_output_shape((4, *case.pictures.shape[1:]))
    )
    weights = weights.astype(np.float32)

    def gradients(model: Callable[..., object], x: object) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(output(model, x, training=False) * weights)
        return tape.gradient(loss, [variable.value for variable in variables])

    plain = gradients(case.base, case.pictures)
    for variable, one, other in zip(
        variables, gradients(case.folded, case.cached), plain, strict=True
    ):
        assert one is not None, variable.path
        close(one, other)


@pytest.mark.parametrize("name", ["MobileNetV2", "ResNet50"])
def test_ten_steps_of_sgd_agree(name: str) -> None:
    case = Case(name, 0.8)
    variables = case.base.trainable_variables
    start = [variable.numpy() for variable in variables]
    target = (
        np.random.default_rng(3)
        .normal(size=output(case.folded, case.cached).shape)
        .astype(np.float32)
    )

    def run(model: Callable[[object], object], x: object) -> list[np.ndarray]:
        for variable, value in zip(variables, start, strict=True):
            variable.assign(value)
        optimizer = keras.optimizers.SGD(0.02, clipnorm=1.0)

        @tf.function
        def step() -> None:
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(tf.square(output(model, x) - target))
            values = [variable.value for variable in variables]
            optimizer.apply(tape.gradient(loss, values), variables)

        optimizer.build(variables)
        for _ in range(10):
            step()
        return [variable.numpy() for variable in variables]

    plain = run(lambda x: case.base(x, training=False), case.pictures)
    folded = run(case.folded, case.cached)
    for one, other, first in zip(folded, plain, start, strict=True):
        close(one - first, other - first, 1e-3)


def test_scales_alone_have_the_gradients_of_the_plain_network() -> None:
    """Of MobileNetV2's normalisations and depthwise kernels; its other kernels stay."""
    case = Case("MobileNetV2")
    backbones.freeze_below(case.base, case.boundary + 1, scales_alone=True)
    variables = case.base.trainable_variables
    kinds = {variable.path.rsplit("/", 1)[-1] for variable in variables}
    assert kinds == {"kernel", "gamma", "beta"}
    assert all("depthwise" in each.path for each in variables if each.path.endswith("kernel"))
    values = [variable.value for variable in variables]

    def gradients(model: Callable[..., object], x: object, **options: object) -> list[np.ndarray]:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(output(model, x, **options) ** 2)
        return [np.asarray(each) for each in tape.gradient(loss, values)]

    folded = gradients(case.folded, case.cached)
    plain = gradients(case.base, case.pictures, training=False)
    for one, other in zip(folded, plain, strict=True):
        close(one, other, 1e-3)


def test_frozen_layers_above_the_boundary_stay_frozen() -> None:
    """`fine_tune_at` may lie above the cached layer."""
    base = backbones.build("MobileNetV2", 32)
    backbones.freeze_below(base, 100)
    folded = folding.folded_above(base, backbones.boundary(base, 54))
    assert len(base.trainable_variables) == 54
    assert {id(v) for v in folded.trainable_variables} == {id(v) for v in base.trainable_variables}


def test_bfloat16_rounds_what_is_multiplied(case: Case) -> None:
    """And nothing else: the output is near that of float32, but not it."""
    rounded = folding.folded_above(case.base, case.boundary, folding.BFLOAT16)
    found, exact = (output(each, case.cached) for each in (rounded, case.folded))
    assert found.dtype == "float32"
    distance = np.linalg.norm(found - exact) / np.linalg.norm(exact)
    assert 1e-5 < distance < 0.05
    assert {each.dtype for each in rounded.trainable_variables} == {"float32"}
    known = {id(variable) for variable in case.base.trainable_variables}
    assert {id(variable) for variable in rounded.trainable_variables} == known


def test_gradients_of_bfloat16_point_where_those_of_float32_do(case: Case) -> None:
    variables = case.base.trainable_variables
    target = np.random.default_rng(2).normal(size=output(case.folded, case.cached).shape)

    def gradients(model: keras.Model) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(output(model, case.cached) * target.astype(np.float32))
        return tape.gradient(loss, [variable.value for variable in variables])

    rounded = folding.folded_above(case.base, case.boundary, folding.BFLOAT16)
    cosines = []
    for one, other in zip(gradients(rounded), gradients(case.folded), strict=True):
        one, other = (np.ravel(each) / np.abs(each).max() for each in (one, other))
        cosines.append(one @ other / (np.linalg.norm(one) * np.linalg.norm(other)))
    assert np.median(cosines) > 0.98


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize(
    ("kernel", "stride"), [(1, 1), (1, 2), (2, 1), (3, 1), (3, 2), ((3, 5), (2, 3))]
)
def test_a_kernels_gradient_by_products(
    kernel: int | tuple[int, int], stride: int | tuple[int, int], padding: str
) -> None:
    """It is TensorFlow's own, in float32, where both are exact."""
    keras.utils.set_random_seed(0)
    convolution = layers.Conv2D(4, kernel, stride, padding)
    maps = tf.random.normal((2, 9, 8, 3))
    convolution.build(maps.shape)
    above = tf.random.normal(convolution.compute_output_shape(maps.shape))
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(convolution(maps) * above)
    expected = tape.gradient(loss, convolution.kernel.value)
    strides = [1, *convolution.strides, 1]
    found = folding._kernel_gradient(
        maps, convolution.kernel.shape, above, strides, padding.upper()
    )
    close(found, expected, 1e-5)
    with tf.GradientTape() as tape:
        tape.watch(maps)
        mine = folding._convolution(maps, convolution.kernel.value, strides, padding.upper())
        loss = tf.reduce_sum(mine * above)
    below = tape.gradient(loss, maps)
    close(mine, convolution(maps) - convolution.bias, 1e-5)
    with tf.GradientTape() as tape:
        tape.watch(maps)
        loss = tf.reduce_sum(convolution(maps) * above)
    close(below, tape.gradient(loss, maps), 1e-5)


def test_bfloat16_in_training_mode() -> None:
    """Statistics follow the batch as in float32, and a convolution without a norm is rounded."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 3))
    maps = layers.Conv2D(8, 3, activation="relu")(inputs)
    norm = NORM()
    base = keras.Model(inputs, norm(layers.Conv2D(4, 3, 2)(maps)))
    rounded = folding.folded_above(base, 0, folding.BFLOAT16, training_mode=True)
    x = np.random.default_rng(0).normal(3, 1, size=(16, 8, 8, 3)).astype(np.float32)
    start = norm.moving_mean.numpy()
    found = output(rounded, x, training=True)
    moved = norm.moving_mean.numpy()
    norm.moving_mean.assign(start)
    expected = base(x, training=True)
    assert np.abs(found - expected).max() > 0
    close(found, expected, 0.05)
    close(moved, norm.moving_mean.numpy(), 0.05)
    kinds = [type(layer) for layer in rounded.layers]
    assert kinds.count(folding.RoundedConvolution) == 2
    assert folding.FoldedConvolution not in kinds


@pytest.mark.parametrize(
    "layer",
    [
        layers.Conv2D(6, 3, groups=3),
        layers.Conv2D(6, 3, data_format="channels_first"),
        layers.Conv2D(6, 3, dilation_rate=2),
        layers.DepthwiseConv2D(3),
    ],
)
def test_bfloat16_leaves_what_it_has_no_way_for(layer: layers.Layer) -> None:
    assert not folding.rounds(layer)


def small(build: Callable[[keras.KerasTensor], keras.KerasTensor]) -> keras.Model:
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 3))
    model = keras.Model(inputs, build(inputs))
    randomise(model)
    return model


def shared(x: keras.KerasTensor) -> keras.KerasTensor:
    convolution = layers.Conv2D(3, 3, padding="same")
    return layers.BatchNormalization()(convolution(convolution(x)))


def read_twice(x: keras.KerasTensor) -> keras.KerasTensor:
    y = layers.Conv2D(4, 3)(x)
    return layers.Add()([y, layers.BatchNormalization()(y)])


def two_outputs(x: keras.KerasTensor) -> keras.KerasTensor:
    y = layers.Conv2D(4, 3)(x)
    return layers.Concatenate()([layers.BatchNormalization()(y), layers.BatchNormalization()(y)])


def dense(x: keras.KerasTensor) -> keras.KerasTensor:
    return layers.BatchNormalization()(layers.Dense(4)(x))


def then(norm: layers.Layer, convolution: layers.Layer) -> Callable[..., keras.KerasTensor]:
    return lambda x: norm(convolution(x))


NORM = layers.BatchNormalization
UNFOLDED = {
    "activation": lambda x: NORM()(layers.Conv2D(4, 3, activation="relu")(x)),
    "other axis": lambda x: NORM(axis=1)(layers.Conv2D(4, 3)(x)),
    "read twice": read_twice,
    "two norms": two_outputs,
    "dense": dense,
    "transposed": lambda x: NORM()(layers.Conv2DTranspose(4, 3)(x)),
}
FOLDED = {
    "bias": lambda x: NORM()(layers.Conv2D(4, 3, bias_initializer="normal")(x)),
    "no scale": lambda x: NORM(scale=False)(layers.Conv2D(4, 3)(x)),
    "no centre": lambda x: NORM(center=False)(layers.Conv2D(4, 3)(x)),
    "epsilon": lambda x: NORM(epsilon=0.3)(layers.Conv2D(4, 3)(x)),
    "strides": lambda x: NORM()(layers.Conv2D(4, 3, strides=2, padding="same")(x)),
    "dilation": lambda x: NORM()(layers.Conv2D(4, 3, dilation_rate=2)(x)),
    "groups": lambda x: NORM()(layers.Conv2D(6, 3, groups=3)(x)),
    "depth multiplier": lambda x: NORM()(layers.DepthwiseConv2D(3, depth_multiplier=2)(x)),
    "separable": lambda x: NORM()(
        layers.SeparableConv2D(4, 3, depth_multiplier=2, bias_initializer="normal")(x)
    ),
    "convolution used twice": shared,
}


@pytest.mark.parametrize("kind", [*UNFOLDED, *FOLDED])
def test_layers_that_fit_are_folded_and_others_left(kind: str) -> None:
    base = small((UNFOLDED | FOLDED)[kind])
    folded = folding.folded_above(base, 0)
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype(np.float32)
    close(output(folded, x), base(x, training=False), 1e-5)
    count = sum(isinstance(layer, folding.FoldedConvolution) for layer in folded.layers)
    assert count == (1 if kind in FOLDED else 0)


@pytest.mark.parametrize("kind", [*UNFOLDED, *FOLDED])
def test_bfloat16_trains_every_kind_of_layer(kind: str) -> None:
    """With gradients that are those of float32 but for rounding."""
    base = small((UNFOLDED | FOLDED)[kind])
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype(np.float32)

    def run(precision: str) -> list[np.ndarray]:
        model = folding.folded_above(base, 0, precision)
        with tf.GradientTape() as tape:
            found = output(model, x)
            loss = tf.reduce_sum(found**2)
        gradients = tape.gradient(loss, [each.value for each in base.trainable_variables])
        return [np.asarray(each) for each in (found, *gradients)]

    for rounded, exact in zip(run(folding.BFLOAT16), run(folding.FLOAT32), strict=True):
        close(rounded, exact, 0.03)


@pytest.mark.parametrize("kind", UNFOLDED)
def test_training_mode_changes_nothing(kind: str) -> None:
    """`fit` calls the model with training=True; what isn't folded must not take that up."""
    base = small(UNFOLDED[kind])
    x = np.random.default_rng(0).normal(3, 1, size=(2, 8, 8, 3)).astype(np.float32)
    expected = np.asarray(base(x, training=False))
    statistics = [variable.numpy() for variable in base.non_trainable_variables]
    close(output(folding.folded_above(base, 0), x, training=True), expected, 1e-5)
    for before, after in zip(statistics, base.non_trainable_variables, strict=True):
        np.testing.assert_array_equal(after, before)


def test_a_convolution_used_twice_each_with_its_norm() -> None:
    def build(x: keras.KerasTensor) -> keras.KerasTensor:
        convolution = layers.Conv2D(3, 3, padding="same")
        return NORM()(convolution(NORM()(convolution(x))))

    base = small(build)
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype(np.float32)
    close(output(folding.folded_above(base, 0), x), base(x, training=False), 1e-5)
