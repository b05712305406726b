"""Fetch a file and verify it: by https:, http:, file:, a path, or as a PyPI package."""

import fcntl
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Self
from urllib.parse import urlsplit
from urllib.request import url2pathname

import pooch
import requests
from requests.exceptions import ChunkedEncodingError
from tqdm import tqdm

from thaw.core.errors import ThawError
from thaw.core.progress import SECONDS, Lines
from thaw.files import kinds
from thaw.files.checksums import sha256, short

TRIES = 3  # of a download that is cut off and comes no further
PAUSE = 1  # seconds before the second, and twice that before the third
PARTIAL, RANGE_NOT_THERE = 206, 416  # statuses of HTTP
TIMEOUT = (10, 60)  # seconds to connect, and between two pieces


@dataclass(frozen=True)
class Source:
    """Where a file comes from, and what it must be."""

    address: str
    sha256: str | None = None
    size: int | None = None
    noted_in: str = ""  # where the sha256 is from, if not from who gave the address


PACKAGE = re.compile(r"[A-Za-z0-9][\w.-]*==[\w.!+-]+")


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
    """A package's wheel. Its source would run code when pip asks what it is."""
    if not PACKAGE.fullmatch(requirement):
        raise ThawError(f"pypi:{requirement} names no package; give pypi:name==version")
    print(f"pip download {requirement}", flush=True)
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
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
    # pip from 25.1 on goes on where it was cut off; earlier ones overlook this.
    settings = {"PIP_RESUME_RETRIES": str(TRIES)} | os.environ
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=settings) as process:
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
    name = _name(source.address)
    cached = Path(pooch.os_cache("thaw")) / name
    with suppress(OSError):
        if source.sha256 is not None and sha256(cached) == source.sha256:
            return cached
    print(f"downloading {source.address}", flush=True)
    with _Part(folder / name, cached, trusted=source.sha256 is not None) as part:
        resumed = part.size > 0
        _download_anywhere(source.address, part)
        try:
            _verify(part.path, source)
        except ThawError:
            part.clear()
            if not resumed:
                raise
            print("what was kept of an earlier download doesn't fit; beginning again", flush=True)
            _download_anywhere(source.address, part)
            _verify(part.path, source)
        return part.taken()


def _name(address: str) -> str:
    return f"{short(address)}-{Path(urlsplit(address).path).name[-50:] or 'download'}"


class _Part:
    """A download on its way, which a later run goes on with, however this one ends.

    It lies in the user's cache, or in a folder of this run where that can't be written, or where
    another run is at the same download.
    """

    def __init__(self, aside: Path, cached: Path, *, trusted: bool) -> None:
        """Where it lies beside the cache, where it belongs in it, and whether a sha256 is known."""
        self.path = aside
        self.version = ""  # as the server calls it: its ETag, or when it was written
        self._aside = aside
        self._cached = cached
        self._trusted = trusted
        self._note = cached.with_name(f"{cached.name}.part.version")
        self._lock: BinaryIO | None = None
        self._taken = False

    def __enter__(self) -> Self:
        kept = self._cached.with_name(f"{self._cached.name}.part")
        with suppress(OSError):
            kept.parent.mkdir(parents=True, exist_ok=True)
            lock = kept.open("ab")
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if not os.path.samestat(os.fstat(lock.fileno()), kept.stat()):
                    raise OSError  # another run has taken it meanwhile
            except OSError:
                lock.close()
                raise
            self._lock, self.path = lock, kept
            self.version = self._note.read_text(encoding="utf-8") if self._note.exists() else ""
        return self

    def __exit__(self, *_: object) -> None:
        of_use = self.size and (self.version or self._trusted)
        if not of_use and not self._taken:  # no later run can go on with it
            self.path.unlink(missing_ok=True)
            self._note_gone()
        self._release()

    def _release(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _note_gone(self) -> None:
        if self._lock is not None:
            self._note.unlink(missing_ok=True)

    @property
    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def know(self, version: str) -> None:
        """Note the server's version of it, for this run and a later one."""
        self.version = version
        if self._lock is not None:
            self._note.write_text(version, encoding="utf-8")

    def leave_cache(self) -> bool:
        """Begin again beside the cache; tell whether it wasn't there already."""
        if self._lock is None:
            return False
        self.clear()
        self.path.unlink(missing_ok=True)
        self._release()
        self.path = self._aside
        return True

    def taken(self) -> Path:
        """Where the whole file lies: in the cache, if its sha256 is known."""
        self._taken = True
        # A cached copy of unknown sha256 would be trusted blindly.
        to = self._cached if self._trusted and self._lock is not None else self._aside
        if self.path != to:
            shutil.move(self.path, to)
            self._note_gone()
            self._release()
            self.path = to
        return to

    def clear(self) -> None:
        self.version = ""
        self._note_gone()
        if self._lock is not None:
            self._lock.truncate(0)  # another run could lock a new file of that name
        else:
            self.path.unlink(missing_ok=True)

    def wanted(self) -> dict[str, str]:
        """The headers that ask for the rest of it, if it is still the same."""
        if not self.size or not (self.version or self._trusted):
            return {"Accept-Encoding": "identity"}
        rest = {"Accept-Encoding": "identity", "Range": f"bytes={self.size}-"}
        return rest | ({"If-Range": self.version} if self.version else {})


def _download_anywhere(address: str, part: _Part) -> None:
    """Once more beside the cache, where the cache's disk is full."""
    try:
        _download(address, part)
    except OSError:
        if not part.leave_cache():
            raise
        _download(address, part)


def _download(address: str, part: _Part) -> None:
    elsewhere = "give another place with `-S source=file:///path/to/the/file`"
    failures = furthest = 0
    while True:
        try:
            _receive(address, part)
            return
        except requests.HTTPError as error:
            status = error.response.status_code
            remedy = "try again later" if status == 429 or status >= 500 else "check the address"
            raise ThawError(f"{address} answers {status}; {remedy}") from None
        except (requests.RequestException, ValueError) as error:
            if not isinstance(error, ChunkedEncodingError) and part.size == 0:
                raise ThawError(
                    f"{address} can't be reached ({type(error).__name__}); "
                    f"check the network and proxy, or {elsewhere}"
                ) from None
            failures = 1 if part.size > furthest else failures + 1
            furthest = max(furthest, part.size)
            if failures == TRIES:
                raise ThawError(
                    f"{address} was cut off half-way, {TRIES} times; try again, or {elsewhere}"
                ) from None
            print(f"cut off after {part.size:,} bytes; trying again", flush=True)
            time.sleep(PAUSE * failures)


def _receive(address: str, part: _Part) -> None:
    """Append what is missing; begin again where the server can't go on from there."""
    with requests.get(address, headers=part.wanted(), stream=True, timeout=TIMEOUT) as answer:
        at = part.size if answer.status_code == PARTIAL else 0
        elsewhere = not answer.headers.get("Content-Range", "").startswith(f"bytes {at}-")
        if answer.status_code == RANGE_NOT_THERE or (at and elsewhere):
            part.clear()
            _receive(address, part)  # which asks for all of it now
            return
        answer.raise_for_status()
        if not at:
            if part.size:
                print("the server begins again", flush=True)
            etag = answer.headers.get("ETag", "")
            strong = "" if etag.startswith("W/") else etag
            part.know(strong or answer.headers.get("Last-Modified", ""))
        total = at + int(answer.headers.get("Content-Length", 0))
        with part.path.open("r+b" if at else "wb") as file, _bar(total) as bar:
            file.seek(at)
            if at:
                bar.update(at)
            for piece in answer.iter_content(2**16):
                file.write(piece)
                bar.update(len(piece))


@contextmanager
def _bar(total: int) -> Iterator[Any]:
    """A bar on a terminal, lines in a log."""
    bar: Any = Lines("downloading", total, unit="bytes")
    if sys.stderr.isatty():
        bar = tqdm(total=total or None, unit="B", unit_scale=True)
    try:
        yield bar
    finally:
        bar.close()


def _verify(path: Path, source: Source) -> None:
    if kinds.of(path) == "web page":
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
    found = sha256(path)
    if found != source.sha256 and source.noted_in:
        raise ThawError(
            f"{source.address} isn't the file that was downloaded before: its sha256 is {found}, "
            f"and {source.noted_in} notes {source.sha256}; try again, or remove that line if the "
            "change is meant"
        )
    if found != source.sha256:
        raise ThawError(
            f"{source.address} isn't the file it should be (sha256 {found} instead of "
            f"{source.sha256}); try again, and if it stays so, the file there has changed"
        )
