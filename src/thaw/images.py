"""Pictures: decode, make upright, resize, and draw augmented views."""

import hashlib
import math
import stat
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from thaw.cores import available
from thaw.errors import ThawError

T = TypeVar("T")
R = TypeVar("R")
Pixels = NDArray[np.uint8]  # (H, W, 3), red, green, blue, 0 to 255

# Ten times a 24-megapixel photograph; a picture that declares more is refused unread.
MAX_PIXELS = Image.MAX_IMAGE_PIXELS = 240_000_000
# Of pictures with more, one is decoded at a time: memory then doesn't grow with the cores.
LARGE = 50_000_000
# Whatever the name says. Not all that Pillow knows: for EPS it starts Ghostscript.
FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")
_one_large = threading.Lock()
# Filters are the process's own: set here, once, since threads decode pictures.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")


class BadImageError(ThawError):
    """A file that isn't a picture that can be read, and the reason."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path} can't be read ({reason}); mend or remove it, then `dvc repro`")
        self.reason = reason


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
    with _decoded(path) as image:
        return image


@contextmanager
def _decoded(path: Path) -> Iterator[Image.Image]:
    """As `read`; while the block runs no other large picture is decoded."""
    try:
        kind = path.stat().st_mode
        if not stat.S_ISREG(kind):  # a pipe would be waited for, a device read for ever
            raise ValueError("a folder" if stat.S_ISDIR(kind) else "not an ordinary file")
        with Image.open(path, formats=FORMATS) as opened:
            pixels = opened.width * opened.height
            if pixels > MAX_PIXELS:
                raise Image.DecompressionBombError
            with _one_large if pixels > LARGE else nullcontext():
                yield _upright(opened)
    except FileNotFoundError:
        raise BadImageError(path, "no such file") from None
    except UnidentifiedImageError:
        empty = path.stat().st_size == 0
        reason = "an empty file" if empty else "not a picture that can be read"
        raise BadImageError(path, reason) from None
    except Image.DecompressionBombError:
        raise BadImageError(path, f"more than {MAX_PIXELS:,} pixels") from None
    except OSError as error:
        raise BadImageError(path, error.strerror or str(error)) from None
    except (SyntaxError, ValueError, EOFError, MemoryError, ArithmeticError) as error:
        raise BadImageError(path, str(error) or type(error).__name__) from None
    except Exception as error:  # Pillow's decoders raise what their formats' bugs make of bad bytes
        raise BadImageError(path, f"damaged ({type(error).__name__})") from None


def _upright(opened: ImageFile.ImageFile) -> Image.Image:
    """The whole picture, upright, in RGB; copied no more often than need be."""
    scaled = any(";" in str(tile.args) for tile in opened.tile)  # samples of other than 8 bits
    opened.load()
    transparent = opened.info.get("transparency")
    if opened.format == "PNG" and opened.mode != "P" and scaled and transparent is not None:
        # Pillow would look for the colour as it was before scaling, and not find it.
        raise ValueError("one colour is transparent, and colours have other than 8 bits")
    ImageOps.exif_transpose(opened, in_place=True)
    return _rgb(opened)


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode in ("I", "F"):
        raise ValueError("32-bit pixels have no known range")
    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image if image.mode == "RGB" else image.convert("RGB")


def load(path: Path, size: int, resize: str = "stretch") -> Pixels:
    """Decode a picture to (size, size, 3) uint8.

    Args:
        path: of the file.
        size: height and width in pixels.
        resize: "stretch", as the Keras tutorials do, or "crop": scale the shorter side to `size`
            and cut the centre out.

    Raises:
        BadImageError: as `read` does.
    """
    shape = (size, size)
    with _decoded(path) as image:
        if resize == "crop":
            return np.asarray(ImageOps.fit(image, shape, Image.Resampling.BILINEAR))
        return np.asarray(image.resize(shape, Image.Resampling.BILINEAR))


def content_hash(path: Path) -> str:
    """SHA-256 of the upright pixels and their size: equal for pictures that look the same.

    Raises:
        BadImageError: as `read` does.
    """
    with _decoded(path) as image:
        pixels = np.asarray(image)
        digest = hashlib.sha256(repr(pixels.shape).encode())
        digest.update(pixels.data)
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
