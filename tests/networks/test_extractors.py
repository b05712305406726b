"""ONNX files from elsewhere as frozen networks, and heads on top of them."""

import thaw.networks.quiet  # noqa: F401

from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
import pytest
from onnx import TensorProto
from onnx.reference import ReferenceEvaluator

from helpers import onnx_network
from thaw.core.errors import ThawError
from thaw.files import onnx_files
from thaw.networks import extractors, freezing
from thaw.pictures import sessions
from thaw.training import classifiers, heads

SIZE = 16
MEAN, STD = [0.5, 0.4, 0.3], [0.2, 0.3, 0.4]


def pixels(count: int = 2) -> np.ndarray:
    shape = (count, SIZE, SIZE, 3)
    return np.random.default_rng(1).uniform(0, 255, shape).astype(np.float32)


def run(content: bytes, count: int = 2) -> list[np.ndarray]:
    found = sessions.session(content)
    return found.run(None, {found.get_inputs()[0].name: pixels(count)})


def prepared(path: Path, output: str | None = None, mean: list[float] = MEAN) -> bytes:
    return extractors.prepare(path, SIZE, output, mean, STD)


def expected(path: Path, output: str, nhwc: bool = False) -> np.ndarray:
    """What the file gives for pixels that were prepared by hand."""
    x = ((pixels() / 255 - MEAN) / STD).astype(np.float32)
    if not nhwc:
        x = x.transpose(0, 3, 1, 2)
    taken = "pictures" if nhwc else "x"
    parts = [ReferenceEvaluator(onnx.load(path)).run([output], {taken: one[None]})[0] for one in x]
    return np.concatenate(parts)


@pytest.mark.parametrize(
    ("gives", "shape"),
    [
        ("maps", (4, 4, 6)),
        ("channels last", (4, 4, 6)),
        ("vector", (1, 1, 6)),
        ("tokens", (16, 1, 6)),
    ],
)
@pytest.mark.parametrize("nhwc", [False, True])
def test_features_come_as_maps(
    tmp_path: Path, gives: str, shape: tuple[int, ...], nhwc: bool
) -> None:
    path = onnx_network(tmp_path / "a.onnx", gives, nhwc=nhwc)
    content = prepared(path)
    assert extractors.shape(content) == shape
    (found,) = run(content)
    wanted = expected(path, gives, nhwc)
    if gives == "maps":
        wanted = wanted.transpose(0, 2, 3, 1)
    np.testing.assert_allclose(found, wanted.reshape(2, *shape), rtol=1e-4, atol=1e-4)
    assert found.std() > 0.1
    assert extractors.parameters(content) >= 6 * 3 * 4 * 4


def test_one_output_of_several_is_chosen(tmp_path: Path) -> None:
    path = onnx_network(tmp_path / "a.onnx", "both")
    assert extractors.shape(prepared(path, "vector")) == (1, 1, 6)
    assert extractors.shape(prepared(path, "maps")) == (4, 4, 6)


def small_head(shape: tuple[int, ...], pooling: str = "average_max") -> keras.Model:
    keras.utils.set_random_seed(0)
    spec = heads.HeadSpec(pooling, (5,), 0.1, 0.0, "glorot_uniform", True, True)
    width = shape[-1] * (2 if pooling == "average_max" else 1)
    moments = np.linspace(0.1, 0.4, width, dtype=np.float32)
    return classifiers.on_maps(heads.layers(spec, 3, moments, moments + 1), pooling, shape)


@pytest.mark.parametrize("opset", [11, 17, 18, 22])
def test_a_head_is_joined_to_a_network_of_any_opset(tmp_path: Path, opset: int) -> None:
    content = prepared(onnx_network(tmp_path / "a.onnx", opset=opset))
    head = small_head(extractors.shape(content))
    joined = extractors.join(content, head, {"classes": ["a", "b", "ü"]})
    onnx.checker.check_model(onnx.load_from_string(joined))
    (found,) = run(joined)
    np.testing.assert_allclose(found, head(run(content)[0]), rtol=1e-4, atol=1e-4)
    facts = sessions.session(joined).get_modelmeta().custom_metadata_map
    assert facts == {"classes": '["a", "b", "ü"]'}  # nothing of who exported it


@pytest.mark.parametrize(("boundary", "bottleneck"), [(0, "pooled"), (1, "pooled"), (1, "full")])
def test_what_is_cached(tmp_path: Path, boundary: int, bottleneck: str) -> None:
    content = prepared(onnx_network(tmp_path / "a.onnx"))
    (maps,) = run(content)
    above = freezing.above_maps(extractors.shape(content), boundary, bottleneck)
    *cached, features = run(extractors.join(content, above))
    pooled = np.stack([maps.mean((1, 2)), maps.max((1, 2))], axis=1)
    np.testing.assert_allclose(features, maps if bottleneck == "full" else pooled, atol=1e-5)
    assert len(cached) == boundary
    if cached:
        np.testing.assert_allclose(cached[0], maps, atol=1e-6)


def test_a_network_for_one_picture_at_a_time_stays_one(tmp_path: Path) -> None:
    content = prepared(onnx_network(tmp_path / "a.onnx", batch=1))
    joined = extractors.join(content, small_head((4, 4, 6)))
    session = sessions.session(joined)
    assert session.get_inputs()[0].shape == [1, SIZE, SIZE, 3]
    assert session.get_outputs()[0].shape == [1, 3]
    assert len(run(joined, 1)[0]) == 1
    assert extractors.join(content, small_head((4, 4, 6))) == joined


def test_it_lies_where_other_weights_lie(tmp_path: Path) -> None:
    content = prepared(onnx_network(tmp_path / "a.onnx"))
    extractors.save(content, tmp_path / "base.weights.h5")
    assert extractors.load(tmp_path / "base.weights.h5") == content
    first = (tmp_path / "base.weights.h5").read_bytes()
    extractors.save(content, tmp_path / "base.weights.h5")
    assert (tmp_path / "base.weights.h5").read_bytes() == first
    (tmp_path / "base.weights.h5").write_bytes(b"none")
    with pytest.raises(ThawError, match="run `dvc repro -f weights`"):
        extractors.load(tmp_path / "base.weights.h5")


@pytest.mark.parametrize(
    ("gives", "how", "told"),
    [
        (
            "maps",
            {"size": 24},
            "image_size: 16: .*a.onnx takes pictures of 24 x 24 pixels; give 24",
        ),
        ("maps", {"batch": 8}, "it takes 8 pictures at a time; export it for one, or any number"),
        ("maps", {"channels": 1}, "it takes any x 1 x 16 x 16; export one that takes pictures"),
        (
            "maps",
            {"kind": TensorProto.FLOAT16},
            "it takes numbers of float16; export it in float32",
        ),
        ("maps", {"opset": 9}, "it is of opset 9; export it with 11 or later"),
        ("maps", {"external": "b.data"}, "it keeps its numbers in other files; write it as one"),
        ("both", {}, "feature_layer: null: .*a.onnx gives vector, maps; give one of them"),
    ],
)
def test_what_does_not_fit_is_refused(
    tmp_path: Path, gives: str, how: dict[str, Any], told: str
) -> None:
    path = onnx_network(tmp_path / "a.onnx", gives, **how)
    with pytest.raises(ThawError, match=told) as caught:
        onnx_files.read(path, SIZE, None)
    assert str(caught.value).startswith("params.yaml: ")
    assert "\n" not in str(caught.value)


def test_an_output_that_is_not_there_is_refused(tmp_path: Path) -> None:
    path = onnx_network(tmp_path / "a.onnx", "both")
    with pytest.raises(ThawError, match=r"feature_layer: map: .* gives vector, maps; give one"):
        onnx_files.read(path, SIZE, "map")


@pytest.mark.parametrize("content", [b"", b"no model", b"\x08\x08", b"PK\x03\x04"])
def test_what_is_no_model_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.onnx").write_bytes(content)
    with pytest.raises(ThawError, match=r"^params.yaml: base_model: .*: not a model in ONNX"):
        onnx_files.read(tmp_path / "a.onnx", SIZE, None)


def test_what_onnx_runtime_cannot_run_is_refused(tmp_path: Path) -> None:
    path = onnx_network(tmp_path / "a.onnx")
    model = onnx.load(path)
    model.graph.node[1].op_type = "Unheard"
    onnx.save(model, path)
    with pytest.raises(ThawError, match="ONNX Runtime can't run it") as caught:
        prepared(path)
    assert "\n" not in str(caught.value)
