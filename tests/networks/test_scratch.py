"""`thaw.networks.scratch`: the network of the Keras article, and what its options change."""

import thaw.networks.quiet  # noqa: F401

from dataclasses import replace

import keras
import numpy as np
import pytest
from keras import layers

from thaw.core.errors import ThawError
from thaw.networks import backbones, scratch
from thaw.training import classifiers, heads

PLAIN = scratch.Options()
FULL = scratch.Options("valid", 1e-4, "he_uniform", batch_norm=True)  # the article's last listing


def build(options: scratch.Options = PLAIN, size: int | None = 32) -> keras.Model:
    keras.utils.set_random_seed(1)
    return backbones.build("cifar10_cnn", size, options=options)


def whole(options: scratch.Options) -> keras.Model:
    spec = heads.HeadSpec(
        "flatten",
        (512,),
        0.0,
        options.l2,
        options.initializer,
        standardize=False,
        batch_norm=options.batch_norm,
    )
    return classifiers.classifier(build(options), heads.layers(spec, 10), "flatten", 32)


def articles(options: scratch.Options) -> keras.Sequential:
    """The article's listing, but for the axis of its BatchNormalization."""
    norm = [layers.BatchNormalization] if options.batch_norm else []
    penalty = keras.regularizers.L2(options.l2) if options.l2 else None

    def dense(layer: type[layers.Layer], *args: object, **kwargs: object) -> list[layers.Layer]:
        weighted = layer(*args, kernel_regularizer=penalty, **kwargs)
        return [weighted, layers.Activation("relu"), *(each() for each in norm)]

    first = {"padding": options.padding}
    return keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            *dense(layers.Conv2D, 32, (3, 3), **first),
            *dense(layers.Conv2D, 32, (3, 3)),
            layers.MaxPooling2D(pool_size=(2, 2)),
            *dense(layers.Conv2D, 64, (3, 3), **first),
            *dense(layers.Conv2D, 64, (3, 3)),
            layers.MaxPooling2D(pool_size=(2, 2)),
            layers.Flatten(),
            *dense(layers.Dense, 512),
            layers.Dense(10, kernel_regularizer=penalty),
        ]
    )


@pytest.mark.parametrize(
    ("options", "parameters"), [(PLAIN, 1_250_858), (FULL, 893_226)], ids=["plain", "full"]
)
def test_it_computes_what_the_articles_listing_does(
    options: scratch.Options, parameters: int
) -> None:
    model, listing = whole(options), articles(options)
    assert model.count_params() == listing.count_params() == parameters
    rng = np.random.default_rng(0)
    for weight in model.weights:  # BatchNormalization too is then not at its initial values
        weight.assign(rng.uniform(0.01, 0.1, weight.shape) - (len(weight.shape) > 1) * 0.05)
    listing.set_weights(model.get_weights())
    pictures = rng.integers(0, 256, (5, 32, 32, 3)).astype(np.float32)
    expected = np.asarray(listing(pictures / 255))
    assert expected.std() > 0
    np.testing.assert_allclose(model(pictures), expected, rtol=1e-4, atol=1e-5)


def test_it_is_trained_as_the_articles_listing_is() -> None:
    options = replace(FULL, l2=0.1)
    model, listing = whole(options), articles(options)
    listing.set_weights(model.get_weights())
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (16, 32, 32, 3)).astype(np.float32)
    labels = np.arange(16) % 10
    backbones.freeze_below(model.get_layer("cifar10_cnn"), 0)
    top = classifiers.top(
        model, model.get_layer("cifar10_cnn"), None, "flatten", training_mode=True
    )
    losses = []
    for each, inputs in ((top, {"pictures": pictures}), (listing, pictures / 255)):
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        each.compile(keras.optimizers.SGD(0.01), loss)
        losses.append(each.train_on_batch(inputs, labels))
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    for found, wanted in zip(model.get_weights(), listing.get_weights(), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-5)


def test_layers_in_order() -> None:
    base = build(replace(FULL, padding="same"))
    first, *others = base.layers
    assert isinstance(first, layers.InputLayer)
    assert [layer.name for layer in others] == [
        f"block{block}_{name}"
        for block in (1, 2)
        for name in ("conv1", "relu1", "norm1", "conv2", "relu2", "norm2", "pool")
    ]
    assert base.output_shape == (None, 6, 6, 64)
    assert build(FULL).output_shape == (None, 5, 5, 64)
    assert [base.layers[index].name for index in backbones.blocks(base)] == [
        "block1_pool",
        "block2_pool",
    ]


def test_batch_normalization_is_of_each_channel() -> None:
    for block, width in ((1, 32), (2, 64)):
        for number in (1, 2):
            norm = build(FULL).get_layer(f"block{block}_norm{number}")
            assert norm.axis == -1
            assert norm.moving_mean.shape == (width,)


@pytest.mark.parametrize("l2", [0.0, 1e-4])
def test_l2_is_on_every_kernel_and_nothing_else(l2: float) -> None:
    base = build(replace(PLAIN, l2=l2))
    kernels = [weight for weight in base.trainable_weights if weight.name == "kernel"]
    assert len(kernels) == 4
    assert len(base.losses) == (4 if l2 else 0)
    expected = [l2 * np.square(kernel.numpy()).sum() for kernel in kernels if l2]
    np.testing.assert_allclose([float(loss) for loss in base.losses], expected, rtol=1e-5)


@pytest.mark.parametrize("training_mode", [True, False])
def test_what_is_trained_pays_the_penalty(training_mode: bool) -> None:
    model = whole(FULL)
    base = model.get_layer("cifar10_cnn")
    for thawed, count in ((0, 4), (8, 2), (None, 0)):
        backbones.freeze_below(base, thawed)
        top = classifiers.top(model, base, None, "flatten", training_mode=training_mode)
        assert len(top.losses) == count + 2  # and the head's two


@pytest.mark.parametrize(
    ("initializer", "variance"),
    [
        ("glorot_uniform", lambda fan_in, fan_out: 2 / (fan_in + fan_out)),
        ("glorot_normal", lambda fan_in, fan_out: 2 / (fan_in + fan_out)),
        ("he_uniform", lambda fan_in, _: 2 / fan_in),
        ("he_normal", lambda fan_in, _: 2 / fan_in),
    ],
)
def test_initializers_have_their_variance(initializer: str, variance: object) -> None:
    base = build(replace(PLAIN, initializer=initializer))
    for name, fan_in, fan_out in (("block1_conv2", 288, 288), ("block2_conv2", 576, 576)):
        kernel = base.get_layer(name).kernel.numpy()
        assert kernel.var() == pytest.approx(variance(fan_in, fan_out), rel=0.05)
        bounded = np.abs(kernel).max() <= np.sqrt(3 * variance(fan_in, fan_out)) * 1.001
        assert bounded == initializer.endswith("uniform")
        np.testing.assert_array_equal(base.get_layer(name).bias, 0)


def test_pictures_of_any_size() -> None:
    assert build(size=None).input_shape == (None, None, None, 3)
    assert build(size=48).output_shape == (None, 10, 10, 64)


@pytest.mark.parametrize(
    ("option", "told"),
    [
        ({"padding": "valid"}, "network.padding: valid: VGG16 .* cifar10_cnn; give same"),
        ({"l2": 1e-4}, "network.l2: 0.0001: VGG16 has no such option, .*; give 0.0"),
        ({"initializer": "he_normal"}, "network.initializer: he_normal: .*give glorot_uniform"),
        ({"batch_norm": True}, "network.batch_norm: true: VGG16 .*; give false"),
    ],
)
def test_options_are_refused_for_networks_of_keras(option: dict[str, object], told: str) -> None:
    with pytest.raises(ThawError, match=f"^{told}$"):
        backbones.build("VGG16", 32, options=scratch.Options(**option))


def test_a_misspelt_name_gets_a_suggestion() -> None:
    with pytest.raises(ThawError, match=r"base_model: cifar10_cn: .*give one such as cifar10_cnn"):
        backbones.build("cifar10_cn", 32)
