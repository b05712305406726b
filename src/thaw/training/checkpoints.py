"""The state of a training, kept so that the next run goes on from it after a kill."""

import thaw.networks.quiet  # noqa: F401

import hashlib
import json
import os
import platform
import zipfile
from collections.abc import Iterable
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from thaw.core import environment, gpus
from thaw.files.serialize import atomic
from thaw.training.choosing import Best

# Whose results go into a training.
LIBRARIES = ("keras", "numpy", "onnxruntime", environment.ON_CUDA, "pillow")
# Below src: what both trainings' results follow from, as in dvc.yaml.
PACKAGES = ("files", "pictures", "networks", "features", "training")
CODE = ("stages", *(f"thaw/{name}" for name in PACKAGES))
SWITCHES = ("TF_", "XLA_", "DNNL_", "ONEDNN_")  # environment variables that TensorFlow reads
History = dict[str, list[float]]  # each metric's values by epoch


class Checkpoint(keras.callbacks.Callback):
    """Keeps all that later epochs depend on in one file, after each epoch.

    That is every variable of the model and its optimizer, with the states of random layers, and the
    metrics so far. `keras.callbacks.BackupAndRestore` keeps no metrics, and it keeps two files: a
    kill may leave one older than the other.
    """

    def __init__(self, path: Path, key: str) -> None:
        """Keep it in the file `path`, which is trusted only if it was kept with the same `key`."""
        super().__init__()
        self._path = path
        self._key = key
        self._history: History = {}

    def restore(self, model: keras.Model, best: Best) -> History:
        """Put a compiled model into the state that was kept, and return the metrics until then.

        Without a file, or with one that is damaged or of another training, the model stays as it
        is and the metrics are empty. What `best` knows is kept and restored with it.
        """
        self._best = best
        model.optimizer.build(model.trainable_variables)
        variables = _variables(model)
        try:
            with np.load(self._path, allow_pickle=False) as kept:
                if str(kept["key"]) != self._key:
                    return {}
                values = [kept[str(number)] for number in range(len(variables))]
                chosen = {name: kept[name] for name in kept if name.startswith("best_")}
                self._history = json.loads(str(kept["history"]))
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return {}
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
        best.restore(chosen)
        return {name: list(column) for name, column in self._history.items()}

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:  # noqa: ARG002
        """Keep the state."""
        for name, value in logs.items():
            self._history.setdefault(name, []).append(float(value))
        arrays = {str(n): variable.numpy() for n, variable in enumerate(_variables(self.model))}
        with atomic(self._path) as path, path.open("wb") as file:
            arrays |= self._best.state()
            np.savez(file, key=self._key, history=json.dumps(self._history), **arrays)

    def remove(self) -> None:
        """Remove the file, when the training's results are written."""
        self._path.unlink(missing_ok=True)


def _variables(model: keras.Model) -> list[keras.Variable]:
    return [*model.variables, *model.optimizer.variables]


def key(settings: str, model: keras.Model, inputs: Iterable[Path]) -> str:
    """A SHA-256 over everything that the result of a training depends on.

    Settings; every variable of the untrained model; the inputs' names, sizes and times of change;
    the code of the stages and of the packages that they train with; versions of Python and of
    libraries; the processor and the GPUs.

    Args:
        settings: as text.
        model: before training.
        inputs: files, and folders for all the files below.
    """
    digest = hashlib.sha256()

    def add(*parts: object) -> None:
        for part in parts:
            content = part if isinstance(part, bytes) else str(part).encode()
            digest.update(len(content).to_bytes(8) + content)

    add(settings, platform.python_version(), platform.machine())
    add(environment.processor("flags", "Features"))
    add(tf.__version__, tf.config.list_physical_devices(), gpus.names())
    add(environment.versions(LIBRARIES))
    source = Path(__file__).parents[2]
    for folder in CODE:
        for path in sorted((source / folder).rglob("*.py")):
            add(path.name, path.read_bytes())
    add(sorted(item for item in os.environ.items() if item[0].startswith(SWITCHES)))
    for variable in model.variables:
        # Paths don't count: Keras numbers some by how many a process has made before.
        add(variable.shape, variable.dtype, variable.trainable, variable.numpy().tobytes())
    for root in inputs:
        for path in sorted(root.rglob("*")) if root.is_dir() else [root]:
            facts = path.stat()
            if path.is_file():
                add(path, facts.st_size, facts.st_mtime_ns)
    return digest.hexdigest()
