"""Decode pictures, make them upright, resize them."""

import errno
import hashlib
import io
import stat
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageFile, ImageOps, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile

from thaw.core.errors import ThawError
from thaw.files import kinds
from thaw.pictures import depths
from thaw.pictures.containers import bare, refuse_damaged_png
from thaw.pictures.depths import BitDepth

Pixels = NDArray[np.uint8]  # (H, W, 3), red, green, blue, 0 to 255

# Ten times a 24-megapixel photograph; a picture that declares more is refused unread.
MAX_PIXELS = Image.MAX_IMAGE_PIXELS = 240_000_000
# Pictures larger than that are decoded one at a time, so that memory doesn't grow with the cores.
LARGE = 50_000_000
SMALL = 64  # side of what pictures are compared by
TOO_LARGE = f"more than {MAX_PIXELS:,} pixels"
# Whatever the name says. Pillow knows more formats, but for EPS it starts Ghostscript.
FORMATS = tuple(name.upper() for name in kinds.READ)
# Errors of a name or of rights; all others are the disk's or the system's.
OF_THE_FILE = (errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENAMETOOLONG, errno.ENOTDIR)
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # by EXIF's orientation
SIDEWAYS = [TURNS[orientation] for orientation in (5, 6, 7, 8)]
_THUMBNAIL, _SUBIFDS, _RAW = 254, 330, 50706  # tags of a TIFF
_one_large = threading.Lock()
# Warning filters belong to the process: set them here, once, since threads decode pictures.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")


class BadImageError(ThawError):
    """A file whose bytes are no picture that can be read, and the reason."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path} can't be read ({reason}); mend or remove it, then `dvc repro`")
        self.reason = reason

    def __reduce__(self) -> tuple[Any, ...]:  # from a process of a cluster
        return _again, (type(self), self.args, self.__dict__)


def _again(kind: type[BadImageError], words: tuple[str], facts: dict[str, Any]) -> BadImageError:
    error = kind.__new__(kind, *words)
    error.__dict__.update(facts)
    return error


class NoFileError(BadImageError):
    """No file that can be opened under that name, so nothing is known of its bytes."""


class DarkImageError(BadImageError):
    """A picture of 16 bits with values so small that they have to be of fewer."""

    def __init__(self, path: Path, error: depths.DarkError) -> None:
        super().__init__(path, str(error))
        self.largest = error.largest


def read(path: Path, bit_depth: BitDepth = "file") -> Image.Image:
    """Decode a picture to upright RGB.

    EXIF rotation is applied, transparency is laid on white, pixels of more than 8 bits are scaled
    to 8, and an animation gives its first frame. What surrounds the pixels, as EXIF, text and
    colour profiles, never decides whether a picture is read.

    Args:
        path: of the file.
        bit_depth: how many of 16 bits count. "file": what the file says, else all; "data": as many
            as its largest value needs; a number from 8 to 16.

    Raises:
        BadImageError: when the file is missing, empty, truncated, too large or not a picture.
        OSError: when the disk fails, or too many files are open: that says nothing of the picture.
        MemoryError: likewise.
    """
    with _decoded(path, bit_depth) as found:
        return found.image


@dataclass(frozen=True)
class Examined:
    """What stage `split` has to know of a picture."""

    content: str  # the same for pictures that look the same
    small: Pixels  # grey, (SMALL, SMALL) uint8, stretched
    largest: int | None  # value, of a picture of more than 8 bits that doesn't say how many count


@dataclass
class _Decoded:
    image: Image.Image
    largest: int | None = None


@contextmanager
def _decoded(path: Path, bit_depth: BitDepth, size: int | None = None) -> Iterator[_Decoded]:
    """As `read`, or `load` where a size is given, which isn't reached yet; while the block runs no
    other large picture is decoded.
    """
    with _opened(path) as file, ExitStack() as locks:
        try:
            found = _decode(file, bit_depth, locks, size)
        except depths.DarkError as error:
            raise DarkImageError(path, error) from None
        except Exception as error:
            found = _decode_bare(path, file, _reason(error), bit_depth, locks, size)
        yield found


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    try:
        kind = path.stat().st_mode
        if not stat.S_ISREG(kind):  # reading a pipe would wait, and a device would never end
            raise NoFileError(path, "a folder" if stat.S_ISDIR(kind) else "not an ordinary file")
        file = path.open("rb")
    except FileNotFoundError:
        raise NoFileError(path, "no such file") from None
    except OSError as error:
        if error.errno not in OF_THE_FILE:
            raise
        raise NoFileError(path, error.strerror or str(error)) from None
    with file:
        yield file


def _decode(file: BinaryIO, bit_depth: BitDepth, locks: ExitStack, size: int | None) -> _Decoded:
    opened = Image.open(file, formats=FORMATS)
    pixels = opened.width * opened.height
    if pixels > MAX_PIXELS:
        raise Image.DecompressionBombError
    if pixels > LARGE:
        locks.enter_context(_one_large)
    _refuse_thumbnail(opened)
    _refuse_lost_colour(opened)
    if opened.format == "PNG":
        refuse_damaged_png(file)
    if depths.is_deep(opened):
        found = _shallow(opened, file, bit_depth)
    else:
        if size and isinstance(opened, JpegImageFile):
            opened.draft(None, (size, size))  # 1/8, 1/4 or 1/2, the smallest not below `size`
        opened.load()
        found = _Decoded(opened)
    turn = TURNS.get(_orientation(opened))
    if turn is not None:  # one of them is 0
        found.image = found.image.transpose(turn)
    found.image = _rgb(found.image)
    return found


def _decode_bare(
    path: Path,
    file: BinaryIO,
    reason: str,
    bit_depth: BitDepth,
    locks: ExitStack,
    size: int | None,
) -> _Decoded:
    """Once more, without what surrounds the pixels."""
    file.seek(0)
    less = None if reason == TOO_LARGE else bare(file.read())
    if less is None:
        raise _refused(path, file, reason)
    try:
        return _decode(io.BytesIO(less), bit_depth, locks, size)
    except Exception as error:
        _reason(error)
        raise _refused(path, file, reason) from None


def _reason(error: Exception) -> str:
    """Why bytes can't be decoded.

    Raises:
        OSError: where it is the disk's or the system's.
        MemoryError: where there was too little.
    """
    if isinstance(error, MemoryError) or "out of memory" in str(error):
        raise MemoryError from error
    if isinstance(error, Image.DecompressionBombError):
        return TOO_LARGE
    if isinstance(error, UnidentifiedImageError):
        return "not a picture that can be read"
    if isinstance(error, OSError):
        # Pillow's own have no number; EINVAL is a seek to nowhere.
        if error.errno not in (None, errno.EINVAL):
            raise error
        return error.strerror or str(error)
    if isinstance(error, SyntaxError | ValueError | EOFError | ArithmeticError):
        return str(error) or type(error).__name__
    # Pillow's decoders raise what their formats' bugs make of bad bytes.
    return f"damaged ({type(error).__name__})"


def _refused(path: Path, file: BinaryIO, reason: str) -> BadImageError:
    """The error, with what the file is where that is no format of `FORMATS`."""
    file.seek(0)
    head = file.read(kinds.HEAD)
    if not head:
        return BadImageError(path, "an empty file")
    found = kinds.kind(head)
    if found == kinds.LFS:
        return BadImageError(path, f"a {found}, not the picture: run `git lfs pull` at its source")
    if found is not None and found not in kinds.READ:
        return BadImageError(path, f"{found}, which isn't read: save it as JPEG or PNG")
    return BadImageError(path, reason)


def _refuse_thumbnail(opened: ImageFile.ImageFile) -> None:
    tags = getattr(opened, "tag_v2", {})
    if _RAW in tags or (_SUBIFDS in tags and tags.get(_THUMBNAIL) == 1):
        raise ValueError("a camera's raw file: save it as JPEG or PNG")


def _refuse_lost_colour(opened: ImageFile.ImageFile) -> None:
    other = any(";" in str(tile.args) for tile in opened.tile)  # samples of other than 8 bits
    if opened.format == "PNG" and opened.mode != "P" and other and "transparency" in opened.info:
        # Pillow would look for the colour as it was before scaling, and not find it.
        raise ValueError("one colour is transparent, and colours have other than 8 bits")


def _orientation(opened: ImageFile.ImageFile) -> int:
    """How to turn a picture that is loaded, as EXIF or XMP says; 1, not at all, if that is broken.

    Raises:
        OSError, MemoryError: as `_reason` does.
    """
    try:
        found = opened.getexif().get(ExifTags.Base.Orientation)
    except Exception as error:  # whatever broken EXIF makes of Pillow's reader
        _reason(error)
        return 1
    return found if isinstance(found, int) else 1


def _shallow(opened: ImageFile.ImageFile, file: BinaryIO, bit_depth: BitDepth) -> _Decoded:
    """A picture of 16 bits a channel in 8."""
    said = depths.declared(opened)
    if opened.mode.startswith("I;16"):
        values = np.asarray(opened).astype(np.uint16)
        pixels = depths.to_8_bits(values, bit_depth, said)
        image = Image.fromarray(255 - pixels if depths.inverted(opened) else pixels)
        return _Decoded(image, None if said else int(values.max(initial=0)))
    opened.load()
    upper = np.asarray(opened)
    highest = int(upper[:, :, :3].max(initial=0)) << 8 | 0xFF
    if bit_depth == 16 or (bit_depth == "file" and said is None and highest > depths.DARK):
        return _Decoded(opened, highest)
    file.seek(0)
    again = Image.open(file, formats=FORMATS)
    depths.swap(again)
    values = upper.astype(np.uint16) << 8 | np.asarray(again)
    pixels = depths.to_8_bits(values[:, :, :3], bit_depth, said)
    if opened.mode == "RGBA":  # most are opaque, in all 16 bits, whatever the colours have
        alpha = values[:, :, 3:]
        bits: BitDepth = "data" if alpha.max(initial=0) < depths.DARK else 16
        pixels = np.concatenate([pixels, depths.to_8_bits(alpha, bits, None)], axis=2)
    return _Decoded(Image.fromarray(pixels), None if said else int(values.max()))


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode in ("I", "F"):
        raise ValueError("32-bit pixels have no known range")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image if image.mode == "RGB" else image.convert("RGB")


def load(path: Path, size: int, resize: str = "stretch", bit_depth: BitDepth = "file") -> Pixels:
    """Decode a picture to (size, size, 3) uint8.

    A JPEG whose sides both are at least 2, 4 or 8 times `size` is decoded at 1/2, 1/4 or 1/8 of
    them, rounded up: libjpeg computes no more than that, and gives the same on every machine. The
    rest of the way is bilinear.

    Args:
        path: of the file.
        size: height and width in pixels.
        resize: "stretch", as the Keras tutorials do, or "crop": scale the shorter side to `size`
            and cut the centre out.
        bit_depth: as for `read`.

    Raises:
        BadImageError, OSError, MemoryError: as `read` does.
    """
    shape = (size, size)
    with _decoded(path, bit_depth, size) as found:
        if resize == "crop":
            return np.asarray(ImageOps.fit(found.image, shape, Image.Resampling.BILINEAR))
        return np.asarray(found.image.resize(shape, Image.Resampling.BILINEAR))


def dimensions(path: Path) -> tuple[int, int]:
    """Width and height of a picture as it is upright; mostly without decoding it.

    Raises:
        BadImageError, OSError, MemoryError: as `read` does.
    """
    try:
        with _opened(path) as file, Image.open(file, formats=FORMATS) as opened:
            width, height = opened.size
            turn = TURNS.get(_orientation(opened))
    except (UnidentifiedImageError, SyntaxError, ValueError):  # what surrounds the pixels is broken
        return read(path).size
    return (height, width) if turn in SIDEWAYS else (width, height)


def examine(path: Path, bit_depth: BitDepth = "file") -> Examined:
    """Decode a picture, and say what of it is to be known before any work.

    Raises:
        BadImageError, OSError, MemoryError: as `read` does.
    """
    with _decoded(path, bit_depth) as found:
        pixels = np.asarray(found.image)
        digest = hashlib.sha256(repr(pixels.shape).encode())
        digest.update(pixels.data)
        grey = found.image.convert("L").resize((SMALL, SMALL), Image.Resampling.BILINEAR)
        return Examined(digest.hexdigest(), np.asarray(grey), found.largest)


def content_hash(path: Path) -> str:
    """SHA-256 of the upright pixels and their size: equal for pictures that look the same.

    Raises:
        BadImageError, OSError, MemoryError: as `read` does.
    """
    return examine(path).content
