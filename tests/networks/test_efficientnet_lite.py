"""EfficientNet-Lite: the networks that were published, and pixels as they want them."""

import thaw.networks.quiet  # noqa: F401

import numpy as np
import pytest

from thaw.networks import backbones

CLASSIFIER = 1_280 * 1_000 + 1_000


@pytest.mark.parametrize(
    ("name", "published"),  # EfficientNet-Lite's README: 4.7, 5.4 and 6.1 million
    [
        ("EfficientNetLite0", 4_652_008),
        ("EfficientNetLite1", 5_416_680),
        ("EfficientNetLite2", 6_092_072),
    ],
)
def test_parameters_are_as_many_as_published(name: str, published: int) -> None:
    base = backbones.build(name, 64)
    trained = sum(int(np.prod(weight.shape)) for weight in base.trainable_weights)
    assert trained + CLASSIFIER == published
    assert base.count_params() == 3_413_024 or name != "EfficientNetLite0"


def test_pixels_go_in_from_about_minus_one_to_one() -> None:
    x = np.array([0, 127, 255], np.float32).reshape(1, 1, 1, 3)
    found = np.asarray(backbones.preprocess("EfficientNetLite1", x)).ravel()
    np.testing.assert_allclose(found, [-127 / 128, 0, 1], atol=1e-6)


def test_blocks_are_the_additions_and_the_last_layer() -> None:
    base = backbones.build("EfficientNetLite0", 64)
    names = [base.layers[index].name for index in backbones.blocks(base)]
    additions = ("2b", "3b", "4b", "4c", "5b", "5c", "6b", "6c", "6d")
    assert names == [*(f"block{each}_add" for each in additions), "top_activation"]
    widths = [base.layers[index].output.shape[-1] for index in backbones.blocks(base)]
    assert widths == [24, 40, 80, 80, 112, 112, 192, 192, 192, 1280]
    sizes = [base.layers[index].output.shape[1] for index in backbones.blocks(base)]
    assert sizes == [16, 8, 4, 4, 4, 4, 2, 2, 2, 2]


def test_a_shortcut_leads_around_a_block() -> None:
    base = backbones.build("EfficientNetLite0", 64)
    at = backbones.layer_index(base, "block6c_dwconv", "fine_tune_at")
    assert base.layers[backbones.boundary(base, at)].name == "block6b_add"
