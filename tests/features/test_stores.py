"""`thaw.features.stores`: arrays that lie in parts in a store are read as those in files are."""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path

import fsspec
import numpy as np
import pytest

from s3 import KEY, SECRET, Server, serving
from thaw.core.errors import ThawError
from thaw.features import cache, stores
from thaw.files.arrays import as_npy

ARRAY = np.random.default_rng(0).normal(size=(70, 3, 4, 5)).astype(np.float16)
FAR = "memory://team/cache"


@pytest.fixture(autouse=True)
def _empty() -> Iterator[None]:
    yield
    fsspec.filesystem("memory").store.clear()


def listed(
    out: Path, address: str, array: np.ndarray = ARRAY, each: int = 8, spread: bool = True
) -> stores.Parts:
    """Put an array into a store, and open it by its list."""
    store = stores.opened(address)
    layout = stores.Layout(len(array), each, spread)
    names = [store.put(as_npy(array[list(layout.of(part))])) for part in range(layout.parts)]
    out.mkdir(exist_ok=True)
    stores.write(out / "a.json", address, names, layout, array[0])
    found = cache.read(out, "a")
    assert isinstance(found, stores.Parts)
    return found


@pytest.fixture(params=["folder", FAR])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "store") if request.param == "folder" else request.param


@pytest.fixture(params=[True, False], ids=["spread", "in order"])
def parts(request: pytest.FixtureRequest, tmp_path: Path, address: str) -> stores.Parts:
    return listed(tmp_path / "features", address, spread=request.param)


ROWS = np.array([5, 69, 0, 5, 33])
INDEXES = {
    "a number": 7,
    "the last": -1,
    "a picture's view": (np.int64(7), 2),
    "one value": (7, 2, 1, 3),
    "a slice": slice(3, 40),
    "a slice of none": slice(9, 9),
    "every third backwards": slice(None, None, -3),
    "all": slice(None),
    "rows": ROWS,
    "a list": [3, 1, -1],
    "no rows": np.array([], np.int64),
    "a mask": np.arange(70) % 3 == 0,
    "rows and views": (ROWS, np.array([0, 2, 1, 1, 0])),
    "rows and a view": (ROWS, 1),
    "rows and some views": (ROWS, slice(0, 2)),
    "a slice and views": (slice(0, 3), [2, 0]),
    "the first view of all": (slice(None), slice(0, 1)),
    "some channels": (..., slice(1, 4)),
}


@pytest.mark.parametrize("index", INDEXES.values(), ids=INDEXES)
def test_parts_are_read_as_an_array_is(parts: stores.Parts, index: object) -> None:
    for found, whole in (
        (parts, ARRAY),
        (parts[..., 1:], ARRAY[..., 1:]),
        (parts[:, 1:][..., 1:][..., ::2], ARRAY[:, 1:, ..., 1::2]),
    ):
        try:
            whole[index]
        except IndexError:
            with pytest.raises(IndexError):
                found[index]
            continue
        got, expected = found[index], whole[index]
        assert (got.shape, got.dtype) == (expected.shape, expected.dtype)
        np.testing.assert_array_equal(np.asarray(got), expected)


def test_parts_have_an_arrays_facts(parts: stores.Parts) -> None:
    for found, whole in ((parts, ARRAY), (parts[..., :2], ARRAY[..., :2])):
        assert (found.shape, found.ndim, found.dtype) == (whole.shape, 4, np.float16)
        assert (len(found), found.nbytes) == (70, whole.nbytes)
        np.testing.assert_array_equal(np.asarray(found, np.float32), whole.astype(np.float32))
        np.testing.assert_array_equal(np.array([*found]), whole)
        turns = [rows.tolist() for rows in stores.in_turn(found, 4)]
        assert sorted(chain(*turns)) == [*range(70)]
        assert len(turns) == 9  # a part at a time
    with pytest.raises(IndexError):
        parts[[70]]
    with pytest.raises(IndexError):
        parts[70]


def test_an_array_in_memory_is_read_in_its_order() -> None:
    found = np.concatenate([ARRAY[rows] for rows in stores.in_turn(ARRAY, 32)])
    np.testing.assert_array_equal(found, ARRAY)


@pytest.mark.parametrize("count", [1, 7, 8, 9, 64, 70])
def test_each_picture_has_its_place(count: int) -> None:
    for spread in (False, True):
        layout = stores.Layout(count, 8, spread)
        seen = [(p, r) for p in range(layout.parts) for r in range(len(layout.of(p)))]
        assert max(len(layout.of(part)) for part in range(layout.parts)) <= 8
        numbers = np.array([layout.of(part)[row] for part, row in seen])
        assert sorted(numbers) == [*range(count)]
        assert [*zip(*map(np.ndarray.tolist, layout.places(numbers)), strict=True)] == seen


def test_spread_parts_look_like_the_whole() -> None:
    """Pictures that lie class by class."""
    labels = np.repeat(np.arange(10), 100)
    layout = stores.Layout(1000, 32, spread=True)
    for part in range(layout.parts):
        assert np.bincount(labels[list(layout.of(part))], minlength=10).min() >= 2


def files(address: str) -> Iterator[tuple[str, bytes]]:
    far = isinstance(stores.opened(address), stores.Far)
    held = fsspec.filesystem("memory" if far else "file")
    for name in held.find(address.removeprefix("memory:/")):
        if name.endswith(".npy"):
            yield name, held.cat_file(name)


def damage(address: str, how: str) -> None:
    """Every part of a store."""
    held = fsspec.filesystem("memory" if address == FAR else "file")
    for name, content in [*files(address)]:
        if how == "gone":
            held.rm_file(name)
        elif how == "cut":
            held.pipe_file(name, content[:-9])
        elif how == "flipped":
            held.pipe_file(name, content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])
        else:
            held.pipe_file(name, b"")


@pytest.mark.parametrize("how", ["gone", "cut", "flipped", "empty"])
def test_a_part_that_is_missing_or_damaged_is_a_sentence(
    parts: stores.Parts, address: str, how: str
) -> None:
    damage(address, how)
    why = "it isn't there" if how == "gone" else "it holds something else"
    for _ in range(2):
        with pytest.raises(ThawError, match=rf"^cache.store: .*/.*: part [0-9a-f]{{64}} .*{why}"):
            parts[3]
        with pytest.raises(ThawError, match=r"run `dvc repro -f extract_features`$"):
            np.asarray(parts)
    listed(Path(parts._from[0]).parent, address, spread=parts.layout.spread)  # what that does
    np.testing.assert_array_equal(np.asarray(parts), ARRAY)


def test_lists_of_other_arrays_parts_are_a_sentence(tmp_path: Path, address: str) -> None:
    """As when two lists were mixed up."""
    listed(tmp_path, address)
    path = tmp_path / "a.json"
    path.write_text(path.read_text().replace("<f2", "<f4"))
    with pytest.raises(
        ThawError, match=r"part [0-9a-f]{64} is not as stage extract_features wrote"
    ):
        cache.read(tmp_path, "a")[0]


@pytest.mark.parametrize("content", ["", "{", "{}", "[]", '{"type": "x"}', "\0"])
def test_a_damaged_list_is_a_sentence(tmp_path: Path, content: str) -> None:
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(ThawError, match=r"a.json is not as stage extract_features wrote it"):
        cache.read(tmp_path, "a")


def counted(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each part was fetched."""
    found: Counter[str] = Counter()
    lock, far = threading.Lock(), stores.Far.open

    def opened(self: stores.Far, name: str, scratch: Path) -> object:
        with lock:
            found[name] += 1
        time.sleep(0.001)
        return far(self, name, scratch)

    monkeypatch.setattr(stores.Far, "open", opened)
    return found


def numbers(count: int) -> np.ndarray:
    """(count, 1, 1): each picture has its number."""
    return np.arange(count, dtype=np.int64)[:, None, None]


def test_parts_are_fetched_ahead_once_and_few_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An epoch of them in a random order, by two threads, as Keras has."""
    out = tmp_path / "data/features"
    out.parent.mkdir()
    parts = listed(out, FAR, numbers(400), each=2)
    fetched = counted(monkeypatch)
    generator = np.random.default_rng(0)
    order = generator.permutation(200).tolist()
    parts.expect(order)
    assert not fetched  # nothing before it is needed
    assert parts[parts.layout.of(order[0])[0]].item() == order[0]
    deadline = time.monotonic() + 10
    while len(fetched) < 2 * stores.WINDOW and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(fetched) == 2 * stores.WINDOW
    batches = []
    for start in range(0, 200, stores.WINDOW):
        mixed = [n for part in order[start : start + stores.WINDOW] for n in parts.layout.of(part)]
        drawn = generator.permutation(mixed)
        batches += [drawn[at : at + 8] for at in range(0, len(drawn), 8)]
    held = []

    abreast = threading.Barrier(2, timeout=30)

    def read(every_other: list[np.ndarray]) -> bool:
        right = True
        for rows in every_other:
            with parts._reader._lock:
                held.append(len(parts._reader._held))
            right &= bool((parts[rows, np.zeros(len(rows), np.int64)][:, 0] == rows).all())
            abreast.wait()  # on a busy machine one might be far behind, and fetch what was let go
        return right

    with ThreadPoolExecutor(2) as pool:
        assert all(pool.map(read, (batches[::2], batches[1::2])))
    assert len(fetched) == 200
    assert fetched.total() < 260
    assert max(held) <= stores.KEPT
    assert [*(tmp_path / "data").iterdir()] == [out]  # what is kept has no name
    assert [*out.iterdir()] == [out / "a.json"]


def test_many_threads_read_what_is_there_in_any_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With so few parts kept that each ends while others are read."""
    monkeypatch.setattr(stores, "KEPT", 3)
    parts = listed(tmp_path, FAR, numbers(200), each=4)
    parts.expect(range(50))
    fetched = counted(monkeypatch)

    def read(seed: int) -> bool:
        generator = np.random.default_rng(seed)
        draws = (generator.integers(200, size=16) for _ in range(3))
        return all((parts[rows][:, 0, 0] == rows).all() for rows in draws)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(read, range(8)))
    assert max(fetched.values()) > 1  # they were let go, and fetched again
    assert len(parts._reader._held) <= 3


def test_writers_of_the_same_part_do_not_meet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = stores.Folder(str(tmp_path))
    content = bytes(10**6)
    write = Path.write_bytes

    def slowly(path: Path, given: bytes) -> int:
        time.sleep(0.02)
        return write(path, given)

    monkeypatch.setattr(Path, "write_bytes", slowly)
    with ThreadPoolExecutor(8) as pool:
        names = {*pool.map(lambda _: store.put(content), range(32))}
    assert store.names() == {names.pop(): 10**6}
    assert not names
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 1


WRONG = {
    "s4://team/cache": "cache.store: s4://team/cache: Protocol not known: s4; give a folder or",
    "s3:/team/cache": "cache.store: s3:/team/cache: give the folder's whole path",
    "cache": "cache.store: cache: give the folder's whole path",
    "/not there/cache": "there is no folder /not there; mount it or make it",
    "/dev/null/cache": "there is no folder /dev/null; mount it or make it",
    "/proc/cache": r"cache.store: /proc/cache can't be written \(.*\); free disk space, or make",
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_store_that_can_not_be_written_is_a_sentence(wrong: str) -> None:
    with pytest.raises(ThawError, match=WRONG[wrong]):
        stores.opened(wrong).check()


def test_a_store_that_is_checked_tells_what_it_is(address: str) -> None:
    store = stores.opened(address)
    store.check()
    assert store.names() == {}  # the note is no part
    if isinstance(store, stores.Folder):
        assert "Thaw removes none" in (store.path / "about.txt").read_text()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("s3")) as started:
        yield started


@pytest.fixture
def s3(server: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    """Its address and keys in the environment."""
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return server


@pytest.mark.usefixtures("s3")
def test_parts_in_s3_are_read_as_an_array_is(tmp_path: Path) -> None:
    store = stores.opened("s3://team/cache")
    store.check()
    assert store.names() == {}
    parts = listed(tmp_path, "s3://team/cache")
    assert len(store.names()) == parts.layout.parts
    np.testing.assert_array_equal(np.asarray(parts), ARRAY)
    np.testing.assert_array_equal(parts[ROWS, 1], ARRAY[ROWS, 1])
    fsspec.filesystem("s3").rm("team/cache", recursive=True)
    with pytest.raises(ThawError, match=r"s3://team/cache: part .* \(it isn't there\)"):
        cache.read(tmp_path, "a")[0]


@pytest.mark.parametrize(
    ("place", "variable", "value", "said"),
    [
        ("s3://team/x", "AWS_SECRET_ACCESS_KEY", "wrong", "can't be read or written"),
        ("s3://nobody/x", "AWS_SECRET_ACCESS_KEY", SECRET, "bucket does not exist"),
    ],
    ids=["wrong keys", "no bucket"],
)
@pytest.mark.usefixtures("s3")
def test_s3_that_is_not_reached_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, place: str, variable: str, value: str, said: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ThawError, match=f"^params.yaml: cache.store: {place} .*{said}.*keys") as at:
        stores.opened(place).check()
    assert "\n" not in str(at.value)
