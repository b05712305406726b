"""Parameters against each other and the network's layers: all told before any work."""

import re
import subprocess
import sys

import pytest
import yaml

import workspace
from places import ROOT
from thaw.core import consistency, graphs
from thaw.core.errors import ThawError
from thaw.core.params import Params, parse
from thaw.review import recipes

OWN = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))


def params(**changes: object) -> Params:
    """The repository's own, with some changed: `head__epochs=0`."""
    overrides: dict = {}
    for name, value in changes.items():
        group, _, inner = name.partition("__")
        overrides = recipes.merge(overrides, {group: {inner: value} if inner else value})
    return parse(recipes.merge(OWN, overrides))


def refusal(**changes: object) -> str:
    with pytest.raises(ThawError) as caught:
        consistency.check(params(**changes))
    text = str(caught.value)
    assert "\n" not in text
    assert text.startswith("params.yaml: ")
    return text.removeprefix("params.yaml: ")


def test_the_repositorys_own_parameters_go_together() -> None:
    consistency.check(params())


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"fine_tune_at": 400}, "has 154 layers; give 0 to 153, a layer's name, or null"),
        ({"fine_tune_at": "block_13_expnd"}, "no layer of that name; give one such as block_13_e"),
        ({"cache__layer": 400}, "has 154 layers; give 0 to 153, a layer's name, or pixels"),
        ({"cache__layer": "block_10"}, "cache.layer: block_10: MobileNetV2 has no layer of that"),
        ({"feature_layer": 400}, "has 154 layers; give 0 to 153"),
        ({"feature_layer": "block_11_add", "fine_tune_at": 150}, "cut at feature_layer block_11_"),
        ({"feature_layer": "block_5_add"}, "cache.layer: block_10_project_BN: MobileNetV2, cut at"),
        ({"feature_layer": "block_11_depthwise"}, "no layer of MobileNetV2 through which everyth"),
        ({"base_model": "MobileNetv2"}, "no such network in keras.applications or among Thaw's"),
        ({"base_model": "ConvNeXtTiny"}, "ConvNeXtTiny has no layer of that name; give one such"),
        ({"base_model": "onnx:a.onnx"}, "fine_tune_at: 100: an ONNX file can't be trained on; s"),
        ({"base_model": "onnx:a.onnx", "fine_tune_at": None}, "set cache.layer: features, or "),
        ({"base_model": "onnx:a.onnx", "fine_tune_at": None, "cache__layer": "features"},
         "cache.bottleneck: blocks: of an ONNX file no blocks are known; set cache.bottleneck"),
        ({"base_model": "onnx:a.onnx", "fine_tune_at": None, "cache__layer": "pixels",
          "cache__bottleneck": "full", "network__l2": 0.1}, "network.l2: 0.1: onnx:a.onnx has no"),
        ({"base_model": "VGG16", "weights": "random"}, "no layer of that name; give one such as "),
        ({"base_model": "Xception", "image_size": 64, "cache__layer": "pixels", "fine_tune_at": 0},
         "image_size: 64: Xception takes no pictures below 71 pixels; give a larger one"),
        ({"base_model": "VGG16", "cache__layer": "block5_pool", "fine_tune_at": "block5_conv1",
          "fine_tune__train": "scales"}, "VGG16 has neither normalisations nor depthwise convolut"),
        ({"network__l2": 0.1}, "network.l2: 0.1: MobileNetV2 has no such option, only cifar10_cnn"),
        ({"network__batch_norm": True}, "network.batch_norm: true: MobileNetV2 has no such optio"),
        ({"head__pooling": "flatten", "cache__bottleneck": "pooled"}, "set cache.bottleneck: full"),
        ({"head__pooling": "flatten", "head__epochs": 0, "head__standardize": False}, "whole feat"),
        ({"head__epochs": 0, "fine_tune_at": None}, "with fine_tune_at: null nothing would be tr"),
        ({"head__classifier": "svm", "head__hidden": [8]}, "head.classifier: svm has no hidden la"),
    ],
    ids=str,
)  # fmt: skip
def test_what_would_fail_later_is_refused(changes: dict, told: str) -> None:
    assert told in refusal(**changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"feature_layer": "block_11_add", "fine_tune_at": "block_11_add"},
        {"feature_layer": 1, "cache__layer": 1, "fine_tune_at": 0},
        {"cache__layer": "pixels", "fine_tune_at": "Conv1"},
        {"head__classifier": "svm", "head__epochs": 0, "fine_tune_at": None},
        {"head__pooling": "flatten", "cache__bottleneck": "full"},
        {"base_model": "onnx:a.onnx", "fine_tune_at": None, "cache__layer": "features",
         "cache__bottleneck": "pooled"},
        {"base_model": "cifar10_cnn", "network__batch_norm": True, "cache__layer": "block1_norm1",
         "fine_tune_at": 0},
        {"base_model": "Xception", "image_size": 71, "cache__layer": "pixels"},
    ],
    ids=str,
)  # fmt: skip
def test_what_goes_together_is_accepted(changes: dict) -> None:
    consistency.check(params(**changes))


def test_all_contradictions_are_told_at_once() -> None:
    text = refusal(fine_tune_at=400, head__pooling="flatten")
    assert re.findall(r"(fine_tune_at|head.pooling): ", text) == ["fine_tune_at", "head.pooling"]


@pytest.mark.parametrize("path", sorted((ROOT / "recipes").glob("*.yaml")), ids=lambda p: p.stem)
def test_every_recipe_is_checked_and_goes_together(
    path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    recipe = recipes.read(ROOT / "recipes", path.stem)
    workspace.check_params(parse(recipes.merge(OWN, recipe.params)))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"dataset": "unknown"}, "dataset: unknown: datasets/ has no unknown.yaml; give one such"),
        ({"dataset": "cifar"}, "give one such as cifar10"),
        ({"weights": "pipy"}, "pretrained/MobileNetV2.yaml has none of that name; give pypi, imag"),
        ({"base_model": "cifar10_cnn", "weights": "imagenet", "cache__layer": 1,
          "fine_tune_at": 0}, "has none of that name; give random, random:1 (of seed 1), or the p"),
    ],
    ids=str,
)  # fmt: skip
def test_a_dataset_or_weights_that_are_not_there(
    changes: dict, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    with pytest.raises(ThawError) as caught:
        workspace.check_params(params(**changes), "recipes/x.yaml over params.yaml")
    assert told in str(caught.value)
    assert str(caught.value).startswith("recipes/x.yaml over params.yaml: ")


def test_the_dataset_s_answer_names_those_that_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    with pytest.raises(ThawError, match="cats_and_dogs, cifar10, elpv, folder"):
        workspace.check_params(params(dataset="zzz"))


def test_the_first_stage_checks_without_tensorflow() -> None:
    code = (
        "import sys; sys.path.insert(0, 'src'); import stages.check, workspace;"
        "workspace.read_params(); print({'tensorflow', 'keras', 'pandas'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "set()\n"


def test_the_layers_are_those_of_the_keras_that_is_pinned() -> None:
    """Else run tools/list_layers.py."""
    pinned = re.search(r"^keras==(\S+)", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    assert pinned
    assert (graphs.LAYERS / "keras.txt").read_text() == f"{pinned[1]}\n"


def test_every_list_of_layers_can_be_read() -> None:
    assert len(graphs.names()) > 30
    for name in graphs.names():
        graph = graphs.read(name, False, "base_model")
        assert len(set(graph.layers)) == len(graph.layers) > 10
        assert graph.passed[0] == 0
        assert graph.passed[-1] == len(graph.layers) - 1
