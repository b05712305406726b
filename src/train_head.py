"""Stage `train_head`: a head on the cached bottleneck features, to models/head.*."""

import stage
import trained
from thaw import backbones, features, heads, models, training


def main() -> None:
    params = stage.read_params()
    facts = features.read_facts(stage.FEATURES)
    select = heads.selector(params.head.pooling, facts.bottleneck)
    training.prepare(params.seed, params.threads)
    cached = features.read(stage.FEATURES, "train_bottleneck")
    moments = heads.moments(cached, select) if params.head.standardize else (None, None)
    head = heads.layers(trained.head_spec(params), len(facts.classes), *moments)
    train, validation = trained.bottleneck_views(params, facts, select)
    model = models.head_alone(head, train[0][0].shape[1:])
    checkpoint = trained.checkpoint("head", params, model, [stage.FEATURES, stage.WEIGHTS])
    recipe = trained.recipe(params.head)
    logs = stage.logs("head") if params.tensorboard else None
    history = training.fit(model, train, validation, recipe, checkpoint=checkpoint, logs=logs)
    base = backbones.build(facts.base_model, facts.image_size)
    backbones.load_weights(base, stage.WEIGHTS)
    base.trainable = False
    if facts.bottleneck == "blocks":
        base = backbones.with_blocks(base)
    classifier = models.classifier(base, head, params.head.pooling, facts.image_size)
    trained.write("head", params, classifier, facts, history)
    checkpoint.remove()


if __name__ == "__main__":
    stage.run(main)
