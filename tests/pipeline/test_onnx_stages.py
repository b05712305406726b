"""The stages with a network from an ONNX file, on tiny pictures."""

import thaw.networks.quiet  # noqa: F401

import contextlib
from collections.abc import Iterator

import keras
import numpy as np
import onnx
import pandas as pd
import pytest

from helpers import onnx_network
from runs import Run
from thaw.core.errors import ThawError
from thaw.evaluation.inference import Classifier
from thaw.files import tables
from thaw.networks import extractors
from thaw.pictures import decoding, sessions
from thaw.review import heatmaps
from thaw.training import loop, saving

STAGES = ("download", "weights", "split", "freeze", "extract_features", "train_head", "fine_tune")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """A whole run with a file that takes one picture at a time, and has two outputs."""
    with pytest.MonkeyPatch.context() as patched:
        # TensorFlow's threads can't be set twice in a process.
        patched.setattr(loop, "prepare", lambda seed, _: keras.utils.set_random_seed(seed))
        made = Run(tmp_path_factory.mktemp("onnx"))
        onnx_network(made.folder / "my net.onnx", "both", size=32, batch=1)
        made.params |= {"base_model": "onnx:my net.onnx", "feature_layer": "maps"}
        made.params |= {"cache": {"layer": "features", "bottleneck": "pooled", "store": None}}
        made.params |= {"fine_tune_at": None, "average_views": True}
        made.stages(*STAGES, "decide", "evaluate", "model_card")
        yield made


def test_the_model_is_the_file_with_its_head(run: Run) -> None:
    table: pd.DataFrame = tables.read(run.folder / "data/predictions.csv")
    path = run.folder / "data/dataset/images" / table["path"][0]
    classifier = Classifier(run.folder / "models/model.onnx")
    shares = classifier.judge(classifier.look(path)).probabilities
    written = [float(table[f"fine_tuned_{name}"][0]) for name in classifier.classes]
    np.testing.assert_allclose(shares, written, atol=1e-4)
    pixels = decoding.load(path, 32, run.params["resize"], "file")[None].astype(np.float32)
    frozen = sessions.session(extractors.load(run.folder / "data/weights/base.weights.h5"))
    (maps,) = frozen.run(None, {frozen.get_inputs()[0].name: pixels})
    head = saving.load(run.folder / "models/model.keras")  # the head alone, in Keras
    np.testing.assert_allclose(
        classifier.logits(pixels) * classifier.decision.temperature,
        head(maps),
        rtol=1e-4,
        atol=1e-5,
    )
    onnx.checker.check_model(onnx.load(run.folder / "models/model.onnx"))


def test_both_models_are_the_same(run: Run) -> None:
    one, other = ((run.folder / f"models/{name}.onnx").read_bytes() for name in ("head", "model"))
    assert one == other


def test_the_card_says_what_is_in_which_file(run: Run) -> None:
    card = (run.folder / "models/model_card.md").read_text(encoding="utf-8")
    assert "`model.keras` is the head alone" in card
    assert "keras.models.load_model" not in card
    assert "those of the ONNX file" in card


def test_there_are_no_heat_maps(run: Run) -> None:
    with pytest.raises(ThawError, match="no heat maps of a network from an ONNX file"):
        heatmaps.Explainer(saving.load(run.folder / "models/model.keras"))


def test_views_drawn_anew(run: Run) -> None:
    """`cache.layer: pixels` runs the file's network in every epoch."""
    cache = {"layer": "pixels", "bottleneck": "full", "store": None}
    run.stages("freeze", "extract_features", "train_head", cache=cache)
    assert np.isfinite(run.losses("head")).all()


@pytest.mark.parametrize("name", ["export", "probe"])
def test_commands_that_need_keras_say_so(
    run: Run, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from commands import export, probe

    monkeypatch.setattr("sys.argv", [name])
    with (
        contextlib.chdir(run.folder),
        pytest.raises(ThawError, match=r"^params.yaml: base_model: onnx:my net.onnx: "),
    ):
        {"export": export, "probe": probe}[name].main()
