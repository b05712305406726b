from pathlib import Path

import pytest

from helpers import picture
from thaw.datasets import Labelled
from thaw.errors import ThawError
from thaw.images import content_hash
from thaw.screening import screen


@pytest.fixture
def pictures(tmp_path: Path) -> list[Labelled]:
    for index in range(5):
        picture(tmp_path / f"{index}.png", index)
    (tmp_path / "1.png").write_bytes(b"")
    (tmp_path / "3.png").write_text("text")
    return [Labelled(f"{index}.png", "a") for index in range(5)]


def test_good_pictures_are_hashed_each_under_its_own_path(tmp_path: Path, pictures: list[Labelled]):
    good = [pictures[index] for index in (4, 0, 2)]
    content, bad = screen(good, tmp_path, "fail")
    assert content == {each.path: content_hash(tmp_path / each.path) for each in good}
    assert bad == {}


def test_bad_pictures_stop_the_stage_and_are_all_named(tmp_path: Path, pictures: list[Labelled]):
    with pytest.raises(ThawError) as caught:
        screen(pictures, tmp_path, "fail")
    text = str(caught.value)
    assert text.startswith("2 of 5 pictures")
    assert "1.png (an empty file), 3.png (not a picture that can be read)" in text
    assert "on_bad_image: skip" in text


def test_bad_pictures_are_skipped_aloud(
    tmp_path: Path, pictures: list[Labelled], capsys: pytest.CaptureFixture[str]
):
    content, bad = screen(pictures, tmp_path, "skip")
    assert list(content) == ["0.png", "2.png", "4.png"]
    assert bad == {"1.png": "an empty file", "3.png": "not a picture that can be read"}
    assert "1.png (an empty file)" in capsys.readouterr().out
