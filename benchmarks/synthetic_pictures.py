"""Make as many different small pictures as the first argument says, in a folder for each class."""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

SIZE = 64
CLASSES = ("cool", "warm")


def make(number: int) -> Image.Image:
    """A pattern of its own, the classes by turns bluish and reddish."""
    generator = np.random.default_rng(number)
    pixels = generator.integers(0, 160, (8, 8, 3), dtype=np.uint8)
    pixels[..., 0 if number % 2 else 2] += 64
    return Image.fromarray(pixels).resize((SIZE, SIZE), Image.Resampling.BILINEAR)


def main() -> None:
    for name in CLASSES:
        Path(name).mkdir()
    for number in range(int(sys.argv[1])):
        make(number).save(Path(CLASSES[number % 2]) / f"{number}.jpg")


if __name__ == "__main__":
    main()
