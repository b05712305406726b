"""The training stages' scripts on tiny pictures: wherever training starts, the result is right."""

import thaw.networks.quiet  # noqa: F401

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from PIL import Image

import workspace
from commands import lr
from helpers import cifar_files, picture, pixels
from places import SRC
from runs import NO_VIEWS, Run
from stages import fine_tune, train_head
from thaw.core import environment
from thaw.core.errors import ThawError
from thaw.evaluation import inference, predictions
from thaw.features import cache
from thaw.files import tables
from thaw.pictures import decoding, sessions
from thaw.review import rates
from thaw.training import batches, loop, saving


@pytest.fixture(scope="module", autouse=True)
def seeds_alone() -> Iterator[None]:
    """TensorFlow's threads can't be set twice in a process."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(loop, "prepare", lambda seed, _: keras.utils.set_random_seed(seed))
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    made = Run(tmp_path_factory.mktemp("run"))
    made.stages("download", "weights", "split")
    return made


PIXELS = {"layer": "pixels", "bottleneck": "pooled", "store": None}
FEATURES_ON = ("freeze", "extract_features", "train_head", "fine_tune")


def test_a_lower_fine_tune_at_trains_the_same_from_pictures(run: Run) -> None:
    """Thawed from conv_pw_2 on: what lies below is cached, and then not.

    The views are the cache's whatever the seed of training.
    """
    how = {"seed": 2, "select": "last", "average_views": True}
    low = {"layer": "conv_pw_1_relu", "bottleneck": "pooled", "store": None}
    printed = run.stages(*FEATURES_ON, cache=low, fine_tune_at="conv_pw_2", **how)
    assert "slower" not in printed
    from_cache, counts = run.losses("model"), run.metrics("model")
    printed = run.stages(*FEATURES_ON, fine_tune_at="conv_pw_2", **how)
    assert "fine_tune_at lies at or below the cached layer conv_pw_2_relu (index" in printed
    assert "a lower cache.layer avoids it" in printed
    np.testing.assert_allclose(run.losses("model"), from_cache, rtol=3e-3)  # of float16
    assert run.metrics("model")["trainable_parameters"] == counts["trainable_parameters"]
    head, model = (saving.load(run.folder / f"models/{name}.keras") for name in ("head", "model"))
    first, last = (each.get_layer("MobileNet").get_layer("conv_pw_2") for each in (head, model))
    assert np.abs(last.kernel.numpy() - first.kernel.numpy()).max() > 0


@pytest.mark.parametrize("layer", ["conv_pw_2_relu", "pixels"])
def test_validation_is_by_what_the_model_predicts(run: Run, layer: str) -> None:
    how = {"cache": run.params["cache"] | {"layer": layer}, "average_views": True}
    how["decide"] = run.params["decide"] | {"calibrate": False}
    run.stages(*FEATURES_ON, "decide", **how)
    held = np.load(run.folder / "data/features/validation_boundary.npy")
    assert held.shape[1] == 2  # the picture, and its mirror image
    if layer == "pixels":
        np.testing.assert_array_equal(held[:, 1], held[:, 0, :, ::-1])
        split = tables.read(run.folder / "data/split.csv")
        paths = split["path"][split["split"] == "validation"]
        for first, path in zip(held[:, 0], paths, strict=True):
            own = decoding.load(run.folder / workspace.IMAGES / path, 32, "stretch", "file")
            np.testing.assert_array_equal(first, own)
    found = pd.read_csv(run.folder / "data/validation_predictions.csv")
    for name, model in (("head", "head"), ("fine_tuned", "model")):
        shares = np.where(found["label"] == "b", found[f"{name}_b"], found[f"{name}_a"])
        facts = run.metrics(model)
        if facts["taken"] or name == "head":
            assert facts["validation_loss"] == pytest.approx(-np.log(shares).mean(), rel=2e-3)
    run.stages("freeze", "extract_features", **how | {"average_views": False})
    alone = np.load(run.folder / "data/features/validation_boundary.npy")
    np.testing.assert_array_equal(alone, held[:, :1])


def test_everything_thawed(run: Run) -> None:
    run.stages(*FEATURES_ON, fine_tune_at=0)
    found = run.metrics("model")
    assert found["trainable_variables"] == 9 * 3 + 2  # kernel, gamma and beta of each layer; head
    assert np.isfinite(run.losses("model")).all()


def test_scales_alone_are_trained(run: Run) -> None:
    how = run.params["fine_tune"] | {"train": "scales", "learning_rate": 0.01}
    run.stages(*FEATURES_ON, fine_tune=how, fine_tune_at="conv_dw_4", select="last")
    head, model = (
        saving.load(run.folder / f"models/{name}.keras").get_layer("MobileNet")
        for name in ("head", "model")
    )
    changed = {
        f"{layer.name}/{variable.name}"
        for layer, other in zip(model.layers, head.layers, strict=True)
        for variable, first in zip(layer.variables, other.variables, strict=True)
        if not np.array_equal(variable, first)
    }
    norms = {f"conv_{kind}_4_bn/{name}" for kind in ("dw", "pw") for name in ("gamma", "beta")}
    assert changed == {"conv_dw_4/kernel", *norms}
    assert run.metrics("model")["trainable_variables"] == len(changed) + 2


def test_fewer_digits_train_nearly_the_same(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run.stages(*FEATURES_ON, fine_tune_at="conv_pw_2", select="last")
    exact, start = run.losses("model"), (run.folder / "models/head.keras").read_bytes()
    how = run.params["fine_tune"] | {"precision": "bfloat16"}
    monkeypatch.setattr(environment, "multiplies_bfloat16", lambda: False)
    fit, seen = loop.fit, []

    def spy(top: keras.Model, *given: object, **named: object) -> loop.Fitted:
        seen.extend((top, named["shipped"]))
        return fit(top, *given, **named)

    monkeypatch.setattr(loop, "fit", spy)
    more = {"fine_tune_at": "conv_pw_2", "select": "last", "fine_tune": how}
    printed = run.stages("fine_tune", **more)
    assert printed.count("note: fine_tune.precision: bfloat16: this processor has no") == 1
    assert (run.folder / "models/head.keras").read_bytes() == start
    precisions = [
        {each.precision for each in model.get_layer("folded").layers if hasattr(each, "precision")}
        for model in seen
    ]
    assert precisions == [{"bfloat16"}, {"float32"}]  # what trains, and what validation is by
    rounded, whole = run.losses("model"), (run.folder / "models/model.keras").read_bytes()
    np.testing.assert_allclose(rounded, exact, rtol=0.05)
    assert not np.array_equal(rounded, exact)
    kinds = {v.dtype for v in saving.load(run.folder / "models/model.keras").trainable_variables}
    assert kinds == {"float32"}
    monkeypatch.setattr(environment, "multiplies_bfloat16", lambda: True)
    assert "note" not in run.stages("fine_tune", **more)
    assert (run.folder / "models/model.keras").read_bytes() == whole


def test_rates_are_tried_on_the_cache(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run.stages("freeze", "extract_features", "train_head")
    before = (run.folder / "models/head.keras").read_bytes()
    monkeypatch.setattr(lr, "STEPS", {"head": 3, "fine_tune": 2})
    monkeypatch.setattr(rates, "RATES", 3)
    with contextlib.chdir(run.folder):
        lr.main()
    printed = capsys.readouterr().out
    assert "## The head" in printed
    assert "## Fine-tuning" in printed
    for group in ("head", "fine_tune"):
        tried = pd.read_csv(run.folder / f"lr/{group}.csv")
        np.testing.assert_allclose(tried["rate"], [1e-6, 10**-5.5, 1e-5])
        assert np.isfinite(tried).all(axis=None)
    assert (run.folder / "lr/lr.png").stat().st_size > 10_000
    assert (run.folder / "lr/lr.md").read_text(encoding="utf-8").strip() in printed
    assert (run.folder / "models/head.keras").read_bytes() == before


def test_without_what_is_trained_no_rate_is_tried(run: Run, tmp_path: Path) -> None:
    linear = run.params["head"] | {"classifier": "svm"}
    run.stages(head=linear, fine_tune_at=None)
    with (
        contextlib.chdir(run.folder),
        pytest.raises(ThawError, match="classifier: svm with fine_tune_at: null: nothing is"),
    ):
        lr.main()
    run.stages()
    head = run.folder / "models/head.keras"
    kept = shutil.move(head, tmp_path)
    with (
        contextlib.chdir(run.folder),
        pytest.raises(ThawError, match=r"head\.keras is missing; run `make lr`"),
    ):
        lr.main()
    shutil.move(kept, head)


def test_cached_pixels_give_live_views(run: Run) -> None:
    photo = NO_VIEWS | {"preset": "photo"}
    printed = run.stages(
        *FEATURES_ON, cache=PIXELS, augment=photo, fine_tune_at="conv_pw_4", average_views=True
    )
    assert "cached: pixels; views are drawn anew each epoch" in printed
    assert "slower" not in printed
    stored = np.load(run.folder / "data/features/train_boundary.npy", mmap_mode="r")
    assert (stored.dtype, stored.shape[1:]) == (np.uint8, (1, 32, 32, 3))
    assert np.isfinite(run.losses("model")).all()
    with contextlib.chdir(run.folder):
        source = fine_tune.pictures(workspace.read_params(), cache.read_facts(workspace.FEATURES))
        train, validation = batches.pictures(source, None, first_epoch=2)
        kept = validation[0][0]["pictures"]
        drawn = set()
        for _ in range(3):
            for number in range(len(train)):
                drawn |= {picture.tobytes() for picture in train[number][0]["pictures"]}
            train.on_epoch_end()
    assert len(drawn) == 3 * len(stored)
    pictures = np.load(run.folder / "data/features/validation_boundary.npy")
    np.testing.assert_array_equal(kept, pictures.reshape(-1, *kept.shape[1:])[: len(kept)])
    first = run.losses("head")
    run.stages("train_head", cache=PIXELS, augment=photo, average_views=True)
    np.testing.assert_array_equal(run.losses("head"), first)


def test_without_augmentation_pixels_and_features_train_alike(run: Run) -> None:
    same = {
        "augment": NO_VIEWS,
        # The order of fine-tuning goes on from the head's where views are live: let it not count.
        "fine_tune": run.params["fine_tune"] | {"learning_rate": 1e-9},
        "fine_tune_at": "conv_pw_4",
    }
    run.stages(*FEATURES_ON, **same)
    head, model = run.losses("head"), run.losses("model")
    run.stages(*FEATURES_ON, **same, cache=PIXELS)
    np.testing.assert_allclose(run.losses("head"), head, rtol=1e-3)
    np.testing.assert_allclose(run.losses("model")[:, 1], model[:, 1], rtol=0.01)


def test_tensorboard_shows_both_phases_and_changes_no_result(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Under the experiment's name, in the repository even where DVC runs it in a copy."""

    def results() -> dict[str, bytes]:
        # Not model.keras: Keras numbers some layers by how many this process has made before.
        files = [*run.folder.glob("models/*.onnx"), *run.folder.glob("plots/*.csv")]
        return {path.name: path.read_bytes() for path in files}

    run.stages(*FEATURES_ON, fine_tune_at="conv_pw_4")
    plain = results()
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.setenv("DVC_EXP_NAME", "red-fox")
    run.stages(*FEATURES_ON, fine_tune_at="conv_pw_4", tensorboard=True)
    assert results() == plain
    assert not (run.folder / "logs").exists()
    found = {str(path.parent.relative_to(tmp_path)) for path in tmp_path.rglob("events.*")}
    assert found == {
        f"logs/red-fox/{phase}/{part}"
        for phase in ("head", "fine_tune")
        for part in ("train", "validation")
    }


@pytest.mark.parametrize(("resize", "bit_depth"), [("stretch", "file"), ("crop", 12)])
def test_the_exported_model_reads_pictures_as_the_cache_did(
    run: Run, resize: str, bit_depth: int | str, tmp_path: Path
) -> None:
    """Wide pictures: training, prediction and `predict.py` see the same pixels of them."""
    for number in range(40):
        path = picture(tmp_path / "ab"[number % 2] / f"{number}.png", number, width=60, height=40)
        if bit_depth == 12:
            grey = pixels(number, 60, 40)[:, :, 0].astype(np.uint16)
            Image.fromarray(grey << 4).save(path)
    source = {"source": str(tmp_path), "resize": resize, "bit_depth": bit_depth}
    run.stages("download", "split", *FEATURES_ON, **source, cache=PIXELS, fine_tune_at=None)
    with contextlib.chdir(run.folder):
        split = tables.read(workspace.SPLIT)
        paths = split["path"][split["split"] == "validation"].tolist()
        classifier = inference.Classifier(Path("data/fine_tuned.onnx"))
        found = [
            each.probabilities
            for each in classifier.classify(map(workspace.IMAGES.joinpath, paths))
        ]
    cached = np.load(run.folder / "data/features/validation_boundary.npy")
    assert (resize, bit_depth) == (classifier.resize, classifier.bit_depth)
    expected = [classifier.judge(one).probabilities for one in cached[:, 0]]
    np.testing.assert_array_equal(found, expected)
    expected = decoding.load(run.folder / "data/dataset/images" / paths[0], 32, resize, bit_depth)
    np.testing.assert_array_equal(cached[0, 0], expected)
    run.stages("download", "split")


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The network of the article on CIFAR-10, trained from scratch, few pictures of noise."""
    made = Run(tmp_path_factory.mktemp("scratch"))
    made.params |= {
        "dataset": "cifar10",
        "source": str(cifar_files(made.folder / "cifar-10-batches-bin", "a", "b", "c", each=4)),
        "split": made.params["split"] | {"held_out": 0.2, "test": 0.2},
        "base_model": "cifar10_cnn",
        "feature_layer": None,
        "weights": "random:3",
        "network": {
            "padding": "valid",
            "l2": 1e-4,
            "initializer": "he_uniform",
            "batch_norm": True,
        },
        "augment": NO_VIEWS,
        "cache": {"layer": "pixels", "bottleneck": "pooled", "store": None},
        "fine_tune_at": 0,
    }
    made.params["head"] |= {
        "pooling": "flatten",
        "hidden": [16],
        "standardize": False,
        "dropout": 0.0,
        "l2": 1e-4,
        "initializer": "he_uniform",
        "batch_norm": True,
        "epochs": 0,
    }
    made.params["fine_tune"] |= {
        "optimizer": "rmsprop",
        "learning_rate": 0.001,
        "schedule": "constant",
        "epochs": 6,
        "batch_norm": "trained",
    }
    made.stages("download", "weights", "split", *FEATURES_ON, "decide", "evaluate")
    return made


def norms(run: Run, name: str) -> list[np.ndarray]:
    """Moving means and variances of the base model, then those of the head."""
    model = saving.load(run.folder / f"models/{name}.keras")
    layers = [*model.get_layer("cifar10_cnn").layers, *model.layers]
    found = [each for each in layers if isinstance(each, keras.layers.BatchNormalization)]
    assert len(found) == 5
    return [np.stack([each.moving_mean, each.moving_variance]) for each in found]


def test_from_scratch_the_head_is_left_to_fine_tune(scratch: Run) -> None:
    assert scratch.metrics("head") == {
        "epochs": 0,
        "taken": 0,
        "parameters": 65_568 + 768 + 1600 * 16 + 16 + 64 + 51,
        "trainable_parameters": 1600 * 16 + 16 + 32 + 51,
        "trainable_variables": 6,
    }
    lines = (scratch.folder / "plots/head.csv").read_text(encoding="utf-8").splitlines()
    assert lines == [",".join((*loop.HISTORY, "taken"))]
    for each in norms(scratch, "head"):
        np.testing.assert_array_equal(each, np.stack([np.zeros(each.shape[1]), each[1] * 0 + 1]))
    with contextlib.chdir(scratch.folder):
        params = workspace.read_params()
        given = train_head.base_model(params, cache.read_facts(workspace.FEATURES))
    first = saving.load(scratch.folder / "models/head.keras").get_layer("cifar10_cnn")
    for one, other in zip(given.get_weights(), first.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_from_scratch_everything_is_trained(scratch: Run) -> None:
    counts = scratch.metrics("model")
    assert counts["epochs"] == 6
    assert counts["trainable_parameters"] == counts["parameters"] - (768 + 64) // 2
    losses = scratch.losses("model")[:, 0]
    assert losses[-1] < losses[0] / 2
    for first, last in zip(norms(scratch, "head"), norms(scratch, "model"), strict=True):
        assert (np.abs(last - first).max(axis=1) > 0.01).all()
    evaluation = json.loads((scratch.folder / "metrics/evaluation.json").read_text())
    assert set(evaluation) == {"test", "validation"}
    assert all(set(part) == {"head", "fine_tuned"} for part in evaluation.values())
    assert (scratch.folder / "plots/learning_curves.png").is_file()


def test_from_scratch_onnx_predicts_by_the_moving_statistics(scratch: Run) -> None:
    pictures = np.load(scratch.folder / "data/features/validation_boundary.npy")[:, 0]
    pictures = pictures.astype(np.float32)
    model = saving.load(scratch.folder / "models/model.keras")
    session = sessions.session((scratch.folder / "data/fine_tuned.onnx").read_bytes())
    logits, _ = session.run(None, {session.get_inputs()[0].name: pictures})
    np.testing.assert_allclose(logits, model(pictures, training=False), rtol=1e-3, atol=1e-4)
    losses = -np.log(np.exp(logits) / np.exp(logits).sum(1, keepdims=True))
    labels = np.load(scratch.folder / "data/features/validation_labels.npy")
    # What fit says of validation, less the penalty on the kernels.
    penalty = sum(
        1e-4 * float(np.square(weight.numpy()).sum())
        for weight in model.trainable_weights
        if weight.name == "kernel"
    )
    told = scratch.metrics("model")["validation_loss"] - penalty
    assert losses[np.arange(len(labels)), labels].mean() == pytest.approx(told, rel=1e-3)


def test_from_scratch_again_gives_the_same_bytes(scratch: Run) -> None:
    whole = (scratch.folder / "models/model.keras").read_bytes()
    scratch.stages("fine_tune")
    assert (scratch.folder / "models/model.keras").read_bytes() == whole


def test_frozen_batch_norm_keeps_its_statistics(scratch: Run) -> None:
    """Those of the base model: the head's own layers train as in train_head."""
    frozen = scratch.params["fine_tune"] | {"batch_norm": "frozen", "epochs": 1}
    scratch.stages("fine_tune", fine_tune=frozen)
    pairs = list(zip(norms(scratch, "head"), norms(scratch, "model"), strict=True))
    for first, last in pairs[:4]:
        np.testing.assert_array_equal(first, last)
    assert not np.array_equal(*pairs[4])


def test_a_loss_that_is_no_number_is_a_sentence(tmp_path: Path) -> None:
    with contextlib.chdir(tmp_path), pytest.raises(ThawError) as caught:
        fine_tune.RESULTS.show(loop.Fitted([(1, float("nan"), 0.5, 0.5, 0.5)], 1))
    assert list(tmp_path.iterdir()) == []
    assert str(caught.value) == (
        "the loss of epoch 1 is no number; set a smaller fine_tune.learning_rate in params.yaml"
    )


def test_without_any_epochs_and_layers_nothing_would_be_trained(scratch: Run) -> None:
    with pytest.raises(ThawError, match=r"^params.yaml: head.epochs: 0: .*or fine_tune_at a layer"):
        scratch.stages("fine_tune", fine_tune_at=None)


def test_where_nothing_below_can_be_cached_no_lower_cache_layer_is_named(scratch: Run) -> None:
    layer = {"layer": "block1_pool", "bottleneck": "pooled", "store": None}
    short = scratch.params["fine_tune"] | {"epochs": 1}
    printed = scratch.stages(*FEATURES_ON, cache=layer, fine_tune=short, fine_tune_at=1)
    assert "slower; cache.layer: pixels spares the decoding" in printed
    assert "a lower cache.layer" not in printed


def test_the_order_of_sets_is_the_same_in_every_run(tmp_path: Path) -> None:
    shutil.copytree(SRC, tmp_path / "src")
    order = "def main(): print(hash('a'))"
    (tmp_path / "src/commands/watch.py").write_text(order, encoding="utf-8")
    found = {
        subprocess.run(
            [sys.executable, "src", "watch"],
            cwd=tmp_path,
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("random", "13")
    }
    assert len(found) == 1


def test_what_is_chosen_on_validation_is_in_the_models(run: Run) -> None:
    """Temperature, threshold and doubt: in the file, what predict says, and in the figures."""
    how = run.params["decide"] | {"threshold": "recall:0.6", "reject_below": "coverage:0.5"}
    printed = run.stages(*FEATURES_ON, "decide", decide=how)
    assert "from a probability of" in printed
    noted = run.metrics("decision")["fine_tuned"]
    raw = inference.Classifier(run.folder / "data/fine_tuned.onnx")
    made = inference.Classifier(run.folder / "models/model.onnx")
    assert made.decision.temperature == pytest.approx(noted["temperature"], rel=1e-6)
    assert made.decision.positive == "b"
    pixels = raw.look(run.folder / "data/dataset/images/a/1.png")
    logits, unlike = made.outputs(pixels[None])
    np.testing.assert_allclose(
        logits, raw.logits(pixels[None]) / noted["temperature"], rtol=1e-4, atol=1e-6
    )
    assert unlike.shape == (1, 1)
    run.stages("decide", "evaluate", decide=how)
    table = tables.read(run.folder / "data/predictions.csv")
    shares = table["fine_tuned_b"].to_numpy(float)
    decided = predictions.decided(table, ["a", "b"], "fine_tuned")
    said = shares > 0.5 if decided is None else decided == 1
    np.testing.assert_array_equal(said, shares > noted["threshold"])
    right = (said == (table["label"] == "b")).mean()
    assert run.metrics("evaluation")["test"]["fine_tuned"]["accuracy"] == pytest.approx(right)
    for path, share in zip(table["path"], shares, strict=True):
        result = made.judge(made.look(run.folder / "data/dataset/images" / path))
        assert result.probabilities[1] == pytest.approx(share, abs=1e-5)
        assert made.classes[result.decided] == ("b" if share > noted["threshold"] else "a")
    run.stages("decide", "evaluate", decide=how | {"threshold": 0.001})
    table = tables.read(run.folder / "data/predictions.csv")
    assert {*table["decided_fine_tuned"]} == {"b"}
    share = (table["label"] == "b").mean()
    assert run.metrics("evaluation")["test"]["fine_tuned"]["accuracy"] == pytest.approx(share)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"class_weight": {"c": 2}}, "class_weight: c: the dataset has the classes a, b"),
        ({"costs": {"a": {"c": 2}}}, "decide.costs: c: the dataset has the classes a, b"),
        ({"costs": {"a": {"a": 2}}}, "decide.costs: a: a is right, and costs nothing"),
    ],
)
def test_classes_that_the_dataset_has_not(run: Run, changes: dict[str, object], told: str) -> None:
    given = changes
    if "costs" in changes:
        given = {"decide": run.params["decide"] | changes}
    with pytest.raises(ThawError, match=told):
        run.stages("split", **given)
