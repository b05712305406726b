"""Serve a page on this machine where a dropped photo gets its class and a heat map.

    make demo

Needs Streamlit, which `make demo` installs; then open the address that it prints. The page is for
this machine alone, and shows the model of the current run: models/model.onnx, models/model.keras.
"""

import argparse
import importlib.util
import os
import socket
import sys
from pathlib import Path

import workspace
from thaw.core.arguments import Parser, whole
from thaw.core.errors import ThawError
from thaw.evaluation.inference import Classifier

ADDRESS = "127.0.0.1"
PORT = 8501
MEGABYTES = 20  # the largest picture taken; the page says so of a larger one
# Streamlit says why it refuses a file by an icon alone, and leaves the last result standing.
LARGEST = 10 * MEGABYTES
SETTINGS = (
    f"server.address={ADDRESS}",
    f"server.allowedHosts={ADDRESS}",
    "server.allowedHosts=localhost",
    f"server.maxUploadSize={LARGEST}",
    "server.headless=true",  # no browser is started, and no e-mail address asked for
    "server.fileWatcherType=none",
    "server.disconnectedSessionTTL=0",  # pictures are forgotten with the page
    "browser.gatherUsageStats=false",
    "client.toolbarMode=minimal",
    "client.showErrorDetails=none",
)


def arguments() -> argparse.Namespace:
    parser = Parser(__doc__)
    parser.add_argument("--port", type=whole(1, 65_535), default=PORT, help="default: %(default)s")
    return parser.read()


def check(port: int) -> None:
    """Refuse to start where something that the page needs is missing.

    Raises:
        ThawError: when there is no model, no Streamlit, or the port can't be had.
    """
    Classifier(workspace.MODELS / "model.onnx")
    if not (workspace.MODELS / "model.keras").is_file():
        raise ThawError("models/model.keras is missing; run `dvc repro` (or `dvc pull`)")
    if importlib.util.find_spec("streamlit") is None:
        raise ThawError("Streamlit is not installed here; run `make demo`, which installs it")
    try:
        with socket.create_server((ADDRESS, port)):
            pass
    except OSError:
        raise ThawError(
            f"--port {port} can't be had on {ADDRESS}; give another from 1024 to 65535"
        ) from None


def main() -> None:
    given = arguments()
    check(given.port)
    here = Path(__file__).resolve()
    page = here.with_name("demo_page.py")
    os.environ["PYTHONPATH"] = str(here.parents[1])
    flags = [f"--{setting}" for setting in (*SETTINGS, f"server.port={given.port}")]
    words = ["-m", "streamlit", "run", *flags, str(page)]
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, *words])
