"""Stage `train_head`: train the head on the cached features: models/head.*."""

import thaw.networks.quiet  # noqa: F401

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

import workspace
from thaw.core.params import Params, plain, settings
from thaw.features import cache
from thaw.networks import backbones, extractors, freezing, scratch
from thaw.networks.onnx_export import to_onnx
from thaw.pictures import sessions
from thaw.training import batches, checkpoints, choosing, classifiers, devices, heads, loop
from thaw.training.checkpoints import Checkpoint
from thaw.training.choosing import Selection
from thaw.training.results import Results
from thaw.training.views import Views, class_weights

Part = tuple[NDArray[Any], NDArray[np.int64]]  # cached features and labels
RESULTS = Results(
    workspace.MODELS / "head.keras",
    workspace.HEAD_ONNX,
    workspace.PLOTS / "head.csv",
    workspace.METRICS / "head.json",
    "head",
)


def main() -> None:
    params = workspace.read_params()
    facts = cache.read_facts(workspace.FEATURES)
    loop.prepare(params.seed, params.threads)
    checkpoint = None
    noted = {}
    with devices.shared():
        head = layers(params, facts)
        if params.head.classifier != "dense":
            select = heads.selector(params.head.pooling, facts.bottleneck)
            fitted, noted["C"] = fit_linear(
                params, facts.classes, head, select, read("train"), read("validation")
            )
        elif params.head.epochs:
            fitted, checkpoint = fit(params, facts, head)
        else:
            print(
                "head.epochs is 0: the head keeps its first weights, for stage fine_tune to train"
            )
            fitted = loop.NOTHING
    extractor = None
    if facts.foreign:
        extractor = extractors.load(workspace.WEIGHTS)
        classifier = classifiers.on_maps(head, params.head.pooling, extractors.shape(extractor))
    else:
        base = base_model(params, facts)
        base.trainable = False
        if facts.bottleneck == "blocks":
            base = backbones.with_blocks(base)
        classifier = classifiers.classifier(base, head, params.head.pooling, facts.image_size)
    RESULTS.write(classifier, facts, params.average_views, fitted, extractor, **noted)
    if checkpoint:
        checkpoint.remove()


def layers(params: Params, facts: cache.Facts) -> list[keras.Layer]:
    """The head's layers, not trained."""
    moments: tuple[heads.Array, heads.Array] | tuple[None, None] = (None, None)
    if params.head.standardize or params.head.classifier != "dense":
        select = heads.selector(params.head.pooling, facts.bottleneck)
        moments = heads.moments(cache.read(workspace.FEATURES, "train_bottleneck"), select)
    return heads.layers(plain(heads.HeadSpec, params.head), len(facts.classes), *moments)


def base_model(params: Params, facts: cache.Facts) -> keras.Model:
    """The base model of the cache, with the weights that stage `weights` wrote."""
    options = plain(scratch.Options, params.network)
    return backbones.load(
        facts.base_model, facts.image_size, workspace.WEIGHTS, facts.feature_layer, options
    )


def to_train(
    params: Params, facts: cache.Facts, head: Sequence[keras.Layer]
) -> tuple[keras.Model, Views, Views]:
    """The head by itself, with its training and validation batches."""
    select = heads.selector(params.head.pooling, facts.bottleneck)
    frozen = None
    if facts.live and facts.foreign:
        content = extractors.load(workspace.WEIGHTS)
        above = freezing.above_maps(extractors.shape(content), 0, facts.bottleneck)
        frozen = sessions.session(extractors.join(content, above))
    elif facts.live:
        base = base_model(params, facts)
        extractor = freezing.extractor(base, facts.image_size, 0, facts.bottleneck)
        frozen = sessions.session(to_onnx(extractor))
    source = batches.Source(
        workspace.FEATURES,
        workspace.IMAGES,
        {},
        facts,
        params.batch_size,
        params.class_weight,
        params.sampling,
        params.seed,
    )
    train, validation = batches.bottlenecks(source, select, frozen)
    return classifiers.head_alone(head, train[0][0].shape[1:]), train, validation


def fit(
    params: Params, facts: cache.Facts, head: Sequence[keras.Layer]
) -> tuple[loop.Fitted, Checkpoint]:
    """Train the head by the optimizer, and what it may be continued from."""
    model, train, validation = to_train(params, facts, head)
    inputs = [workspace.FEATURES, workspace.WEIGHTS]
    key = checkpoints.key(f"head {settings(params)}", model, inputs)
    checkpoint = Checkpoint(workspace.UNFINISHED / "head.npz", key)
    fitted = loop.fit(
        model,
        train,
        validation,
        plain(loop.Optimization, params.head),
        checkpoint=checkpoint,
        logs=workspace.logs("head") if params.tensorboard else None,
        show=RESULTS.show,
        selection=Selection(params.select, params.patience),
    )
    return fitted, checkpoint


def fit_linear(
    params: Params,
    classes: Sequence[str],
    head: Sequence[keras.Layer],
    select: Callable[[heads.Array], heads.Array],
    train: Part,
    validation: Part,
) -> tuple[loop.Fitted, float]:
    """Give the head's logits the weights of a linear classifier, fitted on all cached views.

    Returns:
        Its history, as one epoch, and the C chosen.
    """
    from thaw.training import linear  # here, as importing scikit-learn takes a second

    kind = params.head.classifier
    standardize, logits = head[0], head[-1]
    width = len(standardize.scale)
    linear.check_size(train[0].shape[0] * train[0].shape[1], width, kind)

    def rows(part: Part) -> linear.Rows:
        cached, labels = part
        weights = class_weights(params.class_weight, labels, classes)
        if weights is None:
            weights = np.ones(len(labels), np.float32)
        drawn = cached.shape[1]
        values = heads.standardized(cached, select, standardize)
        return linear.Rows(values, labels.repeat(drawn), weights.repeat(drawn))

    to_fit, to_choose = rows(train), rows(validation)
    fitted = linear.fit(kind, to_fit, to_choose)
    for c, loss in fitted.losses.items():
        chosen = ", chosen" if c == fitted.c else ""
        print(f"{kind}, C = {c:g}: validation cross-entropy {loss:.4f}{chosen}")
    classifiers.head_alone(head, (width,))
    logits.set_weights([fitted.kernel, fitted.bias])
    train_loss, train_accuracy = linear.score(fitted, to_fit)
    logits = (to_choose.features @ fitted.kernel + fitted.bias).astype(np.float64)
    by_view = logits.reshape(len(validation[1]), -1, logits.shape[1])
    found = choosing.scores(choosing.log_shares(by_view), validation[1])
    row = (1, train_loss, found["loss"], train_accuracy, found["accuracy"])
    return loop.Fitted([row], 1), fitted.c


def read(name: str) -> Part:
    """The cached bottleneck features and labels of a split."""
    bottleneck = cache.read(workspace.FEATURES, f"{name}_bottleneck")
    return bottleneck, cache.read(workspace.FEATURES, f"{name}_labels")
