"""Stage `extract_features`: run the frozen layers once over every view: data/features/."""

import sys

import workspace
from thaw.core import graphs
from thaw.core.params import Params, plain
from thaw.features import cache
from thaw.files import tables
from thaw.networks import backbones, extractors, onnx_export, scratch
from thaw.pictures import sessions
from thaw.pictures.augmentation import Augmentation


def from_keras(params: Params) -> tuple[int, str, str | None, bytes]:
    """The cached layer's index and name, where the network is cut, and the frozen part in ONNX."""
    options = plain(scratch.Options, params.network)
    base = backbones.load(
        params.base_model, params.image_size, workspace.WEIGHTS, params.feature_layer, options
    )
    cut = None if params.feature_layer is None else base.layers[-1].name
    layer = params.cache.layer
    at = 0 if layer == "pixels" else backbones.layer_index(base, layer, "cache.layer", cut)
    boundary = backbones.boundary(base, at)
    extractor = cache.extractor(base, params.image_size, boundary, params.cache.bottleneck)
    return boundary, base.layers[boundary].name, cut, onnx_export.to_onnx(extractor)


def from_file(params: Params) -> tuple[int, str, None, bytes]:
    """The same of an ONNX file, of which only what it gives can be cached."""
    content = extractors.load(workspace.WEIGHTS)
    boundary = 0 if params.cache.layer == "pixels" else 1
    above = cache.above_maps(extractors.shape(content), boundary, params.cache.bottleneck)
    return boundary, "features", None, extractors.join(content, above)


def main() -> None:
    params = workspace.read_params()
    foreign = graphs.foreign(params.base_model)
    boundary, name, cut, content = (from_file if foreign else from_keras)(params)
    facts = cache.Facts(
        base_model=graphs.FOREIGN if foreign else params.base_model,
        image_size=params.image_size,
        resize=params.resize,
        boundary=boundary,
        boundary_name=name if boundary else "pixels",
        bottleneck=params.cache.bottleneck,
        classes=workspace.read_dataset()["classes"],
        augmentation=Augmentation.of(params.augment.model_dump()),
        seed=params.split.seed,
        feature_layer=cut,
        bit_depth=params.bit_depth,
    )
    if facts.live:
        print("cached: pixels; views are drawn anew each epoch, and all layers run on them")
    else:
        print(f"cached layer: {facts.boundary_name} ({boundary}) of {params.base_model}")
    session = sessions.session(content)
    split = tables.read(workspace.SPLIT)
    labels = {}
    cached_views = 0 if facts.live else facts.augmentation.count
    for name, views in (("train", cached_views), ("validation", 0)):
        part = split[split["split"] == name]
        paths = part["path"].tolist()
        beyond = cache.extract(
            session, workspace.IMAGES, paths, facts, views, workspace.FEATURES, name
        )
        if beyond:
            print(
                f"note: {name}: {beyond:,} values of {facts.boundary_name} are beyond "
                f"{cache.FLOAT16_MAX:,.0f}, the largest that the cache's float16 holds, and were "
                "cut to it: fine-tuning learns from other values than the model computes; give "
                "another cache.layer, or pixels",
                file=sys.stderr,
            )
        labels[name] = part["label"].map(facts.classes.index).tolist()
        drawn = "1 view" if views < 2 else f"{views} views"
        print(f"{name}: {drawn} of {len(paths)} pictures")
    cache.write_facts(facts, labels, workspace.FEATURES)
