"""Which parameters count when: the table of `thaw.core.effects`, against what the library makes.

For each pair of parameters: one is changed in a run where the other has each of its values.
"""

import thaw.networks.quiet  # noqa: F401

import dataclasses
import functools
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import yaml

from places import ROOT
from thaw.core import consistency, effects, graphs
from thaw.core.errors import ThawError
from thaw.core.params import Params, Split, parse, plain
from thaw.pictures import presets
from thaw.pictures.augmentation import Augmentation
from thaw.training import heads, loop

OWN = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
VALUES: dict[str, list[Any]] = {
    "augment.preset": ["none", "symmetric", "photo"],
    "augment.views": [1, 2],
    "augment.flip": ["none", "horizontal"],
    "augment.quarter_turns": [False, True],
    "augment.rotation": [0.0, 0.2],
    "augment.shift": [0.0, 0.1],
    "augment.area": [1.0, 0.5],
    "augment.brightness": [0.0, 0.1],
    "augment.contrast": [0.0, 0.1],
    "augment.saturation": [0.0, 0.1],
    "augment.noise": [0.0, 5.0],
    "average_views": [False, True],
    "base_model": ["MobileNetV2", "VGG16", "EfficientNetB0"],
    "cache.layer": ["pixels", 1, 9],
    "head.classifier": ["dense", "svm", "logistic"],
    "head.hidden": [[], [4]],
    "head.standardize": [False, True],
    "head.dropout": [0.0, 0.5],
    "head.l2": [0.0, 0.1],
    "head.initializer": ["glorot_uniform", "he_normal"],
    "head.batch_norm": [False, True],
    "head.optimizer": ["adam", "adamw", "sgd", "rmsprop"],
    "head.learning_rate": [0.1, 0.2],
    "head.weight_decay": [0.0, 0.1],
    "head.momentum": [0.0, 0.9],
    "head.schedule": ["constant", "cosine"],
    "head.ema": [0.0, 0.9],
    "head.epochs": [0, 2, 3],
    "fine_tune_at": [None, 10],
    "fine_tune.optimizer": ["adam", "adamw", "sgd", "rmsprop"],
    "fine_tune.learning_rate": [0.1, 0.2],
    "fine_tune.weight_decay": [0.0, 0.1],
    "fine_tune.momentum": [0.0, 0.9],
    "fine_tune.schedule": ["constant", "cosine"],
    "fine_tune.epochs": [1, 2],
    "fine_tune.batch_norm": ["frozen", "trained"],
    "fine_tune.train": ["all", "scales"],
    "fine_tune.warmup": [0.0, 1.0],
    "fine_tune.layer_decay": [1.0, 0.8],
    "fine_tune.centralize": [False, True],
    "fine_tune.clip": [None, 1.0],
    "fine_tune.ema": [0.0, 0.9],
    "fine_tune.label_smoothing": [0.0, 0.1],
    "fine_tune.mixup": [0.0, 0.2],
    "fine_tune.precision": ["float32", "bfloat16"],
    "select": ["loss", "last", "f1"],
    "patience": [None, 1],
    "batch_size": [8, 16],
    "class_weight": ["none", "balanced"],
    "sampling": ["all", "balanced"],
    "threads": [1, 2],
    "seed": [1, 2],
    "tensorboard": [False, True],
    "weights": ["pypi", "random"],
    "onnx.mean": [[0.5, 0.5, 0.5], [0.4, 0.5, 0.6]],
    "onnx.std": [[0.5, 0.5, 0.5], [0.4, 0.5, 0.6]],
}
KINDS: list[dict[str, Any]] = [
    {},
    {"head.epochs": 0},
    {"fine_tune_at": None},
    {"head.classifier": "svm"},
    {"head.classifier": "svm", "fine_tune_at": None},
    {"head.classifier": "svm", "fine_tune_at": None, "cache.layer": "pixels"},
    {"base_model": "onnx:a.onnx", "fine_tune_at": None, "cache.layer": "features",
     "cache.bottleneck": "pooled"},
]  # fmt: skip
# What counts in any run: which pictures there are, and what the network sees of them.
ALWAYS = {"dataset", "source", "on_bad_image", "image_size", "resize", "feature_layer",
          "cache.bottleneck", "head.pooling", "bit_depth"}  # fmt: skip
# No part of results; the dataset decides of these, and a stage tells.
ELSEWHERE = {"cores", "engine", "cache.store", "split.held_out", "split.test", "split.seed",
             "split.group",
             "split.near_duplicates", "positive", "decide.calibrate", "decide.threshold",
             "decide.costs", "decide.reject_below", "decide.unlike"}  # fmt: skip
REFUSED = {f"network.{name}" for name in consistency.NETWORK}


def changed(params: Params, name: str, value: Any) -> Params:
    group, _, inner = name.partition(".")
    if inner:
        value = getattr(params, group).model_copy(update={inner: value})
    return params.model_copy(update={group: value})


def drawing(params: Params) -> dict[str, Any]:
    return presets.fill(params.augment.model_dump())


def sound(params: Params) -> bool:
    """Whether parameters go together."""
    try:
        consistency.check(params)
    except ThawError:
        return False
    return True


@functools.cache
def head_layers(spec: str, standardized: bool) -> str:
    moments = (np.zeros(3, np.float32), np.ones(3, np.float32)) if standardized else (None, None)
    layers = heads.layers(heads.HeadSpec(**json.loads(spec)), 2, *moments)
    return json.dumps([layer.get_config() for layer in layers], default=str)


@functools.cache
def optimizer(how: loop.Optimization) -> str:
    config = loop.optimizer_of(how).get_config() | {"name": how.optimizer}
    return f"{config} {how.schedule} {how.epochs} {how.warmup}"


def outcome(params: Params) -> list[Any]:
    """All that the models follow from, as the stages make it of the parameters."""
    drawn = Augmentation(**drawing(params))
    linear = params.head.classifier != "dense"
    graph, _, cached, thawed = consistency.layers(params)
    spec = plain(heads.HeadSpec, params.head).__dict__
    if linear:
        spec = spec | {"initializer": "overwritten"}  # the weights are those that were fitted
    known = json.dumps(spec | {"initializer": "zeros" if linear else spec["initializer"]})
    views = [dataclasses.replace(drawn, views=0 if cached == 0 else drawn.count), drawn.symmetries]
    found: list[Any] = [graph.name, params.class_weight, params.head.classifier]
    foreign = graphs.foreign(params.base_model)
    found.append([params.onnx.mean, params.onnx.std] if foreign else params.weights)
    chosen = [params.select, params.patience if params.select != "last" else None]
    found.append(drawn.symmetries if params.average_views else [(0, False, False)])
    whole = head_layers(known, params.head.standardize or linear)
    trainings = [params.threads, params.batch_size, params.tensorboard, params.seed, views]
    trainings.append(params.sampling)
    if linear:
        # scikit-learn fits kernel and bias on the cached views, of pixels the pictures themselves.
        found.append(views if cached else "pictures")
        kept = [each for each in json.loads(whole) if each["name"] in ("standardize", "logits")]
        found.append([{**each, "kernel_regularizer": None} for each in kept])
    else:
        found.append(whole)
        if params.head.epochs:
            found += [optimizer(plain(loop.Optimization, params.head)), trainings, chosen]
    found.append(params.fine_tune_at)
    if thawed is not None:
        above = list(zip(graph.kinds, range(len(graph.kinds)), strict=True))
        other = any(k == "Dropout" or (k == "BatchNormalization" and i >= thawed) for k, i in above)
        found += [optimizer(plain(loop.Optimization, params.fine_tune)), trainings, cached, whole]
        found.append(params.fine_tune.batch_norm if other else None)
        tuned = params.fine_tune
        found += [
            tuned.train,
            tuned.centralize,
            tuned.layer_decay,
            tuned.label_smoothing,
            tuned.mixup,
            tuned.precision,
            chosen,
        ]
    else:
        found.append("pixels" if cached == 0 else "a layer")
    return found


def contexts() -> Iterator[tuple[str, Params]]:
    """Runs of some kinds, in each of which one parameter has each of its values."""
    own = parse(OWN)
    for name, value in (("fine_tune_at", 10), ("cache.layer", 9)):
        own = changed(own, name, value)
    for kind in KINDS:
        run = own
        for name, value in kind.items():
            run = changed(run, name, value)
        for name, values in VALUES.items():
            for value in values:
                yield f"{kind}, {name}: {value}", changed(run, name, value)


def test_every_parameter_is_in_the_table() -> None:
    every = set(effects._values(parse(OWN).model_dump()))
    assert every == set(VALUES) | ALWAYS | ELSEWHERE | REFUSED
    assert set(effects.OFF) <= {*VALUES, "split.seed"}


@pytest.mark.parametrize("name", VALUES)
def test_a_parameter_counts_exactly_where_the_table_says(name: str) -> None:
    seen = set()
    for told, context in contexts():
        runs = [run for v in VALUES[name] if sound(run := changed(context, name, v))]
        if len(runs) < 2:
            continue  # where there is nothing to choose
        found = [outcome(run) for run in runs]
        counts = any(each != found[0] for each in found)
        for run in runs:
            idle = any(name in each.names for each in effects.idle(run, drawing(run)))
            assert idle != counts, f"{name} with {told}"
            seen.add(counts)
    assert seen


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, []),
        (
            {"fine_tune_at": None},
            [
                "fine_tune.optimizer, fine_tune.learning_rate, fine_tune.schedule, "
                "fine_tune.epochs, fine_tune.warmup, fine_tune.ema do nothing here "
                "(fine_tune_at: null)",
                "cache.layer: block_10_project_BN only takes room here, as any layer would "
                "(fine_tune_at: null)",
            ],
        ),
        (
            {"head.batch_norm": True, "head.momentum": 0.9},
            [
                "head.batch_norm does nothing here (head.hidden: [])",
                "head.momentum does nothing here (head.optimizer: adamw)",
            ],
        ),
        (
            {"augment.views": 16},
            ["augment.views: 16 does what 8 would here (augment.flip: both, "
             "augment.quarter_turns: true, nothing else of augment)"],
        ),
        ({"onnx.mean": [0.5, 0.5, 0.5]},
         ["onnx.mean does nothing here (base_model: MobileNetV2)"]),
        ({"base_model": "onnx:a.onnx", "fine_tune_at": None, "cache.layer": "features",
          "fine_tune.learning_rate": 0.1, "weights": "random", "cache.bottleneck": "pooled"},
         ["weights does nothing here (base_model is an ONNX file, which has its own)",
          "fine_tune.optimizer, fine_tune.learning_rate, fine_tune.schedule, "
          "fine_tune.epochs, fine_tune.warmup, fine_tune.ema do nothing here "
          "(fine_tune_at: null)"]),
        ({"augment.views": 16, "augment.rotation": 0.1}, []),
        ({"augment.views": 16, "augment.area": 0.9}, []),
        ({"augment.preset": "none", "augment.views": 1, "average_views": False}, []),
        (
            {"augment.preset": "none", "average_views": False},
            ["augment.views does nothing here (nothing else of augment is on)"],
        ),
        ({"augment.views": 16, "augment.preset": "photo"}, []),
        (
            {f"augment.{name}": value for name, value in presets.PRESETS["photo"].items()},
            ["augment.preset does nothing here (nothing else of augment is null)"],
        ),
        (
            {"head.classifier": "svm", "fine_tune_at": None, "cache.layer": "pixels",
             "augment.preset": "photo", "augment.shift": 0.1, "augment.noise": 5.0,
             "head.dropout": 0.0},
            [
                "head.optimizer, head.learning_rate, head.schedule, head.epochs do nothing here "
                "(head.classifier: svm)",
                "fine_tune.optimizer, fine_tune.learning_rate, fine_tune.schedule, "
                "fine_tune.epochs, fine_tune.warmup, fine_tune.ema do nothing here "
                "(fine_tune_at: null)",
                "augment.views does nothing here (cache.layer: pixels, so each is drawn anew)",
                "augment.rotation, augment.shift, augment.area, augment.brightness, "
                "augment.contrast, augment.saturation, augment.noise do nothing here "
                "(cache.layer: pixels, head.classifier: svm, fine_tune_at: null)",
            ],
        ),
        (
            {"base_model": "VGG16", "cache.layer": 10, "fine_tune_at": 15,
             "fine_tune.batch_norm": "trained"},
            ["fine_tune.batch_norm does nothing here (VGG16 has no BatchNormalization or Dropout "
             "above fine_tune_at)"],
        ),
    ],
)  # fmt: skip
def test_what_does_nothing_is_told(changes: dict[str, Any], told: list[str]) -> None:
    params = parse(OWN)
    for name, value in changes.items():
        params = changed(params, name, value)
    assert effects.notes(params, drawing(params)) == told


def test_a_preset_of_which_nothing_that_counts_is_taken_is_told() -> None:
    """A linear head on live views reads the pictures themselves, and predicts with symmetries."""
    params = parse(OWN)
    given = {"head.classifier": "svm", "fine_tune_at": None, "cache.layer": "pixels",
             "augment.preset": "photo", "augment.flip": "both"}  # fmt: skip
    for name, value in given.items():
        params = changed(params, name, value)
    for turns, told in ((None, False), (True, True)):
        run = changed(params, "augment.quarter_turns", turns)
        lines = effects.notes(run, drawing(run))
        assert any(line.startswith("augment.preset does nothing") for line in lines) == told


@pytest.mark.parametrize("flip", ["none", "horizontal", "vertical", "both"])
@pytest.mark.parametrize("turns", [False, True])
def test_as_many_symmetries_are_told_as_there_are(flip: str, turns: bool) -> None:
    params = changed(changed(parse(OWN), "augment.flip", flip), "augment.quarter_turns", turns)
    count = len(Augmentation(**drawing(params)).symmetries)
    for views, told in ((count, False), (count + 1, True)):
        params = changed(params, "augment.views", views)
        lines = effects.notes(params, drawing(params))
        said = f"does what {count} would" if count > 1 else "augment.views does nothing"
        assert any(said in line for line in lines) == told


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        ({"train"}, 0),
        ({"train", "validation"}, 1),
        ({"train", "test"}, 1),
        ({"train", "validation", "test"}, 3),
    ],
)
def test_shares_of_parts_that_a_dataset_brings_are_told(parts: set[str], told: int) -> None:
    lines = effects.split_notes(
        Split(held_out=0.3, test=0.5, group=None, near_duplicates="ignore", seed=2), parts
    )
    assert len(lines) == told
    assert (
        effects.split_notes(
            Split(held_out=None, test=None, group=None, near_duplicates="ignore", seed=1), parts
        )
        == []
    )
    if "validation" in parts:
        assert lines[0] == (
            "split.held_out: 0.3 does nothing here (the dataset brings its validation pictures "
            "along)"
        )
    if told == 3:
        assert lines[2] == (
            "split.seed: 2 moves no picture here (the dataset brings all three parts along); it "
            "still chooses views"
        )
