"""Datasets: an entry of `datasets.yaml` becomes a folder of pictures and a table of labels."""

import csv
import errno
import io
import lzma
import math
import re
import shutil
import stat
import struct
import sys
import tarfile
import unicodedata
import zipfile
import zlib
from collections import Counter
from dataclasses import dataclass
from gzip import BadGzipFile
from pathlib import Path, PurePosixPath
from typing import IO, Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from thaw import cifar
from thaw.errors import ThawError, shortlist
from thaw.fetching import Source, fetch
from thaw.files import SUFFIXES, hidden, walk
from thaw.progress import track
from thaw.serialize import read_csv, write_csv, write_json

PARTS = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "test": "test",
}
COLUMNS = ("path", "label", "part", "subgroup")
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
UNWRITABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")  # control characters, not UTF-8
# What an archive may unpack to: pictures are packed already, so that more is no dataset.
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


def _composed(name: str) -> str:
    """In the Unicode form NFC: macOS may write an é as two characters."""
    return unicodedata.normalize("NFC", name)


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Table(_Model):
    """How to read labels from a text table beside the pictures."""

    path: str
    columns: list[str]
    separator: Annotated[str, Field(pattern=r'^[^"\r\n]$')] | None = None  # None: any white space
    picture: str
    label: str
    threshold: float | None = None  # at or above it the second class, below it the first
    subgroup: str | None = None

    @model_validator(mode="after")
    def _columns_are_there(self) -> Self:
        for name in (self.picture, self.label, self.subgroup):
            if name is not None and name not in self.columns:
                raise ValueError(
                    f"there is no {name} in `columns` ({shortlist(self.columns)}); mend one of them"
                )
        return self


class Shares(_Model):
    """The split that the dataset's publication uses."""

    held_out: Annotated[float, Field(gt=0, lt=1)] | None = None
    test: Annotated[float, Field(gt=0, lt=1)] | None = None


class Entry(_Model):
    """An entry of `datasets.yaml`."""

    title: str
    source: str | None = None
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None
    size: int | None = None
    layout: Literal["folders", "table", "cifar"]
    root: str = ""
    classes: list[Annotated[str, AfterValidator(_composed)]] | None = None
    table: Table | None = None
    split: Shares = Shares()
    licence: str
    citation: str = ""

    @model_validator(mode="after")
    def _layout_is_whole(self) -> Self:
        if self.layout == "table" and (self.table is None or self.classes is None):
            raise ValueError("layout table needs `table` and `classes`")
        if self.layout == "cifar" and self.classes is not None:
            raise ValueError("layout cifar brings its classes along; remove `classes`")
        if self.table and self.table.threshold is not None and len(self.classes or ()) != 2:
            raise ValueError("table.threshold needs two `classes`: below it, and from it on")
        for name in self.classes or ():
            if UNWRITABLE.search(name):
                raise ValueError(f"{name!r} in `classes` has a control character; rename it")
            if self.classes and self.classes.count(name) > 1:
                raise ValueError(f"`classes` names {name} twice; remove one")
        return self


@dataclass(frozen=True)
class Labelled:
    """A picture's path below the pictures' folder, its class, and what the dataset says of it."""

    path: str
    label: str
    part: str = ""  # train, validation or test where the dataset brings its own split
    subgroup: str = ""


def entry(catalogue: object, name: str) -> Entry:
    """The entry of that name in what `datasets.yaml` holds.

    Raises:
        ThawError: when there is none, or it is not well formed.
    """
    if not isinstance(catalogue, dict) or name not in catalogue:
        known = shortlist(sorted(catalogue)) if isinstance(catalogue, dict) else "none"
        raise ThawError(
            f"params.yaml: dataset: {name}: give the name of an entry of datasets.yaml ({known})"
        )
    try:
        return Entry.model_validate(catalogue[name])
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(str(part) for part in (name, *problem["loc"]))
        told = problem["msg"].removeprefix("Value error, ")
        raise ThawError(f"datasets.yaml: {where}: {told[0].lower()}{told[1:]}") from None


def bring(chosen: Entry, source: str | None, raw: Path) -> list[Labelled]:
    """Fetch a dataset and lay it out: `raw/images/`, `raw/labels.csv`, `raw/dataset.json`.

    `source` overrides where the entry says it comes from; its checksum then doesn't apply.

    Raises:
        ThawError: when it can't be fetched, isn't laid out as the entry says, has no pictures, or
            can't be written.
    """
    address = source or chosen.source
    if address is None:
        raise ThawError(
            "params.yaml: source: null: this dataset has no address of its own; "
            "give the path of your pictures, such as `dvc exp run -S source=~/pictures`"
        )
    checks = Source(address) if source else Source(address, chosen.sha256, chosen.size)
    try:
        temporary = raw.with_name(f".part-{raw.name}")
        shutil.rmtree(temporary, ignore_errors=True)  # a run that was killed left it
        raw.parent.mkdir(parents=True, exist_ok=True)
        temporary.mkdir()
        try:
            rows = _lay_out(chosen, checks, temporary, temporary / "raw")
            if raw.exists():
                shutil.rmtree(raw)
            (temporary / "raw").rename(raw)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    except OSError as error:
        raise ThawError(
            f"{address} can't be brought to {raw}: {error.filename or raw}: "
            f"{error.strerror or error}; free disk space, or rename that file or change its rights"
        ) from None
    return rows


def _lay_out(chosen: Entry, source: Source, temporary: Path, staging: Path) -> list[Labelled]:
    images = staging / "images"
    images.mkdir(parents=True)
    found = fetch(source, temporary)
    if found.is_dir():
        below = found / chosen.root
        root = _descend(below if below.is_dir() else found, chosen.table)
    else:
        unpacked = temporary / "unpacked"
        unpack(found, unpacked, source.address, chosen.root)
        root = _descend(unpacked, chosen.table)
    rows, classes = _read_layout(chosen, root, images, source.address)
    if chosen.layout != "cifar":  # whose pictures were written as they were read
        _take(root, images, [row.path for row in rows], copied=found.is_dir())
    rows = sorted(rows, key=lambda row: row.path)
    write_csv(
        staging / "labels.csv",
        COLUMNS,
        [(row.path, row.label, row.part, row.subgroup) for row in rows],
    )
    write_json(
        staging / "dataset.json",
        {
            "title": chosen.title,
            "classes": classes,
            "split": chosen.split.model_dump(),
            "licence": chosen.licence,
            "citation": chosen.citation,
        },
    )
    return rows


def _take(root: Path, images: Path, names: list[str], *, copied: bool) -> None:
    if copied:
        _copy(root, images, names)
        return
    for name in names:
        (images / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).rename(images / name)


def read_labels(raw: Path) -> list[Labelled]:
    """Read `raw/labels.csv` as `bring` wrote it."""
    return [Labelled(**row) for row in read_csv(raw / "labels.csv")]


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
        # The tar first: a zip as its last entry makes it look like a zip.
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
            raise  # of the disk; those of bad bytes are bz2's and of a seek to nowhere
        raise ThawError(f"{address} is damaged ({error}); fetch it again") from None
    if count == 0:
        raise ThawError(f"{address} holds nothing below {root or 'its top'}; mend `root`")


def _unpack_zip(archive: Path, to: Path, address: str, root: PurePosixPath, allowed: int) -> int:
    with zipfile.ZipFile(archive) as opened:
        members = [item for item in opened.infolist() if not item.is_dir()]
        # Reading stops at the size declared here, whatever is packed.
        _check_size(sum(BLOCK + item.file_size for item in members), allowed, address)
        targets = [_member_path(_zip_name(item, address), root, address) for item in members]
        wanted = [
            (item, to / target)
            for item, target in zip(members, targets, strict=True)
            if target is not None
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
            target = _member_path(member.name, root, address)
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
    """A zip says of a name only whether it is UTF-8, and many that are don't say so."""
    if item.flag_bits & UTF8 or item.filename.isascii():
        return item.filename
    try:
        return item.filename.encode("cp437").decode()  # cp437: as zipfile read it
    except UnicodeError:
        raise ThawError(
            f"{address}: {item.filename!r} is not UTF-8; repack it with UTF-8 names, or unpack it "
            "and give the folder's path"
        ) from None


def _check_end(archive: tarfile.TarFile) -> None:
    """An archive ends in blocks of zeros; tarfile stops at anything else without a word."""
    assert archive.fileobj is not None
    archive.fileobj.seek(archive.offset)
    if archive.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError("its end is missing")
    while archive.fileobj.read(2**20):
        pass  # gzip compares its checksum at the end


def _member_path(name: str, root: PurePosixPath, address: str) -> PurePosixPath | None:
    path = PurePosixPath(name)
    drive = re.match("[A-Za-z]:", name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or drive:
        raise ThawError(f"{address}: the entry {name!r} would be written outside; refused")
    return path.relative_to(root) if path.is_relative_to(root) else None


def _write_member(packed: IO[bytes], target: Path, address: str) -> None:
    if target.is_file():
        raise ThawError(f"{address} holds {target.name} twice in one folder; repack it")
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("wb") as file:
        shutil.copyfileobj(packed, file)


def _descend(folder: Path, table: Table | None) -> Path:
    """Step into a lone folder at the top, unless it is a class or a part or the table is here."""
    while table is None or not (folder / table.path).is_file():
        inside = [path for path in folder.iterdir() if not hidden(path.name)]
        lone = _folders(folder)
        if len(inside) != 1 or not lone or lone[0].name.lower() in PARTS or not _folders(lone[0]):
            break
        folder = lone[0]
    return folder


def _read_layout(
    chosen: Entry, root: Path, images: Path, address: str
) -> tuple[list[Labelled], list[str]]:
    if chosen.layout == "table":
        assert chosen.table is not None
        assert chosen.classes is not None
        rows = _read_table(root, chosen.table, chosen.classes, address)
        classes = chosen.classes
    elif chosen.layout == "cifar":
        found, classes = cifar.convert(root, images, address)
        rows = [Labelled(*each) for each in found]
    else:
        rows, classes = _read_folders(root, address)
        if chosen.classes is not None and set(chosen.classes) != set(classes):
            raise ThawError(
                f"{address} has the classes {shortlist(classes)} instead of "
                f"{shortlist(chosen.classes)}; mend `classes` in datasets.yaml"
            )
        classes = chosen.classes or classes
    counts = Counter(row.label for row in rows)
    if len(classes) < 2:
        raise ThawError(
            f"{address} holds {len(classes) or 'no'} class ({shortlist(classes) or 'no folder'}); "
            "a classifier needs two or more: one folder a class"
        )
    if empty := [name for name in classes if not counts[name]]:
        raise ThawError(
            f"{address} has no picture of the class {shortlist(empty)} "
            f"({', '.join(SUFFIXES)}); add some or remove the folder"
        )
    return rows, classes


def _read_folders(root: Path, address: str) -> tuple[list[Labelled], list[str]]:
    top = _folders(root)
    parts = {path: PARTS[path.name.lower()] for path in top if path.name.lower() in PARTS}
    if "train" in parts.values() and len(parts) == len(top):
        if "validation" not in parts.values() and "test" not in parts.values():
            raise ThawError(f"{address} has train/ but no validation/; add it, or drop train/")
        groups = [(part, path) for path, part in parts.items()]
    else:
        groups = [("", root)]
    rows: list[Labelled] = []
    ignored = 0
    classes: dict[str, str] = {}  # what tells a class from others, and its folder
    if loose := _loose({root, *(folder for _, folder in groups)}):
        print(f"{loose} pictures left out: in no class's folder")
    for part, folder in groups:
        for class_folder in _folders(folder):
            label = _composed(class_folder.name)
            like = classes.setdefault(label.casefold(), class_folder.name)
            if like != class_folder.name:
                raise ThawError(
                    f"{address} has the classes {like!a} and {class_folder.name!a}, the same but "
                    "for case or Unicode form; rename one, since some disks take them for one"
                )
            for path in walk(class_folder):
                if path.suffix.lower() not in SUFFIXES:
                    ignored += 1
                    continue
                name = path.relative_to(root).as_posix()
                if not name.isascii() and sys.getfilesystemencoding() != "utf-8":
                    raise ThawError(
                        f"{address}: {name!a} would have another name elsewhere: this locale "
                        f"reads it as {sys.getfilesystemencoding()}; set PYTHONUTF8=1 and try again"
                    )
                if UNWRITABLE.search(name):
                    raise ThawError(
                        f"{address}: {name!r} has a control character or is not UTF-8; rename it"
                    )
                rows.append(Labelled(name, label, part))
    if ignored:
        print(f"{ignored} files left out: not {', '.join(SUFFIXES)}")
    return rows, sorted(_composed(name) for name in classes.values())


def _loose(folders: set[Path]) -> int:
    """How many pictures lie there beside the class folders."""
    beside = (path for folder in folders for path in folder.iterdir() if not hidden(path.name))
    return sum(path.suffix.lower() in SUFFIXES and path.is_file() for path in beside)


def _folders(folder: Path) -> list[Path]:
    """The folders in a folder, and links to some, but none that leads back up."""
    here = folder.resolve()
    return sorted(
        path
        for path in folder.iterdir()
        if path.is_dir() and not hidden(path.name) and not here.is_relative_to(path.resolve())
    )


def _read_table(root: Path, table: Table, classes: list[str], address: str) -> list[Labelled]:
    path = root / table.path
    if not path.is_file():
        raise ThawError(f"{address} holds no {table.path}; mend `table.path` in datasets.yaml")
    try:
        text = io.StringIO(path.read_bytes().decode("utf-8-sig"), newline="")
    except UnicodeDecodeError:
        raise ThawError(f"{address}: {table.path} is not UTF-8; save it as UTF-8") from None
    try:
        return _read_lines(text, root, table, classes, address)
    except csv.Error as error:
        raise ThawError(
            f"{address}: {table.path} is no table ({error}); look for a quote that isn't closed"
        ) from None


def _read_lines(
    text: io.StringIO, root: Path, table: Table, classes: list[str], address: str
) -> list[Labelled]:
    folder = (root / table.path).parent
    rows: dict[str, Labelled] = {}
    lines = (
        csv.reader(text, delimiter=table.separator, strict=True)
        if table.separator
        else (line.split() for line in text)
    )
    for number, cells in enumerate(lines, start=1):
        if not cells:
            continue
        place = f"{address}: {table.path}, line {number}"
        if len(cells) != len(table.columns):
            raise ThawError(
                f"{place} has {len(cells)} columns, not {len(table.columns)}; mend the line"
            )
        row = dict(zip(table.columns, cells, strict=True))
        picture = row[table.picture]
        if UNWRITABLE.search(picture):
            raise ThawError(f"{place} names {picture!r}, with a control character; rename it")
        _member_path(picture, PurePosixPath(), address)
        try:
            there = (folder / picture).is_file()
        except OSError:  # too long for a name
            there = False
        if not there:
            raise ThawError(f"{place} names {picture}, which is not there; mend the line")
        name = (folder / picture).relative_to(root).as_posix()
        if name in rows:
            raise ThawError(f"{place} names {picture} a second time; remove one of its lines")
        rows[name] = Labelled(
            name,
            _label(row[table.label], table, classes, place),
            subgroup=row[table.subgroup] if table.subgroup else "",
        )
    return list(rows.values())


def _label(value: str, table: Table, classes: list[str], place: str) -> str:
    if table.threshold is not None:
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise ThawError(f"{place}: {table.label} is {value!r}, not a number")
        return classes[int(number >= table.threshold)]
    value = _composed(value)
    if value not in classes:
        raise ThawError(f"{place}: {table.label} is {value!r}, not one of {shortlist(classes)}")
    return value


def _copy(root: Path, images: Path, names: list[str]) -> None:
    for name in track(names, "copying"):
        target = images / name
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            if not stat.S_ISREG((root / name).stat().st_mode):
                raise ThawError(f"{root / name} is no ordinary file; move it away")
            shutil.copyfile(root / name, target)
        except OSError as error:
            raise ThawError(
                f"{root / name} can't be copied ({error.strerror or error}); "
                "mend or remove it, free disk space, or change its rights"
            ) from None
