"""Private doors into Keras, tf2onnx and LiteRT: all that Thaw uses that is not public.

Each says why, and fails with a sentence if a version no longer has it.
"""

import thaw.networks.quiet  # noqa: F401

import functools
from collections.abc import Iterator
from typing import Any

import keras

from thaw.core.environment import versions
from thaw.core.errors import ThawError

WAIT = 1.0  # seconds for a thread to end that has nothing left to do


def _door(owner: object, name: str, package: str) -> Any:
    """An attribute that the package keeps to itself.

    Raises:
        ThawError: when this version has none of that name.
    """
    try:
        return getattr(owner, name)
    except AttributeError:
        version = " or ".join(versions((package, f"{package}-cpu")).values())
        raise ThawError(
            f"{package} {version} has no {name}, which Thaw reads; install the version "
            "that requirements.txt pins (`make venv`)"
        ) from None


def nodes(model: keras.Model) -> Iterator[Any]:
    """The calls of layers that a functional model is made of, each after those it reads from.

    Keras has no public way to read a model's graph: `layer.output` leads nowhere, and
    `get_config` holds no tensors.
    """
    by_depth = _door(model, "_nodes_by_depth", "keras")
    for depth in sorted(by_depth, reverse=True):
        yield from by_depth[depth]


def operation(tensor: keras.KerasTensor) -> keras.Operation:
    """The layer or other operation that a symbolic tensor comes from."""
    return _door(tensor, "_keras_history", "keras").operation


def number_layers_anew() -> None:
    """Let Keras name the layers of the next network as in a new process: `conv2d`, `conv2d_1`.

    Many networks have layers without a name of their own, which Keras numbers by how many of that
    kind a process has made before.
    """
    from keras.src.utils import naming

    _door(naming, "reset_uids", "keras")()


def takes_training(layer: keras.Operation) -> bool:
    """Whether a layer's `call` has the argument `training`, so that the model's mode reaches it.

    An operation that is no layer hasn't.
    """
    if not isinstance(layer, keras.Layer):
        return False
    return bool(_door(layer, "_call_has_training_arg", "keras"))


def build_for_several_devices(model: keras.Model, batch: Any) -> None:
    """Build the loss and the metrics of a compiled model that several devices train.

    Keras does it by the mean over the devices' parts of a batch, which fails where one has more
    pictures than another.
    """
    _door(model, "_symbolic_build", "keras")(data_batch=batch)
    own = "_maybe_symbolic_build"
    _door(model, own, "keras")
    setattr(model, own, lambda **_: None)


def variable_key(optimizer: keras.optimizers.Optimizer, variable: Any) -> str:
    """What an optimizer knows a variable by, and each device's copy of it."""
    found: str = _door(optimizer, "_var_key", "keras")(variable)
    return found


def slots(optimizer: keras.Optimizer, kind: str, variable: Any) -> Any:
    """What an optimizer keeps beside a trained variable, such as Adam's `momentums`.

    Keras lists all such variables together, in an order that is its own.
    """
    index = _door(optimizer, "_get_variable_index", "keras")(variable)
    return _door(optimizer, f"_{kind}", "keras")[index].value


@functools.cache  # once a process
def end_epochs_at_once() -> None:
    """Let the reading of an epoch's batches end when all are read.

    Keras ends it by waiting a tenth of a second for one more, which is much of what an epoch of a
    head takes.
    """
    from keras.src.trainers.data_adapters import py_dataset_adapter

    kind = _door(py_dataset_adapter, "PyDatasetEnqueuer", "keras")
    stop = _door(kind, "stop", "keras")

    def stop_at_once(reading: Any, drain_queue_and_join: bool = True) -> None:
        thread, queue = (_door(reading, name, "keras") for name in ("run_thread", "future_queue"))
        if not drain_queue_and_join or thread is None or not queue.empty():
            stop(reading, drain_queue_and_join)
            return
        thread.join(WAIT)
        # An ended thread reads nothing more; without it there is nothing to wait for.
        stop(reading, thread.is_alive() or not queue.empty())

    kind.stop = stop_at_once


def make_tf2onnx_repeatable() -> None:
    """Let tf2onnx export the same model to the same graph each time in a process.

    tf2onnx goes through sets of nodes and of names, and drops or keeps a Reshape by their order. It
    hashes nodes by address; here they are hashed by name. Names come from a counter, which begins
    anew here. The hash of a name follows from PYTHONHASHSEED, which `src/__main__.py` sets.
    """
    import tf2onnx

    _door(tf2onnx.utils, "INTERNAL_NAME", "tf2onnx")
    _door(tf2onnx.graph, "Node", "tf2onnx")
    tf2onnx.graph.Node.__hash__ = lambda node: hash(node.name)
    tf2onnx.utils.INTERNAL_NAME = 1


def make_tf2onnx_lean() -> None:
    """Let tf2onnx take a graph whose variables have become constants as it is.

    TensorFlow makes a function of it, of which tf2onnx then reads the graph alone: a third of the
    time of an export, and the weights once more in memory.
    """
    import types

    import tensorflow as tf
    import tf2onnx
    from tensorflow.python.framework import convert_to_constants

    known = _door(convert_to_constants, "_FunctionConverterDataInEager", "tensorflow")
    replace = _door(convert_to_constants, "_replace_variables_by_constants", "tensorflow")
    name = "convert_variables_to_constants_v2"
    _door(tf2onnx.tf_loader, name, "tf2onnx")

    def convert(function: Any, **how: bool) -> types.SimpleNamespace:
        content, _ = replace(converter_data=known(func=function, **how))
        with tf.Graph().as_default() as graph:
            tf.import_graph_def(content, name="")
        return types.SimpleNamespace(graph=graph)

    setattr(tf2onnx.tf_loader, name, convert)


def litert_operators(interpreter: Any) -> list[dict[str, Any]]:
    """The operators of a LiteRT model, in order: `op_name`, `inputs`, `outputs`.

    The quantiser leaves convolutions in float32 by name, and only this tells their names.
    """
    found: list[dict[str, Any]] = _door(interpreter, "_get_ops_details", "tensorflow")()
    return found


def constants_of(function: Any) -> Any:
    """A concrete function with its variables as constants, for the LiteRT converter to fold.

    The public converters do it themselves, too late for the calibration of integers.
    """
    from tensorflow.python.framework import convert_to_constants

    convert = _door(convert_to_constants, "convert_variables_to_constants_v2", "tensorflow")
    return convert(function)


def without_uuid(fingerprint: bytes) -> bytes:
    """A SavedModel's fingerprint with its checksum in place of its random uuid."""
    from tensorflow.core.protobuf import fingerprint_pb2

    found = _door(fingerprint_pb2, "FingerprintDef", "tensorflow").FromString(fingerprint)
    found.uuid = str(found.saved_model_checksum)
    content: bytes = found.SerializeToString(deterministic=True)
    return content
