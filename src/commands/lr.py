"""Find a learning rate, for the head and for fine-tuning, by a short training: lr/.

    make lr

Reads params.yaml, the cache and the head's model, which `dvc repro train_head` makes; writes lr/
and prints an advice on `head.learning_rate` and `fine_tune.learning_rate`. It isn't a stage:
nothing follows from what it writes.
"""

import thaw.networks.quiet  # noqa: F401

from dataclasses import asdict, astuple
from pathlib import Path

import workspace
from stages import fine_tune, train_head
from thaw.core.errors import ThawError
from thaw.core.params import plain
from thaw.drawing import plots
from thaw.features import cache
from thaw.files.serialize import write_csv, write_text
from thaw.review import rates
from thaw.training import loop, saving

OUT = Path("lr")
HEAD = workspace.MODELS / "head.keras"
STEPS = {"head": 300, "fine_tune": 32}  # a step of the head is a matrix product


def main() -> None:
    params = workspace.read_params()
    trained = params.head.classifier == "dense" and params.head.epochs > 0
    if not trained and params.fine_tune_at is None:
        raise ThawError(
            f"params.yaml: head.classifier: {params.head.classifier} with fine_tune_at: null: "
            "nothing is trained by a learning rate; set head.classifier: dense, or fine_tune_at"
        )
    if not (workspace.FEATURES / "features.json").is_file() or not HEAD.is_file():
        raise ThawError(
            f"{workspace.FEATURES} or {HEAD} is missing; run `make lr`, or `dvc repro train_head`"
        )
    facts = cache.read_facts(workspace.FEATURES)
    loop.prepare(params.seed, params.threads)
    found = []
    if trained:
        head = train_head.layers(params, facts)
        model, train, validation = train_head.to_train(params, facts, head)
        how = plain(loop.Optimization, params.head)
        found.append(rates.sweep("head", model, train, validation, how, STEPS["head"]))
    if params.fine_tune_at is not None:
        ready = fine_tune.to_train(params, facts, saving.load(HEAD))
        how = plain(loop.Optimization, params.fine_tune)
        count = STEPS["fine_tune"]
        found.append(
            rates.sweep(
                "fine_tune", ready.top, ready.train, ready.validation, how, count, ready.steps
            )
        )
    OUT.mkdir(exist_ok=True)
    for each in found:
        write_csv(OUT / f"{each.group}.csv", tuple(asdict(each.before)), map(astuple, each.tried))
    drawn = [asdict(each) | {"title": each.title, "advised": each.advised} for each in found]
    plots.rates(drawn, OUT / "lr.png")
    report = rates.report(found)
    write_text(OUT / "lr.md", report)
    print(f"\n{report}")
