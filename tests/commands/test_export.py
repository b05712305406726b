"""`make export`: the model in other formats gives what it gives in Keras."""

import thaw.networks.quiet  # noqa: F401

import contextlib
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from commands import export
from helpers import pixels
from places import SRC
from runs import Run
from thaw.evaluation.inference import Classifier
from thaw.networks import backbones, onnx_export
from thaw.review import exports
from thaw.training import classifiers, heads, loop, saving

SIZE = 32
LITE = """
import sys, numpy, tensorflow
found = tensorflow.lite.Interpreter(sys.argv[1]).get_signature_runner()
pixels = numpy.load(sys.argv[2]).astype("float32")
numpy.save(sys.argv[3], found(picture=pixels)["logits"])
assert not [name for name in sys.modules if name.startswith("thaw")]
"""


def pictures(count: int = 6) -> np.ndarray:
    return np.stack([pixels(seed, SIZE, SIZE) for seed in range(count)]).astype(np.float32)


def build(name: str) -> keras.Model:
    keras.utils.set_random_seed(3)
    base = backbones.build(name, SIZE)
    for layer in base.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.beta.assign(keras.random.normal(layer.beta.shape, stddev=0.2))
    head = [keras.layers.Dropout(0.2), keras.layers.Dense(3, name="logits")]
    made = classifiers.classifier(base, head, "average_max", SIZE)
    assert heads.of(made)
    return made


@pytest.mark.parametrize("name", ["MobileNetV2", "MobileNetV3Small", "cifar10_cnn"])
def test_in_float32_every_format_gives_the_logits_of_keras(name: str, tmp_path: Path) -> None:
    model = build(name)
    expected = model.predict(pictures(), verbose=0)
    tolerance = 1e-4 * max(1, np.abs(expected).max())
    exports.save_saved_model(model, tmp_path / "saved")
    (tmp_path / "model.onnx").write_bytes(onnx_export.to_onnx(model))
    for logits in (
        exports.keras_logits(model),
        exports.onnx_logits(tmp_path / "model.onnx"),
        exports.saved_model_logits(tmp_path / "saved"),
        exports.tflite_logits(exports.to_tflite(model)),
    ):
        np.testing.assert_allclose(logits(pictures()), expected, atol=tolerance)


@pytest.mark.parametrize("way", exports.WAYS, ids=["whole", "head", "half", "third"])
def test_in_integers_the_file_is_small_and_the_logits_are_near(
    way: exports.Way,
) -> None:
    model = build("MobileNet")
    content = exports.to_int8(model, lambda: iter(pictures()), way)
    assert len(content) < 0.5 * len(exports.to_tflite(model))
    expected = model.predict(pictures(), verbose=0)
    found = exports.tflite_logits(content)(pictures())
    assert found.dtype == np.float32
    assert np.abs(found - expected).mean() < 0.15 * np.abs(expected).mean()
    assert not np.array_equal(found, expected)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The run's head is taken for its fine-tuned model, to save the time."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(loop, "prepare", lambda seed, _: keras.utils.set_random_seed(seed))
        made = Run(tmp_path_factory.mktemp("export"))
        made.params["average_views"] = True
        made.stages("download", "weights", "split", "freeze", "extract_features", "train_head")
        shutil.copy(made.folder / "models/head.keras", made.folder / "models/model.keras")
        shutil.copy(made.folder / "data/head.onnx", made.folder / "data/fine_tuned.onnx")
        made.stages("decide")
    return made


def command(folder: Path, *formats: str) -> subprocess.CompletedProcess[str]:
    env = {key: value for key, value in os.environ.items() if key != "PYTHONHASHSEED"}
    return subprocess.run(
        [sys.executable, str(SRC), "export", *formats],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture(scope="module")
def exported(run: Run) -> tuple[Path, str]:
    done = command(run.folder)
    assert (done.returncode, done.stderr) == (0, "")
    return run.folder / "export", done.stdout


def test_the_table_has_size_time_difference_and_accuracy(
    exported: tuple[Path, str], run: Run
) -> None:
    folder, printed = exported
    assert (folder / "export.md").read_text() in printed
    facts = json.loads((folder / "export.json").read_text())
    rows = {row["format"]: row for row in facts["formats"]}
    assert list(rows)[:4] == ["keras", "onnx", "saved_model", "tflite"]
    assert ("int8" in rows) == (folder / "model_int8.tflite").exists()
    temperature, integers = facts["notes"]
    assert "divided by the temperature" in temperature
    assert "validation accuracy" in integers
    classifier = Classifier(run.folder / "models/model.onnx")
    assert facts["classes"] == classifier.classes
    assert len(facts["symmetries"]) == 2
    for name, row in rows.items():
        assert row["milliseconds"] > 0
        assert row["right"] / facts["test_pictures"] == pytest.approx(row["test_accuracy"])
        assert row["largest_difference"] < (1e-3 if name != "int8" else 10)
    assert rows["tflite"]["bytes"] == (folder / "model.tflite").stat().st_size
    assert rows["saved_model"]["bytes"] > rows["tflite"]["bytes"]
    assert rows["onnx"]["right"] == rows["keras"]["right"]


def test_another_process_writes_the_same_bytes(exported: tuple[Path, str], run: Run) -> None:
    def hashes() -> dict[str, str]:
        return {
            path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(folder.rglob("*"))
            if path.is_file() and path.stem != "export"
        }

    folder, _ = exported
    first = hashes()
    assert {"saved_model/saved_model.pb", "saved_model/fingerprint.pb", "model.tflite"} <= set(
        first
    )
    assert command(run.folder).returncode == 0
    assert hashes() == first


def test_the_file_needs_nothing_of_thaw(
    exported: tuple[Path, str], run: Run, tmp_path: Path
) -> None:
    folder, _ = exported
    np.save(tmp_path / "in.npy", pictures(2)[:1])
    words = [str(each) for each in (folder / "model.tflite", tmp_path / "in.npy", tmp_path / "out")]
    subprocess.run([sys.executable, "-c", LITE, *words], check=True, capture_output=True)
    classifier = Classifier(run.folder / "models/model.onnx")
    found = np.load(tmp_path / "out.npy")
    np.testing.assert_allclose(found, classifier.logits(pictures(2)[:1]), atol=1e-3)


def test_integers_that_lose_too_much_are_not_written(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "MOST_LOST", -1.0)
    monkeypatch.setattr(exports, "WAYS", exports.WAYS[1:2])
    with contextlib.chdir(run.folder):
        classifier = Classifier(Path("models/model.onnx"))
        content, note = export.int8(saving.load(Path("models/model.keras")), classifier, 1)
    assert content is None
    assert re.fullmatch(r"int8 is not written: it would lose -?[\d.]+% of .* is too much", note)


def test_integers_that_can_not_be_run_are_not_written(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: bytes) -> exports.Logits:
        raise RuntimeError("failed to prepare")

    monkeypatch.setattr(exports, "tflite_logits", fail)
    monkeypatch.setattr(exports, "WAYS", exports.WAYS[:1])
    with contextlib.chdir(run.folder):
        classifier = Classifier(Path("models/model.onnx"))
        content, note = export.int8(saving.load(Path("models/model.keras")), classifier, 1)
    assert (content, note) == (
        None,
        "int8 is not written: LiteRT can't run this network in integers",
    )


def copied(run: Run, to: Path) -> Path:
    shutil.copytree(run.folder, to, symlinks=True, dirs_exist_ok=True)
    (to / "export").mkdir(exist_ok=True)
    (to / "export/kept").touch()
    return to


@pytest.mark.parametrize(
    ("gone", "formats", "told"),
    [
        (None, ["onyx"], "error: there is no format 'onyx'; give saved_model, tflite, int8\n"),
        ("models/model.keras", [], "error: models/model.keras is missing; run `dvc repro`"),
        ("models/model.onnx", [], "error: models/model.onnx is missing; run `dvc repro`"),
        ("data/split.csv", [], "error: data/split.csv is missing; run `dvc repro`"),
    ],
)
def test_what_is_missing_is_a_sentence_and_what_was_stays(
    run: Run, tmp_path: Path, gone: str | None, formats: list[str], told: str
) -> None:
    folder = copied(run, tmp_path / "copy")
    if gone:
        (folder / gone).unlink()
    done = command(folder, *formats)
    assert done.returncode == 1
    assert done.stderr.startswith(told)
    assert done.stderr.count("\n") == 1
    assert (folder / "export/kept").exists()
    assert not (folder / ".part-export").exists()
