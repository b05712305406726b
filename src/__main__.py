"""Stages and commands of Thaw.

python src train_head
python src predict photos/
python src COMMAND --help
"""

import ast
import importlib
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

try:
    import fcntl
except ImportError:
    sys.exit(
        "error: Thaw runs on Linux and macOS; on Windows, run it in WSL "
        "(https://learn.microsoft.com/windows/wsl/install)"
    )

ROOT = Path(__file__).absolute().parents[1]
STAGES = (  # in the order in which `dvc repro` runs them
    "check",
    "download",
    "weights",
    "split",
    "freeze",
    "extract_features",
    "train_head",
    "fine_tune",
    "decide",
    "evaluate",
    "model_card",
)
COMMANDS = (
    "predict",
    "compare",
    "report",
    "folds",
    "gate",
    "robustness",
    "audit",
    "page",
    "watch",
    "probe",
    "lr",
    "recipe",
    "sweep",
    "demo",
    "export",
    "own",
    "undo",
)
BARE = (*STAGES, "probe", "lr", "undo")  # take no arguments
TRAINED = {"train_head": "data/head.onnx", "fine_tune": "data/fine_tuned.onnx"}
LIGHT = {"recipe": "pydantic"}  # needs this alone; all others, all that requirements.txt names


def usage() -> str:
    width = max(map(len, (*STAGES, *COMMANDS)))
    lines = [str(__doc__).rstrip()]
    for title, names in (
        ("Commands:", COMMANDS),
        ("Stages, which `dvc repro` runs in this order:", STAGES),
    ):
        lines += ["", title, *(f"  {name:<{width}}  {purpose(name)}" for name in names)]
    return "\n".join(lines)


def purpose(name: str) -> str:
    """The first line of what a stage or command says of itself."""
    line = docstring(name).partition("\n")[0]
    line = line.removeprefix(f"Stage `{name}`: ").removesuffix(".")
    return line[:1].lower() + line[1:]


def docstring(name: str) -> str:
    """Of a stage's or command's module, which isn't imported for it."""
    folder = Path(__file__).with_name("stages" if name in STAGES else "commands")
    return ast.get_docstring(ast.parse((folder / f"{name}.py").read_text("utf-8"))) or ""


def check_packages(name: str) -> None:
    """Go on in .venv where packages are missing here, as when `.venv/bin/dvc` runs this without
    activation; end with a sentence where they aren't there either.
    """
    if find_spec(LIGHT.get(name, "keras")) is None:
        for root in (ROOT, Path(os.environ.get("DVC_ROOT", ROOT))):  # of which this may be a copy
            python = root / ".venv/bin/python"
            if python.exists() and Path(sys.prefix).resolve() != (root / ".venv").resolve():
                os.execv(python, [str(python), *sys.argv])
        sys.exit(
            f"error: {sys.executable} lacks packages that Thaw needs; run `make venv` once, then "
            "`source .venv/bin/activate`, and try again"
        )


def fix_hash_seed() -> None:
    """Begin again with PYTHONHASHSEED=0: the export to ONNX goes through sets of names."""
    if os.environ.get("PYTHONHASHSEED") != "0":
        os.environ["PYTHONHASHSEED"] = "0"
        os.execv(sys.executable, sys.orig_argv)


def go_home() -> None:
    """Work where the pipeline lies when a command is given from a folder that has none."""
    if not (Path("params.yaml").exists() or Path("dvc.yaml").exists()):
        import workspace

        workspace.called_from = Path.cwd()
        os.chdir(ROOT)


def run_stage(name: str) -> None:
    """Run a stage alone, leave no temporary file behind, and note what it ran on.

    A `dvc` that is killed may leave a stage running: the same stage then waits here for its end.
    What a stage that is killed leaves behind is removed when it runs again.
    """
    import keeping
    import workspace

    threads = workspace.read_params().threads  # before anything is made, maybe in a wrong folder
    with alone(name, workspace.UNFINISHED):
        keeping.forget(name)
        began = time.monotonic()
        try:
            importlib.import_module(f"stages.{name}").main()
        finally:
            keeping.note(name)
        note_environment(name, threads, workspace.ENVIRONMENT)
        if name in TRAINED:
            note_seconds(name, time.monotonic() - began)


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


def note_seconds(stage: str, seconds: float) -> None:
    """Note how long a training took, by the checksum of its model: for `report`, on this machine.

    Git doesn't know the file: times differ in every run.
    """
    import hashlib

    import workspace
    from thaw.files.serialize import write_json

    model = hashlib.md5(Path(TRAINED[stage]).read_bytes(), usedforsecurity=False).hexdigest()
    found = workspace.read_seconds()
    found.setdefault(stage, {})[model] = round(seconds, 1)
    write_json(Path(os.environ.get("DVC_ROOT", ""), workspace.SECONDS), found)


def main() -> None:
    name, *given = sys.argv[1:] or ["--help"]
    from thaw.core.errors import ThawError, run, shortlist

    def chosen() -> None:
        if name in BARE and given in (["-h"], ["--help"]):
            print(f"usage: python src {name}\n\n{docstring(name)}")
        elif name in BARE and given:
            raise ThawError(
                f"{' '.join(given)}: {name} takes no arguments; its parameters are in params.yaml"
            )
        elif name in STAGES:
            run_stage(name)
        elif name in COMMANDS:
            if name != "predict":  # its pictures lie where it is given
                go_home()
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
    run(chosen, "`dvc repro` starts this stage again" if name in STAGES else "run it again")


if __name__ == "__main__":
    main()
