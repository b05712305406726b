"""Child processes: their output shown as it comes, their time and memory measured."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

ANSWER = "answer:"
RSS_UNIT = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, in bytes
Job = Callable[[], int]  # does its work and returns how many pictures that were


@dataclass(frozen=True)
class Usage:
    """Seconds from a process's start to its end, and its peak resident memory in MB (10^6 bytes).

    Resident memory includes the pages of files mapped into memory.
    """

    seconds: float
    peak_mb: float


@dataclass(frozen=True)
class Turn:
    """What a job took, and for how many pictures."""

    seconds: float
    pictures: int


class Child:
    """A Python script, or a folder that holds `__main__.py`, run in a folder that holds src/.

    The parent has to be a small process itself: Linux starts a child's peak memory at its parent's.
    """

    def __init__(self, folder: Path, script: str | Path, *arguments: str) -> None:
        self.name = " ".join([Path(script).stem, *arguments])
        self._last_line = "no reason given"
        environment = {"PYTHONPATH": "src", "PYTHONUNBUFFERED": "1", "TF_CPP_MIN_LOG_LEVEL": "2"}
        self._started = time.perf_counter()
        self._process = subprocess.Popen(
            [sys.executable, str(script), *arguments],
            cwd=folder,
            env=os.environ | environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.returncode is None:
            self._process.kill()
            self._process.wait()

    def turn(self, job: str) -> Turn:
        """Have a script that calls `serve` do a job once."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(f"{job}\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # it has ended; `wait` says why
        answer = self._show_lines()
        if answer is None:
            self.wait()
            raise SystemExit(f"error: {self.name} ended without doing {job}")
        seconds, pictures = answer.split()
        return Turn(float(seconds), int(pictures))

    def wait(self) -> Usage:
        """Wait for the script's end.

        Raises:
            SystemExit: with one sentence, when it fails.
        """
        while self._show_lines() is not None:
            pass
        _, status, resources = os.wait4(self._process.pid, 0)
        seconds = time.perf_counter() - self._started
        code = self._process.returncode = os.waitstatus_to_exitcode(status)
        if code < 0:
            raise SystemExit(f"error: {self.name} was ended by signal {-code}")
        if code:
            reason = self._last_line.removeprefix("error: ")
            raise SystemExit(f"error: {self.name} failed: {reason}")
        return Usage(seconds, resources.ru_maxrss * RSS_UNIT / 1e6)

    def _show_lines(self) -> str | None:
        """Show what it writes up to its next answer, and return that; None at its end."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            text = line.rstrip()
            if text.startswith(ANSWER):
                return text.removeprefix(ANSWER)
            if text:
                self._last_line = text
                print(f"    {text}", flush=True)
        return None


def run(folder: Path, script: str | Path, *arguments: str) -> Usage:
    """Run a script from its start to its end."""
    with Child(folder, script, *arguments) as child:
        return child.wait()


def serve(builders: Mapping[str, Callable[[], Job]]) -> None:
    """The other end of `Child.turn`: do the job that each line of standard input names.

    A job is built when it is first asked for, untimed, and its builder warms it up.
    """
    name, job = "", None
    for line in sys.stdin:
        if job is None or line.strip() != name:
            name, job = line.strip(), None
            job = builders[name]()
        started = time.perf_counter()
        pictures = job()
        print(f"{ANSWER}{time.perf_counter() - started} {pictures}", flush=True)
