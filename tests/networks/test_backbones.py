"""`thaw.backbones`: layers, boundaries and preprocessing of `keras.applications` networks."""

import thaw.networks.quiet  # noqa: F401

import importlib
from dataclasses import asdict
from pathlib import Path

import keras
import numpy as np
import pytest

from helpers import small_convnext
from thaw.core import consistency, graphs
from thaw.core.errors import ThawError
from thaw.networks import backbones, efficientnet_lite, scratch

SIZE = 32
NETWORKS = (
    "MobileNetV2",
    "VGG16",
    "ResNet50",
    "EfficientNetB0",
    "DenseNet121",
    "MobileNetV3Small",  # adds and multiplies between its layers
    "EfficientNetV2B0",  # takes its blocks from its argument `name`
    "EfficientNetLite0",
)
FAMILIES = [
    "ConvNeXtTiny",
    "DenseNet121",
    "EfficientNetB0",
    "EfficientNetV2B0",
    "InceptionResNetV2",
    "InceptionV3",
    "MobileNet",
    "MobileNetV2",
    "MobileNetV3Small",
    "NASNetMobile",
    "ResNet50",
    "ResNet50V2",
    "VGG16",
    "VGG19",
    "Xception",
]


def pictures(size: int = SIZE) -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 255, (2, size, size, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def mobilenet() -> keras.Model:
    return backbones.build("MobileNetV2", SIZE)


@pytest.fixture(scope="module", params=NETWORKS)
def network(request: pytest.FixtureRequest, mobilenet: keras.Model) -> keras.Model:
    if request.param == "MobileNetV2":
        return mobilenet
    keras.utils.set_random_seed(0)
    return backbones.build(request.param, SIZE)


def test_mobilenet_has_the_tutorials_layers(mobilenet: keras.Model) -> None:
    assert len(mobilenet.layers) == 154
    assert mobilenet.name == "MobileNetV2"


@pytest.mark.parametrize(
    ("at", "name"),
    [
        (100, "block_10_project_BN"),
        (97, "block_10_project_BN"),
        (96, "block_10_project"),
        (120, "block_13_depthwise"),
        (153, "out_relu"),
        (0, "input_layer"),
    ],
)
def test_boundary_of_mobilenet(mobilenet: keras.Model, at: int, name: str) -> None:
    index = backbones.boundary(mobilenet, at)
    assert mobilenet.layers[index].name.startswith(name)
    if at == 100:
        assert index == 97


@pytest.mark.parametrize("share", [0, 0.3, 0.6, 0.9])
def test_halves_joined_at_a_boundary_give_the_whole(network: keras.Model, share: float) -> None:
    index = backbones.boundary(network, int(share * len(network.layers)))
    below = keras.Model(network.inputs, network.layers[index].output)
    x = pictures() / 255
    joined = backbones.above(network, index)(below(x, training=False), training=False)
    if isinstance(joined, list):
        (joined,) = joined
    whole = network(x, training=False)
    np.testing.assert_allclose(joined, whole, rtol=1e-5, atol=1e-6 * np.abs(whole).max())


def test_no_connection_leads_around_a_bottleneck(network: keras.Model) -> None:
    """Above a layer that something passes by, Keras finds the graph disconnected."""
    found = backbones.bottlenecks(network)
    assert 0 in found
    assert len(network.layers) - 1 in found
    others = [i for i in range(len(network.layers)) if i not in found]
    for index in others[:: max(1, len(others) // 5)]:
        with pytest.raises(ValueError, match=r"not connected|disconnected|has not been|cannot"):
            keras.Model(network.layers[index].output, network.output)


def check_list(network: keras.Model) -> None:
    known = graphs.read(network.name, False, "base_model")
    assert list(known.layers) == [layer.name for layer in network.layers]
    assert list(known.kinds) == [type(layer).__name__ for layer in network.layers]
    assert list(known.passed) == backbones.bottlenecks(network)


def test_the_list_of_its_layers_is_right(network: keras.Model) -> None:
    """What parameters are checked against; tools/list_layers.py writes it."""
    check_list(network)


def test_every_network_has_a_list_of_its_layers() -> None:
    assert set(graphs.names()) == set(backbones.names()) | set(graphs.OWN)
    assert graphs.OPTIONAL == scratch.NAMES
    assert {*graphs.OWN} == {*scratch.NAMES, *efficientnet_lite.SCALES}
    assert asdict(scratch.DEFAULT) == consistency.NETWORK


@pytest.mark.parametrize("batch_norm", [False, True])
def test_the_lists_of_our_own_networks_are_right(batch_norm: bool) -> None:
    for name in scratch.NAMES:
        network = backbones.build(name, 32, options=scratch.Options(batch_norm=batch_norm))
        known = graphs.read(name, batch_norm, "base_model")
        assert list(known.layers) == [layer.name for layer in network.layers]
        assert list(known.passed) == backbones.bottlenecks(network)


@pytest.mark.parametrize("name", sorted(graphs.SMALLEST))
def test_the_smallest_size_is_right(name: str) -> None:
    with pytest.raises(ThawError, match="image_size"):
        backbones.build(name, graphs.SMALLEST[name] - 1)


def test_blocks_of_mobilenet_are_its_additions_and_the_last_layer(mobilenet: keras.Model) -> None:
    names = [mobilenet.layers[index].name for index in backbones.blocks(mobilenet)]
    additions = [f"block_{n}_add" for n in (2, 4, 5, 7, 8, 9, 11, 12, 14, 15)]
    assert names == [*additions, "out_relu"]
    outputs = backbones.with_blocks(mobilenet)(pictures(), training=False)
    widths = [24, 32, 32, 64, 64, 64, 96, 96, 160, 160, 1280]
    assert [output.shape[-1] for output in outputs] == widths


def test_blocks_of_a_convnext_are_its_stem_its_downsamplings_and_the_last_layer() -> None:
    base = backbones.build("ConvNeXtTiny", SIZE)
    check_list(base)
    names = [base.layers[index].name for index in backbones.blocks(base)]
    downsamplings = [f"convnext_tiny_downsampling_block_{number}" for number in range(3)]
    assert names == ["convnext_tiny_stem", *downsamplings, "layer_normalization"]
    at = backbones.layer_index(base, "convnext_tiny_stage_2_block_4_gelu", "fine_tune_at")
    assert base.layers[backbones.boundary(base, at)].name == downsamplings[1]


def test_a_convnext_computes_what_it_does_in_keras(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    small_convnext(monkeypatch)
    keras.utils.set_random_seed(0)
    plain = keras.applications.ConvNeXtTiny(
        include_top=False, weights=None, input_shape=(SIZE, SIZE, 3)
    )
    distinct = np.random.default_rng(0)
    plain.set_weights([distinct.normal(0, 0.3, w.shape) for w in plain.get_weights()])
    expected = np.asarray(plain(pictures(), training=False))
    assert expected.std() > 0.1
    plain.save_weights(tmp_path / "keras.weights.h5")
    base = backbones.load("ConvNeXtTiny", SIZE, tmp_path / "keras.weights.h5")
    np.testing.assert_allclose(base(pictures(), training=False), expected, atol=1e-4)
    base.save_weights(tmp_path / "ours.weights.h5")  # as stage `weights` does
    again = backbones.load("ConvNeXtTiny", SIZE, tmp_path / "ours.weights.h5")
    np.testing.assert_array_equal(again(pictures()), base(pictures()))


def test_above_gives_only_outputs_that_lie_there(mobilenet: keras.Model) -> None:
    whole = backbones.with_blocks(mobilenet)
    part = backbones.above(whole, 97)
    assert [tensor.shape[-1] for tensor in part.outputs] == [96, 96, 160, 160, 1280]


@pytest.mark.parametrize("name", FAMILIES)
def test_preprocessing_equals_the_networks_own(name: str) -> None:
    module = importlib.import_module(f"keras.applications.{backbones.names()[name]}")
    x = pictures(8)
    expected = module.preprocess_input(x.copy())
    np.testing.assert_allclose(backbones.preprocess(name, x), expected, rtol=1e-4, atol=1e-4)


def test_every_family_is_compared() -> None:
    known = backbones.names()
    assert {known[name] for name in FAMILIES} == set(backbones._PREPROCESSING)


@pytest.mark.parametrize(
    ("layer", "index"), [(0, 0), (153, 153), ("block_10_project_BN", 97), ("out_relu", 153)]
)
def test_layer_index(mobilenet: keras.Model, layer: int | str, index: int) -> None:
    assert backbones.layer_index(mobilenet, layer, "fine_tune_at") == index


@pytest.mark.parametrize("layer", [400, 154, -1])
def test_layer_index_out_of_range(mobilenet: keras.Model, layer: int) -> None:
    with pytest.raises(ThawError) as caught:
        backbones.layer_index(mobilenet, layer, "fine_tune_at")
    assert str(caught.value) == (
        f"params.yaml: fine_tune_at: {layer}: MobileNetV2 has 154 layers; "
        "give 0 to 153, a layer's name, or null"
    )


def test_misspelt_layer_gets_a_suggestion(mobilenet: keras.Model) -> None:
    with pytest.raises(ThawError, match="block_10_project_BN") as caught:
        backbones.layer_index(mobilenet, "block_10_projct_BN", "cache.layer")
    assert str(caught.value).startswith("params.yaml: cache.layer: block_10_projct_BN: ")
    assert "\n" not in str(caught.value)


def test_a_cut_network_is_told_of(mobilenet: keras.Model) -> None:
    for layer, problem in ((60, "has 54 layers"), ("block_9_add", "has no layer of that name")):
        with pytest.raises(ThawError) as caught:
            backbones.layer_index(
                backbones.cut(mobilenet, "block_5_add"), layer, "fine_tune_at", "block_5_add"
            )
        told = f"fine_tune_at: {layer}: MobileNetV2, cut at feature_layer block_5_add, {problem}"
        assert told in str(caught.value)


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8, 1])
def test_a_cut_keeps_the_layers_below_and_what_they_compute(
    network: keras.Model, share: float
) -> None:
    index = backbones.boundary(network, int(share * (len(network.layers) - 1)))
    below = backbones.cut(network, index)
    assert below.name == network.name
    assert below.layers == network.layers[: index + 1]
    assert backbones.bottlenecks(below) == [i for i in backbones.bottlenecks(network) if i <= index]
    assert backbones.blocks(below)[-1] == index
    x = pictures() / 255
    expected = keras.Model(network.input, network.layers[index].output)(x, training=False)
    np.testing.assert_array_equal(below(x, training=False), expected)


@pytest.mark.parametrize(
    ("layer", "near"),
    [
        ("block_11_depthwise", "block_10_project_BN or block_11_add"),
        (100, "block_10_project_BN or block_11_add"),
        (0, "Conv1"),
    ],
)
def test_a_cut_where_not_everything_passes_is_refused(
    mobilenet: keras.Model, layer: int | str, near: str
) -> None:
    with pytest.raises(ThawError) as caught:
        backbones.cut(mobilenet, layer)
    name = mobilenet.layers[backbones.layer_index(mobilenet, layer, "")].name
    assert str(caught.value) == (
        f"params.yaml: feature_layer: {layer}: {name} is no layer of MobileNetV2 through which "
        f"everything passes; the nearest are {near}"
    )


def test_load_cuts_the_network_whose_weights_it_reads(
    mobilenet: keras.Model, tmp_path: Path
) -> None:
    path = tmp_path / "base.weights.h5"
    mobilenet.save_weights(path)
    for layer, last in ((None, "out_relu"), ("block_5_add", "block_5_add")):
        base = backbones.load("MobileNetV2", SIZE, path, layer)
        assert base.layers[-1].name == last
        for found, expected in zip(base.weights, mobilenet.weights, strict=False):
            np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(("name", "suggestion"), [("MobileNetv2", "MobileNetV2"), ("zzz", "VGG16")])
def test_unknown_base_model(name: str, suggestion: str) -> None:
    with pytest.raises(ThawError, match=suggestion) as caught:
        backbones.build(name, SIZE)
    assert str(caught.value).startswith(f"params.yaml: base_model: {name}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["Xception", "InceptionV3"])
def test_too_small_pictures(name: str) -> None:
    with pytest.raises(ThawError, match=f"image_size: 32: {name} can't be built") as caught:
        backbones.build(name, 32)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("at", [None, 0, 100, 153])
def test_freeze_below(at: int | None) -> None:
    base = backbones.build("MobileNetV2", SIZE)
    base.layers[120].trainable = False  # as a model that was saved frozen brings it
    backbones.freeze_below(base, at)
    thawed = [] if at is None else base.layers[at:]
    expected = [id(w) for layer in thawed for w in layer.trainable_weights]
    assert [id(w) for w in base.trainable_weights] == expected
    assert [layer.trainable for layer in base.layers] == [
        at is not None and index >= at for index in range(154)
    ]
