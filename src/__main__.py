"""Stages and commands of Thaw.

python src train_head
python src predict photos/
python src COMMAND --help
"""

import fcntl
import importlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

STAGES = {
    "download": "fetch the chosen dataset, verify it, lay it out with a table of labels",
    "weights": "fetch the base model's pretrained weights",
    "split": "check every picture, divide them into training, validation and test",
    "extract_features": "run the frozen layers once over every view of every picture",
    "train_head": "train the head on the cached features",
    "fine_tune": "thaw the layers from fine_tune_at on and train them with the head",
    "evaluate": "compare the head-only and the fine-tuned model on the test pictures",
    "model_card": "say what the model is, was made from, can do and can't",
}
COMMANDS = {
    "predict": "classify pictures: class and confidence of each",
    "compare": "experiments side by side: what each changed, and what that did",
    "report": "two runs side by side for a pull request: report/",
    "page": "the current run as one HTML file: page/index.html",
    "watch": "learning curves in the terminal, while a training runs",
    "probe": "the depth at which features stop being general: where fine_tune_at should lie",
    "recipe": "list the published systems, or run one as an experiment",
    "demo": "a page on this machine where a dropped photo gets its class and heat map",
    "export": "the model as SavedModel, LiteRT and 8-bit LiteRT: export/",
}
LIGHT = {"recipe": "pydantic"}  # needs this alone; all others, all that requirements.txt names


def usage() -> str:
    width = max(map(len, (*STAGES, *COMMANDS)))
    lines = [str(__doc__).rstrip()]
    for title, table in (
        ("Commands:", COMMANDS),
        ("Stages, which `dvc repro` runs in this order:", STAGES),
    ):
        lines += ["", title, *(f"  {name:<{width}}  {about}" for name, about in table.items())]
    return "\n".join(lines)


def check_packages(name: str) -> None:
    """End with a sentence where Thaw's packages aren't installed."""
    if find_spec(LIGHT.get(name, "keras")) is None:
        sys.exit(
            f"error: {sys.executable} has none of Thaw's packages; run `make venv` once, then "
            "`source .venv/bin/activate`, and try again"
        )


def fix_hash_seed() -> None:
    """Begin again with PYTHONHASHSEED=0: the export to ONNX goes through sets of names."""
    if os.environ.get("PYTHONHASHSEED") != "0":
        os.environ["PYTHONHASHSEED"] = "0"
        os.execv(sys.executable, sys.orig_argv)


def run_stage(name: str) -> None:
    """Run a stage alone, leave no temporary file behind, and note what it ran on.

    A `dvc` that is killed may leave a stage running: the same stage then waits here for its end.
    What a stage that is killed leaves behind is removed when it runs again.
    """
    import workspace

    threads = workspace.read_params().threads  # before anything is made, maybe in a wrong folder
    with alone(name, workspace.UNFINISHED):
        importlib.import_module(f"stages.{name}").main()
        note_environment(name, threads, workspace.ENVIRONMENT)


@contextmanager
def alone(name: str, unfinished: Path) -> Iterator[None]:
    """Wait for the same stage to end, and give this process a folder for temporary files."""
    unfinished.mkdir(parents=True, exist_ok=True)
    with (unfinished / f"{name}.lock").open("a+") as lock:  # the system unlocks what is killed
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            pid = lock.read()
            print(f"waits for process {pid}, which runs this stage; `kill {pid}` ends it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        lock.truncate(0)
        print(os.getpid(), file=lock, end="", flush=True)
        temporary = unfinished.resolve() / f"{name}.tmp"
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        # For this process and those that it starts.
        tempfile.tempdir = os.environ["TMPDIR"] = str(temporary)
        try:
            yield
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def note_environment(stage: str, threads: int, path: Path) -> None:
    """Note in a file what a stage ran on; say where it is something new."""
    import json

    import numpy as np

    from thaw.core import environment
    from thaw.files.serialize import write_json

    simd = np.show_config(mode="dicts")["SIMD Extensions"]
    instructions = " ".join([*simd["baseline"], *simd.get("found", [])])
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # missing, or after a merge no JSON
        entries = []
    entries, differing = environment.record(entries, stage, environment.here(threads, instructions))
    write_json(path, entries)
    if differing:
        note = f"note: the bytes may differ from those recorded in {path}: {differing}"
        print(note, file=sys.stderr)


def main() -> None:
    name, *given = sys.argv[1:] or ["--help"]
    from thaw.core.errors import ThawError, run, shortlist

    def chosen() -> None:
        if name in STAGES and given:
            raise ThawError(
                f"{' '.join(given)}: stage {name} takes no arguments; its parameters are in "
                "params.yaml"
            )
        if name in STAGES:
            run_stage(name)
        elif name in COMMANDS:
            sys.argv = [f"python src {name}", *given]
            importlib.import_module(f"commands.{name}").main()
        elif name in ("-h", "--help", "help"):
            print(usage())
        else:
            raise ThawError(
                f"{name}: there is no such stage or command; give one of "
                f"{shortlist([*COMMANDS, *STAGES], 99)}"
            )

    if name in STAGES or name in COMMANDS:
        check_packages(name)
        fix_hash_seed()
    run(chosen)


if __name__ == "__main__":
    main()
