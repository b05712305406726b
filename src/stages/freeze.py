"""Stage `freeze`: export the frozen part of the network for ONNX Runtime: data/frozen.onnx.

Only this stage of those before the trainings loads the network into Keras.
"""

import workspace
from thaw.core import graphs
from thaw.core.params import Params, plain
from thaw.files.frozen import Frozen
from thaw.files.serialize import write_bytes
from thaw.networks import backbones, extractors, freezing, onnx_export, scratch


def from_keras(params: Params) -> tuple[Frozen, bytes]:
    """The layers up to the cached one, and those that the head reads."""
    options = plain(scratch.Options, params.network)
    base = backbones.load(
        params.base_model, params.image_size, workspace.WEIGHTS, params.feature_layer, options
    )
    cut = None if params.feature_layer is None else base.layers[-1].name
    layer = params.cache.layer
    at = 0 if layer == "pixels" else backbones.layer_index(base, layer, "cache.layer", cut)
    boundary = backbones.boundary(base, at)
    facts = frozen(params, params.base_model, boundary, base.layers[boundary].name, cut)
    extractor = freezing.extractor(base, params.image_size, boundary, params.cache.bottleneck)
    return facts, onnx_export.to_onnx(extractor, facts.metadata())


def from_file(params: Params) -> tuple[Frozen, bytes]:
    """The network of an ONNX file, of which only what it gives can be cached."""
    content = extractors.load(workspace.WEIGHTS)
    boundary = 0 if params.cache.layer == "pixels" else 1
    facts = frozen(params, graphs.FOREIGN, boundary, "features", None)
    above = freezing.above_maps(extractors.shape(content), boundary, params.cache.bottleneck)
    return facts, extractors.join(content, above, facts.metadata())


def frozen(params: Params, base_model: str, boundary: int, name: str, cut: str | None) -> Frozen:
    return Frozen(
        base_model,
        params.image_size,
        boundary,
        name if boundary else "pixels",
        params.cache.bottleneck,
        cut,
    )


def main() -> None:
    params = workspace.read_params()
    foreign = graphs.foreign(params.base_model)
    facts, content = (from_file if foreign else from_keras)(params)
    write_bytes(workspace.FROZEN, content)
    if facts.boundary:
        print(f"cached layer: {facts.boundary_name} ({facts.boundary}) of {params.base_model}")
    else:
        print("cached: pixels; views are drawn anew each epoch, and all layers run on them")
