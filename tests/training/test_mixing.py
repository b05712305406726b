"""Batches from a cache in parts: pictures are mixed, some parts at a time."""

import thaw.networks.quiet  # noqa: F401

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from helpers import in_parts
from thaw.features import cache, stores
from thaw.pictures.augmentation import Augmentation
from thaw.training import batches, heads
from thaw.training.views import Blocks, Numbers, Views

COUNT, VIEWS = 120, 2
FACTS = cache.Facts(
    *("MobileNetV2", 8, "stretch", 97, "a layer", "pooled", ["a", "b"]),
    Augmentation(VIEWS, "horizontal", False, 0.0),
    4,
)
LABELS = [int(number >= 90) for number in range(COUNT)]  # class by class, and few of the second


@pytest.fixture
def source(tmp_path: Path) -> batches.Source:
    """A cache in files: each value tells picture and view."""
    features = tmp_path / "features"
    held = [number % 2 for number in range(30)]
    cache.write_facts(FACTS, {"train": LABELS, "validation": held}, features)
    for name, count, views in (("train", COUNT, VIEWS), ("validation", 30, 1)):
        numbers = np.arange(count * views, dtype=np.float32).reshape(count, views, 1, 1)
        np.save(features / f"{name}_bottleneck.npy", np.broadcast_to(numbers, (count, views, 2, 3)))
        maps = np.broadcast_to(numbers[..., None], (count, views, 2, 2, 3)).astype(np.float16)
        np.save(features / f"{name}_boundary.npy", maps)
    return batches.Source(features, tmp_path, {}, FACTS, 8, "none", "all", 1)


def into_parts(source: batches.Source, each: int) -> None:
    for path in [*source.features.glob("*_bo*.npy")]:
        in_parts(path, source.features.parent / "store", each, spread="train" in path.name)


def epoch(views: Views) -> list[tuple[np.ndarray, ...]]:
    """All batches, each a tuple of arrays, read by two threads as Keras reads them."""
    with ThreadPoolExecutor(2) as pool:
        found = [*pool.map(views.__getitem__, range(len(views)))]
    views.on_epoch_end()
    return [
        (*batch.values(), *rest) if isinstance(batch, dict) else (batch, *rest)
        for batch, *rest in found
    ]


def both(source: batches.Source, kind: str) -> tuple[Views, Views]:
    if kind == "bottleneck":
        return batches.bottlenecks(source, heads.selector("average_max", "pooled"))
    arrays = {name: source.read(f"{name}_boundary") for name in ("train", "validation")}
    return batches.boundaries(source, arrays, 2)


def read(source: batches.Source, kind: str) -> list[tuple[np.ndarray, ...]]:
    """Two epochs of training, and validation."""
    train, validation = both(source, kind)
    return [*epoch(train), *epoch(train), *epoch(validation)]


@pytest.mark.parametrize("kind", ["bottleneck", "boundary"])
def test_where_all_parts_can_be_open_it_is_the_true_shuffle(
    source: batches.Source, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = read(source, kind)
    into_parts(source, each=8)  # 15 of them
    found = read(source, kind)
    assert capsys.readouterr().out == ""
    for one, other in zip(found, expected, strict=True):
        for mine, whole in zip(one, other, strict=True):
            np.testing.assert_array_equal(mine, whole)


@pytest.mark.parametrize("kind", ["bottleneck", "boundary"])
@pytest.mark.parametrize("sampling", ["all", "balanced"])
def test_few_parts_are_read_at_a_time(
    source: batches.Source,
    kind: str,
    sampling: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(stores, "WINDOW", 4)
    into_parts(source, each=4)
    train, validation = both(replace(source, sampling=sampling), kind)
    told = capsys.readouterr().out
    assert told == (
        "training pictures are mixed by parts of 4: each epoch reads the 30 parts of the cache in "
        "a random order, and mixes 4 at a time\n"
    )
    orders = []
    for _ in range(2):
        values = [batch[0].reshape(len(batch[0]), -1)[:, 0] for batch in epoch(train)]
        numbers = np.concatenate(values).astype(int) // VIEWS
        labels = np.array(LABELS)[numbers]
        if sampling == "all":
            assert sorted(numbers) == [*range(COUNT)]
        else:
            assert labels.sum() == COUNT // 2
        parts = numbers % 30
        window = 4 * 4
        if sampling == "all":
            assert all(
                len({*parts[start : start + window]}) <= 4 for start in range(0, COUNT, window)
            )
            assert (np.diff(parts[:window]) == 0).mean() < 0.7  # these are mixed
        # Every part has pictures of both classes, so that every stretch has them.
        assert labels[: COUNT // 2].any()
        assert labels[COUNT // 2 :].any()
        orders.append(numbers.tolist())
    assert orders[0] != orders[1]
    held = np.concatenate(
        [batch[0].reshape(len(batch[0]), -1)[:, 0] for batch in epoch(validation)]
    )
    assert held.tolist() == [*range(30)]


def test_views_drawn_anew_read_few_parts_at_a_time(
    source: batches.Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where pixels are cached."""
    monkeypatch.setattr(stores, "WINDOW", 4)
    into_parts(source, each=4)
    train, _ = batches.pictures(replace(source, facts=replace(FACTS, boundary=0)), None, 0)
    assert len({*(train._order[:16] % 30).tolist()}) == 4


def parts_of_eight(pictures: Numbers) -> Numbers:
    return pictures // 8


def test_the_order_of_parts_is_told_before_they_are_read() -> None:
    told: list[list[int]] = []
    blocks = Blocks(parts_of_eight, 4, told.append)
    generator = np.random.default_rng(0)
    drawn = generator.permutation(80)
    ordered = blocks.order(drawn, generator)
    seen = dict.fromkeys((ordered // 8).tolist())
    assert [{*told[0][start : start + 4]} for start in (0, 4, 8)] == [
        {*[*seen][start : start + 4]} for start in (0, 4, 8)
    ]
    first = [*filter(lambda number: number // 8 in told[0][:4], drawn.tolist())]
    assert ordered[:32].tolist() == first  # as they were drawn
