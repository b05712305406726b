"""Stage `train_head`: a head on the cached bottleneck features, to models/head.*."""

from collections.abc import Sequence

import keras

import stage
import trained
from thaw import backbones, features, heads, models, training
from thaw.checkpoints import Checkpoint
from thaw.params import Params


def main() -> None:
    params = stage.read_params()
    facts = features.read_facts(stage.FEATURES)
    training.prepare(params.seed, params.threads)
    moments: tuple[heads.Array, heads.Array] | tuple[None, None] = (None, None)
    if params.head.standardize:
        select = heads.selector(params.head.pooling, facts.bottleneck)
        moments = heads.moments(features.read(stage.FEATURES, "train_bottleneck"), select)
    head = heads.layers(trained.head_spec(params), len(facts.classes), *moments)
    if params.head.epochs:
        history, checkpoint = fit(params, facts, head)
    else:
        print("head.epochs is 0: the head keeps its first weights, for stage fine_tune to train")
        history, checkpoint = [], None
    base = trained.base_model(params, facts)
    base.trainable = False
    if facts.bottleneck == "blocks":
        base = backbones.with_blocks(base)
    classifier = models.classifier(base, head, params.head.pooling, facts.image_size)
    trained.write("head", params, classifier, facts, history)
    if checkpoint:
        checkpoint.remove()


def fit(
    params: Params, facts: features.Facts, head: Sequence[keras.Layer]
) -> tuple[list[tuple[float, ...]], Checkpoint]:
    select = heads.selector(params.head.pooling, facts.bottleneck)
    train, validation = trained.bottleneck_views(params, facts, select)
    model = models.head_alone(head, train[0][0].shape[1:])
    checkpoint = trained.checkpoint("head", params, model, [stage.FEATURES, stage.WEIGHTS])
    recipe = trained.recipe(params.head)
    logs = stage.logs("head") if params.tensorboard else None
    history = training.fit(model, train, validation, recipe, checkpoint=checkpoint, logs=logs)
    return history, checkpoint


if __name__ == "__main__":
    stage.run(main)
