"""What the stages `train_head` and `fine_tune` share: the pictures in, the model out."""

import thaw.quiet  # noqa: F401

from collections.abc import Callable

import keras

import stage
from thaw import features, heads, models, training
from thaw.params import Params
from thaw.serialize import read_csv, write_bytes, write_csv, write_json

IDENTITY = (0, False, False)


def head_spec(params: Params) -> heads.HeadSpec:
    """The head that `params.yaml` describes."""
    head = params.head
    return heads.HeadSpec(
        head.pooling, head.hidden, head.dropout, head.l2, head.initializer, head.standardize
    )


def recipe(group: object) -> training.Recipe:
    """The optimisation that a group of `params.yaml` describes."""
    names = training.Recipe.__dataclass_fields__
    return training.Recipe(**{name: getattr(group, name) for name in names})


def bottleneck_views(
    params: Params, select: Callable[[heads.Array], heads.Array]
) -> tuple[training.Views, training.Views]:
    """Training and validation batches of cached bottleneck features, as the head reads them."""

    def read(name: str) -> tuple[training.Reader, int]:
        array = features.read(stage.FEATURES, f"{name}_bottleneck")
        return training.from_cache(array, select), array.shape[1]

    (train, views), (validation, _) = read("train"), read("validation")
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


def picture_views(params: Params, facts: features.Facts) -> tuple[training.Views, training.Views]:
    """Training and validation batches from the picture files, the same views as the cache has."""
    rows = read_csv(stage.SPLIT)

    def read(name: str, augmented: bool) -> training.Reader:
        paths = [row["path"] for row in rows if row["split"] == name]
        augmentation = facts.augmentation if augmented else None
        reader = training.from_pictures(
            stage.IMAGES, paths, facts.image_size, augmentation, facts.seed
        )
        return training.together({"pictures": reader})

    return _views(params, read("train", True), read("validation", False), facts.augmentation.count)


def _views(
    params: Params, train: training.Reader, validation: training.Reader, views: int
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
        ),
        training.Views(
            validation,
            features.read(stage.FEATURES, "validation_labels"),
            batch_size=params.batch_size,
        ),
    )


def write(
    name: str,
    params: Params,
    classifier: keras.Model,
    facts: features.Facts,
    history: list[tuple[float, ...]],
    validation: dict[str, float] | None = None,
) -> None:
    """Write `models/{name}.keras` and `.onnx`, `metrics/{name}.json` and `plots/{name}.csv`."""
    models.save(classifier, stage.MODELS / f"{name}.keras")
    averaged = facts.augmentation.symmetries if params.average_views else [IDENTITY]
    about = {
        "classes": facts.classes,
        "image_size": facts.image_size,
        "symmetries": averaged,
    }
    write_bytes(stage.MODELS / f"{name}.onnx", models.to_onnx(classifier, about))
    last = dict(zip(training.HISTORY, history[-1], strict=True)) if history else validation or {}
    trainable = sum(weight.shape.num_elements() for weight in classifier.trainable_weights)
    metrics = {column: value for column, value in last.items() if column != "epoch"}
    metrics |= {
        "epochs": len(history),
        "parameters": classifier.count_params(),
        "trainable_parameters": trainable,
        "trainable_variables": len(classifier.trainable_weights),
    }
    write_json(stage.METRICS / f"{name}.json", metrics)
    write_csv(stage.PLOTS / f"{name}.csv", training.HISTORY, history)
    print(
        f"{metrics['trainable_parameters']:,} of {metrics['parameters']:,} parameters trained, "
        f"in {metrics['trainable_variables']} variables"
    )
