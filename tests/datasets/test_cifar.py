"""`thaw.datasets.cifar`: small archives of CIFAR-10's binary form, made here."""

import os
import subprocess
import sys
import tarfile
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

import places
from helpers import cifar_files, pixels
from places import SRC
from thaw.core.errors import ThawError
from thaw.datasets.catalogue import Entry, entry
from thaw.datasets.layouts import bring
from thaw.files import catalogues
from thaw.splitting import splits

ROOT = "cifar-10-batches-bin"
OWN = entry(places.ROOT / "datasets", "cifar10")


def packed(folder: Path, to: Path) -> Path:
    with tarfile.open(to, "w:gz") as opened:
        opened.add(folder, ROOT)
    return to


@pytest.fixture
def files(tmp_path: Path) -> Path:
    return cifar_files(tmp_path / "files", "frog", "airplane", "dog")


def refused(source: Path, description: Entry = OWN) -> str:
    raw = source.parent / "data/dataset"
    with pytest.raises(ThawError) as caught:
        bring(description, str(source), raw)
    assert list(raw.parent.iterdir()) == []
    text = str(caught.value)
    assert "\n" not in text
    return text


@pytest.mark.parametrize("kind", ["archive", "folder", "folder above"])
def test_every_record_becomes_the_picture_that_it_holds(
    tmp_path: Path, files: Path, kind: str
) -> None:
    source = packed(files, tmp_path / "own.tar.gz") if kind == "archive" else files
    if kind == "folder above":
        source = tmp_path / "above"
        source.mkdir()
        files.rename(source / ROOT)
    raw = tmp_path / "data/dataset"
    rows = bring(OWN, source.as_uri(), raw)
    assert len(rows) == 6 * 3 * 2
    assert yaml.safe_load((raw / "dataset.json").read_text())["classes"] == [
        "frog",
        "airplane",
        "dog",
    ]
    for row in rows:
        batch, _, number = row.path.removesuffix(".png").rpartition("/")
        assert row.part == ("test" if batch == "test_batch" else "train")
        index = 5 if batch == "test_batch" else int(batch[-1]) - 1
        label, which = divmod(int(number), 2)
        assert row.label == ["frog", "airplane", "dog"][label]
        with Image.open(raw / "images" / row.path) as image:
            assert (image.format, image.mode) == ("PNG", "RGB")
            expected = pixels(index * 10_000 + label * 1000 + which, 32, 32)
            np.testing.assert_array_equal(np.asarray(image), expected)


def test_the_test_batch_stays_the_test_part(tmp_path: Path) -> None:
    source = cifar_files(tmp_path / "files", "a", "b", each=4)
    rows = bring(OWN, str(source), tmp_path / "raw")
    divided = splits.divide(
        pd.DataFrame(rows), {row.path: row.path for row in rows}, held_out=0.2, test=0.2, seed=1
    )
    assert Counter(divided.split.values()) == {"train": 32, "validation": 8, "test": 8}
    assert {path for path, part in divided.split.items() if part == "test"} == {
        row.path for row in rows if row.path.startswith("test_batch/")
    }


@pytest.mark.parametrize(
    ("name", "change", "told"),
    [
        (
            "data_batch_3.bin",
            lambda content: content[:-1],
            "data_batch_3.bin has 18,437 bytes, which are no whole number of records of 3,073",
        ),
        ("test_batch.bin", lambda content: content + b"\x00", "test_batch.bin has 18,439 bytes"),
        (
            "data_batch_5.bin",
            lambda content: content[:3073] + b"\x03" + content[3074:],
            "data_batch_5.bin: picture 1 is of the class number 3, and batches.meta.txt names 3;",
        ),
        ("data_batch_1.bin", None, "holds no data_batch_1.bin; give the binary version"),
        ("batches.meta.txt", None, "holds no batches.meta.txt; give the binary version"),
        ("batches.meta.txt", lambda _: b"\xff\xfe\n", "batches.meta.txt is not UTF-8"),
        ("batches.meta.txt", lambda _: b"a\nb\na\n", "batches.meta.txt has 'a' twice"),
        ("batches.meta.txt", lambda _: b"a\nb\x07\nc\n", "batches.meta.txt has 'b\\x07'"),
        ("batches.meta.txt", lambda content: content + b"cat\n", "no picture of the class cat"),
    ],
)
def test_what_is_not_of_that_form_is_refused(
    tmp_path: Path, files: Path, name: str, change: object, told: str
) -> None:
    if change:
        (files / name).write_bytes(change((files / name).read_bytes()))
    else:
        (files / name).unlink()
    source = packed(files, tmp_path / "own.tar.gz")
    text = refused(source)
    assert text.startswith(str(source))
    assert told in text


def test_the_python_version_is_refused(files: Path) -> None:
    for path in files.glob("*.bin"):
        path.rename(path.with_suffix(""))
    assert "holds no data_batch_1.bin, data_batch_2.bin" in refused(files)


def test_one_class_is_no_dataset(tmp_path: Path) -> None:
    assert "holds 1 class (a)" in refused(cifar_files(tmp_path / "files", "a"))


MEASURE = """
import sys, tracemalloc
from pathlib import Path
from thaw.datasets.cifar import convert
few, many, few_images, many_images = map(Path, sys.argv[1:])
convert(few, few_images, "")  # Pillow imports its formats
tracemalloc.start()
rows, _ = convert(many, many_images, "")
print(len(rows), tracemalloc.get_traced_memory()[1])
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_pictures(tmp_path: Path, files: Path) -> None:
    """In a process of its own: the tests before would leave tables that happen to grow here."""
    many = cifar_files(tmp_path / "many", "a", "b", each=200)  # 7 MB
    images = [tmp_path / "few images", tmp_path / "many images"]
    for folder in images:
        folder.mkdir()
    command = [sys.executable, "-c", MEASURE, *map(str, [files, many, *images])]
    env = os.environ | {"PYTHONPATH": str(SRC)}
    count, peak = subprocess.check_output(command, env=env, text=True).split()
    assert count == "2400"
    assert int(peak) < 2_500_000  # a batch alone has 1.2 MB


def test_classes_are_the_archives_own() -> None:
    description = OWN.model_dump() | {"classes": ["a", "b"]}
    with pytest.raises(ThawError, match="layout cifar brings its classes along; remove `classes`"):
        catalogues.check(description, Entry, "own.yaml")


def test_the_entry_is_the_official_archive() -> None:
    assert OWN.source == "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
    assert OWN.size == 170_052_171
    assert OWN.root == ROOT
