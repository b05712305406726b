"""How many flipped labels are among the first of a ranking of labels that look wrong.

    python benchmarks/label_errors.py --source cats_and_dogs_filtered.zip

Flips 5 % of the labels of the training and validation pictures, by several seeds, makes folds
anew, and ranks labels by several scores, that of `python src audit` among them. Precision is of as
many pictures as were flipped. On `elpv` it also tells how many of the first 100, labels as they
are, have a published probability of 1/3 or 2/3. Cats and dogs: by the recipe
`tensorflow-tutorial`. A dataset that isn't named keeps its last figures. Writes
benchmarks/results/label_errors.json and .md.
"""

import argparse
import contextlib
import io
import json
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict

import library
import tables
import workspace
import workspaces
from commands import audit
from commands import folds as command
from thaw.core import errors
from thaw.datasets import catalogue
from thaw.drawing import markdown
from thaw.features import cache
from thaw.files import fetching
from thaw.review import label_errors
from thaw.review.label_errors import Array
from thaw.training import loop

SHARE = 0.05  # of labels, flipped
FIRST = 100  # of the labels as they are
STAGES = ("download", "weights", "split", "freeze", "extract_features")
RECIPES = {"elpv": None, "cats_and_dogs": "tensorflow-tutorial"}
USED = "both: folds and ridge (`make audit`)"
Found = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--source", help="of cats and dogs, where its host isn't reached")
    parser.add_argument("--datasets", nargs="+", default=[*RECIPES], choices=[*RECIPES])
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    path = tables.RESULTS / "label_errors.json"
    found = json.loads(path.read_text("utf-8"))["datasets"] if path.exists() else {}
    for dataset in given.datasets:
        source = given.source if dataset == "cats_and_dogs" else None
        if source and Path(source).exists():
            source = str(Path(source).resolve())
        changes = {"dataset": dataset, "source": source}
        params = workspaces.merged(RECIPES[dataset]) | changes
        params["split"] = params["split"] | {"near_duplicates": "ignore"}
        with workspaces.temporary() as folder:
            made = workspaces.create(folder, params)
            for name in STAGES:
                made.stage(name)
            with contextlib.chdir(folder):
                found[dataset] = measure(given.seeds)
    machine = tables.machine()
    page = "\n\n".join([tables.machine_line(machine), *(section(*each) for each in found.items())])
    tables.write("label_errors", {"machine": machine, "datasets": found}, f"{page}\n")


def measure(seeds: int) -> Found:
    """Of the dataset whose cache lies here."""
    params = workspace.read_params()
    facts = cache.read_facts(workspace.FEATURES)
    loop.prepare(params.seed, params.threads)
    of = command.material(params, facts, command.KEPT / "views")
    cached = [cache.read(workspace.FEATURES, f"{name}_bottleneck") for name in audit.PARTS]
    features = label_errors.features(*cached)
    wrong = round(SHARE * len(of.rows))
    result: Found = {"pictures": len(of.rows), "flipped": wrong, "precision": {}}
    for seed in range(seeds):
        flipped = np.random.default_rng(seed).choice(len(of.rows), wrong, replace=False)
        labels = of.labels.copy()
        classes = len(facts.classes)
        labels[flipped] = (labels[flipped] + 1 + seed % max(1, classes - 1)) % classes
        names = np.array(facts.classes, object)[labels]
        for name, score in scores(replace(of, rows=of.rows.assign(label=names)), features).items():
            first = np.argsort(score, kind="stable")[:wrong]
            share = float(np.isin(first, flipped).mean())
            result["precision"].setdefault(name, []).append(share)
    if params.dataset == "elpv":
        doubtful = [0.1 < each < 0.9 for each in probabilities(of.rows["path"].tolist())]
        result["chance"] = FIRST * float(np.mean(doubtful))
        result["doubtful"] = {
            name: int(np.take(doubtful, np.argsort(score, kind="stable")[:FIRST]).sum())
            for name, score in scores(of, features).items()
        }
    return result


def scores(of: command.Material, features: Any) -> Mapping[str, Array]:
    """Of each picture by each way to tell: low where its label looks wrong."""
    given = argparse.Namespace(k=5, repeats=1, fine_tune=False)
    with tempfile.TemporaryDirectory(dir=".") as folder:
        made = command.all_folds(of, given, Path(folder))
    head = audit.by_path(replace(made, result={"head": {}}), of.rows["path"].tolist())[0]
    labels, classes = of.labels, len(of.facts.classes)
    rows = np.arange(len(labels))
    few = PCA(300, random_state=0).fit_transform(features)
    few /= few.std()
    logistic = cross_val_predict(
        LogisticRegression(max_iter=1000),
        few,
        labels,
        groups=of.units,
        cv=StratifiedGroupKFold(5, shuffle=True, random_state=1),
        method="predict_proba",
    )
    near = label_errors.nearest(features, 20)
    among = np.eye(classes)[labels][near.rows].mean(axis=1)
    ridge = label_errors.ridge(features, labels, of.units, classes)
    least = np.array([head[labels == k, k].mean() for k in range(classes)])
    by = {
        "folds of the head": head,
        "folds of logistic regression": logistic,
        "20 nearest neighbours": among,
        "ridge regression, each picture left out": ridge,
        USED: (head + ridge) / 2,
        "folds and neighbours": (head + among) / 2,
    }
    found = {name: label_errors.margins(shares, labels) for name, shares in by.items()}
    found["folds of the head, less the mean of the class"] = head[rows, labels] - least[labels]
    return found


def probabilities(paths: list[str]) -> list[float]:
    """The published probability that each cell of elpv is defective."""
    entry = catalogue.entry(library.ROOT / workspace.DATASETS, "elpv")
    with tempfile.TemporaryDirectory() as folder:
        source = fetching.Source(entry.source, entry.sha256, entry.size)
        with zipfile.ZipFile(fetching.fetch(source, Path(folder))) as archive:
            text = archive.read("elpv_dataset/data/labels.csv").decode()
    known = dict(line.split()[:2] for line in io.StringIO(text) if line.strip())
    return [float(known[path]) for path in paths]


def section(dataset: str, found: Found) -> str:
    """The figures of a dataset as Markdown."""
    order = sorted(found["precision"], key=lambda name: -np.mean(found["precision"][name]))
    columns = ["score", "precision, mean", "of each seed"]
    rows = [
        [
            name,
            f"{np.mean(found['precision'][name]):.3f}",
            " ".join(f"{each:.3f}" for each in found["precision"][name]),
        ]
        for name in order
    ]
    text = (
        f"## `{dataset}`\n\n{found['pictures']:,} pictures, {found['flipped']} labels flipped; by "
        f"chance {SHARE}."
    )
    if "doubtful" in found:
        columns.append(f"of the first {FIRST} as they are, probability 1/3 or 2/3")
        rows = [[*row, str(found["doubtful"][row[0]])] for row in rows]
        text += f" By chance {found['chance']:.0f} of {FIRST} have a probability of 1/3 or 2/3."
    return f"{text}\n\n{markdown.table(columns, rows)}"


if __name__ == "__main__":
    errors.run(main)
