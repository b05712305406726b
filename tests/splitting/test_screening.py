import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from helpers import folders, mutated, picture
from places import ROOT, SRC
from thaw.core.errors import ThawError
from thaw.datasets.catalogue import Entry
from thaw.datasets.layouts import bring
from thaw.files import catalogues, tables
from thaw.pictures.decoding import content_hash
from thaw.splitting.screening import screen


def listed(path: Path) -> list[dict[str, str]]:
    return tables.read(path).to_dict("records")


OWN = {"title": "own", "layout": "folders", "licence": "own"}


@pytest.fixture
def pictures(tmp_path: Path) -> pd.DataFrame:
    for index in range(5):
        picture(tmp_path / f"{index}.png", index)
    (tmp_path / "1.png").write_bytes(b"")
    (tmp_path / "3.png").write_text("text")
    return pd.DataFrame({"path": [f"{index}.png" for index in range(5)], "label": "a"})


def test_good_pictures_are_hashed_each_under_its_own_path(tmp_path: Path, pictures: pd.DataFrame):
    good = pictures.iloc[[4, 0, 2]]
    content, bad, _ = screen(good, tmp_path, "fail", tmp_path / "bad.csv")
    assert content == {path: content_hash(tmp_path / path) for path in good["path"]}
    assert bad == {}
    assert (tmp_path / "bad.csv").read_text() == "path,reason\n"


def test_bad_pictures_stop_the_stage_and_are_all_named(tmp_path: Path, pictures: pd.DataFrame):
    with pytest.raises(ThawError) as caught:
        screen(pictures, tmp_path, "fail", tmp_path / "bad.csv")
    assert [row["path"] for row in listed(tmp_path / "bad.csv")] == ["1.png", "3.png"]
    text = str(caught.value)
    assert text.startswith("2 of 5 pictures")
    assert "1.png (an empty file), 3.png (not a picture that can be read)" in text
    assert "on_bad_image: skip" in text


def test_bad_pictures_are_skipped_aloud(
    tmp_path: Path, pictures: pd.DataFrame, capsys: pytest.CaptureFixture[str]
):
    content, bad, _ = screen(pictures, tmp_path, "skip", tmp_path / "bad.csv")
    assert list(content) == ["0.png", "2.png", "4.png"]
    assert bad == {"1.png": "an empty file", "3.png": "not a picture that can be read"}
    assert "1.png (an empty file)" in capsys.readouterr().out
    assert listed(tmp_path / "bad.csv") == [
        {"path": "1.png", "reason": "an empty file"},
        {"path": "3.png", "reason": "not a picture that can be read"},
    ]


def test_the_report_has_those_that_the_sentence_leaves_out(tmp_path: Path):
    missing = pd.DataFrame({"path": [f"{index}.png" for index in range(150)], "label": "a"})
    with pytest.raises(ThawError, match=r"and 50 more \(all in .*bad.csv\)"):
        screen(missing, tmp_path, "fail", tmp_path / "bad.csv")
    assert [row["path"] for row in listed(tmp_path / "bad.csv")] == missing["path"].tolist()


def test_file_that_cannot_be_opened_is_never_skipped(tmp_path: Path, pictures: pd.DataFrame):
    (tmp_path / "2.png").unlink()
    with pytest.raises(ThawError) as caught:
        screen(pictures, tmp_path, "skip", tmp_path / "bad.csv")
    told = str(caught.value)
    assert told.startswith(f"1 of 5 pictures in {tmp_path} can't be opened: 2.png (no such file); ")
    assert "none is skipped" in told


@pytest.mark.parametrize("error", [OSError(errno.EIO, "Input/output error"), MemoryError()])
def test_what_is_not_the_pictures_fault_stops_the_stage(
    tmp_path: Path, pictures: pd.DataFrame, monkeypatch: pytest.MonkeyPatch, error: Exception
):
    def failing(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(Image, "open", failing)
    with pytest.raises(type(error)):
        screen(pictures, tmp_path, "skip", tmp_path / "bad.csv")
    assert not (tmp_path / "bad.csv").exists()


def of_16_bits(folder: Path, *largest: int) -> pd.DataFrame:
    for number, value in enumerate(largest):
        values = np.linspace(0, value, 64).reshape(8, 8).astype(np.uint16)
        Image.fromarray(values).save(folder / f"{number}.png")
    return pd.DataFrame({"path": [f"{number}.png" for number in range(len(largest))], "label": "a"})


@pytest.mark.parametrize(
    ("largest", "told"),
    [
        (
            (4012, 3000),
            "2 pictures in {} have 16 bits, and no value above 4,012: set bit_depth to 12",
        ),
        (
            (16_000, 3000),
            "2 pictures in {} have 16 bits, and no value above 16,000: set bit_depth to 14",
        ),
        (
            (65_000, 3000),
            "2 pictures in {} have 16 bits; 1 of them have no value above 3,000, others",
        ),
    ],
)
@pytest.mark.parametrize("on_bad_image", ["fail", "skip"])
def test_depth_that_cannot_be_meant_is_refused_once(
    tmp_path: Path, largest: tuple[int, ...], told: str, on_bad_image: str
):
    pictures = of_16_bits(tmp_path, *largest)
    with pytest.raises(ThawError) as caught:
        screen(pictures, tmp_path, on_bad_image, tmp_path / "bad.csv")
    assert str(caught.value).startswith(told.format(tmp_path))
    assert listed(tmp_path / "bad.csv") == []


@pytest.mark.parametrize(
    ("bit_depth", "told"),
    [
        (12, "3 pictures have 16 bits a channel, up to 4,012: 12 bits count (bit_depth)\n"),
        (16, "3 pictures have 16 bits a channel, up to 4,012: 16 bits count (bit_depth)\n"),
        ("data", "3 pictures have 16 bits a channel, up to 4,012: of each as many bits count as"),
    ],
)
def test_depth_is_told_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], bit_depth: int | str, told: str
):
    screen(of_16_bits(tmp_path, 4012, 3000, 100), tmp_path, "fail", tmp_path / "bad.csv", bit_depth)
    assert capsys.readouterr().out.startswith(told)


SCREEN_AND_LOAD = """
import json, sys, time
from pathlib import Path
import pandas as pd
from thaw.pictures import decoding
from thaw.splitting import screening
folder, out = map(Path, sys.argv[1:])
names = sorted(path.name for path in folder.iterdir())
pictures = pd.DataFrame({"path": names, "label": "a"})
slowest = 0
def timed(path, bit_depth, decode=screening.examine):
    global slowest
    start = time.process_time()
    try:
        return decode(path, bit_depth)
    finally:
        slowest = max(slowest, time.process_time() - start)
screening.examine = timed
content, bad, _ = screening.screen(pictures, folder, "skip", out / "bad.csv")
for name, found in content.items():  # as later stages do: not one may fail now
    assert decoding.content_hash(folder / name) == found, name
    assert decoding.load(folder / name, 24).shape == (24, 24, 3)
status = Path("/proc/self/status").read_text()  # ru_maxrss would start at the parent's peak
peak = int(status.split("VmHWM:")[1].split()[0]) / 1024
facts = {"good": len(content), "bad": len(bad), "slowest": slowest, "peak": peak}
(out / "facts.json").write_text(json.dumps(facts))
"""


@pytest.mark.slow
def test_damaged_pictures_are_refused_or_read_alike_in_bounded_time_and_memory(tmp_path: Path):
    names = mutated(tmp_path / "pictures")
    done = subprocess.run(
        [sys.executable, "-c", SCREEN_AND_LOAD, str(tmp_path / "pictures"), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, "PYTHONPATH": str(SRC)},
    )
    assert done.returncode == 0, done.stderr
    facts = json.loads((tmp_path / "facts.json").read_text())
    assert facts["good"] + facts["bad"] == len(names) >= 200
    assert facts["good"] > 50
    assert facts["bad"] > 100
    assert facts["slowest"] < 10  # seconds
    assert facts["peak"] < 1500  # MB
    assert len(listed(tmp_path / "bad.csv")) == facts["bad"]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder where stage `split` can run: forty pictures of each class, two of them bad."""
    source = folders(tmp_path / "source", "a", "b", each=40)
    (source / "a" / "3.png").write_bytes(b"")
    (source / "b" / "4.png").write_text("text")
    bring(catalogues.check(OWN, Entry, "own.yaml"), str(source), tmp_path / "data" / "dataset")
    for name in ("datasets", "pretrained"):
        (tmp_path / name).symlink_to(ROOT / name)
    return tmp_path


def split(project: Path, on_bad_image: str) -> subprocess.CompletedProcess[str]:
    params = (SRC.parent / "params.yaml").read_text()
    changed = params.replace("on_bad_image: fail", f"on_bad_image: {on_bad_image}")
    (project / "params.yaml").write_text(changed)
    command = [sys.executable, SRC, "split"]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=project)


BAD = [
    {"path": "a/3.png", "reason": "an empty file"},
    {"path": "b/4.png", "reason": "not a picture that can be read"},
]


def test_the_stage_skips_bad_pictures_and_counts_them(project: Path):
    done = split(project, "skip")
    assert done.returncode == 0, done.stderr
    assert listed(project / "data/bad_images.csv") == BAD
    counted = json.loads((project / "metrics/split.json").read_text())
    assert counted["bad"] == 2
    paths = {row["path"] for row in listed(project / "data/split.csv")}
    assert len(paths) == 78
    assert not paths & {"a/3.png", "b/4.png"}


def test_the_stage_fails_with_all_of_them(project: Path):
    done = split(project, "fail")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "a/3.png (an empty file), b/4.png (not a picture that can be read)" in done.stderr
    assert listed(project / "data/bad_images.csv") == BAD
    assert not (project / "data/split.csv").exists()


def test_skipping_never_drops_a_class(project: Path):
    for path in (project / "data/dataset/images/a").iterdir():
        path.write_bytes(b"")
    done = split(project, "skip")
    assert done.returncode == 1
    assert done.stderr.startswith("error: 41 of 80 pictures in data/dataset/images can't be read: ")
    assert "no picture is left of the class a: mend some" in done.stderr
    assert done.stderr.count("\n") == 1
