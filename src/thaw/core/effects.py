"""Which parameters count when: those that do nothing are told, and nobody waits for an effect."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from thaw.core import consistency, graphs
from thaw.core.params import Params, Split

OFF: dict[str, Any] = {  # values that ask for nothing, of which nothing is told
    "average_views": False,
    "batch_size": 32,
    "head.batch_norm": False,
    "head.dropout": 0.0,
    "head.ema": 0.0,
    "head.initializer": "glorot_uniform",
    "head.l2": 0.0,
    "head.momentum": 0.0,
    "head.standardize": True,
    "head.weight_decay": 0.004,
    "fine_tune.batch_norm": "frozen",
    "fine_tune.train": "all",
    "fine_tune.momentum": 0.0,
    "fine_tune.weight_decay": 0.004,
    "fine_tune.warmup": 0.0,
    "fine_tune.layer_decay": 1.0,
    "fine_tune.centralize": False,
    "fine_tune.clip": None,
    "fine_tune.ema": 0.0,
    "fine_tune.label_smoothing": 0.0,
    "fine_tune.mixup": 0.0,
    "fine_tune.precision": "float32",
    "weights": "pypi",
    "onnx.mean": [0.485, 0.456, 0.406],
    "onnx.std": [0.229, 0.224, 0.225],
    "select": "loss",
    "sampling": "all",
    "augment.preset": "none",
    "augment.views": 1,
    "augment.flip": "none",
    "augment.quarter_turns": False,
    "augment.rotation": 0.0,
    "augment.shift": 0.0,
    "augment.area": 1.0,
    "augment.brightness": 0.0,
    "augment.contrast": 0.0,
    "augment.saturation": 0.0,
    "augment.noise": 0.0,
    "tensorboard": False,
    "threads": 2,
    "seed": 1,
    "split.seed": 1,
}
TUNED = ("train", "warmup", "layer_decay", "centralize", "clip", "ema", "label_smoothing", "mixup",
         "precision")  # fmt: skip
SYMMETRIES = ("flip", "quarter_turns")
DRAWN = ("rotation", "shift", "area", "brightness", "contrast", "saturation", "noise")  # each view
BY_OPTIMIZER = ("optimizer", "learning_rate", "weight_decay", "momentum", "schedule")


@dataclass(frozen=True)
class Idle:
    """Parameters that do nothing, and the values of others because of which."""

    names: tuple[str, ...]
    because: str


def idle(params: Params, drawing: Mapping[str, Any]) -> Iterator[Idle]:
    """All parameters that do nothing with these values of the others.

    But for `network`, whose options other networks refuse, and `split`, of which the dataset's
    parts decide.

    Args:
        params: as in `params.yaml`.
        drawing: the group `augment` with the preset's values filled in.
    """
    head = params.head
    linear = head.classifier != "dense"
    classifier = f"head.classifier: {head.classifier}"
    kept = params.fine_tune_at is None
    live = params.cache.layer in ("pixels", 0)
    if graphs.foreign(params.base_model):
        yield Idle(("weights",), "base_model is an ONNX file, which has its own")
    else:
        yield Idle(_of("onnx", "mean", "std"), f"base_model: {params.base_model}")
    if linear:
        own = (*BY_OPTIMIZER, "ema", "epochs", "standardize", "initializer", "batch_norm")
        yield Idle(_of("head", *own), classifier)
    elif head.epochs == 0:
        yield Idle(_of("head", *BY_OPTIMIZER, "ema"), "head.epochs: 0")
    if linear and kept:
        rest = ("head.dropout", "head.l2", "batch_size", "sampling", "seed", "threads")
        because = f"{classifier}, fine_tune_at: null"
        yield Idle((*rest, "tensorboard"), because)
    if kept and (linear or head.epochs == 0):
        because = f"{classifier}, fine_tune_at: null"
        yield Idle(("select", "patience"), because)
    elif params.select == "last":
        yield Idle(("patience",), "select: last")
    if not head.hidden:
        yield Idle(("head.batch_norm",), "head.hidden: []")
    if kept:
        yield Idle(
            _of("fine_tune", *BY_OPTIMIZER, "epochs", "batch_norm", *TUNED), "fine_tune_at: null"
        )
    elif not _normalises(params):
        because = f"{params.base_model} has no BatchNormalization or Dropout above fine_tune_at"
        yield Idle(("fine_tune.batch_norm",), because)
    for group, values in (("head", head), ("fine_tune", params.fine_tune)):
        because = f"{group}.optimizer: {values.optimizer}"
        if values.optimizer != "adamw":
            yield Idle((f"{group}.weight_decay",), because)
        if values.optimizer not in ("rmsprop", "sgd"):
            yield Idle((f"{group}.momentum",), because)
    asked = [n for n in (*SYMMETRIES, *DRAWN) if getattr(params.augment, n) is None]
    because = "nothing else of augment is null"
    if live:
        yield Idle(("augment.views",), f"cache.layer: {params.cache.layer}, so each is drawn anew")
        if linear and kept:
            because = f"cache.layer: {params.cache.layer}, {classifier}, fine_tune_at: null"
            yield Idle(_of("augment", *DRAWN), because)
            asked = [name for name in asked if name in SYMMETRIES]
            if not params.average_views:
                because += ", average_views: false"
                yield Idle(_of("augment", *SYMMETRIES), because)
                asked = []
    if not asked:  # the preset for any value
        yield Idle(("augment.preset",), because)
    if _symmetries(drawing) == 1:
        if not live and _only_symmetries(drawing):
            yield Idle(("augment.views",), "nothing else of augment is on")
        yield Idle(("average_views",), "augment.flip: none, augment.quarter_turns: false")


def _of(group: str, *names: str) -> tuple[str, ...]:
    return tuple(f"{group}.{name}" for name in names)


def notes(params: Params, drawing: Mapping[str, Any]) -> list[str]:
    """What is to be told of parameters that do nothing, a sentence a reason; see `idle`."""
    values = _values(params.model_dump()) | {f"augment.{n}": v for n, v in drawing.items()}
    told: set[str] = set()
    lines = []
    for each in idle(params, drawing):
        names = [n for n in each.names if n not in told and OFF.get(n) != values[n]]
        told.update(each.names)
        if names:
            does = "does" if len(names) == 1 else "do"
            lines.append(f"{', '.join(names)} {does} nothing here ({each.because})")
    return lines + list(_partly(params, drawing))


def split_notes(split: Split, parts: Collection[str]) -> list[str]:
    """What is to be told of `split`, which divides what the dataset doesn't bring divided."""
    shares = (("validation", "held_out", split.held_out), ("test", "test", split.test))
    lines = [
        f"split.{name}: {share:g} does nothing here (the dataset brings its {part} pictures along)"
        for part, name, share in shares
        if part in parts and share is not None
    ]
    if split.seed != OFF["split.seed"] and {"train", "validation", "test"} == {*parts}:
        lines.append(
            f"split.seed: {split.seed} moves no picture here (the dataset brings all three parts "
            "along); it still chooses views"
        )
    return lines


def _partly(params: Params, drawing: Mapping[str, Any]) -> Iterator[str]:
    """Of parameters of which not every value does something else."""
    views, count = params.augment.views, _symmetries(drawing)
    live = params.cache.layer in ("pixels", 0)
    if _only_symmetries(drawing) and not live and views > count > 1:
        turns = str(drawing["quarter_turns"]).lower()
        yield (
            f"augment.views: {views} does what {count} would here (augment.flip: "
            f"{drawing['flip']}, augment.quarter_turns: {turns}, nothing else of augment)"
        )
    foreign = graphs.foreign(params.base_model)
    if params.fine_tune_at is None and not live and not foreign:
        yield (
            f"cache.layer: {params.cache.layer} only takes room here, as any layer would "
            "(fine_tune_at: null)"
        )


def _only_symmetries(drawing: Mapping[str, Any]) -> bool:
    return all(drawing[name] == OFF[f"augment.{name}"] for name in DRAWN)


def _symmetries(drawing: Mapping[str, Any]) -> int:
    flip = drawing["flip"]
    if drawing["quarter_turns"]:
        return 4 if flip == "none" else 8
    return {"none": 1, "both": 4}.get(flip, 2)


def _normalises(params: Params) -> bool:
    """Whether what is trained has layers that are otherwise in training than in inference."""
    graph, last, cached, thawed = consistency.layers(params)
    assert thawed is not None
    start = cached if cached < thawed else max(thawed - 1, 0)
    boundary = max(index for index in graph.passed if index <= start)
    return any(
        kind == "Dropout" or (kind == "BatchNormalization" and index >= thawed)
        for index, kind in enumerate(graph.kinds[: last + 1])
        if index > boundary
    )


def _values(groups: dict[str, Any]) -> dict[str, Any]:
    """By dotted name."""
    found: dict[str, Any] = {}
    for name, value in groups.items():
        inner = value if isinstance(value, dict) else None
        found |= {f"{name}.{n}": v for n, v in inner.items()} if inner else {name: value}
    return found
