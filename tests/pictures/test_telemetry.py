"""ONNX Runtime sends nothing to its maker."""

import os
import subprocess
import sys
from pathlib import Path

from places import SRC


def test_onnx_runtime_keeps_nothing_to_be_sent(tmp_path: Path) -> None:
    """Else it begins a database of events below the cache's folder, and a thread to send them."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("ORT_", "XDG_"))}
    subprocess.run(
        [sys.executable, "-c", "import thaw.pictures.sessions"],
        env=env | {"HOME": str(tmp_path), "PYTHONPATH": str(SRC)},
        check=True,
        timeout=60,
    )
    assert list(tmp_path.rglob("*")) == []
