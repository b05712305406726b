"""Lay a dataset out as a folder of pictures and a table of labels."""

import math
import shutil
import stat
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from thaw.core.errors import ThawError, shortlist, some
from thaw.core.progress import track
from thaw.datasets import cifar, folders
from thaw.datasets.catalogue import UNWRITABLE, Entry, Table, composed
from thaw.datasets.labels import COLUMNS, FURTHER, Labelled
from thaw.datasets.listed import Finder
from thaw.files.archives import unpack
from thaw.files.checksums import note, noted, sha256
from thaw.files.fetching import Source, fetch
from thaw.files.kinds import READ
from thaw.files.serialize import write_csv, write_json
from thaw.files.walking import hidden


def bring(
    chosen: Entry,
    source: str | None,
    raw: Path,
    notes: Path | None = None,
    announce: Callable[[Path], None] | None = None,
) -> list[Labelled]:
    """Fetch a dataset and lay it out: `raw/images/`, `raw/labels.csv`, `raw/dataset.json`.

    `source` overrides where the entry says it comes from; its checksum then doesn't apply. Without
    one, `notes` holds that of the first download, to which later ones are compared. `announce` is
    given the folder that is whole, just before it becomes `raw`.

    Raises:
        ThawError: when it can't be fetched, isn't laid out as the entry says, has no pictures, or
            can't be written.
    """
    address = source or chosen.source
    if address is None:
        raise ThawError(
            "params.yaml: source: null: this dataset has no address of its own; "
            'give the path of your pictures, such as `make own SOURCE="~/my pictures"`'
        )
    checks = Source(address) if source else Source(address, chosen.sha256, chosen.size)
    if notes and checks.sha256 is None and address.startswith(("http:", "https:")):
        checks = replace(checks, sha256=noted(notes, address), noted_in=str(notes))
    try:
        temporary = raw.with_name(f".part-{raw.name}")
        shutil.rmtree(temporary, ignore_errors=True)  # a run that was killed left it
        raw.parent.mkdir(parents=True, exist_ok=True)
        temporary.mkdir()
        try:
            rows = _lay_out(chosen, checks, temporary, temporary / "raw")
            if raw.exists():
                raw.rename(temporary / "before")  # at once, lest a kill leave half of it
            if announce:
                announce(temporary / "raw")
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
    if source.noted_in and source.sha256 is None:
        digest = sha256(found)
        note(Path(source.noted_in), source.address, digest)
        print(
            f"sha256 {digest}, noted in {source.noted_in}: compare it with what the publisher "
            "says and commit it; a download that differs is refused from now on"
        )
    if found.is_dir():
        below = found / chosen.root
        root = below if below.is_dir() else found
    else:
        root = temporary / "unpacked"
        unpack(found, root, source.address, chosen.root)
    if chosen.layout != "folders":
        root = _descend(root, chosen.table.path if chosen.table else cifar.CLASSES)
    rows, classes, root, further = _read_layout(chosen, root, images, source.address)
    if chosen.layout != "cifar":  # whose pictures were written as they were read
        _take(root, images, [row.path for row in rows], copied=found.is_dir())
    rows = sorted(rows, key=lambda row: row.path)
    write_csv(
        staging / "labels.csv",
        (*COLUMNS, *(f"{FURTHER}{name}" for name in further)),
        [(row.path, row.label, row.part, row.subgroup, *row.further) for row in rows],
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


def _descend(folder: Path, wanted: str) -> Path:
    """Step into a lone folder until there is the file wanted."""
    where = folder
    while not (where / wanted).is_file():
        inside = [path for path in where.iterdir() if path.is_dir() and not hidden(path.name)]
        if len(inside) != 1 or inside[0].is_symlink():
            return folder
        where = inside[0]
    return where


def _read_layout(
    chosen: Entry, root: Path, images: Path, address: str
) -> tuple[list[Labelled], list[str], Path, list[str]]:
    """Rows, classes, the folder that the rows' paths are relative to, and the further columns."""
    further: list[str] = []
    if chosen.layout == "table":
        assert chosen.table is not None
        assert chosen.classes is not None
        rows, further = _read_table(root, chosen.table, chosen.classes, address)
        classes = chosen.classes
    elif chosen.layout == "cifar":
        found, classes = cifar.convert(root, images, address)
        rows = [Labelled(*each) for each in found]
    else:
        rows, classes, root = folders.read(root, address, chosen.classes or ())
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
            f"{address} has no picture of the class {shortlist(empty)} ({', '.join(READ)}); "
            "add some or remove the folder"
        )
    return rows, classes, root, further


def _read_table(
    root: Path, table: Table, classes: list[str], address: str
) -> tuple[list[Labelled], list[str]]:
    """Rows, and the names of the columns that they have besides."""
    path = root / table.path
    if not path.is_file():
        raise ThawError(
            f"{address} holds no {table.path}; mend `table.path` in its file in datasets/"
        )
    from thaw.files import tables  # here, as importing pandas takes most of a second

    place = f"{address}: {table.path}"
    found = tables.stranger(path, place, table.columns, table.separator, table.needed)
    names = found.columns.tolist()
    further = [n for n in names if n and n not in table.needed and names.count(n) == 1]
    cells = list(found[table.needed + further].itertuples(name=None))
    finder = Finder(root, path)
    rows: dict[str, Labelled] = {}
    if len(cells) > 1 and _names_columns(cells[0][1], cells[0][2], finder, table, classes):
        print(f"{place}, line {cells[0][0]} names the columns, and is left out")
        del cells[0]
    for line, picture, label, *rest in cells:
        at = f"{place}, line {line}"
        name = _find(finder, picture, at)
        if name in rows:
            raise ThawError(f"{at} names {picture} a second time; remove one of its lines")
        subgroup = rest.pop(0) if table.subgroup else ""
        rows[name] = Labelled(name, _label(label, table, classes, at), "", subgroup, tuple(rest))
    if rows and (unlisted := [each for each in finder.pictures if each not in rows]):
        left = some(len(unlisted), "picture")
        print(f"{left} left out: not in {table.path}, such as {unlisted[0]}")
    return list(rows.values()), further


def _find(finder: Finder, picture: str, at: str) -> str:
    if not picture.strip():
        raise ThawError(f"{at} names no picture; mend the line")
    if UNWRITABLE.search(picture):
        raise ThawError(f"{at} names {picture!r}, with a control character; rename it")
    try:
        return finder.find(picture)
    except ThawError as error:
        raise ThawError(f"{at} {error}") from None


def _names_columns(
    picture: str, label: str, finder: Finder, table: Table, classes: list[str]
) -> bool:
    """Whether a line has neither a picture nor a class where the others have theirs."""
    if table.columns is None or not picture.strip():
        return False
    try:
        finder.find(picture)
        return False
    except ThawError:
        pass
    try:
        _label(label, table, classes, "")
        return False
    except ThawError:
        return True


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
