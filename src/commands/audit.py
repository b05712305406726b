"""Look for wrong labels, copies, outliers and bad pictures: audit/.

    make audit [TEST=1]
    python src audit [--test]

Reads the folds' predictions, which it makes where they are missing, and the cached features.
Prints the worst of each kind and writes audit/findings.csv; `make page` shows them with buttons
that gather what you decide into the text of corrections.csv. The test pictures are left alone, so
that their figures stay honest; --test looks at these instead, by what the current model says.
"""

import argparse
import hashlib
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

import workspace
from thaw.core import engines
from thaw.core.arguments import Parser
from thaw.core.errors import ThawError, shortlist
from thaw.core.progress import track
from thaw.features import cache
from thaw.files import tables
from thaw.pictures.depths import BitDepth
from thaw.review import auditing, folds, label_errors, reports, traits
from thaw.review.auditing import Finding, Picture
from thaw.review.label_errors import Array, Near, Numbers
from thaw.review.revisions import WORKSPACE, opened
from thaw.splitting import corrections

PARTS = ("train", "validation")


def arguments() -> argparse.Namespace:
    parser = Parser(__doc__)
    parser.add_argument(
        "--test", action="store_true", help="look at the test pictures, and at no others"
    )
    return parser.read()


def read_folds() -> folds.Folds:
    """The folds of the present parameters; made first where there are none."""
    for tried in range(2):
        with opened(WORKSPACE) as now:
            found = folds.read(now)
        if found is not None:
            return found
        if tried == 0:
            print("no folds of these parameters are there yet: makes them first", flush=True)
            command = [sys.executable, str(Path(__file__).parents[1]), "folds"]
            if code := subprocess.run(command, check=False).returncode:
                raise SystemExit(code)
    raise ThawError(f"{folds.PREDICTIONS} changed while it was read; run `make audit` again")


def by_path(found: folds.Folds, paths: Sequence[str]) -> tuple[Array, Numbers]:
    """(N, C) the mean over repeats of the last model's probabilities, and (N,) units."""
    columns = pd.DataFrame(found.probabilities[folds.models(found.result)[-1]])
    mean = columns.groupby(found.table["path"]).mean().loc[list(paths)]
    cluster = found.table.drop_duplicates("path").set_index("path")["cluster"]
    return mean.to_numpy(), pd.factorize(cluster.loc[list(paths)])[0].astype(np.int64)


@dataclass(frozen=True)
class Look:
    """Measures how a picture looks."""

    bit_depth: BitDepth

    def start(self) -> Callable[[str], traits.Traits]:
        """From a picture's path to its traits."""

        def work(path: str) -> traits.Traits:
            engines.works_on(str(workspace.IMAGES / path))
            return traits.look(workspace.IMAGES / path, self.bit_depth)

        return work


def look(paths: Sequence[str], bit_depth: BitDepth) -> list[traits.Traits]:
    return list(track(engines.spread(Look(bit_depth), paths), "looking", len(paths)))


def pictures(rows: pd.DataFrame, shares: Array, classes: Sequence[str]) -> list[Picture]:
    best = shares.argmax(axis=1)
    return [
        Picture(path, label, split, classes[best[row]], float(shares[row, best[row]]))
        for row, (path, label, split) in enumerate(
            zip(rows["path"], rows["label"], rows["split"], strict=True)
        )
    ]


def learnt(rows: pd.DataFrame) -> tuple[pd.DataFrame, list[Array], Numbers, Near, list[str]]:
    """Of the pictures to train and validate on: rows, what models say, units, neighbours."""
    found = read_folds()
    rows = pd.concat([rows[rows["split"] == name] for name in PARTS]).reset_index(drop=True)
    classes = list(found.classes)
    shares, units = by_path(found, rows["path"].tolist())
    cached = [cache.read(workspace.FEATURES, f"{name}_bottleneck") for name in PARTS]
    of = label_errors.features(*cached)
    labels = numbers(rows, classes)
    by_ridge = label_errors.ridge(of, labels, units, len(classes))
    near = label_errors.nearest(of, auditing.AROUND)
    return rows, [shares, by_ridge], units, near, classes


def tested(rows: pd.DataFrame) -> tuple[pd.DataFrame, list[Array], list[str]]:
    """Of the test pictures: rows, and what the current model says."""
    with opened(WORKSPACE) as now:
        if stale := now.stale():
            raise ThawError(
                f"{workspace.PREDICTIONS} was made before these changed in params.yaml: "
                f"{shortlist(stale)}; run `dvc repro`"
            )
    found = reports.predictions(workspace.PREDICTIONS.read_text("utf-8"))
    rows = rows[rows["path"].isin(found.labels)].set_index("path").loc[[*found.labels]]
    return rows.reset_index(), [found.probabilities["fine_tuned"]], list(found.classes)


def numbers(rows: pd.DataFrame, classes: Sequence[str]) -> Numbers:
    return np.array([*map([*classes].index, rows["label"])], np.int64)


def main() -> None:
    given = arguments()
    params = workspace.read_params()
    every = tables.read(workspace.SPLIT)
    near: Near | None = None
    if given.test:
        rows, shares, classes = tested(every)
        units = np.arange(len(rows))
    else:
        rows, shares, units, near, classes = learnt(every)
    labels = numbers(rows, classes)
    known = pictures(rows, shares[0], classes)
    right = {
        each.path
        for each in corrections.read(workspace.CORRECTIONS)
        if each.label != corrections.DROP
    }
    found: list[Finding]
    found, joint = auditing.by_labels(known, shares, labels, classes, near, right)
    looked = look(rows["path"].tolist(), params.bit_depth)
    contents = {each.path: seen.content for each, seen in zip(known, looked, strict=True)}
    pairs = [
        (one, other, float(like), how)
        for one, other, like, how in tables.read(workspace.NEAR_DUPLICATES).to_numpy().tolist()
    ]
    others = {
        path: Picture(path, label, split)
        for path, label, split in every[["path", "label", "split"]].to_numpy().tolist()
    }
    ours = {each.path: each for each in known}
    pairs = [pair for pair in [*auditing.identical(contents), *pairs] if {*pair[:2]} & {*ours}]
    found += auditing.copies(pairs, others | ours)
    if near is not None:
        found += auditing.outliers(known, near)
    found += auditing.amiss(known, looked, near)
    giveaways = traits.giveaways(looked, labels, units)
    facts = {
        "of": "test" if given.test else "training and validation",
        "pictures": len(known),
        "classes": classes,
        "wrong": int(joint.sum() - np.trace(joint)),
        "joint": joint.tolist(),
        "split": hashlib.sha256(workspace.SPLIT.read_bytes()).hexdigest(),
    }
    auditing.write(found, giveaways, facts)
    print(auditing.text(found, giveaways, facts))
    print(f"\nwritten: {auditing.FINDINGS}; `make page` shows the pictures, with buttons to decide")
