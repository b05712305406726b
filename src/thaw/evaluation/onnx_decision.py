"""Put what was chosen after training into an ONNX model: temperature, unlikeness, decision."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import onnx.numpy_helper
from numpy.typing import NDArray

from thaw.evaluation.deciding import Decision
from thaw.evaluation.unlikeness import Unlikeness

LOGITS, UNLIKE = "logits", "unlike"  # names of the outputs


def put(content: bytes, unlikeness: Unlikeness, decision: Decision) -> bytes:
    """A model that gives logits and features, as one that gives calibrated logits and a score.

    Args:
        content: the model, its first output (N, 1 or classes) logits, its second (N, D) features.
        unlikeness: of the features.
        decision: its temperature divides the logits; all of it is kept beside the classes' names.

    Returns:
        The model, its outputs `LOGITS` and `UNLIKE`, (N, 1).
    """
    model = onnx.load_from_string(content)
    graph = model.graph
    _rename(graph, {name: f"network/{name}" for name in (LOGITS, UNLIKE)})
    logits, features = graph.output

    def constant(name: str, value: NDArray[Any]) -> str:
        graph.initializer.append(onnx.numpy_helper.from_array(value, f"decide/{name}"))
        return f"decide/{name}"

    def node(kind: str, *inputs: str, gives: str) -> str:
        graph.node.append(onnx.helper.make_node(kind, inputs, [gives]))
        return gives

    def numbers(name: str, value: Any) -> str:
        return constant(name, np.asarray(value, np.float32))

    def squares(name: str, of: str, weights: Any) -> str:
        found = node("Mul", of, of, gives=f"decide/{name}_squares")
        column = np.asarray(weights, np.float32).reshape(-1, 1)
        return node("MatMul", found, numbers(f"{name}_weights", column), gives=f"decide/{name}_sum")

    width = len(unlikeness.mean)
    node("Div", logits.name, numbers("temperature", decision.temperature), gives=LOGITS)
    centred = node(
        "Sub", features.name, numbers("mean", unlikeness.mean), gives="decide/centred_features"
    )
    apart = node("Mul", centred, numbers("scale", unlikeness.scale), gives="decide/apart")
    along = node("MatMul", apart, numbers("axes", unlikeness.axes), gives="decide/along")
    total = node(
        "Add",
        squares("apart", apart, np.full(width, unlikeness.beside / width)),
        squares("along", along, unlikeness.weights / width),
        gives="decide/total",
    )
    node("Sqrt", node("Relu", total, gives="decide/positive_total"), gives=UNLIKE)
    count = logits.type.tensor_type.shape.dim[0]
    outputs = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", columns])
        for name, columns in ((LOGITS, logits.type.tensor_type.shape.dim[1].dim_value), (UNLIKE, 1))
    ]
    for each in outputs:
        each.type.tensor_type.shape.dim[0].CopyFrom(count)
    del graph.output[:]
    graph.output.extend(outputs)
    for key, value in decision.metadata().items():
        model.metadata_props.add(key=key, value=value)
    made: bytes = model.SerializeToString(deterministic=True)
    return made


def _rename(graph: onnx.GraphProto, names: Mapping[str, str]) -> None:
    """Give tensors other names, where a network that somebody exported has these."""
    for node in graph.node:
        for ends in (node.input, node.output):
            for place, name in enumerate(ends):
                ends[place] = names.get(name, name)
    for item in (*graph.initializer, *graph.output, *graph.value_info):
        item.name = names.get(item.name, item.name)
