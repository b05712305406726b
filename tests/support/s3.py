"""An S3 store that rclone serves on this machine."""

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

KEY, SECRET = "team", "a secret"


@dataclass(frozen=True)
class Server:
    folder: Path  # a bucket is a folder in it
    endpoint: str


@contextmanager
def serving(folder: Path) -> Iterator[Server]:
    """Serve a folder with a bucket, `team`."""
    (folder / "buckets/team").mkdir(parents=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    rclone = shutil.which("rclone", path=str(Path(sys.executable).parent))
    assert rclone
    address = f"127.0.0.1:{port}"
    words = [rclone, "serve", "s3", str(folder / "buckets"), "--addr", address]
    log = folder / "log"
    words += ["--auth-key", f"{KEY},{SECRET}", "--config", "", "--log-file", str(log)]
    server = subprocess.Popen(words)
    try:
        deadline = time.monotonic() + 60
        while not answers(port):
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        yield Server(folder / "buckets", f"http://{address}")
    finally:
        server.terminate()
        server.wait(timeout=30)


def answers(port: int) -> bool:
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0
