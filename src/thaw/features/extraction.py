"""Running the frozen layers over every view of every picture: the work, and what it leaves."""

import hashlib
import os
import shutil
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from thaw.core import engines, environment
from thaw.core.errors import some
from thaw.core.progress import track
from thaw.core.threads import in_threads
from thaw.features import stores
from thaw.features.cache import FLOAT16_MAX, Facts
from thaw.features.journal import Journal
from thaw.files.arrays import as_npy
from thaw.files.serialize import refuse_full, writable
from thaw.pictures import augmentation, decoding, sessions

KINDS = ("boundary", "bottleneck")
Model = bytes | str  # an exported extractor, or its path


@dataclass(frozen=True)
class Shapes:
    """Of what is computed for a picture: (views, ...), and its type."""

    boundary: tuple[int, ...]
    boundary_type: str
    bottleneck: tuple[int, ...]

    def of(self, kind: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
        """That of one of `KINDS`."""
        if kind == "boundary":
            return self.boundary, np.dtype(self.boundary_type)
        return self.bottleneck, np.dtype(np.float32)

    def size(self, kind: str) -> int:
        """Bytes."""
        shape, kept = self.of(kind)
        return int(np.prod(shape)) * kept.itemsize


def shapes(session: onnxruntime.InferenceSession, facts: Facts, views: int) -> Shapes:
    """What an extractor gives for so many views of a picture; 0 views: the picture itself."""
    *maps, bottleneck = [tuple(output.shape[1:]) for output in session.get_outputs()]
    drawn = max(views, 1)
    boundary = maps[0] if maps else (facts.image_size, facts.image_size, 3)
    return Shapes((drawn, *boundary), "float16" if maps else "uint8", (drawn, *bottleneck))


@dataclass(frozen=True)
class Extractor:
    """Runs every view of a picture through the frozen layers."""

    model: Model
    folder: Path
    facts: Facts
    views: int
    still: bool = False  # the picture itself, and turned and mirrored, in place of drawn views

    def start(self) -> Callable[[str], tuple[bytes, bytes, int]]:
        """From a picture's path to the bytes of both arrays, and how many values were cut."""
        session = sessions.session(self.model)
        facts = self.facts

        def compute(path: str) -> tuple[bytes, bytes, int]:
            engines.works_on(str(self.folder / path))
            pixels = decoding.load(
                self.folder / path, facts.image_size, facts.resize, facts.bit_depth
            )
            if self.still:
                turned = facts.augmentation.symmetries[: self.views]
                drawn = [augmentation.symmetric(pixels, *each) for each in turned]
            else:
                drawn = [
                    augmentation.view(pixels, facts.augmentation, index, facts.seed, path)
                    for index in range(self.views)
                ]
            stacked = np.stack(drawn or [pixels])
            *cached, bottleneck = sessions.run(session, stacked)
            as_float32 = bottleneck.astype(np.float32).tobytes()
            if not cached:
                return stacked.tobytes(), as_float32, 0
            boundary = np.clip(cached[0], -FLOAT16_MAX, FLOAT16_MAX)
            beyond = int(np.count_nonzero(boundary != cached[0]))  # and what is no number
            return boundary.astype(np.float16).tobytes(), as_float32, beyond

        return compute


@dataclass(frozen=True)
class IntoFiles:
    """Writes what is computed for a picture to its place in two files that are there already."""

    extractor: Extractor
    files: tuple[Path, Path]
    begins: tuple[int, int]  # bytes of their headers

    def start(self) -> Callable[[tuple[int, str]], tuple[int, int]]:
        """From a picture's number and path to a checksum of both, and how many values were cut."""
        compute = self.extractor.start()

        def work(picture: tuple[int, str]) -> tuple[int, int]:
            number, path = picture
            *both, beyond = compute(path)
            check = 0
            for file, begin, found in zip(self.files, self.begins, both, strict=True):
                with writable(file), file.open("r+b") as opened:
                    opened.seek(begin + number * len(found))
                    opened.write(found)
                check = zlib.crc32(found, check)
            return check, beyond

        return work


@dataclass(frozen=True)
class IntoParts:
    """Writes what is computed for some pictures to a store, a file for each array."""

    extractor: Extractor
    shapes: Shapes
    store: str

    def start(self) -> Callable[[tuple[str, ...]], tuple[tuple[str, ...], int]]:
        """From pictures' paths to the names of the parts, and how many values were cut."""
        compute = self.extractor.start()
        store = stores.opened(self.store)

        def work(paths: tuple[str, ...]) -> tuple[tuple[str, ...], int]:
            found = [compute(path) for path in paths]
            names = []
            for number, kind in enumerate(KINDS):
                shape, kept = self.shapes.of(kind)
                raw = b"".join((boundary, bottleneck)[number] for boundary, bottleneck, _ in found)
                part = np.frombuffer(raw, kept).reshape(len(paths), *shape)
                names.append(store.put(as_npy(part)))
            return tuple(names), sum(each[2] for each in found)

        return work


BLOCK = 16  # pictures that the journal has a line for
CODE = ("features", "files", "pictures")  # packages that a cache's bytes follow from
LIBRARIES = ("numpy", "onnxruntime", environment.ON_CUDA, "pillow")


def extract(
    extractor: Extractor,
    paths: Sequence[str],
    out: Path,
    name: str,
    *,
    scratch: Path | None = None,
    store: str | None = None,
    spread: bool = False,
) -> int:
    """Run every view of every picture once, writing as it goes: memory doesn't grow with them.

    Makes `{name}_boundary.npy`, float16 (pictures, views, H, W, C), or uint8 (pictures, views, S,
    S, 3) where pixels are cached, and `{name}_bottleneck.npy`, float32 (pictures, views, 2, C) or
    (pictures, views, H, W, C).

    Args:
        extractor: what runs, and on which pictures' folder.
        paths: the pictures, below it.
        out: the folder to write to.
        name: of the split.
        scratch: where both are left, for `finish`: what is there of the same pictures isn't done
            again. None: they go to `out` when they are whole, and an error leaves nothing.
        store: the address of a store, for parts of the arrays; in place of them, lists of the parts
            are made, `{name}_boundary.json` and so on. None: no store.
        spread: whether each part holds pictures from all over, as suits training; else those that
            follow each other.

    Returns:
        How many of the boundary's values float16 can't hold; they are cut to its largest one.
    """
    folder = scratch or out
    folder.mkdir(parents=True, exist_ok=True)
    session = sessions.session(extractor.model)
    made = shapes(session, extractor.facts, extractor.views)
    job = key(paths, extractor, f"{store} {spread} {session.get_providers()}")
    journal = Journal(_unfinished(folder, f"{name}.journal"), job)
    if not journal.found:
        _remove(folder, name)
    try:
        if store:
            layout = stores.Layout(len(paths), stores.EACH, spread)
            cut = _into_parts(extractor, made, paths, folder, name, journal, store, layout)
        else:
            cut = _into_files(extractor, made, paths, folder, name, journal)
    except BaseException:
        journal.close()
        if scratch is None:
            _remove(folder, name)
        raise
    journal.close()
    if scratch is None:
        finish(out, out, [name])
    return cut


def finish(scratch: Path, out: Path, names: Sequence[str]) -> None:
    """Move what `extract` left to `out`."""
    out.mkdir(parents=True, exist_ok=True)
    for name in names:
        for kind in KINDS:
            for ending, other in (("npy", "json"), ("json", "npy")):
                made = _unfinished(scratch, f"{name}_{kind}.{ending}")
                if made.exists():
                    made.replace(out / f"{name}_{kind}.{ending}")
                    (out / f"{name}_{kind}.{other}").unlink(missing_ok=True)
        _remove(scratch, name)
    if scratch != out:
        shutil.rmtree(scratch)


def _into_files(
    extractor: Extractor,
    made: Shapes,
    paths: Sequence[str],
    folder: Path,
    name: str,
    journal: Journal,
) -> int:
    """Both arrays, each picture at its place in two files."""
    boundary, bottleneck = (_unfinished(folder, f"{name}_{kind}.npy") for kind in KINDS)
    files = (boundary, bottleneck)
    whole = _whole(journal.found, files, made, len(paths), name)
    if not whole:
        for file, kind in zip(files, KINDS, strict=True):
            with writable(file):
                _empty(file, len(paths), kind, made)
    left = Left(paths, [block for block in range(-(-len(paths) // BLOCK)) if block not in whole])
    _refuse_full(folder, len(left) * sum(map(made.size, KINDS)))
    journal.begin(whole)
    _tell(len(paths) - len(left), len(paths), name)
    work = IntoFiles(extractor, files, (_header(boundary), _header(bottleneck)))
    cut = sum(int(words[1]) for words in whole.values())
    checks, beyond = [], 0
    done = track(engines.spread(work, left), name, len(left))
    for (number, _), (check, more) in zip(left, done, strict=True):
        checks.append(check)
        beyond += more
        if (number + 1) % BLOCK == 0 or number + 1 == len(paths):
            journal.add(number // BLOCK, _of_all(checks), beyond)
            cut += beyond
            checks, beyond = [], 0
    return cut


def _into_parts(
    extractor: Extractor,
    made: Shapes,
    paths: Sequence[str],
    folder: Path,
    name: str,
    journal: Journal,
    address: str,
    layout: stores.Layout,
) -> int:
    """Both arrays in parts, put into a store by whoever computes them, and their lists."""
    store = stores.opened(address)
    there = store.names() if journal.found else {}

    def is_there(part: int, words: list[str]) -> bool:
        least = [len(layout.of(part)) * made.size(kind) for kind in KINDS]
        return len(words) == 1 + len(KINDS) and all(
            there.get(each, 0) > size for each, size in zip(words[1:], least, strict=True)
        )

    whole = {part: words for part, words in journal.found.items() if is_there(part, words)}
    left = Grouped(paths, layout, [part for part in range(layout.parts) if part not in whole])
    done = len(paths) - sum(len(layout.of(part)) for part in left.parts)
    if isinstance(store, stores.Folder):
        _refuse_full_store(store, (len(paths) - done) * sum(map(made.size, KINDS)))
    journal.begin(whole)
    _tell(done, len(paths), name)
    found = engines.spread(IntoParts(extractor, made, address), left, at_once=1)
    parts = track(found, name, len(left), f"parts of {stores.EACH} pictures")
    for part, (names, beyond) in zip(left.parts, parts, strict=True):
        journal.add(part, beyond, *names)
        whole[part] = [str(beyond), *names]
    for number, kind in enumerate(KINDS, start=1):
        shape, kept = made.of(kind)
        listed = _unfinished(folder, f"{name}_{kind}.json")
        every = [whole[part][number] for part in range(layout.parts)]
        stores.write(listed, address, every, layout, np.empty(shape, kept))
    return sum(int(words[0]) for words in whole.values())


@dataclass(frozen=True)
class Left(Sequence[tuple[int, str]]):
    """The pictures of some blocks with their numbers; made as they are asked for."""

    paths: Sequence[str]
    blocks: Sequence[int]

    def __len__(self) -> int:
        if not self.blocks:
            return 0
        short = max(0, (self.blocks[-1] + 1) * BLOCK - len(self.paths))  # the last block of all
        return len(self.blocks) * BLOCK - short

    def __getitem__(self, index: Any) -> Any:
        place = range(len(self))[index]
        number = self.blocks[place // BLOCK] * BLOCK + place % BLOCK
        return number, self.paths[number]


@dataclass(frozen=True)
class Grouped(Sequence[tuple[str, ...]]):
    """The pictures of each of some parts."""

    paths: Sequence[str]
    layout: stores.Layout
    parts: Sequence[int]

    def __len__(self) -> int:
        return len(self.parts)

    def __getitem__(self, index: Any) -> Any:
        return tuple(self.paths[number] for number in self.layout.of(self.parts[index]))


def key(paths: Sequence[str], extractor: Extractor, how: str) -> str:
    """Of all that a cache's bytes follow from, and of the pictures' sizes and times."""
    model = extractor.model
    digest = hashlib.sha256(model if isinstance(model, bytes) else Path(model).read_bytes())
    ran_on = environment.processor("flags", "Features"), environment.versions(LIBRARIES)
    for fact in (extractor.facts, extractor.views, how, *ran_on):
        digest.update(f"{fact}\n".encode())
    for folder in CODE:
        for path in sorted((Path(__file__).parents[1] / folder).glob("*.py")):
            digest.update(path.read_bytes())
    for name in paths:
        digest.update(f"{name!r} {_seen(extractor.folder / name)}\n".encode())
    return digest.hexdigest()


def _seen(path: Path) -> str:
    """A file's size and time; nothing where there is none, which whoever opens it will tell."""
    try:
        status = path.stat()
    except OSError:
        return ""
    return f"{status.st_size} {status.st_mtime_ns}"


def _whole(
    found: dict[int, list[str]], files: tuple[Path, Path], made: Shapes, count: int, name: str
) -> dict[int, list[str]]:
    """What the journal has of blocks that are in the files as they were written."""
    sizes = [made.size(kind) for kind in KINDS]
    if not found or not all(
        _is_of(file, count * size) for file, size in zip(files, sizes, strict=True)
    ):
        return {}
    begins = [*map(_header, files)]

    with files[0].open("rb") as one, files[1].open("rb") as other:

        def is_whole(block: int) -> bool:
            checks = []
            for number in range(block * BLOCK, min((block + 1) * BLOCK, count)):
                check = 0
                for file, begin, size in zip((one, other), begins, sizes, strict=True):
                    check = zlib.crc32(os.pread(file.fileno(), size, begin + number * size), check)
                checks.append(check)
            words = found[block]
            return len(words) == 2 and words[0] == f"{_of_all(checks)}" and words[1].isdigit()

        blocks = sorted(block for block in found if 0 <= block * BLOCK < count)
        looked = track(
            in_threads(is_whole, blocks), f"{name}, what is there", len(blocks), "blocks"
        )
        return {block: found[block] for block, good in zip(blocks, looked, strict=True) if good}


def _is_of(path: Path, size: int) -> bool:
    """Whether a .npy file is there and has so many bytes of contents."""
    try:
        return _header(path) + size == path.stat().st_size
    except (OSError, ValueError, EOFError):
        return False


def _of_all(checks: Sequence[int]) -> int:
    return zlib.crc32(struct.pack(f"<{len(checks)}I", *checks))


def _tell(done: int, count: int, name: str) -> None:
    if done:
        print(f"{name}: goes on after {done:,} of {some(count, 'picture')}, which are there")


def _unfinished(folder: Path, name: str) -> Path:
    return folder / f".part-{name}"


def _remove(folder: Path, name: str) -> None:
    for kind in KINDS:
        for ending in ("npy", "json"):
            _unfinished(folder, f"{name}_{kind}.{ending}").unlink(missing_ok=True)
    _unfinished(folder, f"{name}.journal").unlink(missing_ok=True)


def _empty(path: Path, count: int, kind: str, made: Shapes) -> None:
    """Make a .npy file for so many pictures, without contents."""
    shape, kept = made.of(kind)
    with path.open("wb") as file:
        descr = np.lib.format.dtype_to_descr(kept)
        header = {"descr": descr, "fortran_order": False, "shape": (count, *shape)}
        np.lib.format.write_array_header_1_0(file, header)
        file.truncate(file.tell() + count * made.size(kind))


def _header(path: Path) -> int:
    """Bytes of a .npy file's header."""
    with path.open("rb") as file:
        np.lib.format.read_magic(file)
        np.lib.format.read_array_header_1_0(file)
        return file.tell()


def _refuse_full(folder: Path, needed: int) -> None:
    remedy = (
        "set fewer augment.views, a smaller image_size, a higher cache.layer or a cache.store with "
        "more room in params.yaml"
    )
    refuse_full(folder, needed, "the cache", remedy)


def _refuse_full_store(store: stores.Folder, needed: int) -> None:
    """The same of a folder of parts; what lies there may be some of those that are to come."""
    store.check()
    if needed > shutil.disk_usage(store.path).free:
        _refuse_full(store.path, needed - sum(store.names().values()))
