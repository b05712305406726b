"""A process that has imported TensorFlow, Keras and DVC, and forks for each command: see `warm`."""

import atexit
import contextlib
import gc
import importlib
import json
import os
import random
import runpy
import select
import signal
import socket
import sys
import threading
from pathlib import Path
from typing import Any

IMPORTED = (
    *("tf2onnx", "matplotlib.backends.backend_agg", "matplotlib.pyplot", "pandas", "pydantic"),
    *("scipy.optimize", "scipy.stats", "sklearn.linear_model", "sklearn.metrics"),
    *("dvc.cli.parser", "dvc.repo.reproduce"),
)
QUIET = Path(__file__).resolve().parents[2] / "src/thaw/networks/quiet.py"


def imports() -> None:
    """What stages and `dvc` import of other people's, nothing of this repository's.

    Not ONNX Runtime, which starts a thread as it is imported and waits for it at the end: a fork
    has none of its parent's threads.
    """
    runpy.run_path(str(QUIET))
    for name in IMPORTED:
        importlib.import_module(name)


def serve(address: str) -> None:
    """Fork for each client, until standard input, whose other end the tests hold, is closed."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen()
    clients: dict[int, tuple[socket.socket, int]] = {}  # and their processes
    processes: dict[int, int] = {}  # the clients of processes, each by its own descriptor
    while True:
        ready, _, _ = select.select([0, listener, *clients, *processes], [], [])
        for each in ready:
            if each == 0:
                return
            if each is listener:
                client, _ = listener.accept()
                asked, streams = received(client)
                pid = os.fork()
                if pid == 0:
                    for other, _ in clients.values():
                        other.close()
                    for descriptor in processes:
                        os.close(descriptor)
                    listener.close()
                    client.close()
                    end(asked, streams)
                for stream in streams:
                    os.close(stream)
                clients[client.fileno()] = client, pid
                processes[os.pidfd_open(pid)] = client.fileno()
            elif each in processes:
                client, pid = clients.pop(processes.pop(each))
                os.close(each)
                status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                with contextlib.suppress(OSError):
                    client.sendall(f"{status}\n".encode())
                client.close()
            elif each in clients:
                said = os.read(each, 1)
                os.kill(clients[each][1], said[0] if said else signal.SIGKILL)


def end(asked: dict[str, Any], streams: list[int]) -> None:
    """Be the process that was asked for, and end without taking all that was imported down.

    That would take Python a third of a second. Signals and what nobody caught end it as ever.
    """
    try:
        become(asked, streams)
        code = 0
    except SystemExit as ended:
        if isinstance(ended.code, str):  # Python writes it, and ends with 1
            print(ended.code, file=sys.stderr)
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    threading._shutdown()  # type: ignore[attr-defined] # waits for its threads, as Python does
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)


def received(client: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """What a client asks for, and the standard streams that it gives."""
    message, streams, _, _ = socket.recv_fds(client, 1 << 20, 3)
    while not message.endswith(b"\n"):
        message += client.recv(1 << 20)
    return json.loads(message), streams


def become(asked: dict[str, Any], streams: list[int]) -> None:
    """Be the process that was asked for."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    sys.stdin = sys.__stdin__ = os.fdopen(0, closefd=False)
    sys.stdout = sys.__stdout__ = os.fdopen(1, "w", 1 if os.isatty(1) else -1, closefd=False)
    sys.stderr = sys.__stderr__ = os.fdopen(2, "w", 1, errors="backslashreplace", closefd=False)
    os.environ.clear()
    os.environ.update(asked["environment"])
    os.chdir(asked["folder"])
    random.seed()
    sys.orig_argv = [sys.executable, *asked["words"]]
    option, *words = asked["words"]
    if option == "-m":
        module, *words = words
        sys.argv = [module, *words]
        sys.path[0] = asked["folder"]
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    else:
        sys.argv = [option, *words]
        del sys.path[0]
        runpy.run_path(option, run_name="__main__")


if __name__ == "__main__":
    imports()
    gc.collect()
    gc.freeze()
    serve(sys.argv[1])
