"""The same bytes again: another time, folder, clone, user, terminal, settings, number of cores."""

import json
import os
import pty
import re
import socket
import subprocess
import sys
import zipfile
from datetime import date
from pathlib import Path

import pytest

from repository import STAGES, UNCHANGED, Finished, Repository, ran, results

pytestmark = pytest.mark.timeout(900)

USER = "quillfeather"
SETTINGS = {
    "USER": USER,
    "LOGNAME": USER,
    "LC_ALL": "C",
    "LANG": "C",
    "PYTHONUTF8": "0",
    "PYTHONHASHSEED": "4711",
    "TZ": "Pacific/Kiritimati",
    "TERM": "dumb",
    "COLUMNS": "40",
    "CUDA_VISIBLE_DEVICES": "",
    "KERAS_BACKEND": "torch",
    "KERAS_MAX_STEPS_PER_EPOCH": "1",
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    "OMP_NUM_THREADS": "3",
    "OPENBLAS_NUM_THREADS": "3",
    "ORT_LOAD_CONFIG_FROM_MODEL": "1",
    "SOURCE_DATE_EPOCH": "1",
    "TF_CPP_MIN_LOG_LEVEL": "0",
    "TF_ENABLE_ONEDNN_OPTS": "0",
    "TF_NUM_INTEROP_THREADS": "3",
    "TF_NUM_INTRAOP_THREADS": "5",
    "TF_XLA_FLAGS": "--tf_xla_auto_jit=2 --tf_xla_cpu_global_jit",
}
KERAS = {"floatx": "float16", "image_data_format": "channels_first", "epsilon": 0.01}
MATPLOTLIB = "font.size: 14\naxes.facecolor: eeeeee\nsavefig.bbox: tight\nfont.family: monospace\n"


class Stranger(Repository):
    """A clone in another folder, of someone whose machine is set up as unlike as can be."""

    def __init__(self, cloned: Repository, folder: Path) -> None:
        self.path = folder / f"{USER}'s clone"
        home = folder / "home"
        for name, content in (
            (".keras/keras.json", json.dumps(KERAS | {"backend": "jax"})),
            ("config/matplotlib/matplotlibrc", MATPLOTLIB),
        ):
            (home / name).parent.mkdir(parents=True)
            (home / name).write_text(content)
        self.env = cloned.env | {
            **SETTINGS,
            "HOME": str(home),
            "TMPDIR": str(home),
            "XDG_CACHE_HOME": str(home / "cache"),
            "XDG_CONFIG_HOME": str(home / "config"),
            "DVC_SITE_CACHE_DIR": str(home / "site"),
        }
        cloned.run("git", "clone", "--quiet", str(cloned.path), str(self.path))

    def in_a_terminal_on_one_core(self, *command: str) -> str:
        """Run a command that must end well; what it writes to the terminal."""
        ours, theirs = pty.openpty()
        running = subprocess.Popen(
            command,
            cwd=self.path,
            env=self.env,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            umask=0o077,
            preexec_fn=lambda: os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}),
        )
        os.close(theirs)
        written = b""
        while True:
            try:
                part = os.read(ours, 65536)
            except OSError:  # how Linux says that nobody writes any more
                break
            if not part:
                break
            written += part
        os.close(ours)
        text = written.decode(errors="replace")
        assert running.wait() == 0, text
        return text


@pytest.fixture(scope="module")
def repository(finished: Finished, tmp_path_factory: pytest.TempPathFactory) -> Repository:
    return finished.repository.copy(tmp_path_factory.mktemp("reproducible"))


@pytest.fixture(scope="module")
def stranger(repository: Repository, tmp_path_factory: pytest.TempPathFactory) -> Stranger:
    """A clone in which the whole pipeline ran, as far as possible from how it ran first."""
    made = Stranger(repository, tmp_path_factory.mktemp(USER))
    assert not (made.path / ".dvc/cache").exists()
    output = made.in_a_terminal_on_one_core(sys.executable, "-m", "dvc", "repro", "--force")
    assert sorted(ran(output)) == sorted(STAGES)
    return made


def test_a_stranger_gets_the_same_bytes(repository: Repository, stranger: Stranger) -> None:
    first, other = ((each.path / "dvc.lock").read_text() for each in (repository, stranger))
    assert results(other) == results(first)
    assert other == first
    assert stranger.run("git", "status", "--porcelain") == ""
    assert stranger.dvc_json("status") == UNCHANGED


def test_no_clock_path_or_name_in_an_output(stranger: Stranger) -> None:
    today = date.today()
    names = [USER, str(stranger.path.parent), stranger.env["HOME"], socket.gethostname()]
    wanted = [name.encode() for name in names if len(name) > 4]  # shorter ones turn up by chance
    wanted += [f"{today:{form}}".encode() for form in ("%Y-%m-%d", "%Y/%m/%d", "%Y%m%d", "%b %d")]
    outputs = [*results((stranger.path / "dvc.lock").read_text()), "metrics/environment.json"]
    files = [
        file
        for place in map(stranger.path.joinpath, outputs)
        for file in (place.rglob("*") if place.is_dir() else [place])
        if file.is_file()
    ]
    kinds = {file.suffix for file in files}
    assert kinds >= {".keras", ".onnx", ".npy", ".h5", ".png", ".csv", ".json", ".md"}
    for file in files:
        contents = [file.read_bytes()]
        if zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as opened:
                assert {item.date_time[0] for item in opened.infolist()} == {1980}
                contents += [opened.read(name) for name in opened.namelist()]
        for content in contents:
            assert [each for each in wanted if each in content] == [], file


def test_what_it_was_made_with_stays_beside_the_metrics(repository: Repository) -> None:
    assert "metrics/environment.json" in repository.run("git", "ls-files", "metrics").splitlines()
    (noted,) = repository.json("metrics/environment.json")
    assert noted["stages"] == sorted(STAGES)
    assert noted["python"] == sys.version.split()[0]
    assert noted["threads"] == 2
    assert "environment" not in (repository.path / "dvc.lock").read_text()


def test_another_environment_is_told_of_once(repository: Repository) -> None:
    noted = repository.path / "metrics/environment.json"
    before = noted.read_text()
    noted.write_text(before.replace('"tensorflow', '"tensorflow-of-old'))
    output = repository.dvc("repro", "--force", "--single-item", "split", "evaluate")
    assert len(re.findall(r"^note: the bytes may differ from .*: tensorflow", output, re.M)) == 1
    assert len(json.loads(noted.read_text())) == 2
    repository.restore()
