"""`weights: imagenet`: what Thaw runs is what Keras runs with its own weights."""

import thaw.networks.quiet  # noqa: F401

import functools
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import h5py
import keras
import numpy as np
import pooch
import pytest
from keras.src.legacy.saving import legacy_h5_format
from keras.src.utils import file_utils

from thaw.core.errors import ThawError
from thaw.networks import backbones, private
from thaw.pretrained import weights


class Server(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that is served in place of Keras's host; its hashes are those of other files."""
    folder = tmp_path / "served"
    folder.mkdir()
    monkeypatch.setattr(pooch, "os_cache", lambda project: tmp_path / "cache" / project)
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Server, directory=folder)) as host:
        threading.Thread(target=host.serve_forever, daemon=True).start()
        original = file_utils.get_file

        def get_file(fname: str, origin: str, **options: object) -> str:
            name = origin.rsplit("/", 1)[1]
            address = f"http://127.0.0.1:{host.server_port}/{name}"
            options |= {"file_hash": None, "cache_dir": tmp_path / "keras"}
            return original(fname, address, **options)

        monkeypatch.setattr(file_utils, "get_file", get_file)
        yield folder
        host.shutdown()


def create(name: str, size: int, weights: str | None) -> keras.Model:
    return getattr(keras.applications, name)(
        include_top=False, weights=weights, input_shape=(size, size, 3)
    )


def stand_in(name: str, size: int, path: Path) -> None:
    """Write weights in the format of those on Keras's host."""
    keras.utils.set_random_seed(1)
    network = create(name, size, None)
    for layer in network.layers:
        if isinstance(layer, keras.layers.Normalization):
            layer.adapt_mean.assign([0.485, 0.456, 0.406])
            layer.adapt_variance.assign([0.229**2, 0.224**2, 0.225**2])
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.beta.assign(keras.random.normal(layer.beta.shape, stddev=0.2))
    with h5py.File(path, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, network)


def compare(name: str, found: keras.Model, expected: keras.Model) -> None:
    """What both compute for a picture, preprocessed, is the same."""
    size = found.input_shape[1]
    pictures = np.random.default_rng(0).uniform(0, 255, (1, size, size, 3)).astype(np.float32)
    pictures = backbones.preprocess(name, pictures)
    one, other = (np.asarray(network(pictures, training=False)) for network in (found, expected))
    np.testing.assert_allclose(one, other, atol=1e-5 * np.abs(other).max())


@pytest.mark.parametrize(
    ("name", "size", "served"),
    [
        ("EfficientNetB0", 32, "efficientnetb0_notop.h5"),
        ("MobileNetV2", 160, "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_160_no_top.h5"),
    ],
)
def test_what_thaw_runs_is_what_keras_runs_with_its_own_weights(
    name: str, size: int, served: str, server: Path, tmp_path: Path
) -> None:
    stand_in(name, size, server / served)
    written = weights.load(tmp_path, name, "imagenet", size)  # by stage `weights`
    written.save_weights(tmp_path / "base.weights.h5")
    found = backbones.load(name, size, tmp_path / "base.weights.h5")  # by later stages
    private.number_layers_anew()
    expected = create(name, size, "imagenet")
    layers = [
        [(type(each).__name__, each.name, each.output.shape) for each in network.layers]
        for network in (found, expected, written)
    ]
    assert layers[0] == layers[1] == layers[2]
    compare(name, found, expected)


def test_an_efficientnet_of_other_weights_computes_what_it_does_in_keras(tmp_path: Path) -> None:
    """Keras's network for these lacks a layer that the one for its own weights has."""
    plain = create("EfficientNetB0", 32, None)
    found = backbones.build("EfficientNetB0", 32)
    assert len(found.layers) == len(plain.layers) + 1
    assert found.layers[3].name == "rescaling_1"  # however many networks were built before
    plain.set_weights([*plain.get_weights()[:3], *found.get_weights()[3:]])
    compare("EfficientNetB0", found, plain)
    path = tmp_path / "plain.weights.h5"
    plain.save_weights(path)
    backbones.load_weights(found, path)
    compare("EfficientNetB0", found, plain)


@pytest.mark.usefixtures("server")
def test_a_download_that_is_not_whole_is_told_as_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def get_file(*_: object, **__: object) -> str:
        raise ValueError("Incomplete or corrupted file detected.")

    monkeypatch.setattr(file_utils, "get_file", get_file)
    with pytest.raises(ThawError, match=r"imagenet: Keras can't download them .Incomplete"):
        weights.load(tmp_path, "MobileNet", "imagenet", 64)
    with pytest.raises(ThawError, match="image_size: 32: Xception can't be built"):
        weights.load(tmp_path, "Xception", "imagenet", 32)
