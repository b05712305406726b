"""How much the result depends on chance: the stages of params.yaml, run for several seeds.

    python benchmarks/seeds.py                                       # seed 1 to 5, one split
    python benchmarks/seeds.py --split-seeds 1 2 3 4 5               # one seed, five splits
    python benchmarks/seeds.py --seeds 1 2 3 4 5 --split-seeds 1 2 3 4 5 --set class_weight=balanced

--seeds varies `seed`, of training, on the split of split.seed: all runs train and are tested on the
same pictures, views and features. --split-seeds varies split.seed, as publications report it; what
was chosen on the pictures of one split was then chosen on test pictures of another. Both tables
compare the fine-tuned model with the head's on the same pictures.

All runs in a temporary folder, downloads included, and gives what the pipeline gives. Features are
computed once a split, or once altogether where all views of a picture are cached. Writes
benchmarks/results/seeds.json and .md (or --name).

One run at a time, on this machine, since the table gives the minutes of each. On a cluster, seeds
are runs of a sweep: `make sweep SET="seed=1,2,3,4,5" TEST=1`, with `engine: ray`.
"""

import argparse
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from statistics import mean, stdev
from typing import Any

import caches
import judging
import tables
import workspace
import workspaces
from judging import MODELS, Judged
from thaw.core import errors
from thaw.drawing import markdown
from workspaces import Workspace

SHOWN = {
    "accuracy": "accuracy",
    "loss": "log loss",
    "f1": "F1",
    "roc_auc": "ROC AUC",
    "calibration_error": "calibration error",
}
SEEDS = [1, 2, 3, 4, 5]
OVERLAP = (
    "The test pictures of one split are training and validation pictures of another, among them "
    "those that parameters were chosen on. So these figures are for comparison with publications, "
    "which report the like; they are no test that nothing was chosen by."
)


@dataclass(frozen=True)
class Run:
    """One run of the stages."""

    split_seed: int
    seed: int
    judged: Judged
    minutes: dict[str, float]  # of extraction (where the features are others'), head, fine-tuning


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[], metavar="SEED")
    parser.add_argument("--split-seeds", type=int, nargs="+", default=[], metavar="SEED")
    parser.add_argument("--part", choices=["validation", "test"], default="test")
    parser.add_argument("--recipe", help="of recipes/, without .yaml")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--name", default="seeds")
    given = parser.parse_args()
    params = workspaces.merged(given.recipe, given.set)
    seed, split_seed = params["seed"], params["split"]["seed"]
    seeds = given.seeds or ([] if given.split_seeds else SEEDS)
    groups = {
        "seeds": [(split_seed, each) for each in seeds],
        "split_seeds": [(each, seed) for each in given.split_seeds],
    }
    with workspaces.temporary() as folder:
        made = workspaces.create(folder / "run", params)
        runs = repeat(made, [*groups["seeds"], *groups["split_seeds"]], given.part)
    found = {name: [runs[key] for key in keys] for name, keys in groups.items() if keys}
    machine = tables.machine()
    settings = [f"recipe {given.recipe}"] if given.recipe else []
    settings += [told(each) for each in given.set]
    changed = f" With {', '.join(map(markdown.code, settings))}." if settings else ""
    page = f"{tables.machine_line(machine)} Pictures: {given.part}.{changed}\n\n"
    content = {"machine": machine, "part": given.part, "settings": settings}
    thawed = params["fine_tune_at"] is not None
    page += "\n".join(section(name, of, given.part, thawed=thawed) for name, of in found.items())
    tables.write(given.name, content | {n: record(of) for n, of in found.items()}, page)


def told(setting: str) -> str:
    """A setting without this machine's folders."""
    name, equals, value = setting.partition("=")
    return f"{name}{equals}{markdown.place(value)}"


def repeat(
    made: Workspace, chosen: Sequence[tuple[int, int]], part: str
) -> dict[tuple[int, int], Run]:
    """Run the stages for each split.seed and seed.

    Args:
        made: a workspace without data.
        chosen: what to run.
        part: of the split, whose pictures both models are compared on.
    """
    for name in ("download", "weights", "freeze"):
        made.stage(name)
    order = sorted(set(chosen))
    everything = None
    if len({split_seed for split_seed, _ in order}) > 1 and caches.shared(made):
        made.stage("split")
        everything = caches.extract(made, made.rows(workspace.SPLIT))
    found: dict[tuple[int, int], Run] = {}
    for split_seed, keys in groupby(order, lambda key: key[0]):
        split = made.params["split"] | {"seed": split_seed}
        own = Workspace(made.folder, made.params | {"split": split})
        own.stage("split")
        if everything:
            caches.select(own, everything)
            seconds = 0.0 if found else everything.seconds
        else:
            seconds = own.stage("extract_features").seconds
        for _, seed in keys:
            took = {"extraction": seconds, **train(own, seed)}
            judged = judging.judge(own, part)
            minutes = {name: each / 60 for name, each in took.items()}
            found[split_seed, seed] = Run(split_seed, seed, judged, minutes)
            seconds = 0.0
            shown = ", ".join(f"{m} {judged.scores[m]['accuracy']:.4f}" for m in MODELS)
            print(
                f"split.seed {split_seed}, seed {seed} ({len(found)} of {len(order)}): {shown}, "
                f"{sum(minutes.values()):.1f} min",
                flush=True,
            )
    return found


def train(made: Workspace, seed: int) -> dict[str, float]:
    """Train the head, then fine-tune, on the features that are there; the seconds of each."""
    stages = {"head": "train_head", "fine_tuning": "fine_tune"}
    return {name: made.stage(stage, seed=seed).seconds for name, stage in stages.items()}


def record(runs: Sequence[Run]) -> dict[str, Any]:
    """What is kept of runs."""
    rows = [
        {
            "split_seed": run.split_seed,
            "seed": run.seed,
            "scores": {m: {n: run.judged.scores[m][n] for n in SHOWN} for m in MODELS},
            "minutes": run.minutes,
        }
        for run in runs
    ]
    return {"runs": rows, "paired": asdict(judging.together([run.judged for run in runs]))}


def section(name: str, runs: Sequence[Run], part: str, *, thawed: bool) -> str:
    """Runs of which one seed varies, as Markdown; where nothing was thawed, of the head alone."""
    judged = [run.judged for run in runs]
    if name == "seeds":
        seeds = ", ".join(str(run.seed) for run in runs)
        title = f"One split, `seed` {seeds}"
        about = (
            f"split.seed is {runs[0].split_seed}: all train on the same pictures and views, and "
            f"are compared on the same {len(judged[0].paths):,} {part} pictures."
        )
    else:
        seeds = ", ".join(str(run.split_seed) for run in runs)
        title = f"One seed of training, `split.seed` {seeds}"
        about = f"`seed` is {runs[0].seed}.{f' {OVERLAP}' * (part == 'test')}"
    compared = [sentence(judging.together(judged))] if thawed else []
    models = MODELS if thawed else MODELS[:1]
    parts = [f"## {title}", about, table(judged, models), *compared, minutes(runs, thawed=thawed)]
    return "\n\n".join(parts) + "\n"


def table(judged: Sequence[Judged], models: Sequence[str] = MODELS) -> str:
    """Mean and standard deviation over runs as a Markdown table, a line a model."""
    rows = []
    for model in models:
        columns = {name: [each.scores[model][name] for each in judged] for name in SHOWN}
        every = ", ".join(f"{value:.4f}" for value in columns["accuracy"])
        rows.append([model.replace("_", "-"), *map(spread, columns.values()), every])
    return markdown.table(("mean ± deviation", *SHOWN.values(), "accuracy of each"), rows)


def sentence(paired: judging.Paired) -> str:
    """The paired difference in words."""
    return (
        f"Fine-tuned less head, over {paired.predictions:,} predictions of {paired.pictures:,} "
        f"pictures: {paired.shown} points, {paired.mended} mended, {paired.broken} broken, "
        f"p = {paired.p_value:.2g}. Each picture counts as one, however often it was predicted: "
        "its differences are summed for the standard error (±) and for the test, which flips the "
        "signs of these sums. So p is of other pictures with these seeds; how far seeds differ is "
        "the deviation above."
    )


def minutes(runs: Sequence[Run], *, thawed: bool) -> str:
    """What each run took, as a Markdown table."""
    columns = ("split.seed", "seed", "extraction, min", "head", "fine-tuning")
    rows = [
        [
            str(run.split_seed),
            str(run.seed),
            *(f"{value:.1f}" if value else "–" for value in run.minutes.values()),
        ]
        for run in runs
    ]
    end = None if thawed else -1
    return markdown.table(columns[:end], [row[:end] for row in rows])


def spread(values: list[float]) -> str:
    """Mean ± standard deviation; of one value, the value."""
    if len(values) == 1:
        return f"{values[0]:.4f}"
    return f"{mean(values):.4f} ± {stdev(values):.4f}"


if __name__ == "__main__":
    errors.run(main)
