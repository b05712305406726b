"""Stage `weights`: the base model's pretrained weights to data/weights/."""

from pathlib import Path

import stage
from thaw import pretrained
from thaw.serialize import atomic


def main() -> None:
    params = stage.read_params()
    catalogue = stage.read_yaml(Path("weights.yaml"))
    base = pretrained.load(catalogue, params.base_model, params.weights)
    with atomic(stage.WEIGHTS) as path:
        base.save_weights(path)
    print(f"{base.name}: {len(base.layers)} layers, {base.count_params():,} parameters")


if __name__ == "__main__":
    stage.run(main)
