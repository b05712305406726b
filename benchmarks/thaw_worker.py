"""Thaw's side of the jobs that bench.py has done in turn: what the stages do, start-up aside.

Runs in a folder where `extract_features` has run. An argument is the precision of fine-tuning.
"""

import thaw.networks.quiet  # noqa: F401

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

import workspace
from processes import Job, serve
from stages import extract_features, fine_tune, train_head
from thaw.core.params import Params, plain
from thaw.core.threads import in_threads
from thaw.features import cache
from thaw.features.extraction import Extractor, extract
from thaw.pictures import decoding, sessions
from thaw.training import choosing, classifiers, heads, loop

SCRATCH = Path("scratch")


def training_pictures(params: Params, facts: cache.Facts) -> list[str]:
    return fine_tune.pictures(params, facts).paths["train"]


def network(params: Params) -> Job:
    """The frozen network, on pictures in memory, in as many threads as there are cores."""
    facts = cache.read_facts(workspace.FEATURES)
    _, session = extract_features.load(workspace.FROZEN)
    source = session.get_inputs()[0].name
    pictures = [
        decoding.load(workspace.IMAGES / path, facts.image_size, facts.resize, facts.bit_depth)
        for path in training_pictures(params, facts)
    ]
    whole = np.stack(pictures).astype(np.float32)
    batches = np.split(whole, range(sessions.AT_ONCE, len(whole), sessions.AT_ONCE))

    def job() -> int:
        found = in_threads(lambda batch: session.run(None, {source: batch}), batches)
        return sum(len(outputs[0]) for outputs in found)

    session.run(None, {source: batches[0]})
    return job


def extraction(params: Params, views: int) -> Job:
    """The frozen network on picture files, its results written; `views` 0 for pictures as such."""
    facts = cache.read_facts(workspace.FEATURES)
    extractor = Extractor(str(workspace.FROZEN), workspace.IMAGES, facts, views)

    def job(paths: list[str]) -> int:
        extract(extractor, paths, SCRATCH, "train")
        return len(paths) * max(views, 1)

    paths = training_pictures(params, facts)
    job(paths[:1])
    return partial(job, paths)


def fine_tuning(params: Params, validated: bool) -> Job:
    """An epoch of stage `fine_tune`, with or without validation."""
    facts = cache.read_facts(workspace.FEATURES)
    base = train_head.base_model(params, facts)
    head = heads.layers(plain(heads.HeadSpec, params.head), len(facts.classes))
    classifier = classifiers.classifier(base, head, params.head.pooling, facts.image_size)
    ready = fine_tune.to_train(params, facts, classifier)
    loop.compile_model(ready.top, plain(loop.Optimization, params.fine_tune), len(ready.train))
    parts = ("train", "validation") if validated else ("train",)
    pictures = sum(len(cache.read(workspace.FEATURES, f"{part}_labels")) for part in parts)

    def job() -> int:
        ready.top.fit(ready.train, shuffle=False, verbose=0)
        if validated:
            choosing.validated(ready.shipped, ready.validation)
        return pictures

    job()
    return job


def jobs(params: Params) -> dict[str, Callable[[], Job]]:
    """What builds each job."""
    return {
        "network": partial(network, params),
        "decoded": partial(extraction, params, 0),
        "views": partial(extraction, params, params.augment.views),
        "steps": partial(fine_tuning, params, False),
        "vgg_epoch": partial(fine_tuning, params, True),
    }


if __name__ == "__main__":
    chosen = workspace.read_params()
    for precision in sys.argv[1:]:
        how = chosen.fine_tune.model_copy(update={"precision": precision})
        chosen = chosen.model_copy(update={"fine_tune": how})
    loop.prepare(chosen.seed, chosen.threads)
    serve(jobs(chosen))
