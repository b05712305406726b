"""Take from a picture's file what surrounds the pixels: text, colour profile, broken EXIF.

Decoders refuse a file for a wrong checksum in a comment. What is left holds the same pixels.
Pillow, on the other hand, looks at no checksum of a PNG's pixels.
"""

import re
import struct
import zlib
from typing import BinaryIO

_PNG = b"\x89PNG\r\n\x1a\n"
_CHECKED = {
    b"eXIf"
}  # of what surrounds pixels: it says how to turn them, so it stays if it's sound
_PIXELS = {b"tRNS"}
# A JPEG's segments: 0xE1 says how to turn it; 0xE0 and 0xEE, if whole, which colours it holds.
_COLOURS = {0xE0: (b"JFIF\0", 14), 0xEE: (b"Adobe", 12)}
_EXIF_ITEM = re.compile(rb"(infe[\x02\x03]\0\0.(?:..|....)..)Exif", re.DOTALL)


def bare(content: bytes) -> bytes | None:
    """A picture's file without what surrounds the pixels; None where nothing can be taken off."""
    if content.startswith(_PNG):
        less = _bare_png(content)
    elif content.startswith(b"\xff\xd8"):
        less = _bare_jpeg(content)
    elif content[4:8] == b"ftyp":
        less = _EXIF_ITEM.sub(rb"\1none", content)
    else:
        return None
    return None if less == content else less


def refuse_damaged_png(file: BinaryIO) -> None:
    """Refuse a PNG whose pixels are not those that were written; the file is left where it was.

    Raises:
        ValueError: when the checksum of a chunk of pixels is wrong, and that of all pixels too: the
            first alone may be the writer's mistake.
    """
    before = file.tell()
    whole = True
    pixels = []  # where their chunks lie
    file.seek(len(_PNG))
    while len(head := file.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        if kind != b"IDAT":
            file.seek(length + 4, 1)
            continue
        pixels.append((file.tell(), length))
        checksum = zlib.crc32(file.read(length), zlib.crc32(kind))
        whole = whole and file.read(4) == struct.pack(">I", checksum)
    if not whole and not _unpacks(file, pixels):
        raise ValueError("its pixels are damaged: their checksums are wrong")
    file.seek(before)


def _unpacks(file: BinaryIO, pieces: list[tuple[int, int]]) -> bool:
    """Whether pieces of a file, at these places and of these lengths, are what zlib packed."""
    packed = zlib.decompressobj()
    try:
        for at, length in pieces:
            file.seek(at)
            packed.decompress(file.read(length))
    except zlib.error:
        return False
    return packed.eof


def _bare_png(content: bytes) -> bytes:
    """https://www.w3.org/TR/png-3/#5Chunk-layout"""
    kept = [_PNG]
    at = len(_PNG)
    while at + 12 <= len(content):
        (length,) = struct.unpack_from(">I", content, at)
        kind, end = content[at + 4 : at + 8], at + 12 + length
        checksum = struct.pack(">I", zlib.crc32(content[at + 4 : end - 4]))
        sound = kind in _CHECKED and content[end - 4 : end] == checksum
        critical = not kind[0] & 0x20
        if critical or kind in _PIXELS or sound:
            kept.append(content[at:end])
        at = end
    return b"".join(kept)


def _bare_jpeg(content: bytes) -> bytes:
    """https://www.w3.org/Graphics/JPEG/itu-t81.pdf, B.1.1"""
    kept = [content[:2]]
    at = 2
    while content[at : at + 1] == b"\xff" and 0xC0 <= content[at + 1] <= 0xFE:
        marker = content[at + 1]
        if marker == 0xDA:  # pixels from here on
            break
        end = at + 2 + int.from_bytes(content[at + 2 : at + 4], "big")
        start, shortest = _COLOURS.get(marker, (b"", 0))
        body = content[at + 4 : end]
        whole = shortest > 0 and body.startswith(start) and len(body) >= shortest
        if whole or marker == 0xE1 or not (0xE0 <= marker <= 0xEF or marker == 0xFE):
            kept.append(content[at:end])
        at = end
    return b"".join([*kept, content[at:]])
