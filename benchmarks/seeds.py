"""How much the result depends on the seed: params.yaml's run, for several seeds.

    python benchmarks/seeds.py --seeds 0 1 2 3 4 [--set class_weight=balanced]

Needs data/raw and data/weights (`dvc repro`). A seed chooses the split, the order of training and
the head's first weights. The frozen layers give the same for every split, so they run once, over
all views of all pictures; then each seed trains and tests as the pipeline does. Writes
benchmarks/results/seeds.json and .md (or --name). About 15 minutes on 2 cores for five seeds.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from pathlib import Path

import keras
import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "src"))

import stage  # noqa: E402
import train_head  # noqa: E402
import trained  # noqa: E402
import yaml  # noqa: E402

from thaw.core import params
from thaw.datasets import labels
from thaw.datasets.labels import Labelled
from thaw.evaluation import inference, metrics
from thaw.features import cache
from thaw.networks import backbones, onnx_export, scratch
from thaw.pictures import sessions
from thaw.pictures.augmentation import Augmentation
from thaw.splitting import screening, splits
from thaw.training import classifiers, heads, loop
from thaw.training.views import Reader, Views

SHOWN = ("accuracy", "f1", "roc_auc")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--part", choices=["validation", "test"], default="test")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--name", default="seeds")
    given = parser.parse_args()
    values = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
    values |= {k: yaml.safe_load(v) for k, v in (each.split("=", 1) for each in given.set)}
    chosen = params.parse(values)
    with tempfile.TemporaryDirectory() as temporary:
        found = repeat(chosen, given.seeds, given.part, Path(temporary))
    results = ROOT / "benchmarks/results"
    results.mkdir(exist_ok=True)
    (results / f"{given.name}.json").write_text(json.dumps(found, indent=2) + "\n")
    (results / f"{given.name}.md").write_text(table(found, given.part))
    print(table(found, given.part))


def repeat(chosen: params.Params, seeds: list[int], part: str, folder: Path) -> dict[str, object]:
    """Metrics of both models, for each seed, on the part named."""
    loop.prepare(chosen.seed, chosen.threads)
    pictures = labels.read_labels(stage.RAW)
    facts = stage.read_dataset()
    content, _ = screening.screen(
        pictures, stage.IMAGES, chosen.on_bad_image, folder / "bad_images.csv"
    )
    options = scratch.Options(**chosen.network.model_dump())
    base = backbones.load(
        chosen.base_model, chosen.image_size, stage.WEIGHTS, chosen.feature_layer, options
    )
    cut = None if chosen.feature_layer is None else base.layers[-1].name
    cached = cache.Facts(
        chosen.base_model,
        chosen.image_size,
        chosen.resize,
        boundary := backbones.boundary(
            base, backbones.layer_index(base, chosen.cache.layer, "cache.layer", cut)
        ),
        base.layers[boundary].name,
        chosen.cache.bottleneck,
        facts["classes"],
        Augmentation(**chosen.augment.model_dump()),
        chosen.seed,
        cut,
    )
    extractor = cache.extractor(base, chosen.image_size, boundary, chosen.cache.bottleneck)
    session = sessions.session(onnx_export.to_onnx(extractor))
    views = cached.augmentation.count
    paths = [picture.path for picture in pictures]
    cache.extract(session, stage.IMAGES, paths, cached, views, folder, "all")
    rows: dict[str, list[dict[str, float]]] = {"head": [], "fine_tuned": []}
    for seed in seeds:
        one = chosen.model_copy(update={"seed": seed})
        begun = time.perf_counter()
        scores = run(one, cached, pictures, content, facts["split"], folder, part)
        for name, values in scores.items():
            rows[name].append(values)
        shown = {name: round(values["accuracy"], 4) for name, values in scores.items()}
        print(f"seed {seed}: {shown}, {time.perf_counter() - begun:.0f} s", flush=True)
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    return {"machine": machine, "seeds": seeds, **rows}


def run(
    chosen: params.Params,
    facts: cache.Facts,
    pictures: list[Labelled],
    content: dict[str, str],
    published: dict[str, float | None],
    folder: Path,
    part: str,
) -> dict[str, dict[str, float]]:
    """Split, train the head, fine-tune and score, for one seed."""
    divided = splits.divide(
        pictures,
        content,
        held_out=chosen.split.held_out or published["held_out"] or 0.2,
        test=chosen.split.test or published["test"] or 0.2,
        seed=chosen.seed,
    )
    number = {
        name: np.array(
            [i for i, picture in enumerate(pictures) if divided.split.get(picture.path) == name]
        )
        for name in splits.SPLITS
    }
    labels = np.array([facts.classes.index(picture.label) for picture in pictures])
    bottleneck = cache.read(folder, "all_bottleneck")
    boundary = cache.read(folder, "all_boundary")
    select = heads.selector(chosen.head.pooling, facts.bottleneck)
    keras.utils.set_random_seed(chosen.seed)

    def views(name: str, reader: Reader, train: bool) -> Views:
        rows = number[name]
        weights = views.balanced(labels[rows]) if chosen.class_weight == "balanced" else None
        return Views(
            lambda some, turns: reader(rows[some], turns),
            labels[rows],
            batch_size=chosen.batch_size,
            views=boundary.shape[1] if train else 1,
            weights=weights if train else None,
            seed=chosen.seed if train else None,
        )

    by_optimizer = chosen.head.classifier == "dense"
    moments = (None, None)
    if chosen.head.standardize or not by_optimizer:
        moments = heads.moments(bottleneck[number["train"]], select)
    head = heads.layers(trained.head_spec(chosen), len(facts.classes), *moments)
    pooled = views.from_cache(bottleneck, select)
    alone = classifiers.head_alone(head, pooled(np.array([0]), np.array([0])).shape[1:])
    if by_optimizer:
        validation = views("validation", pooled, False)
        loop.fit(alone, views("train", pooled, True), validation, trained.recipe(chosen.head))
    else:
        train, rows = number["train"], number["validation"]
        train_head.fit_linear(
            chosen,
            head,
            select,
            (bottleneck[train], labels[train]),
            (bottleneck[rows, :1], labels[rows]),
        )
    found = {"head": score(alone, pooled, labels, number[part], chosen, boundary.shape[1])}
    if chosen.fine_tune_at is None:
        return found | {"fine_tuned": found["head"]}

    base = trained.base_model(chosen, facts)
    if facts.bottleneck == "blocks":
        base = backbones.with_blocks(base)
    whole = classifiers.classifier(base, head, chosen.head.pooling, facts.image_size)
    thawed = backbones.layer_index(base, chosen.fine_tune_at, "fine_tune_at", facts.feature_layer)
    backbones.freeze_below(base, thawed)
    readers = {"boundary": views.from_cache(boundary)}
    if width := classifiers.width_below(base, facts.boundary):
        readers["below"] = views.from_cache(bottleneck[..., :width])
    reader = views.together(readers)
    top = trained.top(chosen, whole, base, facts.boundary)
    validation = views("validation", reader, False)
    loop.fit(top, views("train", reader, True), validation, trained.recipe(chosen.fine_tune))
    found["fine_tuned"] = score(top, reader, labels, number[part], chosen, boundary.shape[1])
    return found


def score(
    model: object,
    reader: Reader,
    labels: np.ndarray,
    rows: np.ndarray,
    chosen: params.Params,
    views: int,
) -> dict[str, float]:
    """Metrics of the mean over the cached views (of the first one without average_views)."""
    total = np.zeros((len(rows), len(np.unique(labels))))
    turns = range(views if chosen.average_views else 1)
    for turn in turns:
        for start in range(0, len(rows), 64):
            some = rows[start : start + 64]
            logits = model.predict_on_batch(reader(some, np.full(len(some), turn)))
            total[start : start + 64] += inference.probabilities(np.asarray(logits))
    return metrics.scores(labels[rows], total / len(turns))


def table(found: dict[str, object], part: str) -> str:
    """Mean and standard deviation over seeds, as Markdown."""
    seeds = found["seeds"]
    lines = [
        f"{part}, seeds {', '.join(map(str, seeds))}, on {found['machine']}: mean ± deviation",
        "",
        "|  | " + " | ".join(SHOWN) + " | accuracy of each seed |",
        "|---" * (len(SHOWN) + 2) + "|",
    ]
    for name in ("head", "fine_tuned"):
        columns = {each: [row[each] for row in found[name]] for each in SHOWN}
        cells = [f"{np.mean(v):.4f} ± {np.std(v, ddof=1):.4f}" for v in columns.values()]
        each = ", ".join(f"{value:.4f}" for value in columns["accuracy"])
        lines.append(f"| {name} | " + " | ".join(cells) + f" | {each} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
