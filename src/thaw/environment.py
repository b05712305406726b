"""What a run was made with, as far as its bytes may follow from it."""

import json
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from thaw.serialize import write_json

PACKAGES = (
    "tensorflow",
    "tensorflow-cpu",
    "keras",
    "numpy",
    "scipy",
    "scikit-learn",
    "onnx",
    "onnxruntime",
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

Environment = dict[str, str | int]


def here(threads: int) -> Environment:
    """Versions, processor and system of this process; no clock, name or path, so that it stays.

    Args:
        threads: of training.
    """
    import numpy as np  # here, so that stage `download` does without

    found: Environment = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    found |= {name: os.environ[name] for name in VARIABLES if name in os.environ}
    simd = np.show_config(mode="dicts")["SIMD Extensions"]
    return found | {
        "system": f"{platform.system()} {platform.machine()}",
        "libc": " ".join(platform.libc_ver()).strip(),
        "processor": processor("model name"),
        "instructions": " ".join([*simd["baseline"], *simd.get("found", [])]),
        "cores": os.cpu_count() or 1,
        "threads": threads,
    }


def processor(*fields: str) -> str:
    """What Linux says of the first core in the first of these fields; elsewhere, its name."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    found = (line.partition(":")[2].strip() for line in lines if line.startswith(fields))
    return next(found, platform.processor())


def record(path: Path, stage: str, now: Environment) -> str | None:
    """Note in a JSON file that a stage ran in this environment, one entry for all with the same.

    Returns:
        Where no stage ran in such a one before: what differs from the stage's last, in a sentence.
    """
    entries = _read(path)
    last = next((entry for entry in entries if stage in entry["stages"]), None)
    stages = {_key(entry): set(entry["stages"]) - {stage} for entry in entries}
    known = _key(now) in stages
    stages.setdefault(_key(now), set()).add(stage)
    table = [{"stages": sorted(names), **dict(key)} for key, names in stages.items() if names]
    write_json(path, sorted(table, key=lambda entry: entry["stages"]))
    if known or last is None:
        return None
    differing = [
        f"{name} {now.get(name, 'none')} instead of {last.get(name, 'none')}"
        for name in dict.fromkeys([*now, *last])
        if name not in ("stages", *WITHOUT_EFFECT) and now.get(name) != last.get(name)
    ]
    if not differing:
        return None
    return f"note: the bytes may differ from those recorded in {path}: {', '.join(differing)}"


def _key(entry: dict[str, Any]) -> tuple[tuple[str, Any], ...]:
    return tuple((name, value) for name, value in entry.items() if name != "stages")


def _read(path: Path) -> list[dict[str, Any]]:
    """The entries; none where the file is missing or, after a merge, no JSON."""
    try:
        entries: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return entries
