"""Which network and which recipe: candidates compared by folds, on validation pictures alone.

    python benchmarks/recipes.py --dataset elpv [NAME…] [--folds 3] [--only-folds 0] [--seeds 1]
    python benchmarks/recipes.py --dataset cats_and_dogs --source file:///path/to/pictures.zip

A candidate is a file of benchmarks/candidates/: a sentence, the dataset it is for, and what it
overrides in params.yaml, or in a recipe of recipes/ that it names. The test pictures of split.seed
are set aside and never read. The others are divided into folds, by class, identical pictures in one
fold; each fold in turn is the validation part, and the others train. Both models then predict the
fold, by the mean over views.

Each run, of one fold and seed, is kept as soon as it has ended, in recipes-DATASET.json of
benchmarks/results/, with a table beside it. What is known isn't run again, unless the candidate's
parameters or the pictures are others now: stop it and go on, add candidates and folds as you like.
Everything else lies in a temporary folder (TMPDIR), some GB of features.
"""

import argparse
import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Annotated, Any

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field
from sklearn.model_selection import StratifiedGroupKFold

import caches
import judging
import library
import seeds
import tables
import workspace
import workspaces
from judging import MODELS
from thaw.core import consistency, errors
from thaw.core.errors import ThawError, shortlist
from thaw.core.params import parse
from thaw.drawing import markdown
from thaw.files import catalogues
from thaw.review import recipes
from thaw.splitting.screening import screen
from workspaces import Params, Workspace

CANDIDATES = library.ROOT / "benchmarks/candidates"
SCORES = ("accuracy", "loss", "roc_auc")
NO_RESULT = ("cores", "seed", "source", "tensorboard")  # are no part of what a candidate is
KEY = ("candidate", "digest", "folds", "fold", "seed")  # of a run
Text = Annotated[str, Field(min_length=1)]
Record = dict[str, Any]  # a run, as it is kept


class Candidate(BaseModel):
    """A file of `benchmarks/candidates/`."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    about: Text
    dataset: Text
    recipe: Text | None = None  # of recipes/, which it begins with
    params: dict[str, Any] = {}  # what it overrides


@dataclass(frozen=True)
class Pictures:
    """A dataset without its test pictures, in folds."""

    data: Workspace  # where it lies
    rows: list[caches.Row]  # of split.csv
    folds: list[int]  # of each row
    tested: int  # how many test pictures were set aside
    digest: str


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="default: all for the dataset")
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--only-folds", type=int, nargs="+", metavar="FOLD")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1], metavar="SEED")
    parser.add_argument("--source", help="where the pictures are, instead of their usual address")
    given = parser.parse_args()
    known = candidates(given.dataset)
    chosen = named(known, given.names, given.dataset)
    numbers = fold_numbers(given.folds, given.only_folds)
    with workspaces.temporary("what had ended is kept") as folder:
        pictures = prepare(folder / "data", given.dataset, given.source, given.folds)
        facts = {name: facts_of(name, params, pictures) for name, params in known.items()}
        result = Result(given.dataset, pictures, {n: each["digest"] for n, each in facts.items()})
        for place, (name, params) in enumerate(chosen.items(), 1):
            print(f"== {name} ({place} of {len(chosen)})", flush=True)
            wanted = [(fold, seed) for seed in given.seeds for fold in numbers]
            missing = [key for key in wanted if not result.has(facts[name], *key)]
            if not missing:
                print(f"  known: {len(wanted)} of {len(wanted)} runs", flush=True)
                continue
            made = workspaces.create(folder / "runs" / name, params)
            for run in runs(made, facts[name], pictures, missing):
                result.keep(run)
            shutil.rmtree(made.folder)
        page = result.write(result.runs)
    print(f"\n{page}", flush=True)


def fold_numbers(folds: int, only: Sequence[int] | None) -> list[int]:
    """Which folds to run.

    Raises:
        ThawError: when there is no such fold.
    """
    if folds < 2:
        raise ThawError(f"--folds {folds}: give 2 or more")
    for number in only or ():
        if number not in range(folds):
            raise ThawError(f"--only-folds {number}: of --folds {folds}, give 0 to {folds - 1}")
    return sorted(set(only or range(folds)))


def candidates(dataset: str) -> dict[str, Params]:
    """The parameters of all candidates for a dataset.

    Raises:
        ThawError: when one isn't sound, or there is none.
    """
    known = {n: catalogues.read(CANDIDATES, n, Candidate) for n in catalogues.names(CANDIDATES)}
    found = {n: parameters(n, each) for n, each in known.items() if each.dataset == dataset}
    if not found:
        datasets = shortlist(sorted({each.dataset for each in known.values()}))
        raise ThawError(f"--dataset {dataset}: there are candidates for {datasets}")
    return found


def named(known: Mapping[str, Params], names: Sequence[str], dataset: str) -> dict[str, Params]:
    """Those of some names; all without names.

    Raises:
        ThawError: when there is none of a name.
    """
    for name in names:
        if name not in known:
            raise ThawError(f"{name}: of candidates for {dataset}, give {shortlist([*known])}")
    return {name: known[name] for name in dict.fromkeys(names or known)}


def parameters(name: str, candidate: Candidate) -> Params:
    """All parameters of a candidate.

    Raises:
        ThawError: when they aren't sound, or would choose other pictures than the others' do.
    """
    place = f"benchmarks/candidates/{name}.yaml"
    ours = workspaces.merged()
    values = recipes.merge(workspaces.merged(candidate.recipe), candidate.params)
    values |= {"dataset": candidate.dataset, "source": None}
    consistency.check(parse(values, place), place)
    if values["split"] != ours["split"] or values["seed"] != ours["seed"]:
        raise ThawError(f"{place}: split and seed are those of params.yaml for all; remove them")
    return values


def prepare(folder: Path, dataset: str, source: str | None, folds: int) -> Pictures:
    """Fetch a dataset, set its test pictures aside, and divide the others into folds."""
    if source and Path(source).exists():
        source = str(Path(source).resolve())
    data = workspaces.create(folder, workspaces.merged() | {"dataset": dataset, "source": source})
    for name in ("download", "split"):
        data.stage(name)
    every = data.rows(workspace.SPLIT)
    rows: list[caches.Row] = [row for row in every if row["split"] != "test"]
    images, report = folder / workspace.IMAGES, folder / "unread.csv"
    content, _, _ = screen(pd.DataFrame(rows), images, "fail", report, data.params["bit_depth"])
    digest = hashlib.sha256()
    for row in rows:
        digest.update(f"{row['path']}\0{row['label']}\0{content[row['path']]}\n".encode())
    number = divide(rows, content, folds, data.params["split"]["seed"])
    return Pictures(data, rows, number, len(every) - len(rows), digest.hexdigest())


def divide(
    rows: Sequence[caches.Row], content: Mapping[str, str], folds: int, seed: int
) -> list[int]:
    """The fold of each picture: by class, identical pictures in one fold.

    Raises:
        ThawError: when a class has fewer pictures than there are folds.
    """
    labels = [row["label"] for row in rows]
    fewest = min(labels, key=labels.count)
    if labels.count(fewest) < folds:
        raise ThawError(
            f"--folds {folds}: {fewest} has {labels.count(fewest)} pictures; give fewer"
        )
    groups = [content[row["path"]] for row in rows]
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    found = np.zeros(len(rows), int)
    for number, (_, held_out) in enumerate(splitter.split(labels, labels, groups)):
        found[held_out] = number
    return [int(each) for each in found]


def runs(
    made: Workspace, facts: Record, pictures: Pictures, missing: Sequence[tuple[int, int]]
) -> Iterator[Record]:
    """Run folds and seeds of a candidate, each a record, on features that are computed once."""
    (made.folder / workspace.RAW).parent.mkdir(parents=True, exist_ok=True)
    (made.folder / workspace.RAW).symlink_to(pictures.data.folder / workspace.RAW)
    for name in ("weights", "freeze"):
        made.stage(name)
    everything = caches.extract(made, pictures.rows)
    for place, (fold, seed) in enumerate(missing, 1):
        parts = ["validation" if each == fold else "train" for each in pictures.folds]
        rows = zip(pictures.rows, parts, strict=True)
        caches.write_split(made, [{**row, "split": part} for row, part in rows])
        caches.select(made, everything)
        took = seeds.train(made, seed)
        judged = judging.judge(made, "validation")
        shown = ", ".join(f"{m} {judged.scores[m]['accuracy']:.4f}" for m in MODELS)
        print(
            f"{facts['candidate']}, fold {fold} of {facts['folds']}, seed {seed} ({place} of "
            f"{len(missing)}): {shown}, {sum(took.values()) / 60:.1f} min",
            flush=True,
        )
        minutes = {"extraction": everything.seconds, **took}
        yield facts | {
            "fold": fold,
            "seed": seed,
            "minutes": {name: each / 60 for name, each in minutes.items()},
            "scores": {m: {n: judged.scores[m][n] for n in SCORES} for m in MODELS},
            "right": {m: "".join("01"[int(each)] for each in judged.right[m]) for m in MODELS},
        }


def facts_of(name: str, params: Params, pictures: Pictures) -> Record:
    """What a candidate's runs are known by, and what its line in the table says of it."""
    graph, _, _, thawed = consistency.layers(parse(params))
    followed = {key: value for key, value in params.items() if key not in NO_RESULT}
    text = json.dumps([followed, pictures.digest], sort_keys=True)
    return {
        "candidate": name,
        "digest": hashlib.sha256(text.encode()).hexdigest()[:16],
        "folds": max(pictures.folds) + 1,
        "network": params["base_model"],
        "thawed": None if thawed is None else graph.layers[thawed],
        "image_size": params["image_size"],
    }


@dataclass(frozen=True)
class Result:
    """The runs of a dataset's candidates, in a file that several processes may write in turn."""

    dataset: str
    pictures: Pictures
    digests: Mapping[str, str]  # of the candidates as they are now

    @property
    def name(self) -> str:
        return f"recipes-{self.dataset}"

    @property
    def runs(self) -> list[Record]:
        path = tables.RESULTS / f"{self.name}.json"
        return list(workspace.read_json(path)["runs"]) if path.exists() else []

    def has(self, facts: Record, fold: int, seed: int) -> bool:
        wanted = facts | {"fold": fold, "seed": seed}
        return any(all(wanted[key] == each[key] for key in KEY) for each in self.runs)

    def keep(self, run: Record) -> None:
        """Add a run; those of the same candidate with other parameters or pictures go."""
        name, digest = run["candidate"], run["digest"]
        rest = [r for r in self.runs if r["candidate"] != name or r["digest"] == digest]
        self.write([*rest, run])

    def write(self, kept: Sequence[Record]) -> str:
        """Write runs and their table; the table."""
        kept = sorted(kept, key=lambda run: [run[key] for key in KEY])
        machine = tables.machine()
        page = (
            f"{tables.machine_line(machine)}\n\n`{self.dataset}`: {len(self.pictures.rows):,} "
            f"pictures in folds; {self.pictures.tested:,} test pictures were set aside and not "
            f"read.\n\n{table(kept, self.digests)}"
        )
        tables.save(self.name, {"machine": machine, "runs": kept}, page)
        return page


NOTES = """\
Each fold in turn was the validation part, and the others trained. Lines are sorted by log loss. \
It and ROC AUC are of the model that ships, means over runs. Accuracy is over all predictions, ± \
its standard error; fine-tuned less head is in points of it, on the same pictures. A picture's \
predictions with several seeds count as one.

A training takes its epoch (`select`), and a linear head its C, by the very pictures that it is \
compared on. That flatters all, and most those with many epochs; so the choice is tested once, on \
the test pictures, by `python benchmarks/seeds.py`.

Minutes: features of all pictures, once, + training the head + fine-tuning, of a fold.
"""


def table(kept: Sequence[Record], digests: Mapping[str, str]) -> str:
    """A line a candidate, the least log loss first, and what the lines are.

    Args:
        kept: all runs.
        digests: of the candidates as they are now; a line of others says so.
    """
    columns = ("candidate", "network", "thawed from", "pixels", "head", "fine-tuned", "ROC AUC",
               "log loss", "fine-tuned less head", "minutes", "runs")  # fmt: skip
    lines: dict[tuple[str, int], list[Record]] = {}
    for run in kept:
        lines.setdefault((run["candidate"], run["folds"]), []).append(run)
    rows = [line(of, digests) for of in sorted(lines.values(), key=rank)]
    return f"{markdown.table(columns, rows)}\n\n{NOTES}"


def rank(of: Sequence[Record]) -> tuple[bool, float]:
    """Whether folds are missing, and the log loss of what ships."""
    return len({run["fold"] for run in of}) < of[0]["folds"], loss(of)


def loss(of: Sequence[Record]) -> float:
    return mean(run["scores"]["fine_tuned"]["loss"] for run in of)


def line(of: Sequence[Record], digests: Mapping[str, str]) -> list[str]:
    """The cells of one candidate's runs."""
    first = of[0]
    name, tuned = first["candidate"], first["thawed"] is not None
    pictures = [(run["fold"], n) for run in of for n in range(len(run["right"]["head"]))]
    right = {m: np.array([bit == "1" for run in of for bit in run["right"][m]]) for m in MODELS}
    area = mean(run["scores"]["fine_tuned"]["roc_auc"] for run in of)
    took = [mean(run["minutes"][part] for run in of) for part in first["minutes"]]
    folds, seeds_ = (len({run[key] for run in of}) for key in ("fold", "seed"))
    return [
        f"`{name}`" + (" before its last change" if first["digest"] != digests.get(name) else ""),
        first["network"],
        f"`{first['thawed']}`" if tuned else "–",
        str(first["image_size"]),
        str(judging.mean(pictures, right["head"])),
        str(judging.mean(pictures, right["fine_tuned"])) if tuned else "–",
        f"{area:.4f}",
        f"{loss(of):.4f}",
        judging.paired(pictures, right["head"], right["fine_tuned"]).shown if tuned else "–",
        " + ".join(f"{each:.1f}" for each in took),
        f"{len(of)}: {folds} of {first['folds']} folds, {seeds_} seed{'s' * (seeds_ > 1)}",
    ]


if __name__ == "__main__":
    errors.run(main)
