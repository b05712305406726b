"""Pictures of 16 bits a channel of which fewer count."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from thaw.pictures.decoding import BadImageError, DarkImageError, examine, load, read
from thaw.pictures.depths import BitDepth

GREY = np.array([[0, 16, 2048, 4095]])
COLOUR = np.array([[[0, 16, 2048], [4095, 4080, 15]]])


def chunk(kind: bytes, content: bytes) -> bytes:
    check = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + check


def png(path: Path, values: np.ndarray) -> Path:
    """A PNG of 16 bits: (H, W) grey, (H, W, 2) with transparency, (H, W, 3) or (H, W, 4)."""
    height, width, *channels = values.shape
    kind = {(): 0, (2,): 4, (3,): 2, (4,): 6}[tuple(channels)]
    header = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts))
    return path


def tiff(path: Path, values: np.ndarray, order: str = "<", **tags: int) -> Path:
    """An uncompressed TIFF of 16 bits; `tags` are named by number, as `_281`."""
    height, width, *channels = values.shape
    samples = channels[0] if channels else 1
    data = values.astype(f"{order}u2").tobytes()
    bits_at = 8 + len(data)
    entries = {
        256: (4, 1, width),
        257: (4, 1, height),
        258: (3, samples, 16 if samples == 1 else bits_at),
        259: (3, 1, 1),
        262: (3, 1, 1 if samples == 1 else 2),
        273: (4, 1, 8),
        277: (3, 1, samples),
        278: (4, 1, height),
        279: (4, 1, len(data)),
    } | {int(name[1:]): (3, 1, value) for name, value in tags.items()}
    at = bits_at + 2 * samples
    content = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", at) + data
    content += struct.pack(f"{order}{samples}H", *[16] * samples)
    content += struct.pack(f"{order}H", len(entries))
    for tag, (kind, count, value) in sorted(entries.items()):
        short = kind == 3 and count == 1
        content += struct.pack(f"{order}HHI", tag, kind, count)
        content += struct.pack(
            f"{order}{'HH' if short else 'I'}", *([value, 0] if short else [value])
        )
    path.write_bytes(content + bytes(4))
    return path


def found(path: Path, bit_depth: BitDepth = "file") -> list:
    array = np.asarray(read(path, bit_depth))
    return array.tolist()


@pytest.mark.parametrize("make", [png, tiff])
@pytest.mark.parametrize("bit_depth", [12, "data"])
def test_12_bits_in_16_are_scaled_to_8(tmp_path: Path, make, bit_depth: BitDepth):
    path = make(tmp_path / "a", GREY)
    assert found(path, bit_depth) == [[[v] * 3 for v in (0, 1, 128, 255)]]
    assert load(path, 4, "stretch", bit_depth).max() == 255


@pytest.mark.parametrize("bit_depth", [12, "data"])
@pytest.mark.parametrize("kind", ["png", "little", "big"])
def test_colours_of_12_bits_in_16_too(tmp_path: Path, bit_depth: BitDepth, kind: str):
    path = tmp_path / "a"
    if kind == "png":
        png(path, COLOUR)
    else:
        tiff(path, COLOUR, ">" if kind == "big" else "<")
    assert found(path, bit_depth) == [[[0, 1, 128], [255, 255, 0]]]


@pytest.mark.parametrize("opaque", [4095, 65_535])
def test_transparency_has_its_own_range(tmp_path: Path, opaque: int):
    values = np.concatenate([COLOUR, np.array([[[opaque], [0]]])], axis=2)
    assert found(png(tmp_path / "a", values), 12) == [[[0, 1, 128], [255, 255, 255]]]


def test_all_16_bits_are_the_upper_8(tmp_path: Path):
    values = np.array([[[0, 255, 256], [65_535, 40_000, 4096]]])
    expected = [[[0, 0, 1], [255, 156, 16]]]
    assert found(png(tmp_path / "a", values)) == found(png(tmp_path / "b", values), 16) == expected
    assert found(png(tmp_path / "c", GREY), 16) == [[[0] * 3, [0] * 3, [8] * 3, [15] * 3]]


@pytest.mark.parametrize("values", [GREY, COLOUR])
@pytest.mark.parametrize("make", [png, tiff])
def test_almost_black_is_refused_with_what_to_set(tmp_path: Path, make, values: np.ndarray):
    with pytest.raises(DarkImageError) as caught:
        read(make(tmp_path / "a", values))
    told = "16 bits, and no value above 4,095: set bit_depth to 12 in params.yaml, or to 16 if"
    assert caught.value.reason.startswith(told)
    assert caught.value.largest == 4095


@pytest.mark.parametrize("tag", ["_281", "_341"])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("values", [GREY, COLOUR])
def test_largest_value_that_the_file_states_counts(
    tmp_path: Path, tag: str, order: str, values: np.ndarray
):
    path = tiff(tmp_path / "a", values, order, **{tag: 4095})
    assert found(path) == found(path, 12)
    assert np.max(found(path)) == 255


def test_tiff_packed_in_12_bits_is_scaled(tmp_path: Path):
    path = tiff(tmp_path / "a", np.array([[0x0000, 0x1080, 0xFF0F]]), _258=12)
    content = bytearray(path.read_bytes())
    at = content.index(struct.pack("<HHI", 256, 4, 1)) + 8
    content[at : at + 4] = struct.pack("<I", 4)  # four pixels in these six bytes
    content[8:14] = bytes.fromhex("000010800fff")
    path.write_bytes(content)
    assert found(path) == [[[0] * 3, [1] * 3, [128] * 3, [255] * 3]]


def test_white_that_is_0_is_white(tmp_path: Path):
    """Pillow leaves such a TIFF inverted."""
    path = tiff(tmp_path / "a", np.array([[0, 65_535]]), _262=0)
    assert found(path) == [[[255] * 3, [0] * 3]]


@pytest.mark.parametrize("values", [GREY, COLOUR])
def test_value_beyond_the_bits_given_is_refused(tmp_path: Path, values: np.ndarray):
    with pytest.raises(
        BadImageError, match="a value of 4,095, and 10 bits end at 1,023: set bit_d"
    ):
        read(png(tmp_path / "a", values), 10)


def test_grey_of_16_bits_with_transparency_is_told(tmp_path: Path):
    path = png(tmp_path / "a", np.array([[[4000, 65_535]]]))
    with pytest.raises(BadImageError, match="grey of 16 bits with transparency: give it without"):
        read(path, 12)
    assert found(path, 16) == [[[15] * 3]]


@pytest.mark.parametrize("bit_depth", ["file", "data", 8, 12, 16])
def test_pictures_of_8_bits_stay_as_they_are(tmp_path: Path, bit_depth: BitDepth):
    values = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    Image.fromarray(values).save(tmp_path / "a.png")
    assert found(tmp_path / "a.png", bit_depth) == values.tolist()
    assert examine(tmp_path / "a.png").largest is None


def test_black_is_black(tmp_path: Path):
    assert found(png(tmp_path / "a", np.zeros((1, 1)))) == [[[0] * 3]]


def test_largest_value_is_told_to_who_examines(tmp_path: Path):
    assert examine(png(tmp_path / "a", GREY * 10)).largest == 40_950
    assert examine(png(tmp_path / "b", COLOUR * 10)).largest // 256 == 40_950 // 256
    assert examine(png(tmp_path / "c", GREY), 12).largest == 4095
