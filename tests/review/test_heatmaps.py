"""Grad-CAM against its definition, on small networks with maps that are known."""

import thaw.networks.quiet  # noqa: F401

import keras
import numpy as np
import pytest

from helpers import pixels
from thaw.core.errors import ThawError
from thaw.networks import backbones, pooling
from thaw.pictures import augmentation
from thaw.pictures.augmentation import Augmentation
from thaw.review import heatmaps
from thaw.training import classifiers, heads, saving

SYMMETRIES = Augmentation(8, "both", True, 0.0).symmetries
SIZE = 32


def classifier(
    pooling: str = "average", classes: int = 2, blocks: bool = False, hidden: tuple[int, ...] = ()
) -> keras.Model:
    keras.utils.set_random_seed(3)
    base = backbones.build("MobileNetV2" if blocks else "MobileNet", SIZE)
    for layer in base.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.gamma.assign(keras.ops.full_like(layer.gamma, 3.0))
            layer.beta.assign(keras.random.normal(layer.beta.shape, stddev=0.2))
    if blocks:
        base = backbones.with_blocks(base)
    spec = heads.HeadSpec(pooling, hidden, 0.0, 0.0, "glorot_uniform", standardize=False)
    return classifiers.classifier(base, heads.layers(spec, classes), pooling, SIZE)


def corner(classes: int = 2) -> keras.Model:
    """A network whose map is the picture's redness, halved twice in size; its logit the average."""
    pictures = keras.Input((SIZE, SIZE, 3), name="picture")
    maps = keras.layers.AveragePooling2D(4)(pictures)
    logits = keras.layers.Dense(1 if classes == 2 else classes, name="logits")
    keras.Model(pictures, logits(pooling.pool("average", [maps])))
    kernel = np.zeros(logits.kernel.shape, np.float32)
    kernel[0, -1] = 1  # red speaks for the last class
    logits.set_weights([kernel, np.zeros(logits.bias.shape, np.float32)])
    return keras.Model(pictures, logits(pooling.pool("average", [maps])))


@pytest.mark.parametrize("classes", [2, 3])
def test_heat_lies_where_the_class_is(classes: int) -> None:
    picture = np.zeros((SIZE, SIZE, 3), np.uint8)
    picture[4:12, 20:28, 0] = 200
    explainer = heatmaps.Explainer(corner(classes))
    for symmetries in (SYMMETRIES[:1], SYMMETRIES):
        heat = explainer.heat(picture, classes - 1, symmetries)
        assert heat.shape == (SIZE, SIZE)
        assert heat.max() == 1
        assert heat[6:10, 22:26].min() > 0.9
        assert heat[20:].max() == 0
    assert explainer.heat(picture, 0, SYMMETRIES).max() == 0  # nothing speaks for the other


def test_it_is_grad_cam_of_a_single_map() -> None:
    model = classifier()
    picture = pixels(1, SIZE, SIZE)
    maps = keras.Model(model.input, model.get_layer("average_pooling_0").input)(picture[None])
    kernel = model.get_layer("logits").kernel[:, 0]
    raw = np.maximum(np.asarray(maps)[0] @ np.asarray(kernel), 0)  # one place: a linear head's CAM
    found = heatmaps.Explainer(model).heat(picture, 1, SYMMETRIES[:1])
    assert raw.shape == (1, 1)
    assert found == pytest.approx(np.full((SIZE, SIZE), float(raw.max() > 0)))


def test_averages_of_all_depths_add_up_to_the_logit() -> None:
    """The mean of the sum, before anything is cut off, is the logit of a linear head."""
    model = classifier("average", blocks=True)
    explainer = heatmaps.Explainer(model)
    view = pixels(1, SIZE, SIZE)[None].astype(np.float32)
    maps = explainer._below(view)
    assert len(maps) > 5
    total = 0.0
    for each, start in zip(maps, np.cumsum([0, *(m.shape[-1] for m in maps)])[:-1], strict=True):
        kernel = np.asarray(model.get_layer("logits").kernel)[start : start + each.shape[-1], 0]
        total += float((np.asarray(each).mean((1, 2)) @ kernel)[0])
    assert total == pytest.approx(float(model.predict(view, verbose=0)[0, 0]), rel=1e-3)
    seen = explainer._seen(view, 1).numpy()  # scaling to the picture keeps means, nearly
    assert seen.mean() == pytest.approx(total, rel=0.1)


@pytest.mark.parametrize("pooling", ["average", "max", "average_max", "flatten"])
@pytest.mark.parametrize("hidden", [(), (4,)])
def test_every_kind_of_head(pooling: str, hidden: tuple[int, ...]) -> None:
    explainer = heatmaps.Explainer(classifier(pooling, 3, hidden=hidden))
    heats = [explainer.heat(pixels(1, SIZE, SIZE), label, SYMMETRIES[:2]) for label in range(3)]
    assert all(np.isfinite(heat).all() and heat.min() >= 0 for heat in heats)
    assert any(heat.max() == 1 for heat in heats)


def test_a_turned_picture_has_the_turned_heat() -> None:
    explainer = heatmaps.Explainer(classifier("average_max", blocks=True))
    picture = pixels(1, SIZE, SIZE)
    heat = explainer.heat(picture, 1, SYMMETRIES)
    for symmetry in SYMMETRIES:
        turned = explainer.heat(augmentation.symmetric(picture, *symmetry), 1, SYMMETRIES)
        there = augmentation.symmetric(heat[..., None], *symmetry)[..., 0]
        assert turned == pytest.approx(there, abs=1e-3)


def test_a_saved_model_has_the_same_heat(tmp_path) -> None:
    model = classifier("average_max", blocks=True)
    saving.save(model, tmp_path / "model.keras")
    loaded = saving.load(tmp_path / "model.keras")
    picture = pixels(1, SIZE, SIZE)
    first, second = (
        heatmaps.Explainer(each).heat(picture, 1, SYMMETRIES[:1]) for each in (model, loaded)
    )
    assert first == pytest.approx(second, abs=1e-5)


def test_a_model_without_pooling_is_refused() -> None:
    pictures = keras.Input((SIZE, SIZE, 3))
    model = keras.Model(pictures, keras.ops.mean(pictures, axis=(1, 2)), name="other")
    with pytest.raises(ThawError, match="other pools no feature maps"):
        heatmaps.Explainer(model)


def test_an_overlay_is_the_grey_picture_where_there_is_no_heat() -> None:
    picture = pixels(1, 8, 8)
    heat = np.zeros((8, 8), np.float32)
    heat[0, 0] = 1
    mixed = heatmaps.overlay(picture, heat)
    assert mixed.shape == picture.shape
    assert mixed.dtype == np.uint8
    assert np.array_equal(mixed[1:], np.repeat(picture.mean(-1, keepdims=True).round(), 3, -1)[1:])
    assert mixed[0, 0, 0] > mixed[0, 0, 2]  # inferno ends in yellow
