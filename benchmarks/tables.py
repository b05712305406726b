"""Measurements as a table: medians, spreads and ratios, in JSON and Markdown."""

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from statistics import median
from typing import Any

import library
from thaw.core import cores, environment
from thaw.drawing import markdown
from thaw.files.serialize import write_text

RESULTS = library.ROOT / "benchmarks/results"
SIDES = ("plain", "thaw")
Samples = Mapping[str, Mapping[str, Sequence[float]]]  # of each measure: of each side


@dataclass(frozen=True)
class Measure:
    """What is measured, and what is to be reached (of issue 4; empty where it asks for nothing)."""

    title: str
    unit: str  # s, MB, pictures/s, views/s or %
    aim: str = ""


MEASURES = {
    "whole": Measure("whole run after the download", "s", "at least 6"),
    "whole_rounded": Measure("the same, with `fine_tune.precision: bfloat16`", "s"),
    "fine_tune_at": Measure("`fine_tune_at` changed from 100 to 120", "s", "at least 12"),
    "head": Measure("head changed", "s", "at least 20"),
    "network": Measure("extraction, the network alone", "pictures/s", "at least 3.5"),
    "decoded": Measure("extraction, decoding included", "pictures/s", "at least 3"),
    "views": Measure("extraction of augmented views, decoding included", "views/s"),
    "steps": Measure("fine-tuning step", "pictures/s", "at least 3.5"),
    "steps_rounded": Measure("the same, with `bfloat16`", "pictures/s"),
    "memory": Measure("peak memory", "MB", "at least 2"),
    "vgg_epoch": Measure("VGG16, an epoch of fine-tuning", "s", "at least 8"),
    "vgg_epoch_rounded": Measure("the same, with `bfloat16`", "s"),
    "head_validation": Measure("validation accuracy after the head", "%", "no lower"),
    "fine_tuned_validation": Measure("validation accuracy after fine-tuning", "%", "no lower"),
    "fine_tuned_validation_rounded": Measure("the same, with `bfloat16`", "%", "no lower"),
    "head_test": Measure("test accuracy after the head", "%", "no lower"),
    "fine_tuned_test": Measure("test accuracy after fine-tuning", "%", "no lower"),
    "fine_tuned_test_rounded": Measure("the same, with `bfloat16`", "%", "no lower"),
}

NOTES = """\
Medians; lowest and highest in brackets where there are several. The ratio says how many times \
faster, or smaller, Thaw is.

- Whole run: plain Keras as one process; Thaw as the scripts of `split`, `extract_features`, \
`train_head`, `fine_tune`, `decide` and `evaluate`, each from its start to its end (DVC's own time \
aside). Plain Keras gets the split ready made; the base network's weights are there on both sides.
- `fine_tune_at` changed: Thaw runs `fine_tune`, `decide` and `evaluate`, plain Keras all \
of it again.
- Head changed (dropout 0.5): Thaw runs `train_head`; plain Keras its process from the start to \
the end of the head's epochs.
- Extraction and fine-tuning steps: the two in turn, in processes of their own that are warm. \
Plain Keras has TensorFlow's own thread settings, Thaw its stages'. Steps: plain Keras fits the \
whole network, thawed at 100, on float pictures in memory, augmentation aside; Thaw the layers \
above the cached one on the cache. (Keras 3's `fit` runs plain Keras's thawed BatchNormalization \
layers in training mode, in spite of the tutorial's `training=False`; Thaw keeps them in inference \
mode.)
- VGG16: thawed from `block5_conv1`, at 150 pixels, in turn likewise: training and validation \
as `fit` does them. The head: flatten, 256 ReLU, dropout 0.5, one logit; Adam, 1e-5.
- `bfloat16`: `fine_tune.precision`, on this processor; the other columns' values are float32's.
- Memory: the largest resident memory of plain Keras's process, and of the largest of Thaw's \
stages; pages of files that are mapped into memory count. 1 MB is 10^6 bytes.
"""


def ratio(plain: Sequence[float], thaw: Sequence[float], unit: str) -> float:
    """How many times faster or smaller Thaw is, by the medians; of accuracies, the difference."""
    ours, theirs = median(thaw), median(plain)
    if unit == "%":
        return ours - theirs
    return ours / theirs if unit.endswith("/s") else theirs / ours


def summary(samples: Samples) -> dict[str, dict[str, object]]:
    """Each measure's values, medians and ratio."""
    found: dict[str, dict[str, object]] = {}
    for name, measure in MEASURES.items():
        values = samples[name]
        found[name] = {
            "unit": measure.unit,
            **{
                side: {"median": median(values[side]), "values": list(values[side])}
                for side in SIDES
            },
            "ratio": ratio(values["plain"], values["thaw"], measure.unit),
        }
    return found


def table(samples: Samples) -> str:
    """The comparison as a Markdown table, a line a measure."""
    rows = []
    for name, measure in MEASURES.items():
        plain, thaw = (samples[name][side] for side in SIDES)
        factor = ratio(plain, thaw, measure.unit)
        shown = f"{factor:+.1f} points" if measure.unit == "%" else f"{factor:.1f}"
        cells = [cell(plain, measure.unit), cell(thaw, measure.unit), shown, measure.aim]
        rows.append([measure.title, *cells])
    return markdown.table(("", "plain Keras", "Thaw", "ratio", "aim"), rows) + "\n"


def cell(values: Sequence[float], unit: str) -> str:
    """The median with its unit, and the spread of several values."""
    digits = 1 if unit == "%" or max(values) < 100 else 0
    shown = f"{median(values):,.{digits}f} {unit}"
    if len(values) > 1:
        shown += f" ({min(values):,.{digits}f} to {max(values):,.{digits}f})"
    return shown


def stage_table(stages: Mapping[str, Sequence[tuple[float, float]]]) -> str:
    """Seconds and peak MB of each of Thaw's stages as a Markdown table."""
    rows = []
    for name, runs in stages.items():
        seconds, peaks = zip(*runs, strict=True)
        rows.append([f"`{name}`", cell(seconds, "s"), cell(peaks, "MB")])
    return markdown.table(("stage", "time", "peak memory"), rows) + "\n"


def machine() -> dict[str, object]:
    """What the figures depend on."""
    versions = {name: _version(name) for name in ("tensorflow", "keras", "onnxruntime")}
    return {
        "cpu": environment.processor("model name") or "an unknown processor",
        "cores": cores.available(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **versions,
    }


def machine_line(found: Mapping[str, object]) -> str:
    """`machine` in a sentence."""
    return (
        f"{found['cpu']}, {found['cores']} cores, {found['system']}; Python {found['python']}, "
        f"TensorFlow {found['tensorflow']}, Keras {found['keras']}, "
        f"ONNX Runtime {found['onnxruntime']}."
    )


def write(name: str, content: Any, page: str) -> None:
    """Write `results/{name}.json` and `.md`, and show the page."""
    save(name, content, page)
    print(f"\n{page}", flush=True)


def save(name: str, content: Any, page: str) -> None:
    """Write `results/{name}.json` and `.md`, each whole or not at all."""
    text = json.dumps(_rounded(content), indent=2, ensure_ascii=False) + "\n"
    write_text(RESULTS / f"{name}.json", text)
    write_text(RESULTS / f"{name}.md", page)


def _rounded(content: Any) -> Any:
    """The same with every number to six digits."""
    if isinstance(content, float):
        return float(f"{content:.6g}")
    if isinstance(content, dict):
        return {key: _rounded(value) for key, value in content.items()}
    return [_rounded(value) for value in content] if isinstance(content, list) else content


def _version(package: str) -> str:
    for name in (package, f"{package}-cpu"):
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return "unknown"
