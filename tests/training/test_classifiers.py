"""`thaw.training.classifiers`: whole classifiers, their files, and the part that is trained."""

import thaw.networks.quiet  # noqa: F401

import io
import json
import os
import subprocess
import sys
import warnings
import zipfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import h5py
import keras
import numpy as np
import onnx
import pytest
import tf2onnx

from helpers import picture, pixels, small_convnext
from places import SRC
from thaw.core.errors import ThawError
from thaw.evaluation import inference
from thaw.networks import backbones, freezing, onnx_export
from thaw.pictures import sessions
from thaw.training import classifiers, heads, saving

SIZE = 32


def spec(pooling: str, hidden: tuple[int, ...] = (), dropout: float = 0.0) -> heads.HeadSpec:
    return heads.HeadSpec(pooling, hidden, dropout, 0.0, "glorot_uniform", False)


def pictures(count: int = 3, size: int = SIZE) -> np.ndarray:
    """Pictures that differ in colour too, so that random networks tell them apart."""
    generator = np.random.default_rng(0)
    level = generator.uniform(0.2, 1, (count, 1, 1, 3))
    return (generator.uniform(0, 255, (count, size, size, 3)) * level).astype(np.float32)


def build(
    name: str = "MobileNetV2", pooling: str = "average", blocks: bool = False, classes: int = 3
) -> keras.Model:
    """A classifier whose BatchNormalization is not at its initial values."""
    keras.utils.set_random_seed(0)
    base = backbones.build(name, SIZE)
    generator = np.random.default_rng(0)
    for layer in base.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            width = layer.moving_mean.shape
            layer.beta.assign(generator.normal(0, 0.1, width))
            layer.moving_mean.assign(generator.normal(0, 0.1, width))
            layer.moving_variance.assign(generator.uniform(0.3, 1, width))
    if blocks:
        base = backbones.with_blocks(base)
    return classifiers.classifier(base, heads.layers(spec(pooling), classes), pooling, SIZE)


def trainable(model: keras.Model) -> int:
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


@pytest.fixture(scope="module")
def plain() -> keras.Model:
    return build()


@pytest.fixture(scope="module")
def blockwise() -> keras.Model:
    return build(pooling="average_max", blocks=True)


@pytest.fixture(params=["plain", "blockwise"])
def either(request: pytest.FixtureRequest) -> keras.Model:
    return request.getfixturevalue(request.param)


def test_counts_of_the_tensorflow_tutorial() -> None:
    base = backbones.build("MobileNetV2", 160)
    base.trainable = False
    model = classifiers.classifier(
        base, heads.layers(spec("average", dropout=0.2), 2), "average", 160
    )
    assert model.count_params() == 2_259_265
    assert (trainable(model), len(model.trainable_weights)) == (1_281, 2)
    backbones.freeze_below(base, 100)
    assert (trainable(model), len(model.trainable_weights)) == (1_862_721, 56)


def test_counts_of_the_keras_blogs_vgg16() -> None:
    base = backbones.build("VGG16", 150)
    head = heads.layers(spec("flatten", (256,), 0.5), 2)
    model = classifiers.classifier(base, head, "flatten", 150)
    assert base.count_params() == 14_714_688
    assert model.count_params() == 16_812_353
    backbones.freeze_below(base, backbones.layer_index(base, "block5_conv1", "fine_tune_at"))
    assert trainable(model) == 9_177_089


@pytest.mark.parametrize("name", ["MobileNetV2", "VGG16", "DenseNet121"])
def test_classifier_preprocesses_pixels_itself(name: str) -> None:
    model = build(name)
    base = model.get_layer(name)
    module = sys.modules["keras"].applications
    own = {"MobileNetV2": module.mobilenet_v2, "VGG16": module.vgg16}.get(name, module.densenet)
    maps = np.asarray(base(own.preprocess_input(pictures()), training=False))
    expected = np.asarray(model.get_layer("logits")(maps.mean((1, 2))))
    tolerance = 1e-4 * np.abs(expected).max()
    np.testing.assert_allclose(model(pictures()), expected, atol=tolerance, rtol=0)


@pytest.mark.parametrize("name", ["EfficientNetB0", "MobileNetV3Small"])
def test_onnx_of_networks_that_tf2onnx_has_trouble_with(
    name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    base = backbones.build(name, SIZE)
    session = sessions.session(onnx_export.to_onnx(freezing.extractor(base, SIZE, 9, "full")))
    expected = freezing.extractor(base, SIZE, 9, "full")(pictures())
    for found, wanted in zip(session.run(None, {"picture": pictures()}), expected, strict=True):
        tolerance = 1e-4 * np.abs(wanted).max()
        np.testing.assert_allclose(found, wanted, atol=tolerance, rtol=0)
    assert capfd.readouterr().err == ""


def test_a_network_that_onnx_lacks_operators_for() -> None:
    picture = keras.Input((SIZE, SIZE, 3))
    base = keras.Model(picture, keras.ops.erfinv(picture), name="Strange")
    classifier = keras.Model(picture, base(picture))
    with pytest.raises(ThawError, match=r"base_model: Strange .*no Erfinv; choose another"):
        onnx_export.to_onnx(classifier)


def test_gelu_is_exported() -> None:
    """Keras's has TensorFlow's Erfc, which ONNX lacks."""
    picture = keras.Input((SIZE, SIZE, 3))
    model = keras.Model(picture, keras.layers.Activation("gelu")(picture / 40 - 3))
    (found,) = sessions.session(onnx_export.to_onnx(model)).run(None, {"picture": pictures()})
    np.testing.assert_allclose(found, model(pictures()), atol=1e-6)


@pytest.mark.parametrize("name", ["ConvNeXtTiny", "EfficientNetLite0"])
def test_a_network_from_the_classifier_to_a_prediction(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Saved, loaded, trained above the boundary, exported, and run on files."""
    small_convnext(monkeypatch)
    whole = build(name, "average_max", blocks=True)
    generator = np.random.default_rng(0)
    for layer in whole.get_layer(name).layers:
        if hasattr(layer, "gamma"):  # the first ones make depths count for nothing
            layer.gamma.assign(generator.uniform(1, 3, layer.gamma.shape))
    saving.save(whole, tmp_path / "model.keras")
    loaded = saving.load(tmp_path / "model.keras")
    expected = np.asarray(loaded(pictures()))
    np.testing.assert_array_equal(expected, whole(pictures()))
    assert np.ptp(expected, axis=0).min() > 1e-3

    base = loaded.get_layer(name)
    thawed = len(base.layers) * 3 // 4
    backbones.freeze_below(base, thawed)
    boundary = backbones.boundary(base, thawed - 1)
    assert boundary > 10
    below = classifiers.bottom(loaded, base, boundary)(pictures(), training=False)
    top = classifiers.top(loaded, base, boundary, "average_max")
    inputs = dict(zip(("boundary", "below"), below, strict=True))
    np.testing.assert_allclose(top(inputs, training=True), expected, rtol=1e-4, atol=1e-5)
    trained = {id(weight) for weight in loaded.trainable_weights}
    assert {id(weight) for weight in top.trainable_weights} == trained
    assert len(trained) > 10

    about = {"classes": ["a", "b", "c"], "image_size": SIZE, "resize": "stretch"}
    about |= {"symmetries": [(0, False, False)]}
    path = tmp_path / "model.onnx"
    path.write_bytes(onnx_export.to_onnx(loaded, about))
    files = [picture(tmp_path / f"{seed}.png", seed, SIZE, SIZE) for seed in range(2)]
    shown = np.stack([pixels(seed, SIZE, SIZE) for seed in range(2)]).astype(np.float32)
    shares = [result.probabilities for result in inference.Classifier(path).classify(files)]
    wanted = keras.ops.softmax(loaded(shown))
    np.testing.assert_allclose(shares, wanted, atol=1e-4)


PLAIN_KERAS = """
import sys, numpy, keras
assert "thaw" not in sys.modules
numpy.save(sys.argv[3], keras.models.load_model(sys.argv[1]).predict(numpy.load(sys.argv[2])))
assert not any(name.split(".")[0] == "thaw" for name in sys.modules)
"""


def test_plain_keras_loads_what_is_saved(tmp_path: Path, blockwise: keras.Model) -> None:
    saving.save(blockwise, tmp_path / "model.keras")
    np.save(tmp_path / "pictures.npy", pictures())
    names = [str(tmp_path / name) for name in ("model.keras", "pictures.npy", "logits.npy")]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [sys.executable, "-c", PLAIN_KERAS, *names]
    subprocess.run(command, check=True, cwd=tmp_path, env=environment, capture_output=True)
    logits = np.load(tmp_path / "logits.npy")
    np.testing.assert_allclose(logits, blockwise(pictures()), rtol=1e-4, atol=1e-5)


def test_saved_and_loaded_is_the_same_model(tmp_path: Path, either: keras.Model) -> None:
    saving.save(either, tmp_path / "model.keras")
    loaded = saving.load(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.predict(pictures()), either.predict(pictures()))


def test_saved_twice_gives_the_same_bytes(tmp_path: Path, either: keras.Model) -> None:
    saving.save(either, tmp_path / "one.keras")
    build("VGG16")
    saving.save(either, tmp_path / "two.keras")
    assert (tmp_path / "one.keras").read_bytes() == (tmp_path / "two.keras").read_bytes()


def test_no_clock_and_no_path_in_the_file(tmp_path: Path, plain: keras.Model) -> None:
    saving.save(plain, tmp_path / "model.keras")
    with zipfile.ZipFile(tmp_path / "model.keras") as opened:
        assert {item.date_time for item in opened.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert opened.namelist() == ["config.json", "metadata.json", "model.weights.h5"]
        texts = opened.read("config.json") + opened.read("metadata.json")
    assert b"date" not in texts
    assert str(tmp_path).encode() not in (tmp_path / "model.keras").read_bytes() + texts
    assert list(tmp_path.iterdir()) == [tmp_path / "model.keras"]


BUILD_AND_WRITE = """
import sys
from pathlib import Path
import test_classifiers
from thaw.networks.onnx_export import to_onnx
from thaw.training import saving
out = Path(sys.argv[1])
for name, blocks in (("MobileNetV2", True), ("VGG16", False)):
    model = test_classifiers.build(name, blocks=blocks)
    saving.save(model, out / f"{name}.keras")
    (out / f"{name}.onnx").write_bytes(to_onnx(model, {"classes": ["a", "b"]}))
"""


HERE = Path(__file__).parent
PATH = os.pathsep.join(map(str, (SRC, HERE, HERE.parent / "support")))


def test_two_processes_write_the_same_bytes(tmp_path: Path) -> None:
    processes = []
    for number in ("1", "2"):
        (tmp_path / number).mkdir()
        environment = os.environ | {
            "PYTHONHASHSEED": number,
            "PYTHONPATH": PATH,
        }
        command = [sys.executable, "-c", BUILD_AND_WRITE, str(tmp_path / number)]
        processes.append(subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL))
    assert [process.wait() for process in processes] == [0, 0]
    names = sorted(path.name for path in (tmp_path / "1").iterdir())
    assert names == ["MobileNetV2.keras", "MobileNetV2.onnx", "VGG16.keras", "VGG16.onnx"]
    for name in names:
        one, two = (tmp_path / number / name for number in ("1", "2"))
        assert one.read_bytes() == two.read_bytes(), name


def test_onnx_runtime_gives_keras_logits(either: keras.Model) -> None:
    content = onnx_export.to_onnx(either, {"classes": ["ä", "b"], "image_size": SIZE})
    session = sessions.session(content)
    source = session.get_inputs()[0].name
    expected = np.asarray(either(pictures(5)))
    (found,) = session.run(None, {source: pictures(5)})
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())
    facts = session.get_modelmeta().custom_metadata_map
    assert facts == {"classes": '["ä", "b"]', "image_size": "32"}
    onnx.checker.check_model(onnx.load_from_string(content))


def test_exporting_twice_gives_the_same_bytes(plain: keras.Model) -> None:
    assert onnx_export.to_onnx(plain) == onnx_export.to_onnx(plain)


def test_a_pass_of_tf2onnx_that_fails_is_done_without(
    plain: keras.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what it broke of the graph before it failed is undone."""

    class Fails(tf2onnx.optimizer.optimizer_base.GraphOptimizerBase):  # type: ignore[misc]
        def optimize(self, graph: tf2onnx.graph.Graph, _: int) -> None:
            graph.reset_nodes([])
            raise ValueError

    whole = onnx_export.to_onnx(plain)
    known = {"fails": Fails} | tf2onnx.optimizer._optimizers
    monkeypatch.setattr(tf2onnx.optimizer, "_optimizers", known)
    assert onnx_export.to_onnx(plain) == whole
    assert onnx_export.COPIES not in os.environ


@pytest.mark.parametrize("content", [b"not a model\nat all\n", b"", b"PK\x03\x04 broken"])
def test_load_refuses_what_is_no_model(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.keras"
    path.write_bytes(content)
    with pytest.raises(ThawError, match="no model that can be loaded") as caught:
        saving.load(path)
    assert "\n" not in str(caught.value)


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What a small model's file holds."""
    path = tmp_path_factory.mktemp("small") / "model.keras"
    inputs = keras.Input((4, 4, 3))
    logits = keras.layers.Dense(1)(keras.layers.Flatten()(keras.layers.Conv2D(2, 1)(inputs)))
    saving.save(keras.Model(inputs, logits), path)
    with zipfile.ZipFile(path) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


def pack(path: Path, parts: Mapping[str | zipfile.ZipInfo, bytes], kind: int = 0) -> Path:
    with zipfile.ZipFile(path, "w", kind) as opened:
        for name, content in parts.items():
            opened.writestr(name, content)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(ThawError) as caught, warnings.catch_warnings(record=True) as shown:
        saving.load(path)
    assert shown == []
    assert str(caught.value).startswith(f"{path} is no model that can be loaded (")
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith("run `dvc repro`, which makes it")
    return str(caught.value)


def with_layer(parts: dict[str, bytes], module: str, name: str, config: object) -> dict[str, bytes]:
    """The parts with another thing in place of the convolution."""
    whole = json.loads(parts["config.json"])
    layer = whole["config"]["layers"][1]
    layer |= {"module": module, "class_name": name, "registered_name": None, "config": config}
    return parts | {"config.json": json.dumps(whole).encode()}


def function(module: str, name: str) -> dict[str, object]:
    return {"module": module, "class_name": "function", "config": name, "registered_name": None}


CONVOLUTION = {"name": "conv2d", "filters": 2, "kernel_size": 1}
BYTES = {"class_name": "__bytes__", "config": {"value": "x"}}
HOSTILE = [
    ("os", "system", {"command": "true"}),
    ("subprocess", "Popen", {"args": ["true"]}),
    ("builtins", "eval", {"source": "1"}),
    ("keras.src.utils.io_utils", "os", {}),
    ("keras.src.saving.file_editor", "KerasFileEditor", {"filepath": "/etc/passwd"}),
    ("keras.src.utils.torch_utils", "TorchModuleWrapper", {"module": BYTES}),
    ("keras.layers", "TorchModuleWrapper", {"module": BYTES}),
    ("keras.layers", "TFSMLayer", {"filepath": "/tmp", "call_endpoint": "serve"}),
    ("keras.layers", "StringLookup", {"vocabulary": "/etc/passwd"}),
    ("keras.layers", "Conv2D", CONVOLUTION | {"activation": function("os", "system")}),
    ("keras.layers", "Conv2D", CONVOLUTION | {"activation": function("keras.utils", "get_file")}),
    ("keras.layers", "Lambda", {"function": function("keras.utils", "get_file")}),
    ("keras.layers", "Lambda", {"function": function("keras.utils", "plot_model")}),
    ("keras.layers", "Lambda", {"function": function("keras.datasets.mnist", "load_data")}),
    ("keras.utils", "plot_model", {}),
]


@pytest.mark.parametrize(("module", "name", "config"), HOSTILE)
def test_load_refuses_what_is_no_layer(
    tmp_path: Path, parts: dict[str, bytes], module: str, name: str, config: object
) -> None:
    refusal(pack(tmp_path / "model.keras", with_layer(parts, module, name, config)))


def test_load_refuses_functions_that_safe_mode_lets_through(
    tmp_path: Path, parts: dict[str, bytes]
) -> None:
    """Such as one that downloads: with Keras alone it is called when the layer is."""
    config = {"name": "l", "function": function("keras.datasets.mnist", "load_data")}
    config |= {"output_shape": [4, 4, 3]}
    path = pack(tmp_path / "model.keras", with_layer(parts, "keras.layers", "Lambda", config))
    assert "it names keras.layers.Lambda" in refusal(path)
    config = CONVOLUTION | {"activation": function("keras.utils", "set_random_seed")}
    path = pack(tmp_path / "model.keras", with_layer(parts, "keras.layers", "Conv2D", config))
    assert "it names keras.utils.function" in refusal(path)


@pytest.mark.parametrize("config", [b"{", b"[]", b"null", b"1", b"[" * 50_000])
def test_load_refuses_a_config_that_is_none(
    tmp_path: Path, parts: dict[str, bytes], config: bytes
) -> None:
    refusal(pack(tmp_path / "model.keras", parts | {"config.json": config}))


def test_load_refuses_files_beside_those_that_save_writes(
    tmp_path: Path, parts: dict[str, bytes]
) -> None:
    link = zipfile.ZipInfo("assets/link")
    link.external_attr = 0o120777 << 16
    for extra in ("../escaped", "/tmp/escaped", "assets/vocabulary.txt", link):
        assert "does not hold just" in refusal(pack(tmp_path / "m.keras", parts | {extra: b"/etc"}))
    pickled = io.BytesIO()
    np.savez(pickled, x=np.array([{}], dtype=object))
    arrays = {name: parts[name] for name in ("config.json", "metadata.json")}
    arrays["model.weights.npz"] = pickled.getvalue()
    refusal(pack(tmp_path / "m.keras", arrays))


@pytest.mark.parametrize("name", ["config.json", "model.weights.h5"])
def test_load_unpacks_no_bomb(tmp_path: Path, parts: dict[str, bytes], name: str) -> None:
    bomb = pack(tmp_path / "m.keras", parts | {name: bytes(10_000_000)}, zipfile.ZIP_DEFLATED)
    assert bomb.stat().st_size < 30_000
    assert "compressed" in refusal(bomb)


KERNEL = "layers/conv2d/vars/0"
SHAPE = (1, 1, 3, 2)


def link_outside(file: h5py.File, other: Path) -> None:
    file[KERNEL] = h5py.ExternalLink(other, "x")


def map_outside(file: h5py.File, other: Path) -> None:
    layout = h5py.VirtualLayout(SHAPE, "f4")
    layout[:] = h5py.VirtualSource(other, "x", SHAPE)
    file.create_virtual_dataset(KERNEL, layout)


def read_outside(file: h5py.File, other: Path) -> None:
    file.create_dataset(KERNEL, SHAPE, "f4", external=[(other, 0, 24)])


def declare_terabytes(file: h5py.File, _other: Path) -> None:
    shape = (2**20, 2**12, 64, 2)
    file.create_dataset(KERNEL, shape, "f4", chunks=(1, 2**12, 64, 2), compression="gzip")


def hold_text(file: h5py.File, _other: Path) -> None:
    file.create_dataset(KERNEL, data=np.full(SHAPE, "x", dtype=h5py.string_dtype()))


def hold_nothing(_file: h5py.File, _other: Path) -> None:
    pass


WEIGHTS = [link_outside, map_outside, read_outside, declare_terabytes, hold_text, hold_nothing]


@pytest.mark.parametrize("spoil", WEIGHTS)
def test_load_refuses_weights_from_elsewhere(
    tmp_path: Path, parts: dict[str, bytes], spoil: Callable[[h5py.File, Path], None]
) -> None:
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["x"] = np.ones(SHAPE, np.float32)
    content = io.BytesIO(parts["model.weights.h5"])
    with h5py.File(content, "r+") as file:
        del file[KERNEL]
        spoil(file, tmp_path / "other.h5")
    refusal(pack(tmp_path / "m.keras", parts | {"model.weights.h5": content.getvalue()}))


def test_load_refuses_damaged_weights_or_loads(tmp_path: Path, parts: dict[str, bytes]) -> None:
    chance = np.random.default_rng(1)
    whole = parts["model.weights.h5"]
    for _ in range(20):
        damaged = bytearray(whole)
        for place in chance.integers(0, len(whole), 40):
            damaged[place] = chance.integers(256)
        path = pack(tmp_path / "m.keras", parts | {"model.weights.h5": bytes(damaged)})
        with suppress(ThawError):
            saving.load(path)


def test_load_does_not_wait_for_a_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "m.keras")
    assert "no such file" in refusal(tmp_path / "m.keras")
    assert "no such file" in refusal(tmp_path / "none.keras")


def test_load_runs_no_code(tmp_path: Path) -> None:
    path, trace = tmp_path / "model.keras", tmp_path / "trace"
    inputs = keras.Input((4,))
    code = f"lambda x: (open({str(trace)!r}, 'w').close(), x)[1]"
    hostile = keras.layers.Lambda(eval(code), output_shape=(4,))
    model = keras.Model(inputs, hostile(inputs))
    for save in (saving.save, lambda model, path: model.save(path)):
        save(model, path)
        keras.models.load_model(path, safe_mode=False)(np.zeros((1, 4)))  # it would run
        assert trace.exists()
        trace.unlink()
        refusal(path)
        assert not trace.exists()


def cached(model: keras.Model, boundary: int, bottleneck: str) -> tuple[np.ndarray, np.ndarray]:
    if boundary == 0:
        return pictures() / 127.5 - 1, np.zeros((len(pictures()), 2, 0))
    base = model.get_layer("MobileNetV2")
    return freezing.extractor(base, SIZE, boundary, bottleneck)(pictures())


@pytest.mark.parametrize("training_mode", [False, True])
@pytest.mark.parametrize("boundary", [None, 0, 54, 97, 152])
def test_top_gives_the_classifiers_logits(
    plain: keras.Model, boundary: int | None, training_mode: bool
) -> None:
    base = plain.get_layer("MobileNetV2")
    top = classifiers.top(plain, base, boundary, "average", training_mode=training_mode)
    if boundary is None:
        inputs = {"pictures": pictures()}
    else:
        inputs = {"boundary": cached(plain, boundary, "pooled")[0]}
        assert classifiers.width_below(base, boundary) == 0
    expected = np.asarray(plain(pictures()))
    tolerance = 1e-4 * np.abs(expected).max()
    np.testing.assert_allclose(top(inputs), expected, rtol=0, atol=tolerance)
    assert {id(v) for v in top.variables} <= {id(v) for v in plain.variables}


@pytest.mark.parametrize(("boundary", "below"), [(None, 0), (0, 0), (54, 88), (97, 280)])
@pytest.mark.parametrize("pooling", ["average", "max", "average_max"])
def test_top_of_blocks(pooling: str, boundary: int | None, below: int) -> None:
    model = build(pooling=pooling, blocks=True)
    base = model.get_layer("MobileNetV2")
    inputs = {"pictures": pictures()}
    if boundary is not None:
        width = classifiers.width_below(base, boundary)
        assert width == below
        maps, pooled = cached(model, boundary, "blocks")
        inputs = {"boundary": maps} | ({"below": pooled[..., :width]} if width else {})
    top = classifiers.top(model, base, boundary, pooling)
    assert set(top.input) == set(inputs)
    expected = np.asarray(model(pictures()))
    np.testing.assert_allclose(top(inputs), expected, rtol=0, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("boundary", [54, 97])
@pytest.mark.parametrize("kind", ["plain", "blockwise"])
def test_bottom_on_onnx_runtime_and_top_join_to_the_whole(
    request: pytest.FixtureRequest, kind: str, boundary: int
) -> None:
    model: keras.Model = request.getfixturevalue(kind)
    base = model.get_layer("MobileNetV2")
    session = sessions.session(onnx_export.to_onnx(classifiers.bottom(model, base, boundary)))
    outputs = session.run(None, {session.get_inputs()[0].name: pictures()})
    top = classifiers.top(model, base, boundary, "average" if kind == "plain" else "average_max")
    assert len(top.inputs) == len(outputs) == (1 if kind == "plain" else 2)
    inputs = dict(zip(("boundary", "below"), outputs, strict=False))
    expected = np.asarray(model(pictures()))
    np.testing.assert_allclose(top(inputs), expected, rtol=0, atol=1e-4 * np.abs(expected).max())


def test_training_the_top_trains_the_classifier(tmp_path: Path) -> None:
    model = build(classes=2)
    base = model.get_layer("MobileNetV2")
    backbones.freeze_below(base, 100)
    top = classifiers.top(model, base, 97, "average")
    assert [id(v) for v in top.trainable_variables] != []
    assert {id(v) for v in top.trainable_variables} == {id(v) for v in model.trainable_variables}
    inputs = {"boundary": cached(model, 97, "pooled")[0]}
    before = {v.path: v.numpy() for v in model.variables}
    top.compile(keras.optimizers.SGD(0.1), keras.losses.BinaryCrossentropy(from_logits=True))
    top.fit(inputs, np.array([[0], [1], [1]]), verbose=0)
    changed = [v for v in model.variables if not np.array_equal(v.numpy(), before[v.path])]
    assert {id(v) for v in changed} <= {id(v) for v in model.trainable_variables}
    assert len(changed) > 50
    saving.save(model, tmp_path / "model.keras")
    again = saving.load(tmp_path / "model.keras")
    np.testing.assert_allclose(again(pictures()), top(inputs), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("boundary", "thawed"), [(None, 0), (97, 100)])
def test_top_in_training_mode_learns_the_statistics_of_what_is_thawed(
    boundary: int | None, thawed: int
) -> None:
    model = build()
    base = model.get_layer("MobileNetV2")
    backbones.freeze_below(base, thawed)
    inputs = {"pictures": pictures()}
    if boundary is not None:
        inputs = {"boundary": cached(model, boundary, "pooled")[0]}
    norms = {
        index: layer
        for index, layer in enumerate(base.layers)
        if isinstance(layer, keras.layers.BatchNormalization)
    }
    before = {index: layer.moving_variance.numpy() for index, layer in norms.items()}
    labels = np.array([0, 1, 2])
    for training_mode in (False, True):
        top = classifiers.top(model, base, boundary, "average", training_mode=training_mode)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        top.compile(keras.optimizers.SGD(1e-6), loss)
        top.fit(inputs, labels, verbose=0)
        for index, layer in norms.items():
            changed = not np.array_equal(layer.moving_variance, before[index])
            assert changed == (training_mode and index >= thawed), layer.name


def test_top_in_training_mode_normalises_by_the_batch_and_drops() -> None:
    picture = keras.Input((8, 8, 3))
    maps = keras.layers.BatchNormalization(name="norm")(keras.layers.Conv2D(4, 3)(picture))
    maps = keras.layers.Dropout(0.5, name="dropout")(maps)
    base = keras.Model(picture, maps, name="cifar10_cnn")
    model = classifiers.classifier(base, heads.layers(spec("average"), 3), "average", 8)
    inputs = {"pictures": pictures(size=8)}
    expected = np.asarray(model(pictures(size=8), training=False))
    frozen = classifiers.top(model, base, None, "average")
    np.testing.assert_allclose(frozen(inputs, training=True), expected, rtol=1e-4, atol=1e-5)
    trained = classifiers.top(model, base, None, "average", training_mode=True)
    once, again = (np.asarray(trained(inputs, training=True)) for _ in range(2))
    assert not np.allclose(once, again)
    base.get_layer("dropout").rate = 0.0
    normalised = base(pictures(size=8) / 255, training=True)
    assert np.asarray(normalised).std() == pytest.approx(1, abs=0.1)
    logits = model.get_layer("logits")(np.asarray(normalised).mean((1, 2)))
    trained = classifiers.top(model, base, None, "average", training_mode=True)
    np.testing.assert_allclose(trained(inputs, training=True), logits, rtol=1e-3, atol=1e-5)


def test_thawed_statistics_follow_the_new_pictures_within_an_epoch() -> None:
    """At Keras's momentum for MobileNetV2, 0.999, they would still be those of other pictures."""
    picture = keras.Input((8, 8, 3))
    norm = keras.layers.BatchNormalization(momentum=0.999, name="norm")
    maps = norm(keras.layers.Conv2D(4, 3, name="conv")(picture))
    base = keras.Model(picture, maps, name="cifar10_cnn")
    model = classifiers.classifier(base, heads.layers(spec("average"), 3), "average", 8)
    classifiers.fit_momentum(base, 20, 10_000)
    assert norm.momentum == 0.999  # there is time enough
    classifiers.fit_momentum(base, 20, 1)
    top = classifiers.top(model, base, None, "average", training_mode=True)
    inputs = np.random.default_rng(1).uniform(0, 255, (160, 8, 8, 3)).astype(np.float32)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    top.compile(keras.optimizers.SGD(1e-6), loss)
    top.fit({"pictures": inputs}, np.arange(160) % 3, batch_size=8, verbose=0)
    found = np.asarray(base.get_layer("conv")(inputs / 255))
    np.testing.assert_allclose(norm.moving_mean, found.mean((0, 1, 2)), rtol=0.1, atol=0.02)
    np.testing.assert_allclose(norm.moving_variance, found.var((0, 1, 2)), rtol=0.25)


def test_rates_fall_by_block_from_the_head_down() -> None:
    model = build()
    base = model.get_layer("MobileNetV2")
    backbones.freeze_below(base, 100)
    top = classifiers.top(model, base, 97, "average")
    steps = classifiers.steps(top, base, 0.5, centralize=False)
    found = {step.variable.path.split("/")[-2]: step.rate for step in steps}
    assert not any(step.centred for step in steps)
    assert found["Conv_1"] == 0.5
    assert found["block_16_project"] == found["block_16_project_BN"] == 0.5
    assert found["block_15_project"] == 0.25
    assert found["block_11_depthwise"] == 0.5**5  # 13 has no residual addition of its own
    assert "logits" not in found


def test_steps_are_centred_over_what_goes_into_an_output() -> None:
    model = build()
    base = model.get_layer("MobileNetV2")
    backbones.freeze_below(base, 100)
    top = classifiers.top(model, base, 97, "average")
    assert classifiers.steps(top, base, 1.0, centralize=False) == []
    steps = classifiers.steps(top, base, 1.0, centralize=True)
    found = {"/".join(step.variable.path.split("/")[-2:]): step.centred for step in steps}
    assert found["block_12_expand/kernel"] == found["Conv_1/kernel"] == (0, 1, 2)
    assert found["block_11_depthwise/kernel"] == (0, 1)
    assert found["block_11_depthwise_BN/gamma"] == found["block_11_depthwise_BN/beta"] == ()
    assert {step.rate for step in steps} == {1.0}


def test_head_alone_is_the_classifiers_head(plain: keras.Model) -> None:
    alone = classifiers.head_alone(heads.of(plain), (1280,))
    maps = plain.get_layer("MobileNetV2")(pictures() / 127.5 - 1, training=False)
    pooled = np.asarray(maps).mean((1, 2))
    np.testing.assert_allclose(alone(pooled), plain(pictures()), rtol=1e-3, atol=1e-5)
