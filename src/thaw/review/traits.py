"""What pictures are without looking at what they show: size, light, sharpness, colours, border."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageStat
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import StratifiedGroupKFold

from thaw.evaluation import intervals
from thaw.files import kinds
from thaw.pictures import decoding
from thaw.pictures.depths import BitDepth

Array = NDArray[np.float64]
Numbers = NDArray[np.int64]
SIDE = 256  # pixels of the longer side at which light and sharpness are measured
BORDER = 0.04  # of a side
FAR = 4.0  # robust standard deviations from the dataset's median
TREES = 50
FOLDS = 5
# Name of a finding: the trait, the side that is amiss, and a deviation that is none in any dataset.
AMISS: Mapping[str, tuple[str, int, float]] = {
    "blurred": ("sharpness", -1, 0.25),
    "dark": ("brightness", -1, 5.0),
    "bright": ("brightness", 1, 5.0),
    "low contrast": ("depth", -1, 0.2),
    "odd size": ("size", 0, 0.15),
    "odd shape": ("shape", 0, 0.1),
}


@dataclass(frozen=True)
class Traits:
    """Of one picture."""

    width: int  # pixels, upright
    height: int
    kind: str  # of file, such as JPEG
    size_of_file: int  # bytes
    brightness: float  # the mean of its grey, 0 to 255
    contrast: float  # the deviation of its grey
    sharpness: float  # log of the Laplacian's variance, by that of the grey: low where blurred
    colours: tuple[float, ...]  # mean and deviation of red, green and blue
    border: tuple[float, ...]  # the same of each of its four edges
    content: str  # the same for pictures that show the same

    @property
    def size(self) -> float:
        """Log of the mean side."""
        return float(np.log(self.width * self.height) / 2)

    @property
    def depth(self) -> float:
        """Log of the contrast."""
        return float(np.log1p(self.contrast))

    @property
    def shape(self) -> float:
        """Log of width by height."""
        return float(np.log(self.width / self.height))


def look(path: Path, bit_depth: BitDepth = "file") -> Traits:
    """Decode a picture and measure it.

    Raises:
        BadImageError, OSError, MemoryError: as `decoding.read` does.
    """
    with path.open("rb") as file:
        kind = kinds.kind(file.read(kinds.HEAD)) or path.suffix
    whole = decoding.read(path, bit_depth)
    digest = hashlib.sha256(repr(whole.size).encode() + whole.tobytes()).hexdigest()
    small = whole.copy()
    small.thumbnail((SIDE, SIDE), Image.Resampling.BILINEAR)
    light = small.convert("L")
    grey = np.asarray(light, np.float32)
    edges: NDArray[np.float32] = np.zeros(1, np.float32)
    if min(grey.shape) > 2:  # the Laplacian
        around = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:]
        edges = (around - 4 * grey[1:-1, 1:-1]).ravel()
    width, height = small.size
    edge = max(1, round(BORDER * min(small.size)))
    strips = (
        *((0, 0, width, edge), (0, height - edge, width, height)),
        *((0, 0, edge, height), (width - edge, 0, width, height)),
    )
    (brightness,), (contrast,) = ImageStat.Stat(light).mean, ImageStat.Stat(light).stddev
    return Traits(
        *whole.size,
        kind,
        path.stat().st_size,
        brightness,
        contrast,
        float(np.log((np.dot(edges, edges) / len(edges) + 0.1) / (contrast**2 + 1))),
        _moments(small),
        tuple(value for strip in strips for value in _moments(small.crop(strip))),
        digest,
    )


def _moments(image: Image.Image) -> tuple[float, ...]:
    found = ImageStat.Stat(image)
    return (*found.mean, *found.stddev)


def far(values: Sequence[float], least: float = 0) -> Array:
    """(N,) how far each lies from the median, in robust standard deviations, with its sign.

    Args:
        values: of all pictures.
        least: that a standard deviation is, where nearly all are the same.
    """
    numbers = np.asarray(values, np.float64)
    middle = np.median(numbers)
    spread = 1.4826 * np.median(np.abs(numbers - middle))
    return np.asarray((numbers - middle) / max(spread, least, 1e-12))


def amiss(found: Sequence[Traits]) -> dict[str, Array]:
    """(N,) how far each picture is off in each way, a score above `FAR` where it is."""
    result = {}
    for name, (trait, side, least) in AMISS.items():
        off = far([getattr(each, trait) for each in found], least)
        result[name] = side * off if side else np.abs(off)
    return result


@dataclass(frozen=True)
class Giveaway:
    """How well traits alone tell the class."""

    name: str
    accuracy: float
    low: float  # of a 95 % interval
    high: float
    most: float  # share of the most frequent class

    @property
    def clear(self) -> bool:
        """Whether that is more than by always naming the most frequent class."""
        return self.low > self.most + 0.01

    def __str__(self) -> str:
        """A sentence."""
        return (
            f"{self.name} alone tells the class of {self.accuracy:.1%} [{self.low:.1%}, "
            f"{self.high:.1%}]; the most frequent class has {self.most:.1%}"
        )


def giveaways(found: Sequence[Traits], labels: Numbers, units: Numbers) -> list[Giveaway]:
    """Predict the class from traits alone, by a forest, each picture by one that didn't see it.

    Args:
        found: of each picture.
        labels: (N,) class numbers.
        units: (N,) what belongs together, such as copies.
    """
    files = sorted({each.kind for each in found})
    columns = {
        "size": [(each.size, each.shape) for each in found],
        "the kind of file": [(*(each.kind == name for name in files),) for each in found],
        "compression": [
            (np.log(each.size_of_file / (each.width * each.height)),) for each in found
        ],
        "light": [(each.brightness, each.contrast) for each in found],
        "the mean colour": [each.colours for each in found],
        "the border": [each.border for each in found],
    }
    least = min(len(np.unique(units[labels == k])) for k in np.unique(labels))
    most = float(np.bincount(labels).max() / len(labels))
    result: list[Giveaway] = []
    if least < FOLDS:
        return result
    parts = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=0)
    divided = list(parts.split(labels, labels, units))
    for name, values in columns.items():
        numbers = np.asarray(values, np.float64)
        if (numbers == numbers[0]).all():
            continue
        right = np.zeros(len(labels), bool)
        for learn, rest in divided:
            forest = RandomForestClassifier(TREES, min_samples_leaf=5, random_state=0)
            forest.fit(numbers[learn], labels[learn])
            right[rest] = forest.predict(numbers[rest]) == labels[rest]
        share = float(right.mean())
        result.append(Giveaway(name, share, *intervals.wilson(share, len(right)), most))
    return sorted(result, key=lambda each: -each.accuracy)
