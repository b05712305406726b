"""Stage `fine_tune`: the network thawed from `fine_tune_at` and trained on, to models/model.*."""

from functools import partial

import stage
import trained
from thaw import backbones, features, models, training
from thaw.errors import ThawError


def main() -> None:
    params = stage.read_params()
    facts = features.read_facts(stage.FEATURES)
    training.prepare(params.seed, params.threads)
    classifier = models.load(stage.MODELS / "head.keras")
    if params.fine_tune_at is None and trained.head_epochs(params) == 0:
        raise ThawError(
            "params.yaml: head.epochs: 0: with fine_tune_at: null nothing would be trained; give "
            "the head epochs, or fine_tune_at a layer"
        )
    if params.fine_tune_at is None:
        print("fine_tune_at is null: feature extraction only, the head's model is the result")
        trained.write("model", params, classifier, facts, [])
        return
    base = classifier.get_layer(facts.base_model)
    thawed = backbones.layer_index(base, params.fine_tune_at, "fine_tune_at", facts.feature_layer)
    backbones.freeze_below(base, thawed)
    if 0 < facts.boundary < thawed:
        boundary = facts.boundary
        width = models.width_below(base, boundary)
        train, validation = trained.boundary_views(params, width)
    else:
        boundary = backbones.boundary(base, thawed - 1) if thawed else 0
        bottom = models.bottom(classifier, base, boundary) if boundary else None
        train, validation = trained.picture_views(params, facts, bottom)
        if not facts.live:
            lower = "a lower cache.layer avoids it"
            remedy = lower if boundary else "cache.layer: pixels spares the decoding"
            print(
                f"fine_tune_at lies at or below the cached layer {facts.boundary_name} (index "
                f"{facts.boundary}), so every epoch runs all layers on the pictures, which is "
                f"slower; {remedy}"
            )
    inputs = [stage.FEATURES, stage.IMAGES, stage.SPLIT]
    checkpoint = trained.checkpoint("model", params, classifier, inputs)
    history = training.fit(
        trained.top(params, classifier, base, boundary or None),
        train,
        validation,
        trained.recipe(params.fine_tune),
        first_epoch=trained.head_epochs(params),
        checkpoint=checkpoint,
        logs=stage.logs("fine_tune") if params.tensorboard else None,
        show=partial(trained.show, "model"),
    )
    trained.write("model", params, classifier, facts, history)
    checkpoint.remove()


if __name__ == "__main__":
    stage.run(main)
