"""Export a Keras model to ONNX, to the same bytes each time."""

import thaw.networks.quiet  # noqa: F401

import contextlib
import gc
import json
import logging
import os
from collections.abc import Iterator, Mapping

import keras
import numpy as np
import onnx
import onnx.numpy_helper
import tensorflow as tf
import tf2onnx

from thaw.core.errors import ThawError
from thaw.networks import private

COPIES = "TF2ONNX_CATCH_ERRORS"  # an environment variable, by which tf2onnx bears errors

logging.getLogger("tf2onnx").setLevel(logging.CRITICAL)  # it prints what it then works around


def to_onnx(
    model: keras.Model, metadata: Mapping[str, object] | None = None, opset: int | None = None
) -> bytes:
    """The model in ONNX, names and order canonical, so that equal models are equal bytes.

    Args:
        model: one input, any number of outputs.
        metadata: kept in the file as JSON texts, for whoever runs it.
        opset: the version of ONNX's set of operators; None for tf2onnx's default.

    Raises:
        ThawError: when the network computes something that ONNX has no operator for.
    """
    signature = [tf.TensorSpec(model.inputs[0].shape, tf.float32, name="picture")]
    # Keras's `export` does the same, and takes as long again to look for resources.
    function = tf.function(lambda pictures: model(pictures, training=False), signature)
    private.make_tf2onnx_lean()
    with _collecting_garbage():
        exported = _convert(function, signature, opset)
    _keep_constants(exported.graph, function.get_concrete_function(*signature))
    _express_erfc(exported.graph)
    unknown = {n.op_type for n in exported.graph.node if not onnx.defs.has(n.op_type, n.domain)}
    if unknown:
        names = ", ".join(each.name for each in model.layers if isinstance(each, keras.Model))
        raise ThawError(
            f"params.yaml: base_model: {names or model.name} can't run on ONNX Runtime, which has "
            f"no {' or '.join(sorted(unknown))}; choose another network"
        )
    _make_canonical(exported)
    add_metadata(exported, metadata)
    content: bytes = exported.SerializeToString(deterministic=True)
    return content


def add_metadata(model: onnx.ModelProto, metadata: Mapping[str, object] | None) -> None:
    """Keep what a model's user needs in it, as JSON texts."""
    for key, value in (metadata or {}).items():
        model.metadata_props.add(key=key, value=json.dumps(value, ensure_ascii=False))


def _convert(
    function: tf.types.experimental.GenericFunction,
    signature: list[tf.TensorSpec],
    opset: int | None,
) -> onnx.ModelProto:
    """tf2onnx's graph of a function.

    Before each of its passes tf2onnx copies the graph with its weights, to have it back should the
    pass fail: a third of the time. Here it copies only if one fails.
    """

    def convert() -> onnx.ModelProto:
        private.make_tf2onnx_repeatable()
        return tf2onnx.convert.from_function(function, signature, opset=opset)[0]

    os.environ[COPIES] = "FALSE"
    with contextlib.suppress(Exception):  # whatever a pass stumbles over
        try:
            return convert()
        finally:
            del os.environ[COPIES]
    return convert()


def _keep_constants(
    graph: onnx.GraphProto, function: tf.types.experimental.ConcreteFunction
) -> None:
    """Give tensors that the function took from outside their values.

    tf2onnx takes them for inputs: the mean and the deviation of a `Normalization`, which
    EfficientNet and ConvNeXt have, are no variables.
    """
    taken = zip(reversed(function.inputs), reversed(function.captured_inputs), strict=False)
    values = {inner.name: outer for inner, outer in taken if outer.dtype != tf.resource}
    for item in list(graph.input):
        if item.name in values:
            value = np.asarray(values[item.name])
            graph.initializer.append(onnx.numpy_helper.from_array(value, item.name))
            graph.input.remove(item)


def _express_erfc(graph: onnx.GraphProto) -> None:
    """ONNX lacks TensorFlow's erfc(x), of Keras's GELU, and has erf(x): erfc(x) = 1 - erf(x)."""
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        if node.op_type == "Erfc":
            (name,) = node.output
            nodes.append(onnx.helper.make_node("Erf", node.input, [f"{name}/erf"]))
            nodes.append(onnx.helper.make_node("Sub", ["one_of_erfc", f"{name}/erf"], [name]))
        else:
            nodes.append(node)
    if len(nodes) == len(graph.node):
        return
    one = onnx.numpy_helper.from_array(np.float32(1), "one_of_erfc")
    graph.initializer.append(one)
    del graph.node[:]
    graph.node.extend(nodes)


@contextlib.contextmanager
def _collecting_garbage() -> Iterator[None]:
    """Let Python collect the garbage that is made inside soon, by hiding older objects from it.

    Because of TensorFlow's many older objects Python would look for what tf2onnx leaves too rarely,
    and take longer for it.
    """
    gc.freeze()
    try:
        yield
    finally:
        gc.collect()
        gc.unfreeze()


def _make_canonical(exported: onnx.ModelProto) -> None:
    """Rename tensors in order of use: tf2onnx names them by counters and the order of a set."""
    graph = exported.graph
    names = {item.name: item.name for item in graph.input}
    arrays = {item.name: item for item in graph.initializer}
    used: list[onnx.TensorProto] = []
    for node in graph.node:
        for place, name in enumerate(node.input):
            if name and name not in names:
                names[name] = f"weight_{len(used)}"
                used.append(arrays[name])
            if name:
                node.input[place] = names[name]
        for place, name in enumerate(node.output):
            names[name] = f"tensor_{len(names)}"
            node.output[place] = names[name]
        node.name = ""
    for item in graph.output:
        item.name = names[item.name]
    for item in (*graph.input, *graph.output):
        item.type.tensor_type.shape.dim[0].dim_param = "n"
    for array in used:
        array.name = names[array.name]
    del graph.initializer[:]
    graph.initializer.extend(used)
    del graph.value_info[:]
    graph.name = "thaw"
    graph.doc_string = exported.doc_string = ""
