"""`thaw.core.progress`: a bar on a terminal, plain lines in a log."""

import os
import pty
import re
import subprocess
import sys
import termios

import pytest

from places import SRC
from thaw.core import progress

CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f]")  # all but the line's end
LOOP = "from thaw.core.progress import track; assert list(track(range(3), 'work')) == [0, 1, 2]"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Its one number is the time."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_a_log_gets_a_line_every_so_many_seconds_and_the_end(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in progress.track(iter(range(1080)), "train", 1080):
        clock[0] += 0.03125
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err == (
        "train: 320 of 1,080 pictures in 10 s\n"
        "train: 640 of 1,080 pictures in 20 s\n"
        "train: 960 of 1,080 pictures in 30 s\n"
        "train: 1,080 of 1,080 pictures in 34 s\n"
    )


def test_a_short_job_is_not_told(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    for _ in progress.track(range(3), "train"):
        clock[0] += 1
    assert capsys.readouterr().err == ""


def test_where_no_total_is_known(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    for _ in progress.track((n for n in range(2)), "unpacking", unit="files"):
        clock[0] += 11
    assert capsys.readouterr().err.splitlines()[0] == "unpacking: 1 files in 11 s"


def test_the_end_is_not_told_twice(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    for _ in progress.track(range(2), "work"):
        clock[0] += 11
    assert len(capsys.readouterr().err.splitlines()) == 2


def test_a_terminal_gets_a_bar() -> None:
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    env = os.environ | {"PYTHONPATH": str(SRC)}
    subprocess.run([sys.executable, "-c", LOOP], stderr=theirs, env=env, check=True)
    os.close(theirs)
    shown = os.read(ours, 10_000).decode()
    os.close(ours)
    assert "\r" in shown
    assert re.search(r"work: 100%.*3/3", shown)
