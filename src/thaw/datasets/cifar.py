"""Read the binary form of CIFAR-10, fixed records in a few files, and write a PNG a picture."""

from pathlib import Path

import numpy as np
from PIL import Image

from thaw.core.errors import ThawError
from thaw.core.progress import track

SIDE = 32
RECORD = 1 + 3 * SIDE * SIDE  # bytes: the class's number, then red, green and blue, row by row
CLASSES = "batches.meta.txt"
PARTS = {f"data_batch_{number}": "train" for number in range(1, 6)} | {"test_batch": "test"}


def convert(root: Path, images: Path, address: str) -> tuple[list[tuple[str, str, str]], list[str]]:
    """Write each record below `root` as a PNG below `images`.

    Format: https://www.cs.toronto.edu/~kriz/cifar.html

    Args:
        root: the folder of data_batch_1.bin to data_batch_5.bin, test_batch.bin and
            batches.meta.txt.
        images: an empty folder.
        address: where they come from, for errors.

    Returns:
        (path, class, part) of each picture, and the classes in the order of their numbers.

    Raises:
        ThawError: when a file is missing, isn't whole records, or has a number of no class.
    """
    files = (CLASSES, *(f"{batch}.bin" for batch in PARTS))
    if missing := [name for name in files if not (root / name).is_file()]:
        raise ThawError(
            f"{address} holds no {', '.join(missing)}; give the binary version of CIFAR-10"
        )
    classes = _classes(root / CLASSES, address)
    rows = []
    for batch, part in PARTS.items():
        path = root / f"{batch}.bin"
        count, rest = divmod(path.stat().st_size, RECORD)
        if rest:
            raise ThawError(
                f"{address}: {path.name} has {path.stat().st_size:,} bytes, which are no whole "
                f"number of records of {RECORD:,}; fetch it again"
            )
        (images / batch).mkdir()
        with path.open("rb") as file:
            for number in track(range(count), batch):
                record = file.read(RECORD)
                if (label := record[0]) >= len(classes):
                    raise ThawError(
                        f"{address}: {path.name}: picture {number} is of the class number {label}, "
                        f"and {CLASSES} names {len(classes)}; fetch it again"
                    )
                name = f"{batch}/{number:05}.png"
                planes = np.frombuffer(record, np.uint8, offset=1).reshape(3, SIDE, SIDE)
                Image.fromarray(planes.transpose(1, 2, 0)).save(images / name)
                rows.append((name, classes[label], part))
    return rows, classes


def _classes(path: Path, address: str) -> list[str]:
    """The lines of the file that aren't empty."""
    try:
        names = [line.strip() for line in path.read_bytes().decode().splitlines() if line.strip()]
    except UnicodeDecodeError:
        raise ThawError(f"{address}: {CLASSES} is not UTF-8; fetch it again") from None
    for name in names:
        if names.count(name) > 1 or not name.isprintable():
            raise ThawError(
                f"{address}: {CLASSES} has {name!r} twice or with a control character; rename it"
            )
    return names
