"""What the stages `train_head` and `fine_tune` share: the pictures in, the model out."""

import thaw.quiet  # noqa: F401

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import keras

import stage
from thaw import (
    backbones,
    checkpoints,
    features,
    heads,
    images,
    models,
    networks,
    runtime,
    training,
)
from thaw.arrays import forget
from thaw.errors import ThawError
from thaw.params import Params
from thaw.serialize import read_csv, write_bytes, write_csv, write_json

IDENTITY = (0, False, False)
LIVE = 2**31  # views of a picture, where none need ever come back


def head_spec(params: Params) -> heads.HeadSpec:
    """The head that `params.yaml` describes."""
    head = params.head
    return heads.HeadSpec(
        head.pooling,
        head.hidden,
        head.dropout,
        head.l2,
        head.initializer,
        head.standardize,
        head.batch_norm,
    )


def base_model(params: Params, facts: features.Facts) -> keras.Model:
    """The base model of the cache, with the weights that stage `weights` wrote."""
    options = networks.Options(**params.network.model_dump())
    return backbones.load(
        facts.base_model, facts.image_size, stage.WEIGHTS, facts.feature_layer, options
    )


def top(
    params: Params, classifier: keras.Model, base: keras.Model, boundary: int | None
) -> keras.Model:
    """What fine-tuning trains: the classifier above a layer, None for all of it."""
    training_mode = params.fine_tune.batch_norm == "trained"
    return models.top(classifier, base, boundary, params.head.pooling, training_mode=training_mode)


def recipe(group: object) -> training.Recipe:
    """The optimisation that a group of `params.yaml` describes."""
    names = training.Recipe.__dataclass_fields__
    return training.Recipe(**{name: getattr(group, name) for name in names})


def head_epochs(params: Params) -> int:
    """How many epochs the head's training counts as: one where scikit-learn fits it."""
    return params.head.epochs if params.head.classifier == "dense" else 1


def checkpoint(
    name: str, params: Params, model: keras.Model, inputs: Sequence[Path]
) -> checkpoints.Checkpoint:
    """Where the training of a model that is not trained yet keeps its state after each epoch."""
    # Of the number of cores nothing follows; a run that was killed may go on with fewer.
    settings = str(dict(params) | {"cores": None})
    key = checkpoints.key(f"{name} {settings}", model, inputs)
    return checkpoints.Checkpoint(stage.UNFINISHED / f"{name}.npz", key)


def bottleneck_views(
    params: Params, facts: features.Facts, select: Callable[[heads.Array], heads.Array]
) -> tuple[training.Views, training.Views]:
    """Training and validation batches of bottleneck features, as the head reads them.

    From the cache; where it holds pixels, of views drawn anew each epoch.
    """

    def cached(name: str) -> tuple[training.Reader, int]:
        array = features.read(stage.FEATURES, f"{name}_bottleneck")
        return training.from_cache(array, select), array.shape[1]

    (train, views), (validation, _) = cached("train"), cached("validation")
    if facts.live:
        base = base_model(params, facts)
        extractor = features.extractor(base, facts.image_size, 0, facts.bottleneck)
        frozen = runtime.session(models.to_onnx(extractor))
        live = training.from_pictures(_pixels(facts, "train", True), ["bottleneck"], frozen)
        views = LIVE

        def train(rows: training.Numbers, turns: training.Numbers) -> heads.Array:
            return select(live(rows, turns)["bottleneck"])

    return _views(params, train, validation, views)


def boundary_views(params: Params, width_below: int) -> tuple[training.Views, training.Views]:
    """Training and validation batches from the cache for `models.top`."""

    def read(name: str) -> tuple[training.Reader, int]:
        boundary = features.read(stage.FEATURES, f"{name}_boundary")
        readers = {"boundary": training.from_cache(boundary)}
        if width_below:
            pooled = features.read(stage.FEATURES, f"{name}_bottleneck")
            readers["below"] = training.from_cache(pooled[..., :width_below])
        return training.together(readers), boundary.shape[1]

    (train, views), (validation, _) = read("train"), read("validation")
    return _views(params, train, validation, views)


def picture_views(
    params: Params, facts: features.Facts, bottom: keras.Model | None
) -> tuple[training.Views, training.Views]:
    """Training and validation batches for `models.top`, from pictures.

    They're the same views as the cache has, or, where it holds pixels, drawn anew each epoch.

    Args:
        params: the parameters.
        facts: what is cached.
        bottom: the frozen layers below the top; None where there are none.
    """
    frozen = bottom and runtime.session(models.to_onnx(bottom))
    names = ("boundary", "below")[: len(bottom.outputs)] if bottom else ["pictures"]
    train, validation = (
        training.from_pictures(_pixels(facts, name, name == "train"), names, frozen)
        for name in ("train", "validation")
    )
    if facts.live:
        return _views(params, train, validation, LIVE, head_epochs(params))
    return _views(params, train, validation, facts.augmentation.count)


def _pixels(
    facts: features.Facts, name: str, augmented: bool
) -> Callable[[int, int], images.Pixels]:
    """From a picture's number and its view's to (S, S, 3): cached pixels, or the picture's file."""
    if facts.live:
        cached = features.read(stage.FEATURES, f"{name}_boundary")
        paths = [str(number) for number in range(len(cached))]
    else:
        paths = [row["path"] for row in read_csv(stage.SPLIT) if row["split"] == name]

    def pixels(number: int, turn: int) -> images.Pixels:
        one: images.Pixels
        if facts.live:
            one = cached[number, 0]
            forget(cached)
        else:
            one = images.load(stage.IMAGES / paths[number], facts.image_size, facts.resize)
        if not augmented:
            return one
        return images.view(one, facts.augmentation, turn, facts.seed, paths[number])

    return pixels


def _views(
    params: Params,
    train: training.Reader,
    validation: training.Reader,
    views: int,
    first_epoch: int = 0,
) -> tuple[training.Views, training.Views]:
    labels = features.read(stage.FEATURES, "train_labels")
    balanced = params.class_weight == "balanced"
    return (
        training.Views(
            train,
            labels,
            batch_size=params.batch_size,
            views=views,
            weights=training.balanced(labels) if balanced else None,
            seed=params.seed,
            first_epoch=first_epoch,
        ),
        training.Views(
            validation,
            features.read(stage.FEATURES, "validation_labels"),
            batch_size=params.batch_size,
        ),
    )


def show(name: str, history: training.Rows, **more: float) -> None:
    """Write `plots/{name}.csv` and `metrics/{name}.json` as far as a training is, for who watches.

    Args:
        name: head or model.
        history: a row an epoch so far.
        more: metrics to note after those of the last epoch.

    Raises:
        ThawError: when a loss is no number any more, from which no training comes back.
    """
    last = dict(zip(training.HISTORY, history[-1], strict=True)) if history else {}
    if not all(map(math.isfinite, last.values())):
        group = "head" if name == "head" else "fine_tune"
        raise ThawError(
            f"the loss of epoch {len(history)} is no number; set a smaller {group}.learning_rate "
            "in params.yaml"
        )
    metrics = {column: value for column, value in last.items() if column != "epoch"}
    write_csv(stage.PLOTS / f"{name}.csv", training.HISTORY, history)
    write_json(stage.METRICS / f"{name}.json", metrics | (more or {"epochs": len(history)}))


def write(
    name: str,
    params: Params,
    classifier: keras.Model,
    facts: features.Facts,
    history: training.Rows,
    **more: float,
) -> None:
    """Write `models/{name}.keras` and `.onnx`, `metrics/{name}.json` and `plots/{name}.csv`.

    Args:
        name: head or model.
        params: the parameters.
        classifier: the whole model.
        facts: what is cached.
        history: a row an epoch, the columns of `training.HISTORY`.
        more: metrics to note beside those of the last epoch.
    """
    models.save(classifier, stage.MODELS / f"{name}.keras")
    averaged = facts.augmentation.symmetries if params.average_views else [IDENTITY]
    about = {
        "classes": facts.classes,
        "image_size": facts.image_size,
        "resize": facts.resize,
        "symmetries": averaged,
    }
    write_bytes(stage.MODELS / f"{name}.onnx", models.to_onnx(classifier, about))
    parameters = classifier.count_params()
    trainable = sum(weight.shape.num_elements() for weight in classifier.trainable_weights)
    variables = len(classifier.trainable_weights)
    show(
        name,
        history,
        **more,
        epochs=len(history),
        parameters=parameters,
        trainable_parameters=trainable,
        trainable_variables=variables,
    )
    print(f"{trainable:,} of {parameters:,} parameters trainable, in {variables} variables")
