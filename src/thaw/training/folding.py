"""Convolutions with their inference-mode BatchNormalization folded in, for faster fine-tuning."""

import thaw.networks.quiet  # noqa: F401

import keras
import tensorflow as tf
from keras import layers, ops

from thaw.networks import private
from thaw.networks.backbones import above


class FoldedConvolution(layers.Layer):
    """A convolution and the BatchNormalization after it as one convolution with a bias.

    In inference mode BatchNormalization is `gamma (y - mean) / sqrt(variance + epsilon) + beta`
    with y = conv(x, kernel) + bias, so with s = gamma / sqrt(variance + epsilon) it equals
    conv(x, s kernel) + s (bias - mean) + beta. The variables are those of the two layers, and the
    gradients reach them through s: the training is the same function of the same variables, with
    one pass over the feature map instead of several.
    """

    def __init__(self, convolution: layers.Layer, norm: layers.BatchNormalization) -> None:
        super().__init__(name=f"{convolution.name}_{norm.name}_folded")
        self.convolution = convolution
        self.norm = norm
        self.built = True

    def call(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        convolution, norm = self.convolution, self.norm
        scale = ops.rsqrt(norm.moving_variance + norm.epsilon)
        if norm.scale:
            scale = scale * norm.gamma
        bias = -norm.moving_mean * scale
        if norm.center:
            bias = bias + norm.beta
        if convolution.use_bias:
            bias = bias + convolution.bias * scale
        shape = {
            "strides": convolution.strides,
            "padding": convolution.padding,
            "dilation_rate": convolution.dilation_rate,
            "data_format": "channels_last",
        }
        if isinstance(convolution, layers.DepthwiseConv2D):
            kernel = convolution.kernel
            kernel = kernel * ops.reshape(scale, (1, 1, kernel.shape[2], kernel.shape[3]))
            outputs = ops.depthwise_conv(inputs, kernel, **shape)
        elif isinstance(convolution, layers.SeparableConv2D):
            outputs = ops.separable_conv(
                inputs, convolution.depthwise_kernel, convolution.pointwise_kernel * scale, **shape
            )
        elif norm.trainable and not convolution.trainable:
            # The kernel needs no gradient, and that of the scales is a sum, no convolution.
            return ops.conv(inputs, convolution.kernel, **shape) * scale + bias
        elif _is_product(convolution):
            return _product(inputs, convolution.kernel, scale, bias)
        else:
            outputs = ops.conv(inputs, convolution.kernel * scale, **shape)
        return tf.nn.bias_add(outputs, bias)


def _is_product(convolution: layers.Layer) -> bool:
    """Whether a convolution sees one pixel at a time."""
    return (
        type(convolution) is layers.Conv2D
        and tuple(convolution.kernel_size) == tuple(convolution.strides) == (1, 1)
        and convolution.groups == 1
    )


def _product(
    inputs: keras.KerasTensor, kernel: keras.Variable, scale: tf.Tensor, bias: tf.Tensor
) -> tf.Tensor:
    """A convolution of 1 x 1 as a product of matrices, which TensorFlow has faster kernels for."""
    _, height, width, channels = inputs.shape
    outputs = kernel.shape[-1]
    rows = tf.reshape(inputs, (-1, channels))
    matrix = tf.reshape(kernel, (channels, outputs)) * scale
    return tf.reshape(tf.nn.bias_add(rows @ matrix, bias), (-1, height, width, outputs))


class InInferenceMode(layers.Layer):
    """A layer that stays in inference mode while the model around it trains.

    `fit` would override a `training=False` recorded in a functional model's graph.
    """

    def __init__(self, layer: layers.Layer) -> None:
        super().__init__(name=f"{layer.name}_in_inference_mode")
        self.layer = layer
        self.built = True

    def call(self, *args: keras.KerasTensor, **kwargs: object) -> keras.KerasTensor:
        return self.layer(*args, training=False, **kwargs)


def folds(convolution: layers.Layer, norm: layers.Layer) -> bool:
    """Whether the two layers can be folded into one."""
    return (
        type(convolution) in (layers.Conv2D, layers.DepthwiseConv2D, layers.SeparableConv2D)
        and type(norm) is layers.BatchNormalization
        and convolution.activation is keras.activations.linear
        and convolution.data_format == "channels_last"
        and norm.axis in (-1, 3)
    )


def folded_above(base: keras.Model, index: int) -> keras.Model:
    """The part of the network above a bottleneck layer, as `backbones.above`, but folded.

    Every layer runs in inference mode. Variables are shared with `base`.
    """
    part = above(base, index)
    nodes = list(private.nodes(part))
    uses = {id(tensor): 1 for tensor in part.outputs}
    for node in nodes:
        for tensor in node.input_tensors:
            uses[id(tensor)] = uses.get(id(tensor), 0) + 1
    inputs = keras.Input(part.input_shape[1:], name="cached")
    values: dict[int, keras.KerasTensor] = {id(part.inputs[0]): inputs}
    waiting: dict[int, tuple[layers.Layer, keras.KerasTensor]] = {}  # convolutions to be folded
    consumer = {id(node.input_tensors[0]): node.operation for node in nodes if node.input_tensors}
    for node in nodes:
        if not node.input_tensors:
            continue
        layer, first, output = node.operation, node.input_tensors[0], node.outputs[0]
        following = consumer.get(id(output))
        if uses.get(id(output)) == 1 and following is not None and folds(layer, following):
            waiting[id(output)] = (layer, values[id(first)])
        elif id(first) in waiting:
            convolution, source = waiting.pop(id(first))
            values[id(output)] = FoldedConvolution(convolution, layer)(source)
        else:
            args, kwargs = node.arguments.fill_in(values)
            if private.takes_training(layer):
                kwargs.pop("training", None)
                layer = InInferenceMode(layer)
            values[id(output)] = layer(*args, **kwargs)
    return keras.Model(inputs, [values[id(tensor)] for tensor in part.outputs], name="folded")
