"""Decode pictures, make them upright, resize them."""

import hashlib
import stat
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from thaw.core.errors import ThawError

T = TypeVar("T")
R = TypeVar("R")
Pixels = NDArray[np.uint8]  # (H, W, 3), red, green, blue, 0 to 255

# Ten times a 24-megapixel photograph; a picture that declares more is refused unread.
MAX_PIXELS = Image.MAX_IMAGE_PIXELS = 240_000_000
# Pictures larger than that are decoded one at a time, so that memory doesn't grow with the cores.
LARGE = 50_000_000
# Whatever the name says. Pillow knows more formats, but for EPS it starts Ghostscript.
FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")
_one_large = threading.Lock()
# Warning filters belong to the process: set them here, once, since threads decode pictures.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")


class BadImageError(ThawError):
    """A file that isn't a picture that can be read, and the reason."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path} can't be read ({reason}); mend or remove it, then `dvc repro`")
        self.reason = reason


def read(path: Path) -> Image.Image:
    """Decode a picture to upright RGB.

    EXIF rotation is applied, transparency is laid on white, 16-bit grey is scaled to 8, and an
    animation gives its first frame.

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
        if not stat.S_ISREG(kind):  # reading a pipe would wait, and a device would never end
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
    """The whole picture, upright, in RGB; copied no more often than needed."""
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
