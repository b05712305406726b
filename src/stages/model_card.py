"""Stage `model_card`: say what the model is, was made from and can do: models/model_card.md."""

import hashlib
from pathlib import Path
from typing import Any

import yaml

import workspace
from thaw.core.params import Params
from thaw.drawing import card, summary
from thaw.drawing.markdown import code, place
from thaw.evaluation.record import TITLES, Evaluation, WeakSpots
from thaw.evaluation.robustness import of_model, sentences
from thaw.files import catalogues
from thaw.files.serialize import write_text
from thaw.pictures import presets
from thaw.pictures.augmentation import Augmentation

FILES = ("model.keras", "model.onnx")
SHOWN = ("fine_tuned", "head")


def digest(name: str) -> str:
    with (workspace.MODELS / name).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def catalogued(folder: Path, name: str) -> dict[str, Any]:
    """A file of a catalogue; empty where it has none."""
    if name not in catalogues.names(folder):
        return {}
    return catalogues.read(folder, name, dict[str, Any])


def made(params: Params, *, thawed: bool) -> str:
    drawn = params.weights.startswith("random") and not workspace.onnx_given(params)
    start = "from random weights" if drawn else "pretrained"
    if not thawed:
        return f"{start}, all of it frozen but the head"
    return f"{start}, trained on with its head from layer {code(params.fine_tune_at)} on"


def weights(params: Params) -> str:
    if workspace.onnx_given(params):
        return "those of the ONNX file; ask who exported it for their licence"
    known = catalogued(workspace.PRETRAINED, params.base_model).get(params.weights)
    if known:
        return (
            f"{code(params.weights)}: {known['about']}; {code(known['source'])}; "
            f"licence: {known.get('licence', 'not stated')}"
        )
    return code(place(params.weights))


def logits(classes: list[str]) -> str:
    if len(classes) == 2:
        return f"`keras.ops.sigmoid(logits)` is the probability of {code(classes[1])}."
    return "`keras.ops.softmax(logits)` holds the probabilities of the classes, in the order above."


def averaged(params: Params) -> str:
    drawing = Augmentation.of(params.augment.model_dump())
    count = len(drawing.symmetries)
    kinds = {"flips": drawing.flip != "none", "quarter turns": drawing.quarter_turns}
    views = " and ".join(kind for kind, drawn in kinds.items() if drawn)
    if not params.average_views or count == 1:
        return "The figures below are of these logits."
    return (
        f"The figures below are of the mean probability over {count} views ({views}) of each "
        "picture, which `python src predict` gives; these logits are of one view."
    )


def deciding(how: dict[str, Any]) -> str:
    """How the model comes from logits to what it says."""
    sentences = []
    if how["temperature"] != 1:
        sentences.append(
            f"Logits are divided by a temperature of {how['temperature']:.4f}, chosen on the "
            f"{how['pictures']} validation pictures so that confidence is as large as accuracy; "
            "`model.onnx` does so by itself."
        )
    if how["threshold"] is not None:
        sentences.append(
            f"{code(how['positive'])} is said from a probability of {how['threshold']:.4f} on."
        )
    elif how["gains"] is not None:
        sentences.append("The class is said that costs least, by `decide.costs` below.")
    if how["reject_below"]:
        sentences.append(f"Below a confidence of {how['reject_below']:.4f} it is in doubt.")
    text = (
        "The second output of `model.onnx`, `unlike`, is how far a picture's features are from "
        "those of the training pictures; about 1 is usual"
    )
    if how["unlike_above"] is not None:
        text += f", and above {how['unlike_above']:.3f} it is in doubt"
    return " ".join([*sentences, f"{text}."])


def trained(select: str) -> str:
    head, model = (workspace.read_json(workspace.METRICS / f"{n}.json") for n in ("head", "model"))
    last = model if model["taken"] else head
    gpus = f" It was trained on {code(last['gpus'])}." if "gpus" in last else ""
    by = "the last" if select == "last" else f"the best on validation, by {select}"
    return (
        f"Epochs: {head['epochs']} of the head alone, of which {head['taken']} was taken, then "
        f"{model['epochs']} of fine-tuning, of which {model['taken'] or 'none'} was taken ({by}). "
        f"{last['trainable_parameters']:,} of {last['parameters']:,} numbers of the model were "
        f"trained at the end; validation accuracy then: "
        f"{last['validation_accuracy']:.1%}.{gpus}"
    )


def robustness() -> str:
    """What `make robustness` found, where it looked at this model."""
    found = of_model(workspace.MODELS / "model.onnx", workspace.ROBUSTNESS)
    if found is None:
        return "Not measured for this model: `make robustness`, then `dvc repro`."
    return sentences(found)


def screened(counts: dict[str, Any]) -> str:
    return (
        f"{counts['identical']:,} pictures are identical to another and lie on the same side of "
        f"the split; {counts['bad']:,} could not be read and were left out."
    )


def main() -> None:
    params = workspace.read_params()
    dataset = workspace.read_dataset()
    classes: list[str] = dataset["classes"]
    split = workspace.read_json(workspace.METRICS / "split.json")
    tested = Evaluation.of(workspace.read_json(workspace.METRICS / "test.json"))
    spots = WeakSpots.of(workspace.read_json(workspace.METRICS / "weak_spots.json"))
    by_class = card.by_class(tested.confusion["fine_tuned"], classes)
    subgroups = card.by_subgroup(tested.groups["subgroup"]["fine_tuned"])
    tuned = tested.scores["fine_tuned"]
    shown = [model for model in SHOWN if model in tested.compared]
    source = params.source or catalogued(workspace.DATASETS, params.dataset).get("source", "")
    chosen = params.model_dump(exclude={"cores", "engine"})
    chosen["augment"] |= presets.fill(chosen["augment"])
    chosen = {name: place(each) for name, each in chosen.items()}
    decision = workspace.read_json(workspace.METRICS / "decision.json")["fine_tuned"]
    text = card.render(
        {
            "title": dataset["title"],
            "base_model": place(params.base_model),
            "from_file": workspace.onnx_given(params) is not None,
            "how": made(params, thawed=tested.thawed),
            "classes": classes,
            "files": [(name, digest(name)) for name in FILES],
            "image_size": params.image_size,
            "logits": logits(classes),
            "averaged": averaged(params),
            "deciding": deciding(decision),
            "temperature": decision["temperature"],
            "source": code(place(source)),
            "licence": dataset["licence"],
            "citation": dataset["citation"] or "none",
            "weights": weights(params),
            "parts": [
                (part, [counts.get(name, 0) for name in classes])
                for part, counts in split["pictures"].items()
            ],
            "screened": screened(split),
            "corrected": card.corrected(split.get("corrections", {})),
            "scores": [
                (
                    summary.title(name, tested.positive),
                    *(
                        summary.score(tested.scores[m][name], tested.intervals[m][name])
                        for m in shown
                    ),
                )
                for name in TITLES
            ],
            "models": [tested.compared[m] for m in shown],
            "verdict": summary.conclusion(tested),
            "sureness": summary.sureness(tested).strip(),
            "by_class": by_class,
            "subgroups": subgroups,
            "robustness": robustness(),
            "limits": card.limits(
                by_class,
                subgroups,
                tuned["calibration_error"],
                params.image_size,
                params.resize,
                spots,
            ),
            "trainable": trained(params.select),
            "parameters": yaml.safe_dump(chosen, sort_keys=False, allow_unicode=True),
        }
    )
    write_text(workspace.MODELS / "model_card.md", text)
