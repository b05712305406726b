"""Peak memory of each stage as the dataset grows tenfold.

    python benchmarks/memory.py [--counts 2600 26000]

Runs the stages on synthetic pictures of 64 pixels, two views each, with the parameters of
params.yaml otherwise and few epochs. Writes benchmarks/results/memory.json and .md.
"""

import argparse
from pathlib import Path

import tables
import workspaces
from processes import run
from thaw.core import errors
from thaw.drawing import markdown

HERE = Path(__file__).resolve().parent
TRAININGS = ("train_head", "fine_tune")
STAGES = ("download", "split", "freeze", "extract_features", *TRAININGS, "decide", "evaluate")
Peaks = dict[str, list[float]]  # MB of each stage, one for each count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--counts", type=int, nargs=2, default=[2600, 26000], metavar="PICTURES")
    counts = parser.parse_args().counts
    peaks: Peaks = {name: [] for name in STAGES}
    for count in counts:
        with workspaces.temporary() as folder:
            measure(folder, count, peaks)
    write(peaks, counts)


def measure(folder: Path, count: int, peaks: Peaks) -> None:
    """Run the stages on that many pictures."""
    print(f"\n== {count:,} pictures", flush=True)
    pictures = folder / "pictures"
    pictures.mkdir()
    run(pictures, HERE / "synthetic_pictures.py", str(count))
    params = workspaces.read_params(epochs=2, views=2)
    params |= {"dataset": "folder", "source": str(pictures), "image_size": 64}
    workspace = workspaces.create(folder / "run", params)
    workspace.stage("weights")
    for name in STAGES:
        peaks[name].append(workspace.stage(name).peak_mb)


def write(peaks: Peaks, counts: list[int]) -> None:
    """Write and show the results."""
    machine = tables.machine()
    content = {"machine": machine, "pictures": counts, "peak_mb": peaks}
    page = (
        f"{tables.machine_line(machine)} Synthetic pictures of 64 pixels, two views each. Largest "
        "resident memory, pages of files that are mapped into memory included; 1 MB is 10^6 bytes."
        f"\n\n{table(peaks, counts)}"
    )
    tables.write("memory", content, page)


def table(peaks: Peaks, counts: list[int]) -> str:
    """Peak resident memory as a Markdown table, a line a stage."""
    columns = ("peak memory", *(f"{count:,} pictures" for count in counts), "ratio")
    rows = [
        [f"`{name}`", f"{small:,.0f} MB", f"{large:,.0f} MB", f"{large / small:.2f}"]
        for name, (small, large) in peaks.items()
    ]
    return markdown.table(columns, rows) + "\n"


if __name__ == "__main__":
    errors.run(main)
