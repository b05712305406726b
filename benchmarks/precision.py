"""A step of fine-tuning in float32 and in bfloat16, for several networks, in turn.

    python benchmarks/precision.py

On random numbers in memory, batches of 32: forward, backward, and Adam. What
`fine_tune.precision` brings depends on the processor and on the network: products of matrices gain,
depthwise convolutions and element-wise operations don't. Writes benchmarks/results/precision.json
and .md.
"""

import library  # noqa: F401  # it makes Thaw importable

# isort: split
import thaw.networks.quiet  # noqa: F401

import argparse
import time
from collections.abc import Callable
from statistics import median

import keras
import numpy as np

import tables
from thaw.core import environment, errors
from thaw.drawing import markdown
from thaw.networks import backbones
from thaw.training import classifiers, folding, heads, loop

BATCH, STEPS, TURNS = 32, 8, 5
PRECISIONS = (folding.FLOAT32, folding.BFLOAT16)
CASES = (  # network, pixels, the cached layer, the first to thaw
    ("MobileNetV2", 160, "block_10_project_BN", 100),
    ("MobileNetV2", 300, "block_10_project_BN", 100),
    ("EfficientNetLite0", 224, "block5c_add", "block6a_expand_conv"),
    ("ResNet50", 224, "conv4_block6_out", "conv5_block1_1_conv"),
    ("Xception", 299, "add_10", "block13_sepconv1"),
    ("VGG16", 150, "block4_pool", "block5_conv1"),
)
HEAD = heads.HeadSpec(
    "average", (), dropout=0.2, l2=0.0, initializer="glorot_uniform", standardize=False
)
HOW = loop.Optimization("adamw", 1e-5, "constant", 1)


def main() -> None:
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    loop.prepare(1, 2)
    found = [measure(*case) for case in CASES]
    machine = tables.machine()
    known = "has" if environment.multiplies_bfloat16() else "has no known"
    columns = ("network", "pixels", "thawed from", "float32", "bfloat16", "times as fast")
    page = (
        f"{tables.machine_line(machine)} The processor {known} instructions for bfloat16. A step "
        f"of {BATCH} pictures, the median of {TURNS} turns of {STEPS} steps.\n\n"
        f"{markdown.table(columns, [line(each) for each in found])}\n"
    )
    tables.write("precision", {"machine": machine, "steps": found}, page)


def measure(name: str, size: int, cached: str, thawed: str | int) -> dict[str, object]:
    """The seconds of a step, of each precision in turn."""
    base = backbones.build(name, size)
    classifier = classifiers.classifier(base, heads.layers(HEAD, 2), "average", size)
    backbones.freeze_below(base, backbones.layer_index(base, thawed, "thawed"))
    boundary = backbones.layer_index(base, cached, "cached")
    jobs = {each: job(classifier, base, boundary, each) for each in PRECISIONS}
    seconds: dict[str, list[float]] = {each: [] for each in PRECISIONS}
    for _ in range(TURNS):
        for each, work in jobs.items():
            begun = time.perf_counter()
            for _ in range(STEPS):
                work()
            seconds[each].append((time.perf_counter() - begun) / STEPS)
    took = {each: median(values) for each, values in seconds.items()}
    print(f"{name}, {size} pixels: {took}", flush=True)
    return {"network": name, "pixels": size, "thawed": thawed, "seconds": took}


def job(
    classifier: keras.Model, base: keras.Model, boundary: int, precision: str
) -> Callable[[], object]:
    """A step of the layers above one."""
    top = classifiers.top(classifier, base, boundary, "average", precision=precision)
    loop.compile_model(top, HOW, 100)
    random = np.random.default_rng(0)
    maps = {each.name: random.random((BATCH, *each.shape[1:]), np.float32) for each in top.inputs}
    labels = np.arange(BATCH)[:, None] % 2
    top.train_on_batch(maps, labels)
    return lambda: top.train_on_batch(maps, labels)


def line(found: dict[str, object]) -> list[str]:
    took = found["seconds"]
    assert isinstance(took, dict)
    one, other = (took[each] for each in PRECISIONS)
    shown = [f"{1000 * each:.0f} ms" for each in (one, other)]
    thawed = found["thawed"]
    place = f"layer {thawed}" if isinstance(thawed, int) else f"`{thawed}`"
    return [str(found["network"]), str(found["pixels"]), place, *shown, f"{one / other:.1f}"]


if __name__ == "__main__":
    errors.run(main)
