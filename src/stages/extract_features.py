"""Stage `extract_features`: run the frozen layers once over every view: data/features/."""

import sys
from pathlib import Path

import onnxruntime

import workspace
from thaw.core.errors import ThawError, of_the_machine, reason
from thaw.features import cache, extraction
from thaw.files import tables
from thaw.files.frozen import Frozen
from thaw.pictures import sessions
from thaw.pictures.augmentation import Augmentation


def load(path: Path) -> tuple[Frozen, onnxruntime.InferenceSession]:
    """The frozen layers, and what stage `freeze` noted of them.

    Raises:
        ThawError: when the file isn't as it wrote it.
    """
    try:
        session = sessions.session(str(path))
        return Frozen.of(session.get_modelmeta().custom_metadata_map), session
    except Exception as error:  # ONNX Runtime's errors have no common class
        if of_the_machine(error):
            raise
        raise ThawError(
            f"{path} is not as stage freeze wrote it ({reason(error)}); run `dvc repro -f freeze`"
        ) from None


def main() -> None:
    params = workspace.read_params()
    frozen, _ = load(workspace.FROZEN)
    facts = cache.Facts(
        **frozen.metadata(),
        resize=params.resize,
        classes=workspace.read_dataset()["classes"],
        augmentation=Augmentation.of(params.augment.model_dump()),
        seed=params.split.seed,
        bit_depth=params.bit_depth,
    )
    split = tables.read(workspace.SPLIT)
    scratch = workspace.FEATURES.with_name(f".part-{workspace.FEATURES.name}")
    labels = {}
    cached_views = 0 if facts.live else facts.augmentation.count
    # Validation is by what the model predicts: the mean over flips and turns, if it averages.
    averaged = len(facts.augmentation.symmetries) if params.average_views else 1
    for name, views in (("train", cached_views), ("validation", averaged)):
        part = split[split["split"] == name]
        paths = part["path"].tolist()
        beyond = extraction.extract(
            extraction.Extractor(
                str(workspace.FROZEN), workspace.IMAGES, facts, views, still=name == "validation"
            ),
            paths,
            workspace.FEATURES,
            name,
            scratch=scratch,
            store=params.cache.store,
            spread=name == "train",
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
    extraction.finish(scratch, workspace.FEATURES, [*labels])
    cache.write_facts(facts, labels, workspace.FEATURES)
