"""The layers above the cache as they train fastest: folded, and multiplied in fewer digits.

BatchNormalization in inference mode is folded into the convolution before it. Convolutions can be
computed with bfloat16's 8 digits, which newer processors and GPUs multiply several times as fast
(Kalamkar et al. 2019, arXiv:1905.12322). All else, the variables, what is added up, and depthwise
convolutions, which memory bounds, stays in float32.
"""

import thaw.networks.quiet  # noqa: F401

import itertools
import operator
from collections.abc import Callable

import keras
import tensorflow as tf
from keras import layers, ops

from thaw.networks import private
from thaw.networks.backbones import above

FLOAT32, BFLOAT16 = "float32", "bfloat16"  # how many digits convolutions are computed with


class FoldedConvolution(layers.Layer):
    """A convolution and the BatchNormalization after it as one convolution with a bias.

    In inference mode BatchNormalization is `gamma (y - mean) / sqrt(variance + epsilon) + beta`
    with y = conv(x, kernel) + bias, so with s = gamma / sqrt(variance + epsilon) it equals
    conv(x, s kernel) + s (bias - mean) + beta. The variables are those of the two layers, and the
    gradients reach them through s: the training is the same function of the same variables, with
    one pass over the feature map instead of several.
    """

    def __init__(
        self, convolution: layers.Layer, norm: layers.BatchNormalization, precision: str = FLOAT32
    ) -> None:
        super().__init__(name=f"{convolution.name}_{norm.name}_folded")
        self.convolution = convolution
        self.norm = norm
        self.precision = precision
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
        shape = _shape(convolution)
        if isinstance(convolution, layers.DepthwiseConv2D):
            kernel = convolution.kernel
            kernel = kernel * ops.reshape(scale, (1, 1, kernel.shape[2], kernel.shape[3]))
            outputs = ops.depthwise_conv(inputs, kernel, **shape)
        elif isinstance(convolution, layers.SeparableConv2D) and self.precision != FLOAT32:
            maps = ops.depthwise_conv(inputs, convolution.depthwise_kernel, **shape)
            return _product(maps, convolution.pointwise_kernel, scale, bias, self.precision)
        elif isinstance(convolution, layers.SeparableConv2D):
            outputs = ops.separable_conv(
                inputs, convolution.depthwise_kernel, convolution.pointwise_kernel * scale, **shape
            )
        elif norm.trainable and not convolution.trainable:
            # The kernel needs no gradient, and that of the scales is a sum, no convolution.
            return self._convolve(inputs, convolution.kernel) * scale + bias
        elif _is_product(convolution):
            return _product(inputs, convolution.kernel, scale, bias, self.precision)
        else:
            outputs = self._convolve(inputs, convolution.kernel * scale)
        return tf.nn.bias_add(outputs, bias)

    def _convolve(self, inputs: keras.KerasTensor, kernel: tf.Tensor) -> tf.Tensor:
        return _convolve(inputs, kernel, self.convolution, self.precision)


class RoundedConvolution(layers.Layer):
    """A convolution computed with bfloat16's digits, its bias and activation in float32."""

    def __init__(self, convolution: layers.Conv2D) -> None:
        super().__init__(name=f"{convolution.name}_rounded")
        self.convolution = convolution
        self.built = True

    def call(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        convolution = self.convolution
        outputs = _convolve(inputs, convolution.kernel, convolution, BFLOAT16)
        if convolution.use_bias:
            outputs = tf.nn.bias_add(outputs, convolution.bias)
        return convolution.activation(outputs)


def _shape(convolution: layers.Layer) -> dict[str, object]:
    """How the kernel moves, as `keras.ops` takes it."""
    return {
        "strides": convolution.strides,
        "padding": convolution.padding,
        "dilation_rate": convolution.dilation_rate,
        "data_format": "channels_last",
    }


def _convolve(
    inputs: keras.KerasTensor, kernel: tf.Tensor, convolution: layers.Layer, precision: str
) -> tf.Tensor:
    if precision == FLOAT32 or not rounds(convolution):
        return ops.conv(inputs, kernel, **_shape(convolution))

    def convolve(maps: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        strides, padding = convolution.strides, convolution.padding.upper()
        return _convolution(maps, kernel, [1, *strides, 1], padding)

    return _rounded(convolve, inputs, kernel, precision)


def _convolution(maps: tf.Tensor, kernel: tf.Tensor, strides: list[int], padding: str) -> tf.Tensor:
    """A convolution whose kernel's gradient is one product of matrices for each of its places.

    TensorFlow's own, of bfloat16, takes twice as long as the convolution itself.
    """
    how = {"strides": strides, "padding": padding}

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def convolve(
        maps: tf.Tensor, kernel: tf.Tensor
    ) -> tuple[tf.Tensor, Callable[[tf.Tensor], list[tf.Tensor]]]:
        def gradients(above: tf.Tensor) -> list[tf.Tensor]:
            below = tf.raw_ops.Conv2DBackpropInput(
                input_sizes=tf.shape(maps), filter=kernel, out_backprop=above, **how
            )
            return [below, _kernel_gradient(maps, kernel.shape, above, strides, padding)]

        return tf.nn.conv2d(maps, kernel, **how), gradients

    outputs: tf.Tensor = convolve(maps, kernel)
    return outputs


def _kernel_gradient(
    maps: tf.Tensor, shape: tf.TensorShape, above: tf.Tensor, strides: list[int], padding: str
) -> tf.Tensor:
    """The gradient by a convolution's kernel, (height, width, channels in, out)."""
    sizes, channels, outputs = shape[:2], shape[2], shape[3]
    steps, ends, edges = strides[1:3], [], [[0, 0]]
    for size, step, there, out in zip(sizes, steps, maps.shape[1:3], above.shape[1:3], strict=True):
        ends.append((out - 1) * step + 1)
        missing = max(ends[-1] + size - 1 - there, 0) if padding == "SAME" else 0
        edges.append([missing // 2, missing - missing // 2])
    padded = tf.pad(maps, [*edges, [0, 0]])
    rows = tf.reshape(above, (-1, outputs))
    products = []
    for place in itertools.product(*map(range, sizes)):
        spans = zip(place, ends, steps, strict=True)
        down, right = (slice(at, at + end, step) for at, end, step in spans)
        seen = tf.reshape(padded[:, down, right], (-1, channels))
        products.append(tf.matmul(seen, rows, transpose_a=True))
    return tf.reshape(tf.stack(products), shape)


def _rounded(
    multiply: Callable[[tf.Tensor, tf.Tensor], tf.Tensor],
    one: tf.Tensor,
    other: tf.Tensor,
    precision: str,
) -> tf.Tensor:
    """A product, and so its gradients, of factors that are rounded to a precision."""
    if precision == FLOAT32:
        return multiply(one, other)
    return ops.cast(multiply(ops.cast(one, precision), ops.cast(other, precision)), FLOAT32)


def _is_product(convolution: layers.Layer) -> bool:
    """Whether a convolution sees one pixel at a time."""
    return (
        type(convolution) is layers.Conv2D
        and tuple(convolution.kernel_size) == tuple(convolution.strides) == (1, 1)
        and convolution.groups == 1
    )


def _product(
    inputs: keras.KerasTensor,
    kernel: keras.Variable,
    scale: tf.Tensor,
    bias: tf.Tensor,
    precision: str,
) -> tf.Tensor:
    """A convolution of 1 x 1 as a product of matrices, which TensorFlow has faster kernels for."""
    _, height, width, channels = inputs.shape
    outputs = kernel.shape[-1]
    rows = tf.reshape(inputs, (-1, channels))
    matrix = tf.reshape(kernel, (channels, outputs)) * scale
    product = _rounded(operator.matmul, rows, matrix, precision)
    return tf.reshape(tf.nn.bias_add(product, bias), (-1, height, width, outputs))


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


def rounds(layer: layers.Layer) -> bool:
    """Whether a convolution over all channels can be computed with fewer digits here."""
    return (
        type(layer) is layers.Conv2D
        and layer.groups == max(layer.dilation_rate) == 1
        and layer.data_format == "channels_last"
    )


def folded_above(
    base: keras.Model, index: int, precision: str = FLOAT32, *, training_mode: bool = False
) -> keras.Model:
    """The part of the network above a bottleneck layer, as `backbones.above`, but folded.

    Variables are shared with `base`.

    Args:
        base: the network.
        index: of the bottleneck layer.
        precision: of convolutions, float32 or bfloat16.
        training_mode: whether layers follow the model's mode, so that none can be folded. Else all
            stay in inference mode.
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
        foldable = not training_mode and uses.get(id(output)) == 1 and following is not None
        if foldable and folds(layer, following):
            waiting[id(output)] = (layer, values[id(first)])
        elif id(first) in waiting:
            convolution, source = waiting.pop(id(first))
            values[id(output)] = FoldedConvolution(convolution, layer, precision)(source)
        else:
            args, kwargs = node.arguments.fill_in(values)
            if private.takes_training(layer) and not training_mode:
                kwargs.pop("training", None)
                layer = InInferenceMode(layer)
            elif precision != FLOAT32 and rounds(layer):
                layer = RoundedConvolution(layer)
            values[id(output)] = layer(*args, **kwargs)
    return keras.Model(inputs, [values[id(tensor)] for tensor in part.outputs], name="folded")
