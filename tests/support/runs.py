"""The stages run in this process, on tiny pictures."""

import thaw.networks.quiet  # noqa: F401

import contextlib
import csv
import importlib
import io
import json
import shutil
from pathlib import Path

import keras
import numpy as np
import yaml

from helpers import folders
from places import ROOT
from thaw.networks import backbones
from thaw.pictures import presets

NO_VIEWS = dict.fromkeys(presets.OFF) | {"preset": "none", "views": 1}
SMALL = {
    "dataset": "folder",
    "base_model": "MobileNet",
    "feature_layer": "conv_pw_4_relu",  # a third of it: each stage takes a third of the time
    "cache": {"layer": "conv_pw_2_relu", "bottleneck": "pooled", "store": None},
    "fine_tune_at": "conv_pw_4",
    "image_size": 32,
    "average_views": False,
    "augment": NO_VIEWS | {"views": 2, "flip": "horizontal"},
    "batch_size": 8,
}


class Run:
    """A folder with the scripts, pictures and parameters, and the stages run there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("datasets", "pretrained"):
            shutil.copytree(ROOT / name, folder / name)
        self.params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8")) | SMALL
        self.params["weights"] = str(self._weights())
        self.params["source"] = str(folders(folder / "pictures", "a", "b", each=20))
        self.params["head"]["epochs"] = 2
        self.params["fine_tune"] |= {
            "epochs": 2,
            "optimizer": "adam",
            "learning_rate": 0.00001,
            "warmup": 0,  # so that something changes in few steps
            "ema": 0,
        }

    def _weights(self) -> Path:
        """Random, but what tells pictures apart grows from layer to layer instead of vanishing."""
        keras.utils.set_random_seed(0)
        network = backbones.build("MobileNet", 32)
        for layer in network.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.gamma.assign(keras.ops.full_like(layer.gamma, 3.0))
                layer.beta.assign(keras.random.normal(layer.beta.shape, stddev=0.2))
        path = self.folder / "given.weights.h5"
        network.save_weights(path)
        return path

    def stages(self, *stages: str, **changes: object) -> str:
        """Run them in this process; what they print."""
        params = self.params | changes
        printed = io.StringIO()
        with contextlib.chdir(self.folder), contextlib.redirect_stdout(printed):
            Path("params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
            for name in stages:
                importlib.import_module(f"stages.{name}").main()
        return printed.getvalue()

    def losses(self, name: str) -> np.ndarray:
        """(epochs, 2) training and validation losses."""
        with (self.folder / f"plots/{name}.csv").open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        return np.array([[float(r["train_loss"]), float(r["validation_loss"])] for r in rows])

    def metrics(self, name: str) -> dict[str, float]:
        return json.loads((self.folder / f"metrics/{name}.json").read_text(encoding="utf-8"))


def mobilenet(size: int) -> keras.Model:
    """MobileNetV2 of random weights, for pictures of that size."""
    keras.utils.set_random_seed(0)
    network = backbones.build("MobileNetV2", size)
    for layer in network.layers:  # else what random weights give is too small for float16
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.beta.assign(keras.random.normal(layer.beta.shape, stddev=0.2, seed=0))
    return network
