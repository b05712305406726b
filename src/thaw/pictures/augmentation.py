"""Augmented views of a picture: symmetries, one affine map, a change of colours, degradations."""

import hashlib
import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any, Self

import numpy as np
from PIL import Image, ImageFilter

from thaw.pictures import presets
from thaw.pictures.decoding import Pixels

GREY = (0.299, 0.587, 0.114)  # shares of red, green and blue, as Pillow weighs them (ITU-R 601)


@dataclass(frozen=True)
class Augmentation:
    """Which random views of a training picture are drawn.

    What a view shows is a square, turned by up to `rotation` of a full turn, as in
    `keras.layers.RandomRotation`, with `area` or more of the picture's area, lying anywhere in it,
    then moved by up to `shift` of the picture's side across and down. Beyond the borders the
    picture is reflected. `brightness`, `contrast` and `saturation` are the largest b in a factor
    from 1 - b to 1 + b. `noise` is the largest standard deviation of Gaussian noise, in grey
    levels, which every other view has.
    """

    views: int
    flip: str
    quarter_turns: bool
    rotation: float
    shift: float = 0.0
    area: float = 1.0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    noise: float = 0.0

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """As the group `augment` of `params.yaml` describes it."""
        return cls(**presets.fill(values))

    @property
    def symmetries(self) -> list[tuple[int, bool, bool]]:
        """The distinct (quarter turns, left-right, up-down) that the settings allow, none first."""
        turns = range(4) if self.quarter_turns else range(1)
        mirrored = (False, True) if self.flip in ("horizontal", "both") else (False,)
        inverted = (False, True) if self.flip in ("vertical", "both") else (False,)
        if self.quarter_turns and self.flip != "none":
            # With quarter turns one mirror image is enough for all eight symmetries of the square.
            mirrored, inverted = (False, True), (False,)
        return list(product(turns, mirrored, inverted))

    @property
    def moves(self) -> bool:
        """Whether pixels come to lie between pixels."""
        return self.rotation > 0 or self.shift > 0 or self.area < 1

    @property
    def recolours(self) -> bool:
        return self.brightness > 0 or self.contrast > 0 or self.saturation > 0

    @property
    def endless(self) -> bool:
        """Whether no view need come back, since numbers are drawn for each."""
        return self.moves or self.recolours or self.noise > 0

    @property
    def count(self) -> int:
        """Different views of each picture: of symmetries alone, no more than there are."""
        return self.views if self.endless else min(self.views, len(self.symmetries))


def random(*key: object) -> np.random.Generator:
    """A generator that depends on the key alone: not on order, machine or number of workers."""
    digest = hashlib.sha256("\0".join(map(str, key)).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "big"))


def view(pixels: Pixels, augmentation: Augmentation, index: int, seed: int, name: str) -> Pixels:
    """The augmented view of a picture with that index: a function of its arguments alone."""
    generator = random("view", seed, name)
    symmetries = augmentation.symmetries
    order = generator.permutation(len(symmetries))
    turns, mirrored, inverted = symmetries[order[index % len(symmetries)]]
    if augmentation.endless:
        image = Image.fromarray(pixels)
        if augmentation.moves:
            image = _moved(pixels, augmentation, index, seed, name)
        if augmentation.recolours:
            image = _recoloured(image, augmentation, index, seed, name)
        pixels = np.asarray(image)
        # Every other view, so that clean pictures stay known, and of each symmetry by turns.
        if augmentation.noise > 0 and sum(divmod(index, len(symmetries))) % 2 == 0:
            generator = random("noise", seed, name, index)
            deviation = generator.uniform(0, augmentation.noise)
            pixels = add_noise(pixels, deviation, generator)
    return symmetric(pixels, turns, mirrored, inverted)


def symmetric(pixels: Pixels, turns: int, mirrored: bool, inverted: bool) -> Pixels:
    """(S, S, 3) turned by quarter turns, then mirrored left-right and up-down."""
    pixels = np.rot90(pixels, turns)
    if mirrored:
        pixels = pixels[:, ::-1]
    if inverted:
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


def _moved(
    pixels: Pixels, augmentation: Augmentation, index: int, seed: int, name: str
) -> Image.Image:
    degrees = random("angle", seed, name, index).uniform(-360, 360) * augmentation.rotation
    area, *places = random("place", seed, name, index).uniform(size=5)
    side = math.sqrt(1 - area * (1 - augmentation.area))
    across, down, shift_across, shift_down = (2 * place - 1 for place in places)
    return affine(
        pixels,
        degrees,
        side,
        across * (1 - side) / 2 + shift_across * augmentation.shift,
        down * (1 - side) / 2 + shift_down * augmentation.shift,
    )


def affine(
    pixels: Pixels, degrees: float, side: float = 1.0, across: float = 0.0, down: float = 0.0
) -> Image.Image:
    """Cut a turned square out and scale it to the whole, bilinear, borders filled by reflection.

    Args:
        pixels: (S, S, 3) uint8.
        degrees: by which the square is turned about its centre.
        side: of the square, as a share of S.
        across: from the picture's centre to the square's, to the right, as a share of S.
        down: likewise, downwards.
    """
    size = pixels.shape[0]
    angle = math.radians(degrees)
    cos, sin, centre = side * math.cos(angle), side * math.sin(angle), size / 2
    beyond = (abs(cos) + abs(sin) - 1) / 2 + max(abs(across), abs(down))
    margin = max(0, math.ceil(size * beyond)) + 1
    wide = np.pad(pixels, ((margin, margin), (margin, margin), (0, 0)), mode="symmetric")
    # Where each pixel comes from: x' = cos x - sin y + a, y' = sin x + cos y + b.
    a = centre + margin - cos * centre + sin * centre + across * size
    b = centre + margin - sin * centre - cos * centre + down * size
    return Image.fromarray(wide).transform(
        (size, size),
        Image.Transform.AFFINE,
        (cos, -sin, a, sin, cos, b),
        Image.Resampling.BILINEAR,
    )


def _recoloured(
    image: Image.Image, augmentation: Augmentation, index: int, seed: int, name: str
) -> Image.Image:
    brightness, contrast, saturation = random("colour", seed, name, index).uniform(-1, 1, 3)
    return recolour(
        image,
        1 + brightness * augmentation.brightness,
        1 + contrast * augmentation.contrast,
        1 + saturation * augmentation.saturation,
    )


def recolour(
    image: Image.Image, brightness: float, contrast: float, saturation: float
) -> Image.Image:
    """Multiply each pixel, its distance to the mean grey, and its distance to its own grey.

    As `torchvision.transforms.ColorJitter` does, but in one step, so that nothing is cut off at
    black or white on the way: c b (g + s (p - g)) + (1 - c) b m of a pixel p with grey value g in a
    picture of mean grey m.
    """
    counts = image.convert("L").histogram()
    mean = sum(value * count for value, count in enumerate(counts)) / sum(counts)
    scale, offset = brightness * contrast, brightness * (1 - contrast) * mean
    rows = scale * (saturation * np.eye(3) + (1 - saturation) * np.array(GREY))
    return image.convert("RGB", tuple(np.column_stack([rows, np.full(3, offset)]).ravel().tolist()))


def add_noise(pixels: Pixels, deviation: float, generator: np.random.Generator) -> Pixels:
    """Add Gaussian noise, to each channel by itself; a grey picture stays grey.

    Args:
        pixels: (S, S, 3) uint8.
        deviation: standard deviation, in grey levels.
        generator: draws it.
    """
    grey = bool((pixels == pixels[..., :1]).all())
    drawn = generator.standard_normal((*pixels.shape[:2], 1 if grey else 3), np.float32)
    return np.clip(np.rint(pixels + np.float32(deviation) * drawn), 0, 255).astype(np.uint8)


def blur(pixels: Pixels, deviation: float) -> Pixels:
    """Blur by a Gaussian (by Pillow, three box filters) of a standard deviation in pixels."""
    return np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(deviation)))


def compress(pixels: Pixels, quality: int) -> Pixels:
    """Write as JPEG of a quality from 1 to 95, and read again."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
    with Image.open(buffer) as opened:
        return np.asarray(opened)
