"""Thaw and the TensorFlow tutorial's plain Keras code, one after the other, on the same pictures.

    python benchmarks/tutorial.py [--source file:///…/cats_and_dogs_filtered.zip]

Takes some 20 minutes on 2 cores. Writes benchmarks/results/tutorial.json and .md.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
STAGES = ("extract_features", "train_head", "fine_tune", "evaluate")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", help="where the pictures are, instead of their usual address")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for name in ("src", "datasets.yaml", "weights.yaml"):
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copyfile
            copy(ROOT / name, folder / name)
        params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
        recipe = (ROOT / "recipes/tensorflow-tutorial.yaml").read_text(encoding="utf-8")
        params |= yaml.safe_load(recipe) | {"source": given.source}
        (folder / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
        for stage in ("download", "weights", "split"):
            run(folder, f"src/{stage}.py")
        thaw: dict[str, float] = {stage: run(folder, f"src/{stage}.py") for stage in STAGES}
        thaw["seconds"] = sum(thaw.values())
        for phase, name in (("head", "head"), ("fine_tune", "model")):
            metrics = json.loads((folder / f"metrics/{name}.json").read_text(encoding="utf-8"))
            thaw[f"{phase}_validation_accuracy"] = metrics["validation_accuracy"]
        scores = json.loads((folder / "metrics/evaluation.json").read_text(encoding="utf-8"))
        thaw["head_test_accuracy"] = scores["head"]["accuracy"]
        thaw["fine_tune_test_accuracy"] = scores["fine_tuned"]["accuracy"]
        run(folder, str(ROOT / "benchmarks/plain_keras.py"), "keras.json")
        keras = json.loads((folder / "keras.json").read_text(encoding="utf-8"))
    results = ROOT / "benchmarks/results"
    results.mkdir(exist_ok=True)
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    found = {"machine": machine, "thaw": thaw, "plain_keras": keras}
    (results / "tutorial.json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    (results / "tutorial.md").write_text(table(found), encoding="utf-8")
    print(table(found))


def run(folder: Path, *command: str) -> float:
    """Run a Python script there; the seconds it took, start-up included."""
    print("$ python", *command, flush=True)
    started = time.perf_counter()
    subprocess.run([sys.executable, *command], cwd=folder, check=True)
    return time.perf_counter() - started


def table(found: dict[str, dict[str, float]]) -> str:
    """The comparison as Markdown."""
    thaw, keras = found["thaw"], found["plain_keras"]
    lines = [
        f"The tutorial's recipe, 10 + 10 epochs, on {found['machine']}.",
        "",
        "|  | plain Keras | Thaw |",
        "|---|---|---|",
    ]
    for phase, title in (("head", "after the head"), ("fine_tune", "after fine-tuning")):
        for part in ("validation", "test"):
            key = f"{phase}_{part}_accuracy"
            lines.append(f"| {part} accuracy {title} | {keras[key]:.4f} | {thaw[key]:.4f} |")
    ratio = keras["seconds"] / thaw["seconds"]
    lines.append(
        f"| seconds, download and split aside | {keras['seconds']:.0f} | "
        f"{thaw['seconds']:.0f} ({ratio:.1f} times faster) |"
    )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
