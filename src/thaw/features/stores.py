"""Where parts of a cache lie that many machines share: a folder, or what fsspec reaches, as S3.

A part is a .npy file whose name is the SHA-256 of its contents, so that what is there is whole, and
runs that share parts share their files.
"""

import hashlib
import json
import math
import tempfile
import weakref
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from io import BufferedRandom, BufferedReader
from pathlib import Path
from threading import Lock
from typing import Any, Protocol
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from thaw.core.errors import ThawError, of_the_machine, one_line, reason
from thaw.files.arrays import forget
from thaw.files.serialize import write_json

EACH = 32  # pictures in a part
WINDOW = 16  # parts whose pictures are mixed with each other
KEPT = 3 * WINDOW  # parts of an array that are open here: two windows, and the one before
THREADS = 4  # that open them
ABOUT = "about.txt"
TOLD = """\
Parts of Thaw's caches of features (cache.store in params.yaml): .npy files, named by the SHA-256 of
their contents. data/features/ of a run lists its own. Thaw removes none of them.
"""

Numbers = NDArray[np.int64]


class Store(Protocol):
    """Keeps files by the SHA-256 of their contents."""

    def put(self, content: bytes) -> str:
        """Keep it; its name."""
        ...

    def names(self) -> dict[str, int]:
        """What is there, and how many bytes each has."""
        ...

    def open(self, name: str, scratch: Path) -> BufferedReader | BufferedRandom:
        """A file of this machine with its contents; in `scratch`, without a name, if need be."""
        ...

    def check(self) -> None:
        """Leave a note of what this is, and read it: that writing and reading are allowed.

        Raises:
            ThawError: when they aren't.
        """
        ...


class Folder:
    """A folder that all machines see."""

    def __init__(self, address: str) -> None:
        self._address = address
        self.path = Path(address.removeprefix("file://")).expanduser()
        if not self.path.is_absolute():
            raise ThawError(
                f"params.yaml: cache.store: {address}: give the folder's whole path, the same on "
                "all machines, as /mnt/team/cache, or an s3:// address"
            )

    def _path(self, name: str) -> Path:
        return self.path / name[:2] / f"{name}.npy"

    def put(self, content: bytes) -> str:
        """As `Store` has it."""
        name = hashlib.sha256(content).hexdigest()
        path = self._path(name)
        with suppress(OSError):
            if path.read_bytes() == content:
                return name
        self._write(path, content)
        return name

    def names(self) -> dict[str, int]:
        """As `Store` has it."""
        return {path.stem: path.stat().st_size for path in self.path.glob("??/*.npy")}

    def open(self, name: str, scratch: Path) -> BufferedReader | BufferedRandom:  # noqa: ARG002
        """As `Store` has it."""
        return self._path(name).open("rb")

    def check(self) -> None:
        """As `Store` has it."""
        if not self.path.parent.is_dir():
            raise ThawError(
                f"params.yaml: cache.store: {self._address}: there is no folder "
                f"{self.path.parent}; mount it or make it"
            )
        self._write(self.path / ABOUT, TOLD.encode())

    def _write(self, path: Path, content: bytes) -> None:
        """Under a name of its own first, as several processes may write the same file."""
        temporary = path.with_name(f".part-{uuid4().hex}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(content)
            temporary.replace(path)
        except OSError as error:
            raise ThawError(
                f"params.yaml: cache.store: {self._address} can't be written "
                f"({error.strerror or error}); free disk space, or make the folder writable"
            ) from error
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)


class Far:
    """What fsspec reaches by an address."""

    def __init__(self, address: str) -> None:
        import fsspec  # type: ignore[import-untyped]

        self._address = address
        try:
            self._files, self._root = fsspec.core.url_to_fs(address)
        except (ImportError, ValueError) as error:
            raise ThawError(
                f"params.yaml: cache.store: {address}: {one_line(reason(error))}; give a folder or "
                "an s3:// address"
            ) from None

    def _path(self, name: str) -> str:
        return f"{self._root.rstrip('/')}/{name[:2]}/{name}.npy"

    def put(self, content: bytes) -> str:
        """As `Store` has it."""
        name = hashlib.sha256(content).hexdigest()
        try:
            self._files.pipe_file(self._path(name), content)
        except Exception as error:
            raise self._unreached(error) from None
        return name

    def names(self) -> dict[str, int]:
        """As `Store` has it."""
        try:
            self._files.invalidate_cache()
            found = self._files.find(self._root, detail=True)
        except FileNotFoundError:
            return {}
        except Exception as error:
            raise self._unreached(error) from None
        parts = {Path(name): facts["size"] for name, facts in found.items()}
        return {path.stem: size for path, size in parts.items() if path.suffix == ".npy"}

    def open(self, name: str, scratch: Path) -> BufferedReader | BufferedRandom:
        """As `Store` has it."""
        try:
            content = self._files.cat_file(self._path(name))
        except FileNotFoundError:
            raise
        except Exception as error:
            raise self._unreached(error) from None
        file = tempfile.TemporaryFile(dir=scratch)  # noqa: SIM115
        file.write(content)
        file.seek(0)
        return file

    def check(self) -> None:
        """As `Store` has it."""
        path = f"{self._root.rstrip('/')}/{ABOUT}"
        try:
            self._files.pipe_file(path, TOLD.encode())
            self._files.cat_file(path)
        except Exception as error:
            raise self._unreached(error) from None

    def _unreached(self, error: Exception) -> Exception:
        """A sentence for what a library of any kind raises."""
        if of_the_machine(error):
            return error
        return ThawError(
            f"params.yaml: cache.store: {self._address} can't be read or written "
            f"({one_line(reason(error))}); mend the address, its keys (AWS_ACCESS_KEY_ID, "
            "AWS_SECRET_ACCESS_KEY) or AWS_ENDPOINT_URL"
        )


def opened(address: str) -> Folder | Far:
    """The store of an address.

    Raises:
        ThawError: when nothing is known that reaches it.
    """
    if "://" in address and not address.startswith("file://"):
        return Far(address)
    return Folder(address)


@dataclass(frozen=True)
class Layout:
    """Which pictures lie in which part."""

    count: int  # of pictures
    each: int  # of them in a part, at most
    spread: bool  # whether a part holds pictures from all over, so that it looks like the whole

    @property
    def parts(self) -> int:
        """How many there are."""
        return -(-self.count // self.each)

    def of(self, part: int) -> range:
        """The numbers of a part's pictures."""
        if self.spread:
            return range(part, self.count, self.parts)
        return range(part * self.each, min((part + 1) * self.each, self.count))

    def places(self, pictures: Numbers) -> tuple[Numbers, Numbers]:
        """The part in which each picture is, and its row there."""
        if self.spread:
            return pictures % self.parts, pictures // self.parts
        return pictures // self.each, pictures % self.each


def write(
    path: Path, address: str, names: Sequence[str], layout: Layout, row: NDArray[Any]
) -> None:
    """Write which parts make up an array.

    Args:
        path: of the list.
        address: of the store.
        names: of the parts, in order.
        layout: which pictures each holds.
        row: of a picture's shape and type.
    """
    facts = {
        "store": address,
        "type": np.lib.format.dtype_to_descr(row.dtype),
        "shape": [layout.count, *row.shape],
        "each": layout.each,
        "spread": layout.spread,
        "parts": list(names),
    }
    write_json(path, facts)


class _Reader:
    """Opens parts, ahead of need, and lets go of those that were used long ago.

    What is open has no name on this disk, or is the store's own: its place is free again when
    nobody reads it any more, however the process ends.
    """

    def __init__(self, path: Path, scratch: Path) -> None:
        facts = json.loads(path.read_text(encoding="utf-8"))
        self.dtype = np.dtype(facts["type"])
        self.shape: tuple[int, ...] = tuple(map(int, facts["shape"]))
        self.layout = Layout(self.shape[0], int(facts["each"]), bool(facts["spread"]))
        self._address = str(facts["store"])
        self._names: list[str] = list(map(str, facts["parts"]))
        if len(self._names) != self.layout.parts:
            raise ValueError(f"{len(self._names)} parts of {self.shape[0]} pictures")
        self._store = opened(self._address)
        self.far = isinstance(self._store, Far)
        self._scratch = scratch
        self._lock = Lock()
        self._held: OrderedDict[int, Future[NDArray[Any]]] = OrderedDict()  # used last at the end
        self._whole: set[int] = set()  # parts of a folder whose contents were compared
        self._order: Sequence[int] = ()  # that parts will be wanted in
        self._place: dict[int, int] = {}  # of each in it
        self._pool = ThreadPoolExecutor(THREADS)
        # What nobody waits for any more isn't fetched.
        weakref.finalize(self, self._pool.shutdown, wait=False, cancel_futures=True)

    def expect(self, order: Sequence[int]) -> None:
        """Say in which order parts will be wanted, so that they are opened ahead of need."""
        with self._lock:
            self._order = order
            self._place = {part: place for place, part in enumerate(order)}

    def part(self, number: int) -> NDArray[Any]:
        """(rows, ...) of a part, mapped."""
        with self._lock:
            found = self._want(number)
            place = self._place.get(number)
            if place is not None:
                end = (place // WINDOW + 2) * WINDOW
                for later in self._order[place + 1 : end]:
                    self._want(later)
            while len(self._held) > KEPT:
                self._held.popitem(last=False)  # who waits for it or reads it still has it
        try:
            return found.result()
        except BaseException:
            with self._lock:
                if self._held.get(number) is found:
                    del self._held[number]
            raise

    def _want(self, number: int) -> Future[NDArray[Any]]:
        if number not in self._held:
            self._held[number] = self._pool.submit(self._open, number)
        self._held.move_to_end(number)
        return self._held[number]

    def _open(self, number: int) -> NDArray[Any]:
        name = self._names[number]
        try:
            with self._store.open(name, self._scratch) as file:
                if self.far or number not in self._whole:
                    if hashlib.file_digest(file, "sha256").hexdigest() != name:
                        raise self._gone(name, "it holds something else")
                    self._whole.add(number)
                    file.seek(0)
                return self._mapped(file, len(self.layout.of(number)))
        except FileNotFoundError:
            raise self._gone(name, "it isn't there") from None
        except (ValueError, EOFError) as error:
            raise self._gone(name, reason(error)) from None

    def _mapped(self, file: BufferedReader | BufferedRandom, rows: int) -> NDArray[Any]:
        np.lib.format.read_magic(file)
        shape, _, kept = np.lib.format.read_array_header_1_0(file)  # it takes no pickles
        if (shape, kept) != ((rows, *self.shape[1:]), self.dtype):
            raise ValueError(f"{shape} of {kept}")
        return np.memmap(file, kept, "r", file.tell(), shape)

    def _gone(self, name: str, why: str) -> ThawError:
        return ThawError(
            f"cache.store: {self._address}: part {name} is not as stage extract_features wrote it "
            f"({why}); run `dvc repro -f extract_features`"
        )


class Parts:
    """An array (pictures, views, ...) in a store: it is read as one in memory is.

    `[:, :n]`, `[..., :n]` and the like, all of the pictures but less of each, read nothing.
    """

    def __init__(
        self, path: Path, scratch: Path, cut: tuple[slice, ...] = (), of: _Reader | None = None
    ) -> None:
        """Open the list that `write` wrote; parts of a far store go to files in `scratch`.

        Raises:
            ValueError, KeyError, TypeError: when it is no such list.
        """
        self._from = path, scratch
        self._reader = of or _Reader(path, scratch)
        whole = self._reader.shape[1:]
        self._cut = cut or tuple(slice(0, length, 1) for length in whole)
        kept = (len(range(each.start, each.stop, each.step)) for each in self._cut)
        self.shape = (self._reader.shape[0], *kept)
        self.dtype = self._reader.dtype

    @property
    def ndim(self) -> int:
        """How many axes it has."""
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of all of it."""
        return int(math.prod(self.shape) * self.dtype.itemsize)

    @property
    def layout(self) -> Layout:
        """Which pictures lie in which part."""
        return self._reader.layout

    @property
    def scattered(self) -> bool:
        """Whether pictures read in any order would have most parts fetched again each time."""
        return self._reader.far and self.layout.parts > KEPT

    def expect(self, order: Sequence[int]) -> None:
        """Say in which order parts will be wanted, so that they are opened ahead of need."""
        self._reader.expect(order)

    def __len__(self) -> int:
        return self.shape[0]

    def __iter__(self) -> Iterator[NDArray[Any]]:
        return (self[number] for number in range(len(self)))

    def __getitem__(self, index: Any) -> Any:
        first, *rest = index if isinstance(index, tuple) else (index,)
        if first is Ellipsis:
            first, rest = slice(None), [slice(None)] * (self.ndim - 1 - len(rest)) + rest
        if isinstance(first, int | np.integer):
            part, row = self.layout.places(np.asarray(range(len(self))[first]))
            own = self._rows(int(part))
            found = np.array(own[(int(row), *rest)])
            forget(own)
            return found
        if isinstance(first, slice):
            if rest and first == slice(None) and all(isinstance(each, slice) for each in rest):
                return self._narrowed(rest)
            return self._gathered(np.arange(*first.indices(len(self))))[(slice(None), *rest)]
        pictures = self._numbers(np.asarray(first))
        if rest and not isinstance(rest[0], slice):
            return self._gathered(pictures, *rest)
        return self._gathered(pictures)[(slice(None), *rest)]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        if copy is False:
            raise ValueError("it lies in a store, so that a copy can't be avoided")
        return np.asarray(self[:], dtype)

    def _numbers(self, first: NDArray[Any]) -> Numbers:
        """The numbers of pictures, from an array that indexes them."""
        if first.dtype == bool:
            first = np.flatnonzero(first)
        if first.ndim != 1 or (
            first.size and not -len(self) <= first.min() <= first.max() < len(self)
        ):
            raise IndexError(f"{len(self)} pictures have no {first}")
        return np.where(first < 0, first + len(self), first).astype(np.int64)

    def _narrowed(self, cut: Sequence[slice]) -> "Parts":
        """The same, with less of each picture."""
        axes = [range(each.start, each.stop, each.step) for each in self._cut]
        for axis, each in enumerate(cut):
            axes[axis] = axes[axis][each]
        if any(axis.step < 0 for axis in axes):
            raise IndexError("backwards isn't known here")
        slices = tuple(slice(axis.start, axis.stop, axis.step) for axis in axes)
        return Parts(*self._from, cut=slices, of=self._reader)

    def _rows(self, part: int) -> NDArray[Any]:
        rows: NDArray[Any] = self._reader.part(part)[(slice(None), *self._cut)]
        return rows

    def _gathered(self, pictures: Numbers, views: Any = None, *rest: Any) -> NDArray[Any]:
        """The rows of pictures; of each the view that is given for it, or for all."""
        parts, rows = self.layout.places(pictures)
        if views is None:
            found = np.empty((len(pictures), *self.shape[1:]), self.dtype)
        else:
            views = np.broadcast_to(views, pictures.shape)
            found = np.empty((len(pictures), *self.shape[2:]), self.dtype)
        for part in np.unique(parts).tolist():
            mine = np.flatnonzero(parts == part)
            own = self._rows(part)
            found[mine] = own[rows[mine]] if views is None else own[rows[mine], views[mine]]
            forget(own)
        return found[(slice(None), *rest)]


def in_turn(array: NDArray[Any] | Parts, each: int) -> Iterator[Any]:
    """Indexes of some rows at a time, of all rows once: those that are quickly read together."""
    if isinstance(array, Parts):
        parts = range(array.layout.parts)
        array.expect(parts)
        yield from (np.array(array.layout.of(part)) for part in parts)
    else:
        count = len(array)
        yield from (slice(start, min(start + each, count)) for start in range(0, count, each))
