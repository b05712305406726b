"""Find the depth where features stop being general, to set fine_tune_at: probe/.

    make probe

Reads params.yaml, the split and the base model's weights; writes probe/ and prints an advice on
`fine_tune_at`. It isn't a stage: nothing follows from what it writes.
"""

import thaw.networks.quiet  # noqa: F401

import math
import tempfile
from dataclasses import asdict, astuple
from pathlib import Path

import keras
import pandas as pd

import workspace
from thaw.core.errors import ThawError
from thaw.core.params import Params, plain
from thaw.core.progress import track
from thaw.drawing import plots
from thaw.files import tables
from thaw.files.serialize import write_csv, write_text
from thaw.networks import backbones, onnx_export, scratch
from thaw.pictures import augmentation, sessions
from thaw.review import probing
from thaw.training import classifiers, heads, loop

PROBE = Path("probe")


def read_split() -> dict[str, pd.DataFrame]:
    """The rows of data/split.csv for training and for validation.

    Raises:
        ThawError: when something that the probe reads isn't there, or one class is all there is.
    """
    for path in (workspace.SPLIT, workspace.WEIGHTS):
        if not path.is_file():
            raise ThawError(f"{path} is missing; run `make probe`, or `dvc repro split weights`")
    split = tables.read(workspace.SPLIT)
    found = {name: split[split["split"] == name] for name in ("train", "validation")}
    for name, part in found.items():
        if part["label"].nunique() < 2:
            raise ThawError(
                f"{workspace.SPLIT}: the {name} pictures are all of one class; "
                "run `dvc repro -f split`, or add pictures"
            )
    return found


def accuracies(
    params: Params, base: keras.Model, rows: dict[str, pd.DataFrame], classes: list[str]
) -> list[float]:
    """Validation accuracy of a linear probe on each depth."""
    channels = probing.widths(base)
    session = sessions.session(onnx_export.to_onnx(probing.network(base, params.image_size)))
    labels = {name: part["label"].map(classes.index).to_numpy() for name, part in rows.items()}
    found = []
    PROBE.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".part-", dir=PROBE) as folder:
        pooled = {}
        for name, part in rows.items():
            paths = part["path"].tolist()
            out = Path(folder) / f"{name}.npy"
            pooled[name] = probing.extract(
                session,
                workspace.IMAGES,
                paths,
                params.image_size,
                params.resize,
                out,
                params.bit_depth,
            )
        for place in track(range(len(channels)), "probes", unit="depths"):
            train, validation = (probing.part(pooled[each], channels, place) for each in rows)
            balanced = params.class_weight == "balanced"
            model = probing.probe(train, labels["train"], balanced, params.split.seed)
            found.append(float(model.score(validation, labels["validation"])))
    return found


def some(rows: pd.DataFrame, seed: int) -> pd.DataFrame:
    """As many rows as the probes learn from at most, drawn at random."""
    chosen = augmentation.random("probe", seed).permutation(len(rows))[: probing.MOST]
    return rows.iloc[sorted(chosen)]


def cached_layer(params: Params, base: keras.Model) -> int:
    """Index of the layer that the pipeline caches; 0, the input, for pixels."""
    if params.cache.layer == "pixels":
        return 0
    at = backbones.layer_index(base, params.cache.layer, "cache.layer")
    return backbones.boundary(base, at)


def command(advice: probing.Advice, cached: int) -> str:
    """The command that follows the advice, its cached layer below it, so that epochs are short."""
    thawed = advice.thawed
    text = f"dvc exp run -S fine_tune_at={thawed.fine_tune_at}"
    return f"{text} -S cache.layer={thawed.block}" if cached > thawed.index > 0 else text


def costs(
    params: Params, base: keras.Model, indices: list[int], classes: int, pictures: int
) -> tuple[list[int], list[float]]:
    """Numbers that training changes and seconds of an epoch, if thawed after each depth."""
    work = [probing.multiply_adds(base, index) for index in indices]
    if params.cache.bottleneck == "blocks":
        base = backbones.with_blocks(base)
    head = heads.layers(plain(heads.HeadSpec, params.head), classes)
    classifier = classifiers.classifier(base, head, params.head.pooling, params.image_size)
    parameters = [probing.thaw_above(classifier, base, index) for index in indices]
    thawed = [place for place, count in enumerate(parameters) if count]
    recipe = plain(loop.Optimization, params.fine_tune)
    batch_size = min(params.batch_size, pictures)
    measured = {}
    places = [thawed[each] for each in probing.spread(len(thawed))]
    for place in track(places, "training steps", unit="depths"):
        step = probing.seconds_a_step(
            classifier,
            base,
            indices[place],
            params.head.pooling,
            recipe,
            batch_size,
            params.fine_tune.precision,
        )
        measured[place] = step * math.ceil(pictures / batch_size)
    return parameters, probing.interpolate(work, measured)


def main() -> None:
    params = workspace.read_params()
    if workspace.onnx_given(params):
        raise ThawError(
            f"params.yaml: base_model: {params.base_model}: an ONNX file can't be trained on, so "
            "there is no depth to thaw from"
        )
    heads.selector(params.head.pooling, params.cache.bottleneck)  # refuses what can't be trained
    rows = read_split()
    loop.prepare(params.seed, params.threads)
    options = plain(scratch.Options, params.network)
    whole = backbones.build(params.base_model, params.image_size, options=options)
    base = whole if params.feature_layer is None else backbones.cut(whole, params.feature_layer)
    indices, cached = probing.depths(base), cached_layer(params, base)
    backbones.load_weights(whole, workspace.WEIGHTS)
    classes = workspace.read_dataset()["classes"]
    pictures, tested = len(rows["train"]), len(rows["validation"])
    learnt = {"train": some(rows["train"], params.split.seed), "validation": rows["validation"]}
    found = accuracies(params, base, learnt, classes)
    parameters, seconds = costs(params, base, indices, len(classes), pictures)
    depths = [
        probing.depth(base, index, found[place], tested, parameters[place], seconds[place])
        for place, index in enumerate(indices)
    ]
    advice = probing.advise(depths, pictures)
    text = probing.sentences(advice, pictures, tested, command(advice, cached))
    report = f"{probing.table(depths, advice)}\n{text}"
    columns = (*asdict(advice.thawed), "advised")
    table = [(*astuple(each), int(each is advice.thawed)) for each in depths]
    write_csv(PROBE / "probe.csv", columns, table)
    plots.depths([asdict(each) for each in depths], asdict(advice), PROBE / "probe.png")
    write_text(PROBE / "probe.md", report)
    print(report)
