"""The TensorFlow tutorial's recipe as it is written there, in plain Keras, on Thaw's split.

Source: https://www.tensorflow.org/tutorials/images/transfer_learning. Run in a folder that has
data/dataset, data/split.csv and data/weights, with the epochs of each phase and the path of the
JSON object to write: accuracies, and the seconds from the head's last epoch on.
"""

import csv
import json
import sys
import time
from pathlib import Path

import keras
import tensorflow as tf

SIZE = 160
BATCH = 32
FINE_TUNE_AT = 100


def labelled(part: str) -> tuple[list[str], list[int]]:
    """Paths and class numbers of the pictures of a split."""
    with open("data/split.csv", newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == part]
    classes = json.loads(Path("data/dataset/dataset.json").read_text(encoding="utf-8"))["classes"]
    paths = [str(Path("data/dataset/images") / row["path"]) for row in rows]
    return paths, [classes.index(row["label"]) for row in rows]


def dataset(
    paths: list[str], labels: list[int], size: int = SIZE, shuffle: bool = False
) -> tf.data.Dataset:
    """As `image_dataset_from_directory` makes it: decoded and resized anew each epoch."""

    def load(path: tf.Tensor, label: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        picture = tf.io.decode_image(tf.io.read_file(path), 3, expand_animations=False)
        return tf.image.resize(picture, (size, size)), label

    made = tf.data.Dataset.from_tensor_slices((paths, labels))
    if shuffle:
        made = made.shuffle(len(paths))
    made = made.map(load, tf.data.AUTOTUNE)
    return made.batch(BATCH).prefetch(tf.data.AUTOTUNE)


def augmentation() -> keras.Sequential:
    return keras.Sequential(
        [keras.layers.RandomFlip("horizontal"), keras.layers.RandomRotation(0.2)]
    )


def mobilenet() -> keras.Model:
    """MobileNetV2 with its pretrained weights, frozen."""
    base = keras.applications.MobileNetV2(
        input_shape=(SIZE, SIZE, 3), include_top=False, weights=None, name="MobileNetV2"
    )
    base.load_weights("data/weights/base.weights.h5")
    base.trainable = False
    return base


def pooled(base: keras.Model, pictures: keras.KerasTensor) -> keras.KerasTensor:
    """Pictures to the frozen network's features."""
    inputs = keras.applications.mobilenet_v2.preprocess_input(pictures)
    return keras.layers.GlobalAveragePooling2D()(base(inputs, training=False))


def classifier(base: keras.Model, augmented: bool = True) -> keras.Model:
    inputs = keras.Input((SIZE, SIZE, 3))
    features = pooled(base, augmentation()(inputs) if augmented else inputs)
    outputs = keras.layers.Dense(1)(keras.layers.Dropout(0.2)(features))
    return keras.Model(inputs, outputs)


def thaw(base: keras.Model) -> None:
    base.trainable = True
    for layer in base.layers[:FINE_TUNE_AT]:
        layer.trainable = False


def compile_for(model: keras.Model, optimizer: keras.optimizers.Optimizer) -> None:
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    accuracy = keras.metrics.BinaryAccuracy("accuracy", threshold=0.0)
    model.compile(optimizer, loss, metrics=[accuracy])


def main() -> None:
    epochs, out = int(sys.argv[1]), Path(sys.argv[2])
    keras.utils.set_random_seed(1)
    train = dataset(*labelled("train"), shuffle=True)
    validation, test = dataset(*labelled("validation")), dataset(*labelled("test"))
    base = mobilenet()
    model = classifier(base)
    found: dict[str, float] = {}

    def fit(phase: str, optimizer: keras.optimizers.Optimizer) -> float:
        compile_for(model, optimizer)
        history = model.fit(train, epochs=epochs, validation_data=validation, verbose=2).history
        ended = time.perf_counter()
        found[f"{phase}_validation"] = history["val_accuracy"][-1]
        found[f"{phase}_test"] = model.evaluate(test, verbose=0)[1]
        return ended

    head_ended = fit("head", keras.optimizers.Adam(1e-4))
    thaw(base)
    fit("fine_tuned", keras.optimizers.RMSprop(1e-5))
    found["seconds_after_head"] = time.perf_counter() - head_ended
    out.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
