"""Stage `weights`: the base model's pretrained weights to data/weights/."""

from pathlib import Path

import stage
from thaw import networks, pretrained
from thaw.serialize import atomic

ROOM = 4 * 2**20  # bytes for names and structure


def main() -> None:
    params = stage.read_params()
    catalogue = stage.read_yaml(Path("weights.yaml"))
    options = networks.Options(**params.network.model_dump())
    base = pretrained.load(catalogue, params.base_model, params.weights, options)
    with atomic(stage.WEIGHTS) as path:
        # HDF5 crashes where a disk is full: find that out before.
        path.write_bytes(bytes(ROOM + 4 * base.count_params()))
        base.save_weights(path)
    print(f"{base.name}: {len(base.layers)} layers, {base.count_params():,} parameters")


if __name__ == "__main__":
    stage.run(main)
