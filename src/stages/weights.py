"""Stage `weights`: fetch the base model's pretrained weights: data/weights/."""

from collections.abc import Callable
from pathlib import Path

import workspace
from thaw.core.params import plain
from thaw.files.serialize import atomic
from thaw.networks import extractors, scratch
from thaw.pretrained import weights

ROOM = 4 * 2**20  # bytes for names and structure


def write(size: int, save: Callable[[Path], object]) -> None:
    """Write the weights, some `size` bytes of HDF5, which crashes where a disk is full."""
    with atomic(workspace.WEIGHTS) as path:
        path.write_bytes(bytes(ROOM + size))  # finds that out before
        save(path)


def main() -> None:
    params = workspace.read_params()
    if given := workspace.onnx_given(params):
        size, output = params.image_size, params.feature_layer
        content = extractors.prepare(given, size, output, params.onnx.mean, params.onnx.std)
        write(len(content), lambda path: extractors.save(content, path))
        height, width, channels = extractors.shape(content)
        print(f"{given.name}: pictures to {height} x {width} x {channels} features")
        return
    options = plain(scratch.Options, params.network)
    chosen = workspace.at_home(params.weights)
    base = weights.load(workspace.PRETRAINED, params.base_model, chosen, params.image_size, options)
    write(4 * base.count_params(), base.save_weights)
    print(f"{base.name}: {len(base.layers)} layers, {base.count_params():,} parameters")
