"""Running the frozen layers over every view of every picture: the work, and what it leaves."""

import hashlib
import shutil
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from thaw.core import engines
from thaw.core.errors import ThawError, some
from thaw.core.progress import track
from thaw.features import stores
from thaw.features.cache import FLOAT16_MAX, Facts
from thaw.features.journal import Journal
from thaw.files.arrays import as_npy
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

    def start(self) -> Callable[[str], tuple[bytes, bytes, int]]:
        """From a picture's path to the bytes of both arrays, and how many values were cut."""
        session = sessions.session(self.model)
        facts = self.facts

        def compute(path: str) -> tuple[bytes, bytes, int]:
            engines.works_on(str(self.folder / path))
            pixels = decoding.load(
                self.folder / path, facts.image_size, facts.resize, facts.bit_depth
            )
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
                with _writable(file), file.open("r+b") as opened:
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


BLOCK = 64  # pictures between two lines of the journal


def extract(
    extractor: Extractor,
    paths: Sequence[str],
    out: Path,
    name: str,
    *,
    scratch: Path | None = None,
    store: str | None = None,
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

    Returns:
        How many of the boundary's values float16 can't hold; they are cut to its largest one.
    """
    folder = scratch or out
    folder.mkdir(parents=True, exist_ok=True)
    made = shapes(sessions.session(extractor.model), extractor.facts, extractor.views)
    journal = Journal(_unfinished(folder, f"{name}.journal"), key(paths, extractor, store))
    try:
        if store:
            cut = _into_parts(extractor, made, paths, folder, name, journal, store)
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
            for ending in ("npy", "json"):
                made = _unfinished(scratch, f"{name}_{kind}.{ending}")
                if made.exists():
                    made.replace(out / f"{name}_{kind}.{ending}")
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
    begun = all(
        file.exists() and _header(file) + len(paths) * made.size(kind) == file.stat().st_size
        for file, kind in zip(files, KINDS, strict=True)
    )
    whole = _whole(journal.lines, files, made) if begun else []
    if not whole:
        _refuse_full(folder, len(paths) * sum(map(made.size, KINDS)))
        for file, kind in zip(files, KINDS, strict=True):
            with _writable(file):
                _empty(file, len(paths), kind, made)
    journal.begin(whole)
    first = int(whole[-1][0]) if whole else 0
    cut = sum(int(line[2]) for line in whole)
    _tell(first, len(paths), name)
    work = IntoFiles(extractor, files, (_header(boundary), _header(bottleneck)))
    left = Numbered(paths, first)
    checks, beyond = [], 0
    for number, (check, more) in enumerate(
        track(engines.spread(work, left), name, len(left)), start=first + 1
    ):
        checks.append(check)
        beyond += more
        if number % BLOCK == 0 or number == len(paths):
            journal.add(number, _of_all(checks), beyond)
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
) -> int:
    """Both arrays in parts, put into a store by whoever computes them, and their lists."""
    store = stores.opened(address)
    whole = []
    for line in journal.lines:
        if len(line) != 1 + len(KINDS) or not all(map(store.has, line[1:])):
            break
        whole.append(line)
    journal.begin(whole)
    _tell(min(len(whole) * stores.EACH, len(paths)), len(paths), name)
    left = Grouped(paths, len(whole))
    done = engines.spread(IntoParts(extractor, made, address), left, at_once=1)
    for names, beyond in track(done, name, len(left), f"parts of {stores.EACH} pictures"):
        journal.add(beyond, *names)
        whole.append([str(beyond), *names])
    for number, kind in enumerate(KINDS, start=1):
        shape, kept = made.of(kind)
        listed = _unfinished(folder, f"{name}_{kind}.json")
        row = np.empty(shape, kept)
        stores.write(listed, address, [line[number] for line in whole], len(paths), row)
    return sum(int(line[0]) for line in whole)


@dataclass(frozen=True)
class Numbered(Sequence[tuple[int, str]]):
    """Pictures with their numbers, from the first that is left; made as they are asked for."""

    paths: Sequence[str]
    first: int

    def __len__(self) -> int:
        return len(self.paths) - self.first

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        number = self.first + range(len(self))[index]
        return number, self.paths[number]


@dataclass(frozen=True)
class Grouped(Sequence[tuple[str, ...]]):
    """The pictures of each part, from the first that is left."""

    paths: Sequence[str]
    first: int

    def __len__(self) -> int:
        return -(-len(self.paths) // stores.EACH) - self.first

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        start = (self.first + range(len(self))[index]) * stores.EACH
        return tuple(self.paths[start : start + stores.EACH])


def key(paths: Sequence[str], extractor: Extractor, store: str | None) -> str:
    """Of all that a cache's bytes follow from, and of the pictures' sizes and times."""
    digest = hashlib.sha256(f"{extractor.facts} {extractor.views} {store}".encode())
    model = extractor.model
    digest.update(model if isinstance(model, bytes) else Path(model).read_bytes())
    for path in paths:
        digest.update(f"{path!r} {_seen(extractor.folder / path)}\n".encode())
    return digest.hexdigest()


def _seen(path: Path) -> str:
    """A file's size and time; nothing where there is none, which whoever opens it will tell."""
    try:
        status = path.stat()
    except OSError:
        return ""
    return f"{status.st_size} {status.st_mtime_ns}"


def _whole(lines: list[list[str]], files: tuple[Path, Path], made: Shapes) -> list[list[str]]:
    """The lines of a journal whose pictures are in the files as they were written."""
    sizes, begins = [made.size(kind) for kind in KINDS], [*map(_header, files)]
    found: list[list[str]] = []
    with files[0].open("rb") as one, files[1].open("rb") as other:
        for file, begin in zip((one, other), begins, strict=True):
            file.seek(begin)
        first = 0
        for line in lines:
            stop = int(line[0])
            checks = []
            for _ in range(first, stop):
                check = zlib.crc32(one.read(sizes[0]))
                checks.append(zlib.crc32(other.read(sizes[1]), check))
            if _of_all(checks) != int(line[1]):
                break
            found.append(line)
            first = stop
    return found


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
    """Refuse what the disk has no room for, before the work and not after."""
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise ThawError(
            f"the cache needs {needed / 1e9:,.1f} GB in {folder}, and {free / 1e9:,.1f} GB are "
            "free; free disk space, or set fewer augment.views, a smaller image_size or a higher "
            "cache.layer in params.yaml"
        )


@contextmanager
def _writable(path: Path) -> Iterator[None]:
    """A sentence where the file can't be written."""
    try:
        yield
    except OSError as error:
        raise ThawError(
            f"{path} can't be written ({error.strerror or error}); "
            "free disk space or make its folder writable"
        ) from error
