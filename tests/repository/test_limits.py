"""The tests' own limits: of time, and in the background."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil

from places import ROOT, SRC

TESTS = """
import subprocess, sys, pytest

def test_ctrl_c_reaches_what_a_test_starts():
    asked = "import signal; assert signal.getsignal(signal.SIGINT) is signal.default_int_handler"
    subprocess.run([sys.executable, "-c", asked], check=True)

@pytest.mark.timeout(2)
def test_hangs():
    subprocess.run(["sh", "-c", "sleep 100 & echo $! > pid; wait"])
"""


def test_in_the_background_and_what_a_hanging_test_started_ends_with_it(tmp_path: Path) -> None:
    (tmp_path / "test_some.py").write_text(TESTS)
    places = (ROOT / "tests", ROOT / "tests/support", SRC)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "conftest", "-n", "1", "test_some.py"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, places))},
        capture_output=True,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),  # as after `nohup … &`
    )
    assert "1 failed, 1 passed" in done.stdout, done.stdout
    assert "test_hangs - Failed: Timeout" in done.stdout
    with contextlib.suppress(psutil.NoSuchProcess):
        psutil.Process(int((tmp_path / "pid").read_text())).wait(10)  # for the system to clear it
