import hashlib
import socket
import threading
import zipfile
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pooch
import pytest

from thaw.errors import ThawError
from thaw.fetching import Source, fetch, local_path

CONTENT = b"pictures" * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
OTHER = "0" * 64


class Handler(BaseHTTPRequestHandler):
    hits: ClassVar[Counter[str]] = Counter()

    def do_GET(self) -> None:
        self.hits[self.path] += 1
        if self.path == "/missing.zip":
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT[:100] if self.path == "/cut.zip" else CONTENT)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    Handler.hits.clear()
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


@pytest.mark.parametrize(
    ("path", "sha256", "size", "told"),
    [
        ("good.zip", OTHER, None, ("isn't the file it should be", OTHER, "try again")),
        ("good.zip", None, 9, ("has 8,000 bytes instead of 9", "try again")),
        ("missing.zip", SHA256, None, ("answers 404", "check the address")),
        ("missing.zip", None, None, ("answers 404", "check the address")),
        ("cut.zip", SHA256, None, ("can't be reached", "check the network", "-S source=file:")),
        ("cut.zip", None, None, ("can't be reached", "check the network", "-S source=file:")),
    ],
)
def test_bad_download_says_what_to_do(
    server: str, tmp_path: Path, path: str, sha256: str | None, size: int | None, told: tuple
):
    text = message(Source(f"{server}/{path}", sha256, size), tmp_path)
    assert all(part in text for part in told)


def test_cut_download_leaves_nothing_in_the_cache(server: str, tmp_path: Path, cache: Path):
    message(Source(f"{server}/cut.zip", SHA256), tmp_path)
    assert [path for path in cache.rglob("*") if path.is_file()] == []


def test_refused_connection_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with socket.socket() as bound:  # bound but not listening: connections are refused
        bound.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{bound.getsockname()[1]}/a.zip"
        text = message(Source(address, SHA256), tmp_path)
    assert "can't be reached (ConnectionError); check the network" in text


@pytest.mark.parametrize(
    ("sha256", "size", "told"),
    [(OTHER, None, f"instead of {OTHER}"), (None, 9, "8,000 bytes instead of 9")],
)
def test_local_file_is_verified_too(tmp_path: Path, sha256: str | None, size: int, told: str):
    path = tmp_path / "a.zip"
    path.write_bytes(CONTENT)
    assert told in message(Source(str(path), sha256, size), tmp_path)


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
    text = message(Source("pypi:thawpics==2.0"), tmp_path)
    assert "thawpics==2.0" in text
    assert "pip config list" in text
