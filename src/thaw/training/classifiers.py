"""Whole classifiers, pictures in, logits out, and the parts of them that are trained."""

import thaw.networks.quiet  # noqa: F401

from collections.abc import Sequence

import keras

from thaw.networks import backbones, private
from thaw.networks.pooling import averages_and_maxima, pool
from thaw.training import folding, heads, loop

FOLLOWED = 5  # statistics forget the batches of a fifth of an epoch ago


def classifier(
    base: keras.Model, head: Sequence[keras.Layer], pooling: str, image_size: int
) -> keras.Model:
    """Join base model and head: (N, S, S, 3) pixels from 0 to 255 in, (N, 1 or classes) logits out.

    Preprocessing is inside. To train it further elsewhere, freeze its BatchNormalization layers:
    Keras's `fit` runs thawed ones in training mode. Thaw itself trains `top`.
    """
    pictures = keras.Input((image_size, image_size, 3), name="picture")
    maps = base(backbones.preprocess(base.name, pictures), training=False)
    logits = heads.apply(head, pool(pooling, _listed(maps)))
    return keras.Model(pictures, logits, name="classifier")


def with_features(classifier: keras.Model) -> keras.Model:
    """A classifier that gives its logits and the features that its head reads, (N, D).

    Where the head reads maps as they are, flattened, the features are their averages.
    """
    first = heads.of(classifier)[0]
    (read,) = (
        node.input_tensors[0] for node in private.nodes(classifier) if node.operation is first
    )
    before = private.operation(read)
    if isinstance(before, keras.layers.Flatten):
        read = keras.ops.mean(before.input, axis=(1, 2))
    return keras.Model(classifier.inputs, [classifier.output, read], name=classifier.name)


def on_maps(head: Sequence[keras.Layer], pooling: str, shape: Sequence[int]) -> keras.Model:
    """The head on (N, H, W, C) feature maps, which an ONNX file's network gives."""
    maps = keras.Input(tuple(shape), name="maps")
    return keras.Model(maps, heads.apply(head, pool(pooling, [maps])), name="head_on_maps")


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
    precision: str = folding.FLOAT32,
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
        precision: of the base model's convolutions, float32 or bfloat16.
    """

    def above(base: keras.Model, index: int) -> keras.Model:
        if training_mode and precision == folding.FLOAT32:
            return backbones.above(base, index)
        return folding.folded_above(base, index, precision, training_mode=training_mode)

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
    logits = heads.apply(heads.of(classifier), pool(pooling, _listed(maps), below))
    return keras.Model(inputs, logits, name="top")


def steps(
    top: keras.Model, base: keras.Model, decay: float, *, centralize: bool
) -> list[loop.Step]:
    """How steps of the base model's thawed variables differ from the head's.

    Rates fall with depth: by `decay` to the power of the blocks from the layer to the head, itself
    among them. Layers near the pictures are the most general, and change the least.

    Steps of convolutions' kernels can be centred: what a step adds to the weights of one output has
    the mean 0. Activations are positive after a ReLU, so that a step whose numbers have one sign
    shifts the output of every picture, and the BatchNormalization behind it, in inference mode,
    passes that on, enlarged. The head knows no such pictures, and the loss leaps. (Yong et al.
    2020, arXiv:2004.01461, centre gradients likewise.)

    Args:
        top: what is trained.
        base: its base model.
        decay: 0 to 1.
        centralize: whether to centre.
    """
    if decay == 1 and not centralize:
        return []
    ends = backbones.blocks(base)
    found = {}
    for index, layer in enumerate(base.layers):
        rate = decay ** sum(end >= index for end in ends)
        for variable in layer.trainable_variables:
            found[variable.path] = rate, _fan_in(layer, variable) if centralize else ()
    return [
        loop.Step(variable, *found[variable.path])
        for variable in top.trainable_variables
        if variable.path in found
    ]


def _fan_in(layer: keras.Layer, variable: keras.Variable) -> tuple[int, ...]:
    """The axes of a kernel that are summed over for one output; none of other variables."""
    kernel = len(variable.shape) > 1 and "kernel" in variable.name
    if not kernel:
        return ()
    each = isinstance(layer, keras.layers.DepthwiseConv2D) or "depthwise" in variable.name
    last = 2 if each else 1  # a depthwise kernel's outputs are its channels, each times so many
    return tuple(range(len(variable.shape) - last))


def fit_momentum(base: keras.Model, steps: int, epochs: int) -> None:
    """Let moving statistics of thawed BatchNormalization follow within an epoch of so many steps.

    Keras's MobileNetV2 has a momentum of 0.999. In a few hundred steps its statistics would stay
    those of other pictures, and the model that is shipped computes with them. A momentum that
    forgets within a fifth of the training stays as it is.
    """
    for layer in base.layers:
        if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable:
            remembered = 1 / (1 - layer.momentum)  # steps
            if remembered > epochs * steps / FOLLOWED:
                layer.momentum = max(0.5, 1 - FOLLOWED / steps)


def bottom(classifier: keras.Model, base: keras.Model, boundary: int) -> keras.Model:
    """A classifier's part up to a layer: pictures to what `top` above that layer takes."""
    pictures = keras.Input(classifier.input_shape[1:], name="picture")
    read = [base.layers[boundary].output, *_outputs_below(base, boundary)]
    cached, *maps = _listed(
        keras.Model(base.input, read)(backbones.preprocess(base.name, pictures), training=False)
    )
    if not maps:
        return keras.Model(pictures, [cached])
    return keras.Model(pictures, [cached, averages_and_maxima(maps)])


def width_below(base: keras.Model, boundary: int) -> int:
    """The sum of channels of the network's outputs at or below a layer, which stay constant."""
    return sum(output.shape[-1] for output in _outputs_below(base, boundary))


def _outputs_below(base: keras.Model, boundary: int) -> list[keras.KerasTensor]:
    outputs: list[keras.KerasTensor] = base.outputs
    return outputs[: len(outputs) - len(backbones.above(base, boundary).outputs)]


def _listed(maps: keras.KerasTensor | list[keras.KerasTensor]) -> list[keras.KerasTensor]:
    return maps if isinstance(maps, list) else [maps]
