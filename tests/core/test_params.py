import copy
import re

import pytest
import yaml
from pydantic import BaseModel

from places import ROOT
from thaw.core.errors import ThawError
from thaw.core.params import Params, parse

OWN = ROOT / "params.yaml"
VALID = """
dataset: elpv
source: null
on_bad_image: fail
base_model: MobileNetV2
weights: pypi
onnx: {mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5]}
network: {padding: same, l2: 0.0, initializer: glorot_uniform, batch_norm: false}
feature_layer: null
bit_depth: file
image_size: 224
fine_tune_at: 100
resize: stretch
positive: null
average_views: false
select: loss
patience: 3
class_weight: none
sampling: all
decide: {calibrate: true, threshold: null, costs: null, reject_below: null, unlike: 0.99}
batch_size: 32
seed: 1
threads: 2
tensorboard: false
cores: null
engine: local
split: {held_out: null, test: null, group: null, near_duplicates: ignore, seed: 1}
augment:
  preset: photo
  views: 8
  flip: both
  quarter_turns: true
  rotation: 0.0
  shift: 0.1
  area: 0.8
  brightness: 0.1
  contrast: 0.1
  saturation: 0.1
  noise: 5
cache: {layer: block_10_project_BN, bottleneck: pooled, store: null}
head:
  classifier: dense
  pooling: average
  hidden: []
  standardize: true
  dropout: 0.2
  l2: 0.0
  initializer: glorot_uniform
  batch_norm: false
  optimizer: adam
  learning_rate: 0.001
  weight_decay: 0.004
  momentum: 0.9
  schedule: constant
  ema: 0
  epochs: 10
fine_tune:
  optimizer: rmsprop
  learning_rate: 0.00001
  weight_decay: 0.0
  momentum: 0.0
  schedule: constant
  epochs: 3
  batch_norm: frozen
  train: scales
  warmup: 0
  layer_decay: 0.8
  centralize: false
  clip: 1
  ema: 0.99
  label_smoothing: 0.1
  mixup: 0.2
  precision: bfloat16
"""
NOT_TEXT = ["''", "3", "[elpv]", "true", "null"]
NOT_SHARE = ["0", "1", "-0.2", "1.5", ".nan", ".inf", "true", "some", "nan", "[0.2]"]
NOT_RATE = ["0", "-0.001", "11", ".nan", ".inf", "true", "fast", "1e-4x", "null"]
NOT_EPOCHS = ["0", "-1", "10001", "2.5", "3.0", "'3'", "true", "null", "many"]
NOT_L2 = ["-0.1", "1.1", ".nan", "true", "none", "null"]
NOT_BELOW_1 = ["-0.1", "1", ".nan", "true", "some", "null"]
NOT_BOOLEAN = ["1", "0", "'true'", "maybe", "null"]
NOT_SEED = ["-1", "4294967296", "0.5", "'1'", "true", "null"]
NOT_RULE = [
    "''",
    "3",
    "true",
    "[a]",
    "patient",
    "'column:'",
    "'column: a'",
    "folder:0",
    "folder:1.5",
]
NOT_RULE += ["folder:one", "name:abc", "name:(a", "name:(a)(b)", "Column:patient"]
NOT_DECIDED = ["0", "1", "-0.1", "true", ".nan", "half", "'recall'", "'recall:0'"]
NOT_DECIDED += ["'recall:1.5'", "'recall:x'", "'f1:0.9'", "'accuracy:0.00'", "[0.5]"]
NOT_GROUP = ["null", "5", "[]", "text", "true"]
# As written in params.yaml: for each key, values that are wrong there.
WRONG = {
    "dataset": NOT_TEXT,
    "source": ["''", "3", "[a, b]", "false"],
    "on_bad_image": ["ignore", "Fail", "1", "true", "null"],
    "base_model": NOT_TEXT,
    "weights": NOT_TEXT,
    "onnx": NOT_GROUP,
    "onnx.mean": ["0.5", "[0.5]", "[1, 2, 3, 4]", "[0.5, 0.5, true]", "[x, 0, 0]", "null"],
    "onnx.std": ["0.5", "[]", "[1, 1, 0]", "[1, 1, -1]", "[.nan, 1, 1]", "null"],
    "network": NOT_GROUP,
    "network.padding": ["full", "null", "1", "true"],
    "network.l2": NOT_L2,
    "network.initializer": ["glorot", "null", "1", "true"],
    "network.batch_norm": NOT_BOOLEAN,
    "bit_depth": ["7", "17", "12.0", "'12'", "auto", "true", "null"],
    "feature_layer": ["''", "0", "-1", "1.5", "true", "[100]", ".nan"],
    "image_size": ["31", "2049", "-224", "224.0", "'224'", "true", "[224, 224]", "null"],
    "fine_tune_at": ["''", "-1", "1.5", "true", "[100]", ".nan"],
    "resize": ["squeeze", "Crop", "null", "1", "true"],
    "average_views": NOT_BOOLEAN,
    "positive": ["''", "3", "[ok]", "true", "no"],
    "class_weight": ["equal", "null", "1", "true", "{sick: 0}", "{sick: true}", "[3]"],
    "sampling": ["none", "null", "true", "1"],
    "decide": NOT_GROUP,
    "decide.calibrate": NOT_BOOLEAN,
    "decide.threshold": NOT_DECIDED,
    "decide.costs": ["10", "true", "[1]", "{sick: 10}", "{sick: {ok: -1}}", "{sick: {ok: x}}"],
    "decide.reject_below": ["recall:0.9", *NOT_DECIDED],
    "decide.unlike": ["0", "1", "-0.5", "true", "some", ".nan"],
    "select": ["best", "null", "1", "true"],
    "patience": ["0", "-1", "1.5", "'3'", "true", "some"],
    "batch_size": ["0", "4097", "-1", "1.5", "'32'", "true", "null"],
    "seed": NOT_SEED,
    "tensorboard": NOT_BOOLEAN,
    "threads": ["0", "257", "1.5", "two", "true", "null"],
    "cores": ["0", "-1", "1.5", "'2'", "all", "true"],
    "engine": ["null", "true", "Ray", "dask", "1"],
    "split": NOT_GROUP,
    "split.held_out": NOT_SHARE,
    "split.group": NOT_RULE,
    "split.near_duplicates": ["null", "true", "keep", "1"],
    "split.seed": NOT_SEED,
    "split.test": NOT_SHARE,
    "augment": NOT_GROUP,
    "augment.views": ["0", "65", "-1", "1.5", "'8'", "true", "null"],
    "augment.preset": ["photos", "null", "true", "1"],
    "augment.flip": ["sideways", "true", "2"],
    "augment.quarter_turns": NOT_BOOLEAN[:-1],
    "augment.rotation": ["-0.1", "0.51", ".nan", "true", "some"],
    "augment.shift": ["-0.1", "0.51", ".nan", "true", "some"],
    "augment.area": ["0", "-0.5", "1.1", ".nan", "true", "some"],
    "augment.brightness": NOT_BELOW_1[:-1],
    "augment.contrast": NOT_BELOW_1[:-1],
    "augment.saturation": NOT_BELOW_1[:-1],
    "augment.noise": ["-0.1", "65", ".nan", "true", "some"],
    "cache": NOT_GROUP,
    "cache.layer": ["''", "1.5", "true", "null", "[3]", ".nan"],
    "cache.bottleneck": ["none", "null", "1", "true"],
    "cache.store": ["''", "1", "true", "[a]"],
    "head": NOT_GROUP,
    "head.classifier": ["SVM", "linear", "null", "1", "true"],
    "head.pooling": ["mean", "null", "1", "true"],
    "head.hidden": ["256", "[0]", "[65537]", "[-1]", "[1.5]", "['256']", "[true]", "null", "x"],
    "head.standardize": NOT_BOOLEAN,
    "head.dropout": ["-0.1", "1", ".nan", "true", "half", "null"],
    "head.l2": NOT_L2,
    "head.initializer": ["glorot", "null", "1", "true"],
    "head.batch_norm": NOT_BOOLEAN,
    "head.optimizer": ["Adam", "lion", "null", "1", "true"],
    "head.learning_rate": NOT_RATE,
    "head.weight_decay": NOT_BELOW_1,
    "head.momentum": NOT_BELOW_1,
    "head.schedule": ["linear", "null", "1", "true"],
    "head.ema": NOT_BELOW_1,
    "head.epochs": NOT_EPOCHS[1:],
    "fine_tune": NOT_GROUP,
    "fine_tune.optimizer": ["adagrad", "null", "1", "true"],
    "fine_tune.learning_rate": NOT_RATE,
    "fine_tune.weight_decay": NOT_BELOW_1,
    "fine_tune.momentum": NOT_BELOW_1,
    "fine_tune.schedule": ["step", "null", "1", "true"],
    "fine_tune.epochs": NOT_EPOCHS,
    "fine_tune.train": ["true", "null", "none", "scale"],
    "fine_tune.batch_norm": ["true", "false", "null", "frozn"],
    "fine_tune.warmup": ["-1", "1001", ".nan", "true", "null", "one"],
    "fine_tune.layer_decay": ["0", "1.1", "-0.8", ".nan", "true", "null", "some"],
    "fine_tune.centralize": NOT_BOOLEAN,
    "fine_tune.clip": ["0", "-1", ".nan", ".inf", "true", "one"],
    "fine_tune.ema": NOT_BELOW_1,
    "fine_tune.label_smoothing": NOT_BELOW_1,
    "fine_tune.mixup": ["-0.1", "11", ".nan", "true", "null", "some"],
    "fine_tune.precision": ["float16", "16", "null"],
}
NUMBERS = [
    "split.held_out",
    "split.test",
    "augment.rotation",
    "augment.shift",
    "augment.area",
    "augment.brightness",
    "augment.contrast",
    "augment.saturation",
    "augment.noise",
    "head.dropout",
    "network.l2",
    "head.l2",
    "head.learning_rate",
    "head.weight_decay",
    "head.momentum",
    "head.ema",
    "decide.threshold",
    "decide.reject_below",
    "decide.unlike",
    "fine_tune.learning_rate",
    "fine_tune.weight_decay",
    "fine_tune.momentum",
    "fine_tune.warmup",
    "fine_tune.layer_decay",
    "fine_tune.clip",
    "fine_tune.ema",
    "fine_tune.label_smoothing",
    "fine_tune.mixup",
]


def fields(model: type[BaseModel] = Params, prefix: str = "") -> dict[str, str]:
    """Every key, dotted, with the description that errors quote."""
    found = {}
    for name, field in model.model_fields.items():
        found[prefix + name] = field.description
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            found |= fields(field.annotation, f"{prefix}{name}.")
    return found


KEYS = fields()


def valid() -> dict:
    return yaml.safe_load(VALID)


def owner(values: dict, key: str) -> tuple[dict, str]:
    *groups, name = key.split(".")
    for group in groups:
        values = values[group]
    return values, name


def changed(key: str, text: str) -> dict:
    values = valid()
    group, name = owner(values, key)
    group[name] = yaml.safe_load(text)
    return values


def message(values: object) -> str:
    with pytest.raises(ThawError) as caught:
        parse(values)
    text = str(caught.value)
    assert "\n" not in text
    assert "Input should" not in text  # pydantic's own words
    return text


def test_valid_parameters_arrive_unchanged():
    assert parse(valid()).model_dump() == valid()


def test_the_repositorys_own_parameters_are_valid():
    parse(yaml.safe_load(OWN.read_text()))


def test_every_key_has_wrong_values_and_a_description():
    assert set(WRONG) == set(KEYS)
    assert all(len(values) >= 3 for values in WRONG.values())
    assert all(KEYS.values())


@pytest.mark.parametrize(("key", "text"), [(key, text) for key in WRONG for text in WRONG[key]])
def test_wrong_value_is_named_with_what_would_be_right(key: str, text: str):
    value = yaml.safe_load(text)
    shown = "null" if value is None else str(value).lower() if value in (True, False) else value
    if isinstance(value, int | float) and not isinstance(value, bool):
        shown = value
    assert message(changed(key, text)) == f"params.yaml: {key}: {shown}: give {KEYS[key]}"


@pytest.mark.parametrize("key", KEYS)
def test_missing_key_is_named(key: str):
    values = valid()
    group, name = owner(values, key)
    del group[name]
    assert message(values) == f"params.yaml: {key} is missing: give {KEYS[key]}"


@pytest.mark.parametrize("key", KEYS)
def test_misspelt_key_gets_a_suggestion(key: str):
    values = valid()
    group, name = owner(values, key)
    group[name + "s"] = group.pop(name)
    assert f"{key}s is not a parameter (did you mean {name}?)" in message(values)


@pytest.mark.parametrize(
    ("group", "known"), [("", "dataset"), ("cache", "layer, bottleneck, store")]
)
def test_unlike_key_gets_the_list_of_keys(group: str, known: str):
    values = valid()
    (values[group] if group else values)["zzzzzz"] = 1
    key = f"{group}.zzzzzz".lstrip(".")
    assert f"{key} is not a parameter (the parameters here are {known}" in message(values)


def test_numbers_lists_every_number():
    floats = {key for key in KEYS if isinstance(_nested(parse(valid()).model_dump(), key), float)}
    either = {"split.held_out", "split.test", "decide.threshold", "decide.reject_below"}
    assert floats | either == set(NUMBERS)


def _nested(values: dict, key: str) -> object:
    group, name = owner(values, key)
    return group[name]


@pytest.mark.parametrize("key", NUMBERS)
@pytest.mark.parametrize("text", ["1e-4", "'0.25'", "0.25"])
def test_number_may_be_written_with_an_exponent(key: str, text: str):
    found = _nested(parse(changed(key, text)).model_dump(), key)
    assert found == float(text.strip("'"))


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("source", "~/pictures"),
        ("image_size", "32"),
        ("fine_tune_at", "null"),
        ("fine_tune_at", "0"),
        ("fine_tune_at", "block_13_expand"),
        ("feature_layer", "1"),
        ("feature_layer", "block_5_add"),
        ("cache.layer", "0"),
        ("cache.layer", "pixels"),
        ("cores", "1"),
        ("engine", "ray"),
        ("cache.store", "s3://team/cache"),
        ("class_weight", "{sick: 3, healthy: 0.5}"),
        ("decide.threshold", "recall:0.95"),
        ("decide.threshold", "precision:1.0"),
        ("decide.costs", "{sick: {healthy: 10, dead: 0}}"),
        ("decide.reject_below", "coverage:0.8"),
        ("decide.unlike", "null"),
        ("head.hidden", "[256, 1]"),
        ("head.dropout", "0"),
        ("head.epochs", "0"),
        ("weights", "random:7"),
        ("network.l2", "1"),
        ("augment.rotation", "0.5"),
        ("augment.flip", "null"),
        ("augment.quarter_turns", "null"),
        ("augment.area", "1"),
        ("augment.brightness", "null"),
        ("seed", "4294967295"),
        ("split.seed", "0"),
    ],
)
def test_values_at_the_edge_are_accepted(key: str, text: str):
    assert _nested(parse(changed(key, text)).model_dump(), key) == yaml.safe_load(text)


def test_all_mistakes_are_told_at_once_and_each_once():
    values = copy.deepcopy(valid())
    values["seed"] = -1
    values["fine_tune_at"] = 1.5  # fails both branches of its union
    values["head"]["optimizer"] = "lion"
    text = message(values)
    assert re.findall(r"(seed|fine_tune_at|head\.optimizer): ", text) == [
        "fine_tune_at",
        "seed",
        "head.optimizer",
    ]


@pytest.mark.parametrize("values", [None, [], "text", 3])
def test_file_without_parameters_says_how_to_restore_it(values: object):
    assert "git checkout params.yaml" in message(values)
