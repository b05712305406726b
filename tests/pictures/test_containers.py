"""What surrounds pixels never decides whether they are read."""

import io
import random
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms, PngImagePlugin

from helpers import pixels
from thaw.pictures.containers import bare
from thaw.pictures.decoding import BadImageError, read

PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><tiff:Make>us</tiff:Make></x:xmpmeta>'
IMAGE = Image.fromarray(pixels(1, 12, 9)).resize((36, 27), Image.Resampling.BICUBIC)
MANY = b"".join(b"%5d" % number for number in range(500_000))  # 2.5 MB; Pillow takes 1 of text


def exif(orientation: int = 6) -> bytes:
    made = Image.Exif()
    made[0x0112] = orientation
    made[0x010E] = "what is seen"
    made.get_ifd(0x8769)[0x9286] = b"a comment"
    return made.tobytes()


def saved(kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    IMAGE.save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(kind: bytes, content: bytes) -> bytes:
    check = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + check


def segment(marker: int, content: bytes) -> bytes:
    return bytes([255, marker]) + struct.pack(">H", len(content) + 2) + content


def png() -> bytes:
    text = PngImagePlugin.PngInfo()
    text.add_text("plain", "text")
    text.add_text("packed", "text" * 20, zip=True)
    text.add_itxt("XML:com.adobe.xmp", XMP.decode())
    return saved("PNG", pnginfo=text, exif=exif(), icc_profile=PROFILE, dpi=(72, 72))


def jpeg() -> bytes:
    more = {
        "exif": exif(),
        "icc_profile": PROFILE,
        "xmp": XMP,
        "comment": b"hello",
        "dpi": (72, 72),
    }
    return saved("JPEG", **more)


def bodies(content: bytes) -> Iterator[tuple[str, int, int]]:
    """What surrounds the pixels of a PNG or JPEG: its name, and where it begins and ends."""
    if content.startswith(b"\x89PNG"):
        at = 8
        while at < len(content):
            (length,) = struct.unpack_from(">I", content, at)
            if content[at + 4] & 0x20:
                yield content[at + 4 : at + 8].decode(), at + 8, at + 8 + length
            at += 12 + length
        return
    at = 2
    while content[at + 1] != 0xDA:
        (length,) = struct.unpack_from(">H", content, at + 2)
        if content[at + 1] >= 0xE0:
            yield f"{content[at + 1]:X}", at + 4, at + 2 + length
        at += 2 + length


def damaged(content: bytes, repair: bool = False) -> Iterator[tuple[str, bytes]]:
    """A file with bytes changed around its pixels; `repair` makes a PNG's checksums right again."""
    chance = random.Random(1)
    for name, begin, end in bodies(content):
        for _ in range(12):
            changed = bytearray(content)
            for _ in range(chance.randrange(1, 6)):
                changed[chance.randrange(begin, end)] = chance.randrange(256)
            if repair:
                changed[end : end + 4] = struct.pack(">I", zlib.crc32(changed[begin - 4 : end]))
            yield name, bytes(changed)


def check(path: Path, content: bytes, kind: str) -> None:
    """That all pixels are read, turned as EXIF says or not at all."""
    path.write_bytes(content)
    found = np.asarray(read(path))
    with Image.open(io.BytesIO(saved(kind))) as opened:
        expected = np.asarray(opened.convert("RGB"))
    turned = [np.rot90(side, turns) for side in (expected, expected[:, ::-1]) for turns in range(4)]
    assert any(np.array_equal(found, each) for each in turned)


@pytest.mark.parametrize("repair", [False, True])
def test_png_with_anything_damaged_around_its_pixels_is_read(tmp_path: Path, repair: bool):
    names = set()
    for name, content in damaged(png(), repair):
        check(tmp_path / "a.png", content, "PNG")
        names.add(name)
    assert names == {"iCCP", "tEXt", "zTXt", "iTXt", "pHYs", "eXIf"}


def test_jpeg_with_anything_damaged_around_its_pixels_is_read(tmp_path: Path):
    names = set()
    for name, content in damaged(jpeg()):
        check(tmp_path / "a.jpg", content, "JPEG")
        names.add(name)
    assert names == {"E0", "E1", "E2", "FE"}


@pytest.mark.parametrize("kind", ["WEBP", "AVIF", "TIFF"])
def test_other_formats_with_damaged_exif_are_read(tmp_path: Path, kind: str):
    lossless = {"lossless": True} if kind == "WEBP" else {}
    content = saved(kind, exif=exif(), icc_profile=PROFILE, **lossless)
    piece = PROFILE[:60] if kind == "TIFF" else exif()[6:14]  # a TIFF's EXIF are its own tags
    begin = content.index(piece)
    chance = random.Random(1)
    for _ in range(40):
        changed = bytearray(content)
        for _ in range(3):
            changed[begin + chance.randrange(60)] = chance.randrange(256)
        (tmp_path / "a").write_bytes(changed)
        assert sorted(read(tmp_path / "a").size) == [27, 36]


CHUNKS = {
    "packed text without end": chunk(b"zTXt", b"k\0\0" + zlib.compress(MANY)),
    "international text without end": chunk(b"iTXt", b"k\0\1\0\0\0" + zlib.compress(MANY)),
    "huge profile": chunk(b"iCCP", b"k\0\0" + zlib.compress(MANY)),
    "empty profile": chunk(b"iCCP", b""),
    "profile packed otherwise": chunk(b"iCCP", b"k\0\5abc"),
    "short gamma": chunk(b"gAMA", b""),
    "short chromaticities": chunk(b"cHRM", b"1"),
    "short resolution": chunk(b"pHYs", b"1"),
    "short animation": chunk(b"acTL", b""),
    "short frame": chunk(b"fcTL", b""),
    "short rendering": chunk(b"sRGB", b""),
    "empty EXIF": chunk(b"eXIf", b""),
    "EXIF of nothing": chunk(b"eXIf", b"MM\0*\xff\xff\xff\xff"),
    "EXIF of another type": chunk(
        b"eXIf", b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x02\0\0\0\x02ab" + bytes(6)
    ),
    "no name": chunk(b"ab\xffd", bytes(9)),
}


@pytest.mark.parametrize("name", CHUNKS)
@pytest.mark.parametrize("before", [b"IDAT", b"IEND"])
def test_png_with_strange_chunks_is_read(tmp_path: Path, name: str, before: bytes):
    content = saved("PNG")
    at = content.index(before) - 4
    check(tmp_path / "a.png", content[:at] + CHUNKS[name] + content[at:], "PNG")


SEGMENTS = {
    "EXIF of nothing": segment(0xE1, b"Exif\0\0"),
    "profile of nothing": segment(0xE2, b"ICC_PROFILE\0"),
    "several pictures of nothing": segment(0xE2, b"MPF\0"),
    "Photoshop's junk": segment(0xED, b"Photoshop 3.0\x008BIM" + b"\xff" * 9),
    "half of Adobe": segment(0xEE, b"Adobe"),
    "half of JFIF": segment(0xE0, b"JFIF"),
    "XMP of junk": segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0\xff\xfe<<<"),
    "ten megabytes": segment(0xE4, b"x" * 65_000) * 160,
}


@pytest.mark.parametrize("name", SEGMENTS)
@pytest.mark.parametrize("at", [2, 20])
def test_jpeg_with_strange_segments_is_read(tmp_path: Path, name: str, at: int):
    content = saved("JPEG")
    check(tmp_path / "a.jpg", content[:at] + SEGMENTS[name] + content[at:], "JPEG")


def test_sound_exif_still_turns_the_picture_whose_text_is_broken(tmp_path: Path):
    content = bytearray(png())
    at = content.index(b"tEXt") + 4 + len(b"plain\0text")
    content[at] ^= 0xFF
    (tmp_path / "a.png").write_bytes(content)
    np.testing.assert_array_equal(np.asarray(read(tmp_path / "a.png")), np.rot90(IMAGE, -1))


def test_colours_of_a_jpeg_stay_what_adobe_says():
    """Without this segment, CMYK would be inverted and RGB taken for YCbCr."""
    buffer = io.BytesIO()
    IMAGE.convert("CMYK").save(buffer, "JPEG", comment=b"hello")
    less = bare(buffer.getvalue())
    assert less is not None
    assert b"Adobe" in less
    assert b"hello" not in less


def test_damaged_pixels_are_still_refused(tmp_path: Path):
    content = bytearray(png())
    content[content.index(b"IDAT") + 30] ^= 0xFF
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(BadImageError):
        read(tmp_path / "a.png")


def spoilt(content: bytes, at: int, count: int) -> bytes:
    return content[:at] + bytes(count) + content[at + count :]


@pytest.mark.parametrize("part", [1, 2, 8])
def test_png_whose_pixels_are_zeros_from_somewhere_on_is_refused(tmp_path: Path, part: int):
    """As after a copy that was cut short: Pillow reads it, and the rest of the picture is black."""
    content = saved("PNG")
    start, end = content.index(b"IDAT") + 4, content.index(b"IEND") - 8
    at = end - (end - start) // part // 2
    path = tmp_path / "cut.png"
    path.write_bytes(spoilt(content, at, len(content) - at))
    with pytest.raises(BadImageError):
        read(path)
    path.write_bytes(spoilt(content, at, end - at))  # the chunk's checksum and the end are there
    with pytest.raises(BadImageError):
        read(path)


def test_png_with_a_wrong_checksum_and_whole_pixels_is_read(tmp_path: Path):
    content = saved("PNG")
    end = content.index(b"IEND") - 8
    path = tmp_path / "whole.png"
    path.write_bytes(spoilt(content, end, 4))
    assert np.array_equal(np.asarray(read(path)), np.asarray(IMAGE))


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
@pytest.mark.parametrize("make", [png, jpeg])
def test_cut_file_is_still_refused(tmp_path: Path, make: object, share: float):
    content = make()
    (tmp_path / "a").write_bytes(content[: int(len(content) * share)])
    with pytest.raises(BadImageError):
        read(tmp_path / "a")
