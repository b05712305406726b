"""What may befall pictures on their way to a model, in five strengths each.

The idea is Hendrycks and Dietterich's (2019, Benchmarking Neural Network Robustness to Common
Corruptions and Perturbations, arXiv:1903.12261), as are noise, blur, JPEG, brightness and contrast;
Engstrom et al. (2019, Exploring the Landscape of Spatial Robustness, arXiv:1712.02779) turn and
shift. The strengths are Thaw's own: the first is one that a person hardly sees, the last one that
nobody overlooks. They hold for pictures as the network takes them, after resizing.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from thaw.pictures import augmentation
from thaw.pictures.decoding import Pixels

Change = Callable[[Pixels, float, np.random.Generator], Pixels]


@dataclass(frozen=True)
class Corruption:
    """A kind of corruption, with its strengths from mild to severe."""

    name: str
    unit: str  # of the strengths
    strengths: tuple[float, float, float, float, float]
    change: Change  # of (S, S, 3) uint8, by a strength, with what it draws


def _noise(pixels: Pixels, strength: float, generator: np.random.Generator) -> Pixels:
    return augmentation.add_noise(pixels, strength, generator)


def _blur(pixels: Pixels, strength: float, _: np.random.Generator) -> Pixels:
    return augmentation.blur(pixels, strength / 100 * len(pixels))


def _jpeg(pixels: Pixels, strength: float, _: np.random.Generator) -> Pixels:
    return augmentation.compress(pixels, int(strength))


def _resolution(pixels: Pixels, strength: float, _: np.random.Generator) -> Pixels:
    size = len(pixels)
    side = max(1, round(size * strength / 100))
    small = Image.fromarray(pixels).resize((side, side), Image.Resampling.BOX)
    return np.asarray(small.resize((size, size), Image.Resampling.BILINEAR))


def _brightness(pixels: Pixels, strength: float, _: np.random.Generator) -> Pixels:
    return np.asarray(augmentation.recolour(Image.fromarray(pixels), strength, 1, 1))


def _contrast(pixels: Pixels, strength: float, _: np.random.Generator) -> Pixels:
    return np.asarray(augmentation.recolour(Image.fromarray(pixels), 1, strength, 1))


def _shift(pixels: Pixels, strength: float, generator: np.random.Generator) -> Pixels:
    towards = generator.uniform(0, 2 * math.pi)
    far = strength / 100
    moved = augmentation.affine(pixels, 0, 1, far * math.cos(towards), far * math.sin(towards))
    return np.asarray(moved)


def _rotation(pixels: Pixels, strength: float, generator: np.random.Generator) -> Pixels:
    sign = generator.choice((-1, 1))
    return np.asarray(augmentation.affine(pixels, sign * strength))


KINDS = (
    Corruption("noise", "standard deviation, grey levels", (2, 5, 10, 20, 40), _noise),
    Corruption("blur", "standard deviation, % of the side", (0.2, 0.4, 0.8, 1.5, 3), _blur),
    Corruption("JPEG", "quality", (80, 50, 30, 15, 7), _jpeg),
    Corruption("resolution", "% of the pixels of a side", (75, 50, 33, 20, 10), _resolution),
    Corruption("darker", "times", (0.8, 0.65, 0.5, 0.35, 0.2), _brightness),
    Corruption("brighter", "times", (1.1, 1.25, 1.5, 1.75, 2), _brightness),
    Corruption("contrast", "times", (0.8, 0.6, 0.4, 0.25, 0.1), _contrast),
    Corruption("shift", "% of the side", (1, 2, 5, 10, 20), _shift),
    Corruption("rotation", "degrees", (1, 2, 5, 10, 15), _rotation),
)


def corrupted(pixels: Pixels, kind: Corruption, strength: float, seed: int, name: str) -> Pixels:
    """A picture (S, S, 3) as a corruption leaves it: a function of its arguments alone.

    A stronger noise is the same noise, larger, and a wider shift goes the same way.
    """
    generator = augmentation.random("corruption", kind.name, seed, name)
    return kind.change(pixels, strength, generator)
