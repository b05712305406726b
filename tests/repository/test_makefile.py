"""What `make` hands to the commands and keeps from them, and tools/venv.sh; stand-ins run."""

import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from commands import recipe
from places import ROOT

MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
TARGETS = re.search(r"^\.PHONY: (.*)$", MAKEFILE.replace("\\\n", ""), re.M)[1].split()
GIVEN = re.search(r"^unexport (ACCELERATOR .*)$", MAKEFILE, re.M)[1].split()
# Besides those, what a command must not see.
KEPT = (
    "CDPATH",
    "MAKEFLAGS",
    "MFLAGS",
    "PIP_TARGET",
    "PYTHONOPTIMIZE",
    "PYTHONPATH",
    "VIRTUAL_ENV",
)
# Writes its name, the number of its arguments and these, each with a NUL behind it, and what it
# finds in its environment.
STAND_IN = """\
#!/bin/sh
for word in "${0##*/}" $# "$@"; do printf '%s\\0' "$word"; done >>calls
env >>environments
"""
NASTY = (
    *("two words", "it's", '"quoted"', "$HOME", "$(shell touch owned)", "$$", "`touch owned`"),
    *("$(touch owned)", "#hash", "a#b", "back\\slash", "end\\", "-dash", "--help", "; touch owned"),
    *("$(NAME)", "${AS}", "a,b", ")", "*", "~", "!", "a=b", "= ", "é…", "%s", "'; touch owned; '"),
    "a\ttab",
)
ALL_OF_IT = f"-{' '.join(NASTY)}"


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


class Folder:
    """The Makefile, and in the place of the programs that it runs one that notes how it was run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        shutil.copy(ROOT / "Makefile", path)
        write(path / "metrics/evaluation.md", "")
        write(path / "tools/venv.sh", STAND_IN)
        for name in ("dvc", "mypy", "pip", "pytest", "python", "ruff", "uv"):
            write(path / ".venv/bin" / name, STAND_IN)

    def make(self, *words: str, **env: str) -> list[list[str]]:
        """The commands that it ran; nothing may have run a text as a command."""
        for name in ("calls", "environments"):
            (self.path / name).write_bytes(b"")
        plain = {"PATH": os.environ["PATH"], "HOME": str(self.path)}
        subprocess.run(["make", *words], cwd=self.path, env=plain | env, check=True, timeout=60)
        assert not (self.path / "owned").exists()
        parts = iter((self.path / "calls").read_text("utf-8").split("\0")[:-1])
        return [[name, *(next(parts) for _ in range(int(next(parts))))] for name in parts]

    def seen(self) -> set[str]:
        """The names of the variables that the commands had."""
        return set(re.findall(r"^(\w+)=", (self.path / "environments").read_text("utf-8"), re.M))


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


# How each variable arrives, for a value without blanks at its ends.
ARRIVES = {
    ("venv", "ACCELERATOR"): lambda value: [f"--accelerator={value}", "requirements.txt"],
    ("recipe", "NAME"): lambda value: ["src", "recipe", "--", value],
    ("recipe", "AS"): lambda value: ["src", "recipe", f"--name={value}", "--", ""],
    ("recipe", "SET"): lambda value: ["src", "recipe", f"--set={value}", "--", ""],
    ("own", "SOURCE"): lambda value: ["src", "own", "--", value],
    ("own", "AS"): lambda value: ["src", "own", f"--name={value}", "--", ""],
    ("own", "SET"): lambda value: ["src", "own", f"--set={value}", "--", ""],
    ("report", "BASE"): lambda value: ["src", "report", "--", value],
    ("report", "HEAD"): lambda value: ["src", "report", "--", "main", *value.split()],
    ("report", "PICTURES"): lambda value: ["src", "report", f"--pictures={value}", "--", "main"],
    ("compare", "BASE"): lambda value: ["src", "compare", f"--base={value}"],
    ("compare", "NAMES"): lambda value: ["src", "compare", "--", *value.split()],
    ("folds", "K"): lambda value: ["src", "folds", f"--k={value}"],
    ("folds", "REPEATS"): lambda value: ["src", "folds", f"--repeats={value}"],
    ("folds", "FINE_TUNE"): lambda _: ["src", "folds", "--fine-tune"],
    ("robustness", "PICTURES"): lambda value: ["src", "robustness", f"--pictures={value}"],
    ("robustness", "VIEWS"): lambda value: ["src", "robustness", f"--views={value}"],
    ("robustness", "TEST"): lambda _: ["src", "robustness", "--test"],
    ("gate", "BASE"): lambda value: ["src", "gate", f"--base={value}"],
    ("gate", "MARGIN"): lambda value: ["src", "gate", f"--margin={value}"],
    ("gate", "SCORE"): lambda value: ["src", "gate", f"--score={value}"],
    ("gate", "TEST"): lambda _: ["src", "gate", "--test"],
    ("audit", "TEST"): lambda _: ["src", "audit", "--test"],
    ("gate", "ALLOW"): lambda value: ["src", "gate", f"--allow={value}"],
    ("sweep", "AS"): lambda value: ["src", "sweep", f"--name={value}"],
    ("sweep", "JOBS"): lambda value: ["src", "sweep", f"--jobs={value}"],
    ("sweep", "TEST"): lambda _: ["src", "sweep", "--test"],
    ("sweep", "SET"): lambda value: ["src", "sweep", f"--set={value}"],
    ("export", "FORMATS"): lambda value: ["src", "export", "--", *value.split()],
    ("demo", "PORT"): lambda value: ["src", "demo", f"--port={value}"],
    ("bench", "SOURCE"): lambda value: ["benchmarks/bench.py", f"--source={value}"],
    ("bench-quick", "SOURCE"): lambda value: [
        *("benchmarks/bench.py", "--quick"),
        f"--source={value}",
    ],
}


@pytest.mark.parametrize(("target", "name"), ARRIVES)
def test_a_variable_arrives_as_it_was_given(folder: Folder, target: str, name: str) -> None:
    calls = folder.make(target, f"{name}={ALL_OF_IT}")
    program = "venv.sh" if name == "ACCELERATOR" else "python"
    call = next(call for call in calls if call[0] == program)
    assert call == [program, *ARRIVES[target, name](ALL_OF_IT)]
    assert not folder.seen() & {*GIVEN, *KEPT}


def test_several_variables(folder: Folder) -> None:
    _, call = folder.make("recipe", "NAME=a b", "AS=c", "SET=d='e f' g=1")
    assert call == ["python", "src", "recipe", "--name=c", "--set=d='e f' g=1", "--", "a b"]
    _, call = folder.make("compare", "BASE=a", "NAMES=b  c")
    assert call == ["python", "src", "compare", "--base=a", "--", "b", "c"]
    _, call = folder.make("report", "BASE=a", "HEAD=b  c", "PICTURES=no")
    assert call == ["python", "src", "report", "--pictures=no", "--", "a", "b", "c"]


@pytest.mark.parametrize("target", ["repro", "recipes", "venv-dev", "venv-demo", "venv-cluster"])
def test_whatever_makes_the_venv_takes_the_accelerator(folder: Folder, target: str) -> None:
    plain = folder.make(target)
    venv, *files = plain[0]
    chosen = [[venv, "--accelerator=cuda", *files], *plain[1:]]
    assert folder.make(target, "ACCELERATOR=cuda") == chosen
    assert folder.make(target, "ACCELERATOR=") == plain


def test_a_flag_is_off_at_0(folder: Folder) -> None:
    assert folder.make("gate", "TEST=0")[-1] == ["python", "src", "gate"]
    assert folder.make("folds", "FINE_TUNE=")[-1] == ["python", "src", "folds"]


def test_an_end_of_a_line_is_a_blank(folder: Folder) -> None:
    _, call = folder.make("recipe", "NAME=a", "SET=b=1\n  c=2\n")
    assert call == ["python", "src", "recipe", "--set=b=1   c=2 ", "--", "a"]


def test_what_the_command_makes_of_it(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    for value in (*NASTY, ALL_OF_IT):
        _, call = folder.make("recipe", f"NAME={value}", f"AS={value}", f"SET={value}")
        monkeypatch.setattr(sys, "argv", call[2:])
        given = recipe.arguments()
        assert (given.recipe, given.name, given.set, given.settings) == (value, value, value, [])


@pytest.mark.parametrize("target", [*TARGETS, None])
def test_the_environment_changes_nothing(folder: Folder, target: str | None) -> None:
    words = (target,) if target else ()
    if target == "clean":  # the stand-ins too
        words = ("clean", "-n")
    plain = folder.make(*words)
    assert plain or target in ("clean", "help")
    assert not folder.seen() & {*GIVEN, *KEPT}
    internal = re.findall(r"^override (?:define )?(\w+)", MAKEFILE, re.M)
    assert {"given", "quote", "PATH"} <= set(internal)
    nasty = dict.fromkeys([*GIVEN, *KEPT], "'; touch owned; $(shell touch owned)")
    nasty |= dict.fromkeys({*internal, "CURDIR", "SHELL"} - {"PATH"}, "/nowhere")
    for flags in ("", "e", "-j8"):
        assert folder.make(*words, **nasty | {"MAKEFLAGS": flags}) == plain
        assert not folder.seen() & {*GIVEN, *KEPT}


def test_what_make_brings_along_is_not_given(folder: Folder) -> None:
    assert folder.make("recipe", "NAME=x")[1] == ["python", "src", "recipe", "--", "x"]


def test_one_scheme_for_all_variables() -> None:
    used = re.findall(r"\$\(call (?:given|each|listed|(?:option|flag),[-\w]+),(\w+)\)", MAKEFILE)
    assert sorted(set(used)) == GIVEN
    assert {name for _, name in ARRIVES} == set(GIVEN)
    assert re.findall(rf"\$[({{](?:{'|'.join(GIVEN)})[)}}]", MAKEFILE) == []


def test_make_alone_runs_the_pipeline(folder: Folder) -> None:
    assert folder.make() == folder.make("repro") != []


def test_quick_is_a_part_of_test(folder: Folder) -> None:
    *checks, tests = folder.make("test")
    *same, quick = folder.make("quick")
    assert checks == same
    assert [call[0] for call in checks] == ["venv.sh", "ruff", "ruff", "mypy"]
    assert (tests[0], quick[0]) == ("pytest", "pytest")


def test_one_target_installs_at_a_time(folder: Folder) -> None:
    write(folder.path / "tools/venv.sh", "mkdir busy && sleep 0.2 && rmdir busy\n")
    folder.make("-j4", "venv", "venv-dev", "recipes")


def test_help_names_all_targets_and_variables() -> None:
    printed = subprocess.run(
        ["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert max(map(len, printed.splitlines())) <= 100
    assert sorted(re.findall(r"^make ([\w-]+)  +\S", printed, re.M)) == sorted(
        {*TARGETS} - {"help"}
    )
    assert set(re.findall(r"([A-Z_]+)=", printed)) == set(GIVEN)


VENV = ("requirements.txt", "requirements-recipes.txt", "requirements-dev.txt")


def test_the_packages_for_the_list_are_a_part_of_all() -> None:
    pinned = [
        {line for line in (ROOT / name).read_text(encoding="utf-8").splitlines() if "==" in line}
        for name in VENV[:2]
    ]
    assert set() != pinned[1] < pinned[0]


class Venv:
    """tools/venv.sh, with a Python that notes what pip is to install."""

    def __init__(self, path: Path) -> None:
        self.path = path
        subprocess.run(["git", "init", "--quiet"], cwd=path, check=True)
        (path / "tools").mkdir()
        shutil.copy(ROOT / "tools/venv.sh", path / "tools")
        for name in VENV:
            write(path / name, f"{name}==1\n")
        write(path / ".venv/bin/python", '#!/bin/sh\n[ "$1" = -c ] || echo "$@" >>calls\n')

    def install(self, *names: str) -> str:
        """What pip was asked for; nothing where it wasn't run."""
        (self.path / "calls").write_bytes(b"")
        script = ["sh", str(self.path / "tools/venv.sh"), *names]
        subprocess.run(script, cwd=self.path, check=True, capture_output=True, timeout=60)
        return " ".join(re.findall(r"--requirement (\S+)", (self.path / "calls").read_text()))


def test_packages_are_installed_once(tmp_path: Path) -> None:
    every, small, tests = VENV
    venv = Venv(tmp_path)
    assert venv.install(small) == small
    assert venv.install(small) == ""
    assert venv.install(every) == every
    assert venv.install(small) == venv.install(every) == ""
    assert venv.install(every, tests) == f"{every} {tests}"
    assert venv.install(small) == venv.install(every) == venv.install(every, tests) == ""
    write(tmp_path / tests, "changed==2\n")
    assert venv.install(small) == small
    assert venv.install(every) == every


def test_all_packages_are_enough_for_the_list(tmp_path: Path) -> None:
    every, small, tests = VENV
    venv = Venv(tmp_path)
    assert venv.install(every, tests) == f"{every} {tests}"
    assert venv.install(small) == ""


@pytest.mark.parametrize(
    ("git", "sentence"),
    [
        (
            "echo fatal: not a git repository >&2; exit 128",
            "this folder is no Git repository, which",
        ),
        (
            "echo fatal: detected dubious ownership >&2; exit 128",
            "this folder belongs to another u",
        ),
        ("exit 127", "git doesn't run here"),
    ],
)
def test_what_git_refuses_is_told_before_the_download(
    tmp_path: Path, git: str, sentence: str
) -> None:
    venv = Venv(tmp_path)
    write(tmp_path / "bin/git", f"#!/bin/sh\n{git}\n")
    done = subprocess.run(
        ["sh", str(tmp_path / "tools/venv.sh"), "requirements.txt"],
        env={"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"error: {sentence}")
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "calls").exists()
    assert venv.install("requirements.txt") == "requirements.txt"


def test_pips_user_setting_does_not_count(tmp_path: Path) -> None:
    """With `user = true` in its configuration pip refuses to install into a virtual environment."""
    Venv(tmp_path).install("requirements.txt")
    assert " --no-user " in (tmp_path / "calls").read_text()
