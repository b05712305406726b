"""The training stages with a linear head and with a cut network, on tiny pictures."""

import thaw.networks.quiet  # noqa: F401

import contextlib
import csv
import json
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image
from scipy.special import log_softmax

import workspace
from helpers import pixels
from runs import Run
from stages import evaluate, train_head
from thaw.core.errors import ThawError
from thaw.features import cache
from thaw.files import tables
from thaw.networks import backbones
from thaw.pictures import decoding, sessions
from thaw.training import heads, linear, loop

CUT = {
    "feature_layer": "conv_pw_3_relu",
    "cache": {"layer": "conv_pw_1_relu", "bottleneck": "pooled", "store": None},
    "fine_tune_at": "conv_dw_2",
}


def tinted(folder: Path, *names: str, each: int = 20) -> str:
    """Noise with a little more of one colour for each class, too little to be always right."""
    for number, name in enumerate(names):
        (folder / name).mkdir(parents=True)
        for index in range(each):
            noise = pixels(1000 * number + index, 8, 8) // 2
            noise[..., number] += 10
            Image.fromarray(noise).save(folder / name / f"{index}.png")
    return str(folder)


@contextlib.contextmanager
def prepared(folder: Path, *names: str) -> Iterator[Run]:
    """A run up to the features of the cut network, of pictures of so many classes."""
    with pytest.MonkeyPatch.context() as patched:
        # TensorFlow's threads can't be set twice in a process.
        patched.setattr(loop, "prepare", lambda seed, _: keras.utils.set_random_seed(seed))
        made = Run(folder)
        made.params["source"] = tinted(folder / "tinted", *names)
        made.params["split"] |= {"held_out": 0.5, "test": 0.4, "seed": 1}
        made.params |= CUT
        made.stages("download", "weights", "split", "freeze", "extract_features")
        yield made


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    with prepared(tmp_path_factory.mktemp("two"), "a", "b") as made:
        yield made


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    with prepared(tmp_path_factory.mktemp("three"), "a", "b", "c") as made:
        yield made


@pytest.fixture(params=["two", "three"])
def run(request: pytest.FixtureRequest) -> Run:
    return request.getfixturevalue(request.param)


def classes(run: Run) -> list[str]:
    return json.loads((run.folder / "data/dataset/dataset.json").read_text())["classes"]


def head(run: Run, classifier: str, **changes: object) -> dict[str, object]:
    return run.params["head"] | {"classifier": classifier} | changes


def predictions(run: Run, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels of the validation pictures, and logits by the saved `.keras` and `.onnx` models."""
    split = tables.read(run.folder / workspace.SPLIT)
    rows = split[split["split"] == "validation"]
    loaded = [decoding.load(run.folder / workspace.IMAGES / path, 32) for path in rows["path"]]
    stacked = np.stack(loaded).astype(np.float32)
    model = keras.models.load_model(run.folder / f"models/{name}.keras", compile=False)
    exported = {"head": workspace.HEAD_ONNX, "model": workspace.FINE_TUNED_ONNX}[name]
    session = sessions.session(str(run.folder / exported))
    onnx, _ = session.run(None, {session.get_inputs()[0].name: stacked})
    labels = rows["label"].map(classes(run).index).to_numpy()
    return labels, model.predict(stacked, verbose=0), onnx


def loss_and_accuracy(labels: np.ndarray, logits: np.ndarray) -> tuple[float, float]:
    if logits.shape[1] == 1:
        logits = np.hstack([np.zeros_like(logits), logits])
    shares = log_softmax(logits.astype(np.float64), axis=1)
    right = shares.argmax(axis=1) == labels
    return -float(shares[np.arange(len(labels)), labels].mean()), float(right.mean())


def epochs(run: Run, name: str) -> list[str]:
    with (run.folder / f"plots/{name}.csv").open(newline="", encoding="utf-8") as file:
        return [row["epoch"] for row in csv.DictReader(file)]


@pytest.mark.parametrize("kind", ["svm", "logistic"])
def test_a_linear_heads_classifier_is_one_keras_model(run: Run, kind: str) -> None:
    """Its file gives what the fit promised, and fine-tuning goes on from it."""
    chosen = head(run, kind, standardize=False, epochs=7)
    still = run.params["fine_tune"] | {"learning_rate": 1e-9}
    printed = run.stages("train_head", "fine_tune", head=chosen, fine_tune=still)
    found = run.metrics("head")
    assert f"{kind}, C = {found['C']:g}: validation cross-entropy" in printed
    assert printed.count(", chosen") == 1
    labels, logits, onnx = predictions(run, "head")
    assert logits.shape == (len(labels), 1 if len(classes(run)) == 2 else 3)
    # Pictures this alike make features that vary little, so rounding is magnified.
    np.testing.assert_allclose(onnx, logits, atol=0.01)
    loss, accuracy = loss_and_accuracy(labels, logits)
    assert found["validation_loss"] == pytest.approx(loss, abs=5e-3)
    assert found["validation_accuracy"] == pytest.approx(accuracy)
    assert found["validation_loss"] < 0.9 * np.log(len(classes(run)))  # it has learnt
    assert found["epochs"] == 1
    assert (epochs(run, "head"), epochs(run, "model")) == (["1"], ["2", "3"])
    names = [layer.name for layer in heads.of(model(run, "head"))]
    assert names == ["standardize", "dropout", "logits"]
    # At that rate it changes nothing.
    assert run.losses("model")[0, 1] == pytest.approx(loss, abs=0.05)
    assert "C" not in run.metrics("model")


def test_a_linear_heads_model_does_not_depend_on_the_seed_of_training(two: Run) -> None:
    found = set()
    for seed in (1, 2):
        two.stages("train_head", head=head(two, "svm"), seed=seed)
        found.add((two.folder / "data/head.onnx").read_bytes())
    assert len(found) == 1


def model(run: Run, name: str) -> keras.Model:
    return keras.models.load_model(run.folder / f"models/{name}.keras", compile=False)


def test_the_same_bytes_twice(run: Run) -> None:
    def files() -> list[bytes]:
        keras.utils.clear_session()  # it numbers what a process has made
        run.stages("train_head", head=head(run, "svm"))
        names = ("models/head.keras", "data/head.onnx", "metrics/head.json", "plots/head.csv")
        return [(run.folder / name).read_bytes() for name in names]

    assert files() == files()


def test_the_classifiers_differ_and_dense_notes_no_c(two: Run) -> None:
    kernels = {}
    for kind in ("dense", "svm", "logistic"):
        two.stages("train_head", head=head(two, kind))
        kernels[kind] = model(two, "head").get_layer("logits").kernel.numpy()
        assert ("C" in two.metrics("head")) == (kind != "dense")
    assert len({kernel.tobytes() for kernel in kernels.values()}) == 3
    directions = [k[:, 0] / np.linalg.norm(k) for k in kernels.values()]
    assert directions[1] @ directions[2] > 0.5  # both fit the same pictures


def test_all_cached_views_are_fitted(two: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    fit = linear.fit

    def spy(kind: str, train: linear.Rows, validation: linear.Rows) -> linear.Fitted:
        seen.append((train, validation))
        return fit(kind, train, validation)

    monkeypatch.setattr(linear, "fit", spy)
    # Here the classes have as many pictures each, so true weights would all be 1.
    monkeypatch.setattr(train_head, "class_weights", lambda _, labels, __: np.float32(labels + 0.5))
    two.stages("train_head", head=head(two, "logistic"), class_weight="balanced")
    (train, validation) = seen[0]
    cached = np.load(two.folder / "data/features/train_bottleneck.npy")
    labels = np.load(two.folder / "data/features/train_labels.npy")
    assert cached.shape[1] == 2
    assert train.features.shape == (2 * len(labels), 2 * cached.shape[-1])
    np.testing.assert_array_equal(train.labels, labels.repeat(2))
    np.testing.assert_array_equal(train.weights, labels.repeat(2) + 0.5)
    varies = heads.selector("average_max", "pooled")(cached.reshape(-1, 2, 128)).std(axis=0) > 1e-3
    assert varies.sum() > 100
    np.testing.assert_allclose(train.features.mean(axis=0)[varies], 0, atol=1e-3)
    spread = train.features.std(axis=0)[varies]
    assert (spread < 1.001).all()
    assert (spread > 0.999).sum() > 100  # some vary so little that they are scaled by less
    row = heads.selector("average_max", "pooled")(cached[3, 1:].astype(np.float32))
    layer = model(two, "head").get_layer("standardize")
    np.testing.assert_allclose(train.features[7:8], layer(row), atol=1e-5)
    kept = np.load(two.folder / "data/features/validation_labels.npy")
    np.testing.assert_array_equal(validation.labels, kept)
    np.testing.assert_array_equal(validation.weights, kept + 0.5)


def test_whole_maps_and_live_views_and_every_block(two: Run) -> None:
    full = {"layer": "conv_pw_1_relu", "bottleneck": "full", "store": None}
    flat = head(two, "logistic", pooling="flatten")
    two.stages("freeze", "extract_features", "train_head", cache=full, head=flat)
    labels, logits, _ = predictions(two, "head")
    assert two.metrics("head")["validation_loss"] == pytest.approx(
        loss_and_accuracy(labels, logits)[0], abs=5e-3
    )
    pixels = {"layer": "pixels", "bottleneck": "blocks", "store": None}
    svm = head(two, "svm")
    two.stages("freeze", "extract_features", "train_head", "fine_tune", cache=pixels, head=svm)
    assert epochs(two, "model") == ["2", "3"]
    two.stages("freeze", "extract_features")  # as it was


def test_what_the_cut_network_is(two: Run) -> None:
    two.stages("train_head", "fine_tune", head=head(two, "svm"))
    whole = backbones.build("MobileNet", 32)
    end = backbones.layer_index(whole, "conv_pw_3_relu", "")
    for name in ("head", "model"):
        base = model(two, name).get_layer("MobileNet")
        names = [layer.name for layer in base.layers][1:]
        assert names == [layer.name for layer in whole.layers[1 : end + 1]]
        logits = model(two, name).get_layer("logits")
        assert two.metrics(name)["parameters"] == base.count_params() + logits.count_params()
    with contextlib.chdir(two.folder):
        assert cache.read_facts(workspace.FEATURES).feature_layer == "conv_pw_3_relu"
    # Its weights are those of the whole network's file.
    whole.load_weights(two.folder / workspace.WEIGHTS)
    for layer in model(two, "head").get_layer("MobileNet").layers[1:]:
        for found, expected in zip(layer.weights, whole.get_layer(layer.name).weights, strict=True):
            np.testing.assert_array_equal(found, expected)
    thawed = {v.path.split("/")[-2] for v in model(two, "model").trainable_variables}
    assert "conv_dw_2" in thawed
    assert "conv_pw_1" not in thawed


@pytest.mark.parametrize(
    ("stages", "changes", "told"),
    [
        (
            ["freeze"],
            {"cache": {"layer": "conv_pw_6_relu", "bottleneck": "pooled", "store": None}},
            "params.yaml: cache.layer: conv_pw_6_relu: MobileNet, cut at feature_layer "
            "conv_pw_3_relu, has no layer of that name; give one such as ",
        ),
        (
            ["freeze"],
            {"feature_layer": 22, "cache": {"layer": 23, "bottleneck": "pooled", "store": None}},
            "params.yaml: cache.layer: 23: MobileNet, cut at feature_layer conv_pw_3_relu, has 23 "
            "layers; give 0 to 22, ",
        ),
        (
            ["train_head", "fine_tune"],
            {"fine_tune_at": 40},
            "params.yaml: fine_tune_at: 40: MobileNet, cut at feature_layer conv_pw_3_relu, has 23 "
            "layers; give 0 to 22, a layer's name, or null",
        ),
        (
            ["freeze"],
            {"feature_layer": "conv_pw_99"},
            "params.yaml: feature_layer: conv_pw_99: MobileNet has no layer of that name; ",
        ),
    ],
)
def test_a_layer_above_the_cut_is_refused(
    two: Run, stages: list[str], changes: dict[str, object], told: str
) -> None:
    with pytest.raises(ThawError) as caught:
        two.stages(*stages, **changes)
    assert str(caught.value).startswith(told)


def test_too_many_features_are_refused_before_they_are_read(
    two: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(linear, "LARGEST", 1000)
    monkeypatch.setattr(heads, "standardized", None)
    with pytest.raises(ThawError, match=r"head\.classifier: svm: \d+ views of 256 features each"):
        two.stages("train_head", head=head(two, "svm"))


def test_evaluate_draws_the_border_after_the_one_epoch(
    two: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = []
    monkeypatch.setattr(
        evaluate.plots, "learning_curves", lambda rows, starts, _: drawn.append((rows, starts))
    )
    two.stages("train_head", "fine_tune", "decide", "evaluate", head=head(two, "svm"))
    two.stages("fine_tune", "decide", "evaluate", fine_tune_at=None, head=head(two, "svm"))
    (history, starts), (alone, none) = drawn
    assert (history["epoch"].tolist(), starts) == ([1, 2, 3], 1)
    assert (alone["epoch"].tolist(), none) == ([1], None)
