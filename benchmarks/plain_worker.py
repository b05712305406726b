"""Plain Keras's side of the jobs that bench.py has done in turn, with TensorFlow's own settings.

Its argument is how many views of each picture the job `views` computes.
"""

import sys
from collections.abc import Callable
from functools import cache, partial

import keras
import numpy as np
import tensorflow as tf

import plain_keras
from plain_keras import BATCH
from processes import Job, serve

Arrays = tuple[np.ndarray, np.ndarray]
VGG_SIZE = 150
VGG_THAWED_FROM = "block5_conv1"


def in_memory(part: str, size: int = plain_keras.SIZE) -> Arrays:
    """(N, size, size, 3) float32 pictures of a split and their (N,) class numbers."""
    paths, labels = plain_keras.labelled(part)
    pictures = [batch for batch, _ in plain_keras.dataset(paths, labels, size)]
    return np.concatenate(pictures), np.array(labels)


@cache
def frozen() -> keras.Model:
    """Pictures to what the head reads."""
    inputs = keras.Input((plain_keras.SIZE, plain_keras.SIZE, 3))
    return keras.Model(inputs, plain_keras.pooled(plain_keras.mobilenet(), inputs))


def network() -> Job:
    """The frozen network, on pictures in memory."""
    model, train = frozen(), in_memory("train")
    model.predict(few(train)[0], verbose=0)
    return lambda: len(model.predict(train[0], batch_size=BATCH, verbose=0))


def decoded() -> Job:
    """The frozen network, on picture files."""
    model, pictures = frozen(), plain_keras.dataset(*plain_keras.labelled("train"))
    model.predict(pictures.take(1), verbose=0)
    return lambda: len(model.predict(pictures, verbose=0))


def views() -> Job:
    """The frozen network on augmented pictures, their files decoded for each view, as epochs do."""
    model, augmentation = frozen(), plain_keras.augmentation()
    pictures = plain_keras.dataset(*plain_keras.labelled("train")).repeat(int(sys.argv[1]))

    @tf.function(input_signature=[tf.TensorSpec((None, *model.input_shape[1:]))])
    def compute(batch: tf.Tensor) -> tf.Tensor:
        return model(augmentation(batch, training=True), training=False)

    def job(pictures: tf.data.Dataset) -> int:
        return sum(len(compute(batch).numpy()) for batch, _ in pictures)

    job(pictures.take(1))
    return partial(job, pictures)


def steps() -> Job:
    """Training steps of fine-tuning, on pictures in memory."""
    base = plain_keras.mobilenet()
    model = plain_keras.classifier(base, augmented=False)
    plain_keras.thaw(base)
    plain_keras.compile_for(model, keras.optimizers.RMSprop(1e-5))
    return fitting(model, in_memory("train"))


def vgg_epoch() -> Job:
    """An epoch of fine-tuning VGG16, validation included, on pictures in memory."""
    shape = (VGG_SIZE, VGG_SIZE, 3)
    base = keras.applications.VGG16(input_shape=shape, include_top=False, weights=None)
    base.load_weights("data/weights/base.weights.h5")
    for layer in base.layers:
        if layer.name == VGG_THAWED_FROM:
            break
        layer.trainable = False
    inputs = keras.Input(shape)
    features = base(keras.applications.vgg16.preprocess_input(inputs))
    hidden = keras.layers.Dense(256, "relu")(keras.layers.Flatten()(features))
    outputs = keras.layers.Dense(1)(keras.layers.Dropout(0.5)(hidden))
    model = keras.Model(inputs, outputs)
    plain_keras.compile_for(model, keras.optimizers.Adam(1e-5))
    return fitting(model, in_memory("train", VGG_SIZE), in_memory("validation", VGG_SIZE))


def fitting(model: keras.Model, train: Arrays, validation: Arrays | None = None) -> Job:
    """An epoch of `fit`."""

    def fit(train: Arrays, validation: Arrays | None) -> int:
        model.fit(*train, batch_size=BATCH, validation_data=validation, verbose=0)
        return len(train[0]) + (len(validation[0]) if validation else 0)

    fit(few(train), validation and few(validation))
    return partial(fit, train, validation)


def few(arrays: Arrays) -> Arrays:
    """Enough to warm up on: a whole batch and the smaller last one, for which TensorFlow compiles
    anew.
    """
    pictures, labels = arrays
    count = BATCH + len(pictures) % BATCH
    return pictures[:count], labels[:count]


if __name__ == "__main__":
    keras.utils.set_random_seed(1)
    jobs: dict[str, Callable[[], Job]] = {
        "network": network,
        "decoded": decoded,
        "views": views,
        "steps": steps,
        "vgg_epoch": vgg_epoch,
    }
    serve(jobs)
