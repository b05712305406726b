"""ONNX files that people exported from elsewhere, read and checked: pictures in, features out."""

from dataclasses import dataclass
from pathlib import Path

import onnx

from thaw.core.errors import ThawError, of_the_machine, reason, shortlist

OLDEST = 11  # of ONNX's sets of operators


@dataclass(frozen=True)
class Layout:
    """How a model takes pictures, and which of its outputs are the features."""

    source: str  # its input
    features: str  # its output
    channels_first: bool  # (N, 3, S, S), else (N, S, S, 3)
    fixed: bool  # takes one picture at a time, else any number


def read(path: Path, image_size: int, output: str | int | None) -> tuple[onnx.ModelProto, Layout]:
    """A model, and how it takes pictures of that size.

    Args:
        path: of the file.
        image_size: height and width in pixels.
        output: the name of the one to take; None where there is one.

    Raises:
        ThawError: when it isn't a model that takes such pictures, saying what would be right.
    """
    place = f"params.yaml: base_model: {path}"
    try:
        model = onnx.load(path, load_external_data=False)
        if not model.graph.node:
            raise ValueError("it holds no network")
    except Exception as error:  # onnx and protobuf raise what bad bytes make of their code
        if of_the_machine(error):
            raise
        raise ThawError(f"{place}: not a model in ONNX ({reason(error)})") from None
    if any(each.data_location == onnx.TensorProto.EXTERNAL for each in model.graph.initializer):
        raise ThawError(
            f"{place}: it keeps its numbers in other files; write it as one, by onnx.save(onnx.load"
            "(path), path) in Python"
        )
    version = operators(model)
    if version < OLDEST:
        raise ThawError(f"{place}: it is of opset {version}; export it with {OLDEST} or later")
    arrays = {each.name for each in model.graph.initializer}
    inputs = [each for each in model.graph.input if each.name not in arrays]
    if len(inputs) != 1:
        names = shortlist([each.name for each in inputs])
        raise ThawError(f"{place}: it takes {names}; export one that takes pictures alone")
    (source,) = inputs
    kind = source.type.tensor_type.elem_type
    if kind != onnx.TensorProto.FLOAT:
        name = onnx.TensorProto.DataType.Name(kind).lower()
        raise ThawError(f"{place}: it takes numbers of {name}; export it in float32")
    shape = [d.dim_value or None for d in source.type.tensor_type.shape.dim]
    if len(shape) != 4 or 3 not in (shape[1], shape[3]):
        shown = " x ".join(str(length or "any") for length in shape)
        raise ThawError(
            f"{place}: it takes {shown}; export one that takes pictures, N x 3 x S x S or "
            "N x S x S x 3"
        )
    first = shape[1] == 3
    sides = shape[2:] if first else shape[1:3]
    if any(side not in (None, image_size) for side in sides):
        wanted = f"give {sides[0]}" if len({*sides}) == 1 else "export it for squares"
        shown = " x ".join(str(side) for side in sides)
        raise ThawError(
            f"params.yaml: image_size: {image_size}: {path} takes pictures of {shown} pixels; "
            f"{wanted}"
        )
    if shape[0] not in (None, 1):
        raise ThawError(
            f"{place}: it takes {shape[0]} pictures at a time; export it for one, or any number"
        )
    return model, Layout(source.name, _features(model, output, path), first, shape[0] == 1)


def operators(model: onnx.ModelProto) -> int:
    """The version of ONNX's own set of operators that a model is of."""
    return max((each.version for each in model.opset_import if not each.domain), default=0)


def _features(model: onnx.ModelProto, output: str | int | None, path: Path) -> str:
    names: list[str] = [each.name for each in model.graph.output]
    if output is None and len(names) == 1:
        return names[0]
    if output in names:
        return str(output)
    told = f"{path} gives {shortlist(names)}"
    if output is None:
        raise ThawError(f"params.yaml: feature_layer: null: {told}; give one of them")
    raise ThawError(f"params.yaml: feature_layer: {output}: {told}; give one of them, or null")
