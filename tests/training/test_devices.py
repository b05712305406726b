"""`thaw.training.devices`: two virtual devices of the CPU stand for two GPUs."""

import thaw.networks.quiet  # noqa: F401

import json
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from places import SRC
from thaw.core import gpus
from thaw.core.errors import MachineError
from thaw.training import devices
from thaw.training.views import Views

# The same training on one device and on two: batches of 7 and a last one of 5, of which one device
# gets a picture more; and all that is computed over a whole batch.
BOTH = """
import thaw.networks.quiet, tensorflow as tf
(cpu,) = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)

import json, keras, numpy as np, onnxruntime, sys
from pathlib import Path
from thaw.networks.onnx_export import to_onnx
from thaw.training import classifiers, devices, heads, loop, saving, views
from thaw.training.choosing import Selection

labels = np.arange(19) % 3
centres = np.eye(5)[labels][:, None] * 3
features = (centres + np.random.default_rng(3).normal(size=(19, 2, 5))).astype(np.float32)
spec = heads.HeadSpec("average", (6,), 0.0, 1e-3, "glorot_uniform", False, batch_norm=True)
how = loop.Optimization("adamw", 0.01, "cosine", 2, ema=0.9, clip=0.5)
found = []
for those in ([], ["CPU:0", "CPU:1"]):
    devices.those = lambda: those
    loop.prepare(1, 2)
    with devices.shared():
        layers = heads.layers(spec, 3, features.mean((0, 1)), features.std((0, 1)))
        model = classifiers.head_alone(layers, (5,))
        read = views.from_cache(features)
        weights = np.linspace(0.5, 2, 19).astype(np.float32)
        mixed = views.Soft(3, 0.1, 0.4)
        fed = views.Views(read, labels, batch_size=7, views=2, seed=1, weights=weights, soft=mixed)
        held = views.Views(read, labels, batch_size=7, soft=views.Soft(3))
        steps = [loop.Step(model.trainable_variables[0], 0.5, (0,))]
        fitted = loop.fit(model, fed, held, how, selection=Selection("f1"), steps=steps)
    shared = model.distribute_strategy.num_replicas_in_sync
    model = keras.Model(model.inputs, model.outputs)  # without its optimizer, as stages save it
    saving.save(model, Path(sys.argv[1], "model.keras"))
    kept = saving.load(Path(sys.argv[1], "model.keras")).predict(features[:, 0], verbose=0)
    session = onnxruntime.InferenceSession(to_onnx(model))
    (exported,) = session.run(None, {session.get_inputs()[0].name: features[:, 0]})
    values = [each.numpy().ravel() for each in model.variables]
    made = np.concatenate([*values, kept.ravel(), exported.ravel()]).tolist()
    found.append({"devices": shared, "rows": fitted.rows, "made": made})
print("found", json.dumps(found))
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_several_devices_train_what_one_does(tmp_path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", BOTH, str(tmp_path)],
        env={"PYTHONPATH": str(SRC)},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        timeout=500,
    )
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("found ")]
    one, two = json.loads(line.removeprefix("found "))
    assert (one["devices"], two["devices"]) == (1, 2)
    np.testing.assert_allclose(two["made"], one["made"], rtol=1e-4, atol=1e-5)
    alone, shared = np.array(one["rows"]), np.array(two["rows"])
    np.testing.assert_allclose(shared[:, 2:], alone[:, 2:], rtol=1e-4)  # all but training's loss,
    np.testing.assert_allclose(shared[:, 1], alone[:, 1], rtol=0.1)  # see `devices.stream`


@pytest.mark.parametrize(
    ("pictures", "count", "sizes"),
    [(8, 2, [4, 4]), (7, 2, [4, 3]), (8, 3, [3, 3, 2]), (5, 4, [2, 2, 1]), (1, 2, [1])],
)
def test_each_picture_counts_the_same_in_a_step(
    pictures: int, count: int, sizes: list[int]
) -> None:
    """As TensorFlow splits a batch: the step is the mean over devices of each one's mean."""
    weights = devices.part_weights(pictures, count)
    parts = np.split(weights, np.cumsum(sizes)[:-1])
    assert [len(part) for part in parts] == sizes
    for part in parts:
        np.testing.assert_allclose(part / len(part) / count, 1 / pictures, rtol=1e-6)


@pytest.mark.parametrize("found", [[], ["GPU:0"]])
def test_one_device_trains_without_a_strategy(
    monkeypatch: pytest.MonkeyPatch, found: list[str]
) -> None:
    monkeypatch.setattr(devices, "those", lambda: found)
    with devices.shared():
        assert not tf.distribute.has_strategy()
        views = Views(lambda rows, _: rows, np.zeros(3, np.int64), batch_size=2, seed=1)
        assert views.feed() is views


@pytest.mark.parametrize(
    ("built", "there", "seen", "refused"),
    [
        (True, ("NVIDIA T4",), [], True),
        (True, ("NVIDIA T4",), ["GPU:0"], False),
        (True, (), [], False),
        (False, ("NVIDIA T4",), [], False),
    ],
)
def test_a_gpu_that_tensorflow_cannot_use_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, built: bool, there: tuple[str], seen: list[str], refused: bool
) -> None:
    monkeypatch.setattr(tf.test, "is_built_with_cuda", lambda: built)
    monkeypatch.setattr(gpus, "names", lambda: there)
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda _: seen)
    if not refused:
        devices.check()
        return
    with pytest.raises(MachineError, match=r"^TensorFlow can't use the GPU, NVIDIA T4; NVIDIA's"):
        devices.check()
