"""Where the files of a run lie, and `params.yaml`, read and checked."""

import json
import os
from pathlib import Path
from typing import Any

from thaw.core import consistency, cores, engines, graphs, params, places
from thaw.core.errors import ThawError, shortlist
from thaw.files import catalogues
from thaw.files.catalogues import read_yaml

called_from = Path()  # the folder that a command was given from; paths are meant from there
HOME = Path(__file__).parents[1]
PARAMS = Path("params.yaml")
DATASETS = Path("datasets")  # a file a dataset
CHECKSUMS = DATASETS / "checksums.txt"  # of downloads whose file states none
PRETRAINED = Path("pretrained")  # a file a base model
RECIPES = Path("recipes")
CHECKED = Path("data/checked.txt")  # always the same: other stages wait for it
GIVEN = Path("data/given")  # what `source` and `weights` hold, if they are paths
RAW = Path("data/dataset")  # not data/raw, where people put pictures of their own
IMAGES = RAW / "images"
LABELS = RAW / "labels.csv"
CORRECTIONS = Path("corrections.csv")  # of labels, by people; Git keeps it
SPLIT = Path("data/split.csv")
BAD_IMAGES = Path("data/bad_images.csv")
NEAR_DUPLICATES = Path("data/near_duplicates.csv")
WEIGHTS = Path("data/weights/base.weights.h5")
FROZEN = Path("data/frozen.onnx")  # the frozen layers
FEATURES = Path("data/features")
HEAD_ONNX = Path("data/head.onnx")  # as trained; stage decide makes those of models/
FINE_TUNED_ONNX = Path("data/fine_tuned.onnx")
PREDICTIONS = Path("data/predictions.csv")  # of the test pictures
VALIDATION = Path("data/validation_predictions.csv")
DOUBTS = Path("data/doubts.csv")  # test pictures of which a model says that it doesn't know
WEAK_SPOTS = Path("data/weak_spots.csv")  # their pictures
MODELS = Path("models")
METRICS = Path("metrics")
PLOTS = Path("plots")
# No stage's output: `make robustness` writes it, Git keeps it, `model_card` reads it.
ROBUSTNESS = Path("robustness/robustness.json")
# No output in dvc.yaml, so that dvc.lock is the same on every machine.
ENVIRONMENT = METRICS / "environment.json"
UNFINISHED = Path("data/unfinished")  # no stage's output: DVC leaves it alone
RAISED = UNFINISHED / "raised"  # the cache as fine_tune raised it last
SPEED = UNFINISHED / "speed.json"  # how long a picture takes a model here
SECONDS = UNFINISHED / "seconds.json"  # how long trainings took here; one for all copies


def logs(phase: str) -> Path:
    """Where TensorBoard's files of a training lie.

    Under the experiment's name; where DVC runs it in a copy of the repository, in the repository
    itself.
    """
    root = os.environ.get("DVC_ROOT", "")
    return Path(root, "logs", os.environ.get("DVC_EXP_NAME") or "workspace", phase)


def read_params() -> params.Params:
    """Read and check `params.yaml`, all of it, so that a mistake stops the first stage.

    `cores` and `engine` take effect here. They are no stage's dependency in dvc.yaml: results don't
    follow from them. A whole run that was given a place has its cores, and its engine is local.
    """
    checked = params.parse(read_yaml(PARAMS))
    check_params(checked)
    given = os.environ.get(places.CORES)
    cores.limit(min(filter(None, (checked.cores, int(given)))) if given else checked.cores)
    engines.use("local" if given else checked.engine)
    return checked


def check_params(checked: params.Params, place: str = "params.yaml") -> None:
    """Refuse parameters that don't go together, or name a layer, dataset or weights not there.

    Raises:
        ThawError: saying what would be right.
    """
    _refuse_left_behind(DATASETS / f"{checked.dataset}.yaml", f"{place}: dataset")
    _refuse_left_behind(PRETRAINED / f"{checked.base_model}.yaml", f"{place}: base_model")
    catalogues.read(DATASETS, checked.dataset, dict[str, Any], f"{place}: dataset: ")
    consistency.check(checked, place)
    name, entries = checked.base_model, {}
    if graphs.foreign(name):
        return
    if name in catalogues.names(PRETRAINED):
        entries = catalogues.read(PRETRAINED, name, dict[str, Any])
    try:
        consistency.check_weights(checked.weights, name, entries, f"{PRETRAINED}/{name}.yaml")
    except ThawError as error:
        raise ThawError(f"{place}: {error}") from None


def _refuse_left_behind(path: Path, place: str) -> None:
    """A file that lies in the repository, and not in the copy of it that an experiment runs in."""
    if not path.exists() and Path(os.environ.get("DVC_ROOT", ""), path).exists():
        raise ThawError(
            f"{place}: {path} is not in the copy that this experiment runs in, which holds what "
            f"Git knows: `git add {path}` and run it again"
        )


def at_home(address: str) -> str:
    """A relative path as it is here, or as it is in the repository that this one is a copy of."""
    home = Path(os.environ.get("DVC_ROOT", ""), address)
    return str(home) if not Path(address).exists() and home.exists() else address


def onnx_given(checked: params.Params) -> Path | None:
    """The ONNX file that is the base model; None where it is none."""
    if not graphs.foreign(checked.base_model):
        return None
    return Path(at_home(checked.base_model.removeprefix(graphs.FOREIGN))).expanduser()


def source_given(checked: params.Params) -> str:
    """The path or address that the pictures come from; empty where none is given."""
    entry = catalogues.read(DATASETS, checked.dataset, dict[str, Any])
    return checked.source or entry.get("source") or ""


def listing(name: str) -> Path:
    """Where stage `check` keeps what a path held; one file for all copies of a repository."""
    return Path(os.environ.get("DVC_ROOT", ""), UNFINISHED, f"{name}.listing")


def read_seconds() -> dict[str, dict[str, float]]:
    """How long each training took on this machine, by stage and the checksum of its model."""
    try:
        found: dict[str, dict[str, float]] = read_json(
            Path(os.environ.get("DVC_ROOT", ""), SECONDS)
        )
    except (OSError, ValueError):
        return {}
    return found


def check_classes(given: params.Params, classes: list[str]) -> None:
    """Refuse parameters that name a class which the dataset hasn't, or leave one open.

    Raises:
        ThawError: saying what would be right.
    """
    named = []
    if not isinstance(given.class_weight, str):
        named += [("class_weight", each) for each in given.class_weight if each not in classes]
    costs = given.decide.costs or {}
    for actual, by_class in costs.items():
        named += [("decide.costs", each) for each in (actual, *by_class) if each not in classes]
        if actual in by_class:
            raise ThawError(
                f"params.yaml: decide.costs: {actual}: {actual} is right, and costs nothing; give "
                "mistakes alone"
            )
    for place, name in named:
        raise ThawError(
            f"params.yaml: {place}: {name}: the dataset has the classes {shortlist(classes)}; give "
            "those"
        )
    if given.decide.threshold is not None and given.positive is None and len(classes) > 2:
        raise ThawError(
            f"params.yaml: decide.threshold: {given.decide.threshold}: of {len(classes)} classes "
            "it must be known which one's; set positive to one of them"
        )
    check_positive(given, classes)


def check_positive(given: params.Params, classes: list[str]) -> int | None:
    """The number of the class `positive`; None where it is null.

    Raises:
        ThawError: when the dataset has no such class.
    """
    if given.positive is None:
        return None
    if given.positive not in classes:
        raise ThawError(
            f"params.yaml: positive: {given.positive}: the dataset has the classes "
            f"{shortlist(classes)}; give one of them, or null"
        )
    return classes.index(given.positive)


def read_json(path: Path) -> dict[str, Any]:
    """What a stage wrote."""
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def read_dataset() -> dict[str, Any]:
    """What stage `download` noted of the dataset: title, classes, split, licence, citation."""
    return read_json(RAW / "dataset.json")
