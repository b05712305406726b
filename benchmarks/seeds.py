"""How much the result depends on the seed: the stages of params.yaml, run for several seeds.

    python benchmarks/seeds.py --seeds 0 1 2 3 4 [--set class_weight=balanced]

Reads data/dataset and data/weights, which `dvc repro` makes. A seed chooses the split, the views
and their order, the order of training and the head's first weights. Where all views of a picture
are cached, the frozen layers compute the same for every seed, so they run once, on all pictures.
The other stages run for each seed, in a temporary folder, and give what the pipeline gives. Writes
benchmarks/results/seeds.json and .md (or --name). Five seeds take about 20 minutes on 2 cores.
"""

import argparse
import csv
import json
import shutil
import time
from pathlib import Path
from statistics import mean, stdev

import numpy as np
from numpy.typing import NDArray

import library
import tables
import workspace
import workspaces
from thaw.core import errors
from thaw.core.errors import ThawError
from thaw.drawing import markdown
from thaw.files.serialize import write_json
from thaw.pictures.augmentation import Augmentation, random
from workspaces import Workspace

NEEDED = (workspace.RAW, workspace.WEIGHTS)
CACHED = ("train", "validation")  # the parts of the split that the cache holds
MODELS = ("head", "fine_tuned")
SHOWN = ("accuracy", "f1", "roc_auc")
Scores = dict[str, list[dict[str, float]]]  # of each model: of each seed


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--part", choices=["validation", "test"], default="test")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--name", default="seeds")
    given = parser.parse_args()
    params = workspaces.merged(settings=given.set)
    with workspaces.temporary() as folder:
        found = repeat(
            workspaces.create(folder / "run", params), library.ROOT, given.seeds, given.part
        )
    machine = tables.machine()
    seeds = ", ".join(map(str, given.seeds))
    page = (
        f"{tables.machine_line(machine)} Pictures: {given.part}. Seeds: {seeds}. Mean ± standard "
        f"deviation.\n\n{table(found)}"
    )
    tables.write(given.name, {"machine": machine, "seeds": given.seeds, **found}, page)


def repeat(made: Workspace, source: Path, seeds: list[int], part: str) -> Scores:
    """Run the stages for each seed.

    Args:
        made: a workspace without data.
        source: the folder that holds what `NEEDED` names.
        seeds: one run each.
        part: of the split, whose scores are returned.

    Raises:
        ThawError: when the data isn't there.
    """
    for name in NEEDED:
        if not (source / name).exists():
            raise ThawError(f"{source / name} is missing; run `dvc repro split weights`")
        link = made.folder / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(source / name)
    everything = extract(made) if shared(made) else None
    found: Scores = {model: [] for model in MODELS}
    for seed in seeds:
        begun = time.perf_counter()
        both = {"seed": seed, "split": made.params["split"] | {"seed": seed}}
        made.stage("split", **both)
        if everything:
            select(made, everything, seed)
        else:
            made.stage("extract_features", **both)
        for name in ("train_head", "fine_tune", "evaluate"):
            made.stage(name, **both)
        scores = made.read("metrics/evaluation.json")[part]
        for model in MODELS:
            found[model].append(scores[model])
        shown = ", ".join(f"{model} {scores[model]['accuracy']:.4f}" for model in MODELS)
        print(f"seed {seed}: {shown}, {time.perf_counter() - begun:.0f} s", flush=True)
    return found


def shared(made: Workspace) -> bool:
    """Whether every seed caches the same of a picture: all its views, or its pixels."""
    augmentation = Augmentation.of(made.params["augment"])
    every = not augmentation.endless and augmentation.count == len(augmentation.symmetries)
    return every or made.params["cache"]["layer"] == "pixels"


def extract(made: Workspace) -> Path:
    """Compute the features of all pictures, as for training and as for validation.

    Returns:
        The folder they lie in, with the split.csv that names their rows.
    """
    made.stage("split")
    pictures = made.rows(workspace.SPLIT)
    with (made.folder / workspace.SPLIT).open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(pictures[0]))
        writer.writeheader()
        writer.writerows(row | {"split": part} for part in CACHED for row in pictures)
    made.stage("extract_features")
    everything = (made.folder / workspace.FEATURES).rename(made.folder / "everything")
    (made.folder / workspace.SPLIT).rename(everything / "split.csv")
    return everything


def select(made: Workspace, everything: Path, seed: int) -> None:
    """Write data/features as stage `extract_features` would for the split and the seed: rows of
    `everything`, the views of each picture in the seed's order.
    """
    features = made.folder / workspace.FEATURES
    shutil.rmtree(features, ignore_errors=True)
    features.mkdir()
    facts = json.loads((everything / "features.json").read_text(encoding="utf-8"))
    write_json(features / "features.json", facts | {"seed": seed})
    views = len(Augmentation(**facts["augmentation"]).symmetries)
    known = made.rows(everything / "split.csv")
    split = made.rows(workspace.SPLIT)
    for part in CACHED:
        paths = [row["path"] for row in known if row["split"] == part]
        place = {path: number for number, path in enumerate(paths)}
        rows = [place[row["path"]] for row in split if row["split"] == part]
        for path in everything.glob(f"{part}_*.npy"):
            whole = np.load(path, mmap_mode="r")
            shape = (len(rows), *whole.shape[1:])
            some = np.lib.format.open_memmap(features / path.name, "w+", whole.dtype, shape)
            for number, row in enumerate(rows):
                some[number] = whole[row]
                if whole.ndim > 1 and whole.shape[1] == views > 1:
                    some[number] = whole[row][turned(paths[row], views, facts["seed"], seed)]
            some.flush()


def turned(path: str, views: int, before: int, after: int) -> NDArray[np.int64]:
    """(views,) where each view of a picture by one seed lies among those of another."""
    first, second = (random("view", seed, path).permutation(views) for seed in (before, after))
    found: NDArray[np.int64] = np.argsort(first)[second]
    return found


def table(found: Scores) -> str:
    """Mean and standard deviation over the seeds as a Markdown table, a line a model."""
    rows = []
    for model, scores in found.items():
        columns = {name: [each[name] for each in scores] for name in SHOWN}
        every = ", ".join(f"{value:.4f}" for value in columns["accuracy"])
        rows.append([model, *map(spread, columns.values()), every])
    return markdown.table(("", *SHOWN, "accuracy of each seed"), rows) + "\n"


def spread(values: list[float]) -> str:
    """Mean ± standard deviation; of one value, the value."""
    if len(values) == 1:
        return f"{values[0]:.4f}"
    return f"{mean(values):.4f} ± {stdev(values):.4f}"


if __name__ == "__main__":
    errors.run(main)
