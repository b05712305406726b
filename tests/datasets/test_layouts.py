import csv
import gzip
import hashlib
import io
import json
import os
import random
import shutil
import stat
import struct
import subprocess
import sys
import tarfile
import tracemalloc
import unicodedata
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from helpers import catalogue, folders, picture
from places import ROOT
from thaw.core.errors import ThawError
from thaw.datasets.catalogue import Entry, entry
from thaw.datasets.labels import COLUMNS, Labelled
from thaw.datasets.layouts import bring
from thaw.files import archives, catalogues, fetching, tables

CATALOGUE = ROOT / "datasets"
FOLDERS = {"title": "Pictures", "layout": "folders", "licence": "own"}
TABLE = {
    **FOLDERS,
    "layout": "table",
    "classes": ["intact", "defective"],
    "table": {
        "path": "data/labels.csv",
        "columns": ["picture", "probability", "kind"],
        "picture": "picture",
        "label": "probability",
        "threshold": 0.5,
        "subgroup": "kind",
    },
}


def named(**changes: object) -> dict:
    """A table entry whose labels are class names."""
    return {**TABLE, "table": {**TABLE["table"], "threshold": None, **changes}}


def chosen(description: Mapping[str, object]) -> Entry:
    return catalogues.check(description, Entry, "datasets/own.yaml")


def written(raw: Path) -> list[list[str]]:
    return tables.read(raw / "labels.csv").to_numpy().tolist()


def brought(source: Path, raw: Path, **changes: object) -> list[Labelled]:
    """Bring a dataset, and check that what lies there is what was said."""
    description = {**FOLDERS, **changes}
    rows = bring(chosen(description), str(source), raw)
    assert rows == sorted(rows, key=lambda row: row.path)
    assert [Labelled(*row[:4], tuple(row[4:])) for row in written(raw)] == rows
    there = [path for path in (raw / "images").rglob("*") if path.is_file()]
    assert {path.relative_to(raw / "images").as_posix() for path in there} == {
        row.path for row in rows
    }
    assert [path.name for path in raw.parent.iterdir() if path.name.startswith(".")] == []
    return rows


def refused(source: Path, raw: Path, description: Mapping[str, object] = FOLDERS) -> str:
    """The sentence with which a dataset is refused; nothing may be left behind."""
    before = set(raw.parent.iterdir()) if raw.parent.exists() else set()
    with pytest.raises(ThawError) as caught:
        bring(chosen(description), str(source), raw)
    assert not raw.exists()
    assert set(raw.parent.iterdir()) == before
    text = str(caught.value)
    assert "\n" not in text
    assert str(source) in text
    return text


def classes(raw: Path) -> list[str]:
    return json.loads((raw / "dataset.json").read_text())["classes"]


def packed(folder: Path, archive: Path, top: str = "") -> Path:
    """Pack a folder's files as the archive's suffix says."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    names = [f"{top}{path.relative_to(folder).as_posix()}" for path in files]
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive, "w") as opened:
            for path, name in zip(files, names, strict=True):
                opened.write(path, name)
    else:
        with tarfile.open(archive, "w:gz" if archive.name.endswith("gz") else "w") as opened:
            for path, name in zip(files, names, strict=True):
                opened.add(path, name)
    return archive


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    return tmp_path / "data" / "raw"


# Folders


def test_folder_a_class(tmp_path: Path, raw: Path):
    source = folders(tmp_path / "own", "dogs", "cats")
    rows = brought(source, raw)
    assert rows == [
        Labelled(f"{label}/{index}.png", label) for label in ("cats", "dogs") for index in (0, 1)
    ]
    assert classes(raw) == ["cats", "dogs"]
    copy, original = raw / "images" / "cats" / "0.png", source / "cats" / "0.png"
    assert copy.read_bytes() == original.read_bytes()


def test_order_of_classes_may_be_given(tmp_path: Path, raw: Path):
    brought(folders(tmp_path / "own", "cats", "dogs"), raw, classes=["dogs", "cats"])
    assert classes(raw) == ["dogs", "cats"]


def test_what_the_entry_says_is_noted(tmp_path: Path, raw: Path):
    brought(folders(tmp_path / "own", "a", "b"), raw, split={"test": 0.3}, citation="Us 2026")
    assert json.loads((raw / "dataset.json").read_text()) == {
        "title": "Pictures",
        "classes": ["a", "b"],
        "split": {"held_out": None, "test": 0.3},
        "licence": "own",
        "citation": "Us 2026",
    }


@pytest.mark.parametrize(
    "names", [("train", "validation"), ("training", "val"), ("Train", "Valid")]
)
@pytest.mark.parametrize("test", [(), ("test",)])
def test_own_parts(tmp_path: Path, raw: Path, names: tuple[str, str], test: tuple[str, ...]):
    source = tmp_path / "own"
    for part in (*names, *test):
        folders(source / part, "cats", "dogs", each=1)
    rows = brought(source, raw)
    parts = dict(zip((*names, *test), ("train", "validation", "test"), strict=False))
    expected = [
        Labelled(f"{part}/{label}/0.png", label, parts[part])
        for part in parts
        for label in ("cats", "dogs")
    ]
    assert rows == sorted(expected, key=lambda row: row.path)
    assert classes(raw) == ["cats", "dogs"]


def test_strange_names_are_kept(tmp_path: Path, raw: Path):
    names = ["with space", "v1.2", "Größe ☃", "-rf", "--help", "a,b", 'say "x"', "train.png"]
    rows = brought(folders(tmp_path / "own", *names, each=1), raw)
    assert {row.path: row.label for row in rows} == {f"{name}/0.png": name for name in names}


def test_pictures_in_deeper_folders_belong_to_the_class(tmp_path: Path, raw: Path):
    source = folders(tmp_path / "own", "a", "b", each=1)
    picture(source / "a" / "2024" / "may" / "x.JPG", 9)
    assert Labelled("a/2024/may/x.JPG", "a") in brought(source, raw)


def test_hidden_and_other_files_are_left_out(
    tmp_path: Path, raw: Path, capsys: pytest.CaptureFixture[str]
):
    source = folders(tmp_path / "own", "a", "b", each=1)
    for name in (".git/x.png", "a/.x.png", "a/.thumbs/y.png", "__MACOSX/a/z.png", "top.png"):
        picture(source / name, 5)
    (source / "a" / "notes.txt").write_text("")
    (source / "b" / "Thumbs.db").write_text("")
    assert [row.path for row in brought(source, raw)] == ["a/0.png", "b/0.png"]
    assert capsys.readouterr().out == (
        "1 picture left out: in no class's folder\n"
        "2 files left out: no picture by its bytes (1 .txt, 1 .db)\n"
    )


def test_loop_of_links_ends(tmp_path: Path, raw: Path):
    source = folders(tmp_path / "own", "a", "b", each=1)
    (source / "a" / "loop").symlink_to(source)
    (source / "self").symlink_to("self")
    (source / "here").symlink_to(source)
    (source / "up").symlink_to("..")
    assert [row.path for row in brought(source, raw)] == ["a/0.png", "b/0.png"]


def test_linked_picture_and_class_are_copied(tmp_path: Path, raw: Path):
    source = folders(tmp_path / "own", "a", each=1)
    elsewhere = folders(tmp_path / "elsewhere", "b", each=1)
    (source / "b").symlink_to(elsewhere / "b")
    (source / "a" / "1.png").symlink_to(elsewhere / "b" / "0.png")
    assert [row.path for row in brought(source, raw)] == ["a/0.png", "a/1.png", "b/0.png"]
    assert not (raw / "images" / "a" / "1.png").is_symlink()


def test_broken_link_is_named(tmp_path: Path, raw: Path):
    source = folders(tmp_path / "own", "a", "b", each=1)
    (source / "a" / "1.png").symlink_to("gone.png")
    assert "a/1.png can't be copied (No such file" in refused(source, raw)


def test_name_that_is_no_text_is_a_sentence(tmp_path: Path, raw: Path):
    source = folders(tmp_path / "own", "a", "b", each=1)
    with open(os.fsencode(source / "a") + b"/\xff.png", "wb") as file:
        file.write(b"x")
    assert r"'a/\udcff.png' has a control character or is not UTF-8; rename" in refused(source, raw)


@pytest.mark.slow
def test_names_that_the_locale_would_change(tmp_path: Path, raw: Path):
    """In a Latin-1 locale `été` would be recorded as `Ã©tÃ©`, in plain C not at all."""
    source = folders(tmp_path / "own", "été", "a")
    script = (
        "import sys; from pathlib import Path; from thaw.datasets.layouts import *; "
        "entry = Entry(title='', layout='folders', licence=''); "
        "bring(entry, sys.argv[1], Path(sys.argv[2]))"
    )
    plain_c = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    plain_c["PYTHONPATH"] = str(ROOT / "src")

    def run(**settings: str) -> subprocess.CompletedProcess:
        command = [sys.executable, "-c", script, str(source), str(raw)]
        env = os.environ | plain_c | settings
        return subprocess.run(command, env=env, capture_output=True, text=True)

    told = run().stderr.splitlines()[-1]
    assert "would have another name elsewhere: this locale reads it as ascii" in told
    assert "set PYTHONUTF8=1" in told
    assert run(PYTHONUTF8="1").returncode == 0
    assert written(raw)[-1][1] == "été"


@pytest.mark.parametrize("name", ["a/x\ny.png", "a/x\ry.png", "a/\x1b[2J/x.png", "c\td/x.png"])
@pytest.mark.parametrize("kind", ["folder", "tar"])
def test_name_with_a_control_character_is_refused(tmp_path: Path, raw: Path, name: str, kind: str):
    source = folders(tmp_path / "own", "a", "b", each=1)
    picture(source / name)
    if kind == "tar":
        source = packed(source, tmp_path / "own.tar")
    assert f"{name!r} has a control character" in refused(source, raw)


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_picture_that_is_no_file_is_a_sentence(tmp_path: Path, raw: Path, kind: str):
    source = folders(tmp_path / "own", "a", "b", each=1)
    path = source / "a" / "1.png"
    if kind == "pipe":
        os.mkfifo(path)
    else:  # of /dev/zero, a copy would never end
        path.symlink_to("/dev/zero")
    assert "a/1.png is no ordinary file; move it away" in refused(source, raw)


def test_folder_called_like_a_picture_is_a_folder(tmp_path: Path, raw: Path):
    source = folders(tmp_path / "own", "a.png", "b", each=1)
    picture(source / "b" / "more.png" / "1.png")
    paths = [row.path for row in brought(source, raw)]
    assert paths == ["a.png/0.png", "b/0.png", "b/more.png/1.png"]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("cats", "Cats"),
        ("STRASSE", "straße"),
        ("caf\u00e9", "cafe\u0301"),
        ("É", "e\u0301"),
        ("cats", "cats "),
        ("big cats", "big  cats"),
    ],
)
@pytest.mark.parametrize("parts", [("", ""), ("train/", "val/")])
def test_classes_that_some_disks_take_for_one_are_refused(
    tmp_path: Path, raw: Path, first: str, second: str, parts: tuple[str, str]
):
    for part, name in zip(parts, (first, second), strict=True):
        folders(tmp_path / "own" / part, name, "other", each=1)
    text = refused(tmp_path / "own", raw)
    assert f"the classes {first!a} and {second!a}" in text or f"{second!a} and {first!a}" in text
    assert "the same but for case, blanks or Unicode form; rename one" in text


def test_class_is_called_the_same_in_either_unicode_form(tmp_path: Path, raw: Path):
    composed, apart = "caf\u00e9", "cafe\u0301"
    source = folders(tmp_path / "own", apart, "b", each=1)
    rows = brought(source, raw, classes=["b", composed])
    assert [(row.path, row.label) for row in rows] == [
        ("b/0.png", "b"),
        (f"{apart}/0.png", composed),
    ]
    assert classes(raw) == ["b", composed]


@pytest.mark.parametrize("suffix", ["avif", "bmp", "gif", "jpg", "png", "tiff", "webp"])
def test_picture_is_what_its_bytes_say(tmp_path: Path, raw: Path, suffix: str):
    source = folders(tmp_path / "own", "a", "b", each=1)
    for name in (f"x.{suffix.upper()}", f"{suffix} without suffix", f"x.{suffix}.txt"):
        picture(source / "a" / f"x.{suffix}").rename(source / "a" / name)
    assert len(brought(source, raw)) == 5


def test_bad_picture_is_left_to_the_split_that_names_it(tmp_path: Path, raw: Path):
    source = folders(tmp_path / "own", "a", "b", each=1)
    for name in ("cut.webp", "empty.TIF", "photo.heic", "scan.dcm"):
        (source / "a" / name).touch()
    (source / "a" / "notes.txt").write_text("BMW, no bitmap")
    paths = [row.path for row in brought(source, raw)]
    assert paths == [
        "a/0.png",
        "a/cut.webp",
        "a/empty.TIF",
        "a/photo.heic",
        "a/scan.dcm",
        "b/0.png",
    ]


def test_names_with_quotes_and_commas(tmp_path: Path, raw: Path):
    source = folders(tmp_path / "own", '$x$, "it\'s"', "-שלום", each=1)
    for name in ('a,"b".png', "'; --.png", "$5 `x`.png", "#1 ?%20&.png", " .png", "-.png"):
        picture(source / "-שלום" / name)
    rows = brought(source, raw)
    assert len(rows) == 8
    assert classes(raw) == ['$x$, "it\'s"', "-שלום"]
    again = brought(packed(source, tmp_path / "own.zip"), tmp_path / "again" / "raw")
    assert again == rows


@pytest.mark.slow
def test_folder_of_many_files(tmp_path: Path, raw: Path):
    """Time and memory are in proportion: 101,000 pictures took 17 seconds and 81 MB once."""
    source = folders(tmp_path / "own", "a", "b", each=1)
    for number in range(1, 2000):
        os.link(source / "a" / "0.png", source / "a" / f"{number}.png")
    tracemalloc.start()
    assert len(bring(chosen(FOLDERS), str(source), raw)) == 2001
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2000 * 2000


def test_place_that_cannot_be_written_is_a_sentence(tmp_path: Path):
    source = folders(tmp_path / "own", "a", "b", each=1)
    (tmp_path / "data").write_text("")
    with pytest.raises(ThawError, match=r"own can't be brought to .*: File exists; free disk"):
        bring(chosen(FOLDERS), str(source), tmp_path / "data" / "raw")
    assert (tmp_path / "data").is_file()


@pytest.mark.parametrize(
    ("names", "told"),
    [
        ([], "holds no class (no folder); a classifier needs two or more: one folder a class"),
        (["cats"], "holds 1 class (cats)"),
    ],
)
def test_too_few_classes(tmp_path: Path, raw: Path, names: list[str], told: str):
    source = folders(tmp_path / "own", *names)
    source.mkdir(exist_ok=True)
    assert told in refused(source, raw)


def test_empty_class(tmp_path: Path, raw: Path):
    source = folders(tmp_path / "own", "a", "b")
    (source / "empty").mkdir()
    (source / "empty" / "x.npy").touch()
    text = refused(source, raw)
    assert "has no picture of the class empty (AVIF, BMP, GIF, JPEG, PNG, TIFF, WebP)" in text


def test_other_classes_than_the_entry_says(tmp_path: Path, raw: Path):
    source = folders(tmp_path / "own", "a", "b")
    text = refused(source, raw, {**FOLDERS, "classes": ["a", "c"]})
    assert "has the classes a, b instead of a, c; mend `classes` in its file in datasets/" in text


def test_no_source_says_how_to_give_one(raw: Path):
    with pytest.raises(ThawError, match=r"source: null: .* `make own SOURCE="):
        bring(chosen(FOLDERS), None, raw)


def test_source_overrides_the_entrys_and_its_checksum(tmp_path: Path, raw: Path):
    archive = packed(folders(tmp_path / "own", "a", "b"), tmp_path / "own.zip")
    own = {**FOLDERS, "source": str(archive), "sha256": "0" * 64}
    assert len(bring(chosen(own), str(archive), raw)) == 4
    with pytest.raises(ThawError, match="isn't the file it should be"):
        bring(chosen(own), None, raw)


def test_second_dataset_replaces_the_first_only_when_it_is_good(tmp_path: Path, raw: Path):
    brought(folders(tmp_path / "first", "a", "b"), raw)
    with pytest.raises(ThawError):
        bring(chosen(FOLDERS), str(folders(tmp_path / "bad", "a")), raw)
    assert classes(raw) == ["a", "b"]
    brought(folders(tmp_path / "second", "c", "d"), raw)
    assert classes(raw) == ["c", "d"]


# Archives


@pytest.mark.parametrize("name", ["own.zip", "own.tar.gz", "own.tgz", "own.tar", "misnamed.bin"])
@pytest.mark.parametrize("top", ["", "own/", "one/two/"])
def test_archive(tmp_path: Path, raw: Path, name: str, top: str):
    archive = packed(folders(tmp_path / "own", "a b", "ü"), tmp_path / name, top)
    rows = brought(archive, raw)
    assert [row.path for row in rows] == ["a b/0.png", "a b/1.png", "ü/0.png", "ü/1.png"]
    original = tmp_path / "own" / "ü" / "1.png"
    assert (raw / "images" / "ü" / "1.png").read_bytes() == original.read_bytes()


def test_archive_of_own_parts_and_rubbish(tmp_path: Path, raw: Path):
    source = tmp_path / "own"
    for part in ("train", "validation"):
        folders(source / part, "cats", "dogs", each=1)
    picture(source.parent / "pack" / "__MACOSX" / "._x.png")
    source.rename(tmp_path / "pack" / "own")
    rows = brought(packed(tmp_path / "pack", tmp_path / "own.zip"), raw)
    assert {row.part for row in rows} == {"train", "validation"}
    assert len(rows) == 4


def test_root_is_where_the_reading_starts(tmp_path: Path, raw: Path):
    folders(tmp_path / "own" / "package" / "data", "a", "b", each=1)
    folders(tmp_path / "own" / "package" / "data2", "c", each=1)
    folders(tmp_path / "own", "documents", each=1)
    archive = packed(tmp_path / "own", tmp_path / "own.zip")
    rows = brought(archive, raw, root="package/data")
    assert [row.path for row in rows] == ["a/0.png", "b/0.png"]


def test_root_holds_for_a_folder_too(tmp_path: Path, raw: Path):
    folders(tmp_path / "own" / "package" / "data", "a", "b", each=1)
    rows = brought(tmp_path / "own", raw, root="package/data")
    assert [row.path for row in rows] == ["a/0.png", "b/0.png"]


def test_folder_that_starts_at_the_root_already(tmp_path: Path, raw: Path):
    rows = brought(folders(tmp_path / "own", "a", "b", each=1), raw, root="package/data")
    assert [row.path for row in rows] == ["a/0.png", "b/0.png"]


def test_lone_folder_in_a_folder_is_stepped_into(tmp_path: Path, raw: Path):
    folders(tmp_path / "own" / "photos", "a", "b", each=1)
    assert [row.path for row in brought(tmp_path / "own", raw)] == ["a/0.png", "b/0.png"]


def test_class_with_a_colon_in_an_archive(tmp_path: Path, raw: Path):
    archive = packed(folders(tmp_path / "own", "12:30", "b", each=1), tmp_path / "own.zip")
    assert [row.path for row in brought(archive, raw)] == ["12:30/0.png", "b/0.png"]


@pytest.mark.parametrize("names", [("a/" + "n" * 300 + ".png", "b/0.png"), ("a", "a/0.png")])
def test_entry_that_cannot_be_written_is_a_sentence(
    tmp_path: Path, raw: Path, names: tuple[str, str]
):
    with zipfile.ZipFile(tmp_path / "own.zip", "w") as opened:
        for name in names:
            opened.writestr(name, "x")
    refused(tmp_path / "own.zip", raw)


def test_missing_root(tmp_path: Path, raw: Path):
    archive = packed(folders(tmp_path / "own", "a", "b"), tmp_path / "own.zip")
    told = refused(archive, raw, {**FOLDERS, "root": "none"})
    assert "holds nothing below none; mend `root`" in told


OUTSIDE = "would be written outside; refused"
ABSOLUTE = "has a path from the top of a disk; repack it with paths from its own folder"
CLIMBING = {
    "../x.png": OUTSIDE,
    "a/../../x.png": OUTSIDE,
    "..\\x.png": OUTSIDE,
    "a\\..\\..\\x.png": OUTSIDE,
    "a/b/../x.png": OUTSIDE,
    "/tmp/x.png": ABSOLUTE,
    "C:/x.png": ABSOLUTE,
    "C:\\x.png": ABSOLUTE,
    "\\\\server\\x.png": ABSOLUTE,
}


@pytest.mark.parametrize("name", CLIMBING)
@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_entry_that_climbs_out_is_refused(tmp_path: Path, raw: Path, name: str, kind: str):
    archive = tmp_path / f"own.{kind}"
    content = picture(tmp_path / "x" / "0.png").read_bytes()
    if kind == "zip":
        with zipfile.ZipFile(archive, "w") as opened:
            opened.writestr("a/0.png", content)
            item = zipfile.ZipInfo("b")
            item.filename = name  # as it is, not as Python would mend it
            opened.writestr(item, content)
    else:
        with tarfile.open(archive, "w:gz") as opened:
            for each in ("a/0.png", name):
                item = tarfile.TarInfo(each)
                item.size = len(content)
                opened.addfile(item, io.BytesIO(content))
    shown = name.replace("\\", "/")
    assert f"the entry {shown!r} {CLIMBING[name]}" in refused(archive, raw)
    assert list(tmp_path.rglob("x.png")) == []


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_archive_with_backslashes_is_read(tmp_path: Path, raw: Path, kind: str):
    archive = packed(folders(tmp_path / "own", "café", "b"), tmp_path / f"own.{kind}", "x\\")
    if kind == "zip":
        with zipfile.ZipFile(archive, "w") as opened:
            for name in ("x\\", "x\\café\\"):  # folders, as Windows writes them
                item = zipfile.ZipInfo("x")
                item.filename = name
                opened.writestr(item, b"")
            for label in ("café", "b"):
                item = zipfile.ZipInfo("x")
                item.filename = f"x\\{label}\\0.png"
                opened.writestr(item, (tmp_path / "own" / label / "0.png").read_bytes())
    else:
        with tarfile.open(archive, "w:gz") as opened:
            for label in ("café", "b"):
                opened.add(tmp_path / "own" / label / "0.png", f"x\\{label}\\0.png")
    assert [row.path for row in brought(archive, raw)] == ["b/0.png", "café/0.png"]


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE]
)
def test_tar_entry_that_is_no_file_is_refused(tmp_path: Path, raw: Path, kind: bytes):
    archive = packed(folders(tmp_path / "own", "a", "b"), tmp_path / "own.tar")
    with tarfile.open(archive, "a") as opened:
        item = tarfile.TarInfo("a/link.png")
        item.type = kind
        item.linkname = "/etc/passwd"
        opened.addfile(item)
    assert "a/link.png is no ordinary file" in refused(archive, raw)


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_zip_entry_that_is_no_file_is_refused(tmp_path: Path, raw: Path, kind: int):
    archive = packed(folders(tmp_path / "own", "a", "b"), tmp_path / "own.zip")
    with zipfile.ZipFile(archive, "a") as opened:
        item = zipfile.ZipInfo("a/link.png")
        item.external_attr = (kind | 0o777) << 16
        opened.writestr(item, "/etc/passwd")
    assert "a/link.png is no ordinary file" in refused(archive, raw)


def bomb(archive: Path, count: int, size: int) -> Path:
    """An archive of `count` files of `size` zeros."""
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as opened:
            for number in range(count):
                opened.writestr(f"a/{number}.png", bytes(size))
    else:
        with tarfile.open(archive, "w:gz") as opened:
            for number in range(count):
                item = tarfile.TarInfo(f"a/{number}.png")
                item.size = size
                opened.addfile(item, io.BytesIO(bytes(size)))
    return archive


@pytest.mark.parametrize("name", ["own.zip", "own.tar.gz"])
@pytest.mark.parametrize(
    ("count", "size"), [(1, 20_000_000), (20, 1_000_000), (300, 0)], ids=["big", "many", "empty"]
)
def test_bomb_is_refused_as_soon_as_it_shows(
    tmp_path: Path, raw: Path, monkeypatch: pytest.MonkeyPatch, name: str, count: int, size: int
):
    monkeypatch.setattr(archives, "ALWAYS_FINE", 1_000_000)
    monkeypatch.setattr(archives, "MAX_RATIO", 10)
    written = []
    write = archives._write_member
    monkeypatch.setattr(
        archives, "_write_member", lambda *a: (written.append(a[1].name), write(*a))
    )
    text = refused(bomb(tmp_path / name, count, size), raw)
    assert "would unpack to" in text
    assert "unpack it and give the folder's path" in text
    assert len(written) == (0 if name == "own.zip" or count == 1 else 1_000_000 // (4096 + size))


def test_bomb_beside_the_root_is_refused_too(
    tmp_path: Path, raw: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(archives, "ALWAYS_FINE", 1_000_000)
    archive = bomb(tmp_path / "own.tar.gz", 1, 20_000_000)
    assert "would unpack to" in refused(archive, raw, {**FOLDERS, "root": "b"})


def test_archive_that_unpacks_to_its_own_size_is_no_bomb(
    tmp_path: Path, raw: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(archives, "ALWAYS_FINE", 0)
    source = folders(tmp_path / "own", "a", "b")
    assert len(brought(packed(source, tmp_path / "own.zip"), raw)) == 4


def test_more_than_the_disk_has_free_is_refused(
    tmp_path: Path, raw: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(archives, "ALWAYS_FINE", 2**60)
    archive = packed(folders(tmp_path / "own", "a", "b"), tmp_path / "own.tar")
    with tarfile.open(archive, "a") as opened:
        item = tarfile.TarInfo("a/9.png")
        item.size = shutil.disk_usage(tmp_path).total
        opened.fileobj.write(item.tobuf())
    assert "free disk space" in refused(archive, raw)


def test_zip_that_unpacks_to_more_than_it_declares_is_refused(tmp_path: Path, raw: Path):
    archive = bomb(tmp_path / "own.zip", 1, 1_000_000)
    declared, lie = (struct.pack("<I", size) for size in (1_000_000, 1000))
    content = archive.read_bytes()
    assert content.count(declared) == 2
    archive.write_bytes(content.replace(declared, lie))
    assert "is damaged (Bad CRC-32" in refused(archive, raw)


def test_zeros_after_a_tar_are_not_held_in_memory(tmp_path: Path):
    archive = tmp_path / "own.tar.gz"
    with gzip.open(archive, "wb", compresslevel=1) as file:
        with tarfile.open(fileobj=file, mode="w") as opened:
            opened.addfile(tarfile.TarInfo("a/0.png"))
        for _ in range(100):
            file.write(bytes(2**20))
    tracemalloc.start()
    archives.unpack(archive, tmp_path / "to", "own")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10 * 2**20


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_header_that_would_fill_the_memory_is_refused(tmp_path: Path, raw: Path, form: int):
    archive = tmp_path / "own.tar"
    with tarfile.open(archive, "w", format=form) as opened:
        opened.addfile(tarfile.TarInfo("a/0.png"))
        opened.addfile(tarfile.TarInfo("a/" + "n" * 2_000_000))
    assert "is damaged (a header of 2," in refused(archive, raw)


def test_negative_size_is_refused(tmp_path: Path, raw: Path):
    archive = tmp_path / "own.tar"
    with tarfile.open(archive, "w", format=tarfile.PAX_FORMAT) as opened:
        item = tarfile.TarInfo("a/0.png")
        item.pax_headers = {"size": "-1024"}
        opened.addfile(item)
        opened.addfile(tarfile.TarInfo("b/0.png"))
    assert "is damaged" in refused(archive, raw)


@pytest.mark.parametrize("name", ["own.zip", "own.tar"])
def test_entry_that_comes_twice_is_refused(tmp_path: Path, raw: Path, name: str):
    archive = packed(folders(tmp_path / "own", "a", "b"), tmp_path / name)
    again = "./a//0.png"
    if name == "own.zip":
        with zipfile.ZipFile(archive, "a") as opened:
            opened.writestr(again, "x")
    else:
        with tarfile.open(archive, "a") as opened:
            opened.addfile(tarfile.TarInfo(again))
    assert "holds 0.png twice in one folder; repack it" in refused(archive, raw)


def zip_with_name(archive: Path, name: bytes) -> Path:
    """A zip whose first entry has that name, without a word of its encoding."""
    placeholder = "a" * len(name)
    with zipfile.ZipFile(archive, "w") as opened:
        for each in (placeholder, "b/0.png"):
            opened.writestr(each, "x")
    archive.write_bytes(archive.read_bytes().replace(placeholder.encode(), name))
    return archive


def test_zip_name_that_is_utf8_without_saying_so(tmp_path: Path, raw: Path):
    archive = zip_with_name(tmp_path / "own.zip", "Größe ☃/0.png".encode())
    assert [row.label for row in brought(archive, raw)] == ["Größe ☃", "b"]


@pytest.mark.parametrize("encoding", ["cp437", "cp850", "cp1252", "shift_jis", "gbk"])
def test_zip_name_in_another_encoding_is_refused(tmp_path: Path, raw: Path, encoding: str):
    name = {"shift_jis": "犬の写真/0.png", "gbk": "小狗照片/0.png"}.get(encoding, "Größe/0.png")
    archive = zip_with_name(tmp_path / "own.zip", name.encode(encoding))
    assert "is not UTF-8; repack it with UTF-8 names, or unpack it" in refused(archive, raw)


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT])
def test_tar_name_in_another_encoding_is_refused(tmp_path: Path, raw: Path, form: int):
    source = folders(tmp_path / "own", "Größe", "b", each=1)
    with tarfile.open(tmp_path / "own.tar", "w", format=form, encoding="latin-1") as opened:
        opened.add(source / "b" / "0.png", "b/0.png")
        opened.add(source / "Größe" / "0.png", "Größe/0.png")
    if form == tarfile.PAX_FORMAT:  # which always says UTF-8
        assert len(brought(tmp_path / "own.tar", raw)) == 2
    else:
        assert "is not UTF-8; rename it" in refused(tmp_path / "own.tar", raw)


def test_encrypted_zip_is_refused(tmp_path: Path, raw: Path):
    archive = packed(folders(tmp_path / "own", "a", "b"), tmp_path / "own.zip")
    content = bytearray(archive.read_bytes())
    for signature, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        at = content.find(signature)
        while at >= 0:
            content[at + offset] |= 1
            at = content.find(signature, at + 4)
    archive.write_bytes(content)
    text = refused(archive, raw)
    assert "can't be unpacked here (a/0.png is encrypted); unpack it and give the folder" in text


def test_compression_that_python_lacks_is_a_sentence(tmp_path: Path, raw: Path):
    archive = packed(folders(tmp_path / "own", "a", "b"), tmp_path / "own.zip")
    content = archive.read_bytes()
    deflate64 = content.replace(b"PK\3\4\x14\0\0\0\0\0", b"PK\3\4\x14\0\0\0\x09\0")
    head = b"PK\1\2\x14\x03\x14\0\0\0"
    assert head in content
    archive.write_bytes(deflate64.replace(head + b"\0\0", head + b"\x09\0"))
    assert "can't be unpacked here (That compression method" in refused(archive, raw)


def test_zip_as_the_last_entry_of_a_tar(tmp_path: Path, raw: Path):
    source = folders(tmp_path / "own", "a", "b", each=1)
    packed(folders(tmp_path / "other", "x", "y"), source / "b" / "z.zip")
    rows = brought(packed(source, tmp_path / "own.tar"), raw)
    assert [row.path for row in rows] == ["a/0.png", "b/0.png"]


def test_damaged_bz2_is_refused(tmp_path: Path, raw: Path):
    source = folders(tmp_path / "own", "a", "b", each=1)
    (source / "a" / "1.bmp").write_bytes(random.Random(1).randbytes(1_000_000))
    archive = Path(shutil.make_archive(str(tmp_path / "own"), "bztar", source))
    content = bytearray(archive.read_bytes())
    content[-10_000] ^= 0xFF
    archive.write_bytes(content)
    assert "is damaged (" in refused(archive, raw)


@pytest.mark.parametrize("name", ["own.zip", "own.tar.gz"])
@pytest.mark.parametrize("share", [0.01, 0.3, 0.6, 0.95])
def test_cut_archive_is_refused(tmp_path: Path, raw: Path, name: str, share: float):
    archive = packed(folders(tmp_path / "own", "a", "b", each=30), tmp_path / name)
    content = archive.read_bytes()
    archive.write_bytes(content[: int(len(content) * share)])
    refused(archive, raw)


@pytest.mark.parametrize(
    "kept",
    [
        300,  # within the picture
        0,  # before its header: the pictures up to there look like a whole archive
        -100,  # within its header
    ],
)
def test_cut_tar_is_refused(tmp_path: Path, raw: Path, kept: int):
    archive = packed(folders(tmp_path / "own", "a", "b", each=5), tmp_path / "own.tar")
    with tarfile.open(archive) as opened:
        last = opened.getmembers()[-1]
    end = last.offset_data + kept if kept > 0 else last.offset - kept
    archive.write_bytes(archive.read_bytes()[:end])
    refused(archive, raw)


@pytest.mark.parametrize("name", ["stored.zip", "deflated.zip", "own.tar.gz"])
def test_damaged_archive_is_refused(tmp_path: Path, raw: Path, name: str):
    source = folders(tmp_path / "own", "a", "b", each=1)
    (source / "a" / "0.bmp").write_bytes(
        bytes(range(256)) * 300 + random.Random(1).randbytes(40_000)
    )
    archive = packed(source, tmp_path / name)
    if name == "deflated.zip":
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as opened:
            opened.write(source / "a" / "0.bmp", "a/0.bmp")
    content = bytearray(archive.read_bytes())
    middle = len(content) // 2  # of the picture, whatever an archive begins with
    content[middle : middle + 200] = b"\xff" * 200
    archive.write_bytes(content)
    assert "is damaged" in refused(archive, raw)


def test_damage_that_gzips_checksum_alone_shows_is_refused(tmp_path: Path, raw: Path):
    archive = packed(folders(tmp_path / "own", "a", "b"), tmp_path / "own.tar.gz")
    content = bytearray(archive.read_bytes())
    content[-8] ^= 1
    archive.write_bytes(content)
    assert "is damaged (CRC check failed" in refused(archive, raw)


def test_file_that_is_no_archive(tmp_path: Path, raw: Path):
    source = tmp_path / "own.zip"
    source.write_text("no archive")
    assert "is not an archive that can be read (.zip, .whl, .tar.gz" in refused(source, raw)


def test_empty_archive(tmp_path: Path, raw: Path):
    with zipfile.ZipFile(tmp_path / "own.zip", "w"):
        pass
    assert "holds nothing below its top" in refused(tmp_path / "own.zip", raw)


def test_first_download_notes_its_sha256_and_later_ones_are_compared(
    tmp_path: Path, raw: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    archive = packed(folders(tmp_path / "own", "a", "b"), tmp_path / "own.zip")
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    address = "https://example.org/own.zip"
    notes = tmp_path / "checksums.txt"
    notes.write_text(f"# why\n{'0' * 64}  https://example.org/other.zip\n")
    monkeypatch.setattr(fetching, "_download", lambda _, part: shutil.copyfile(archive, part.path))
    monkeypatch.setattr(fetching.pooch, "os_cache", lambda _: tmp_path / "cache")
    entry = chosen({**FOLDERS, "source": address})
    for _ in range(2):
        bring(entry, None, raw, notes)
    assert notes.read_text().splitlines()[2:] == [f"{digest}  {address}"]
    assert capsys.readouterr().out.count(f"sha256 {digest}, noted in {notes}: compare it with") == 1
    shutil.rmtree(tmp_path / "cache")
    folders(tmp_path / "own", "a", "c")
    packed(tmp_path / "own", archive)
    with pytest.raises(ThawError, match=f"isn't the file that was .* {notes} notes {digest}; try"):
        bring(entry, None, raw, notes)
    bring(entry, str(archive), raw, notes)  # a file of one's own may be another
    notes.write_text("what is this\n")
    with pytest.raises(ThawError, match=r"checksums.txt, line 1 is no sha256 and address; remove"):
        bring(entry, None, raw, notes)


# Tables


def table(root: Path, *lines: str, pictures: int = 4) -> Path:
    for index in range(pictures):
        picture(root / "data" / "pictures" / f"{index}.png", index)
    (root / "readme.txt").touch()
    (root / "data" / "labels.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return root


ROWS = [
    "pictures/0.png  0.0  mono",
    "pictures/1.png  0.3333333333  poly",
    "",
    "pictures/2.png  0.5  mono",
    "pictures/3.png  1.0  poly",
]


@pytest.mark.parametrize("kind", ["folder", "zip", "tar.gz"])
def test_table_with_a_threshold(tmp_path: Path, raw: Path, kind: str):
    source = table(tmp_path / "own", *ROWS)
    if kind != "folder":
        source = packed(source, tmp_path / f"own.{kind}")
    assert brought(source, raw, **TABLE) == [
        Labelled("data/pictures/0.png", "intact", "", "mono"),
        Labelled("data/pictures/1.png", "intact", "", "poly"),
        Labelled("data/pictures/2.png", "defective", "", "mono"),
        Labelled("data/pictures/3.png", "defective", "", "poly"),
    ]
    assert classes(raw) == ["intact", "defective"]  # first below the threshold, not by alphabet


def test_table_in_the_only_folder_of_an_archive(tmp_path: Path, raw: Path):
    source = table(tmp_path / "own", *ROWS)
    (source / "readme.txt").unlink()
    assert len(brought(packed(source, tmp_path / "own.zip"), raw, **TABLE)) == 4


def test_pictures_that_the_table_does_not_name_are_told(
    tmp_path: Path, raw: Path, capsys: pytest.CaptureFixture[str]
):
    source = table(tmp_path / "own", *ROWS, pictures=6)
    assert len(brought(source, raw, **TABLE)) == 4
    told = "2 pictures left out: not in data/labels.csv, such as data/pictures/4.png\n"
    assert capsys.readouterr().out == told


def test_table_with_names_and_separator(tmp_path: Path, raw: Path):
    lines = ['pictures/0.png,intact,"a, b"', "pictures/1.png,defective,"]
    rows = brought(table(tmp_path / "own", *lines), raw, **named(separator=","))
    assert [(row.label, row.subgroup) for row in rows] == [("intact", "a, b"), ("defective", "")]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("pictures/3.png 0.5", "line 2 has 2 columns, not 3"),
        ("pictures/3.png many mono", "line 2: probability is 'many', not a number"),
        ("pictures/9.png 0.5 mono", "line 2 names pictures/9.png, which is not there"),
        ("../../secret.png 0.5 mono", "line 2 names ../../secret.png, which lies outside of the"),
        ("/etc/passwd 0.5 mono", "line 2 names /etc/passwd, from the top of a disk, and no"),
        ("pictures/3.png nan mono", "line 2: probability is 'nan', not a number"),
        ("pictures/0.png 0.5 mono", "line 2 names pictures/0.png a second time; remove one"),
        ("pictures/./0.png 0.5 mono", "line 2 names pictures/./0.png a second time"),
        ("pictures/\x1b[2J.png 0.5 mono", r"'pictures/\x1b[2J.png', with a control character"),
        ("n" * 5000 + " 0.5 mono", "which is not there; mend the line"),
        ("pictures 0.5 mono", "line 2 names pictures, which is not there"),
        ("pictures/my dog.png 0.5 mono", "line 2 has 4 columns, not 3; mend the line"),
        ("pictures/3.png inf mono", "line 2: probability is 'inf', not a number"),
    ],
)
@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_wrong_line_is_named(tmp_path: Path, raw: Path, line: str, told: str, kind: str):
    source = table(tmp_path / "own", "pictures/0.png 0.1 mono", line, "pictures/1.png 0.9 poly")
    picture(tmp_path / "secret.png")
    if kind == "zip":
        source = packed(source, tmp_path / "own.zip")
    assert told in refused(source, raw, TABLE)


@pytest.mark.parametrize("subgroup", ["kind", None])
def test_other_columns_are_kept_for_groups(tmp_path: Path, raw: Path, subgroup: str | None):
    lines = ["pictures/0.png;0.1;mono;Ann, B.;7", "pictures/1.png;0.9;poly;;007"]
    columns = ["picture", "probability", "kind", "patient", "module"]
    source = table(tmp_path / "own", *lines)
    entry = {**TABLE, "table": {**TABLE["table"], "columns": columns, "subgroup": subgroup}}
    brought(source, raw, **entry)
    found = tables.read(raw / "labels.csv")
    kinds = [] if subgroup else ["column:kind"]
    assert [*found] == [*COLUMNS, *kinds, "column:patient", "column:module"]
    assert found["column:patient"].tolist() == ["Ann, B.", ""]
    assert found["column:module"].tolist() == ["7", "007"]
    assert found["subgroup"].tolist() == (["mono", "poly"] if subgroup else ["", ""])


def test_labels_without_other_columns_have_four(tmp_path: Path, raw: Path):
    brought(table(tmp_path / "own", *ROWS), raw, **TABLE)
    assert (*tables.read(raw / "labels.csv"),) == COLUMNS


STRANGE = ["pictures/0.png", "pictures/1, 2.png", 'pictures/"3".png', "pictures/4 5", "pictures/'6"]


def test_table_of_strange_names(tmp_path: Path, raw: Path):
    source = tmp_path / "own"
    for name in STRANGE:
        picture(source / "data" / f"{name}.png").rename(source / "data" / name)
    buffer = io.StringIO()
    labels = ["intact", "defective"] * 3
    csv.writer(buffer).writerows(
        (name, label, "") for name, label in zip(STRANGE, labels, strict=False)
    )
    (source / "data" / "labels.csv").write_bytes(b"\xef\xbb\xbf" + buffer.getvalue().encode())
    rows = brought(source, raw, **named(separator=","))
    assert {row.path: row.label for row in rows} == {
        f"data/{name}": label for name, label in zip(STRANGE, labels, strict=False)
    }


def test_first_line_may_name_the_columns(tmp_path: Path, raw: Path):
    lines = ["kind;probability;picture", "mono;1;pictures/0.png", "poly;0;pictures/1.png"]
    entry = {**TABLE, "table": {**TABLE["table"], "columns": None}}
    assert brought(table(tmp_path / "own", *lines), raw, **entry) == [
        Labelled("data/pictures/0.png", "defective", "", "mono"),
        Labelled("data/pictures/1.png", "intact", "", "poly"),
    ]


@pytest.mark.parametrize("name", ["007", "1e5", "True", "NA", "nan", "None", "-"])
def test_class_that_looks_like_a_number_or_nothing_is_text(tmp_path: Path, raw: Path, name: str):
    lines = ["picture,probability,kind", f"pictures/0.png,{name},{name}", "pictures/1.png,b,"]
    rows = brought(table(tmp_path / "own", *lines), raw, **named() | {"classes": [name, "b"]})
    assert [(row.label, row.subgroup) for row in rows] == [(name, name), ("b", "")]
    assert classes(raw) == [name, "b"]


def test_decimal_commas_are_read_where_the_entry_says_so(tmp_path: Path, raw: Path):
    lines = ["pictures/0.png;0,49;x", "pictures/1.png;0,5;x", "pictures/2.png;1;x"]
    source = table(tmp_path / "own", *lines)
    told = "line 1: probability is '0,49', not a number; with decimal commas, give `table.decimal`"
    assert told in refused(source, raw, TABLE)
    entry = {**TABLE, "table": {**TABLE["table"], "decimal": ","}}
    assert [row.label for row in brought(source, raw, **entry)] == [
        "intact",
        "defective",
        "defective",
    ]


@pytest.mark.parametrize("decimal", [".", ","])
def test_number_with_both_marks_is_none(tmp_path: Path, raw: Path, decimal: str):
    line = {".": "1.234,5", ",": "1.234"}[decimal]
    source = table(tmp_path / "own", f"pictures/0.png;{line};x")
    entry = {**TABLE, "table": {**TABLE["table"], "decimal": decimal}}
    told = refused(source, raw, entry)
    assert f"line 1: probability is '{line}', not a number" in told
    assert "decimal" not in told


def test_row_without_a_picture_is_named(tmp_path: Path, raw: Path):
    source = table(tmp_path / "own", "pictures/0.png;1;x", ";0;y")
    assert "data/labels.csv, line 2 names no picture; mend the line" in refused(source, raw, TABLE)


def test_first_line_of_other_names_than_columns_is_left_out_aloud(
    tmp_path: Path, raw: Path, capsys: pytest.CaptureFixture[str]
):
    lines = ["File,Probability,Kind", "pictures/0.png,1,x", "pictures/1.png,0,x"]
    assert len(brought(table(tmp_path / "own", *lines), raw, **TABLE)) == 2
    assert "labels.csv, line 1 names the columns, and is left out\n" in capsys.readouterr().out


@pytest.mark.parametrize("line", ["pictures/9.png,1,x", "pictures/0.png,much,x"])
def test_wrong_first_line_is_not_taken_for_names_of_columns(tmp_path: Path, raw: Path, line: str):
    assert ", line 1" in refused(table(tmp_path / "own", line, "pictures/1.png,0,x"), raw, TABLE)


SPELLINGS = {
    "backslashes": "pictures\\été 1.JPG",
    "from the root": "data/pictures/été 1.JPG",
    "from a Windows disk": "D:\\photos\\data\\pictures\\été 1.JPG",
    "from another disk": "/home/ann/photos/pictures/été 1.JPG",
    "through a folder above": "../data/pictures/été 1.JPG",
    "in the other Unicode form": "pictures/e\u0301te\u0301 1.JPG",
    "in another case": "Pictures/Été 1.jpg",
    "without a suffix": "pictures/été 1",
    "with another suffix": "pictures/été 1.png",
    "as an id": "été 1",
    "as a name alone": "été 1.JPG",
}


@pytest.mark.parametrize("name", SPELLINGS)
@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_picture_is_found_however_the_table_spells_it(
    tmp_path: Path, raw: Path, name: str, form: str
):
    lines = [f"{SPELLINGS[name].replace('1', number)},0,x" for number in "12"] + ["3,1,x"]
    source = table(tmp_path / "own", *lines, pictures=4)
    for number in "12":
        there = unicodedata.normalize(form, f"été {number}.JPG")
        picture(source / "data" / "pictures" / there)
        (source / "data" / "pictures" / f"été {number}.xml").touch()
    if "from" in name and "disk" in name:
        (source / "data" / "labels.csv").write_text("\n".join([*lines[:2], "pictures/3.png,1,x"]))
    rows = brought(source, raw, **TABLE | {"table": {**TABLE["table"], "separator": ","}})
    assert [unicodedata.normalize("NFC", row.path) for row in rows] == [
        "data/pictures/3.png",
        "data/pictures/été 1.JPG",
        "data/pictures/été 2.JPG",
    ]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("x", "line 2 names x, which may be a/x.png, b/x.jpg; give the path with its suffix"),
        ("A/X", "line 2 names A/X, which may be a/X.gif, a/x.png; give"),
        ("/other/a/x.png", "line 2 names /other/a/x.png, which doesn't begin with /home/ as those"),
        ("y", "line 2 names y, which is not there"),
    ],
)
def test_picture_that_may_be_two_is_told(tmp_path: Path, raw: Path, line: str, told: str):
    source = tmp_path / "own"
    for name in ("a/x.png", "b/x.jpg", "a/X.gif", "c.png"):
        picture(source / name)
    (source / "y.xml").touch()
    (source / "t.csv").write_text(f"/home/c.png;0;x\n{line};1;x\n")
    entry = {**TABLE, "table": {**TABLE["table"], "path": "t.csv"}}
    assert told in refused(source, raw, entry)


@pytest.mark.parametrize(
    "line",
    [
        '"pictures/1.png,intact,x',
        '"pictures/1.png"x,intact,x',
        f"pictures/1.png,{'x' * 200_000},x",
    ],
)
def test_line_that_is_no_csv_is_a_sentence(tmp_path: Path, raw: Path, line: str):
    source = table(tmp_path / "own", "pictures/0.png,intact,x", line)
    assert "data/labels.csv" in refused(source, raw, named(separator=","))


def test_empty_table(tmp_path: Path, raw: Path):
    told = refused(table(tmp_path / "own", "", " "), raw, TABLE)
    assert "has no picture of the class intact, defective" in told


def test_unknown_name_in_a_table(tmp_path: Path, raw: Path):
    source = table(tmp_path / "own", "pictures/0.png broken mono")
    text = refused(source, raw, named())
    assert "line 1: probability is 'broken', not one of intact, defective" in text


def test_missing_table(tmp_path: Path, raw: Path):
    source = folders(tmp_path / "own", "a", "b")
    told = refused(source, raw, TABLE)
    assert "holds no data/labels.csv; mend `table.path` in its file in datasets/" in told


def test_table_without_pictures_of_a_class(tmp_path: Path, raw: Path):
    told = refused(table(tmp_path / "own", "pictures/0.png 0.1 mono"), raw, TABLE)
    assert "has no picture of the class defective" in told


def test_table_that_is_no_utf8(tmp_path: Path, raw: Path):
    source = table(tmp_path / "own", *ROWS)
    (source / "data" / "labels.csv").write_bytes("pictures/0.png 0.1 Größe\n".encode("latin-1"))
    assert "UTF-8" in refused(source, raw, TABLE)


# Entries


def test_own_catalogue_is_well_formed():
    names = catalogues.names(CATALOGUE)
    assert {"elpv", "folder"} <= set(names)
    for name in names:
        assert entry(CATALOGUE, name).title


def test_an_unknown_dataset_is_a_sentence(tmp_path: Path):
    folder = catalogue(tmp_path / "datasets", {"b": FOLDERS, "a": FOLDERS})
    with pytest.raises(ThawError) as caught:
        entry(folder, "own")
    told = f"params.yaml: dataset: own: {folder}/ has no own.yaml; give one such as a, b"
    assert str(caught.value) == told
    with pytest.raises(ThawError, match=r"has no \.\./a\.yaml; give one such as a"):
        entry(folder, "../a")
    with pytest.raises(ThawError, match="none/ is missing here; run from the folder that holds"):
        entry(tmp_path / "none", "a")


@pytest.mark.parametrize(
    ("description", "told"),
    [
        (None, "own.yaml: input should be a valid dictionary"),
        ({**FOLDERS, "layuot": "x"}, "own.yaml: layuot: extra inputs are not permitted; mend"),
        ({**FOLDERS, "layout": "tree"}, "own.yaml: layout: .*'folders', 'table' or 'cifar'"),
        ({**FOLDERS, "split": {"test": 1.5}}, "own.yaml: split.test: .*less than 1"),
        ({**FOLDERS, "size": "big"}, "own.yaml: size: "),
        ({**FOLDERS, "sha256": "ABC"}, "own.yaml: sha256: "),
        ({**FOLDERS, "classes": ["a", "b", "a"]}, "own.yaml: `classes` names a twice; remove"),
        ({**FOLDERS, "classes": ["caf\u00e9", "cafe\u0301"]}, "names café twice"),
        ({**FOLDERS, "classes": ["a\n", "b"]}, r"'a.n' in `classes` has a control char"),
        ({**FOLDERS, "classes": [True, False]}, "own.yaml: classes.0: .*text"),
        (named(separator=";;"), "own.yaml: table.separator: "),
        (named(separator="\n"), "own.yaml: table.separator: "),
        (named(decimal=";"), "own.yaml: table.decimal: "),
        (named(columns=["picture", "picture", "probability", "kind"]), "there are two picture in"),
        ({"title": "x", "layout": "folders"}, "own.yaml: licence: field required"),
        (
            named(picture="File"),
            r"own.yaml: table: there is no File in `columns` \(picture, probability, kind\); mend",
        ),
        ({**TABLE, "classes": ["only"]}, "own.yaml: table.threshold needs two `classes`"),
        ({**TABLE, "table": None}, "own.yaml: layout table needs `table` and `classes`"),
        ({**TABLE, "classes": None}, "own.yaml: layout table needs `table` and `classes`"),
    ],
)
def test_wrong_entry_is_a_sentence(tmp_path: Path, description: object, told: str):
    with pytest.raises(ThawError, match=told) as caught:
        entry(catalogue(tmp_path / "datasets", {"own": description}), "own")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "description",
    [
        named(picture="file"),
        named(label="class"),
        named(subgroup="sort"),
        {**TABLE, "classes": ["only"]},
        {**TABLE, "classes": ["a", "b", "c"]},
    ],
)
def test_table_that_contradicts_itself_is_refused(description: dict):
    with pytest.raises(ThawError):
        chosen(description)
