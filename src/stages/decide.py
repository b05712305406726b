"""Stage `decide`: choose on validation how sure the models are, and when they don't know.

It divides their logits by a temperature, finds the threshold, learns what pictures unlike those of
training are, and writes the models that are used: models/head.onnx, models/model.onnx.
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

import workspace
from thaw.core import engines
from thaw.core.errors import ThawError
from thaw.core.params import Params
from thaw.core.progress import track
from thaw.evaluation import (
    calibration,
    deciding,
    metrics,
    onnx_decision,
    predictions,
    unlikeness,
)
from thaw.evaluation.deciding import Decision
from thaw.evaluation.inference import Classifier
from thaw.files import tables
from thaw.files.serialize import write_bytes, write_json
from thaw.pictures import augmentation, decoding

MODELS = {  # what the trainings left, and what is used
    "head": (workspace.HEAD_ONNX, workspace.MODELS / "head.onnx"),
    "fine_tuned": (workspace.FINE_TUNED_ONNX, workspace.MODELS / "model.onnx"),
}
USUAL = 1000  # training pictures that tell what is usual
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Look:
    """Runs a picture through a model."""

    model: Classifier
    one_view: bool

    def start(self) -> Callable[[str], tuple[NDArray[np.float32], ...]]:
        """From a picture's path to all that the model gives for its views, or for it alone."""

        def work(name: str) -> tuple[NDArray[np.float32], ...]:
            engines.works_on(str(workspace.IMAGES / name))
            try:
                pixels = self.model.look(workspace.IMAGES / name)
            except decoding.BadImageError as error:
                raise ThawError(
                    f"{error}; run `dvc repro`, whose stage split checks pictures"
                ) from None
            return self.model.outputs(pixels[None] if self.one_view else self.model.views(pixels))

        return work


def run(
    model: Classifier, rows: pd.DataFrame, what: str, *, one_view: bool
) -> Iterator[tuple[Array, Array]]:
    """Run pictures through a model: all its views of each, or the picture alone.

    Yields:
        Logits (V, 1 or classes) and features (V, D) of a picture.
    """
    outputs = engines.spread(Look(model, one_view), rows["path"].tolist())
    for logits, features in track(outputs, what, len(rows)):
        yield logits.astype(np.float64), features.astype(np.float64)


def usual(rows: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Some training pictures."""
    order = augmentation.random(seed, "usual").permutation(len(rows))[:USUAL]
    return rows.iloc[np.sort(order)]


def decision(
    params: Params,
    classes: list[str],
    labels: metrics.Labels,
    shares: Array,
    scores: Array,
    temperature: float,
) -> Decision:
    """What follows from the parameters and the validation pictures.

    Args:
        params: of which `decide` and `positive` count.
        classes: their names.
        labels: (N,) class numbers.
        shares: (N, classes) calibrated probabilities.
        scores: (N,) of unlikeness.
        temperature: what logits are divided by.

    Raises:
        ThawError: when no threshold does what is asked for.
    """
    how, column = params.decide, deciding.column(params.positive, classes)
    gains, threshold = None, None
    if how.costs:
        gains = deciding.gains_of_costs(how.costs, classes)
    elif how.threshold is not None:
        threshold = resolved("threshold", how.threshold, labels == column, shares[:, column])
        gains = deciding.gains_of_threshold(threshold, column, len(classes))
    decided = Decision(gains=gains).decide(shares)
    reject = 0.0
    if how.reject_below is not None:
        sure = deciding.confidence(shares, decided)
        reject = resolved("reject_below", how.reject_below, decided == labels, sure)
    return Decision(
        temperature,
        gains,
        threshold,
        classes[column] if threshold is not None else None,
        reject,
        None if how.unlike is None else float(np.quantile(scores, how.unlike)),
    )


def resolved(name: str, rule: float | str, truth: NDArray[np.bool_], shares: Array) -> float:
    """A probability that was given, or the one that a rule finds."""
    if not isinstance(rule, str):
        return rule
    kind, _, share = rule.partition(":")
    find = deciding.find_threshold if name == "threshold" else deciding.find_rejection
    try:
        return find(kind, float(share), truth, shares)
    except ValueError as error:
        raise ThawError(
            f"params.yaml: decide.{name}: {rule}: {error} on the {len(truth)} validation pictures; "
            "give a lower one"
        ) from None


def main() -> None:
    params = workspace.read_params()
    classes: list[str] = workspace.read_dataset()["classes"]
    split = tables.read(workspace.SPLIT)
    rows = {part: split[split["split"] == part] for part in ("train", "validation")}
    rows["train"] = usual(rows["train"], params.split.seed)
    labels = rows["validation"]["label"].map(classes.index).to_numpy()
    told: dict[str, Any] = {}
    shares: dict[str, Array] = {}
    said: dict[str, metrics.Labels] = {}
    seen: dict[bytes, tuple[Array, metrics.Labels, bytes, dict[str, Any]]] = {}
    for name, (source, target) in MODELS.items():
        content = source.read_bytes()
        if content not in seen:
            seen[content] = decide(params, source, content, rows, labels, classes, name)
        shares[name], said[name], made, told[name] = seen[content]
        write_bytes(target, made)
    predictions.write(
        workspace.VALIDATION,
        rows["validation"][["path", "label", "subgroup"]],
        classes,
        shares,
        said,
    )
    write_json(workspace.METRICS / "decision.json", told)
    for line in sentences(told["fine_tuned"], calibrate=params.decide.calibrate):
        print(line)


def decide(
    params: Params,
    source: Path,
    content: bytes,
    rows: dict[str, pd.DataFrame],
    labels: metrics.Labels,
    classes: list[str],
    name: str,
) -> tuple[Array, metrics.Labels, bytes, dict[str, Any]]:
    """What a model says of the validation pictures, the model that is used, and what is noted."""
    model = Classifier(source)
    like = run(model, rows["train"], f"{name}, what is usual", one_view=True)
    known = unlikeness.fit(np.concatenate([features for _, features in like]))
    # Features of all views of many pictures would fill the memory: of each its score is kept.
    found = [
        (each, known.score(features).mean())
        for each, features in run(model, rows["validation"], f"{name}, validation", one_view=False)
    ]
    logits, scores = (np.stack(each) for each in zip(*found, strict=True))
    before = deciding.probabilities(logits).mean(axis=1)
    temperature = deciding.temperature(logits, labels) if params.decide.calibrate else 1.0
    shares = deciding.probabilities(logits / temperature).mean(axis=1)
    chosen = decision(params, classes, labels, shares, scores, temperature)
    decided = chosen.decide(shares)
    doubted = deciding.confidence(shares, decided) < chosen.reject_below
    both = {"before": before, "after": shares}
    noted = {
        "pictures": len(labels),
        "cross_entropy": {
            when: metrics.scores(labels, each)["loss"] for when, each in both.items()
        },
        "calibration_error": {
            when: calibration.binned(each.max(axis=1), each.argmax(axis=1) == labels).error
            for when, each in both.items()
        },
        "accuracy": float((decided == labels).mean()),
        "rejected": float(doubted.mean()),
        **asdict(chosen),
    }
    return shares, decided, onnx_decision.put(content, known, chosen), noted


def sentences(found: dict[str, Any], *, calibrate: bool) -> list[str]:
    """What was chosen, for a terminal."""
    loss, error = found["cross_entropy"], found["calibration_error"]
    of = f"{found['pictures']} validation pictures"
    if not calibrate:
        line = f"not calibrated (decide.calibrate); calibration error on {of} {error['after']:.4f}"
    elif found["temperature"] == 1:
        line = (
            f"temperature 1, as no other fits {of} better by more than chance; calibration error "
            f"{error['after']:.4f}"
        )
    else:
        line = (
            f"temperature {found['temperature']:.3f}: cross-entropy of {of} {loss['before']:.4f} "
            f"before, {loss['after']:.4f} after; calibration error {error['before']:.4f} and "
            f"{error['after']:.4f}"
        )
    lines = [line]
    if found["threshold"] is not None:
        lines.append(f"{found['positive']} from a probability of {found['threshold']:.4f} on")
    elif found["gains"] is not None:
        lines.append("the class of the least expected cost is said")
    if found["reject_below"]:
        lines.append(
            f"in doubt below a confidence of {found['reject_below']:.4f}: {found['rejected']:.1%} "
            "of validation pictures"
        )
    if found["unlike_above"] is not None:
        lines.append(f"unlike those of training above a score of {found['unlike_above']:.3f}")
    return lines
