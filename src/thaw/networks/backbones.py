"""Base models, of `keras.applications` or ours: layers, preprocessing and freeze boundary."""

import thaw.networks.quiet  # noqa: F401

import importlib
import math
import warnings
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import h5py
import keras

from thaw.core import consistency, graphs
from thaw.core.errors import ThawError, of_the_machine, reason
from thaw.networks import efficientnet_lite, private, scratch

# How each family wants its pictures: the `mode` of keras.applications.imagenet_utils.
# None: the network has its preprocessing inside.
_PREPROCESSING = {
    "convnext": None,
    "densenet": "torch",
    "efficientnet": None,
    "efficientnet_v2": None,
    "inception_resnet_v2": "tf",
    "inception_v3": "tf",
    "mobilenet": "tf",
    "mobilenet_v2": "tf",
    "mobilenet_v3": None,
    "nasnet": "tf",
    "resnet": "caffe",
    "resnet_v2": "tf",
    "vgg16": "caffe",
    "vgg19": "caffe",
    "xception": "tf",
}
_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)
_CAFFE_MEAN = (103.939, 116.779, 123.68)  # blue, green, red


def names() -> dict[str, str]:
    """Each network of `keras.applications`, by name, and the module there that has it."""
    found = {
        name: module
        for module in _PREPROCESSING
        for name in vars(importlib.import_module(f"keras.applications.{module}"))
        if name[0].isupper()
    }
    # Keras leaves these two out of their module.
    return found | {"MobileNetV3Small": "mobilenet_v3", "MobileNetV3Large": "mobilenet_v3"}


def build(
    name: str,
    image_size: int | None,
    weights: str | None = None,
    options: scratch.Options = scratch.DEFAULT,
) -> keras.Model:
    """The base model of that name, without its classification layers.

    Args:
        name: such as "MobileNetV2".
        image_size: height and width in pixels; None for any.
        weights: "imagenet" to download them, None for random ones. The layers are the same.
        options: of a network of ours.

    Raises:
        ThawError: when there is no such network, it can't take pictures that small, or has no such
            options.
    """
    private.number_layers_anew()
    consistency.check_options(name, asdict(options))
    if name in scratch.NAMES:
        return scratch.build(name, image_size, options)
    if name in efficientnet_lite.SCALES:
        return efficientnet_lite.build(name, image_size)
    known = names()
    if name not in known:
        raise graphs.unknown(name, [*known, *graphs.OWN], "params.yaml: base_model")
    create: Callable[..., keras.Model] = getattr(keras.applications, name)
    shape = (image_size, image_size, 3)
    try:
        base = create(include_top=False, weights=weights, input_shape=shape)
    except ValueError as error:
        if weights is not None:
            build(name, image_size, options=options)  # refuses the size, if that is what's wrong
            raise
        raise ThawError(
            f"params.yaml: image_size: {image_size}: {name} can't be built at that size "
            f"({reason(error)}); give a larger one"
        ) from None
    if known[name] == "efficientnet" and weights is None:
        base = _as_pretrained(base)
    if known[name] == "convnext":
        base = _with_depthwise(base)
    # The name is given here, since EfficientNetV2 chooses its blocks by its argument `name`.
    return keras.Model(base.input, base.output, name=name)


def _as_pretrained(base: keras.Model) -> keras.Model:
    """An EfficientNet with the layer that Keras adds for `weights="imagenet"` alone.

    After x -> (x - mean) / sqrt(variance) that layer divides by sqrt(std). Until pretrained weights
    are loaded it does nothing: here variance is 1 / std.
    """
    scale = [1 / math.sqrt(std) for std in _IMAGENET_STD]

    def call(layer: keras.Layer, *args: object, **kwargs: object) -> keras.KerasTensor:
        maps = layer(*args, **kwargs)
        if isinstance(layer, keras.layers.Normalization):
            return keras.layers.Rescaling(scale)(maps)
        return maps

    pictures = keras.Input(base.input_shape[1:], name=base.layers[0].name)
    whole = keras.models.clone_model(base, pictures, call_function=call)
    whole.set_weights(base.get_weights())
    _undo_rescaling(whole)
    return whole


def _undo_rescaling(base: keras.Model) -> None:
    """Give an EfficientNet the variance with which it computes what it would without that layer."""
    (norm,) = (layer for layer in base.layers if isinstance(layer, keras.layers.Normalization))
    norm.adapt_variance.assign(norm.adapt_variance / keras.ops.array(_IMAGENET_STD))
    norm.finalize_state()


def _with_depthwise(base: keras.Model) -> keras.Model:
    """A ConvNeXt with depthwise convolutions in place of Keras's grouped ones, which they equal.

    TensorFlow has no grouped convolution on a CPU. Keras has XLA compile one, which takes long and
    leaves an operator that ONNX lacks.
    """

    def clone(layer: keras.Layer) -> keras.Layer:
        if isinstance(layer, keras.layers.Conv2D) and layer.groups > 1:
            return keras.layers.DepthwiseConv2D(
                layer.kernel_size, padding=layer.padding, name=layer.name
            )
        return layer.__class__.from_config(layer.get_config())

    pictures = keras.Input(base.input_shape[1:], name=base.layers[0].name)
    whole = keras.models.clone_model(base, pictures, clone)
    _copy_grouped(base, whole)
    return whole


def _copy_grouped(source: keras.Model, target: keras.Model) -> None:
    """Weights of Keras's ConvNeXt to ours: kernels (H, W, 1, C) become (H, W, C, 1)."""
    target.set_weights(
        [
            value if value.shape == variable.shape else value.swapaxes(2, 3)
            for value, variable in zip(source.get_weights(), target.weights, strict=True)
        ]
    )


def load_weights(base: keras.Model, path: Path, remedy: str = "run `dvc repro -f weights`") -> None:
    """Read a `.weights.h5` file into a base model.

    A file of Keras's own ConvNeXt is one too. An EfficientNet's may be of Keras's network for
    `weights="imagenet"` or of the other: what the model then computes is the same.

    Raises:
        ThawError: when it holds other things, and then the model's weights are of no use.
    """
    if not path.is_file():
        raise ThawError(f"{path}: no such file; {remedy}")
    family = names().get(base.name)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # one for each part that isn't there
            if family == "convnext" and not _holds(path, "depthwise_conv2d"):
                plain = getattr(keras.applications, base.name)(
                    include_top=False, weights=None, input_shape=base.input_shape[1:]
                )
                plain.load_weights(path)
                _copy_grouped(plain, base)
            else:
                base.load_weights(path)
        if family == "efficientnet" and not _holds(path, "rescaling_1"):
            _undo_rescaling(base)
    except Exception as error:  # Keras and h5py raise what bad bytes make of their code
        if of_the_machine(error):
            raise
        raise ThawError(
            f"{path}: not weights of {base.name} without its top ({reason(error)}); {remedy}"
        ) from None


def _holds(path: Path, layer: str) -> bool:
    """Whether a `.weights.h5` file has a layer of that name, as Keras numbers them by kind."""
    with h5py.File(path) as file:
        return layer in file["layers"]


def load(
    name: str,
    image_size: int,
    weights: Path,
    feature_layer: str | int | None = None,
    options: scratch.Options = scratch.DEFAULT,
) -> keras.Model:
    """The base model with weights of a `.weights.h5` file, cut at a layer; None for the whole.

    Raises:
        ThawError: as `build`, `load_weights` and `cut` do.
    """
    base = build(name, image_size, options=options)
    load_weights(base, weights)
    return base if feature_layer is None else cut(base, feature_layer)


def cut(base: keras.Model, feature_layer: str | int) -> keras.Model:
    """The network up to a layer, with its name; layers are shared and keep their indices.

    Raises:
        ThawError: when there is no such layer, or not everything passes through it.
    """
    kinds = [type(layer).__name__ for layer in base.layers]
    graph = graphs.Graph(base.name, layer_names(base), kinds, bottlenecks(base))
    index = graphs.cut(graph, feature_layer, "params.yaml: feature_layer")
    return keras.Model(base.input, base.layers[index].output, name=base.name)


def preprocess(name: str, pictures: keras.KerasTensor) -> keras.KerasTensor:
    """Append the layers that turn (N, H, W, 3) pixels from 0 to 255 into what the network wants.

    Equal to the network's own `preprocess_input` (0 to 1 for ours), as layers, so that a saved
    model has them inside.
    """
    if name in scratch.NAMES:
        return keras.layers.Rescaling(1 / 255, name="preprocessing")(pictures)
    if name in efficientnet_lite.SCALES:
        centre, spread = efficientnet_lite.CENTRE, efficientnet_lite.SPREAD
        return keras.layers.Rescaling(1 / spread, -centre / spread, name="preprocessing")(pictures)
    mode = _PREPROCESSING[names()[name]]
    if mode == "tf":
        return keras.layers.Rescaling(1 / 127.5, offset=-1.0, name="preprocessing")(pictures)
    if mode == "torch":
        scale = [1 / 255 / std for std in _IMAGENET_STD]
        offset = [-mean / std for mean, std in zip(_IMAGENET_MEAN, _IMAGENET_STD, strict=True)]
        return keras.layers.Rescaling(scale, offset=offset, name="preprocessing")(pictures)
    if mode == "caffe":
        flipped = keras.ops.take(pictures, [2, 1, 0], axis=-1)
        offset = [-mean for mean in _CAFFE_MEAN]
        return keras.layers.Rescaling(1.0, offset=offset, name="preprocessing")(flipped)
    return pictures


def layer_index(
    base: keras.Model, layer: int | str, place: str, feature_layer: str | None = None
) -> int:
    """The index of a layer given by index or name.

    Args:
        base: the network.
        layer: its index or name.
        place: the parameter's name, for the error.
        feature_layer: where the network was cut, for the error.

    Raises:
        ThawError: when the network has no such layer.
    """
    return graphs.index(base.name, layer_names(base), layer, f"params.yaml: {place}", feature_layer)


def layer_names(base: keras.Model) -> list[str]:
    """In order."""
    return [layer.name for layer in base.layers]


def bottlenecks(base: keras.Model) -> list[int]:
    """Indices of the layers through which everything passes, the input's among them.

    `base.operations`, the layers and what is computed between them, is in topological order, so a
    layer is one exactly when no connection leads from before it to after it: any path around it
    would have to make that jump.
    """
    position = {id(operation): place for place, operation in enumerate(base.operations)}
    reach = [0] * len(position)  # the furthest operation that takes this one's output
    for node in private.nodes(base):
        target = position[id(node.operation)]
        for parent in node.parent_nodes:
            source = position[id(parent.operation)]
            reach[source] = max(reach[source], target)
    found = []
    index = furthest = 0
    for operation, last in zip(base.operations, reach, strict=True):
        if isinstance(operation, keras.layers.Layer):
            if furthest <= position[id(operation)]:
                found.append(index)
            index += 1
        furthest = max(furthest, last)
    return found


def boundary(base: keras.Model, at: int) -> int:
    """The deepest layer at or below `at` through which everything passes.

    What it outputs for a picture stays the same while only layers above it are trained, so it can
    be cached. For MobileNetV2, 100 (inside a residual block) gives 97, `block_10_project_BN`.
    """
    return max(index for index in bottlenecks(base) if index <= at)


def blocks(base: keras.Model) -> list[int]:
    """Indices of the layers that end a block: merges and poolings that everything passes, and the
    last layer. For MobileNetV2 ten residual additions and `out_relu`; for a ConvNeXt, whose
    additions are no layers, its stem and downsamplings, each a small model, and the last layer.
    """
    ends = (
        keras.layers.Add,
        keras.layers.Concatenate,
        keras.layers.MaxPooling2D,
        keras.layers.AveragePooling2D,
        keras.Sequential,
    )
    last = len(base.layers) - 1
    return [i for i in bottlenecks(base) if i == last or isinstance(base.layers[i], ends)]


def with_blocks(base: keras.Model) -> keras.Model:
    """The same network, layers shared, with the output of every block instead of the last alone."""
    outputs = [base.layers[index].output for index in blocks(base)]
    return keras.Model(base.input, outputs, name=base.name)


def above(base: keras.Model, index: int) -> keras.Model:
    """The part above a bottleneck layer, to those of the network's outputs that lie there.

    Layers and weights are shared.
    """
    position = {id(operation): place for place, operation in enumerate(base.operations)}
    start = position[id(base.layers[index])]
    outputs = [o for o in base.outputs if position[id(private.operation(o))] > start]
    return keras.Model(base.layers[index].output, outputs, name="above")


def freeze_below(
    base: keras.Model, fine_tune_at: int | None, *, scales_alone: bool = False
) -> None:
    """Freeze the layers below index `fine_tune_at`, thaw the others; None freezes all.

    Args:
        base: the network.
        fine_tune_at: the first layer to thaw.
        scales_alone: thaw of the others those alone that scale each channel by itself:
            normalisations and depthwise convolutions.
    """
    base.trainable = fine_tune_at is not None
    # On a loaded model this leaves layers frozen that were saved frozen, so set each layer, too.
    for index, layer in enumerate(base.layers):
        thawed = fine_tune_at is not None and index >= fine_tune_at
        layer.trainable = thawed and (not scales_alone or type(layer).__name__ in graphs.SCALING)
