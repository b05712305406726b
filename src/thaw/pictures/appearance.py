"""What a picture looks like, in a few numbers."""

from dataclasses import dataclass

import numpy as np

from thaw.pictures.decoding import Pixels


@dataclass(frozen=True)
class Appearance:
    """Size and shape of the file's picture; the rest is of the pixels as the network takes them."""

    side: float  # of a square of as many pixels
    shape: float  # width / height
    brightness: float  # mean grey, 0 to 255
    contrast: float  # standard deviation of grey
    detail: float  # mean difference of neighbours, in standard deviations


def appearance(pixels: Pixels, width: int, height: int) -> Appearance:
    """Look at a picture.

    Args:
        pixels: (S, S, 3) from 0 to 255.
        width: of the file's picture, upright.
        height: likewise.
    """
    grey = pixels.astype(np.float32).mean(axis=-1, dtype=np.float64)
    contrast = float(grey.std())
    steps = (np.abs(np.diff(grey, axis=axis)).mean() for axis in (0, 1) if grey.shape[axis] > 1)
    detail = float(sum(steps)) / 2 / max(contrast, 1.0)
    return Appearance((width * height) ** 0.5, width / height, float(grey.mean()), contrast, detail)
