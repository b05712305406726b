"""Whole classifiers: pictures in, logits out; saved to the same bytes each time."""

import thaw.quiet  # noqa: F401

import gc
import io
import json
import logging
import re
import tempfile
import warnings
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import onnx
import tensorflow as tf
import tf2onnx

from thaw import backbones, folding, heads
from thaw.errors import ThawError, reason
from thaw.serialize import write_bytes

# tf2onnx goes through sets of nodes and of names, and drops or keeps a Reshape by their order.
# Nodes are ordered by address, unless by name; names by a counter, and by PYTHONHASHSEED.
tf2onnx.graph.Node.__hash__ = lambda node: hash(node.name)
logging.getLogger("tf2onnx").setLevel(logging.CRITICAL)  # it prints what it then works around

MEMBERS = ["config.json", "metadata.json", "model.weights.h5"]
LAYERS = re.compile(  # the modules that a saved network names
    r"keras|keras\.(layers|initializers|regularizers)|keras\.src\.(applications|models|ops)\.\w+"
)


def classifier(
    base: keras.Model, head: Sequence[keras.Layer], pooling: str, image_size: int
) -> keras.Model:
    """Join base model and head: (N, S, S, 3) pixels from 0 to 255 in, (N, 1 or classes) logits out.

    Preprocessing is inside. To train it further elsewhere, freeze its BatchNormalization layers:
    Keras's `fit` runs thawed ones in training mode. Thaw itself trains `top`.
    """
    pictures = keras.Input((image_size, image_size, 3), name="picture")
    maps = base(backbones.preprocess(base.name, pictures), training=False)
    logits = heads.apply(head, heads.pool(pooling, _listed(maps)))
    return keras.Model(pictures, logits, name="classifier")


def head_alone(head: Sequence[keras.Layer], shape: Sequence[int]) -> keras.Model:
    """The head on pooled features of that shape, its layers shared."""
    features = keras.Input(tuple(shape), name="features")
    return keras.Model(features, heads.apply(head, features), name="head")


def top(
    classifier: keras.Model,
    base: keras.Model,
    boundary: int | None,
    pooling: str,
    *,
    training_mode: bool = False,
) -> keras.Model:
    """A classifier's part above a cached layer, to be trained; weights are shared with it.

    Args:
        classifier: the whole.
        base: its base model.
        boundary: index of the cached layer, whose output goes in; None for pictures.
        pooling: of the head.
        training_mode: whether, in `fit`, the base model's thawed BatchNormalization normalises by
            the batch and learns its moving statistics, and its Dropout drops. Else all its layers
            stay in inference mode, and convolutions are folded.
    """
    above = backbones.above if training_mode else folding.folded_above
    inputs: dict[str, keras.KerasTensor] = {}
    below = None
    if boundary is None:
        inputs["pictures"] = keras.Input(classifier.input_shape[1:], name="pictures")
        maps = above(base, 0)(backbones.preprocess(base.name, inputs["pictures"]))
    else:
        shape = base.layers[boundary].output.shape[1:]
        inputs["boundary"] = keras.Input(shape, name="boundary")
        maps = above(base, boundary)(inputs["boundary"])
        if width := width_below(base, boundary):
            below = inputs["below"] = keras.Input((2, width), name="below")
    logits = heads.apply(heads.of(classifier), heads.pool(pooling, _listed(maps), below))
    return keras.Model(inputs, logits, name="top")


def bottom(classifier: keras.Model, base: keras.Model, boundary: int) -> keras.Model:
    """A classifier's part up to a layer: pictures to what `top` above that layer takes."""
    pictures = keras.Input(classifier.input_shape[1:], name="picture")
    read = [base.layers[boundary].output, *_outputs_below(base, boundary)]
    cached, *maps = _listed(
        keras.Model(base.input, read)(backbones.preprocess(base.name, pictures), training=False)
    )
    if not maps:
        return keras.Model(pictures, [cached])
    return keras.Model(pictures, [cached, heads.averages_and_maxima(maps)])


def width_below(base: keras.Model, boundary: int) -> int:
    """Channels, in sum, of the network's outputs at or below a layer: what stays constant there."""
    return sum(output.shape[-1] for output in _outputs_below(base, boundary))


def _outputs_below(base: keras.Model, boundary: int) -> list[keras.KerasTensor]:
    outputs: list[keras.KerasTensor] = base.outputs
    return outputs[: len(outputs) - len(backbones.above(base, boundary).outputs)]


def _listed(maps: keras.KerasTensor | list[keras.KerasTensor]) -> list[keras.KerasTensor]:
    return maps if isinstance(maps, list) else [maps]


def save(model: keras.Model, path: Path) -> None:
    """Save a `.keras` file that plain Keras loads, without clock or counter in it."""
    with tempfile.TemporaryDirectory() as temporary:
        saved = Path(temporary) / "model.keras"
        model.save(saved)
        buffer = io.BytesIO()
        with zipfile.ZipFile(saved) as source, zipfile.ZipFile(buffer, "w") as target:
            for name in sorted(source.namelist()):
                content = source.read(name)
                if name == "metadata.json":
                    metadata = json.loads(content)
                    content = json.dumps({"keras_version": metadata["keras_version"]}).encode()
                elif name == "config.json":
                    content = json.dumps(_canonical_config(json.loads(content))).encode()
                target.writestr(zipfile.ZipInfo(name), content)  # ZipInfo's date is 1980-01-01
    write_bytes(path, buffer.getvalue())


def load(path: Path) -> keras.Model:
    """Load a `.keras` file as `save` writes it: it can hold no code.

    Raises:
        ThawError: when it isn't one.
    """
    try:
        if not path.is_file():
            raise ValueError("no such file")
        with zipfile.ZipFile(path) as opened:
            _check_members(opened.infolist())
            _check_config(json.loads(opened.read("config.json")))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # one for each part that isn't there
            return keras.models.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras, h5py and TensorFlow raise what bad bytes make of their code
        raise ThawError(
            f"{path} is no model that can be loaded ({reason(error)}); "
            "run `dvc repro`, which makes it"
        ) from None


def _check_members(members: Sequence[zipfile.ZipInfo]) -> None:
    """Not packed, so none is larger than its file; and nothing that Keras would unpack to disk."""
    if sorted(member.filename for member in members) != MEMBERS:
        raise ValueError(f"it does not hold just {', '.join(MEMBERS)}")
    if any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise ValueError("its parts are compressed")


def _check_config(config: Any) -> None:
    """Only layers and what they are made of.

    Keras's safe mode refuses code and foreign modules, but finds any function of Keras by name, and
    some of these write files or download.
    """
    if isinstance(config, dict):
        name, module = config.get("class_name"), config.get("module")
        if name == "Lambda" or (
            name not in (None, "__keras_tensor__") and not LAYERS.fullmatch(str(module))
        ):
            raise ValueError(f"it names {module}.{name}, which no model of Thaw's holds")
    for inner in config.values() if isinstance(config, dict) else config:
        if isinstance(inner, dict | list):
            _check_config(inner)


def _canonical_config(config: object) -> object:
    """Number what Keras identifies by memory address (`shared_object_id`) in order instead."""
    numbers: dict[int, int] = {}

    def visit(value: object) -> object:
        if isinstance(value, dict):
            return {
                key: numbers.setdefault(inner, len(numbers))
                if key == "shared_object_id"
                else visit(inner)
                for key, inner in value.items()
            }
        return [visit(inner) for inner in value] if isinstance(value, list) else value

    return visit(config)


def to_onnx(model: keras.Model, metadata: Mapping[str, object] | None = None) -> bytes:
    """The model in ONNX, names and order canonical, so that equal models are equal bytes.

    Args:
        model: one input, any number of outputs.
        metadata: kept in the file as JSON texts, for whoever runs it.

    Raises:
        ThawError: when the network computes something that ONNX has no operator for.
    """
    signature = [tf.TensorSpec(model.inputs[0].shape, tf.float32, name="picture")]
    # Not by Keras's `export`: it does the same, and takes as long again to look for resources.
    function = tf.function(lambda pictures: model(pictures, training=False), signature)
    tf2onnx.utils.INTERNAL_NAME = 1  # the counter
    with _collecting_garbage():
        exported, _ = tf2onnx.convert.from_function(function, signature)
    unknown = {n.op_type for n in exported.graph.node if not onnx.defs.has(n.op_type, n.domain)}
    if unknown:
        names = ", ".join(each.name for each in model.layers if isinstance(each, keras.Model))
        raise ThawError(
            f"params.yaml: base_model: {names or model.name} can't run on ONNX Runtime, which has "
            f"no {' or '.join(sorted(unknown))}; choose another network"
        )
    _make_canonical(exported)
    for key, value in (metadata or {}).items():
        exported.metadata_props.add(key=key, value=json.dumps(value, ensure_ascii=False))
    content: bytes = exported.SerializeToString(deterministic=True)
    return content


@contextmanager
def _collecting_garbage() -> Iterator[None]:
    """Let garbage be found soon, by looking only at what is made inside.

    tf2onnx copies the graph, weights included, for each of its passes, and TensorFlow's many
    older objects would keep Python from looking for the copies (300 MB for MobileNetV2).
    """
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
        gc.collect()


def _make_canonical(exported: onnx.ModelProto) -> None:
    """Rename tensors in order of use: tf2onnx names them by counters and the order of a set."""
    graph = exported.graph
    read = {name for node in graph.node for name in node.input}
    for item in list(graph.input):
        if item.name not in read:  # a constant that was folded
            graph.input.remove(item)
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
