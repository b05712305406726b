"""What every stage script shares: where files lie, `params.yaml`, and a note of what it ran on."""

import fcntl
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from thaw import cores, environment, errors, params
from thaw.errors import ThawError

HERE = Path(__file__).resolve().parent

# The export to ONNX (thaw.models) goes through sets of names, whose order follows from this.
if os.environ.get("PYTHONHASHSEED") != "0" and Path(sys.argv[0]).resolve().parent == HERE:
    os.environ["PYTHONHASHSEED"] = "0"
    os.execv(sys.executable, sys.orig_argv)

RAW = Path("data/raw")
IMAGES = RAW / "images"
SPLIT = Path("data/split.csv")
BAD_IMAGES = Path("data/bad_images.csv")
WEIGHTS = Path("data/weights/base.weights.h5")
FEATURES = Path("data/features")
MODELS = Path("models")
METRICS = Path("metrics")
PLOTS = Path("plots")
PREDICTIONS = Path("data/predictions.csv")
# No output in dvc.yaml, so that dvc.lock is the same on every machine.
ENVIRONMENT = METRICS / "environment.json"
UNFINISHED = Path("data/unfinished")  # no stage's output: DVC leaves it alone


def logs(phase: str) -> Path:
    """Where TensorBoard's files of a training lie: under the experiment's name, in the repository
    itself where DVC runs the experiment in a copy of it.
    """
    root = os.environ.get("DVC_ROOT", "")
    return Path(root, "logs", os.environ.get("DVC_EXP_NAME") or "workspace", phase)


def run(main: Callable[[], object]) -> None:
    """Run a stage's `main` as `errors.run` does, alone, and leave no temporary file behind.

    A `dvc` that is killed may leave a stage running: the same stage then waits here for its end.
    What a stage that is killed leaves behind is removed when it runs again. What it ran on is
    noted in metrics/.
    """
    name = Path(sys.argv[0]).stem

    def alone() -> None:
        threads = read_params().threads  # before anything is made, in what may be the wrong folder
        with _alone(name):
            main()
            if note := environment.record(ENVIRONMENT, name, environment.here(threads)):
                print(note, file=sys.stderr)

    errors.run(alone)


@contextmanager
def _alone(name: str) -> Iterator[None]:
    UNFINISHED.mkdir(parents=True, exist_ok=True)
    with (UNFINISHED / f"{name}.lock").open("a+") as lock:  # the system unlocks what is killed
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            pid = lock.read()
            print(f"waits for process {pid}, which runs this stage; `kill {pid}` ends it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        lock.truncate(0)
        print(os.getpid(), file=lock, end="", flush=True)
        temporary = UNFINISHED.resolve() / f"{name}.tmp"
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        # For this process and those that it starts.
        tempfile.tempdir = os.environ["TMPDIR"] = str(temporary)
        try:
            yield
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def read_yaml(path: Path) -> object:
    """Read a YAML file.

    Raises:
        ThawError: when it is missing or isn't YAML.
    """
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ThawError(f"{path} is missing here; run from the folder that holds it") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        where = getattr(error, "problem_mark", None)
        line = f", line {where.line + 1}" if where else ""
        raise ThawError(f"{path}{line} is not YAML; mend it there") from None


def read_params() -> params.Params:
    """Read and check `params.yaml`, all of it, so that a mistake stops the first stage.

    `cores` takes effect here. It's no stage's dependency in dvc.yaml: results don't follow from it.
    """
    checked = params.parse(read_yaml(Path("params.yaml")))
    cores.limit(checked.cores)
    return checked


def read_dataset() -> dict[str, Any]:
    """What stage `download` noted of the dataset: title, classes, split, licence, citation."""
    facts: dict[str, Any] = json.loads((RAW / "dataset.json").read_text(encoding="utf-8"))
    return facts
