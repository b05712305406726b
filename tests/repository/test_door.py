"""The one door, `python src`: what it lists, what it refuses, what it needs."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from places import ROOT, SRC

spec = importlib.util.spec_from_file_location("door", SRC / "__main__.py")
assert spec is not None
assert spec.loader is not None
door = importlib.util.module_from_spec(spec)
spec.loader.exec_module(door)
NAMES = (*door.STAGES, *door.COMMANDS)


def run(
    *words: str, folder: Path = ROOT, options: tuple[str, ...] = (), code: int = 0
) -> tuple[str, str]:
    """What `python src` prints and says in a folder, when it ends with this exit code."""
    done = subprocess.run(
        [sys.executable, *options, str(SRC), *words],
        cwd=folder,
        env=os.environ | {"COLUMNS": "100", "PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout, done.stderr


def imported(*words: str) -> set[str]:
    """The packages that it imports, Python's own aside."""
    _, timed = run(*words, options=("-X", "importtime"))
    times = re.findall(r"^import time: +\d+ \| +\d+ \| +([\w.]+)$", timed, re.M)
    # Those of the virtual environment itself come before `site`; some are tried in vain.
    names = {name.split(".")[0] for name in times[times.index("site") + 1 :]}
    own = {path.stem for path in SRC.iterdir()}
    return {
        name for name in names - sys.stdlib_module_names - own if importlib.util.find_spec(name)
    }


def test_all_that_is_there_is_listed() -> None:
    stages, commands = (
        {path.stem for path in (SRC / folder).glob("*.py")} - {"__init__"}
        for folder in ("stages", "commands")
    )
    assert set(door.STAGES) == stages
    assert set(door.COMMANDS) == commands - {"demo_page"}  # which `demo` runs
    pipeline = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    assert list(door.STAGES) == list(pipeline)


@pytest.mark.parametrize("words", [(), ("--help",), ("-h",), ("help",)])
def test_alone_it_lists_all_with_a_line_each(words: tuple[str, ...]) -> None:
    printed, said = run(*words)
    assert said == ""
    assert max(map(len, printed.splitlines())) <= 100
    listed = dict(re.findall(r"^  (\w+)  +(\S.*)$", printed, re.M))
    assert sorted(listed) == sorted(NAMES)
    positions = [printed.index(f"\n  {name} ") for name in (*door.COMMANDS, *door.STAGES)]
    assert positions == sorted(positions)


@pytest.mark.parametrize("name", NAMES)
def test_the_line_is_what_the_module_says_of_itself(name: str) -> None:
    first, _, rest = door.docstring(name).partition("\n")
    assert first.startswith(f"Stage `{name}`: ") == (name in door.STAGES)
    assert first.endswith(".")
    assert re.search(r"[.?!] ", first) is None  # one sentence
    assert rest[:1] in ("", "\n")
    assert door.purpose(name)[0].islower()
    assert door.purpose(name) in f"{first[0].lower()}{first[1:]}"


def test_the_list_needs_no_package() -> None:
    assert imported() == set()
    run(options=("-S",))


def test_the_list_of_recipes_needs_two_packages() -> None:
    """And what these two need: requirements-recipes.txt."""
    pinned = (ROOT / "requirements-recipes.txt").read_text(encoding="utf-8")
    names = {name.replace("-", "_") for name in re.findall(r"^([\w-]+)==", pinned, re.M)}
    assert {"pydantic", "yaml"} <= imported("recipe") <= names | {"yaml", "_yaml"}


@pytest.mark.parametrize(
    "words", [("predict", "x.png"), ("train_head",), ("recipe",), ("recipe", "codes-svm")]
)
def test_missing_packages_are_a_sentence(words: tuple[str, ...]) -> None:
    _, said = run(*words, options=("-S",), code=1)
    assert "lacks packages that Thaw needs; run `make venv` once" in said
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("trian",), "trian: there is no such stage or command; give one of predict, "),
        (("--version",), "--version: there is no such stage or command"),
        (("train_head", "extra"), "extra: train_head takes no arguments; its parameters are in p"),
        (("probe", "extra"), "extra: probe takes no arguments"),
    ],
)
def test_what_there_is_not_is_a_sentence(words: tuple[str, ...], sentence: str) -> None:
    _, said = run(*words, code=1)
    assert said.startswith(f"error: {sentence}")
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize(
    "words", [("download",), ("train_head",), ("recipe",), ("predict", "x.png")]
)
def test_in_another_folder_it_says_what_is_missing(tmp_path: Path, words: tuple[str, ...]) -> None:
    _, said = run(*words, folder=tmp_path, code=1)
    assert re.match(
        r"error: \S+ is missing(?: here; run from the folder that holds it|; run `dvc)", said
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["predict", "recipe", "probe", "split"])
def test_help_names_the_command_as_it_is_run(name: str) -> None:
    printed, _ = run(name, "--help")
    assert printed.startswith(f"usage: python src {name}")
    assert door.docstring(name).splitlines()[0] in printed
