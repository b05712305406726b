"""What a file is by its first bytes, whatever its name says."""

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

HEAD = 512  # bytes that are looked at
READ = ("AVIF", "BMP", "GIF", "JPEG", "PNG", "TIFF", "WebP")
LFS = "Git LFS pointer"
OTHERS = ("HEIC", "JPEG XL", "JPEG 2000", "Photoshop", "OpenEXR", "DICOM", "Netpbm")
# Of files that mean to be pictures: where the bytes are none, the reader is told.
SUFFIXES = {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".dib", ".gif", ".tif", ".tiff"}
SUFFIXES |= {".webp", ".avif", ".heic", ".heif", ".jxl", ".jp2", ".j2k", ".jpf", ".jpx", ".psd"}
SUFFIXES |= {".exr", ".dcm", ".ppm", ".pgm", ".pbm", ".pnm", ".tga"}
SUFFIXES |= {".dng", ".nef", ".cr2", ".cr3", ".arw", ".raf", ".orf", ".rw2"}  # of cameras
_STARTS = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"GIF87a": "GIF",
    b"GIF89a": "GIF",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",
    b"MM\0+": "TIFF",
    b"\0\0\0\x0cJXL \r\n\x87\n": "JPEG XL",
    b"\xff\x0a": "JPEG XL",
    b"\0\0\0\x0cjP  \r\n\x87\n": "JPEG 2000",
    b"\xff\x4f\xff\x51": "JPEG 2000",
    b"8BPS\0": "Photoshop",
    b"v/1\x01": "OpenEXR",
    b"%PDF-": "PDF",
    b"%!PS": "PostScript",
    b"PK\x03\x04": "ZIP",
    b"version https://git-lfs.github.com/spec/": LFS,
}
_BITMAP_HEADERS = (12, 16, 40, 52, 56, 64, 108, 124)  # the sizes that there are


def kind(head: bytes) -> str | None:
    """What a file is that begins with these bytes; None where that isn't known."""
    for start, name in _STARTS.items():
        if head.startswith(start):
            return name
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WebP"
    if head[4:8] == b"ftyp":
        end = min(max(int.from_bytes(head[:4], "big"), 16), HEAD)
        brands = {head[at : at + 4] for at in (8, *range(16, end, 4))}
        if brands & {b"avif", b"avis"}:
            return "AVIF"
        return "HEIC" if brands & {b"heic", b"heix", b"hevc", b"hevx", b"mif1", b"msf1"} else None
    if head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in _BITMAP_HEADERS:
        return "BMP"
    if head[128:132] == b"DICM":
        return "DICOM"
    if re.match(rb"P[1-7]\s+(#[^\n]*\s+)*(\d+\s|WIDTH)", head):
        return "Netpbm"
    if re.match(rb"(\xef\xbb\xbf)?\s*<(!doctype html|html)", head, re.IGNORECASE):
        return "web page"
    if re.match(rb"(\xef\xbb\xbf)?\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)*<svg", head, re.DOTALL):
        return "SVG"
    return None


def of(path: Path) -> str | None:
    """What a file is; None for what isn't an ordinary file, too.

    Raises:
        OSError: when it can't be read.
    """
    if not path.is_file():
        return None
    with path.open("rb") as file:
        return kind(file.read(HEAD))


def means_picture(path: Path) -> bool:
    """Whether a file is a picture by its bytes, or says by its name that it is one.

    Raises:
        OSError: when it can't be read.
    """
    return path.suffix.lower() in SUFFIXES or of(path) in {*READ, *OTHERS}


def said(paths: Iterable[Path]) -> str:
    """How many files there are of each suffix: "3 .txt, 1 without a suffix"."""
    counts = Counter(path.suffix.lower() or "without a suffix" for path in paths)
    return ", ".join(f"{count:,} {name}" for name, count in counts.most_common())
