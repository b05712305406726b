"""A frozen network from an ONNX file, from pixels to feature maps, and what is put on top of it."""

import thaw.networks.quiet  # noqa: F401

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import onnx
import onnx.compose
import onnx.helper
import onnx.numpy_helper
import onnx.version_converter
import onnxruntime
from numpy.typing import NDArray

from thaw.core.errors import ThawError, of_the_machine, reason
from thaw.files import onnx_files
from thaw.networks.onnx_export import add_metadata, to_onnx

PICTURE, MAPS = "thaw/picture", "thaw/maps"
EXPORTED = 18  # the newest set of operators that tf2onnx writes


def prepare(
    path: Path,
    image_size: int,
    output: str | int | None,
    mean: Sequence[float],
    std: Sequence[float],
) -> bytes:
    """The file's network from (N, S, S, 3) pixels, 0 to 255, to (N, H, W, C) feature maps.

    A vector (N, D) counts as maps of one place, a list of tokens (N, T, D) as a column of T.

    Args:
        path: of the file.
        image_size: height and width in pixels.
        output: the name of the output that gives the features; None where it has one.
        mean: of red, green and blue, and
        std: their deviations: the network takes (pixels / 255 - mean) / std.

    Raises:
        ThawError: when the file isn't such a network, or ONNX Runtime can't run it.
    """
    model, layout = onnx_files.read(path, image_size, output)
    shape = (1, 3, image_size, image_size) if layout.channels_first else (1, *[image_size] * 2, 3)
    try:
        runtime = onnxruntime.InferenceSession(
            model.SerializeToString(), _quiet(), providers=["CPUExecutionProvider"]
        )
        (found,) = runtime.run([layout.features], {layout.source: np.zeros(shape, np.float32)})
    except Exception as error:  # ONNX Runtime's errors have no common class
        if of_the_machine(error):
            raise
        raise ThawError(
            f"params.yaml: base_model: {path}: ONNX Runtime can't run it ({reason(error)})"
        ) from None
    graph = model.graph
    scale = 1 / (255 * np.asarray(std, np.float64))
    offset = -np.asarray(mean, np.float64) / std
    before = _nodes(
        ("Mul", [PICTURE, _constant(graph, "scale", scale.astype(np.float32))], {}),
        ("Add", [..., _constant(graph, "offset", offset.astype(np.float32))], {}),
        ("Transpose", [...], {"perm": [0, 3, 1, 2] if layout.channels_first else [0, 1, 2, 3]}),
        result=layout.source,
    )
    maps, after = _to_maps(graph, layout, found)
    nodes = [*before, *graph.node, *after]
    del graph.node[:], graph.input[:], graph.output[:], model.metadata_props[:]
    graph.node.extend(nodes)
    count = 1 if layout.fixed else "n"
    kind = onnx.TensorProto.FLOAT
    sides = [image_size, image_size, 3]
    graph.input.append(onnx.helper.make_tensor_value_info(PICTURE, kind, [count, *sides]))
    graph.output.append(onnx.helper.make_tensor_value_info(MAPS, kind, [count, *maps]))
    model.ir_version = max(model.ir_version, 8)
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def _to_maps(
    graph: onnx.GraphProto, layout: onnx_files.Layout, found: NDArray[Any]
) -> tuple[tuple[int, ...], list[onnx.NodeProto]]:
    """The shape (H, W, C) of what a network gives, and the nodes that bring it there.

    Pictures are squares, and so are maps: the side that differs is the channels'. Where none does,
    they lie as in the input.
    """
    shape = found.shape
    if found.dtype != np.float32 or len(shape) not in (2, 3, 4) or shape[0] != 1:
        raise ThawError(
            f"params.yaml: base_model: output {layout.features} is {found.dtype} of shape "
            f"{' x '.join(map(str, shape))} for one picture; give one of float32: a vector, tokens "
            "or maps"
        )
    if len(shape) < 4:
        maps = (1, 1, shape[1]) if len(shape) == 2 else (shape[1], 1, shape[2])
        target = _constant(graph, "shape", np.array([0, *maps], np.int64))
        return maps, _nodes(("Reshape", [layout.features, target], {}), result=MAPS)
    first = layout.channels_first if len({*shape[1:]}) == 1 else shape[2] == shape[3]
    order = [0, 2, 3, 1] if first else [0, 1, 2, 3]
    maps = (shape[order[1]], shape[order[2]], shape[order[3]])
    return maps, _nodes(("Transpose", [layout.features], {"perm": order}), result=MAPS)


def _constant(graph: onnx.GraphProto, name: str, value: NDArray[Any]) -> str:
    graph.initializer.append(onnx.numpy_helper.from_array(value, f"thaw/{name}"))
    return f"thaw/{name}"


def _nodes(
    *chain: tuple[str, list[Any], Mapping[str, object]], result: str
) -> list[onnx.NodeProto]:
    """Operators one after the other; an ellipsis stands for what the one before gives."""
    made: list[onnx.NodeProto] = []
    for place, (kind, inputs, options) in enumerate(chain):
        read = [made[-1].output[0] if name is ... else name for name in inputs]
        gives = result if place == len(chain) - 1 else f"thaw/{kind.lower()}"
        made.append(onnx.helper.make_node(kind, read, [gives], **options))
    return made


def _quiet() -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    return options


def save(content: bytes, path: Path) -> None:
    """Keep a prepared network where stage `weights` keeps those of Keras: in an HDF5 file."""
    with h5py.File(path, "w") as file:
        file["onnx"] = np.frombuffer(content, np.uint8)


def load(path: Path) -> bytes:
    """What `save` wrote.

    Raises:
        ThawError: when it is something else.
    """
    try:
        with h5py.File(path) as file:
            return np.asarray(file["onnx"], np.uint8).tobytes()
    except (OSError, KeyError, ValueError, TypeError) as error:
        if of_the_machine(error):
            raise
        raise ThawError(
            f"{path}: not a network of an ONNX file ({reason(error)}); run `dvc repro -f weights`"
        ) from None


def shape(content: bytes) -> tuple[int, int, int]:
    """(H, W, C) of the maps that a prepared network gives."""
    (gives,) = onnx.load_from_string(content).graph.output
    height, width, channels = (d.dim_value for d in gives.type.tensor_type.shape.dim[1:])
    return height, width, channels


def parameters(content: bytes) -> int:
    """How many numbers a prepared network holds."""
    arrays = onnx.load_from_string(content).graph.initializer
    return sum(int(np.prod(each.dims)) for each in arrays)


def join(content: bytes, above: keras.Model, metadata: Mapping[str, object] | None = None) -> bytes:
    """A prepared network and a Keras model that takes its maps, as one ONNX model.

    Args:
        content: the network.
        above: from (N, H, W, C) maps.
        metadata: as for `to_onnx`.
    """
    model = onnx.load_from_string(content)
    version = onnx_files.operators(model)
    top = onnx.load_from_string(to_onnx(above, opset=min(version, EXPORTED)))
    if version > EXPORTED:
        top = onnx.version_converter.convert_version(top, version)
    top = onnx.compose.add_prefix(top, "thaw/head/")
    (taken,) = top.graph.input
    for node in top.graph.node:
        for place, name in enumerate(node.input):
            if name == taken.name:
                node.input[place] = MAPS
    model.graph.node.extend(top.graph.node)
    model.graph.initializer.extend(top.graph.initializer)
    count = model.graph.output[0].type.tensor_type.shape.dim[0]
    del model.graph.output[:]
    for gives in top.graph.output:
        gives.type.tensor_type.shape.dim[0].CopyFrom(count)
    model.graph.output.extend(top.graph.output)
    model.ir_version = max(model.ir_version, top.ir_version)
    add_metadata(model, metadata)
    joined: bytes = model.SerializeToString(deterministic=True)
    return joined
