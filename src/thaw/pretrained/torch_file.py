"""Read the tensors of a file that PyTorch wrote, in its format of before 1.6, and run no code."""

import pickle
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

MAGIC, VERSION = 0x1950A86A20F9469CFC6C, 1001
KINDS: dict[str, np.dtype[Any]] = {
    "FloatStorage": np.dtype("<f4"),
    "LongStorage": np.dtype("<i8"),
}


class _Storage:
    """A run of numbers, which come after all that points into it."""

    def __init__(self, kind: np.dtype[Any], size: int) -> None:
        self.kind = kind
        self.size = size
        self.numbers: NDArray[Any] = np.empty(0, kind)


class _Tensor:
    def __init__(
        self, storage: _Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]
    ) -> None:
        self._storage = storage
        self._offset = offset
        self._shape = shape
        self._strides = strides

    def array(self) -> NDArray[Any]:
        """A copy, within what the storage holds."""
        storage, pairs = self._storage, zip(self._shape, self._strides, strict=True)
        last = self._offset + sum((length - 1) * stride for length, stride in pairs)
        if min(self._offset, *self._shape, *self._strides, 0) < 0 or last >= storage.size:
            raise ValueError("a tensor reaches beyond its numbers")
        strides = [stride * storage.kind.itemsize for stride in self._strides]
        start = storage.numbers[self._offset :]
        return np.lib.stride_tricks.as_strided(start, self._shape, strides).copy()


def _rebuild(storage: _Storage, offset: int, shape: Any, strides: Any, *_: object) -> _Tensor:
    return _Tensor(storage, offset, tuple(shape), tuple(strides))


class _Unpickler(pickle.Unpickler):
    """Knows four names, and refuses all others."""

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__(file)
        self.storages: dict[str, _Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        known: dict[tuple[str, str], Callable[..., Any] | str] = {
            ("collections", "OrderedDict"): OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2"): _rebuild,
            **{("torch", kind): kind for kind in KINDS},
        }
        if (module, name) not in known:
            raise ValueError(f"it asks for {module}.{name}")
        return known[module, name]

    def persistent_load(self, pid: Any) -> _Storage:
        _, kind, key, _, size, *_ = pid
        return self.storages.setdefault(key, _Storage(KINDS[kind], int(size)))


def read(path: Path) -> dict[str, NDArray[Any]]:
    """All tensors of a state dictionary, by name.

    Three pickles (magic number, version, system), one of the dictionary, one of the storages'
    names, then each storage's count and numbers. A pickle can run any code; this reader knows four
    names and refuses every other.

    Raises:
        ValueError: when it is another format, cut short, or asks for anything else.
    """
    with path.open("rb") as file:
        try:
            if _Unpickler(file).load() != MAGIC or _Unpickler(file).load() != VERSION:
                raise ValueError("not PyTorch's format of before 1.6")
            _Unpickler(file).load()
            reader = _Unpickler(file)
            tensors = reader.load()
            names = _Unpickler(file).load()
        except (pickle.UnpicklingError, EOFError, AttributeError, TypeError, KeyError) as error:
            raise ValueError(f"not PyTorch's format of before 1.6 ({error})") from None
        for name in names:
            storage = reader.storages[name]
            count = int.from_bytes(file.read(8), "little")
            content = file.read(storage.size * storage.kind.itemsize)
            if count != storage.size or len(content) != storage.size * storage.kind.itemsize:
                raise ValueError("cut short")
            storage.numbers = np.frombuffer(content, storage.kind)
    return {name: tensor.array() for name, tensor in tensors.items()}
