"""What trains: the CPU, a GPU, or several GPUs, each of which takes its part of every batch."""

import thaw.networks.quiet  # noqa: F401

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from thaw.core import gpus
from thaw.core.errors import MachineError
from thaw.core.threads import in_threads

Batch = tuple[Any, NDArray[Any], NDArray[np.float32]]  # inputs, labels, weights of the loss


def check() -> None:
    """Refuse to train on the CPU where there is a GPU that TensorFlow is built for.

    Raises:
        MachineError: when it can't use it.
    """
    if not (tf.test.is_built_with_cuda() and gpus.names()):
        return
    if not tf.config.list_physical_devices("GPU"):
        raise MachineError(
            f"TensorFlow can't use the GPU, {gpus.described()}; NVIDIA's driver must be of version "
            "525 or later; run `make clean venv`, or set CUDA_VISIBLE_DEVICES=-1 for the CPU"
        )


def those() -> list[str]:
    """The GPUs that TensorFlow computes on."""
    return [device.name for device in tf.config.list_logical_devices("GPU")]


def shared() -> AbstractContextManager[Any]:
    """Where a model is built and trained: several GPUs then take part; else nothing changes."""
    found = those()
    if len(found) < 2:
        return nullcontext()
    scope: AbstractContextManager[Any] = _mirrored(*found).scope()
    return scope


@functools.cache  # TensorFlow numbers what devices exchange anew in each, and takes one for another
def _mirrored(*devices: str) -> tf.distribute.Strategy:
    return tf.distribute.MirroredStrategy(devices)


def count() -> int:
    """How many devices share a batch here."""
    replicas: int = tf.distribute.get_strategy().num_replicas_in_sync
    return replicas


def stream(batches: Sequence[Batch]) -> tf.data.Dataset:
    """Batches to train on for several devices; Keras splits each.

    Keras takes a `PyDataset` for that too, but counts a batch that it reads to learn its shape as
    an epoch, and what it has read ahead then comes in the place of others. Pictures count the same
    in a step; the loss that Keras tells of is then a little higher where devices' parts aren't
    alike in size.

    Args:
        batches: inputs, labels and weights of the loss.
    """

    def batch(index: int) -> Batch:
        inputs, labels, weights = batches[index]
        return inputs, labels, weights * part_weights(len(weights), devices)

    def read() -> Iterator[Batch]:
        return in_threads(batch, range(len(batches)), threads=2, ahead=2)

    def spec(array: NDArray[Any]) -> tf.TensorSpec:
        return tf.TensorSpec((None, *array.shape[1:]), array.dtype)

    devices = count()
    signature = keras.tree.map_structure(spec, batches[0])
    found = tf.data.Dataset.from_generator(read, output_signature=signature)
    options = tf.data.Options()
    options.autotune.enabled = False  # an epoch's end would wait for the tuner to wake
    return found.apply(tf.data.experimental.assert_cardinality(len(batches))).with_options(options)


def part_weights(pictures: int, devices: int) -> NDArray[np.float32]:
    """(pictures,) by what to multiply each loss of a batch, so that each counts the same.

    A step takes the mean over devices of the mean over each one's pictures. TensorFlow gives each
    device the same number of pictures, rounded up, and the last ones fewer or none.
    """
    most = -(-pictures // devices)
    sizes = np.minimum(most, pictures - np.arange(0, pictures, most))
    return np.repeat(sizes, sizes).astype(np.float32) * np.float32(devices / pictures)


@contextmanager
def synchronized(model: keras.Model) -> Iterator[None]:
    """Let BatchNormalization normalise by the whole batch, not by each device's part of it."""
    layers = [layer for layer in _inner(model) if type(layer) is keras.layers.BatchNormalization]
    wanted = count() > 1
    for layer in layers:
        layer.synchronized = wanted
    try:
        yield
    finally:
        for layer in layers:
            layer.synchronized = False


def _inner(model: keras.Model) -> Iterator[keras.Layer]:
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _inner(layer)
        else:
            yield layer


def clipped(
    kind: Callable[..., keras.optimizers.Optimizer], norm: float
) -> type[keras.optimizers.Optimizer]:
    """An optimizer that clips the gradient of the whole batch; Keras clips each device's part."""

    class Clipped(kind):  # type: ignore[valid-type,misc]
        def apply(self, grads: Sequence[tf.Tensor], trainable_variables: Any = None) -> None:
            context = tf.distribute.get_replica_context()
            whole = context.all_reduce(tf.distribute.ReduceOp.SUM, list(grads))
            within, _ = tf.clip_by_global_norm(whole, norm)
            parts = [gradient / context.num_replicas_in_sync for gradient in within]
            super().apply(parts, trainable_variables)  # which adds them up

    return Clipped
