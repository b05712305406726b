"""`thaw.files.dialects`: what PyYAML (1.1) and DVC's reader (1.2) read otherwise."""

import random
from pathlib import Path

import pytest
import yaml
from dvc.utils.serialize import ParseError, parse_yaml

from helpers import catalogue
from places import ROOT
from thaw.core.errors import ThawError
from thaw.datasets.catalogue import entry
from thaw.files import catalogues, dialects

WORDS = ("yes", "no", "on", "off", "y", "n", "true", "null", "0o", "0x", "0b", "1e", "e", "E", ".",
         "-", "+", "_", ":", "0", "1", "8", "9", "60", "~", ".inf", ".nan", "=", "<<", "2001-01-01",
         "'", '"', "#", " ", "!!int ", "!!str ", "a")  # fmt: skip
BY_HAND = ["010", "-010", "08", "0o10", "1e-4", "1E3", "1.0e5", "0.1e3", "12:30", "190:20:30.15",
           "no", "Yes", "ON", "off", "0x1F", "0b101", "1_000", ".5", "5.", "~", "Null", "TRUE",
           "'no'", '"010"', "2001-01-01", "[no, 1]", "{a: 010}", "!!int 010"]  # fmt: skip


def ours(text: str) -> object:
    """What is read, or None where it is refused."""
    try:
        return dialects.load(text)
    except yaml.YAMLError:
        return None


def test_what_is_not_refused_means_the_same_to_dvc() -> None:
    chance = random.Random(1)
    drawn = ["".join(chance.choices(WORDS, k=chance.randrange(1, 6))) for _ in range(8000)]
    read = 0
    for value in [*BY_HAND, *drawn]:
        text = f"a: {value}\nb: [{value}]\n"
        if (found := ours(text)) is None:
            continue
        try:
            expected = parse_yaml(text, "x")
        except (ParseError, ValueError):
            continue  # DVC refuses it
        read += 1
        assert repr(found) == repr(expected), value
    assert read > 2000


@pytest.mark.parametrize("value", ["1e-4", "1E3", "1.0e5", "0x1F", "1_000", "'no'", "null", "true"])
def test_what_both_can_mean_is_read(value: str) -> None:
    assert ours(f"a: {value}") == parse_yaml(f"a: {value}", "x")


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("010", "write a number without the 0 before it, or a text in quotes"),
        ("-010", "write a number without the 0 before it, or a text in quotes"),
        ("0o10", "write a number without the 0 before it, or a text in quotes"),
        ("no", "write true or false, or a text in quotes"),
        ("ON", "write true or false, or a text in quotes"),
        ("12:30", "write a number, or a text in quotes"),
    ],
)
def test_what_is_read_in_two_ways_is_told(value: str, told: str, tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(f"# a comment\nseed: {value}\n")
    with pytest.raises(ThawError) as caught:
        catalogues.read_yaml(path)
    assert str(caught.value) == f"{path}, line 2: {value} is read in two ways; {told}"


def test_a_key_that_is_there_twice_or_a_tag_is_told(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("head:\n  epochs: 1\n  epochs: 2\n")
    with pytest.raises(ThawError, match=r"line 3: epochs is there twice; remove one$"):
        catalogues.read_yaml(path)
    path.write_text("seed: !!int '010'\n")
    with pytest.raises(ThawError, match=r"line 1: tag:yaml.org,2002:int is a tag; leave it out$"):
        catalogues.read_yaml(path)


@pytest.mark.parametrize(
    ("classes", "told"),
    [
        ("[no, yes]", "line 2: no is read in two ways; write true or false, or a text in quotes"),
        ("[0, 1]", "classes.0: 0 is no text; write it in quotes there"),
        ("[2001-01-01, b]", "classes.0: 2001-01-01 is no text; write it in quotes there"),
        ("[true, b]", "classes.0: True is no text; write it in quotes there"),
    ],
)
def test_classes_are_to_be_quoted(classes: str, told: str, tmp_path: Path) -> None:
    text = f"title: x\nclasses: {classes}\nlayout: folders\nlicence: own\n"
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(ThawError, match=r"mine\.yaml") as caught:
        entry(tmp_path, "mine")
    assert told in str(caught.value)


def test_what_python_writes_is_read_back(tmp_path: Path) -> None:
    values = {"title": "no", "layout": "folders", "licence": "010", "classes": ["12:30", "yes"]}
    assert entry(catalogue(tmp_path, {"mine": values}), "mine").classes == ["12:30", "yes"]


@pytest.mark.parametrize("folder", ["datasets", "pretrained", "recipes", "."])
def test_the_repositorys_own_files_are_read(folder: str) -> None:
    paths = [path for path in (ROOT / folder).glob("*.yaml") if path.name != "dvc.yaml"]
    assert paths
    for path in paths:
        assert catalogues.read_yaml(path) == parse_yaml(path.read_text(encoding="utf-8"), path)
