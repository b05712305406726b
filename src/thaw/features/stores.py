"""Where parts of a cache lie that many machines share: a folder, or what fsspec reaches, as S3.

A part is a .npy file whose name is the SHA-256 of its contents, so that what is there is whole, and
runs that share parts share their files.
"""

import hashlib
import json
import math
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from copy import copy
from pathlib import Path
from threading import Lock
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from thaw.core.errors import ThawError, of_the_machine, reason
from thaw.files.serialize import write_bytes, write_json

EACH = 32  # pictures in a part
WINDOW = 16  # parts whose pictures are mixed with each other
KEPT = 4 * WINDOW  # parts of a far store that are held here, of each array
THREADS = 4  # that fetch them


class Store(Protocol):
    """Keeps files by the SHA-256 of their contents."""

    def put(self, content: bytes) -> str:
        """Keep it; its name."""
        ...

    def has(self, name: str) -> bool:
        """Whether it is there."""
        ...

    def near(self, name: str, scratch: Path) -> Path:
        """Where it lies on this machine; fetched into `scratch` if need be."""
        ...


class Folder:
    """A folder that all machines see."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def _path(self, name: str) -> Path:
        return self._folder / name[:2] / f"{name}.npy"

    def put(self, content: bytes) -> str:
        """As `Store` has it."""
        name = hashlib.sha256(content).hexdigest()
        if not self._path(name).exists():
            write_bytes(self._path(name), content)
        return name

    def has(self, name: str) -> bool:
        """As `Store` has it."""
        return self._path(name).exists()

    def near(self, name: str, scratch: Path) -> Path:  # noqa: ARG002
        """As `Store` has it."""
        if not self._path(name).exists():
            raise _gone(str(self._folder), name, "no such file")
        return self._path(name)


class Far:
    """What fsspec reaches by an address."""

    def __init__(self, address: str) -> None:
        import fsspec  # type: ignore[import-untyped]

        self._address = address
        try:
            self._files, self._root = fsspec.core.url_to_fs(address)
        except (ImportError, ValueError) as error:
            raise ThawError(
                f"params.yaml: cache.store: {address}: {reason(error)}; give a folder or an s3: "
                "address"
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

    def has(self, name: str) -> bool:
        """As `Store` has it."""
        try:
            return bool(self._files.exists(self._path(name)))
        except Exception as error:
            raise self._unreached(error) from None

    def near(self, name: str, scratch: Path) -> Path:
        """As `Store` has it."""
        path = scratch / f"{name}.npy"
        if not path.exists():
            try:
                content = self._files.cat_file(self._path(name))
            except FileNotFoundError:
                raise _gone(self._address, name, "no such file") from None
            except Exception as error:
                raise self._unreached(error) from None
            if hashlib.sha256(content).hexdigest() != name:
                raise _gone(self._address, name, "other contents than its name says")
            write_bytes(path, content)
        return path

    def _unreached(self, error: Exception) -> Exception:
        """A sentence for what a library of any kind raises."""
        if of_the_machine(error):
            return error
        return ThawError(
            f"params.yaml: cache.store: {self._address} can't be read or written "
            f"({reason(error)}); mend the address, its keys (AWS_ACCESS_KEY_ID, "
            "AWS_SECRET_ACCESS_KEY) or AWS_ENDPOINT_URL"
        )


def _gone(store: str, name: str, why: str) -> ThawError:
    return ThawError(
        f"cache.store: {store}: part {name} is not as stage extract_features wrote it ({why}); "
        "run `dvc repro -f extract_features`"
    )


def opened(address: str) -> Store:
    """The store of an address.

    Raises:
        ThawError: when nothing is known that reaches it.
    """
    if "://" in address and not address.startswith("file://"):
        return Far(address)
    return Folder(Path(address.removeprefix("file://")).expanduser())


def write(path: Path, address: str, names: Sequence[str], count: int, row: NDArray[Any]) -> None:
    """Write which parts make up an array.

    Args:
        path: of the list.
        address: of the store.
        names: of the parts, in order.
        count: of pictures.
        row: of a picture's shape and type.
    """
    facts = {
        "store": address,
        "type": np.lib.format.dtype_to_descr(row.dtype),
        "shape": [count, *row.shape],
        "each": EACH,
        "parts": list(names),
    }
    write_json(path, facts)


class Parts:
    """An array (pictures, views, ...) in a store: its rows are read as from one in memory."""

    def __init__(self, path: Path, scratch: Path) -> None:
        """Open the list that `write` wrote; `scratch` holds parts of a far store.

        Raises:
            ValueError, KeyError, TypeError: when it is no such list.
        """
        facts = json.loads(path.read_text(encoding="utf-8"))
        self.dtype = np.dtype(facts["type"])
        self.shape: tuple[int, ...] = tuple(map(int, facts["shape"]))
        self.each = int(facts["each"])
        self._names: list[str] = list(facts["parts"])
        if len(self._names) != -(-self.shape[0] // self.each):
            raise ValueError(f"{len(self._names)} parts of {self.shape[0]} pictures")
        self._store = opened(facts["store"])
        self._far = isinstance(self._store, Far)
        self._scratch = scratch
        self._last = slice(None)
        self._lock = Lock()
        self._recent: list[int] = []  # parts that are here, the one that was used last at the end
        self._order: list[int] = []  # that they will be wanted in
        self._coming: dict[int, Future[Path]] = {}
        self._pool = ThreadPoolExecutor(THREADS) if self._far else None

    @property
    def ndim(self) -> int:
        """How many axes it has."""
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of all of it."""
        return int(math.prod(self.shape) * self.dtype.itemsize)

    def __len__(self) -> int:
        return self.shape[0]

    def expect(self, order: Sequence[int]) -> None:
        """Say in which order parts will be wanted, so that they are fetched ahead of need."""
        with self._lock:
            self._order = list(order)
            self._ahead(self._order[:WINDOW])

    def __getitem__(self, index: Any) -> Any:
        first, *rest = index if isinstance(index, tuple) else (index,)
        if first is Ellipsis:
            return self._narrowed(*rest)
        if isinstance(first, int | np.integer):
            number = range(len(self))[first]
            return self._rows(number // self.each)[(number % self.each, *rest)][..., self._last]
        if isinstance(first, slice):
            first = np.arange(*first.indices(len(self)))
        first = np.asarray(first)
        if first.dtype == bool:
            first = np.flatnonzero(first)
        chosen = np.asarray(rest[0]) if rest else None
        shape = self.shape[1:] if chosen is None else self.shape[2:]
        found = np.empty((len(first), *shape), self.dtype)
        for part in dict.fromkeys((first // self.each).tolist()):
            mine = np.flatnonzero(first // self.each == part)
            rows, within = self._rows(part), first[mine] % self.each
            if chosen is None:
                found[mine] = rows[within][..., self._last]
            else:
                turns = chosen[mine] if chosen.ndim else chosen
                found[mine] = rows[within, turns][..., self._last]
        return found

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[:], dtype)

    def _narrowed(self, last: slice) -> "Parts":
        """The same, with some of the last axis alone."""
        other = copy(self)
        width = len(range(*last.indices(self.shape[-1])))
        vars(other).update(_last=last, shape=(*self.shape[:-1], width))
        return other

    def _rows(self, part: int) -> NDArray[Any]:
        name = self._names[part]
        with self._lock:
            coming = self._coming.pop(part, None)
        path = coming.result() if coming else self._store.near(name, self._scratch)
        rows: NDArray[Any] = np.lib.format.open_memmap(path, mode="r")  # it takes no pickles
        if self._far:
            with self._lock:
                self._use(part)
        return rows

    def _use(self, part: int) -> None:
        """Fetch what comes after it, and let go of what was used long ago."""
        if part in self._recent:
            self._recent.remove(part)
        self._recent.append(part)
        if part in self._order:
            place = self._order.index(part) + 1
            self._ahead(self._order[place : place + 2 * WINDOW])
        while len(self._recent) > KEPT:
            old = self._recent.pop(0)
            (self._scratch / f"{self._names[old]}.npy").unlink(missing_ok=True)

    def _ahead(self, parts: Sequence[int]) -> None:
        for part in parts:
            if self._pool and part not in self._coming and part not in self._recent:
                name = self._names[part]
                self._coming[part] = self._pool.submit(self._store.near, name, self._scratch)
