"""`thaw.features.extraction`: what was computed before an error or a kill isn't computed again."""

import os
from collections.abc import Callable
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

from helpers import picture
from thaw.core import cores
from thaw.core.errors import ThawError
from thaw.features import cache, extraction, stores
from thaw.features.extraction import BLOCK, Extractor, extract, finish
from thaw.pictures import decoding
from thaw.pictures.augmentation import Augmentation

SIZE, COUNT = 8, 40  # two blocks and a half
PATHS = [f"{number}.png" for number in range(COUNT)]
FACTS = cache.Facts(
    "MobileNetV2",
    SIZE,
    "stretch",
    97,
    "a layer",
    "pooled",
    ["a", "b"],
    Augmentation(2, "horizontal", False, 0.0),
    4,
)


def model(factor: float = 0.5) -> bytes:
    """A layer that scales pictures, and what the head reads of them."""
    shape = ["n", SIZE, SIZE, 3]
    half = helper.make_tensor("half", TensorProto.FLOAT, [], [factor])
    nodes = [
        helper.make_node("Mul", ["pictures", "half"], ["maps"]),
        helper.make_node("ReduceMax", ["maps"], ["pooled"], axes=[1, 2], keepdims=0),
    ]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "network",
        [value("pictures", TensorProto.FLOAT, shape)],
        [value("maps", TensorProto.FLOAT, shape), value("pooled", TensorProto.FLOAT, ["n", 3])],
        [half],
    )
    opset = helper.make_opsetid("", 13)
    found: bytes = helper.make_model(graph, opset_imports=[opset], ir_version=8).SerializeToString()
    return found


@pytest.fixture
def own(tmp_path: Path) -> Extractor:
    for number, path in enumerate(PATHS):
        picture(tmp_path / "pictures" / path, seed=number, width=SIZE, height=SIZE)
    return Extractor(model(), tmp_path / "pictures", FACTS, 2)


class Counted:
    """How many pictures were opened; the run ends at one of them."""

    def __init__(self, load: Callable[..., decoding.Pixels]) -> None:
        self.load, self.count, self.end = load, 0, 0

    def __call__(self, *given: object) -> decoding.Pixels:
        self.count += 1
        if self.count == self.end:
            raise KeyboardInterrupt
        return self.load(*given)


@pytest.fixture(autouse=True)
def opened(monkeypatch: pytest.MonkeyPatch) -> Counted:
    found = Counted(decoding.load)
    monkeypatch.setattr(decoding, "load", found)
    cores.limit(1)
    monkeypatch.setattr(stores, "EACH", 8)
    yield found
    cores.limit(None)


def content(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(out.iterdir())}


class Job:
    """An extraction that ends at a picture, and goes on."""

    def __init__(self, folder: Path, own: Extractor, opened: Counted, **how: object) -> None:
        self.own, self.opened, self.how = own, opened, how
        self.scratch, self.out = folder / "scratch", folder / "out"
        extract(own, PATHS, folder / "undisturbed", "train", **how)
        self.expected = content(folder / "undisturbed")

    def run(self, end: int = 0, **changes: object) -> int:
        """Run until so many pictures were opened, or to the end; how many were."""
        self.opened.count, self.opened.end = 0, end
        own = replace(self.own, **changes)
        if end:
            with pytest.raises(KeyboardInterrupt):
                extract(own, PATHS, self.out, "train", scratch=self.scratch, **self.how)
        else:
            extract(own, PATHS, self.out, "train", scratch=self.scratch, **self.how)
        return self.opened.count

    def finished(self) -> dict[str, bytes]:
        finish(self.scratch, self.out, ["train"])
        assert not self.scratch.exists()
        return content(self.out)


@pytest.fixture(params=["files", "parts"])
def job(request: pytest.FixtureRequest, tmp_path: Path, own: Extractor, opened: Counted) -> Job:
    if request.param == "files":
        return Job(tmp_path, own, opened)
    job = Job(tmp_path, own, opened, store=str(tmp_path / "store"), spread=True)
    for part in (tmp_path / "store").rglob("*.npy"):
        part.unlink()
    return job


def test_it_goes_on_where_it_stopped(job: Job, capsys: pytest.CaptureFixture[str]) -> None:
    job.run(end=30)
    each = 8 if job.how else BLOCK
    there = 29 // each * each  # of 29 that were done, whole blocks or parts
    assert job.run() == COUNT - there
    assert f"goes on after {there} of {COUNT} pictures, which are there" in capsys.readouterr().out
    assert job.finished() == job.expected


def test_what_is_whole_is_not_computed_again(job: Job) -> None:
    job.run()
    assert job.run() == 0
    assert job.finished() == job.expected


def cut_journal(scratch: Path) -> None:
    path = scratch / ".part-train.journal"
    path.write_bytes(path.read_bytes()[:-5])


def spoil_journal(scratch: Path) -> None:
    with (scratch / ".part-train.journal").open("ab") as file:
        file.write(b"\xff\0 \n\nx y z\n1\n999 1 1\n")


def flip(scratch: Path, name: str, place: int) -> None:
    path = scratch / f".part-train_{name}.npy"
    changed = bytearray(path.read_bytes())
    changed[place] ^= 1
    path.write_bytes(changed)


# A picture has 2 views x 192 numbers of two bytes, and 2 x 3 of four, after a header of 128 bytes.
DAMAGED = {
    "half a line of the journal": (cut_journal, 8),
    "no line of the journal": (spoil_journal, 16),  # block 1 is noted anew, with too few words
    "a byte of the first picture": (lambda s: flip(s, "boundary", 128), 16),
    "a byte of the last picture": (lambda s: flip(s, "bottleneck", -1), 8),
    "a byte in the middle": (lambda s: flip(s, "boundary", 128 + 20 * 768), 16),
    "an empty file": (lambda s: (s / ".part-train_boundary.npy").write_bytes(b""), COUNT),
    "half a header": (lambda s: (s / ".part-train_boundary.npy").write_bytes(b"\x93NUM"), COUNT),
    "a file cut short": (lambda s: os.truncate(s / ".part-train_boundary.npy", 5000), COUNT),
    "a file gone": (lambda s: (s / ".part-train_bottleneck.npy").unlink(), COUNT),
    "an empty journal": (lambda s: (s / ".part-train.journal").write_bytes(b""), COUNT),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_what_was_damaged_since_is_computed_again(
    tmp_path: Path, own: Extractor, opened: Counted, damage: str
) -> None:
    job = Job(tmp_path, own, opened)
    job.run()
    spoil, again = DAMAGED[damage]
    spoil(job.scratch)
    assert job.run() == again
    assert job.finished() == job.expected


def test_parts_that_are_gone_or_cut_are_computed_again(
    tmp_path: Path, own: Extractor, opened: Counted
) -> None:
    job = Job(tmp_path, own, opened, store=str(tmp_path / "store"))
    job.run()
    parts = sorted((tmp_path / "store").rglob("*.npy"))
    assert len(parts) == 10  # five of each array
    parts[0].unlink()
    assert job.run() == 8
    os.truncate(parts[9], 40)
    assert job.run() == 8
    assert job.finished() == job.expected
    assert {path.stem: path.stat().st_size for path in parts} == stores.Folder(
        str(tmp_path / "store")
    ).names()


def touched(job: Job) -> dict[str, object]:
    os.utime(job.own.folder / PATHS[3], (1, 1))
    return {}


def with_other_code(job: Job) -> dict[str, object]:  # noqa: ARG001
    extraction.CODE = ("features", "files")
    return {}


OTHER = {
    "views": lambda _: {"views": 1},
    "facts": lambda job: {"facts": replace(job.own.facts, seed=5)},
    "network": lambda _: {"model": model(0.25)},
    "pictures": touched,
    "code": with_other_code,
}


@pytest.mark.parametrize("changed", OTHER)
def test_what_was_made_otherwise_does_not_count(
    job: Job, changed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extraction, "CODE", extraction.CODE)
    job.run()
    assert job.run(**OTHER[changed](job)) == COUNT


def test_it_runs_where_onnx_runtime_is_the_build_for_cuda(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which has another name; and what one of them made isn't gone on with by the other."""
    from_name = metadata.Distribution.from_name

    def named(name: str) -> metadata.Distribution:
        if name == "onnxruntime":
            raise metadata.PackageNotFoundError(name)
        return from_name("onnxruntime" if name == "onnxruntime-gpu" else name)

    job.run(end=30)
    monkeypatch.setattr(metadata.Distribution, "from_name", named)
    assert job.run() == COUNT


def test_a_store_after_files_leaves_none_of_them(
    tmp_path: Path, own: Extractor, opened: Counted
) -> None:
    """Those of a run that was killed, and of one that was whole."""
    job = Job(tmp_path, own, opened)
    job.run(end=30)
    job.how = {"store": str(tmp_path / "store")}
    job.run()
    assert not [*job.scratch.glob(".part-*.npy")]
    assert [*job.finished()] == ["train_bottleneck.json", "train_boundary.json"]
    job.how = {}
    job.run()
    assert job.finished() == job.expected


@pytest.mark.parametrize("kind", ["folder", "memory"])
@pytest.mark.parametrize("spread", [True, False])
def test_parts_hold_what_files_hold(
    tmp_path: Path, own: Extractor, kind: str, spread: bool
) -> None:
    """On any number of cores, in lists of the same bytes."""
    store = str(tmp_path / "store") if kind == "folder" else "memory://team/extracted"
    extract(own, PATHS, tmp_path / "files", "train")
    lists = []
    for number in (1, 2):
        cores.limit(number)
        extract(own, PATHS, tmp_path / "parts", "train", store=store, spread=spread)
        lists.append(content(tmp_path / "parts"))
    assert lists[0] == lists[1]
    assert all(str(tmp_path / "parts").encode() not in each for each in lists[0].values())
    for kind in extraction.KINDS:
        found, expected = (cache.read(tmp_path / of, f"train_{kind}") for of in ("parts", "files"))
        assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
        np.testing.assert_array_equal(np.asarray(found), expected)


def room(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    usage = extraction.shutil._ntuple_diskusage(10**9, 10**9 - free, free)
    monkeypatch.setattr(extraction.shutil, "disk_usage", lambda _: usage)


EVERY = COUNT * 2 * (SIZE * SIZE * 3 * 2 + 3 * 4)  # bytes of both arrays


@pytest.mark.parametrize("kind", ["files", "store"])
def test_no_room_is_told_before_the_work(
    tmp_path: Path, own: Extractor, opened: Counted, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    how = {"store": str(tmp_path / "store")} if kind == "store" else {}
    job = Job(tmp_path, own, opened, **how)
    if how:
        for part in (tmp_path / "store").rglob("*.npy"):
            part.unlink()
    room(monkeypatch, EVERY - 1)
    job.opened.count = 0
    with pytest.raises(ThawError, match=r"^the cache needs 0.0 GB in .*free disk space, or set"):
        extract(own, PATHS, job.out, "train", scratch=job.scratch, **how)
    assert job.opened.count == 0
    room(monkeypatch, EVERY)
    job.run(end=30)
    room(monkeypatch, EVERY - 16 * (EVERY // COUNT))  # what is there needs none
    job.run()
    assert job.finished() == job.expected


def test_parts_that_are_there_need_no_room(
    tmp_path: Path, own: Extractor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a run mends one that is damaged."""
    store = tmp_path / "store"
    extract(own, PATHS, tmp_path / "one", "train", store=str(store))
    before = content(tmp_path / "one")
    next(store.rglob("*.npy")).write_bytes(b"damaged")
    room(monkeypatch, 10**4)
    with pytest.raises(ThawError, match="the cache needs"):
        extract(own, PATHS, tmp_path / "two", "train")  # which is more than that
    extract(own, PATHS, tmp_path / "one", "train", store=str(store))
    assert content(tmp_path / "one") == before
    assert np.asarray(cache.read(tmp_path / "one", "train_boundary")).any()
