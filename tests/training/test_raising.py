"""`thaw.training.raising`: what frozen layers give is computed once, and trains the same."""

import thaw.networks.quiet  # noqa: F401

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from helpers import in_parts, picture
from runs import mobilenet
from thaw.core.errors import ThawError
from thaw.features import cache, extraction, stores
from thaw.files import serialize
from thaw.networks import backbones, freezing, onnx_export
from thaw.pictures.augmentation import Augmentation
from thaw.training import batches, classifiers, heads, loop, raising

SIZE, EPOCHS = 32, 3
LOW, HIGH = "block_1_project_BN", "block_4_add"
PATHS = {
    "train": [f"{number}.png" for number in range(12)],
    "validation": [f"{number}.png" for number in range(12, 17)],
}


@dataclass(frozen=True)
class Made:
    """A small network, and a folder with the cache of a layer of it."""

    base: keras.Model
    features: Path
    facts: cache.Facts
    start: list[np.ndarray]  # the network's weights


@pytest.fixture(scope="module")
def base() -> keras.Model:
    """The first third of MobileNetV2, which has blocks below the cached layer and above."""
    return backbones.cut(mobilenet(SIZE), "block_5_add")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("pictures")
    for number in range(17):
        picture(root / f"{number}.png", seed=number, width=SIZE, height=SIZE)
    return root


@pytest.fixture(params=["pooled"])
def made(
    request: pytest.FixtureRequest, base: keras.Model, pictures: Path, tmp_path: Path
) -> Iterator[Made]:
    """Its cache made as `cache.bottleneck` says, with two views of each picture."""
    drawn = Augmentation(2, "horizontal", False, 0.0)
    cached = backbones.layer_index(base, LOW, "")
    names = ["a", "b"]
    facts = cache.Facts(
        "MobileNetV2", SIZE, "stretch", cached, LOW, request.param, names, drawn, 1, "block_5_add"
    )
    network = freezing.extractor(base, SIZE, cached, request.param)
    model = onnx_export.to_onnx(network)
    labels = {}
    for name, views in (("train", 2), ("validation", 0)):
        extractor = extraction.Extractor(model, pictures, facts, views)
        extraction.extract(extractor, PATHS[name], tmp_path / "features", name)
        labels[name] = [number % 2 for number in range(len(PATHS[name]))]
    cache.write_facts(facts, labels, tmp_path / "features")
    start = base.get_weights()
    backbones.freeze_below(base, backbones.layer_index(base, "block_5_expand", ""))
    yield Made(base, tmp_path / "features", facts, start)
    base.set_weights(start)


def raised(made: Made, epochs: int = EPOCHS) -> tuple[str, dict[str, np.ndarray]]:
    """The name of the layer, and the arrays."""
    out = made.features.parent / "raised"
    index, arrays = raising.raised(made.features, made.base, epochs, out, training_mode=False)
    return made.base.layers[index].name, arrays


@pytest.mark.parametrize(
    ("made", "pooling", "how"),
    [
        ("pooled", "average_max", {"scales_alone": True}),
        ("blocks", "average_max", {"decay": 0.5}),
        ("blocks", "average", {"training_mode": True}),
        ("full", "flatten", {"mixup": 0.3}),
    ],
    indirect=["made"],
)
def test_training_from_it_is_training_from_the_cache(
    made: Made, pooling: str, how: dict[str, float]
) -> None:
    blocks = made.facts.bottleneck == "blocks"
    base = backbones.with_blocks(made.base) if blocks else made.base
    found = {}
    for epochs in (0, EPOCHS):  # of none, nothing is raised
        made.base.set_weights(made.start)
        keras.utils.set_random_seed(1)
        head = heads.layers(heads.HeadSpec(pooling, (), 0.0, 0.0, "glorot_uniform", False), 2)
        classifier = classifiers.classifier(base, head, pooling, SIZE)
        thawed = backbones.layer_index(base, "block_5_expand", "")
        backbones.freeze_below(base, thawed, scales_alone="scales_alone" in how)
        mode = "training_mode" in how
        out = made.features.parent / "raised"
        boundary, cached = raising.raised(made.features, base, epochs, out, training_mode=mode)
        source = batches.Source(
            made.features, Path(), {}, made.facts, 4, "none", "all", 1, mixup=how.get("mixup", 0.0)
        )
        width = classifiers.width_below(base, boundary)
        assert width == ((24 + 32 if epochs else 0) if blocks else 0)
        train, validation = batches.boundaries(source, cached, width)
        top = classifiers.top(classifier, base, boundary, pooling, training_mode=mode)
        steps = classifiers.steps(top, base, how.get("decay", 1.0), centralize=False)
        recipe = loop.Optimization("sgd", 0.1, "constant", EPOCHS)
        first = [each.numpy() for each in classifier.trainable_variables]
        fitted = loop.fit(top, train, validation, recipe, steps=steps)
        weights = [each.numpy() for each in classifier.trainable_variables]
        found[epochs] = made.base.layers[boundary].name, np.array(fitted.rows), weights
    (low, rows, weights), (high, rows_raised, weights_raised) = found.values()
    assert (low, high) == (LOW, HIGH)
    np.testing.assert_allclose(rows_raised[:, 1:3], rows[:, 1:3], rtol=2e-3)
    if "training_mode" in how:  # batches of four normalise rounding up to their own size
        return
    for began, one, other in zip(first, weights, weights_raised, strict=True):
        assert np.linalg.norm(other - one) < 0.2 * np.linalg.norm(one - began)


def test_it_holds_what_the_layers_give(made: Made) -> None:
    name, arrays = raised(made)
    assert name == HIGH
    end = backbones.layer_index(made.base, HIGH, "")
    part = keras.Model(made.base.layers[made.facts.boundary].output, made.base.layers[end].output)
    for split, found in arrays.items():
        low = cache.read(made.features, f"{split}_boundary")
        assert found.dtype == np.float16
        assert found.shape == (*low.shape[:2], *part.output_shape[1:])
        expected = part(np.concatenate(low).astype(np.float32), training=False)
        largest = np.abs(expected).max()
        np.testing.assert_allclose(np.concatenate(found), expected, atol=1e-3 * largest)


def test_it_is_found_again_and_remade_where_anything_changed(
    made: Made, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = made.features.parent / "raised"

    def contents() -> dict[str, bytes]:
        return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.npy")}

    def told() -> str:
        raised(made)
        return capsys.readouterr().out

    assert f"raises the cache to {HIGH} (index " in told()
    first = contents()
    assert len(first) == 2
    assert f"the cache was raised to {HIGH} (index " in told()
    assert contents() == first
    backbones.freeze_below(made.base, len(made.base.layers) - 2)  # a deeper one, the same layer
    assert "was raised" in told()
    boundary = made.features / "validation_boundary.npy"
    os.utime(boundary, ns=(0, 1))  # as where it was made anew
    assert "raises" in told()
    assert contents().keys().isdisjoint(first)  # the old one is gone
    assert list(contents().values()) == list(first.values())
    norm = made.base.get_layer("block_3_project_BN")
    norm.beta.assign_add(keras.ops.ones_like(norm.beta))
    assert "raises" in told()
    assert len(contents()) == 2
    assert contents().values() != first.values()
    (path,) = folder.rglob("train.npy")
    path.write_bytes(path.read_bytes()[:-1])  # as a full disk or a crash of the system leaves it
    again = contents()
    assert "raises" in told()
    assert len(path.read_bytes()) == len(again[str(path.relative_to(folder))]) + 1


def test_one_that_is_not_whole_is_never_used(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = [array.copy() for array in raised(made)[1].values()]
    for path in (made.features.parent / "raised").rglob("*.npy"):
        path.unlink()

    def broken_off(items: Iterator[bytes], what: str, total: int) -> Iterator[bytes]:
        for number, item in enumerate(items):
            if what == "raise validation" and number == total - 1:
                raise KeyboardInterrupt
            yield item

    with monkeypatch.context() as patched:
        patched.setattr(raising, "track", broken_off)
        with pytest.raises(KeyboardInterrupt):
            raised(made)
    files = [path.name for path in (made.features.parent / "raised").rglob("*.npy")]
    assert files == ["train.npy"]
    for found, expected in zip(raised(made)[1].values(), whole, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_where_float16_can_not_hold_it_the_cache_stays(
    made: Made, capsys: pytest.CaptureFixture[str]
) -> None:
    norm = made.base.get_layer("block_4_project_BN")
    norm.beta.assign_add(keras.ops.full_like(norm.beta, 70_000))
    name, arrays = raised(made)
    assert name == LOW
    np.testing.assert_array_equal(arrays["train"], cache.read(made.features, "train_boundary"))
    assert "not raised: it has values beyond 65,504" in capsys.readouterr().out
    assert list((made.features.parent / "raised").rglob("*.npy")) == []


@pytest.mark.parametrize(("epochs", "pays"), [(0, False), (2, False), (3, True), (10, True)])
def test_it_is_raised_where_epochs_read_more_than_there_is(
    made: Made, epochs: int, pays: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """12 pictures in two views and 5 in one: 29 views, 17 pictures an epoch."""
    assert raised(made, epochs)[0] == (HIGH if pays else LOW)
    assert bool(capsys.readouterr().out) == pays


def test_an_epoch_reads_all_views_of_each_validation_picture() -> None:
    cached = {"train": np.empty((12, 2)), "validation": np.empty((5, 8))}
    assert [raising.pays(epochs, cached) for epochs in (1, 2)] == [False, True]


@pytest.mark.parametrize(
    ("name", "cached", "thawed", "scales", "expected"),
    [
        ("MobileNetV2", "block_10_project_BN", "block_11_expand", False, "block_10_project_BN"),
        ("MobileNetV2", "block_10_project_BN", 100, False, "block_10_project_BN"),
        ("MobileNetV2", "block_10_project_BN", 120, False, "block_12_add"),  # pad is 7 times as big
        ("MobileNetV2", "block_10_project_BN", 116, True, "block_12_add"),
        ("MobileNetV2", "block_10_project_BN", 153, False, "block_16_project_BN"),
        ("MobileNetV2", "block_5_add", "block_6_depthwise", False, "block_5_add"),
        ("VGG16", "block3_pool", "block4_pool", False, "block4_pool"),  # which has no weights
        ("VGG16", "block3_pool", "block4_conv2", False, "block3_pool"),
        ("VGG16", "block4_conv3", "block5_conv1", False, "block4_conv3"),  # to pool alone: no
        ("VGG16", "block4_pool", "block5_conv3", False, "block5_conv2"),
        ("DenseNet121", "pool3_pool", "conv5_block1_1_conv", False, "pool4_pool"),
    ],
)
def test_the_deepest_layer_that_is_no_larger(
    name: str, cached: str, thawed: int | str, scales: bool, expected: str
) -> None:
    base = backbones.build(name, 96)
    index = backbones.layer_index(base, thawed, "")
    backbones.freeze_below(base, index, scales_alone=scales)
    start = backbones.layer_index(base, cached, "")
    found = raising.layer(base, start, training_mode=False)
    assert base.layers[found].name == expected


def test_not_through_what_drops_while_training() -> None:
    picture = keras.Input((8, 8, 3))
    maps = keras.layers.Conv2D(3, 3, padding="same", name="cached")(picture)
    maps = keras.layers.Conv2D(3, 3, padding="same", name="below")(maps)
    maps = keras.layers.Dropout(0.5)(maps)
    maps = keras.layers.Conv2D(3, 3, padding="same", name="above")(maps)
    base = keras.Model(picture, keras.layers.Conv2D(3, 3, name="thawed")(maps))
    backbones.freeze_below(base, 5)
    found = {
        mode: base.layers[raising.layer(base, 1, training_mode=mode)].name for mode in (True, False)
    }
    assert found == {True: "below", False: "above"}


def test_it_is_raised_from_parts_too(made: Made) -> None:
    _, expected = raised(made)
    expected = {name: np.array(maps) for name, maps in expected.items()}
    for path in [*made.features.glob("*_bo*.npy")]:
        in_parts(path, made.features.parent / "store")
    assert isinstance(cache.read(made.features, "train_boundary"), stores.Parts)
    layer, found = raised(made)
    assert layer == HIGH
    for name, maps in found.items():
        np.testing.assert_array_equal(maps, expected[name])


def test_what_the_disk_has_no_room_for_is_not_begun(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serialize.shutil, "disk_usage", lambda _: SimpleNamespace(free=10**4))
    with pytest.raises(
        ThawError, match=f"^the cache, raised .* free disk .* cache.layer: {HIGH}, "
    ):
        raised(made)
