"""What a run was made with, as far as its bytes may follow from it."""

import os
import platform
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from thaw.core import gpus

ON_CUDA = "onnxruntime-gpu"  # what computes on GPUs, if it is installed
PACKAGES = (
    "tensorflow",
    "tensorflow-cpu",
    "keras",
    "numpy",
    "scipy",
    "scikit-learn",
    "onnx",
    "onnxruntime",
    ON_CUDA,
    "nvidia-cublas-cu12",
    "nvidia-cudnn-cu12",
    "tf2onnx",
    "h5py",
    "pillow",
    "matplotlib",
    "dvc",
)
VARIABLES = (  # that make a processor compute as one with fewer instructions
    "ONEDNN_MAX_CPU_ISA",
    "DNNL_MAX_CPU_ISA",
    "OPENBLAS_CORETYPE",
    "NPY_DISABLE_CPU_FEATURES",
    "GLIBC_TUNABLES",
)
WITHOUT_EFFECT = ("cores", "dvc")
BFLOAT16 = {"avx512_bf16", "amx_bf16", "bf16"}  # instructions of Intel's and AMD's, and of ARM's

Environment = dict[str, str | int]
Entry = dict[str, Any]  # an environment, and the `stages` that ran in it


def here(threads: int, instructions: str) -> Environment:
    """Versions, processor, GPUs and system of this process; no clock, host or path, so it stays.

    Args:
        threads: of training.
        instructions: of the processor, those that NumPy uses.
    """
    found: Environment = {"python": platform.python_version(), **versions(PACKAGES)}
    if ON_CUDA in found and gpus.names():
        found["gpus"] = gpus.described()
    found |= {name: os.environ[name] for name in VARIABLES if name in os.environ}
    return found | {
        "system": f"{platform.system()} {platform.machine()}",
        "libc": " ".join(platform.libc_ver()).strip(),
        "processor": processor("model name"),
        "instructions": instructions,
        "cores": os.cpu_count() or 1,
        "threads": threads,
    }


def versions(names: Iterable[str]) -> dict[str, str]:
    """Of those of the packages that are installed."""
    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def processor(*fields: str) -> str:
    """The first of these fields that Linux tells of a core; elsewhere the processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    found = (line.partition(":")[2].strip() for line in lines if line.startswith(fields))
    return next(found, platform.processor())


def multiplies_bfloat16() -> bool:
    """Whether a GPU is here, or the processor says that it has instructions for bfloat16."""
    return bool(gpus.names()) or not BFLOAT16.isdisjoint(processor("flags", "Features").split())


def record(entries: list[Entry], stage: str, now: Environment) -> tuple[list[Entry], str | None]:
    """Note that a stage ran in this environment, in one entry with all stages that did.

    Args:
        entries: as they were.
        stage: its name.
        now: what it ran in.

    Returns:
        The entries as they are then. And, where no stage ran in such an environment before, what
        differs from the stage's last, in a sentence.
    """
    last = next((entry for entry in entries if stage in entry["stages"]), None)
    stages = {_key(entry): set(entry["stages"]) - {stage} for entry in entries}
    known = _key(now) in stages
    stages.setdefault(_key(now), set()).add(stage)
    table = [{"stages": sorted(names), **dict(key)} for key, names in stages.items() if names]
    table.sort(key=lambda entry: entry["stages"])
    if known or last is None:
        return table, None
    differing = [
        f"{name} {now.get(name, 'none')} instead of {last.get(name, 'none')}"
        for name in dict.fromkeys([*now, *last])
        if name not in ("stages", *WITHOUT_EFFECT) and now.get(name) != last.get(name)
    ]
    return table, ", ".join(differing) or None


def _key(entry: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    return tuple((name, value) for name, value in entry.items() if name != "stages")
