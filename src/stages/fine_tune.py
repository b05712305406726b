"""Stage `fine_tune`: thaw the layers from `fine_tune_at` on and train them: models/model.*."""

import thaw.networks.quiet  # noqa: F401

import functools
from dataclasses import dataclass

import keras

import workspace
from thaw.core import environment
from thaw.core.params import Params, plain, settings
from thaw.features import cache
from thaw.networks import backbones, extractors
from thaw.networks.onnx_export import to_onnx
from thaw.pictures import sessions
from thaw.training import batches, checkpoints, classifiers, devices, folding, loop, raising, saving
from thaw.training.checkpoints import Checkpoint
from thaw.training.choosing import Selection
from thaw.training.results import Results
from thaw.training.views import Views

RESULTS = Results(
    workspace.MODELS / "model.keras",
    workspace.FINE_TUNED_ONNX,
    workspace.PLOTS / "model.csv",
    workspace.METRICS / "model.json",
    "fine_tune",
)


def main() -> None:
    params = workspace.read_params()
    facts = cache.read_facts(workspace.FEATURES)
    loop.prepare(params.seed, params.threads)
    if params.fine_tune_at is None:
        classifier = saving.load(workspace.MODELS / "head.keras")
        print("fine_tune_at is null: feature extraction only, the head's model is the result")
        extractor = extractors.load(workspace.WEIGHTS) if facts.foreign else None
        RESULTS.write(classifier, facts, params.average_views, loop.NOTHING, extractor)
        return
    with devices.shared():
        classifier = saving.load(workspace.MODELS / "head.keras")
        fitted, checkpoint = fit(params, facts, classifier)
    print(verdict(params.select, fitted))
    RESULTS.write(classifier, facts, params.average_views, fitted)
    checkpoint.remove()


def fit(
    params: Params, facts: cache.Facts, classifier: keras.Model
) -> tuple[loop.Fitted, Checkpoint]:
    """Train the layers above the frozen ones, and what it may be continued from."""
    inputs = [workspace.FEATURES, workspace.IMAGES, workspace.SPLIT]
    ready = to_train(params, facts, classifier)
    key = checkpoints.key(f"model {settings(params)}", classifier, inputs)
    checkpoint = Checkpoint(workspace.UNFINISHED / "model.npz", key)
    fitted = loop.fit(
        ready.top,
        ready.train,
        ready.validation,
        plain(loop.Optimization, params.fine_tune),
        first_epoch=head_epochs(params),
        checkpoint=checkpoint,
        logs=workspace.logs("fine_tune") if params.tensorboard else None,
        show=RESULTS.show,
        selection=Selection(params.select, params.patience),
        from_start=head_epochs(params) > 0,
        steps=ready.steps,
        shipped=ready.shipped,
    )
    return fitted, checkpoint


@dataclass(frozen=True)
class Ready:
    """What is trained, and on what."""

    top: keras.Model
    shipped: keras.Model  # the same as it will predict
    train: Views
    validation: Views
    steps: loop.Steps


def to_train(params: Params, facts: cache.Facts, classifier: keras.Model) -> Ready:
    """A classifier's part above the frozen layers; it shares its weights."""
    assert params.fine_tune_at is not None
    base = classifier.get_layer(facts.base_model)
    thawed = backbones.layer_index(base, params.fine_tune_at, "fine_tune_at", facts.feature_layer)
    backbones.freeze_below(base, thawed, scales_alone=params.fine_tune.train == "scales")
    boundary, train, validation = views(params, facts, classifier, base, thawed)
    how = params.fine_tune
    if how.batch_norm == "trained":
        classifiers.fit_momentum(base, len(train), how.epochs)
    top, shipped = tops(params, classifier, base, boundary)
    steps = classifiers.steps(top, base, how.layer_decay, centralize=how.centralize)
    return Ready(top, shipped, train, validation, steps)


def tops(
    params: Params, classifier: keras.Model, base: keras.Model, boundary: int
) -> tuple[keras.Model, keras.Model]:
    """A classifier's part above a layer, 0 for all of it, as it trains and as it predicts."""
    how = params.fine_tune
    above = functools.partial(
        classifiers.top,
        classifier,
        base,
        boundary or None,
        params.head.pooling,
        training_mode=how.batch_norm == "trained",
    )
    top = above(precision=how.precision)
    if how.precision == folding.FLOAT32:
        return top, top
    if not environment.multiplies_bfloat16():
        print(
            "note: fine_tune.precision: bfloat16: this processor has no instructions for it that "
            "are known here, so it may be slower than float32"
        )
    return top, above()


def verdict(select: str, fitted: loop.Fitted) -> str:
    """Which epoch was taken."""
    if select == "last":
        return f"taken: epoch {fitted.rows[-1][0]}, the last"
    if fitted.taken:
        return f"taken: epoch {fitted.rows[fitted.taken - 1][0]}, by validation's {select}"
    return f"no epoch has a better {select} on validation than the head: its model is the result"


def head_epochs(params: Params) -> int:
    """How many epochs the head's training counts as: one where scikit-learn fits it."""
    return params.head.epochs if params.head.classifier == "dense" else 1


def pictures(params: Params, facts: cache.Facts) -> batches.Source:
    """What batches are made of."""
    from thaw.files import tables  # here, as not every training reads pictures

    split = tables.read(workspace.SPLIT)
    return batches.Source(
        workspace.FEATURES,
        workspace.IMAGES,
        {name: split["path"][split["split"] == name].tolist() for name in ("train", "validation")},
        facts,
        params.batch_size,
        params.class_weight,
        params.sampling,
        params.seed,
        params.fine_tune.label_smoothing,
        params.fine_tune.mixup,
    )


def views(
    params: Params, facts: cache.Facts, classifier: keras.Model, base: keras.Model, thawed: int
) -> tuple[int, Views, Views]:
    """The layer above which is trained, 0 for all, and batches of what goes in there."""
    source = pictures(params, facts)
    if 0 < facts.boundary < thawed:
        how = params.fine_tune
        boundary, cached = raising.raised(
            workspace.FEATURES,
            base,
            how.epochs,
            workspace.RAISED,
            training_mode=how.batch_norm == "trained",
        )
        width = classifiers.width_below(base, boundary)
        return boundary, *batches.boundaries(source, cached, width)
    boundary = backbones.boundary(base, thawed - 1) if thawed else 0
    bottom = classifiers.bottom(classifier, base, boundary) if boundary else None
    frozen = bottom and sessions.session(to_onnx(bottom))
    if not facts.live:
        lower = "a lower cache.layer avoids it"
        remedy = lower if boundary else "cache.layer: pixels spares the decoding"
        print(
            f"fine_tune_at lies at or below the cached layer {facts.boundary_name} (index "
            f"{facts.boundary}), so every epoch runs all layers on the pictures, which is "
            f"slower; {remedy}"
        )
    return boundary, *batches.pictures(source, frozen, head_epochs(params))
