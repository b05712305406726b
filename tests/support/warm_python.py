"""`python` for what a test's `dvc` starts: stages run in forks of the warm server, see `warm`.

All else goes to the real Python.
"""

import json
import os
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

SERVER = "THAW_TESTS_WARM_SERVER"  # its socket


def ask(
    address: str,
    words: Sequence[str],
    folder: Path,
    environment: dict[str, str],
    streams: Sequence[int],
) -> socket.socket:
    """Ask for `python WORDS`; the socket then gives its exit code, and takes signals for it."""
    server = socket.socket(socket.AF_UNIX)
    server.connect(address)
    asked = {"words": list(words), "folder": str(folder), "environment": environment}
    socket.send_fds(server, [json.dumps(asked).encode() + b"\n"], streams)
    return server


def code(server: socket.socket) -> int:
    """Wait for the process to end."""
    said = b""
    while part := server.recv(16):
        said += part
    return int(said) if said else -signal.SIGKILL


def main() -> int:
    words = sys.argv[1:]
    if words[:1] != ["src"] or SERVER not in os.environ:
        os.execv(sys.executable, [sys.executable, *words])
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    server = ask(os.environ[SERVER], words, Path.cwd(), environment, [0, 1, 2])
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: server.sendall(bytes([number])))
    ended = code(server)
    if ended < 0:
        signal.signal(-ended, signal.SIG_DFL)
        os.kill(os.getpid(), -ended)
    return ended


if __name__ == "__main__":
    sys.exit(main())
