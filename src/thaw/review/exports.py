"""A trained classifier for where Keras is not: SavedModel, LiteRT, and LiteRT in 8-bit integers.

All take (N, S, S, 3) float32 pixels from 0 to 255 and give (N, 1 or classes) logits, as the model
in ONNX does. Equal models are equal bytes.
"""

import thaw.networks.quiet  # noqa: F401

import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnxruntime
import tensorflow as tf
from numpy.typing import NDArray

from thaw.core import cores
from thaw.networks import private

Array = NDArray[np.float32]
Logits = Callable[[Array], Array]

HEAD = ("REDUCE_MAX", "MEAN", "CONCATENATION", "SUB", "MUL", "FULLY_CONNECTED")


@dataclass(frozen=True)
class Way:
    """The part of a network that is in 8-bit integers, in words, and what stays in float32."""

    about: str
    operators: tuple[str, ...] = ()
    convolutions: float = 0  # the share of them, from the first on


# From the one that runs on integer units alone to the most careful one.
WAYS = (
    Way("all layers"),
    Way("all but the head", HEAD),
    Way("all but the head, sums of blocks and half of the convolutions", (*HEAD, "ADD"), 1 / 2),
    Way("a third of the convolutions, the last", (*HEAD, "ADD"), 2 / 3),
)


def calibrated(model: keras.Model, temperature: float) -> keras.Model:
    """A classifier whose logits are divided by the temperature that stage `decide` chose."""
    scaled = keras.layers.Rescaling(1 / temperature, name="temperature")(model.outputs[0])
    return keras.Model(model.inputs, scaled, name=model.name)


def save_saved_model(model: keras.Model, folder: Path) -> None:
    """Write a SavedModel with the signature `serving_default`: `picture` in, `logits` out."""
    module = tf.Module()
    # Not `variables`: they include dropout's random states, which inference doesn't use.
    module.weights = model.weights
    signature = [tf.TensorSpec(model.inputs[0].shape, tf.float32, name="picture")]
    module.classify = tf.function(
        lambda picture: {"logits": model(picture, training=False)}, signature
    )
    with _silent():
        tf.saved_model.save(module, folder, {"serving_default": module.classify})
    path = folder / "fingerprint.pb"
    path.write_bytes(private.without_uuid(path.read_bytes()))


def to_tflite(model: keras.Model) -> bytes:
    """The model for LiteRT, in float32."""
    with _silent():
        content: bytes = _converter(model).convert()
    return content


def to_int8(model: keras.Model, pictures: Callable[[], Iterable[Array]], way: Way) -> bytes:
    """The model for LiteRT, quantised after training; in and out stay float32.

    Weights are integers of 8 bits by output channel, and so are activations, whose ranges are those
    of some pictures (https://ai.google.dev/edge/litert/conversion/tensorflow/quantization).

    Args:
        model: the classifier.
        pictures: gives (S, S, 3) pixels from 0 to 255, the same in each call.
        way: what stays in float32.
    """
    convolutions = _convolutions(to_tflite(model))
    early = convolutions[: int(way.convolutions * len(convolutions))]
    converter = _converter(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([picture[np.newaxis]] for picture in pictures())
    with _silent():
        if not way.operators:
            content: bytes = converter.convert()
            return content
        options = tf.lite.experimental.QuantizationDebugOptions(
            denylisted_ops=list(way.operators), denylisted_nodes=early
        )
        debugger = tf.lite.experimental.QuantizationDebugger(
            converter=converter,
            debug_dataset=converter.representative_dataset,
            debug_options=options,
        )
        careful: bytes = debugger.get_nondebug_quantized_model()
    return careful


def _converter(model: keras.Model) -> Any:
    signature = [tf.TensorSpec(model.inputs[0].shape, tf.float32, name="picture")]
    function = tf.function(lambda picture: model(picture, training=False), signature)
    # As constants, so that batch normalisation is folded and calibration can run.
    frozen = private.constants_of(function.get_concrete_function())
    named = tf.function(lambda picture: {"logits": frozen(picture)[0]}, signature)
    return tf.lite.TFLiteConverter.from_concrete_functions(
        [named.get_concrete_function()], tf.Module()
    )


def _convolutions(content: bytes) -> list[str]:
    """The names of what its convolutions give, in order."""
    interpreter = _interpreter(content)
    names = {tensor["index"]: tensor["name"] for tensor in interpreter.get_tensor_details()}
    return [
        names[int(operator["outputs"][0])]
        for operator in private.litert_operators(interpreter)
        if "CONV_2D" in operator["op_name"]
    ]


def keras_logits(model: keras.Model) -> Logits:
    """The model in Keras, as a graph."""
    signature = [tf.TensorSpec(model.inputs[0].shape, tf.float32)]
    function = tf.function(lambda pictures: model(pictures, training=False), signature)
    return lambda pictures: function(tf.constant(pictures)).numpy()


def onnx_logits(path: Path) -> Logits:
    """The model in ONNX, on all cores that may be used."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = cores.available()
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda pictures: session.run(None, {name: pictures})[0]


def saved_model_logits(folder: Path) -> Logits:
    """A SavedModel."""
    loaded = tf.saved_model.load(folder)
    function = loaded.signatures["serving_default"]

    def logits(pictures: Array, _: object = loaded) -> Array:  # it owns the weights
        found: Array = function(picture=tf.constant(pictures))["logits"].numpy()
        return found

    return logits


def tflite_logits(content: bytes) -> Logits:
    """A model for LiteRT, a picture at a time, on all cores that may be used."""
    interpreter = _interpreter(content)
    (takes,), (gives,) = interpreter.get_input_details(), interpreter.get_output_details()

    def logits(pictures: Array) -> Array:
        found = []
        for picture in pictures:
            interpreter.set_tensor(takes["index"], picture[np.newaxis])
            interpreter.invoke()
            found.append(interpreter.get_tensor(gives["index"]))
        return np.concatenate(found)

    return logits


def _interpreter(content: bytes) -> Any:
    with _silent(), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that it has a package of its own
        interpreter = tf.lite.Interpreter(model_content=content, num_threads=cores.available())
        interpreter.allocate_tensors()
    return interpreter


@contextmanager
def _silent() -> Iterator[None]:
    """Silence what the converter's C++ writes past Python; its errors are raised."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with tempfile.TemporaryFile() as notes:
            os.dup2(notes.fileno(), 2)
            yield
    finally:
        sys.stderr.flush()
        os.dup2(kept, 2)
        os.close(kept)
