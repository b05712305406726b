"""Processes that begin with TensorFlow, Keras and DVC imported, for tests that start many.

A server imports them once, which takes seconds, and forks for each command: a process of its own,
as ever. Tests of kills and of other environments start theirs cold.
"""

import atexit
import functools
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import warm_python

HERE = Path(__file__).parent


@functools.cache
def folder() -> Path:
    """For the socket, whose path must be short, and for `python`."""
    made = tempfile.TemporaryDirectory(prefix="warm-")
    atexit.register(made.cleanup)
    script = shlex.join([sys.executable, "-ISE", str(HERE / "warm_python.py")])
    for name in ("python", "python3"):
        python = Path(made.name) / name
        python.write_text(f'#!/bin/sh\nexec {script} "$@"\n', encoding="utf-8")
        python.chmod(0o755)
    return Path(made.name)


class Server:
    """The server of this process, started again where a test's end has killed it."""

    def __init__(self) -> None:
        self._running: subprocess.Popen[bytes] | None = None

    def address(self) -> str:
        path = folder() / "socket"
        if self._running is None or self._running.poll() is not None:
            path.unlink(missing_ok=True)
            self._running = subprocess.Popen(
                [sys.executable, HERE / "warm_server.py", path],
                stdin=subprocess.PIPE,
                cwd=folder(),
                env={k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "COV"))}
                | {"PYTHONHASHSEED": "0"},
            )
            while not path.exists():
                assert self._running.poll() is None, "the warm server can't start"
                time.sleep(0.05)
        return str(path)


SERVER = Server()


def environment(cold: dict[str, str]) -> dict[str, str]:
    """The same, where `python src` is warm."""
    path = f"{folder()}{os.pathsep}{cold['PATH']}"
    return cold | {"PATH": path, warm_python.SERVER: SERVER.address()}


def run(words: Sequence[str], cwd: Path, cold: dict[str, str]) -> tuple[int, str]:
    """What `python WORDS` ends with, and writes to either stream."""
    warm = environment(cold) | {"PYTHONHASHSEED": "0"}
    with tempfile.TemporaryFile() as written, open(os.devnull, "rb") as nothing:
        streams = [nothing.fileno(), written.fileno(), written.fileno()]
        with warm_python.ask(SERVER.address(), words, cwd, warm, streams) as server:
            code = warm_python.code(server)
        written.seek(0)
        return code, written.read().decode()
