"""Thaw's side of the jobs that bench.py has done in turn: what the stages do, start-up aside.

Runs in a folder where `extract_features` has run.
"""

import thaw.networks.quiet  # noqa: F401

from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import keras
import numpy as np
import onnxruntime
import stage
import trained

from processes import Job, serve
from thaw.core import params
from thaw.features import cache
from thaw.files.serialize import read_csv
from thaw.networks import backbones, onnx_export
from thaw.pictures import decoding, sessions
from thaw.pictures.threads import in_threads
from thaw.training import classifiers, heads, loop

SCRATCH = Path("scratch")


def backbone() -> keras.Model:
    """The pretrained network of the cache."""
    return trained.base_model(stage.read_params(), cache.read_facts(stage.FEATURES))


@cache
def extractor() -> onnxruntime.InferenceSession:
    """The frozen network, as `extract_features` exports it."""
    facts = cache.read_facts(stage.FEATURES)
    model = cache.extractor(backbone(), facts.image_size, facts.boundary, facts.bottleneck)
    return sessions.session(onnx_export.to_onnx(model))


def training_pictures() -> list[str]:
    return [row["path"] for row in read_csv(stage.SPLIT) if row["split"] == "train"]


def network() -> Job:
    """The frozen network, on pictures in memory, in as many threads as there are cores."""
    session, facts = extractor(), cache.read_facts(stage.FEATURES)
    source = session.get_inputs()[0].name
    pictures = [
        decoding.load(stage.IMAGES / path, facts.image_size, facts.resize)
        for path in training_pictures()
    ]
    whole = np.stack(pictures).astype(np.float32)
    batches = np.split(whole, range(cache.BATCH, len(whole), cache.BATCH))

    def job() -> int:
        found = in_threads(lambda batch: session.run(None, {source: batch}), batches)
        return sum(len(outputs[0]) for outputs in found)

    session.run(None, {source: batches[0]})
    return job


def extraction(views: int) -> Job:
    """The frozen network on picture files, its results written; `views` 0 for pictures as such."""
    session, facts = extractor(), cache.read_facts(stage.FEATURES)

    def job(paths: list[str]) -> int:
        cache.extract(session, stage.IMAGES, paths, facts, views, SCRATCH, "train")
        return len(paths) * max(views, 1)

    paths = training_pictures()
    job(paths[:1])
    return partial(job, paths)


def fine_tuning(chosen: params.Params, validated: bool) -> Job:
    """An epoch of fine-tuning from the cache, as in `fine_tune`, with or without validation."""
    facts, base = cache.read_facts(stage.FEATURES), backbone()
    head = heads.layers(trained.head_spec(chosen), len(facts.classes))
    classifier = classifiers.classifier(base, head, chosen.head.pooling, facts.image_size)
    assert chosen.fine_tune_at is not None
    thawed = backbones.layer_index(base, chosen.fine_tune_at, "fine_tune_at")
    backbones.freeze_below(base, thawed)
    top = trained.top(chosen, classifier, base, facts.boundary)
    width = classifiers.width_below(base, facts.boundary)
    train, validation = trained.boundary_views(chosen, width)
    loop.compile_model(top, trained.recipe(chosen.fine_tune), len(train))
    counted = [cache.read(stage.FEATURES, "train_labels")]
    if validated:
        counted.append(cache.read(stage.FEATURES, "validation_labels"))

    def job() -> int:
        top.fit(train, validation_data=validation if validated else None, shuffle=False, verbose=0)
        return sum(len(labels) for labels in counted)

    job()
    return job


if __name__ == "__main__":
    chosen = stage.read_params()
    loop.prepare(chosen.seed, chosen.threads)
    jobs: dict[str, Callable[[], Job]] = {
        "network": network,
        "decoded": partial(extraction, 0),
        "views": partial(extraction, chosen.augment.views),
        "steps": partial(fine_tuning, chosen, False),
        "vgg_epoch": partial(fine_tuning, chosen, True),
    }
    serve(jobs)
