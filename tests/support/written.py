"""Runs written by hand into a repository of DVC's: no stage runs."""

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import asdict

import numpy as np
import pandas as pd
import yaml

from repository import Repository
from thaw.evaluation import comparison, metrics, record
from thaw.files.serialize import write_csv, write_json, write_text

CLASSES = ("moss", "rusty iron")
HISTORY = ("epoch", "train_loss", "validation_loss", "train_accuracy", "validation_accuracy")
TAKEN = (*HISTORY, "taken")


def write_run(repository: Repository, wrong: set[int], pictures: int = 40) -> None:
    """Every stage's outputs, as of a model that takes the pictures `wrong` for the other class."""
    root = repository.path
    source = sorted(repository.pictures.rglob("*.png"))
    labels = np.arange(pictures) % 2
    stages = yaml.safe_load((root / "dvc.yaml").read_text())["stages"]
    for stage in stages.values():
        for kind in ("outs", "metrics"):
            for item in stage.get(kind, []):
                path = root / (item if isinstance(item, str) else next(iter(item)))
                if not path.exists():
                    write_text(path, "")
    shutil.rmtree(root / "data/dataset", ignore_errors=True) or (root / "data/dataset").unlink(True)
    rows, tables = [], {}
    for name, mistaken in (("head", {0, 1, 2, 3}), ("fine_tuned", wrong)):
        right = np.array([number not in mistaken for number in range(pictures)])
        second = np.where(labels == right, 0.9, 0.1) - 0.001 * np.arange(pictures)
        tables[name] = np.stack([1 - second, second], axis=1)
    for number, label in enumerate(labels):
        path = root / f"data/dataset/images/{CLASSES[label]}/{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source[number % len(source)], path)
        shares = [share for name in tables for share in tables[name][number]]
        rows.append((f"{path.parent.name}/{path.name}", CLASSES[label], "", *shares))
    listed = [(path, label, "", "") for path, label, *_ in rows]
    write_csv(root / "data/dataset/labels.csv", ("path", "label", "part", "subgroup"), listed)
    columns = [f"{name}_{label}" for name in tables for label in CLASSES]
    for name in ("predictions", "validation_predictions"):
        write_csv(root / f"data/{name}.csv", ("path", "label", "subgroup", *columns), rows)
    scores = {name: metrics.scores(labels, shares) for name, shares in tables.items()}
    parts = pd.DataFrame({"label": [CLASSES[label] for label in labels], "subgroup": ""})
    tested = comparison.evaluate(
        labels,
        tables,
        {name: shares.argmax(axis=1) for name, shares in tables.items()},
        scores,
        parts,
        classes=CLASSES,
        positive=CLASSES[1],
        test_set=f"{pictures} pictures",
    )
    decisive = {
        name: {each: values[each] for each in record.DECISIVE}
        for name, values in reversed(scores.items())
    }
    write_json(root / "metrics/evaluation.json", {"test": decisive, "validation": decisive})
    write_json(root / "metrics/test.json", asdict(tested))
    write_json(root / "metrics/weak_spots.json", asdict(record.WeakSpots(2 * pictures, 0, [])))
    write_json(root / "metrics/split.json", {"pictures": {"test": pictures}})
    for name in ("head", "model"):
        write_json(root / f"metrics/{name}.json", {"epochs": 2})
        epochs = [(2 * (name == "model") + epoch, 0.5, 0.6, 0.7, 0.8) for epoch in (1, 2)]
        write_csv(
            root / f"plots/{name}.csv", TAKEN, [(*row, int(row is epochs[-1])) for row in epochs]
        )
    table = metrics.confusion(labels, tables["fine_tuned"].argmax(axis=1), len(CLASSES))
    write_csv(
        root / "plots/confusion_fine_tuned.csv",
        ("actual", "predicted", "pictures"),
        [(CLASSES[a], CLASSES[b], int(count)) for (a, b), count in np.ndenumerate(table)],
    )


def write_two(repository: Repository) -> None:
    """`main`, an experiment `bolder` of other parameters, and a workspace like it."""
    repository.dvc("remote", "add", "--default", "store", str(repository.path.parent / "store"))
    write_run(repository, wrong=set(range(10)))
    repository.dvc("commit", "--force", "--quiet")
    repository.commit("Run it")
    repository.edit({"fine_tune_at": 11})
    write_run(repository, wrong={0, 1, 39})
    repository.dvc("commit", "--force", "--quiet")
    repository.dvc("exp", "save", "--name", "bolder")


@contextlib.contextmanager
def restored(repository: Repository, *patterns: str) -> Iterator[Repository]:
    """A repository whose files of these patterns are put back afterwards."""
    paths = [path for pattern in patterns for path in repository.path.glob(pattern)]
    kept = {path: path.read_bytes() for path in paths}
    yield repository
    for path, content in kept.items():
        path.write_bytes(content)
