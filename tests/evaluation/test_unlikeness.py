"""How unlike the training pictures a picture is, in NumPy and inside an ONNX model."""

import numpy as np
import onnx
import onnxruntime
import pytest
from sklearn.metrics import roc_auc_score

from thaw.evaluation import onnx_decision, unlikeness
from thaw.evaluation.deciding import Decision

WIDTH = 40


@pytest.fixture(scope="module")
def features() -> np.ndarray:
    """(800, 40): a few directions with much variance, one feature with next to none."""
    generator = np.random.default_rng(0)
    mixed = generator.normal(size=(800, 5)) @ generator.normal(size=(5, WIDTH)) * 3
    found = mixed + generator.normal(size=(800, WIDTH)) + 7
    found[:, 3] = 2.0
    return found


def test_usual_pictures_score_about_one(features: np.ndarray) -> None:
    known = unlikeness.fit(features[:400])
    assert known.score(features[400:]).mean() == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("kind", ["shifted", "beside"])
def test_others_score_higher(features: np.ndarray, kind: str) -> None:
    known = unlikeness.fit(features[:400])
    generator = np.random.default_rng(1)
    if kind == "shifted":
        others = features[400:] + generator.normal(size=WIDTH) * 6
    else:  # of the same length, but not along the directions of the training pictures
        others = features.mean(axis=0) + generator.normal(size=(400, WIDTH)) * features.std(axis=0)
    scores = np.concatenate([known.score(features[400:]), known.score(others)])
    assert roc_auc_score([0] * 400 + [1] * 400, scores) > 0.999


def test_few_pictures_are_not_fitted_away(features: np.ndarray) -> None:
    """With as many axes as pictures nothing would be left beside them, and all else be unlike."""
    known = unlikeness.fit(features[:24])
    assert known.score(features[400:]).mean() < 3


def model(width: int = 1, named: str = "raw") -> bytes:
    """Features are pixels' means by column, logits a weighted sum of them."""
    weights = np.linspace(-1, 1, WIDTH * width, dtype=np.float32).reshape(WIDTH, width)
    graph = onnx.helper.make_graph(
        [
            onnx.helper.make_node("Identity", ["picture"], ["features"]),
            onnx.helper.make_node("MatMul", ["features", "w"], [named]),
        ],
        "g",
        [onnx.helper.make_tensor_value_info("picture", onnx.TensorProto.FLOAT, ["n", WIDTH])],
        [
            onnx.helper.make_tensor_value_info(named, onnx.TensorProto.FLOAT, ["n", width]),
            onnx.helper.make_tensor_value_info("features", onnx.TensorProto.FLOAT, ["n", WIDTH]),
        ],
        [onnx.numpy_helper.from_array(weights, "w")],
    )
    made = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 15)])
    made.ir_version = 8
    made.metadata_props.add(key="classes", value='["a", "b"]')
    content: bytes = made.SerializeToString()
    return content


@pytest.mark.parametrize("width", [1, 3])
def test_the_onnx_model_computes_the_same(features: np.ndarray, width: int) -> None:
    known = unlikeness.fit(features[:400])
    decision = Decision(temperature=2.5, reject_below=0.6, unlike_above=1.2)
    made = onnx_decision.put(model(width), known, decision)
    onnx.checker.check_model(onnx.load_from_string(made), full_check=True)
    session = onnxruntime.InferenceSession(made, providers=["CPUExecutionProvider"])
    before = onnxruntime.InferenceSession(model(width), providers=["CPUExecutionProvider"])
    pictures = features[400:].astype(np.float32)
    logits, unlike = session.run(None, {"picture": pictures})
    raw, _ = before.run(None, {"picture": pictures})
    np.testing.assert_allclose(logits, raw / 2.5, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(unlike[:, 0], known.score(features[400:]), rtol=1e-3)
    assert [each.name for each in session.get_outputs()] == ["logits", "unlike"]
    facts = session.get_modelmeta().custom_metadata_map
    assert Decision.of(facts) == decision
    assert facts["classes"] == '["a", "b"]'
    assert made == onnx_decision.put(model(width), known, decision)


@pytest.mark.parametrize("named", ["logits", "unlike", "thaw/scale"])
def test_a_network_may_have_such_names_itself(features: np.ndarray, named: str) -> None:
    known = unlikeness.fit(features[:400])
    made = onnx_decision.put(model(named=named), known, Decision(temperature=2.0))
    onnx.checker.check_model(onnx.load_from_string(made), full_check=True)
    session = onnxruntime.InferenceSession(made, providers=["CPUExecutionProvider"])
    plain = onnxruntime.InferenceSession(
        onnx_decision.put(model(), known, Decision(temperature=2.0)),
        providers=["CPUExecutionProvider"],
    )
    pictures = {"picture": features[400:].astype(np.float32)}
    for found, expected in zip(session.run(None, pictures), plain.run(None, pictures), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert [each.name for each in session.get_outputs()] == ["logits", "unlike"]
