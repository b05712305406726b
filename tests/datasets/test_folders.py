"""How public archives are laid out: each once, small, and what must come out of it."""

import re
import shutil
from pathlib import Path

import pytest

from thaw.core.errors import ThawError
from thaw.datasets import folders

START = b"\x89PNG\r\n\x1a\n"  # enough to be taken for a picture here
BOTH = {"train": "a b", "validation": "a b"}
THREE = {**BOTH, "test": "a b"}


def laid_out(root: Path, *lines: str) -> Path:
    """Make files: `train/a/*` is two pictures, `a/x.txt` an empty file, `x = y` a copy of y."""
    for line in lines:
        name, _, original = line.partition(" = ")
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if original:
            shutil.copytree(root / original, path)
        elif name.endswith("/"):
            path.mkdir()
        elif path.name == "*":
            for index in range(2):
                path.with_name(f"{index}.png").write_bytes(START + f"{name} {index}".encode())
        else:
            path.write_bytes(START + name.encode() if path.suffix == ".jpg" else b"")
    return root


def found(root: Path, *classes: str) -> dict[str, str]:
    """The classes of each part, in a line; every picture of them is there."""
    rows, names, where = folders.read(root, "own.zip", classes)
    parts: dict[str, set[str]] = {}
    for row in rows:
        assert (where / row.path).is_file()
        parts.setdefault(row.part, set()).add(row.label)
    assert names == sorted({row.label for row in rows})
    return {part: " ".join(sorted(labels)) for part, labels in parts.items()}


def parts(*names: str, below: str = "") -> list[str]:
    return [f"{name}{below}/{label}/*" for name in names for label in "ab"]


ARCHIVES = {
    "chest X-ray": (
        [*parts("x/train", "x/val", "x/test"), "y = x", "x/x = y", "x/__MACOSX/x/train/a/*"],
        THREE,
    ),
    "Intel image classification": (
        [*parts("seg_train/seg_train", "seg_test/seg_test"), "seg_pred/seg_pred/*"],
        {"train": "a b", "test": "a b"},
    ),
    "brain tumour MRI": (parts("Training", "Testing"), {"train": "a b", "test": "a b"}),
    "cat and dog": (
        parts("training_set/training_set", "test_set/test_set"),
        {"train": "a b", "test": "a b"},
    ),
    "ASL alphabet": (
        [*parts("asl_alphabet_train/asl_alphabet_train"), "asl_alphabet_test/asl_alphabet_test/*"],
        {"": "a b"},
    ),
    "fruits 360": (
        [*parts("Training", "Test"), "test-multiple_fruits/*", "papers/x.pdf", "readme.md"],
        {"train": "a b", "test": "a b"},
    ),
    "flower photos": (["f/a/*", "f/b/*", "f/LICENSE.txt"], {"": "a b"}),
    "Microsoft's cats and dogs": (
        ["PetImages/a/*", "PetImages/b/*", "PetImages/a/Thumbs.db", "readme[1].txt", "x.docx"],
        {"": "a b"},
    ),
    "COVID-19 radiography": (
        [f"{label}/{kind}/*" for label in "ab" for kind in ("images", "masks")]
        + ["a.metadata.xlsx", "README.txt"],
        {"": "a b"},
    ),
    "Stanford dogs": (
        ["Images/a/*", "Images/b/*", "Annotation/a/1", "Annotation/b/1", "lists/x.mat"],
        {"": "a b"},
    ),
    "CUB-200": (
        ["images/a/*", "images/b/*", "attributes/x.txt", "parts/x.txt", "classes.txt"],
        {"": "a b"},
    ),
    "Food-101": (["f/images/a/*", "f/images/b/*", "f/meta/x.json", "f/README.txt"], {"": "a b"}),
    "Imagenette": ([*parts("i/train", "i/val"), "i/noisy.csv"], BOTH),
    "Roboflow": ([*parts("train", "valid", "test"), "README.dataset.txt"], THREE),
    "monkeys": (parts("training/training", "validation/validation"), BOTH),
    "OCT": (parts("OCT2017 /train", "OCT2017 /val", "OCT2017 /test"), THREE),
    "MNIST as pictures": (parts("training", "testing"), {"train": "a b", "test": "a b"}),
    "with masks beside": ([*parts("train", "val"), "masks/a/*", "annotations/a/1.xml"], BOTH),
    "to predict": ([*parts("train", "val", "test"), "to_predict/*"], THREE),
    "training to divide": ([*parts("train"), "unlabeled/*"], {"": "a b"}),
    "capitals": (parts("TRAIN", "Val_Images", "Test-Set 1"), THREE),
    "joined": (parts("TrainImages", "ValidationImages"), BOTH),
    "one folder and a preview": (["x/a/*", "x/b/*", "preview.jpg"], {"": "a b"}),
    "by year": (["a/2023/*", "a/2024/*", "b/2023/*", "b/2024/*"], {"": "a b"}),
    "valid and not": (["valid/*", "invalid/*"], {"": "invalid valid"}),
    "vehicles": (["train/*", "bus/*", "car/*"], {"": "bus car train"}),
    "people with masks": (["mask/*", "no mask/*"], {"": "mask no mask"}),
}


@pytest.mark.parametrize("name", ARCHIVES)
def test_public_archive_is_understood(tmp_path: Path, name: str):
    lines, expected = ARCHIVES[name]
    assert found(laid_out(tmp_path, *lines)) == expected


COPIES = {
    "brain tumour, yes or no": (
        ["a/*", "b/*", "tumor/a = a", "tumor/b = b"],
        {"": "a b"},
        "tumor/ left out, a copy of a/, b/ beside it: 4 pictures",
    ),
    "malaria cells": (
        ["c/a/*", "c/b/*", "c/c/a = c/a", "c/c/b = c/b"],
        {"": "a b"},
        "c/ left out, a copy of a/, b/ beside it: 4 pictures",
    ),
    "skin cancer": (
        [*parts("train", "test"), "data/train = train", "data/test = test"],
        {"train": "a b", "test": "a b"},
        "data/ left out, a copy of test/, train/ beside it: 8 pictures",
    ),
    "new plant diseases": (
        [*parts("New/New/train", "New/New/valid"), "new = New", "test/test/*"],
        BOTH,
        "new/ left out, a copy of New/: 8 pictures",
    ),
}


@pytest.mark.parametrize("name", COPIES)
def test_copy_is_left_out_aloud(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]):
    lines, expected, told = COPIES[name]
    assert found(laid_out(tmp_path, *lines)) == expected
    assert told in capsys.readouterr().out.splitlines()


def test_masks_are_left_out_aloud(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    lines = [f"{label}/{name}.jpg" for label in "ab" for name in ("x (1)", "x (1)_mask", "y_mask")]
    laid_out(tmp_path, *lines, "a/x (1)_mask_1.jpg", "b/masks/x (1).jpg")
    rows, _, _ = folders.read(tmp_path, "own.zip")
    assert [row.path for row in rows] == [
        f"{label}/{name}.jpg" for label in "ab" for name in ("x (1)", "y_mask")
    ]
    told = capsys.readouterr().out
    assert "2 masks left out in a/, such as x (1)_mask.jpg\n" in told
    assert "masks/ left out, masks or annotations in b/: 1 picture\n" in told


def test_what_is_left_out_beside_parts_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    laid_out(tmp_path, *parts("train", "val"), "test/*", "to_predict/*", "papers/x.pdf", "x.jpg")
    assert found(tmp_path) == BOTH
    assert sorted(capsys.readouterr().out.splitlines()) == [
        "1 picture left out: in no class's folder",
        "papers/ left out, no part",
        "test/ left out, without a folder a class, so no test part: 2 pictures",
        "to_predict/ left out, no part: 2 pictures",
    ]


REFUSED = {
    "another folder of the same classes": (
        [*parts("train", "val"), "extra/a/*", "extra/b/*"],
        "holds train/, val/ and, with the same classes, extra/; name it as a part if it is one",
    ),
    "a class beside the parts": ([*parts("train", "val"), "a/*"], "with the same classes, a/"),
    "a copy that differs": (
        ["a/*", "b/*", "more/a/*", "more/b/*"],
        "holds a/, b/ twice, once more in more/, and the pictures differ; move one of them away",
    ),
    "two of a part": (
        parts("train", "val", "validation"),
        "holds val/, validation/, each of which may be the validation part",
    ),
    "no training": (parts("val", "test"), "none is train/; rename it if it is a class, else add"),
    "a test beside classes": (["a/*", "b/*", "test/*"], "test/ may be of a dataset's parts"),
    "parts without classes": (["train/*", "test1/*"], "there is no folder a class in it; sort the"),
    "dogs vs. cats": (["train/*", "bus/*", "val/*"], "holds bus/, train/, val/: train/, val/ may"),
    "training beside something": (
        [*parts("train"), "other/*"],
        "train/ may be of a dataset's parts, but not other/; call the parts train/, validation/",
    ),
    "MVTec": (
        ["train/a/*", "test/a/*", "test/b/*", "ground_truth/b/*"],
        "has the class b in test/, its test part, and not in train/; add pictures there",
    ),
    "a part that lacks a class": (
        [*parts("train", "val"), "test/a/*"],
        "has no picture of the class b in test/, its test part; add some, or move test/ away",
    ),
    "a part with an empty class": (
        [*parts("train"), "val/a/*", "val/b/"],
        "has no picture of the class b in val/, its validation part; add some",
    ),
    "parts within classes": (
        ["a/train/*", "a/test/*", "b/train/*", "b/test/*"],
        "holds test/, train/ in a/; parts come first and classes in each of them",
    ),
    "parts and classes in one": (
        ["a_train/*", "a_test/*", "b_train/*", "b_test/*"],
        "with part and class in one name; give train/, validation/ and test/",
    ),
    "batches": (
        parts("batch1", "batch2"),
        "holds batch1/, batch2/ with a/, b/ in each: which are the classes? If the inner ones",
    ),
    "castings": (
        [*parts("data/data/train", "data/data/test"), *parts("casting_512/casting_512")],
        "holds casting_512/, data/, and test/, train/ in data/: give data/ alone, as `source`",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_may_mean_two_things_is_refused(tmp_path: Path, name: str):
    lines, told = REFUSED[name]
    with pytest.raises(ThawError) as caught:
        found(laid_out(tmp_path, *lines))
    assert str(caught.value).startswith("own.zip ")
    assert told in str(caught.value)
    assert re.search("; |[?:] (If|give)", str(caught.value))


@pytest.mark.parametrize(
    "lines",
    [
        ["a/*", "b/*", "test/*"],
        ["train/*", "val/*"],
        parts("batch1", "batch2"),
        ["train/a/*", "val/*"],
    ],
)
def test_folders_that_the_entry_names_are_classes(tmp_path: Path, lines: list[str]):
    names = sorted({line.split("/")[0] for line in lines})
    assert found(laid_out(tmp_path, *lines), *names) == {"": " ".join(names)}


def test_a_class_without_a_picture_is_not_stepped_over(tmp_path: Path):
    laid_out(tmp_path, "cats/2023/*", "cats/2024/*", "dogs/")
    assert folders.read(tmp_path, "own.zip")[1] == ["cats", "dogs"]
