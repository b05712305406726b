"""The TensorFlow tutorial's recipe as it is written there, in plain Keras, on Thaw's split.

Source: https://www.tensorflow.org/tutorials/images/transfer_learning. Run in a folder that has
data/raw, data/split.csv and data/weights; writes a JSON object to the path given.
"""

import csv
import json
import resource
import sys
import time
from pathlib import Path

import keras
import tensorflow as tf

SIZE = (160, 160)
BATCH = 32


def dataset(rows: list[dict[str, str]], classes: list[str], shuffle: bool) -> tf.data.Dataset:
    """As `image_dataset_from_directory` makes it: decoded and resized anew each epoch."""
    paths = [str(Path("data/raw/images") / row["path"]) for row in rows]
    labels = [classes.index(row["label"]) for row in rows]

    def load(path: tf.Tensor, label: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        picture = tf.io.decode_image(tf.io.read_file(path), 3, expand_animations=False)
        return tf.image.resize(picture, SIZE), label

    made = tf.data.Dataset.from_tensor_slices((paths, labels))
    if shuffle:
        made = made.shuffle(len(paths))
    made = made.map(load, tf.data.AUTOTUNE)
    return made.batch(BATCH).prefetch(tf.data.AUTOTUNE)


def main() -> None:
    started = time.perf_counter()
    keras.utils.set_random_seed(1)
    with open("data/split.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    classes = json.loads(Path("data/raw/dataset.json").read_text(encoding="utf-8"))["classes"]
    train, validation, test = (
        dataset([row for row in rows if row["split"] == part], classes, part == "train")
        for part in ("train", "validation", "test")
    )
    augmentation = keras.Sequential(
        [keras.layers.RandomFlip("horizontal"), keras.layers.RandomRotation(0.2)]
    )
    base = keras.applications.MobileNetV2(
        input_shape=(*SIZE, 3), include_top=False, weights=None, name="MobileNetV2"
    )
    base.load_weights("data/weights/base.weights.h5")
    base.trainable = False
    inputs = keras.Input((*SIZE, 3))
    outputs = keras.applications.mobilenet_v2.preprocess_input(augmentation(inputs))
    outputs = keras.layers.GlobalAveragePooling2D()(base(outputs, training=False))
    outputs = keras.layers.Dense(1)(keras.layers.Dropout(0.2)(outputs))
    model = keras.Model(inputs, outputs)
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    accuracy = keras.metrics.BinaryAccuracy("accuracy", threshold=0.0)
    found: dict[str, float] = {}

    def run(phase: str, optimizer: keras.optimizers.Optimizer) -> None:
        begun = time.perf_counter()
        model.compile(optimizer, loss, metrics=[accuracy])
        model.fit(train, epochs=10, validation_data=validation, verbose=2)
        found[f"{phase}_seconds"] = time.perf_counter() - begun
        found[f"{phase}_validation_accuracy"] = model.evaluate(validation, verbose=0)[1]
        found[f"{phase}_test_accuracy"] = model.evaluate(test, verbose=0)[1]

    run("head", keras.optimizers.Adam(1e-4))
    base.trainable = True
    for layer in base.layers[:100]:
        layer.trainable = False
    run("fine_tune", keras.optimizers.RMSprop(1e-5))
    found["seconds"] = time.perf_counter() - started
    found["peak_memory_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    Path(sys.argv[1]).write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
