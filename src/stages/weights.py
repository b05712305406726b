"""Stage `weights`: fetch the base model's pretrained weights: data/weights/."""

import workspace
from thaw.core.params import plain
from thaw.files.serialize import atomic
from thaw.networks import extractors, scratch
from thaw.pretrained import weights

ROOM = 4 * 2**20  # bytes for names and structure


def main() -> None:
    params = workspace.read_params()
    if given := workspace.onnx_given(params):
        size, output = params.image_size, params.feature_layer
        content = extractors.prepare(given, size, output, params.onnx.mean, params.onnx.std)
        with atomic(workspace.WEIGHTS) as path:
            path.write_bytes(bytes(ROOM + len(content)))
            extractors.save(content, path)
        height, width, channels = extractors.shape(content)
        print(f"{given.name}: pictures to {height} x {width} x {channels} features")
        return
    options = plain(scratch.Options, params.network)
    chosen = workspace.at_home(params.weights)
    base = weights.load(workspace.PRETRAINED, params.base_model, chosen, params.image_size, options)
    with atomic(workspace.WEIGHTS) as path:
        # HDF5 crashes where a disk is full: find that out before.
        path.write_bytes(bytes(ROOM + 4 * base.count_params()))
        base.save_weights(path)
    print(f"{base.name}: {len(base.layers)} layers, {base.count_params():,} parameters")
