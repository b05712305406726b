"""Stage `model_card`: what the model is, was made from and can do, to models/model_card.md."""

import hashlib
import json
from pathlib import Path
from typing import Any

import yaml

import stage
from thaw import cards, evaluation, images, metrics
from thaw.params import Params
from thaw.reports import code
from thaw.serialize import read_csv, write_text

FILES = ("model.keras", "model.onnx")


def read_json(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((stage.METRICS / f"{name}.json").read_text("utf-8"))
    return found


def digest(name: str) -> str:
    with (stage.MODELS / name).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def catalogued(name: str, *keys: str) -> dict[str, Any]:
    """An entry of a catalogue in YAML; empty where it has none."""
    found: Any = stage.read_yaml(Path(name))
    for key in keys:
        found = found.get(key, {})
    return dict(found)


def made(params: Params) -> str:
    start = "from random weights" if params.weights.startswith("random") else "pretrained"
    if params.fine_tune_at is None:
        return f"{start}, all of it frozen but the head"
    return f"{start}, trained on with its head from layer {code(params.fine_tune_at)} on"


def weights(params: Params) -> str:
    known = catalogued("weights.yaml", params.base_model, params.weights)
    if known:
        return (
            f"{code(params.weights)}: {known['about']}; {code(known['source'])}; "
            f"licence: {known.get('licence', 'not stated')}"
        )
    return code(params.weights)


def logits(classes: list[str]) -> str:
    if len(classes) == 2:
        return f"`keras.ops.sigmoid(logits)` is the probability of {code(classes[1])}."
    return "`keras.ops.softmax(logits)` holds the probabilities of the classes, in the order above."


def averaged(params: Params) -> str:
    count = len(images.Augmentation(**params.augment.model_dump()).symmetries)
    if not params.average_views or count == 1:
        return "The figures below are of these logits."
    return (
        f"The figures below are of the mean probability over {count} flips and quarter turns of "
        "each picture, which `python src/predict.py` gives; these logits are of one view."
    )


def trained() -> str:
    head, model = read_json("head"), read_json("model")
    last = model if model["epochs"] else head
    return (
        f"Epochs: {head['epochs']} of the head alone, then {model['epochs']} of fine-tuning. "
        f"{last['trainable_parameters']:,} of {last['parameters']:,} numbers of the model were "
        f"trained at the end; validation accuracy then: {last['validation_accuracy']:.1%}."
    )


def screened(counts: dict[str, Any]) -> str:
    return (
        f"{counts['identical']:,} pictures are identical to another and lie on the same side of "
        f"the split; {counts['bad']:,} could not be read and were left out."
    )


def main() -> None:
    params = stage.read_params()
    dataset = stage.read_dataset()
    classes: list[str] = dataset["classes"]
    split, scores, intervals, groups = (
        read_json(name) for name in ("split", "evaluation", "intervals", "groups")
    )
    pairs = [
        (row["actual"], row["predicted"])
        for row in read_csv(stage.PLOTS / "confusion_fine_tuned.csv")
    ]
    by_class = cards.by_class(pairs, classes)
    subgroups = cards.by_subgroup(groups["subgroup"]["fine_tuned"])
    tuned = scores["fine_tuned"]
    source = params.source or catalogued("datasets.yaml", params.dataset).get("source", "")
    chosen = params.model_dump(exclude={"cores"})

    def cell(model: str, name: str) -> str:
        low, high = intervals[model][name]
        return f"{scores[model][name]:.4f} [{low:.4f}, {high:.4f}]"

    card = cards.render(
        {
            "title": dataset["title"],
            "base_model": params.base_model,
            "how": made(params),
            "classes": classes,
            "files": [(name, digest(name)) for name in FILES],
            "image_size": params.image_size,
            "logits": logits(classes),
            "averaged": averaged(params),
            "source": code(source),
            "licence": dataset["licence"],
            "citation": dataset["citation"] or "none",
            "weights": weights(params),
            "parts": [
                (part, [counts.get(name, 0) for name in classes])
                for part, counts in split["pictures"].items()
            ],
            "screened": screened(split),
            "scores": [
                (title, cell("fine_tuned", name), cell("head", name))
                for name, title in evaluation.TITLES.items()
            ],
            "verdict": evaluation.verdict(metrics.Comparison(**scores["fine_tuning"])),
            "by_class": by_class,
            "subgroups": subgroups,
            "limits": cards.limits(
                by_class, subgroups, tuned["calibration_error"], params.image_size, params.resize
            ),
            "trainable": trained(),
            "parameters": yaml.safe_dump(chosen, sort_keys=False, allow_unicode=True),
        }
    )
    write_text(stage.MODELS / "model_card.md", card)


if __name__ == "__main__":
    stage.run(main)
