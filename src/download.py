"""Stage `download`: the chosen dataset to data/raw/."""

from pathlib import Path

import stage
from thaw import datasets


def main() -> None:
    params = stage.read_params()
    chosen = datasets.entry(stage.read_yaml(Path("datasets.yaml")), params.dataset)
    pictures = datasets.bring(chosen, params.source, stage.RAW)
    print(f"{len(pictures)} pictures in {stage.RAW} ({chosen.title}; licence: {chosen.licence})")


if __name__ == "__main__":
    stage.run(main)
