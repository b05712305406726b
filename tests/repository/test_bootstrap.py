"""tools/venv.sh: which Python it takes, and what it says when there is none. Installs nothing."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from places import ROOT

TOOLS = ("uname", "sh", "cat", "cksum", "dirname", "rm", "printf", "env")

# A Python of another version, with or without venv, that notes how it is called.
FAKE = """\
#!/bin/sh
printf '%s\\n' "{name} $1 ${{2%% *}} $3" >>"{log}"
case $1 in
--version) echo "Python {version}"; exit 0 ;;
-m) {module} ;;
esac
exec "{python}" -c '
import platform, sys
sys.version_info = (*map(int, "{version}".split(".")),)
platform.python_version = lambda: "{version}"
if not {venv}:
    sys.modules["ensurepip"] = None  # as on Debian, where the module venv is there
exec(sys.argv[1])
' "$2"
"""


class Machine:
    """A copy of the script with a PATH of its own."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "a copy"
        self.bin = folder / "bin"
        self.log = folder / "log"
        self.home.mkdir()
        self.bin.mkdir()
        shutil.copytree(ROOT / "tools", self.home / "tools")
        (self.home / "requirements.txt").write_text("nothing==1\n")
        for tool in TOOLS:
            found = shutil.which(tool)
            assert found, f"{tool} is missing here"
            (self.bin / tool).symlink_to(found)
        git = self.bin / "git"  # as in a repository of one's own
        git.write_text("#!/bin/sh\nexit 0\n")
        git.chmod(0o755)

    def python(self, name: str, version: str, venv: bool = True, module: str = "exit 3") -> Path:
        """Put a fake Python on the PATH; `module` is what it does for `-m …`."""
        path = self.home / name if "/" in name else self.bin / name
        path.parent.mkdir(parents=True, exist_ok=True)
        text = FAKE.format(
            name=path.name if "/" not in name else name,
            version=version,
            venv=venv,
            module=module,
            log=self.log,
            python=sys.executable,
        )
        path.write_text(text)
        path.chmod(0o755)
        return path

    def run(self, *files: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.bin / "sh", self.home / "tools/venv.sh", *(files or ["requirements.txt"])],
            env={"PATH": str(self.bin)},
            cwd=self.home.parent,
            capture_output=True,
            text=True,
            timeout=60,
        )

    @property
    def calls(self) -> list[str]:
        return self.log.read_text().splitlines() if self.log.exists() else []

    @property
    def modules(self) -> list[str]:
        return [call.strip() for call in self.calls if " -m " in call]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def refused(machine: Machine) -> str:
    """Run it, see that it stops without a trace; the one sentence that it says."""
    done = machine.run()
    assert done.returncode == 1
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert machine.modules == []
    assert not (machine.home / ".venv").exists()
    return done.stderr.strip()


@pytest.mark.parametrize("version", ["3.9.2", "3.10.14", "3.14.0"])
def test_a_python_of_another_version_is_refused(machine: Machine, version: str) -> None:
    machine.python("python3", version)
    assert refused(machine) == (
        "error: Thaw needs Python 3.11, 3.12 or 3.13 with venv on the PATH; "
        f"python3 here is Python {version}"
    )


def test_a_mac_that_tensorflow_is_not_built_for(machine: Machine) -> None:
    machine.python("python3", "3.12.1")
    uname = machine.bin / "uname"
    uname.unlink(missing_ok=True)
    uname.write_text("#!/bin/sh\ncase $1 in -s) echo Darwin;; -m) echo x86_64;; esac\n")
    uname.chmod(0o755)
    assert "no longer built for Macs with an Intel processor" in refused(machine)


def test_no_python_at_all(machine: Machine) -> None:
    assert refused(machine).endswith("there is no python3 here")


def test_a_python_without_venv_is_refused_with_the_package_to_install(machine: Machine) -> None:
    machine.python("python3", "3.11.2", venv=False)
    assert refused(machine).endswith(
        "python3 here is Python 3.11.2, without venv (on Debian: apt install python3-venv)"
    )


def test_an_old_python_without_venv_is_not_told_to_install_it(machine: Machine) -> None:
    machine.python("python3", "3.9.2", venv=False)
    assert "apt" not in refused(machine)


@pytest.mark.parametrize("version", ["3.11.0", "3.12.7", "3.13.1"])
def test_python3_is_taken_where_it_will_do(machine: Machine, version: str) -> None:
    machine.python("python3", version)
    machine.python("python3.13", "3.13.1")
    done = machine.run()
    assert done.returncode == 3
    assert f"making .venv with Python {version}" in done.stdout
    assert machine.modules == ["python3 -m venv .venv"]


@pytest.mark.parametrize(
    ("version", "venv"), [("3.9.2", True), ("3.14.0", True), ("3.11.2", False)]
)
def test_another_python_is_taken_where_python3_will_not_do(
    machine: Machine, version: str, venv: bool
) -> None:
    machine.python("python3", version, venv=venv)
    machine.python("python3.12", "3.12.7")
    done = machine.run()
    assert done.returncode == 3
    assert machine.modules == ["python3.12 -m venv .venv"]


def test_one_without_venv_is_passed_over_for_the_next(machine: Machine) -> None:
    machine.python("python3", "3.9.2")
    machine.python("python3.13", "3.13.1", venv=False)
    machine.python("python3.11", "3.11.2")
    machine.run()
    assert machine.modules == ["python3.11 -m venv .venv"]


def made(machine: Machine, installs: bool) -> subprocess.CompletedProcess[str]:
    """Run it with a Python whose venv holds a fake that installs nothing, well or badly."""
    ready = machine.python(
        "ready/python", "3.12.7", module=f'[ "$2" = pip ] && exit {int(not installs)}'
    )
    mkdir, cp = shutil.which("mkdir"), shutil.which("cp")
    module = f'"{mkdir}" -p .venv/bin && exec "{cp}" "{ready}" .venv/bin/python'
    machine.python("python3", "3.12.7", module=module)
    return machine.run()


def test_a_second_run_does_nothing(machine: Machine) -> None:
    done = made(machine, installs=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert machine.modules == ["python3 -m venv .venv", "ready/python -m pip install"]
    again = machine.run()
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")
    assert len(machine.modules) == 2


def test_what_one_command_installed_the_others_do_not_install_again(machine: Machine) -> None:
    for name in ("demo", "dev"):
        (machine.home / f"requirements-{name}.txt").write_text("nothing==1\nmore==1\n")
    made(machine, installs=True)
    demo, dev = (["requirements.txt", f"requirements-{name}.txt"] for name in ("demo", "dev"))
    for count, files in [(3, dev), (3, []), (3, dev), (4, demo), (4, dev), (4, demo), (4, [])]:
        assert machine.run(*files).returncode == 0
        assert len(machine.modules) == count
    (machine.home / "requirements-dev.txt").write_text("nothing==2\nmore==1\n")
    assert machine.run().returncode == 0
    assert len(machine.modules) == 5


def test_other_requirements_are_installed_into_the_same_venv(machine: Machine) -> None:
    made(machine, installs=True)
    (machine.home / "requirements.txt").write_text("nothing==2\n")
    assert machine.run().returncode == 0
    assert machine.modules[2:] == ["ready/python -m pip install"]


def test_an_install_that_fails_is_said_and_tried_again(machine: Machine) -> None:
    done = made(machine, installs=False)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "error: pip could not install requirements.txt; check the network and `pip config list`, "
        "then run this again"
    ]
    assert machine.run().returncode == 1
    assert machine.modules.count("ready/python -m pip install") == 2
