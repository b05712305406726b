"""`thaw.features.cache`: the cache holds what Keras computes for each view of each picture."""

import thaw.networks.quiet  # noqa: F401

import io
import pickle
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest

from helpers import mutated, picture
from runs import mobilenet
from thaw.core import cores
from thaw.core.errors import ThawError
from thaw.features import cache
from thaw.features.extraction import Extractor, extract
from thaw.networks import backbones, freezing, onnx_export
from thaw.networks.pooling import pool
from thaw.pictures import augmentation, decoding, sessions
from thaw.pictures.augmentation import Augmentation
from thaw.splitting import screening
from thaw.training import heads

SIZE = 32
BOUNDARY = 97
FLIPS = Augmentation(3, "both", True, 0.1)
BOTTLENECKS = ("pooled", "blocks", "full")


def facts(bottleneck: str = "pooled", augmentation: Augmentation = FLIPS) -> cache.Facts:
    return cache.Facts(
        "MobileNetV2",
        SIZE,
        "stretch",
        BOUNDARY,
        "block_10_project_BN",
        bottleneck,
        ["a", "b"],
        augmentation,
        4,
    )


@pytest.fixture(scope="module")
def base() -> keras.Model:
    return mobilenet(SIZE)


@pytest.fixture(scope="module")
def exported(base: keras.Model) -> dict[str, bytes]:
    return {
        kind: onnx_export.to_onnx(freezing.extractor(base, SIZE, BOUNDARY, kind))
        for kind in BOTTLENECKS
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirteen pictures (three views of each make more than one batch), not in order of name."""
    root = tmp_path_factory.mktemp("pictures")
    for number in range(13):
        picture(root / f"{number}.png", seed=number, width=20 + number, height=40)
    return root


PATHS = [f"{number}.png" for number in (3, 0, 12, 1, 2, 11, 4, 5, 6, 7, 8, 9, 10)]


def views(folder: Path, drawn: Augmentation | None) -> np.ndarray:
    """(pictures, views, S, S, 3), drawn without `features`."""
    rows = []
    for path in PATHS:
        pixels = decoding.load(folder / path, SIZE)
        rows.append(
            [augmentation.view(pixels, drawn, index, 4, path) for index in range(3)]
            if drawn
            else [pixels]
        )
    return np.asarray(rows)


@pytest.mark.parametrize("bottleneck", BOTTLENECKS)
@pytest.mark.parametrize("count", [3, 0])
def test_the_cache_holds_what_keras_computes(
    tmp_path: Path,
    folder: Path,
    base: keras.Model,
    exported: dict[str, bytes],
    bottleneck: str,
    count: int,
) -> None:
    model = exported[bottleneck]
    extract(Extractor(model, folder, facts(bottleneck), count), PATHS, tmp_path, "train")
    boundary = cache.read(tmp_path, "train_boundary")
    cached = cache.read(tmp_path, "train_bottleneck")
    pixels = views(folder, FLIPS if count else None)
    number = count or 1
    assert boundary.dtype == np.float16
    assert boundary.shape == (13, number, *base.layers[BOUNDARY].output.shape[1:])
    assert cached.dtype == np.float32

    x = keras.applications.mobilenet_v2.preprocess_input(
        pixels.reshape(-1, SIZE, SIZE, 3).astype(np.float32)
    )
    read = backbones.blocks(base) if bottleneck == "blocks" else [153]
    outputs = [base.layers[index].output for index in (BOUNDARY, *read)]
    at, *maps = (np.asarray(each) for each in keras.Model(base.inputs, outputs)(x, training=False))
    np.testing.assert_allclose(
        boundary, at.reshape(boundary.shape), rtol=2e-3, atol=2e-3 * np.abs(at).max()
    )
    if bottleneck == "full":
        expected = maps[0]
    else:
        rows = [
            np.concatenate([kind(each, (1, 2)) for each in maps], 1) for kind in (np.mean, np.max)
        ]
        expected = np.stack(rows, axis=1)
    expected = expected.reshape(13, number, *expected.shape[1:])
    assert cached.shape == expected.shape
    np.testing.assert_allclose(cached, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())
    assert len(np.unique(cached.reshape(13 * number, -1), axis=0)) == 13 * number


@pytest.mark.parametrize("pooling", ["average", "max", "average_max"])
@pytest.mark.parametrize("bottleneck", ["pooled", "blocks"])
def test_the_selector_reads_the_cache_as_the_head_pools(
    base: keras.Model, bottleneck: str, pooling: str
) -> None:
    x = np.random.default_rng(0).uniform(0, 255, (2, SIZE, SIZE, 3)).astype(np.float32)
    cached = np.asarray(freezing.extractor(base, SIZE, BOUNDARY, bottleneck)(x)[1])
    network = backbones.with_blocks(base) if bottleneck == "blocks" else base
    maps = network(x / 127.5 - 1, training=False)
    pooled = pool(pooling, maps if isinstance(maps, list) else [maps])
    selected = heads.selector(pooling, bottleneck)(cached)
    np.testing.assert_allclose(selected, pooled, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("count", [3, 0])
def test_with_boundary_0_the_cache_holds_pixels(
    tmp_path: Path, folder: Path, base: keras.Model, count: int
) -> None:
    extractor = freezing.extractor(base, SIZE, 0, "pooled")
    model = onnx_export.to_onnx(extractor)
    extract(Extractor(model, folder, facts(), count), PATHS, tmp_path, "train")
    pixels = views(folder, FLIPS if count else None)
    stored = cache.read(tmp_path, "train_boundary")
    assert stored.dtype == np.uint8
    np.testing.assert_array_equal(stored, pixels)
    computed = np.asarray(extractor(pixels.reshape(-1, SIZE, SIZE, 3).astype(np.float32)))
    bottleneck = cache.read(tmp_path, "train_bottleneck")
    np.testing.assert_allclose(
        bottleneck,
        computed.reshape(bottleneck.shape),
        rtol=1e-4,
        atol=1e-4 * np.abs(computed).max(),
    )


def content(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(out.iterdir())}


def test_the_same_bytes_with_any_number_of_cores_and_batch(
    tmp_path: Path, folder: Path, exported: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = exported["blocks"]
    for number, batch in ((1, 8), (2, 2)):
        cores.limit(number)
        monkeypatch.setattr(sessions, "AT_ONCE", batch)
        out = tmp_path / str(number)
        extract(Extractor(model, folder, facts("blocks"), 3), PATHS, out, "train")
    cores.limit(None)
    assert content(tmp_path / "1") == content(tmp_path / "2")
    assert list(content(tmp_path / "1")) == ["train_bottleneck.npy", "train_boundary.npy"]


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), decoding.BadImageError(Path("a.png"), "damaged")]
)
def test_an_interrupted_extraction_leaves_nothing(
    tmp_path: Path,
    folder: Path,
    exported: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
) -> None:
    load = decoding.load
    seen = []

    def interrupted(path: Path, *how: object) -> decoding.Pixels:
        seen.append(path)
        if len(seen) == 12:  # when a batch of 32 views may have been written
            raise error
        return load(path, *how)

    monkeypatch.setattr(decoding, "load", interrupted)
    model = exported["pooled"]
    with pytest.raises(type(error)):
        extract(Extractor(model, folder, facts(), 3), PATHS, tmp_path / "out", "train")
    assert list((tmp_path / "out").iterdir()) == []


def test_what_screening_accepts_is_extracted(tmp_path: Path) -> None:
    names = mutated(tmp_path / "pictures")
    labelled = pd.DataFrame({"path": names, "label": "a"})
    good, bad, _ = screening.screen(labelled, tmp_path / "pictures", "skip", tmp_path / "bad.csv")
    assert len(good) + len(bad) == len(names) >= 200
    assert len(good) > 50
    inputs = keras.Input((SIZE, SIZE, 3), name="picture")
    maxima = keras.layers.GlobalMaxPooling2D()(inputs)
    model = onnx_export.to_onnx(keras.Model(inputs, [inputs * 1.0, maxima]))
    extract(
        Extractor(model, tmp_path / "pictures", facts(), 0),
        list(good),
        tmp_path,
        "train",
    )
    found = cache.read(tmp_path, "train_boundary")
    for name, row in zip(good, found[:, 0], strict=True):
        np.testing.assert_array_equal(row, decoding.load(tmp_path / "pictures" / name, SIZE))


def test_picture_gone_since_is_named_with_its_place(
    tmp_path: Path, exported: dict[str, bytes]
) -> None:
    model = exported["pooled"]
    with pytest.raises(ThawError, match=r"^.*/gone.png can't be read \(no such file\); .*`dvc"):
        extract(Extractor(model, tmp_path, facts(), 1), ["gone.png"], tmp_path, "train")


def test_values_beyond_float16_are_clipped(tmp_path: Path, folder: Path) -> None:
    """An infinity in the cache would make the loss NaN."""
    inputs = keras.Input((SIZE, SIZE, 3), name="picture")
    large = keras.layers.Rescaling(1e6)(inputs)
    maxima = keras.layers.GlobalMaxPooling2D()(inputs)
    model = onnx_export.to_onnx(keras.Model(inputs, [large, maxima]))
    extract(Extractor(model, folder, facts(), 0), PATHS, tmp_path, "train")
    assert cache.read(tmp_path, "train_boundary").max() == np.finfo(np.float16).max


def test_cache_that_holds_pickles_or_is_damaged_is_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    np.save(path, np.arange(100.0))
    whole = path.read_bytes()

    class Hostile:
        def __reduce__(self) -> tuple[object, ...]:
            return Path.touch, (tmp_path / "trace",)

    np.save(tmp_path / "pickle.npy", np.array([Hostile()], dtype=object), allow_pickle=True)
    np.load(tmp_path / "pickle.npy", allow_pickle=True)  # it would run
    assert (tmp_path / "trace").exists()
    (tmp_path / "trace").unlink()
    pickled = (tmp_path / "pickle.npy").read_bytes()
    bare = pickle.dumps(Hostile())
    archive = io.BytesIO()
    np.savez(archive, a=np.arange(3))
    for content in (pickled, bare, archive.getvalue(), b"", b"garbage", whole[:60], whole[:-8]):
        path.write_bytes(content)
        with pytest.raises(
            ThawError, match=r"a.npy is not as .* wrote it \(.*`dvc repro"
        ) as caught:
            cache.read(tmp_path, "a")
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize("content", [b"", b"{", b"{}", b"[]", b'{"augmentation": {}}', b"\xff"])
def test_facts_that_are_damaged_are_a_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "features.json").write_bytes(content)
    with pytest.raises(ThawError, match=r"features.json is not as stage extract_features wrote"):
        cache.read_facts(tmp_path)


@pytest.mark.parametrize(
    "augmentation",
    [FLIPS, Augmentation(1, "none", False, 0.0), Augmentation(2, "none", False, 0.0, area=0.5)],
)
def test_facts_round_trip(tmp_path: Path, augmentation: Augmentation) -> None:
    written = facts("blocks", augmentation)
    cache.write_facts(written, {"train": [1, 0, 1], "validation": []}, tmp_path)
    assert cache.read_facts(tmp_path) == written
    text = (tmp_path / "features.json").read_text(encoding="utf-8")
    assert "feature_layer" not in text
    assert ("area" in text, "shift" in text) == (augmentation.area < 1, False)  # as before these
    cut = replace(written, feature_layer="block_9_add")
    cache.write_facts(cut, {}, tmp_path)
    assert cache.read_facts(tmp_path) == cut
    labels = cache.read(tmp_path, "train_labels")
    assert (labels.dtype, labels.tolist()) == (np.int64, [1, 0, 1])
    assert cache.read(tmp_path, "validation_labels").shape == (0,)


def test_values_that_float16_can_not_hold_are_counted(tmp_path: Path) -> None:
    """A boundary of the pixels times 300: those above 218 are beyond 65,504."""
    pictures = keras.Input((SIZE, SIZE, 3))
    scaled = keras.layers.Rescaling(300.0)(pictures)
    pooled = keras.layers.GlobalAveragePooling2D()(pictures)
    model = onnx_export.to_onnx(keras.Model(pictures, [scaled, pooled]))
    paths = [picture(tmp_path / f"{number}.png", number, SIZE, SIZE).name for number in (1, 2)]
    given = np.stack([decoding.load(tmp_path / path, SIZE) for path in paths]).astype(np.float32)
    cut = extract(Extractor(model, tmp_path, facts(), 0), paths, tmp_path, "train")
    assert cut == np.count_nonzero(300 * given > 65504) > 100
    held = cache.read(tmp_path, "train_boundary")[:, 0]
    np.testing.assert_array_equal(held.astype(np.float32) == 65504, 300 * given >= 65504)
