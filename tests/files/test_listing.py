"""`thaw.files.listing`: what a path holds, and whether that changed."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from thaw.core.errors import ThawError
from thaw.files import listing


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("cats/a.jpg", "cats/b.jpg", "dogs/a.jpg"):
        path = tmp_path / "pictures" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return tmp_path / "pictures"


def same_size(path: Path) -> None:
    """Other bytes, as many, of the same date."""
    status = path.stat()
    path.write_text("CATS/A.JPG")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def replaced(path: Path) -> None:
    """As `cp -p` or `rsync` does it: another file of the same size and date in its place."""
    status = path.stat()
    other = path.with_name("other")
    other.write_text("CATS/A.JPG")
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    other.replace(path)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda path: path.write_text("longer than before"), "1 changed (cats/a.jpg)"),
        (same_size, "1 changed (cats/a.jpg)"),
        (replaced, "1 changed (cats/a.jpg)"),
        (lambda path: path.unlink(), "1 gone (cats/a.jpg)"),
        (lambda path: path.with_name("c.jpg").touch(), "1 new (cats/c.jpg)"),
        (
            lambda path: path.rename(path.parents[1] / "dogs/c.jpg"),
            "1 new (dogs/c.jpg), 1 gone (cats/a.jpg)",
        ),
    ],
)
def test_a_change_is_seen_and_told(
    folder: Path, change: Callable[[Path], object], told: str
) -> None:
    before = listing.look(folder, {})
    change(folder / "cats/a.jpg")
    now = listing.look(folder, before)
    assert listing.difference(before, now) == told
    assert listing.digest(now) != listing.digest(before)
    assert now == listing.look(folder, {})


@pytest.mark.parametrize("change", [os.utime, lambda path: path.chmod(0o600)])
def test_times_and_rights_are_no_change(folder: Path, change: Callable[[Path], object]) -> None:
    before = listing.look(folder, {})
    change(folder / "cats/a.jpg")
    now = listing.look(folder, before)
    assert listing.difference(before, now) == ""
    assert listing.digest(now) == listing.digest(before)


def test_what_did_not_change_is_not_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = listing.look(folder, {})
    (folder / "cats/a.jpg").write_text("another")
    read = []
    opened = Path.open
    monkeypatch.setattr(Path, "open", lambda path, mode: read.append(path) or opened(path, mode))
    listing.look(folder, before)
    assert read == [folder / "cats/a.jpg"]


def test_the_place_does_not_count(folder: Path, tmp_path: Path) -> None:
    first = listing.digest(listing.look(folder, {}))
    folder.rename(tmp_path / "elsewhere")
    assert listing.digest(listing.look(tmp_path / "elsewhere", {})) == first
    assert first["files"] == 3


def test_a_lone_file(tmp_path: Path) -> None:
    path = tmp_path / "my.weights.h5"
    path.write_text("a")
    before = listing.look(path, {})
    path.write_text("b")
    now = listing.look(path, before)
    assert listing.difference(before, now) == "1 changed"
    assert listing.digest(now)["files"] == 1


def test_what_cannot_be_read_is_left_to_who_needs_it(folder: Path) -> None:
    (folder / "cats/nowhere.jpg").symlink_to("gone")
    assert len(listing.look(folder, {})) == 3


@pytest.mark.parametrize("name", ["caf\udce9.png", "caf\udce9/a.png"])
def test_a_name_that_is_not_utf8_is_named(folder: Path, name: str):
    """Python calls the byte E9 so, Latin-1's é."""
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).touch()
    with pytest.raises(ThawError, match=r"the name 'caf\\udce9.*' is not UTF-8; rename"):
        listing.look(folder, {})
