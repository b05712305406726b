import errno
import json
import math
from pathlib import Path

import pytest

from thaw.core.errors import ThawError
from thaw.files.serialize import atomic, write_csv, write_json, write_text


def test_write_makes_folders_and_leaves_no_temporary(tmp_path: Path):
    path = tmp_path / "a" / "b" / "c.txt"
    write_text(path, "é\n")
    assert path.read_bytes() == b"\xc3\xa9\n"
    assert list(path.parent.iterdir()) == [path]


def test_failing_block_keeps_the_old_file_and_leaves_no_temporary(tmp_path: Path):
    path = tmp_path / "a.txt"
    write_text(path, "old")

    def fail() -> None:
        with atomic(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_file_appears_only_when_whole(tmp_path: Path):
    path = tmp_path / "a.txt"
    with atomic(path) as temporary:
        temporary.write_text("half")
        assert not path.exists()
        assert temporary.parent == path.parent  # else the move would not be atomic
    assert path.read_text() == "half"


def test_unwritable_place_is_a_sentence(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ThawError, match=r"file/a.txt can't be written \(.+\); free disk space"):
        write_text(tmp_path / "file" / "a.txt", "text")


def test_full_disk_is_a_sentence(tmp_path: Path):
    def fill() -> None:
        with atomic(tmp_path / "a.txt"):
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(
        ThawError, match=r"a.txt can't be written \(No space left on device\); free"
    ):
        fill()


def test_json_keeps_order_rounds_and_is_readable(tmp_path: Path):
    path = tmp_path / "a.json"
    write_json(path, {"b": 0.1 + 0.2, "a": [1 / 3, (2 / 3,)], "é": {"whole": 1, "no": None}})
    text = path.read_text(encoding="utf-8")
    assert json.loads(text) == {
        "b": 0.3,
        "a": [0.333333333, [0.666666667]],
        "é": {"whole": 1, "no": None},
    }
    assert text.index('"b"') < text.index('"a"') < text.index('"é"')
    assert text.endswith("}\n")


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_json_refuses_what_is_no_json(tmp_path: Path, value: float):
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", {"a": value})
    assert list(tmp_path.iterdir()) == []


def test_csv_has_the_same_bytes_everywhere(tmp_path: Path):
    path = tmp_path / "a.csv"
    cells = ["a,b", 'say "x"', "line\nbreak", "a\rb", "007", "NA", " é ", "", 1 / 3, 1e-7, 12, True]
    write_csv(path, ("name", "n"), [(cell, 2.0) for cell in cells])
    written = ['"a,b"', '"say ""x"""', '"line\nbreak"', '"a\rb"', "007", "NA", " é ", ""]
    written += ["0.333333333", "1e-07", "12", "True"]
    lines = ["name,n", *(f"{cell},2.0" for cell in written), ""]
    assert path.read_bytes() == "\n".join(lines).encode()
