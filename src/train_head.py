"""Stage `train_head`: a head on the cached bottleneck features, to models/head.*."""

import thaw.quiet  # noqa: F401

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

import stage
import trained
from thaw import backbones, features, heads, models, training
from thaw.checkpoints import Checkpoint
from thaw.params import Params

Part = tuple[NDArray[Any], NDArray[np.int64]]  # cached features and labels


def main() -> None:
    params = stage.read_params()
    facts = features.read_facts(stage.FEATURES)
    training.prepare(params.seed, params.threads)
    head = layers(params, facts)
    checkpoint = None
    noted = {}
    if params.head.classifier != "dense":
        select = heads.selector(params.head.pooling, facts.bottleneck)
        history, noted["C"] = fit_linear(params, head, select, read("train"), read("validation"))
    elif params.head.epochs:
        history, checkpoint = fit(params, facts, head)
    else:
        print("head.epochs is 0: the head keeps its first weights, for stage fine_tune to train")
        history = []
    base = trained.base_model(params, facts)
    base.trainable = False
    if facts.bottleneck == "blocks":
        base = backbones.with_blocks(base)
    classifier = models.classifier(base, head, params.head.pooling, facts.image_size)
    trained.write("head", params, classifier, facts, history, **noted)
    if checkpoint:
        checkpoint.remove()


def layers(params: Params, facts: features.Facts) -> list[keras.Layer]:
    """The head's layers, not trained."""
    moments: tuple[heads.Array, heads.Array] | tuple[None, None] = (None, None)
    if params.head.standardize or params.head.classifier != "dense":
        select = heads.selector(params.head.pooling, facts.bottleneck)
        moments = heads.moments(features.read(stage.FEATURES, "train_bottleneck"), select)
    return heads.layers(trained.head_spec(params), len(facts.classes), *moments)


def fit(
    params: Params, facts: features.Facts, head: Sequence[keras.Layer]
) -> tuple[training.Rows, Checkpoint]:
    """Train the head by the optimizer: its history, and what it may be continued from."""
    select = heads.selector(params.head.pooling, facts.bottleneck)
    train, validation = trained.bottleneck_views(params, facts, select)
    model = models.head_alone(head, train[0][0].shape[1:])
    checkpoint = trained.checkpoint("head", params, model, [stage.FEATURES, stage.WEIGHTS])
    recipe = trained.recipe(params.head)
    logs = stage.logs("head") if params.tensorboard else None
    show = partial(trained.show, "head")
    history = training.fit(
        model, train, validation, recipe, checkpoint=checkpoint, logs=logs, show=show
    )
    return history, checkpoint


def fit_linear(
    params: Params,
    head: Sequence[keras.Layer],
    select: Callable[[heads.Array], heads.Array],
    train: Part,
    validation: Part,
) -> tuple[training.Rows, float]:
    """Give the head's logits the weights of a linear classifier, fitted on all cached views.

    Returns:
        Its history, as one epoch, and the C chosen.
    """
    from thaw import linear  # here, as importing scikit-learn takes a second

    kind = params.head.classifier
    standardize, logits = head[0], head[-1]
    width = len(standardize.scale)
    linear.check_size(train[0].shape[0] * train[0].shape[1], width, kind)

    def rows(part: Part) -> linear.Rows:
        cached, labels = part
        balanced = params.class_weight == "balanced"
        weights = training.balanced(labels) if balanced else np.ones(len(labels), np.float32)
        views = cached.shape[1]
        values = heads.standardized(cached, select, standardize)
        return linear.Rows(values, labels.repeat(views), weights.repeat(views))

    to_fit, to_choose = rows(train), rows(validation)
    fitted = linear.fit(kind, to_fit, to_choose)
    for c, loss in fitted.losses.items():
        chosen = ", chosen" if c == fitted.c else ""
        print(f"{kind}, C = {c:g}: validation cross-entropy {loss:.4f}{chosen}")
    models.head_alone(head, (width,))
    logits.set_weights([fitted.kernel, fitted.bias])
    train_loss, train_accuracy = linear.score(fitted, to_fit)
    counted_alike = replace(to_choose, weights=np.ones_like(to_choose.weights))
    loss, accuracy = linear.score(fitted, counted_alike)
    return [(1, train_loss, loss, train_accuracy, accuracy)], fitted.c


def read(name: str) -> Part:
    """The cached bottleneck features and labels of a split."""
    bottleneck = features.read(stage.FEATURES, f"{name}_bottleneck")
    return bottleneck, features.read(stage.FEATURES, f"{name}_labels")


if __name__ == "__main__":
    stage.run(main)
