import errno
import hashlib
import io
import os
import pty
import signal
import socket
import struct
import subprocess
import sys
import tarfile
import termios
import threading
import time
import zipfile
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pooch
import pytest

from places import SRC
from thaw.core import progress
from thaw.core.errors import ThawError
from thaw.files import fetching
from thaw.files.fetching import Source, fetch, local_path

CONTENT = b"pictures" * 25_000
HALF = CONTENT[:100_000]
PIECE = 70_000  # of which whole blocks of 65,536 are kept
SHA256 = hashlib.sha256(CONTENT).hexdigest()
OTHER = "0" * 64
SHORT = 0.2  # seconds


PAGE = b"\n<!DOCTYPE html><title>Please log in</title>" + b" " * 9000
REDIRECTS = {
    "/moved.zip": "/good.zip",
    "/login.zip": "/login.html",
    "/loop.zip": "/loop.zip",
    "/away.zip": "file:///etc/passwd",
}


class Handler(BaseHTTPRequestHandler):
    """A server that misbehaves as the path says."""

    hits: ClassVar[Counter[str]] = Counter()
    asked: ClassVar[list[tuple[str | None, str | None]]] = []  # Range and If-Range

    def do_GET(self) -> None:
        self.hits[self.path] += 1
        match self.path:
            case "/missing.zip":
                self.send_error(404)
            case "/secret.zip":
                self.send_error(403)
            case "/busy.zip":
                self.send_error(503)
            case path if path in REDIRECTS:
                self.send_response(302)
                self.send_header("Location", REDIRECTS[path])
                self.end_headers()
            case "/simple/thawpics/":
                self.answer(b'<a href="/cut/thawpics-1.0-py3-none-any.whl">thawpics</a>')
            case "/login.html":
                self.answer(PAGE)
            case "/cut.zip" | "/cut/thawpics-1.0-py3-none-any.whl":
                self.answer(CONTENT, HALF)
            case "/flaky.zip":
                self.answer(CONTENT, CONTENT if self.hits[self.path] == 3 else HALF)
            case "/reset.zip":
                self.answer(CONTENT, HALF)
                self.wfile.flush()
                linger = struct.pack("ii", 1, 0)  # close by a reset
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                self.connection.close()
            case "/chunked.zip":
                self.send_response(200)
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                self.wfile.write(b"ffff\r\n" + HALF[:0xFFFF] + b"\r\nffff\r\nhalf of it")
            case "/unsized.zip":
                self.send_response(200)
                self.end_headers()
                self.wfile.write(HALF)
            case "/stalled.zip" | "/silent.zip":
                if self.path == "/stalled.zip":
                    self.answer(CONTENT, HALF)
                    self.wfile.flush()
                time.sleep(3 * SHORT)
            case "/wrong-length.zip":
                self.send_response(200)
                self.send_header("Content-Length", "many")
                self.end_headers()
            case "/ranges.zip" | "/etag.zip" | "/changed.zip" | "/lying.zip":
                self.go_on()
            case "/empty.zip":
                self.answer(b"")
            case _:
                self.answer(CONTENT)

    def answer(self, content: bytes, sent: bytes | None = None) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html" if content.lstrip()[:1] == b"<" else "x/x")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content if sent is None else sent)

    def go_on(self) -> None:
        """A server that cuts each answer off after `PIECE` bytes, and goes on from there."""
        content, etag = CONTENT, '"1"'
        if self.path == "/changed.zip" and self.hits[self.path] > 1:
            content, etag = CONTENT[::-1], '"2"'
        asked = self.headers.get("Range")
        self.asked.append((asked, self.headers.get("If-Range")))
        known = self.headers.get("If-Range") in (None, etag)
        at = int(asked.removeprefix("bytes=").rstrip("-")) if asked and known else 0
        if at >= len(content):
            self.send_error(416)
            return
        self.send_response(206 if at else 200)
        if at:
            start = at + 1 if self.path == "/lying.zip" else at
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if self.path != "/ranges.zip":
            self.send_header("ETag", etag)
        self.send_header("Content-Length", str(len(content) - at))
        self.end_headers()
        whole = self.path in ("/changed.zip", "/lying.zip") and self.hits[self.path] > 1
        self.wfile.write(content[at:] if whole else content[at : at + PIECE])

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(fetching, "TIMEOUT", SHORT)
    monkeypatch.setattr(fetching, "PAUSE", 0)
    Handler.hits.clear()
    Handler.asked.clear()
    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{running.server_port}"
    running.shutdown()
    thread.join()
    running.server_close()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(pooch, "os_cache", lambda project: tmp_path / "cache" / project)
    return tmp_path / "cache" / "thaw"


def message(source: Source, folder: Path) -> str:
    with pytest.raises(ThawError) as caught:
        fetch(source, folder)
    text = str(caught.value)
    assert source.address in text
    assert "\n" not in text
    return text


@pytest.mark.parametrize("form", ["path", "file:", "file://"])
def test_local_file_is_used_where_it_lies(tmp_path: Path, form: str):
    path = tmp_path / "a picture.zip"
    path.write_bytes(CONTENT)
    address = {"path": str(path), "file:": f"file:{path}", "file://": path.as_uri()}[form]
    assert fetch(Source(address, SHA256, len(CONTENT)), tmp_path) == path


def test_home_folder_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "pictures").mkdir()
    assert fetch(Source("~/pictures"), tmp_path) == tmp_path / "pictures"


@pytest.mark.parametrize("address", ["http://a/b", "https://a/b", "pypi:a==1"])
def test_remote_address_is_no_path(address: str):
    assert local_path(address) is None


@pytest.mark.parametrize("address", ["ftp://a/b.zip", "s3://a/b", "gs://a/b"])
def test_other_kinds_of_address_are_refused(tmp_path: Path, address: str):
    assert "give an https:, file: or pypi: address, or a path" in message(Source(address), tmp_path)


def test_pipe_is_refused(tmp_path: Path):
    os.mkfifo(tmp_path / "own.zip")
    assert "is neither a file nor a folder" in message(Source(str(tmp_path / "own.zip")), tmp_path)


@pytest.mark.parametrize("address", ["http://[::1/a.zip", "~nobody-here/a.zip", "a" * 5000])
def test_impossible_address_is_a_sentence(tmp_path: Path, address: str):
    message(Source(address), tmp_path)


def test_missing_local_file_is_named(tmp_path: Path):
    address = str(tmp_path / "none.zip")
    assert "no such file; give the path" in message(Source(address), tmp_path)


def test_download_is_verified_and_comes_from_the_cache_the_second_time(
    server: str, tmp_path: Path, cache: Path
):
    source = Source(f"{server}/good.zip", SHA256, len(CONTENT))
    for _ in range(2):
        path = fetch(source, tmp_path)
        assert path.read_bytes() == CONTENT
        assert path.parent == cache
    assert Handler.hits["/good.zip"] == 1


def test_damaged_cache_is_fetched_again(server: str, tmp_path: Path):
    source = Source(f"{server}/good.zip", SHA256)
    fetch(source, tmp_path).write_bytes(b"damaged")
    assert fetch(source, tmp_path).read_bytes() == CONTENT


def test_download_without_a_hash_is_never_taken_from_the_cache(server: str, tmp_path: Path):
    source = Source(f"{server}/good.zip")
    fetch(source, tmp_path).write_bytes(b"old")
    assert fetch(source, tmp_path).read_bytes() == CONTENT


def test_downloads_without_a_hash_at_once_leave_each_other_alone(server: str, tmp_path: Path):
    source = Source(f"{server}/good.zip")
    folders = [tmp_path / "first", tmp_path / "second"]
    for folder in folders:
        folder.mkdir()
    first, second = (fetch(source, folder) for folder in folders)
    assert [first.parent, second.parent] == folders
    assert first.read_bytes() == second.read_bytes() == CONTENT


def test_same_file_name_at_two_addresses_is_kept_apart(server: str, tmp_path: Path):
    first, second = (fetch(Source(f"{server}/{at}/a.zip", SHA256), tmp_path) for at in "xy")
    assert first != second


CUT = ("was cut off half-way, 3 times; try again", "-S source=file:")
UNREACHED = ("can't be reached", "check the network and proxy", "-S source=file:")
OWN_PAGE = ("is a web page", "open it in a browser", "-S source=")


@pytest.mark.parametrize(
    ("path", "sha256", "size", "told"),
    [
        ("good.zip", OTHER, None, ("isn't the file it should be", OTHER, SHA256, "try again")),
        ("good.zip", None, 9, ("has 200,000 bytes instead of 9", "try again")),
        ("missing.zip", SHA256, None, ("answers 404", "check the address")),
        ("missing.zip", None, None, ("answers 404", "check the address")),
        ("secret.zip", None, None, ("answers 403", "check the address")),
        ("busy.zip", None, None, ("answers 503", "try again later")),
        ("login.zip", SHA256, len(CONTENT), OWN_PAGE),
        ("login.zip", None, None, OWN_PAGE),
        ("loop.zip", None, None, ("can't be reached (TooManyRedirects)",)),
        ("away.zip", None, None, ("can't be reached (InvalidSchema)",)),
        ("cut.zip", SHA256, None, CUT),
        ("cut.zip", None, None, CUT),
        ("reset.zip", None, None, CUT),
        ("chunked.zip", None, None, CUT),
        ("stalled.zip", None, None, CUT),
        ("silent.zip", None, None, UNREACHED),
        ("wrong-length.zip", None, None, UNREACHED),
        ("unsized.zip", SHA256, None, ("isn't the file it should be",)),
        ("unsized.zip", None, len(CONTENT), ("has 100,000 bytes instead of 200,000", "cut short")),
        ("empty.zip", SHA256, None, ("isn't the file it should be",)),
        ("empty.zip", None, len(CONTENT), ("has 0 bytes instead of 200,000",)),
    ],
)
def test_bad_download_says_what_to_do_and_is_not_kept(
    server: str,
    tmp_path: Path,
    cache: Path,
    path: str,
    sha256: str | None,
    size: int | None,
    told: tuple[str, ...],
):
    text = message(Source(f"{server}/{path}", sha256, size), tmp_path)
    assert all(part in text for part in told)
    assert {path.name.split(".zip")[1] for path in cache.glob("*")} <= {".part", ".part.version"}


@pytest.mark.parametrize("sha256", [SHA256, None])
def test_cut_download_is_begun_again(
    server: str, tmp_path: Path, sha256: str | None, capsys: pytest.CaptureFixture[str]
):
    path = fetch(Source(f"{server}/flaky.zip", sha256), tmp_path)
    assert path.read_bytes() == CONTENT
    assert Handler.hits["/flaky.zip"] == 3
    told = capsys.readouterr().out
    assert told.count("cut off after 65,536 bytes; trying again\n") == 2
    assert told.count("the server begins again\n") == 2


@pytest.mark.parametrize(("path", "sha256"), [("ranges.zip", SHA256), ("etag.zip", None)])
def test_cut_download_goes_on_where_it_was_cut(
    server: str, tmp_path: Path, path: str, sha256: str | None
):
    assert fetch(Source(f"{server}/{path}", sha256), tmp_path).read_bytes() == CONTENT
    version = None if sha256 else '"1"'
    assert Handler.asked == [
        (None, None),
        ("bytes=65536-", version),
        ("bytes=131072-", version),
    ]


def test_file_that_changed_meanwhile_is_begun_again(server: str, tmp_path: Path):
    path = fetch(Source(f"{server}/changed.zip"), tmp_path)
    assert path.read_bytes() == CONTENT[::-1]
    assert Handler.asked == [(None, None), ("bytes=65536-", '"1"')]


def test_answer_that_goes_on_elsewhere_is_not_appended(server: str, tmp_path: Path):
    assert fetch(Source(f"{server}/lying.zip", SHA256), tmp_path).read_bytes() == CONTENT
    assert [asked for asked, _ in Handler.asked] == [None, "bytes=65536-", None]


def test_without_a_version_or_sha256_nothing_is_pieced_together(server: str, tmp_path: Path):
    message(Source(f"{server}/ranges.zip"), tmp_path)
    assert Handler.asked == [(None, None)] * 3


@pytest.mark.parametrize("error", [KeyboardInterrupt, None])
def test_next_run_goes_on_where_the_last_was_cut(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type | None
):
    source = Source(f"{server}/etag.zip")
    with monkeypatch.context() as patched:
        if error:
            patched.setattr(time, "sleep", lambda _: (_ for _ in ()).throw(error))
        else:
            patched.setattr(fetching, "TRIES", 1)
        with pytest.raises(error or ThawError):
            fetch(source, tmp_path)
    assert fetch(source, tmp_path).read_bytes() == CONTENT
    assert Handler.asked[1] == ("bytes=65536-", '"1"')


def test_run_after_a_killed_one_goes_on_too(server: str, tmp_path: Path):
    script = f"""
import os, time
from pathlib import Path
from thaw.files.fetching import Source, fetch
time.sleep = lambda _: os.kill(os.getpid(), 9)
fetch(Source("{server}/etag.zip"), Path({str(tmp_path)!r}))
"""
    killed = subprocess.run(
        [sys.executable, "-c", script], env=os.environ | {"PYTHONPATH": str(SRC)}
    )
    assert killed.returncode == -signal.SIGKILL
    assert fetch(Source(f"{server}/etag.zip"), tmp_path).read_bytes() == CONTENT
    assert Handler.asked[1] == ("bytes=65536-", '"1"')


def test_two_runs_at_once_do_not_write_into_one_file(server: str, tmp_path: Path, cache: Path):
    address = f"{server}/good.zip"
    other = fetching._Part(tmp_path / "other", cache / fetching._name(address), trusted=True)
    (tmp_path / "folder").mkdir()
    with other:
        other.path.write_bytes(b"half")
        path = fetch(Source(address, SHA256), tmp_path / "folder")
        assert path.read_bytes() == CONTENT
        assert path.parent == tmp_path / "folder"
        assert other.path.read_bytes() == b"half"


def test_full_disk_of_the_cache_is_left_for_the_one_of_the_data(
    server: str, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
):
    receive = fetching._receive

    def full(address: str, part: fetching._Part) -> None:
        receive(address, part)
        if part.path.parent == cache:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(fetching, "_receive", full)
    path = fetch(Source(f"{server}/good.zip", SHA256), tmp_path)
    assert (path.parent, path.read_bytes()) == (tmp_path, CONTENT)
    assert list(cache.iterdir()) == []


def test_part_kept_of_another_file_is_thrown_away(server: str, tmp_path: Path, cache: Path):
    source = Source(f"{server}/ranges.zip", SHA256)
    name = fetch(source, tmp_path).name
    (cache / name).rename(cache / f"{name}.part")
    (cache / f"{name}.part").write_bytes(b"x" * 70_000)
    (cache / f"{name}.part.version").write_text("")
    assert fetch(source, tmp_path).read_bytes() == CONTENT
    assert [path.name for path in cache.iterdir()] == [name]


def test_whole_part_is_not_asked_for_more(server: str, tmp_path: Path):
    source = Source(f"{server}/ranges.zip", SHA256)
    path = fetch(source, tmp_path)
    path.rename(f"{path}.part")
    Path(f"{path}.part.version").write_text("")
    assert fetch(source, tmp_path).read_bytes() == CONTENT


def test_only_what_was_cut_off_is_begun_again(server: str, tmp_path: Path):
    for name in ("missing", "busy", "silent"):
        message(Source(f"{server}/{name}.zip"), tmp_path)
        assert Handler.hits[f"/{name}.zip"] == 1


def test_redirect_is_followed(server: str, tmp_path: Path):
    assert fetch(Source(f"{server}/moved.zip", SHA256), tmp_path).read_bytes() == CONTENT


def test_download_does_without_a_cache(server: str, tmp_path: Path, cache: Path):
    cache.parent.write_text("no folder can be made here")
    path = fetch(Source(f"{server}/good.zip", SHA256), tmp_path)
    assert path.parent == tmp_path
    assert path.read_bytes() == CONTENT


def test_download_that_cannot_be_written_is_a_sentence(server: str, tmp_path: Path):
    text = message(Source(f"{server}/good.zip"), tmp_path / "none")
    assert "(No such file or directory); free disk space, or change the rights of" in text


@pytest.mark.parametrize("watched", [True, False])
def test_progress_is_shown_to_who_watches(server: str, tmp_path: Path, watched: bool):
    script = f"""
from pathlib import Path
from thaw.files.fetching import Source, fetch
fetch(Source("{server}/good.zip"), Path({str(tmp_path)!r}))
"""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    done = subprocess.run(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        stderr=theirs if watched else subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(SRC)},
        check=True,
    )
    assert done.stdout.decode() == f"downloading {server}/good.zip\n"
    if watched:
        shown = os.read(ours, 10_000)
        assert b"  0%" in shown
        assert b"200k/200k" in shown
    else:
        assert done.stderr == b""
    os.close(theirs)
    os.close(ours)


def test_a_long_download_is_told_in_a_log(
    server: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
):
    monkeypatch.setattr(progress, "SECONDS", 0)
    fetch(Source(f"{server}/good.zip"), tmp_path)
    lines = capfd.readouterr().err.splitlines()
    assert lines[0] == "downloading: 65,536 of 200,000 bytes in 0 s"
    assert lines[-1] == "downloading: 200,000 of 200,000 bytes in 0 s"


def test_a_long_download_by_pip_is_told_in_a_log(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(fetching, "SECONDS", 0.2)
    script = "import sys, time; time.sleep(0.5); sys.exit('ERROR: no')"
    assert fetching._run([sys.executable, "-c", script]) == (1, "ERROR: no\n")
    assert capfd.readouterr().out.splitlines()[0] == "still downloading, after 0 s"


def test_refused_connection_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with socket.socket() as bound:  # bound but not listening: connections are refused
        bound.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{bound.getsockname()[1]}/a.zip"
        text = message(Source(address, SHA256), tmp_path)
    assert "can't be reached (ConnectionError); check the network" in text


@pytest.mark.parametrize(
    ("sha256", "size", "told"),
    [(OTHER, None, f"instead of {OTHER}"), (None, 9, "200,000 bytes instead of 9")],
)
def test_local_file_is_verified_too(tmp_path: Path, sha256: str | None, size: int, told: str):
    path = tmp_path / "a.zip"
    path.write_bytes(CONTENT)
    assert told in message(Source(str(path), sha256, size), tmp_path)


@pytest.mark.slow
def test_package_comes_by_pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    index = tmp_path / "index"
    index.mkdir()
    wheel = index / "thawpics-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as opened:
        opened.writestr("thawpics/a.txt", "a")
        info = "thawpics-1.0.dist-info"
        opened.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: thawpics\nVersion: 1.0\n")
        opened.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        opened.writestr(f"{info}/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    path = fetch(Source("pypi:thawpics==1.0"), tmp_path)
    assert path == tmp_path / wheel.name
    assert path.read_bytes() == wheel.read_bytes()
    for requirement in ("thawpics==2.0", "thawpics==1.0.post9"):
        text = message(Source(f"pypi:{requirement}"), tmp_path)
        assert "pip config list" in text
        assert "pip gave no reason" not in text


@pytest.mark.slow
def test_source_of_a_package_never_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """pip runs its build code to learn its name, before any checksum is looked at."""
    index, trace = tmp_path / "index", tmp_path / "trace"
    index.mkdir()
    with tarfile.open(index / "thawpics-1.0.tar.gz", "w:gz") as opened:
        code = f"open({str(trace)!r}, 'w'); from setuptools import setup; setup(name='thawpics')"
        item = tarfile.TarInfo("thawpics-1.0/setup.py")
        item.size = len(code)
        opened.addfile(item, io.BytesIO(code.encode()))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_NO_BUILD_ISOLATION", "0")
    monkeypatch.setenv("PIP_NO_BINARY", ":all:")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    message(Source("pypi:thawpics==1.0"), tmp_path)
    assert not trace.exists()


@pytest.mark.parametrize(
    "requirement",
    ["thawpics", "-rsecrets.txt", "thawpics @ file:///x.tar.gz", "git+https://a/b", "./x", "x>=1"],
)
def test_only_a_package_of_one_version_is_asked_for(tmp_path: Path, requirement: str):
    text = message(Source(f"pypi:{requirement}"), tmp_path)
    assert "names no package; give pypi:name==version" in text


@pytest.mark.parametrize("index", ["http://127.0.0.1:9", "{server}/simple"])  # a cut file
@pytest.mark.slow
def test_package_that_does_not_come_is_a_sentence(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, index: str
):
    for name, value in {
        "INDEX_URL": index.format(server=server),
        "EXTRA_INDEX_URL": "",
        "FIND_LINKS": "",
        "RETRIES": "0",
    }.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    text = message(Source("pypi:thawpics==1.0"), tmp_path)
    assert "can't be fetched by pip (" in text
    assert "check pip's index settings with `pip config list`, and the network" in text
    assert list(tmp_path.iterdir()) == []
