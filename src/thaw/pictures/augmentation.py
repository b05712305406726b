"""Augmented views of a picture: flips, quarter turns, rotations."""

import hashlib
import math
from dataclasses import dataclass
from itertools import product

import numpy as np
from PIL import Image

from thaw.pictures.decoding import Pixels


@dataclass(frozen=True)
class Augmentation:
    """Which random views of a training picture are drawn.

    `rotation` is the largest angle as a share of a full turn, as in
    `keras.layers.RandomRotation`; borders are filled by reflection, as there.
    """

    views: int
    flip: str
    quarter_turns: bool
    rotation: float

    @property
    def symmetries(self) -> list[tuple[int, bool, bool]]:
        """The distinct (quarter turns, left-right, up-down) that the settings allow."""
        turns = range(4) if self.quarter_turns else range(1)
        mirrored = (False, True) if self.flip in ("horizontal", "both") else (False,)
        inverted = (False, True) if self.flip in ("vertical", "both") else (False,)
        if self.quarter_turns and self.flip != "none":
            # With quarter turns one mirror image is enough for all eight symmetries of the square.
            mirrored, inverted = (False, True), (False,)
        return list(product(turns, mirrored, inverted))

    @property
    def count(self) -> int:
        """Different views of each picture: without rotation, no more than there are."""
        return self.views if self.rotation else min(self.views, len(self.symmetries))


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
    if augmentation.rotation:
        angle = random("angle", seed, name, index).uniform(-360, 360) * augmentation.rotation
        pixels = rotate(pixels, angle)
    return symmetric(pixels, turns, mirrored, inverted)


def symmetric(pixels: Pixels, turns: int, mirrored: bool, inverted: bool) -> Pixels:
    """(S, S, 3) turned by quarter turns, then mirrored left-right and up-down."""
    pixels = np.rot90(pixels, turns)
    if mirrored:
        pixels = pixels[:, ::-1]
    if inverted:
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


def rotate(pixels: Pixels, degrees: float) -> Pixels:
    """Rotate about the centre, bilinear, borders filled by reflection; (S, S, 3) to (S, S, 3)."""
    size = pixels.shape[0]
    margin = (size + 3) // 4  # the corners of a square reach 0.21 of its side beyond it
    wide = np.pad(pixels, ((margin, margin), (margin, margin), (0, 0)), mode="symmetric")
    angle = math.radians(degrees)
    cos, sin, centre = math.cos(angle), math.sin(angle), size / 2
    # Where each pixel comes from: x' = cos x - sin y + a, y' = sin x + cos y + b.
    a = centre + margin - cos * centre + sin * centre
    b = centre + margin - sin * centre - cos * centre
    turned = Image.fromarray(wide).transform(
        (size, size),
        Image.Transform.AFFINE,
        (cos, -sin, a, sin, cos, b),
        Image.Resampling.BILINEAR,
    )
    return np.asarray(turned)
