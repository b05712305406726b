"""Pictures: decode, make upright, resize, and draw augmented views."""

import hashlib
import math
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from thaw.cores import available
from thaw.errors import ThawError

T = TypeVar("T")
R = TypeVar("R")
Pixels = NDArray[np.uint8]  # (H, W, 3), red, green, blue, 0 to 255

# Ten times a 24-megapixel photograph; a picture that declares more is refused unread.
MAX_PIXELS = Image.MAX_IMAGE_PIXELS = 240_000_000
# Filters are the process's own: set here, once, since threads decode pictures.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")


class BadImageError(ThawError):
    """A file that isn't a picture that can be read; the message is the reason alone."""


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
        """Views of each picture that differ: never more than there are, where none is random."""
        return self.views if self.rotation else min(self.views, len(self.symmetries))


def read(path: Path) -> Image.Image:
    """Decode a picture to upright RGB.

    EXIF rotation is applied, transparency is laid on white, 16-bit grey is scaled to 8, and of an
    animation the first frame is taken.

    Raises:
        BadImageError: when the file is missing, empty, truncated, too large or not a picture.
    """
    try:
        with Image.open(path) as opened:
            if opened.width * opened.height > MAX_PIXELS:
                raise Image.DecompressionBombError
            opened.load()
            return _rgb(ImageOps.exif_transpose(opened))
    except FileNotFoundError:
        raise BadImageError("no such file") from None
    except UnidentifiedImageError:
        empty = path.stat().st_size == 0
        raise BadImageError(
            "an empty file" if empty else "not a picture that can be read"
        ) from None
    except Image.DecompressionBombError:
        raise BadImageError(f"more than {MAX_PIXELS:,} pixels") from None
    except (OSError, SyntaxError, ValueError, EOFError, MemoryError, ArithmeticError) as error:
        raise BadImageError(str(error) or type(error).__name__) from None
    except Exception as error:  # Pillow's decoders raise what their formats' bugs make of bad bytes
        raise BadImageError(f"damaged ({type(error).__name__})") from None


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        grey = np.asarray(image, dtype=np.int64)
        image = Image.fromarray(np.clip(grey >> 8, 0, 255).astype(np.uint8))
    elif image.mode == "F":
        raise ValueError("floating-point pixels have no known range")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def load(path: Path, size: int) -> Pixels:
    """Decode a picture and stretch it to (size, size, 3) uint8, as the Keras tutorials do.

    Raises:
        BadImageError: as `read` does.
    """
    return np.asarray(read(path).resize((size, size), Image.Resampling.BILINEAR))


def content_hash(path: Path) -> str:
    """SHA-256 of the upright pixels and their size: equal for pictures that look the same.

    Raises:
        BadImageError: as `read` does.
    """
    pixels = np.asarray(read(path))
    digest = hashlib.sha256(repr(pixels.shape).encode())
    digest.update(pixels.tobytes())
    return digest.hexdigest()


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


def in_threads(
    work: Callable[[T], R], items: Iterable[T], threads: int | None = None, ahead: int | None = None
) -> Iterator[R]:
    """Map in threads, in order, at most `ahead` results waiting, so that memory stays flat.

    By default there are as many threads as cores, and four results a thread may wait.
    """
    threads = threads or available()
    ahead = ahead or 4 * threads
    with ThreadPoolExecutor(threads) as pool:
        waiting: list[Future[R]] = []
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) > ahead:
                    yield waiting.pop(0).result()
            while waiting:
                yield waiting.pop(0).result()
        finally:
            for future in waiting:
                future.cancel()
