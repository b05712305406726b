"""Pictures of 16 bits a channel, of which fewer may count."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import ImageFile

# "file": as the file says, else 16; "data": as many as its largest value needs; or 8 to 16.
BitDepth = Literal["file", "data"] | int
DARK = 2**12  # a picture that stays below it is all but black in 16 bits
_INVERTED, _LARGEST = 262, (281, 341)  # tags of a TIFF
_SWAPPED = {";16B": ";16L", ";16L": ";16B", ";16N": ";16B"}  # native: little-endian


class DarkError(ValueError):
    """A picture of 16 bits, by its file, with values of 12 or fewer."""

    def __init__(self, largest: int) -> None:
        super().__init__(too_dark(largest))
        self.largest = largest


def is_deep(opened: ImageFile.ImageFile) -> bool:
    """Whether a picture that isn't loaded yet has more than 8 bits a channel."""
    return opened.mode.startswith("I;16") or any(each in _raw(opened) for each in _SWAPPED)


def declared(opened: ImageFile.ImageFile) -> int | None:
    """How many bits a file says that its pictures have, where that is fewer than it takes."""
    if "I;12" in _raw(opened):
        return 12
    tags = dict(getattr(opened, "tag_v2", {}))
    largest = next((tags[tag] for tag in _LARGEST if tag in tags), None)
    if isinstance(largest, tuple):
        largest = max(largest, default=None)
    if not isinstance(largest, int | float) or not 2**8 <= largest < 2**16:
        return None
    return int(largest).bit_length()


def swap(opened: ImageFile.ImageFile) -> None:
    """Have Pillow give the lower byte of each colour, where it gives the upper by itself.

    Raises:
        ValueError: where it can't.
    """
    raw = _raw(opened)
    (own,) = (each for each in _SWAPPED if each in raw)
    if raw.startswith("LA"):
        raise ValueError("grey of 16 bits with transparency: give it without, or in 8 bits")
    other = raw.replace(own, _SWAPPED[own])
    opened.tile = [
        type(tile)(
            *tile[:3], other if isinstance(tile.args, str) else (other, *(tile.args or ())[1:])
        )
        for tile in opened.tile
    ]


def to_8_bits(
    values: NDArray[np.uint16], bit_depth: BitDepth, said: int | None
) -> NDArray[np.uint8]:
    """Scale values of 16 bits of which fewer may count.

    Args:
        values: of a picture, of any shape.
        bit_depth: which of them count.
        said: how many the file says.

    Raises:
        DarkError: when the file says nothing, and its values are so small that they have to be of
            fewer bits.
        ValueError: when a value needs more bits.
    """
    largest = int(values.max(initial=0))
    needed = largest.bit_length()
    if bit_depth == "data":
        bits = max(8, needed)
    elif bit_depth != "file":
        bits = bit_depth
    elif said is None and 0 < largest < DARK:
        raise DarkError(largest)
    else:
        bits = said or 16
    if needed > bits:
        raise ValueError(
            f"a value of {largest:,}, and {bits} bits end at {2**bits - 1:,}: set bit_depth"
        )
    return (values >> (bits - 8)).astype(np.uint8)


def too_dark(largest: int) -> str:
    """Why pictures of 16 bits that reach so far aren't taken to have 16 bits."""
    likely = next(bits for bits in (8, 10, 12, 14, 16) if largest < 2**bits)
    return (
        f"16 bits, and no value above {largest:,}: set bit_depth to {likely} in params.yaml, or to "
        "16 if they are to stay as dark"
    )


def inverted(opened: ImageFile.ImageFile) -> bool:
    """Whether 0 is white, which Pillow overlooks in grey of 16 bits."""
    return opened.mode.startswith("I;16") and getattr(opened, "tag_v2", {}).get(_INVERTED) == 0


def _raw(opened: ImageFile.ImageFile) -> str:
    """How Pillow calls the way in which the file's pixels lie."""
    args = opened.tile[0].args if opened.tile else None
    return args if isinstance(args, str) else str(args[0]) if args else ""
