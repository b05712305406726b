"""`thaw.pretrained`: weights from files, packages and Keras's own download."""

import thaw.networks.quiet  # noqa: F401

import hashlib
import tempfile
import time
import warnings
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import keras
import numpy as np
import onnx
import onnx.numpy_helper
import pooch
import pytest
from keras.src.legacy.saving import legacy_h5_format

from helpers import catalogue, torch_file
from thaw.core.errors import ThawError
from thaw.networks import backbones, scratch
from thaw.pretrained import weights


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pooch, "os_cache", lambda project: tmp_path / "cache" / project)


def load(entries: dict, base_model: str, name: str, *options: scratch.Options) -> keras.Model:
    with tempfile.TemporaryDirectory() as folder:
        return weights.load(catalogue(Path(folder), entries), base_model, name, 64, *options)


def refusal(entries: dict, base_model: str, name: str) -> str:
    with pytest.raises(ThawError) as caught, warnings.catch_warnings(record=True) as shown:
        load(entries, base_model, name)
    assert not any("Skipping" in str(each.message) for each in shown)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def same(one: keras.Model, other: keras.Model) -> bool:
    pairs = zip(one.get_weights(), other.get_weights(), strict=True)
    return all(np.array_equal(first, second) for first, second in pairs)


def test_random_weights_are_the_same_each_time() -> None:
    first = load({}, "MobileNetV2", "random")
    keras.utils.set_random_seed(99)
    assert same(first, load({}, "MobileNetV2", "random"))
    assert first.input_shape == (None, 64, 64, 3)


def test_random_weights_of_another_seed() -> None:
    options = scratch.Options(initializer="he_uniform")

    def drawn(name: str) -> keras.Model:
        return load({}, "cifar10_cnn", name, options)

    seventh = drawn("random:7")
    assert same(seventh, drawn("random:7"))
    assert not same(seventh, drawn("random:8"))
    assert not same(seventh, drawn("random"))
    assert same(drawn("random"), drawn("random:0"))
    kernel = seventh.get_layer("block2_conv2").kernel.numpy()
    assert kernel.var() == pytest.approx(2 / 576, rel=0.05)


@pytest.mark.parametrize("weights", ["random:", "random:x", "random:-1", "random:4294967296"])
def test_no_seed_of_random_weights(weights: str) -> None:
    message = refusal({}, "MobileNetV2", weights)
    assert message.startswith(f"params.yaml: weights: {weights}: ")
    assert "imagenet, random, random:1 (of seed 1), or the path" in message


def test_a_network_of_our_own_has_no_pretrained_weights() -> None:
    for name in ("imagenet", "pypi"):
        message = refusal({}, "cifar10_cnn", name)
        assert (
            "/cifar10_cnn.yaml has none of that name; give random, random:1 (of seed 1)" in message
        )


def test_options_of_another_network_stop_before_any_download() -> None:
    options = scratch.Options(l2=0.1)
    entry = {"source": "x", "sha256": "0" * 64, "member": "x", "format": "onnx-vgg"}
    for name in ("imagenet", "pypi", "random", "a.weights.h5"):
        with pytest.raises(ThawError, match=r"^network.l2: 0.1: VGG16 has no such"):
            load({"VGG16": {"pypi": entry}}, "VGG16", name, options)


def test_weights_of_other_options_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.weights.h5"
    backbones.build("cifar10_cnn", None).save_weights(path)
    assert load({}, "cifar10_cnn", str(path)).count_params() == 65_568
    with pytest.raises(ThawError, match="not weights of cifar10_cnn"):
        load({}, "cifar10_cnn", str(path), scratch.Options(batch_norm=True))


def test_a_weights_file_round_trip(tmp_path: Path) -> None:
    keras.utils.set_random_seed(5)
    base = backbones.build("MobileNetV2", 64)
    path = tmp_path / "mine.weights.h5"
    base.save_weights(path)
    keras.utils.set_random_seed(6)
    loaded = load({}, "MobileNetV2", str(path))
    assert same(base, loaded)


def test_missing_file(tmp_path: Path) -> None:
    path = str(tmp_path / "none.weights.h5")
    assert refusal({}, "MobileNetV2", path).startswith(f"params.yaml: weights: {path}: no such")


@pytest.mark.parametrize("kind", ["text", "another network", "other HDF5", "empty", "pickle"])
def test_a_file_that_holds_other_things(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "wrong.weights.h5"
    if kind == "text":
        path.write_text("no weights\nat all\n")
    elif kind == "empty":
        path.touch()
    elif kind == "pickle":
        with path.open("wb") as file:
            np.save(file, np.array([{}], dtype=object), allow_pickle=True)
    elif kind == "other HDF5":
        with h5py.File(path, "w") as file:
            file["x"] = np.zeros(3)
    else:
        inputs = keras.Input((4,))
        keras.Model(inputs, keras.layers.Dense(2)(inputs)).save_weights(path)
    assert f"{path}: not weights of MobileNetV2" in refusal({}, "MobileNetV2", str(path))


def test_a_file_with_another_shape_or_an_array_from_elsewhere(tmp_path: Path) -> None:
    path = tmp_path / "mine.weights.h5"
    base = backbones.build("MobileNetV2", 64)
    base.save_weights(path)
    place = "layers/conv2d/vars/0"
    with h5py.File(tmp_path / "other.h5", "w") as other, h5py.File(path, "r+") as file:
        other["x"] = np.asarray(file[place])
        del file[place]
        file[place] = h5py.ExternalLink(tmp_path / "other.h5", "x")
    assert f"{path}: not weights of MobileNetV2" in refusal({}, "MobileNetV2", str(path))
    with h5py.File(path, "r+") as file:
        del file[place]
        file[place] = np.zeros((3, 3, 3, 31), np.float32)
    assert f"{path}: not weights of MobileNetV2" in refusal({}, "MobileNetV2", str(path))


def test_unknown_name() -> None:
    entry = {"source": "x", "sha256": "0" * 64, "member": "x", "format": "onnx-vgg"}
    message = refusal({"MobileNetV2": {"pypi": entry}}, "MobileNetV2", "pipy")
    assert "weights: pipy" in message
    assert "give pypi, imagenet, random" in message
    assert "VGG19" in refusal({"MobileNetV2": {"pypi": entry}}, "VGG19", "pypi")


def test_a_catalogue_entry_that_is_not_well_formed() -> None:
    message = refusal({"VGG16": {"pypi": {"source": "x"}}}, "VGG16", "pypi")
    assert "/VGG16.yaml: pypi." in message


def test_imagenet_out_of_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_args: object, origin: str = "", **_options: object) -> None:
        raise Exception(f"URL fetch failure on {origin}: None -- [Errno -2] Name not known")

    module = keras.src.applications.mobilenet_v2
    monkeypatch.setattr(module.file_utils, "get_file", unreachable)
    message = refusal({}, "MobileNetV2", "imagenet")
    assert message.startswith("params.yaml: weights: imagenet: Keras can't download them (URL")
    assert message.endswith("set weights: pypi")


def test_imagenet_twice_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keras downloads to where the file will lie, and trusts one that lies there."""
    whole = tmp_path / "whole.h5"
    network = backbones.build("MobileNetV2", None)
    with h5py.File(whole, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, network)
    fetched = tmp_path / "fetched.h5"

    def get_file(*_args: object, **_options: object) -> str:
        if not fetched.exists():
            fetched.write_bytes(whole.read_bytes()[:1000])
            time.sleep(1)
            fetched.write_bytes(whole.read_bytes())
        return str(fetched)

    monkeypatch.setattr(keras.src.applications.mobilenet_v2.file_utils, "get_file", get_file)
    with ThreadPoolExecutor(2) as pool:
        loaded = list(pool.map(lambda _: load({}, "MobileNetV2", "imagenet"), range(2)))
    assert all(same(network, each) for each in loaded)


def distinct(variable: keras.Variable, seed: int) -> np.ndarray:
    shape = tuple(variable.shape)
    return np.random.default_rng(seed).uniform(0.1, 1, shape).astype(np.float32)


def package(tmp_path: Path, member: Path, layout: str) -> dict[str, str]:
    """A wheel that holds the file, as an entry of a file in pretrained/."""
    wheel = tmp_path / "package.whl"
    with zipfile.ZipFile(wheel, "w") as opened:
        opened.write(member, f"inside/{member.name}")
    return {
        "source": str(wheel),
        "sha256": hashlib.sha256(wheel.read_bytes()).hexdigest(),
        "member": f"inside/{member.name}",
        "format": layout,
    }


def hub_place(layer: str) -> str:
    """Where Google's file keeps a Keras layer's arrays (written out anew)."""
    name = layer.removesuffix("_BN").removesuffix("_bn")
    if name in ("Conv1", "bn_Conv1"):
        return "Conv"
    if name == "Conv_1":
        return "Conv_1"
    if name.startswith("block_"):
        _, number, part = name.split("_")
        return f"expanded_conv_{number}/{part}"
    return f"expanded_conv/{name.removeprefix('expanded_conv_')}"


def test_tfhub_mobilenet_v2(tmp_path: Path) -> None:
    base = backbones.build("MobileNetV2", None)
    expected = {}
    path = tmp_path / "model.h5"
    with h5py.File(path, "w") as file:
        root = file.create_group("model_weights/keras_layer/MobilenetV2")
        for layer in base.layers:
            if not layer.weights:
                continue
            place = hub_place(layer.name)
            names = {
                "gamma": "BatchNorm/gamma:0",
                "beta": "BatchNorm/beta:0",
                "moving_mean": "BatchNorm/moving_mean:0",
                "moving_variance": "BatchNorm/moving_variance:0",
            }
            if not isinstance(layer, keras.layers.BatchNormalization):
                depthwise = isinstance(layer, keras.layers.DepthwiseConv2D)
                name = "depthwise_weights:0" if depthwise else "weights:0"
                names = dict.fromkeys(["kernel"], name)
            for attribute, name in names.items():
                value = distinct(getattr(layer, attribute), len(expected))
                expected[layer.name, attribute] = value
                root[f"{place}/{name}"] = value
    assert len(expected) == 260
    entry = package(tmp_path, path, "tfhub-mobilenet-v2")
    loaded = load({"MobileNetV2": {"mine": entry}}, "MobileNetV2", "mine")
    for (layer, attribute), value in expected.items():
        found = getattr(loaded.get_layer(layer), attribute)
        np.testing.assert_array_equal(found, value, err_msg=f"{layer} {attribute}")


def vgg_package(tmp_path: Path) -> tuple[dict[str, str], dict[str, tuple[np.ndarray, np.ndarray]]]:
    expected, arrays = {}, []
    for layer in backbones.build("VGG16", None).layers:
        if not layer.weights:
            continue
        # Constant along most axes, so that it is quick, but no two axes look the same.
        kernel = np.zeros(layer.kernel.shape, np.float32)
        for axis, length in enumerate(kernel.shape):
            along = np.arange(length, dtype=np.float32) * 10.0**-axis
            kernel += along.reshape([-1 if place == axis else 1 for place in range(4)])
        kernel += len(expected)
        bias = distinct(layer.bias, len(expected))
        expected[layer.name] = kernel, bias
        place = f"functional_1/{layer.name}_1"
        arrays += [
            onnx.numpy_helper.from_array(
                np.ascontiguousarray(np.einsum("hwio->oihw", kernel)),
                f"{place}/convolution/ReadVariableOp:0",
            ),
            onnx.numpy_helper.from_array(bias.reshape(1, -1, 1, 1), f"{place}/Squeeze:0"),
        ]
    path = tmp_path / "vgg.onnx"
    onnx.save(onnx.helper.make_model(onnx.helper.make_graph([], "vgg", [], [], arrays)), path)
    return package(tmp_path, path, "onnx-vgg"), expected


def test_onnx_vgg(tmp_path: Path) -> None:
    entry, expected = vgg_package(tmp_path)
    assert len(expected) == 13
    loaded = load({"VGG16": {"mine": entry}}, "VGG16", "mine")
    for name, (kernel, bias) in expected.items():
        np.testing.assert_array_equal(loaded.get_layer(name).kernel, kernel, err_msg=name)
        np.testing.assert_array_equal(loaded.get_layer(name).bias, bias, err_msg=name)


def lite_tensors() -> tuple[dict[str, np.ndarray], dict[tuple[str, str], np.ndarray]]:
    """Tensors under EfficientNet-PyTorch's names (written out anew), and where each belongs."""
    tensors: dict[str, np.ndarray] = {"_fc.weight": np.zeros((2, 3), np.float32)}
    tensors["_fc.bias"] = np.zeros(2, np.float32)
    expected = {}
    starts = {"1": 0, "2": 1, "3": 3, "4": 5, "5": 8, "6": 11, "7": 15}  # of Lite0's stages
    parts = {"expand_conv": "_expand_conv", "expand_bn": "_bn0", "dwconv": "_depthwise_conv"}
    parts |= {"bn": "_bn1", "project_conv": "_project_conv", "project_bn": "_bn2"}
    places = {"stem_conv": "_conv_stem", "stem_bn": "_bn0", "top_conv": "_conv_head"}
    places |= {"top_bn": "_bn1"}
    for layer in backbones.build("EfficientNetLite0", None).layers:
        if not layer.weights:
            continue
        if layer.name.startswith("block"):
            block, part = layer.name.removeprefix("block").split("_", 1)
            number = starts[block[0]] + "abcd".index(block[1])
            place = f"_blocks.{number}.{parts[part]}"
        else:
            place = places[layer.name]
        if isinstance(layer, keras.layers.BatchNormalization):
            names = {"gamma": "weight", "beta": "bias"}
            names |= {"moving_mean": "running_mean", "moving_variance": "running_var"}
            axes = "c->c"
            tensors[f"{place}.num_batches_tracked"] = np.array(7, np.int64)
        else:
            names = {"kernel": "weight"}
            depthwise = isinstance(layer, keras.layers.DepthwiseConv2D)
            axes = "hwcm->cmhw" if depthwise else "hwio->oihw"
        for attribute, name in names.items():
            value = distinct(getattr(layer, attribute), len(expected))
            expected[layer.name, attribute] = value
            tensors[f"{place}.{name}"] = np.ascontiguousarray(np.einsum(axes, value))
    return tensors, expected


def test_torch_efficientnet_lite(tmp_path: Path) -> None:
    tensors, expected = lite_tensors()
    entry = package(tmp_path, torch_file(tmp_path / "a.pth", tensors), "torch-efficientnet-lite")
    loaded = load({"EfficientNetLite0": {"mine": entry}}, "EfficientNetLite0", "mine")
    assert len(expected) == len(loaded.weights) == 5 * 49
    for (layer, attribute), value in expected.items():
        found = getattr(loaded.get_layer(layer), attribute)
        np.testing.assert_array_equal(found, value, err_msg=f"{layer} {attribute}")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"_blocks.3._bn1.running_var": None}, "_blocks.3._bn1.running_var is missing"),
        (
            {"_blocks.16._bn0.weight": np.ones(3, np.float32)},
            "_blocks.16._bn0.weight, _fc.bias, _fc",
        ),
        ({"_bn1.bias": np.ones(3, np.float32)}, "shape"),
        ({"_fc.bias": None}, "left over"),
    ],
    ids=["missing", "left over", "shape", "classifier"],
)
def test_an_efficientnet_lite_that_is_not_whole(
    tmp_path: Path, change: dict[str, np.ndarray | None], told: str
) -> None:
    tensors = {n: v for n, v in (lite_tensors()[0] | change).items() if v is not None}
    entry = package(tmp_path, torch_file(tmp_path / "a.pth", tensors), "torch-efficientnet-lite")
    message = refusal({"EfficientNetLite0": {"mine": entry}}, "EfficientNetLite0", "mine")
    assert "inside/a.pth is no torch-efficientnet-lite of EfficientNetLite0 (" in message
    assert told in message


def test_a_package_without_the_member(tmp_path: Path) -> None:
    text = tmp_path / "model.h5"
    text.write_text("x")
    entry = package(tmp_path, text, "tfhub-mobilenet-v2") | {"member": "inside/other.h5"}
    message = refusal({"MobileNetV2": {"mine": entry}}, "MobileNetV2", "mine")
    assert "holds no inside/other.h5; mend " in message
    assert message.endswith("/MobileNetV2.yaml")


@pytest.mark.parametrize("content", [b"", b"garbage", b"\x89HDF\r\n\x1a\n"])
@pytest.mark.parametrize(
    ("network", "layout"),
    [
        ("MobileNetV2", "tfhub-mobilenet-v2"),
        ("VGG16", "onnx-vgg"),
        ("EfficientNetLite0", "torch-efficientnet-lite"),
    ],
)
def test_a_member_that_is_something_else(
    tmp_path: Path, network: str, layout: str, content: bytes
) -> None:
    member = tmp_path / "model.bin"
    member.write_bytes(content)
    message = refusal({network: {"mine": package(tmp_path, member, layout)}}, network, "mine")
    assert f"inside/model.bin is no {layout} of {network} (" in message


def test_a_member_that_takes_arrays_from_other_files(tmp_path: Path) -> None:
    entry, _ = vgg_package(tmp_path)
    model = onnx.load(tmp_path / "vgg.onnx")
    (tmp_path / "w.bin").write_bytes(bytes(10**6))
    first = model.graph.initializer[0]
    first.ClearField("raw_data")
    first.data_location = onnx.TensorProto.EXTERNAL
    first.external_data.add(key="location", value=str(tmp_path / "w.bin"))
    (tmp_path / "vgg.onnx").write_bytes(model.SerializeToString())
    entry = package(tmp_path, tmp_path / "vgg.onnx", "onnx-vgg")
    message = refusal({"VGG16": {"mine": entry}}, "VGG16", "mine")
    assert "is no onnx-vgg of VGG16" in message


def test_a_package_that_is_not_the_one_meant(tmp_path: Path) -> None:
    text = tmp_path / "model.h5"
    text.write_text("x")
    entry = package(tmp_path, text, "tfhub-mobilenet-v2") | {"sha256": "0" * 64}
    assert "sha256" in refusal({"MobileNetV2": {"mine": entry}}, "MobileNetV2", "mine").lower()
