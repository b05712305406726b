"""Unpack archives from strangers: no more than is allowed, and nothing outside the folder."""

import errno
import lzma
import re
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from gzip import BadGzipFile
from pathlib import Path, PurePosixPath
from typing import IO, Self

from thaw.core.errors import ThawError
from thaw.core.progress import track

ARCHIVES = (".zip", ".whl", ".tar.gz", ".tgz", ".tar")


DAMAGE = (  # what zipfile and tarfile make of bad bytes
    zipfile.BadZipFile,
    tarfile.TarError,
    BadGzipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    ArithmeticError,
    LookupError,
    RuntimeError,
    ValueError,
)


# What an archive may unpack to. Pictures are compressed already, so one that grows more isn't a
# dataset.
MAX_RATIO, ALWAYS_FINE = 100, 2**30  # times its own size, or bytes


BLOCK = 4096  # bytes of disk that even an empty file takes


ENCRYPTED, UTF8 = 0x1, 0x800  # flags of a zip's entry


HEADERS = (  # of a tar, which tarfile reads into memory
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
)


MAX_HEADER = 2**20  # bytes of one


class _TarInfo(tarfile.TarInfo):
    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        member = super().frombuf(buf, encoding, errors)
        if member.size > MAX_HEADER and member.type in HEADERS:
            raise tarfile.ReadError(f"a header of {member.size:,} bytes")
        return member


def unpack(archive: Path, to: Path, address: str, root: str = "") -> None:
    """Unpack the part of an archive that lies below `root`.

    Raises:
        ThawError: when it isn't an archive, is damaged, lacks `root`, would unpack to far more
            than its own size or than the disk has free, or an entry isn't an ordinary file, would
            climb out, comes twice or has a name in an unknown encoding.
    """
    free = shutil.disk_usage(to.parent).free
    allowed = min(free, max(ALWAYS_FINE, MAX_RATIO * archive.stat().st_size))
    try:
        # Try tar first: a tar whose last entry is a zip looks like a zip.
        if tarfile.is_tarfile(archive):
            count = _unpack_tar(archive, to, address, PurePosixPath(root), allowed)
        elif zipfile.is_zipfile(archive):
            count = _unpack_zip(archive, to, address, PurePosixPath(root), allowed)
        else:
            raise ThawError(
                f"{address} is not an archive that can be read ({', '.join(ARCHIVES)}) nor a folder"
            )
    except NotImplementedError as error:
        raise ThawError(
            f"{address} can't be unpacked here ({error}); unpack it and give the folder's path"
        ) from None
    except (*DAMAGE, OSError) as error:
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise  # the disk's; bad bytes give none (bz2) or EINVAL (a seek to nowhere)
        raise ThawError(f"{address} is damaged ({error}); fetch it again") from None
    if count == 0:
        raise ThawError(f"{address} holds nothing below {root or 'its top'}; mend `root`")


def _unpack_zip(archive: Path, to: Path, address: str, root: PurePosixPath, allowed: int) -> int:
    with zipfile.ZipFile(archive) as opened:
        named = [(item, _zip_name(item, address)) for item in opened.infolist()]
        members = [(item, name) for item, name in named if not name.endswith("/")]
        # zipfile stops reading at the size declared here, however much is packed.
        _check_size(sum(BLOCK + item.file_size for item, _ in members), allowed, address)
        wanted = [
            (item, to / target)
            for item, name in members
            if (target := member_path(name, root, address)) is not None
        ]
        for item, _ in wanted:
            if stat.S_IFMT(item.external_attr >> 16) not in (0, stat.S_IFREG):
                raise ThawError(
                    f"{address}: {item.filename} is no ordinary file; repack it without"
                )
            if item.flag_bits & ENCRYPTED:
                raise NotImplementedError(f"{item.filename} is encrypted")
        for item, path in track(wanted, "unpacking", unit="files"):
            with opened.open(item) as packed:
                _write_member(packed, path, address)
    return len(wanted)


def _unpack_tar(archive: Path, to: Path, address: str, root: PurePosixPath, allowed: int) -> int:
    count = 0
    total = 0
    with tarfile.open(archive, tarinfo=_TarInfo) as opened:
        for member in track(opened, "unpacking", unit="files"):
            if member.size < 0:
                raise tarfile.ReadError(f"{member.name} has a negative size")
            total += BLOCK + member.size
            _check_size(total, allowed, address)
            target = member_path(member.name.replace("\\", "/"), root, address)
            if member.isdir() or target is None:
                continue
            packed = opened.extractfile(member) if member.isfile() else None
            if packed is None:
                raise ThawError(f"{address}: {member.name} is no ordinary file; repack it without")
            with packed:
                _write_member(packed, to / target, address)
            count += 1
        _check_end(opened)
    return count


def _check_size(unpacked: int, allowed: int, address: str) -> None:
    if unpacked > allowed:
        raise ThawError(
            f"{address} would unpack to {unpacked:,} bytes or more, and {allowed:,} are allowed "
            f"(the free disk, and {MAX_RATIO} times its own size); free disk space, or unpack it "
            "and give the folder's path"
        )


def _zip_name(item: zipfile.ZipInfo, address: str) -> str:
    """A name that a zip may flag as UTF-8, and often doesn't; Windows may write backslashes."""
    name = item.orig_filename.replace("\\", "/")
    if item.flag_bits & UTF8 or name.isascii():
        return name
    try:
        return name.encode("cp437").decode()  # cp437: as zipfile read it
    except UnicodeError:
        raise ThawError(
            f"{address}: {item.filename!r} is not UTF-8; repack it with UTF-8 names, or unpack it "
            "and give the folder's path"
        ) from None


def _check_end(archive: tarfile.TarFile) -> None:
    """An archive ends in blocks of zeros; tarfile stops silently at anything else."""
    assert archive.fileobj is not None
    archive.fileobj.seek(archive.offset)
    if archive.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError("its end is missing")
    while archive.fileobj.read(2**20):
        pass  # gzip compares its checksum at the end


def member_path(name: str, root: PurePosixPath, address: str) -> PurePosixPath | None:
    """Where an entry of an archive belongs below `root`; None for one beside it."""
    path = PurePosixPath(name)
    if path.is_absolute() or re.match("[A-Za-z]:", name):
        raise ThawError(
            f"{address}: the entry {name!r} has a path from the top of a disk; repack it with "
            "paths from its own folder, or unpack it and give the folder's path"
        )
    if ".." in path.parts:
        raise ThawError(f"{address}: the entry {name!r} would be written outside; refused")
    return path.relative_to(root) if path.is_relative_to(root) else None


def _write_member(packed: IO[bytes], target: Path, address: str) -> None:
    if target.is_file():
        raise ThawError(f"{address} holds {target.name} twice in one folder; repack it")
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("wb") as file:
        shutil.copyfileobj(packed, file)
