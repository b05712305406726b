"""Whether the probe's advice is among the best: `fine_tune_at` swept, its value beside the others.

    python benchmarks/sweep.py --recipe tensorflow-tutorial --name sweep-cats_and_dogs \\
        --at null 134 116 100 54 --set 'cache={layer: block_4_add, bottleneck: pooled}' \\
        --set 'fine_tune={optimizer: rmsprop, learning_rate: 0.00001, schedule: constant, epochs: 4,
               batch_norm: frozen}'
    python benchmarks/sweep.py --name sweep-elpv --at null 143 116 100 72 \\
        --set 'augment={preset: symmetric, views: 4}' \\
        --set 'cache={layer: block_4_add, bottleneck: blocks}' \\
        --set 'fine_tune={optimizer: adam, learning_rate: 0.00001, schedule: cosine, epochs: 2,
               batch_norm: frozen}'

Runs the stages in a temporary folder, so that the workspace stays as it is, then `fine_tune` for
each value, the advised one among them. Looks at validation pictures alone. Writes
benchmarks/results/sweep.json and .md (or --name). A cached layer below the lowest value makes it
quicker.
"""

import argparse
from typing import Any

import yaml

import tables
import workspaces
from thaw.core import errors
from thaw.drawing import markdown


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--at", nargs="+", required=True, type=yaml.safe_load, metavar="LAYER")
    parser.add_argument("--recipe", help="of recipes/, without .yaml")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--name", default="sweep")
    given = parser.parse_args()
    params = workspaces.merged(given.recipe, given.set)
    with workspaces.temporary() as folder:
        found = sweep(workspaces.create(folder / "run", params), given.at)
    machine = tables.machine()
    page = f"{tables.machine_line(machine)}\n\n{table(found)}"
    tables.write(given.name, {"machine": machine, "values": found}, page)


def sweep(workspace: workspaces.Workspace, values: list[Any]) -> list[dict[str, Any]]:
    """A row for each value, the advised one among them: the metrics of what was fine-tuned."""
    stages = ("freeze", "extract_features", "train_head")
    for name in ("download", "weights", "split", "probe", *stages):
        workspace.stage(name)
    depths = workspace.rows("probe/probe.csv")
    advised = next(row["fine_tune_at"] for row in depths if row["advised"] == "1")
    head = workspace.read("metrics/head.json")
    rows = []
    for value in dict.fromkeys([*values, advised]):
        seconds = workspace.stage("fine_tune", fine_tune_at=value).seconds
        # Without fine-tuning the model is the head's, and its own metrics have no accuracy.
        metrics = workspace.read("metrics/model.json") if value is not None else head
        row = {name: metrics[f"validation_{name}"] for name in ("accuracy", "loss")}
        rows.append({"fine_tune_at": value, "advised": value == advised, **row, "seconds": seconds})
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """The sweep as Markdown, best accuracy first."""
    columns = ("fine_tune_at", "validation accuracy", "validation loss", "seconds")
    cells = []
    for row in sorted(rows, key=lambda row: -row["accuracy"]):
        name = "null" if row["fine_tune_at"] is None else row["fine_tune_at"]
        mark = " (advised)" if row["advised"] else ""
        figures = (f"{row['accuracy']:.4f}", f"{row['loss']:.4f}", f"{row['seconds']:.0f}")
        cells.append([f"{name}{mark}", *figures])
    return markdown.table(columns, cells) + "\n"


if __name__ == "__main__":
    errors.run(main)
