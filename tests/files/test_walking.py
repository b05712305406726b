from pathlib import Path

import pytest

from thaw.core.errors import ThawError
from thaw.files.walking import hidden, walk


@pytest.mark.parametrize(
    ("name", "out"),
    [
        (".git", True),
        (".ipynb_checkpoints", True),
        ("__MACOSX", True),
        ("@eaDir", True),  # a Synology's, with a JPEG in small of each picture
        ("$RECYCLE.BIN", True),
        ("lost+found", True),
        ("a.png", False),
        ("-a", False),
        ("lost", False),
    ],
)
def test_hidden(name: str, out: bool):
    assert hidden(name) is out


def test_walk_is_sorted_skips_the_hidden_and_ends(tmp_path: Path):
    names = ["b/2.png", "b/1.png", "a.png", ".x.png", ".git/c.png", "__MACOSX/d.png"]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "b" / "loop").symlink_to(tmp_path)
    found = [path.relative_to(tmp_path).as_posix() for path in walk(tmp_path)]
    assert found == ["a.png", "b/1.png", "b/2.png"]


def test_linked_folder_is_gone_into_once_and_loops_end(tmp_path: Path):
    photos, elsewhere = tmp_path / "photos", tmp_path / "elsewhere"
    for path in (photos / "a.png", elsewhere / "b.png", elsewhere / "deep" / "c.png"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    for link, target in {
        photos / "more": elsewhere,
        photos / "same": elsewhere,
        photos / "up": tmp_path,
        photos / "self": photos / "self",
        elsewhere / "back": photos,
        elsewhere / "deep" / "loop": elsewhere,
    }.items():
        link.symlink_to(target)
    found = [path.relative_to(photos).as_posix() for path in walk(photos)]
    assert found == ["a.png", "self", "more/b.png", "more/deep/c.png"]


def test_folder_that_cannot_be_read_is_named(tmp_path: Path):
    with pytest.raises(ThawError, match=r"none can't be read \(No such file .*\); change"):
        list(walk(tmp_path / "none"))
