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
    *words: str,
    folder: Path = ROOT,
    options: tuple[str, ...] = (),
    code: int = 0,
    src: Path = SRC,
    **env: str,
) -> tuple[str, str]:
    """What `python src` prints and says in a folder, when it ends with this exit code."""
    done = subprocess.run(
        [sys.executable, *options, str(src), *words],
        cwd=folder,
        env=os.environ | {"COLUMNS": "100", "PYTHONHASHSEED": "0"} | env,
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
def test_missing_packages_are_a_sentence(words: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "src").symlink_to(SRC)  # where there is no .venv
    _, said = run(*words, options=("-S",), code=1, src=tmp_path / "src")
    assert "lacks packages that Thaw needs; run `make venv` once" in said
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("trian",), "trian: there is no such stage or command; give one of predict, "),
        (("--version",), "--version: there is no such stage or command"),
        (("train_head", "extra"), "extra: train_head takes no arguments; its parameters are in p"),
        (("probe", "extra"), "extra: probe takes no arguments"),
        (("undo", "extra"), "extra: undo takes no arguments"),
    ],
)
def test_what_there_is_not_is_a_sentence(words: tuple[str, ...], sentence: str) -> None:
    _, said = run(*words, code=1)
    assert said.startswith(f"error: {sentence}")
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize("words", [("download",), ("train_head",)])
def test_a_stage_in_another_folder_says_what_is_missing(
    tmp_path: Path, words: tuple[str, ...]
) -> None:
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


def test_without_packages_it_goes_on_in_the_virtual_environment(tmp_path: Path) -> None:
    """As under `.venv/bin/dvc repro` without activation; in a copy, in that of the original."""
    for root in (tmp_path / "thaw", tmp_path / "copy"):
        root.mkdir()
        (root / "src").symlink_to(SRC)
    python = tmp_path / "thaw/.venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\necho "$@"\n')
    python.chmod(0o755)
    src = tmp_path / "thaw/src"
    assert run("train_head", options=("-S",), src=src)[0] == f"{src} train_head\n"
    src = tmp_path / "copy/src"
    printed, _ = run("split", options=("-S",), src=src, DVC_ROOT=str(tmp_path / "thaw"))
    assert printed == f"{src} split\n"


def test_a_command_works_from_another_folder(tmp_path: Path) -> None:
    """And means paths from there."""
    assert run("recipe", folder=tmp_path) == run("recipe")
    _, said = run("predict", "x.png", "--model", "my.onnx", folder=tmp_path, code=1)
    assert said.startswith("error: my.onnx is missing")
    _, said = run("own", "photos", folder=tmp_path, code=1)
    assert said.startswith(f"error: {tmp_path}/photos: no such file")
    assert list(tmp_path.iterdir()) == []


def test_safe_paths_change_nothing() -> None:
    assert run(PYTHONSAFEPATH="1") == run()
    assert run("recipe", PYTHONSAFEPATH="1") == run("recipe")


def test_windows_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where Python has no module fcntl."""
    monkeypatch.setitem(sys.modules, "fcntl", None)
    assert spec is not None
    assert spec.loader is not None
    again = importlib.util.module_from_spec(spec)
    with pytest.raises(SystemExit, match=r"^error: Thaw runs on Linux and macOS; on Windows, run"):
        spec.loader.exec_module(again)
