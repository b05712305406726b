"""Save a classifier to the same bytes each time; load one that can hold no code."""

import thaw.networks.quiet  # noqa: F401

import io
import json
import re
import tempfile
import warnings
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

from thaw.core.errors import ThawError, of_the_machine, reason
from thaw.files.serialize import write_bytes

MEMBERS = ["config.json", "metadata.json", "model.weights.h5"]


LAYERS = re.compile(  # the modules that a saved network names
    r"keras|keras\.(layers|initializers|regularizers)|keras\.src\.(applications|models|ops)\.\w+"
)


def save(model: keras.Model, path: Path) -> None:
    """Save a `.keras` file that plain Keras loads, without clock or counter in it."""
    with tempfile.TemporaryDirectory() as temporary:
        saved = Path(temporary) / "model.keras"
        model.save(saved)
        buffer = io.BytesIO()
        with zipfile.ZipFile(saved) as source, zipfile.ZipFile(buffer, "w") as target:
            for name in sorted(source.namelist()):
                content = source.read(name)
                if name == "metadata.json":
                    metadata = json.loads(content)
                    content = json.dumps({"keras_version": metadata["keras_version"]}).encode()
                elif name == "config.json":
                    content = json.dumps(_canonical_config(json.loads(content))).encode()
                target.writestr(zipfile.ZipInfo(name), content)  # ZipInfo's date is 1980-01-01
    write_bytes(path, buffer.getvalue())


def load(path: Path) -> keras.Model:
    """Load a `.keras` file as `save` writes it: it can hold no code.

    Raises:
        ThawError: when it isn't one.
    """
    try:
        if not path.is_file():
            raise ValueError("no such file")
        with zipfile.ZipFile(path) as opened:
            _check_members(opened.infolist())
            _check_config(json.loads(opened.read("config.json")))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # one for each part that isn't there
            return keras.models.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras, h5py and TensorFlow raise what bad bytes make of their code
        if of_the_machine(error):
            raise
        raise ThawError(
            f"{path} is no model that can be loaded ({reason(error)}); "
            "run `dvc repro`, which makes it"
        ) from None


def _check_members(members: Sequence[zipfile.ZipInfo]) -> None:
    """Refuse other members, and compressed ones, which could unpack to any size."""
    if sorted(member.filename for member in members) != MEMBERS:
        raise ValueError(f"it does not hold just {', '.join(MEMBERS)}")
    if any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise ValueError("its parts are compressed")


def _check_config(config: Any) -> None:
    """Refuse what isn't a layer or a part of one.

    Keras's safe mode refuses code and foreign modules, but finds any function of Keras by name, and
    some of these write files or download.
    """
    if isinstance(config, dict):
        name, module = config.get("class_name"), config.get("module")
        if name == "Lambda" or (
            name not in (None, "__keras_tensor__") and not LAYERS.fullmatch(str(module))
        ):
            raise ValueError(f"it names {module}.{name}, which no model of Thaw's holds")
    for inner in config.values() if isinstance(config, dict) else config:
        if isinstance(inner, dict | list):
            _check_config(inner)


def _canonical_config(config: object) -> object:
    """Number what Keras identifies by memory address (`shared_object_id`) in order instead."""
    numbers: dict[int, int] = {}

    def visit(value: object) -> object:
        if isinstance(value, dict):
            return {
                key: numbers.setdefault(inner, len(numbers))
                if key == "shared_object_id"
                else visit(inner)
                for key, inner in value.items()
            }
        return [visit(inner) for inner in value] if isinstance(value, list) else value

    return visit(config)
