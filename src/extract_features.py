"""Stage `extract_features`: what the frozen layers compute for each picture, to data/features/."""

import stage
from thaw import backbones, features, models, networks, runtime
from thaw.images import Augmentation
from thaw.serialize import read_csv


def main() -> None:
    params = stage.read_params()
    options = networks.Options(**params.network.model_dump())
    base = backbones.load(
        params.base_model, params.image_size, stage.WEIGHTS, params.feature_layer, options
    )
    cut = None if params.feature_layer is None else base.layers[-1].name
    layer = params.cache.layer
    at = 0 if layer == "pixels" else backbones.layer_index(base, layer, "cache.layer", cut)
    boundary = backbones.boundary(base, at)
    facts = features.Facts(
        base_model=params.base_model,
        image_size=params.image_size,
        resize=params.resize,
        boundary=boundary,
        boundary_name=base.layers[boundary].name if boundary else "pixels",
        bottleneck=params.cache.bottleneck,
        classes=stage.read_dataset()["classes"],
        augmentation=Augmentation(**params.augment.model_dump()),
        seed=params.seed,
        feature_layer=cut,
    )
    if facts.live:
        print("cached: pixels; views are drawn anew each epoch, and all layers run on them")
    else:
        print(f"cached layer: {facts.boundary_name} ({boundary}) of {params.base_model}")
    extractor = features.extractor(base, params.image_size, boundary, params.cache.bottleneck)
    session = runtime.session(models.to_onnx(extractor))
    rows = read_csv(stage.SPLIT)
    labels = {}
    cached_views = 0 if facts.live else facts.augmentation.count
    for name, views in (("train", cached_views), ("validation", 0)):
        part = [row for row in rows if row["split"] == name]
        paths = [row["path"] for row in part]
        features.extract(session, stage.IMAGES, paths, facts, views, stage.FEATURES, name)
        labels[name] = [facts.classes.index(row["label"]) for row in part]
        print(f"{name}: {max(views, 1)} views of {len(paths)} pictures")
    features.write_facts(facts, labels, stage.FEATURES)


if __name__ == "__main__":
    stage.run(main)
