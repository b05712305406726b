"""What it costs that pictures of a cache in parts are mixed by parts, and not all with each other.

    python benchmarks/shuffling.py

Trains a linear head in NumPy, as the default one (AdamW, dropout 0.2, cosine), on the cached
features of the run in this folder, pictures sorted by class, which is how folders are read and the
worst case. Beside the true shuffle stand the parts that Thaw makes, each with pictures from all
over, and parts of pictures that follow each other; smaller parts stand for larger data. Writes
benchmarks/results/shuffling.json and .md.
"""

import argparse
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

import tables
import workspace
from thaw.core import errors
from thaw.drawing import markdown
from thaw.features import cache
from thaw.features.stores import EACH, WINDOW, Layout
from thaw.training import heads
from thaw.training.views import Blocks, Numbers

Array = NDArray[np.float32]
# Pictures in a part, how many parts are open at a time, whether its pictures are from all over.
WAYS = {
    "true shuffle": None,
    f"parts of {EACH} from all over, {WINDOW} at a time (Thaw)": (EACH, WINDOW, True),
    "parts of 8 from all over, 4 at a time": (8, 4, True),
    f"parts of {EACH} in order, {WINDOW} at a time": (EACH, WINDOW, False),
    "parts of 8 in order, 4 at a time": (8, 4, False),
}
RATE, DECAY, DROPOUT, BATCH = 0.001, 0.004, 0.2, 32  # as in params.yaml
FIRST, SECOND, LEAST = 0.9, 0.999, 1e-7  # of Adam


def order(way: tuple[int, int, bool] | None, count: int, seed: Sequence[int]) -> Numbers:
    """Of an epoch."""
    generator = np.random.default_rng(seed)
    drawn = generator.permutation(count)
    if way is None:
        return drawn
    each, window, spread = way
    layout = Layout(count, each, spread)
    blocks = Blocks(lambda pictures: layout.places(pictures)[0], window, lambda _: None)
    return blocks.order(drawn, generator)


def train(
    rows: Array, labels: Array, way: tuple[int, int, bool] | None, epochs: int, seed: int
) -> Array:
    """The weights of a head, its bias last, after so many epochs."""
    generator = np.random.default_rng([seed, 1])  # the same for all ways
    count, views, width = rows.shape
    limit = np.sqrt(6 / (width + 1))
    head = np.append(generator.uniform(-limit, limit, width), 0).astype(np.float32)
    mean, square = np.zeros_like(head), np.zeros_like(head)
    first = generator.integers(views, size=count)
    steps, step = epochs * -(-count // BATCH), 0
    for epoch in range(epochs):
        mixed = order(way, count, [seed, 2, epoch])
        for start in range(0, count, BATCH):
            mine = mixed[start : start + BATCH]
            batch = rows[mine, (first[mine] + epoch) % views]
            batch = batch * (generator.random(batch.shape, np.float32) > DROPOUT) / (1 - DROPOUT)
            error = 1 / (1 + np.exp(-(batch @ head[:-1] + head[-1]))) - labels[mine]
            slope = np.append(error @ batch, error.sum()) / len(mine)
            mean, square = (
                FIRST * mean + (1 - FIRST) * slope,
                SECOND * square + (1 - SECOND) * slope**2,
            )
            rate = RATE * (1 + np.cos(np.pi * step / steps)) / 2
            step += 1
            grown = np.sqrt(1 - SECOND**step) / (1 - FIRST**step)
            head -= rate * (grown * mean / (np.sqrt(square) + LEAST) + DECAY * head)
    return head.astype(np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=40)
    parser.add_argument("--epochs", type=int, nargs="+", default=[1, 3])
    given = parser.parse_args()
    params, facts = workspace.read_params(), cache.read_facts(workspace.FEATURES)
    select = heads.selector(params.head.pooling, facts.bottleneck)
    every = {
        name: np.array(cache.read(workspace.FEATURES, f"{name}_bottleneck"))
        for name in ("train", "validation")
    }
    mean, deviation = heads.moments(every["train"], select)
    values = {
        name: ((select(each.reshape(-1, *each.shape[2:])) - mean) / deviation).reshape(
            *each.shape[:2], -1
        )
        for name, each in every.items()
    }
    labels = {name: np.array(cache.read(workspace.FEATURES, f"{name}_labels")) for name in values}
    by_class = np.argsort(labels["train"], kind="stable")
    rows, of = values["train"][by_class], labels["train"][by_class].astype(np.float32)

    def accuracy(way: tuple[int, int, bool] | None, epochs: int, seed: int) -> float:
        head = train(rows, of, way, epochs, seed)
        said = values["validation"][:, 0] @ head[:-1] + head[-1] > 0
        return float((said == labels["validation"]).mean())

    found: dict[int, dict[str, list[float]]] = {
        epochs: {
            name: [accuracy(way, epochs, seed) for seed in range(given.seeds)]
            for name, way in WAYS.items()
        }
        for epochs in given.epochs
    }
    machine = tables.machine()
    content: dict[str, Any] = {"machine": machine, "accuracy": found}
    tables.write("shuffling", content, f"{tables.machine_line(machine)}\n\n{table(found)}\n")


def table(found: dict[int, dict[str, list[float]]]) -> str:
    """Validation accuracy by way, mean over seeds, and its difference from the true shuffle's."""

    def cell(values: Sequence[float], true: Sequence[float]) -> str:
        differences = 100 * (np.array(values) - np.array(true))
        mean = f"{100 * np.mean(values):.1f} %"
        if not differences.any():
            return mean
        error = 1.96 * differences.std(ddof=1) / np.sqrt(len(differences))
        return f"{mean} ({markdown.signed(differences.mean(), '.1f')} ± {error:.1f})"

    ways = next(iter(found.values()))
    true = next(iter(ways))
    columns = ["order", *(f"after {errors.some(epochs, 'epoch')}" for epochs in found)]
    lines = [[name, *(cell(each[name], each[true]) for each in found.values())] for name in ways]
    return markdown.table(columns, lines)


if __name__ == "__main__":
    errors.run(main)
