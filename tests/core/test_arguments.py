"""Arguments in any order; a wrong one is a sentence."""

import argparse
import re
import sys

import pytest

from thaw.core.arguments import Parser, whole
from thaw.core.errors import ThawError


def read(monkeypatch: pytest.MonkeyPatch, *words: str) -> argparse.Namespace:
    monkeypatch.setattr(sys, "argv", ["python src try", *words])
    parser = Parser("Try.")
    parser.add_argument("recipe", nargs="?")
    parser.add_argument("settings", nargs="*")
    parser.add_argument("--name")
    parser.add_argument("--port", type=whole(1, 9))
    parser.add_argument("--kind", choices=["a", "b"])
    return parser.read()


@pytest.mark.parametrize(
    "words",
    [
        "vgg --name x size=64 seed=2",
        "--name x vgg size=64 seed=2",
        "vgg size=64 --name=x seed=2",
        "vgg size=64 seed=2 --name x",
        "--name x -- vgg size=64 seed=2",
    ],
)
def test_options_stand_anywhere(monkeypatch: pytest.MonkeyPatch, words: str) -> None:
    found = read(monkeypatch, *words.split())
    assert (found.recipe, found.settings, found.name) == ("vgg", ["size=64", "seed=2"], "x")


def test_what_follows_two_dashes_is_no_option(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read(monkeypatch, "--", "--odd").recipe == "--odd"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--port abc", "--port: abc: give a whole number from 1 to 9"),
        ("--port 10", "--port: 10: give a whole number from 1 to 9"),
        ("--port -1", "--port: -1: give a whole number from 1 to 9"),
        ("--port", "--port: expected one argument"),
        ("--prot 1", "--prot: there is no such option"),
        ("--nam x", "--nam: there is no such option"),
        ("--kind c", "--kind: invalid choice: 'c' (choose from"),
    ],
)
def test_a_wrong_argument_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, words: str, told: str
) -> None:
    with pytest.raises(ThawError, match=f"^{re.escape(told)}") as caught:
        read(monkeypatch, *words.split())
    assert str(caught.value).endswith("; `python src try --help` shows what it takes")


def test_what_is_missing_is_named() -> None:
    parser = Parser("Try.")
    parser.add_argument("paths", nargs="+", metavar="PATH")
    with pytest.raises(ThawError, match=r"^PATH is missing; `"):
        parser.parse_intermixed_args([])
