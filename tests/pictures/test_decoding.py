import errno
import os
import random as shuffler
import resource
import struct
import subprocess
import sys
import threading
import time
import warnings
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps, TiffImagePlugin

from helpers import picture, pixels
from places import SRC
from thaw.core.errors import ThawError
from thaw.core.threads import in_threads
from thaw.pictures import decoding
from thaw.pictures.augmentation import Augmentation, affine, random, view
from thaw.pictures.decoding import BadImageError, content_hash, load, read

# pytest puts its own filters in place of the library's.
pytestmark = pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
EIGHT = Augmentation(views=8, flip="both", quarter_turns=True, rotation=0.0)
SQUARE = pixels(1)
DIHEDRAL = [np.rot90(side, turns) for side in (SQUARE, SQUARE[:, ::-1]) for turns in range(4)]
ORIENTED = {  # how a viewer must turn the pixels stored under each EXIF orientation
    1: lambda stored: stored,
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.swapaxes(0, 1),
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: np.rot90(stored, 2).swapaxes(0, 1),
    8: lambda stored: np.rot90(stored, 1),
}


def chunk(kind: bytes, content: bytes) -> bytes:
    check = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + check


def png(width: int, height: int, depth: int, kind: int, rows: bytes, before: bytes = b"") -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    data = chunk(b"IDAT", zlib.compress(rows))
    end = chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + before + data + end


def declaring(width: int, height: int) -> bytes:
    """A PNG of some hundred bytes that declares that size."""
    return png(width, height, 8, 2, b"\0" * 5000)


def array(path: Path) -> np.ndarray:
    image = read(path)
    assert image.mode == "RGB"
    return np.asarray(image)


def save(path: Path, values: np.ndarray, mode: str | None = None, **options: object) -> Path:
    Image.fromarray(values, mode).save(path, **options)
    return path


@pytest.mark.parametrize("suffix", ["png", "bmp"])
def test_lossless_formats_come_back_exactly(tmp_path: Path, suffix: str):
    path = picture(tmp_path / f"a.{suffix}", 3, width=7, height=5)
    np.testing.assert_array_equal(array(path), pixels(3, 7, 5))


def test_jpeg_comes_back_nearly(tmp_path: Path):
    smooth = np.linspace(0, 255, 16 * 16 * 3).reshape(16, 16, 3).astype(np.uint8)
    path = save(tmp_path / "a.jpg", smooth, quality=95)
    assert np.abs(array(path).astype(int) - smooth).max() < 20


def test_picture_that_pillow_warns_of_is_refused_quietly(tmp_path: Path):
    Image.new("1", (20_000, 12_001)).save(tmp_path / "a.png")
    script = "import pathlib; from thaw.pictures.decoding import read; read(pathlib.Path('a.png'))"
    done = subprocess.run(
        [sys.executable, "-W", "default", "-c", script],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(SRC)},
    )
    assert "(more than 240,000,000 pixels)" in done.stderr.splitlines()[-1]
    assert "Warning" not in done.stderr


def test_threads_leave_the_warnings_of_the_process_alone(tmp_path: Path):
    path = picture(tmp_path / "a.png")
    before = list(warnings.filters)
    for _ in in_threads(read, [path] * 300, threads=8, ahead=16):
        assert warnings.filters == before


def test_first_frame_of_an_animation_is_taken(tmp_path: Path):
    red, blue = (Image.new("RGB", (4, 4), colour) for colour in ("red", "blue"))
    red.save(tmp_path / "a.gif", save_all=True, append_images=[blue])
    np.testing.assert_array_equal(array(tmp_path / "a.gif"), np.asarray(red))


def test_grey_fills_three_channels(tmp_path: Path):
    grey = pixels(2)[:, :, 0]
    found = array(save(tmp_path / "a.png", grey))
    np.testing.assert_array_equal(found, np.stack([grey] * 3, axis=2))


def test_black_and_white_is_0_and_255(tmp_path: Path):
    Image.fromarray(np.array([[True, False]])).save(tmp_path / "a.png")
    np.testing.assert_array_equal(array(tmp_path / "a.png"), [[[255] * 3, [0] * 3]])


@pytest.mark.parametrize(
    ("mode", "colour", "opaque"),
    [("RGBA", (200, 100, 0), (200, 100, 0)), ("LA", (40,), (40, 40, 40))],
)
def test_transparency_is_laid_on_white(
    tmp_path: Path, mode: str, colour: tuple[int, ...], opaque: tuple[int, ...]
):
    image = Image.new(mode, (3, 1))
    for x, alpha in enumerate((0, 51, 255)):
        image.putpixel((x, 0), (*colour, alpha))
    image.save(tmp_path / "a.png")
    fifth = [round(0.2 * each + 0.8 * 255) for each in opaque]  # 51 / 255
    assert array(tmp_path / "a.png").tolist() == [[[255] * 3, fifth, list(opaque)]]


@pytest.mark.parametrize(("transparent", "first"), [(None, [255, 0, 0]), (0, [255, 255, 255])])
def test_palette(tmp_path: Path, transparent: int | None, first: list[int]):
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putpixel((1, 0), 1)
    options = {} if transparent is None else {"transparency": transparent}
    image.save(tmp_path / "a.png", **options)
    assert array(tmp_path / "a.png").tolist() == [[first, [0, 0, 255]]]


def test_cmyk_becomes_rgb(tmp_path: Path):
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "a.jpg", quality=100)
    red, green, blue = array(tmp_path / "a.jpg")[4, 4]
    assert red > 240
    assert max(green, blue) < 15


@pytest.mark.parametrize(("suffix", "mode"), [("png", "I;16"), ("tiff", "I;16"), ("tiff", "I;16B")])
def test_16_bit_grey_in_either_order_of_bytes(tmp_path: Path, suffix: str, mode: str):
    values = np.array([[0, 256, 32768, 65535]], ">u2" if mode.endswith("B") else "<u2")
    Image.frombytes(mode, (4, 1), values.tobytes()).save(tmp_path / "a.jpg", suffix)
    assert array(tmp_path / "a.jpg")[0, :, 0].tolist() == [0, 1, 128, 255]


@pytest.mark.parametrize(
    ("depth", "kind", "samples", "colour"),
    [
        (2, 0, bytes([0b00011011]), (1,)),
        (4, 0, bytes([0x01, 0x23]), (1,)),
        (16, 0, struct.pack(">4H", 0, 256, 512, 768), (256,)),
        (16, 2, struct.pack(">12H", *range(0, 12 * 256, 256)), (0, 256, 512)),
    ],
)
def test_transparent_colour_that_pillow_overlooks_is_not_read_wrongly(
    tmp_path: Path, depth: int, kind: int, samples: bytes, colour: tuple[int, ...]
):
    transparent = chunk(b"tRNS", struct.pack(f">{len(colour)}H", *colour))
    path = tmp_path / "a.png"
    path.write_bytes(png(4, 1, depth, kind, b"\0" + samples, transparent))
    with pytest.raises(BadImageError, match="one colour is transparent"):
        read(path)
    path.write_bytes(png(4, 1, depth, kind, b"\0" + samples))
    assert np.asarray(read(path, 16)).shape == (1, 4, 3)


@pytest.mark.parametrize("kind", [np.int32, np.float32])
def test_pixels_of_unknown_range_are_refused(tmp_path: Path, kind: type):
    path = save(tmp_path / "a.tiff", np.array([[0, 1, 200]], dtype=kind))
    with pytest.raises(BadImageError, match="32-bit pixels have no known range"):
        read(path)


@pytest.mark.parametrize("profile", [b"", b"no profile", b"\0" * 128])
@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_colour_profile_changes_nothing(tmp_path: Path, suffix: str, profile: bytes):
    image = Image.fromarray(pixels(1))
    image.save(tmp_path / f"with.{suffix}", icc_profile=profile)
    image.save(tmp_path / f"without.{suffix}")
    with_profile, without = (array(tmp_path / f"{name}.{suffix}") for name in ("with", "without"))
    np.testing.assert_array_equal(with_profile, without)


def test_transparent_bitmap_and_gif_are_laid_on_white(tmp_path: Path):
    Image.new("RGBA", (3, 3), (200, 100, 0, 0)).save(tmp_path / "a.gif")
    assert array(tmp_path / "a.gif").min() == 255


def test_16_bit_grey_is_scaled_not_clipped(tmp_path: Path):
    path = save(tmp_path / "a.png", np.array([[0, 256, 32768, 65535]], dtype=np.uint16))
    assert Image.open(path).mode.startswith("I")
    assert array(path)[0, :, 0].tolist() == [0, 1, 128, 255]


@pytest.mark.parametrize("orientation", ORIENTED)
@pytest.mark.parametrize("mode", ["RGB", "I;16"])
def test_exif_orientation_is_made_upright(tmp_path: Path, orientation: int, mode: str):
    stored = pixels(1, 5, 3)
    values = stored if mode == "RGB" else stored[:, :, 0].astype(np.uint16) << 8
    exif = Image.Exif()
    exif[0x0112] = orientation
    found = array(save(tmp_path / "a.png", values, exif=exif))
    expected = stored if mode == "RGB" else np.repeat(stored[:, :, :1], 3, axis=2)
    np.testing.assert_array_equal(found, ORIENTED[orientation](expected))


def test_one_pixel(tmp_path: Path):
    path = save(tmp_path / "a.png", np.full((1, 1, 3), 9, dtype=np.uint8))
    assert load(path, 4).tolist() == [[[9] * 3] * 4] * 4


@pytest.mark.parametrize("turned", [False, True])
def test_load_crops_the_centre(tmp_path: Path, turned: bool):
    """Three fields side by side: only the middle one is left, and nothing of it is stretched."""
    middle = pixels(1, 8, 8)
    wide = np.concatenate([np.zeros_like(middle), middle, np.zeros_like(middle)], axis=int(turned))
    Image.fromarray(wide).save(tmp_path / "a.png")
    np.testing.assert_array_equal(load(tmp_path / "a.png", 8, "crop"), middle)
    half = Image.fromarray(middle).resize((4, 4), Image.Resampling.BILINEAR)
    found = load(tmp_path / "a.png", 4, "crop").astype(int)
    np.testing.assert_allclose(found[1:3, 1:3], np.asarray(half)[1:3, 1:3], atol=1)


def test_load_stretches_to_a_square(tmp_path: Path):
    halves = np.zeros((10, 40, 3), dtype=np.uint8)
    halves[:, 20:] = 250
    found = load(save(tmp_path / "a.png", halves), 8)
    assert found.shape == (8, 8, 3)
    assert found.dtype == np.uint8
    assert found[:, 0].max() == 0
    assert found[:, 7].min() == 250


def smooth(width: int, height: int) -> Image.Image:
    """Like a photograph: what neighbours share, and some noise."""
    rough = Image.fromarray(pixels(1, 5, 5)).resize((width, height), Image.Resampling.BICUBIC)
    return Image.blend(rough, Image.fromarray(pixels(2, width, height)), 0.1)


@pytest.mark.parametrize("resize", ["stretch", "crop"])
@pytest.mark.parametrize(
    ("width", "height", "part"),
    [
        (63, 200, 1),
        (64, 64, 2),
        (130, 65, 2),
        (127, 129, 2),
        (128, 300, 4),
        (255, 256, 4),
        (256, 256, 8),
        (999, 260, 8),
    ],
)
def test_a_jpeg_is_decoded_no_larger_than_is_needed(
    tmp_path: Path, width: int, height: int, part: int, resize: str
):
    """At 1/2, 1/4 or 1/8 where both sides are that many times the size; a PNG never is."""
    smooth(width, height).save(tmp_path / "a.jpg", quality=90)
    with Image.open(tmp_path / "a.jpg") as opened:
        whole = opened.copy()
    with Image.open(tmp_path / "a.jpg") as opened:
        opened.draft(None, (width // part, height // part))
        assert opened.size == (-(-width // part), -(-height // part))
        reduced = opened.copy()
    whole.save(tmp_path / "a.png")

    def resized(image: Image.Image) -> np.ndarray:
        if resize == "crop":
            return np.asarray(ImageOps.fit(image, (32, 32), Image.Resampling.BILINEAR))
        return np.asarray(image.resize((32, 32), Image.Resampling.BILINEAR))

    found = load(tmp_path / "a.jpg", 32, resize)
    np.testing.assert_array_equal(found, resized(reduced))
    np.testing.assert_array_equal(load(tmp_path / "a.png", 32, resize), resized(whole))
    difference = np.abs(found.astype(int) - resized(whole))
    assert difference.mean() < 3
    assert difference.any() == (part > 1)
    assert read(tmp_path / "a.jpg").size == (width, height)


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("orientation", ORIENTED)
def test_a_reduced_jpeg_is_upright_in_its_colours(tmp_path: Path, mode: str, orientation: int):
    stored = smooth(150, 140).convert(mode)
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / "a.jpg", quality=95, exif=exif)
    upright = Image.fromarray(ORIENTED[orientation](np.asarray(stored.convert("RGB"))))
    found = load(tmp_path / "a.jpg", 32).astype(int)
    expected = np.asarray(upright.resize((32, 32), Image.Resampling.BILINEAR))
    assert np.abs(found - expected).mean() < 5


@pytest.mark.parametrize("share", [0.5, 0.9])
def test_a_reduced_jpeg_that_is_cut_off_is_refused(tmp_path: Path, share: float):
    smooth(300, 300).save(tmp_path / "a.jpg")
    whole = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "a.jpg").write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(BadImageError, match="truncated"):
        load(tmp_path / "a.jpg", 32)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "an empty file"),
        (b"no picture, whatever its name says\n" * 20, "not a picture that can be read"),
        (declaring(50_000, 50_000), "more than 240,000,000 pixels"),
        (declaring(20_000, 12_001), "more than 240,000,000 pixels"),  # Pillow alone only warns
        (declaring(0, 5), "not a picture that can be read"),
        (
            b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
            "PostScript, which isn't read: save it as JPEG or PNG",
        ),
    ],
)
def test_what_is_no_picture_is_refused_with_the_reason(tmp_path: Path, content: bytes, reason: str):
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    started = time.monotonic()
    for refuse in (read, content_hash, lambda path: load(path, 8)):
        with pytest.raises(BadImageError) as caught:
            refuse(path)
        assert caught.value.reason == reason
        assert str(caught.value).startswith(f"{path} can't be read ({reason}); ")
    assert time.monotonic() - started < 10


@pytest.mark.parametrize("suffix", ["jpg", "png", "gif", "bmp"])
@pytest.mark.parametrize("share", [0.05, 0.3, 0.6, 0.9])
def test_truncated_picture_is_refused(tmp_path: Path, suffix: str, share: float):
    whole = picture(tmp_path / f"whole.{suffix}", width=64, height=64).read_bytes()
    path = tmp_path / f"cut.{suffix}"
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(BadImageError, match=r"^[^\n]{3,}$"):
        read(path)


@pytest.mark.parametrize("suffix", ["jpg", "png", "gif", "bmp"])
def test_damaged_bytes_never_raise_anything_else(tmp_path: Path, suffix: str):
    whole = picture(tmp_path / f"a.{suffix}", width=16, height=16).read_bytes()
    chance = shuffler.Random(1)
    path = tmp_path / f"b.{suffix}"
    for _ in range(60):
        damaged = bytearray(whole)
        for _ in range(4):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        path.write_bytes(damaged)
        with suppress(BadImageError):
            load(path, 8)


def test_missing_file_and_folder_are_bad_images(tmp_path: Path):
    with pytest.raises(BadImageError, match="no such file"):
        read(tmp_path / "none.png")
    with pytest.raises(ThawError, match="a folder"):
        read(tmp_path)


@pytest.mark.parametrize("reader", [read, content_hash, lambda path: load(path, 8)])
def test_pipe_and_device_are_refused_without_waiting(tmp_path: Path, reader: Callable):
    os.mkfifo(tmp_path / "a.jpg")
    (tmp_path / "b.jpg").symlink_to("/dev/zero")
    (tmp_path / "c.jpg").symlink_to(tmp_path / "a.jpg")
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        with pytest.raises(BadImageError) as caught:
            reader(tmp_path / name)
        assert caught.value.reason == "not an ordinary file"


def test_link_to_itself_is_refused(tmp_path: Path):
    (tmp_path / "a.jpg").symlink_to("a.jpg")
    with pytest.raises(BadImageError, match=r"\(Too many levels of symbolic links\)"):
        read(tmp_path / "a.jpg")


@pytest.mark.parametrize("reader", [read, content_hash, lambda path: load(path, 8)])
def test_too_many_open_files_is_no_fault_of_the_picture(tmp_path: Path, reader: Callable):
    path = picture(tmp_path / "a.png")
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, limits[1]))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            reader(path)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


FAILURES = [
    (OSError(errno.EIO, "Input/output error"), OSError),
    (OSError(errno.ESTALE, "Stale file handle"), OSError),
    (OSError(errno.ENOMEM, "Cannot allocate memory"), OSError),
    (MemoryError(), MemoryError),
    (OSError("out of memory when reading image file"), MemoryError),  # of Pillow's decoders
]


@pytest.mark.parametrize(("error", "raised"), FAILURES)
@pytest.mark.parametrize("place", ["PIL.Image.open", "PIL.ImageFile.ImageFile.load"])
def test_failing_disk_or_memory_is_no_fault_of_the_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, raised: type, place: str
):
    def failing(*_: object, **__: object) -> None:
        raise error

    path = picture(tmp_path / "a.bmp")
    monkeypatch.setattr(place, failing)
    with pytest.raises(raised) as caught:
        load(path, 8)
    assert not isinstance(caught.value, BadImageError)


def test_memory_that_runs_out_while_resizing_is_no_fault_of_the_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def failing(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(Image.Image, "resize", failing)
    with pytest.raises(MemoryError):
        load(picture(tmp_path / "a.png"), 8)


@pytest.mark.parametrize(
    ("start", "reason"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC, which isn't read: save it as JPEG or PNG"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "HEIC, which isn't read"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL, which isn't read: save"),
        (b"\xff\x0a\xfa\x1f", "JPEG XL, which isn't read: save"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000, which isn't read: save"),
        (b"\xff\x4f\xff\x51", "JPEG 2000, which isn't read: save"),
        (b"8BPS\0\x01", "Photoshop, which isn't read: save"),
        (bytes(128) + b"DICM", "DICOM, which isn't read: save"),
        (b"P6\n# made\n8 8\n255\n", "Netpbm, which isn't read: save"),
        (b"<!DOCTYPE html><title>404", "web page, which isn't read: save"),
        (b'<?xml version="1.0"?>\n<svg xmlns="">', "SVG, which isn't read: save"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
            "a Git LFS pointer, not the picture: run `git lfs pull` at its source",
        ),
    ],
)
def test_other_formats_are_named_as_what_they_are(tmp_path: Path, start: bytes, reason: str):
    (tmp_path / "a.jpg").write_bytes(start + b"\n" * 200)
    with pytest.raises(BadImageError) as caught:
        read(tmp_path / "a.jpg")
    assert caught.value.reason.startswith(reason)


def test_raw_file_of_a_camera_is_not_taken_for_its_thumbnail(tmp_path: Path):
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[254], tags[330] = 1, 8  # a thumbnail first, the picture elsewhere
    Image.fromarray(pixels(1)).save(tmp_path / "a.nef", "TIFF", tiffinfo=tags)
    with pytest.raises(BadImageError, match="a camera's raw file: save it as JPEG or PNG"):
        read(tmp_path / "a.nef")


def test_postscript_starts_no_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Pillow gives it to Ghostscript, found by the name `gs`."""
    ghostscript = tmp_path / "gs"
    ghostscript.write_text(f"#!/bin/sh\ntouch {tmp_path / 'trace'}\n")
    ghostscript.chmod(0o700)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr("PIL.EpsImagePlugin.gs_binary", None)
    (tmp_path / "a.jpg").write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n%%EOF\n"
    )
    with pytest.raises(BadImageError):
        read(tmp_path / "a.jpg")
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize("large", [True, False])
def test_of_large_pictures_one_is_decoded_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, large: bool
):
    paths = [picture(tmp_path / f"{index}.png") for index in range(4)]
    monkeypatch.setattr(decoding, "LARGE", 100 if large else 1000)
    decode, running, most = decoding._rgb, [], []

    def slow(image: Image.Image) -> Image.Image:
        running.append(1)
        most.append(len(running))
        time.sleep(0.05)
        running.pop()
        return decode(image)

    monkeypatch.setattr(decoding, "_rgb", slow)
    assert len({content_hash(path) for path in paths}) == 1
    most.clear()
    assert len(list(in_threads(content_hash, paths, threads=4))) == 4
    assert (max(most) == 1) is large


def test_content_hash_sees_pixels_not_files(tmp_path: Path):
    png, bmp = picture(tmp_path / "a.png", 1), picture(tmp_path / "b" / "c.bmp", 1)
    assert png.read_bytes() != bmp.read_bytes()
    assert content_hash(png) == content_hash(bmp)
    assert content_hash(picture(tmp_path / "d.png", 2)) != content_hash(png)


def test_content_hash_sees_the_shape(tmp_path: Path):
    same = np.zeros((2, 8, 3), dtype=np.uint8)
    wide, tall = save(tmp_path / "a.png", same), save(tmp_path / "b.png", same.reshape(8, 2, 3))
    assert content_hash(wide) != content_hash(tall)


@pytest.mark.parametrize(
    ("flip", "quarter_turns", "count"),
    [
        ("none", False, 1),
        ("horizontal", False, 2),
        ("vertical", False, 2),
        ("both", False, 4),
        ("none", True, 4),
        ("horizontal", True, 8),
        ("vertical", True, 8),
        ("both", True, 8),
    ],
)
def test_symmetries_are_distinct_and_those_allowed(flip: str, quarter_turns: bool, count: int):
    augmentation = Augmentation(64, flip, quarter_turns, 0.0)
    assert augmentation.count == count
    found = {view(SQUARE, augmentation, i, 1, "a").tobytes() for i in range(count)}
    allowed = {
        np.rot90(SQUARE[::up, ::left], turns).tobytes()
        for turns in (range(4) if quarter_turns else [0])
        for left in ([1, -1] if flip in ("horizontal", "both") else [1])
        for up in ([1, -1] if flip in ("vertical", "both") else [1])
    }
    assert found == allowed
    assert len(found) == count


@pytest.mark.parametrize("name", ["a.png", "b/c.png", "é"])
def test_eight_views_are_the_symmetries_of_the_square(name: str):
    found = {view(SQUARE, EIGHT, index, 1, name).tobytes() for index in range(8)}
    assert found == {each.tobytes() for each in DIHEDRAL}


def test_fewer_views_than_symmetries_are_as_many_as_asked():
    assert Augmentation(3, "both", True, 0.0).count == 3
    assert Augmentation(20, "both", True, 0.1).count == 20


@pytest.mark.parametrize("rotation", [0.0, 0.2])
def test_views_depend_on_their_arguments_alone(rotation: float):
    augmentation = Augmentation(8, "both", True, rotation)

    def draw(indices: range) -> dict[int, bytes]:
        return {index: view(SQUARE, augmentation, index, 1, "a").tobytes() for index in indices}

    assert draw(range(8)) == draw(range(7, -1, -1))


@pytest.mark.parametrize("rotation", [0.0, 0.2])
def test_views_differ_by_seed_and_by_name(rotation: float):
    augmentation = Augmentation(8, "both", True, rotation)
    firsts = {view(SQUARE, augmentation, 0, 1, f"{name}").tobytes() for name in range(30)}
    assert len(firsts) > 4
    firsts = {view(SQUARE, augmentation, 0, seed, "a").tobytes() for seed in range(30)}
    assert len(firsts) > 4


def test_rotated_views_all_differ():
    augmentation = Augmentation(16, "none", False, 0.2)
    assert len({view(SQUARE, augmentation, i, 1, "a").tobytes() for i in range(16)}) == 16


def test_random_keys_are_not_run_together():
    drawn = {random(*key).integers(2**62) for key in [("ab", "c"), ("a", "bc"), ("abc",)]}
    assert len(drawn) == 3
    assert random("a", 1).integers(2**62) == random("a", 1).integers(2**62)


@pytest.mark.parametrize("size", [1, 2, 31, 32])
@pytest.mark.parametrize("degrees", [-180, -45, 0, 10, 45, 90])
def test_rotation_keeps_shape_and_has_no_empty_corners(size: int, degrees: float):
    bright = pixels(1, size, size) // 4 + 150
    found = np.asarray(affine(bright, degrees))
    assert found.shape == bright.shape
    assert found.dtype == np.uint8
    assert found.min() >= 149  # reflected borders, not black ones


def test_no_rotation_is_the_identity():
    np.testing.assert_array_equal(affine(SQUARE, 0), SQUARE)


@pytest.mark.parametrize(("degrees", "turns"), [(90, 1), (180, 2), (-90, -1)])
@pytest.mark.parametrize("size", [24, 25])
def test_quarter_turn_is_that_of_numpy(degrees: float, turns: int, size: int):
    slope = np.linspace(0, 255, size * size * 3).reshape(size, size, 3).astype(np.uint8)
    difference = np.asarray(affine(slope, degrees), int) - np.rot90(slope, turns)
    assert np.abs(difference).max() <= 2


def test_border_is_reflected():
    halves = np.zeros((32, 32, 3), dtype=np.uint8)
    halves[:, 16:] = 200  # dark left, bright right: so are the corners after a small turn
    found = np.asarray(affine(halves, 20))
    assert found[[0, -1], 0].max() == 0
    assert found[[0, -1], -1].min() == 200


def test_in_threads_keeps_order_and_looks_no_further_ahead():
    taken = []
    running: set[int] = set()

    def items():
        for item in range(40):
            taken.append(item)
            yield item

    def work(item: int) -> int:
        running.add(threading.get_ident())
        time.sleep(0.003 if item % 3 else 0.006)
        return item * item

    results = in_threads(work, items(), threads=4, ahead=6)
    assert [next(results) for _ in range(10)] == [item * item for item in range(10)]
    assert len(taken) <= 10 + 7
    assert list(results) == [item * item for item in range(10, 40)]
    assert len(running) > 1


def test_in_threads_propagates_errors_in_place():
    def work(item: int) -> int:
        if item == 5:
            raise BadImageError(Path("5.png"), "five")
        return item

    results = in_threads(work, range(100), threads=3, ahead=8)
    assert [next(results) for _ in range(5)] == [0, 1, 2, 3, 4]
    with pytest.raises(BadImageError, match="five"):
        next(results)
