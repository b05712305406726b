"""The plain Keras recipe and Thaw on the same pictures, in one run.

    make bench          # the recipe as it is, 2,000 + 1,000 pictures
    make bench-quick    # few pictures and epochs, for a look
    make bench SOURCE=file:///…/cats_and_dogs_filtered.zip

The recipe is the TensorFlow tutorial's: recipes/tensorflow-tutorial.yaml for Thaw, the tutorial's
own code in plain_keras.py. Where something repeats, the two take turns. Writes
benchmarks/results/bench.json and .md, or quick.json and .md.
"""

import argparse
from dataclasses import asdict, dataclass, field
from pathlib import Path

import tables
import workspaces
from processes import Child, run
from thaw.core import errors
from workspaces import Shares, Workspace

HERE = Path(__file__).resolve().parent
DOWNSTREAM = ("fine_tune", "decide", "evaluate")
STAGES = ("split", "freeze", "extract_features", "train_head", *DOWNSTREAM)
JOBS = ("network", "decoded", "views", "steps")
TRAININGS = ("steps", "vgg_epoch")  # which are done with bfloat16, too
ROUNDED = {"precision": "bfloat16"}


@dataclass(frozen=True)
class Form:
    """How much is run."""

    name: str
    pictures: Shares | None  # of the whole runs; None for all
    epochs: int  # of the head, and of fine-tuning
    views: int
    sample: Shares | None  # of extraction and fine-tuning steps; None for those of the whole runs
    turns: int
    vgg_sample: Shares
    vgg_turns: int


FULL = Form(
    name="bench",
    pictures=None,
    epochs=10,
    views=4,
    sample={"train": 320, "validation": 100},
    turns=5,
    vgg_sample={"train": 640, "validation": 320},
    vgg_turns=3,
)
QUICK = Form(
    name="quick",
    pictures={"train": 128, "validation": 80},
    epochs=2,
    views=2,
    sample=None,
    turns=3,
    vgg_sample={"train": 64, "validation": 20},
    vgg_turns=1,
)


@dataclass
class Found:
    """The measurements so far."""

    pictures: dict[str, int] = field(default_factory=dict)  # of each split in the whole runs
    samples: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    stages: dict[str, list[tuple[float, float]]] = field(default_factory=dict)  # seconds, MB
    vgg_extraction_seconds: float = 0.0

    def add(self, name: str, plain: float, thaw: float) -> None:
        for side, value in (("plain", plain), ("thaw", thaw)):
            self.samples.setdefault(name, {}).setdefault(side, []).append(value)
        unit = tables.MEASURES[name].unit
        print(f"  {tables.MEASURES[name].title}: {plain:.1f} and {thaw:.1f} {unit}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--source", help="where the pictures are, instead of their usual address")
    parser.add_argument("--quick", action="store_true", help="few pictures and epochs")
    parser.add_argument("--repeat", type=int, default=1, help="whole runs of each (default: 1)")
    given = parser.parse_args()
    form = QUICK if given.quick else FULL
    with workspaces.temporary() as folder:
        found = measure(folder, form, given.source, given.repeat)
    write(found, form, given.repeat)


def measure(folder: Path, form: Form, source: str | None, repeat: int) -> Found:
    """All measurements of a form."""
    found = Found()
    params = workspaces.read_params(form.epochs, form.views, "tensorflow-tutorial")
    title("pictures and weights")
    everything = workspaces.create(
        folder / "everything", params | {"dataset": "cats_and_dogs", "source": source}
    )
    everything.stage("download")
    if form.pictures:
        whole = workspaces.part_of(everything, folder / "whole", params, form.pictures)
    else:
        whole = everything
        for name in ("weights", "split"):
            whole.stage(name)
    split = whole.read("metrics/split.json")["pictures"]
    found.pictures = {part: sum(classes.values()) for part, classes in split.items()}
    for number in range(repeat):
        compare_runs(found, whole, form.epochs, f"{number + 1} of {repeat}")

    sample = whole
    if form.sample:
        title("pictures for extraction and fine-tuning steps")
        sample = workspaces.part_of(everything, folder / "sample", params, form.sample)
        for name in ("freeze", "extract_features"):
            sample.stage(name)
    take_turns(found, sample, JOBS, form.turns, form.views)

    title("VGG16")
    params = workspaces.vgg16(params)
    vgg = workspaces.part_of(everything, folder / "vgg16", params, form.vgg_sample)
    found.vgg_extraction_seconds = sum(
        vgg.stage(name).seconds for name in ("freeze", "extract_features")
    )
    take_turns(found, vgg, ("vgg_epoch",), form.vgg_turns, views=1)
    return found


def compare_runs(found: Found, workspace: Workspace, epochs: int, which: str) -> None:
    """The recipe from its start to its end, then what a change costs."""
    title(f"plain Keras, whole run {which}")
    plain = run(workspace.folder, HERE / "plain_keras.py", str(epochs), "plain.json")
    theirs = workspace.read("plain.json")
    title(f"Thaw, whole run {which}")
    used = {name: workspace.stage(name) for name in STAGES}
    ours = accuracies(workspace)
    title(f"Thaw, `fine_tune_at` changed, {which}")
    changed = [workspace.stage(name, fine_tune_at=120) for name in DOWNSTREAM]
    title(f"Thaw, `fine_tune.precision: bfloat16`, {which}")
    how = workspace.params["fine_tune"] | ROUNDED
    rounded = used | {name: workspace.stage(name, fine_tune=how) for name in DOWNSTREAM}
    again = accuracies(workspace)
    title(f"Thaw, head changed, {which}")
    head = workspace.stage("train_head", head=workspace.params["head"] | {"dropout": 0.5})

    for name, usage in used.items():
        found.stages.setdefault(name, []).append((usage.seconds, usage.peak_mb))
    found.add("whole", plain.seconds, sum(usage.seconds for usage in used.values()))
    found.add("fine_tune_at", plain.seconds, sum(usage.seconds for usage in changed))
    found.add("head", plain.seconds - theirs["seconds_after_head"], head.seconds)
    found.add("memory", plain.peak_mb, max(usage.peak_mb for usage in used.values()))
    found.add("whole_rounded", plain.seconds, sum(usage.seconds for usage in rounded.values()))
    for name, value in ours.items():
        found.add(name, 100 * theirs[name], 100 * value)
        if name.startswith("fine_tuned"):
            found.add(f"{name}_rounded", 100 * theirs[name], 100 * again[name])


def accuracies(workspace: Workspace) -> dict[str, float]:
    """Of both models, on validation and test pictures, as the stages last wrote them."""
    found = {
        "head_validation": workspace.read("metrics/head.json")["validation_accuracy"],
        "fine_tuned_validation": workspace.read("metrics/model.json")["validation_accuracy"],
    }
    for model, scores in workspace.read("metrics/evaluation.json")["test"].items():
        found[f"{model}_test"] = scores["accuracy"]
    return found


def take_turns(
    found: Found, workspace: Workspace, jobs: tuple[str, ...], turns: int, views: int
) -> None:
    """Have a process of each side do each job, in turn; a third trains with bfloat16."""
    workspace.write_params()
    worker = HERE / "thaw_worker.py"
    with (
        Child(workspace.folder, HERE / "plain_worker.py", str(views)) as plain,
        Child(workspace.folder, worker) as thaw,
        Child(workspace.folder, worker, ROUNDED["precision"]) as rounded,
    ):
        for job in jobs:
            title(tables.MEASURES[job].title)
            ours = {job: thaw} | ({f"{job}_rounded": rounded} if job in TRAININGS else {})
            for _ in range(turns):
                theirs = plain.turn(job)
                for name, child in ours.items():
                    pair = (theirs, child.turn(job))
                    if tables.MEASURES[name].unit == "s":
                        found.add(name, *(turn.seconds for turn in pair))
                    else:
                        found.add(name, *(turn.pictures / turn.seconds for turn in pair))


def write(found: Found, form: Form, repeat: int) -> None:
    """Write and show the results."""
    machine = tables.machine()
    content = {
        "machine": machine,
        "form": asdict(form) | {"repeat": repeat},
        "pictures": found.pictures,
        "measures": tables.summary(found.samples),
        "stages": {
            name: [{"seconds": seconds, "peak_mb": peak} for seconds, peak in runs]
            for name, runs in found.stages.items()
        },
        "vgg_extraction_seconds": found.vgg_extraction_seconds,
    }
    parts = [
        f"{tables.machine_line(machine)} {described(found, form, repeat)}\n",
        tables.table(found.samples),
        tables.NOTES,
        "Thaw's stages in the whole run:\n",
        tables.stage_table(found.stages),
        f"VGG16's cache took {found.vgg_extraction_seconds:.0f} s, once, start-up included.\n",
    ]
    tables.write(form.name, content, "\n".join(parts))


def described(found: Found, form: Form, repeat: int) -> str:
    """What was run, in a few sentences."""

    def counts(shares: Shares) -> str:
        return f"{shares['train']:,} training and {shares['validation']:,} held-out pictures"

    whole = ", ".join(f"{count:,} {part}" for part, count in found.pictures.items())
    return (
        f"The TensorFlow tutorial's recipe, {form.epochs} + {form.epochs} epochs; pictures: "
        f"{whole}; whole runs of each: {repeat}. Extraction and fine-tuning steps on "
        f"{counts(form.sample) if form.sample else 'the same'}, {form.views} augmented views; "
        f"turns of each: {form.turns}. VGG16 on {counts(form.vgg_sample)}; turns of each: "
        f"{form.vgg_turns}."
    )


def title(text: str) -> None:
    print(f"\n== {text}", flush=True)


if __name__ == "__main__":
    errors.run(main)
