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

    def system(self, name: str, processor: str) -> None:
        """Let `uname` tell of another."""
        uname = self.bin / "uname"
        uname.unlink(missing_ok=True)
        uname.write_text(f"#!/bin/sh\ncase $1 in -s) echo {name};; -m) echo {processor};; esac\n")
        uname.chmod(0o755)

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.bin / "sh", self.home / "tools/venv.sh", *(words or ["requirements.txt"])],
            env={"PATH": f"{self.home}/.venv/bin:{self.bin}"},  # as the Makefile has it
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


def refused(machine: Machine, *words: str) -> str:
    """Run it, see that it stops without a trace; the one sentence that it says."""
    done = machine.run(*words)
    assert done.returncode == 1
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert machine.modules == []
    assert not (machine.home / ".venv").exists()
    assert not (machine.home / ".accelerator").exists()
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
    machine.system("Darwin", "x86_64")
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
    module = f'"{mkdir}" -p .venv/bin && "{cp}" "{ready}" .venv/bin/python'
    module += f' && exec "{cp}" "{ready}" .venv/bin/python3'
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


CUDA = ("--accelerator=cuda", "requirements.txt")


@pytest.fixture
def two_builds(machine: Machine) -> Machine:
    machine.system("Linux", "x86_64")
    for name in ("cuda", "dev", "recipes"):
        (machine.home / f"requirements-{name}.txt").write_text("nothing==1\n")
    return machine


def test_a_venv_holds_the_builds_of_one_accelerator(two_builds: Machine) -> None:
    """They are installed into the same folders, and those taken out would take the others along."""
    for accelerator, file in [("cpu", ""), ("cuda", "-cuda"), ("cpu", ""), ("cuda", "-cuda")]:
        if file or two_builds.calls:
            done = two_builds.run(f"--accelerator={accelerator}", "requirements.txt")
        else:
            done = made(two_builds, installs=True)
        assert (done.returncode, done.stderr) == (0, "")
        assert "making .venv with Python 3.12.7\n" in done.stdout
        assert f"installing requirements{file}.txt into .venv" in done.stdout
        left = two_builds.home / ".venv/left"
        assert not left.exists()
        left.touch()


def test_the_accelerator_stays_for_later_calls(two_builds: Machine) -> None:
    made(two_builds, installs=True)
    two_builds.run(*CUDA)
    for words in (["requirements.txt"], ["requirements-recipes.txt"], CUDA):
        done = two_builds.run(*words)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    dev = two_builds.run("requirements.txt", "requirements-dev.txt")
    assert dev.stdout == "installing requirements-dev.txt into .venv\n"
    shutil.rmtree(two_builds.home / ".venv")  # as `make clean` does
    assert "installing requirements-cuda.txt into .venv" in two_builds.run().stdout


def test_after_an_install_that_failed_the_builds_are_those_last_chosen(two_builds: Machine) -> None:
    made(two_builds, installs=False)
    assert two_builds.run(*CUDA).returncode == 1
    done = two_builds.run()
    assert done.returncode == 1
    assert "making" not in done.stdout
    assert "pip could not install requirements-cuda.txt" in done.stderr
    assert "making .venv" in two_builds.run("--accelerator=cpu", "requirements.txt").stdout


@pytest.mark.parametrize("word", ["cudaa", "CUDA", "gpu", "", "a b\\n"])
def test_a_misspelt_accelerator_is_refused(two_builds: Machine, word: str) -> None:
    two_builds.python("python3", "3.12.1")
    assert refused(two_builds, f"--accelerator={word}", "requirements.txt") == (
        f"error: ACCELERATOR={word}: give cpu, or cuda for NVIDIA GPUs"
    )


@pytest.mark.parametrize("system", [("Darwin", "arm64"), ("Linux", "aarch64")])
def test_cuda_is_refused_where_there_are_no_builds(
    two_builds: Machine, system: tuple[str, str]
) -> None:
    two_builds.python("python3", "3.12.1")
    two_builds.system(*system)
    assert refused(two_builds, *CUDA).startswith("error: ACCELERATOR=cuda: TensorFlow and ONNX")
