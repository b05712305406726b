"""Lay a dataset out as a folder of pictures and a table of labels."""

import math
import shutil
import stat
import sys
from collections import Counter
from pathlib import Path, PurePosixPath

from thaw.core.errors import ThawError, shortlist
from thaw.core.progress import track
from thaw.datasets import cifar
from thaw.datasets.catalogue import PARTS, UNWRITABLE, Entry, Table, composed
from thaw.datasets.labels import COLUMNS, Labelled
from thaw.files.archives import member_path, unpack
from thaw.files.fetching import Source, fetch
from thaw.files.serialize import write_csv, write_json
from thaw.files.walking import SUFFIXES, hidden, walk


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
                f"{shortlist(chosen.classes)}; mend `classes` in its file in datasets/"
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
            label = composed(class_folder.name)
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
    return rows, sorted(composed(name) for name in classes.values())


def _loose(folders: set[Path]) -> int:
    """How many pictures lie there beside the class folders."""
    beside = (path for folder in folders for path in folder.iterdir() if not hidden(path.name))
    return sum(path.suffix.lower() in SUFFIXES and path.is_file() for path in beside)


def _folders(folder: Path) -> list[Path]:
    """The folders in a folder. Links to folders count, unless they lead back up."""
    here = folder.resolve()
    return sorted(
        path
        for path in folder.iterdir()
        if path.is_dir() and not hidden(path.name) and not here.is_relative_to(path.resolve())
    )


def _read_table(root: Path, table: Table, classes: list[str], address: str) -> list[Labelled]:
    path = root / table.path
    if not path.is_file():
        raise ThawError(
            f"{address} holds no {table.path}; mend `table.path` in its file in datasets/"
        )
    from thaw.files import tables  # here, as importing pandas takes most of a second

    place = f"{address}: {table.path}"
    found = tables.stranger(path, place, table.columns, table.separator, table.needed)
    rows: dict[str, Labelled] = {}
    for line, picture, label, *subgroup in found[table.needed].itertuples(name=None):
        at = f"{place}, line {line}"
        if not picture.strip():
            raise ThawError(f"{at} names no picture; mend the line")
        if UNWRITABLE.search(picture):
            raise ThawError(f"{at} names {picture!r}, with a control character; rename it")
        member_path(picture, PurePosixPath(), address)
        try:
            there = (path.parent / picture).is_file()
        except OSError:  # too long for a name
            there = False
        if not there:
            first = ", or leave out `columns` if this line names them" if not rows else ""
            raise ThawError(f"{at} names {picture}, which is not there; mend the line{first}")
        name = (path.parent / picture).relative_to(root).as_posix()
        if name in rows:
            raise ThawError(f"{at} names {picture} a second time; remove one of its lines")
        rows[name] = Labelled(name, _label(label, table, classes, at), "", *subgroup)
    return list(rows.values())


def _label(value: str, table: Table, classes: list[str], place: str) -> str:
    if table.threshold is not None:
        number = _number(value, table.decimal)
        if not math.isfinite(number):
            comma = "; with decimal commas, give `table.decimal` in its file in datasets/ a comma"
            hint = comma if math.isfinite(_number(value, ",")) else ""
            raise ThawError(f"{place}: {table.label} is {value!r}, not a number{hint}")
        return classes[int(number >= table.threshold)]
    value = composed(value)
    if value not in classes:
        raise ThawError(f"{place}: {table.label} is {value!r}, not one of {shortlist(classes)}")
    return value


def _number(value: str, decimal: str) -> float:
    """A number as written; NaN for what isn't one."""
    if decimal == ",":
        value = value.translate(str.maketrans(",.", ".,"))
    try:
        return float(value)
    except ValueError:
        return math.nan


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
