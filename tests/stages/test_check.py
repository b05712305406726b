"""Stage `check`: what `source` and `weights` point at is noted, and changes are told."""

import json
import shutil
from pathlib import Path

import pytest
import yaml

import keeping
import workspace
from helpers import onnx_network
from places import ROOT
from stages import check
from thaw.core.errors import ThawError

SOURCE, WEIGHTS = (workspace.GIVEN / f"{name}.json" for name in ("source", "weights"))


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("datasets", "pretrained"):
        shutil.copytree(ROOT / name, tmp_path / "here" / name)
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy(ROOT / name, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.setattr(keeping, "protect", lambda: None)  # has tests of its own
    for name in ("cats/a.png", "dogs/b.png"):
        path = tmp_path / "my photos (ä)" / name
        path.parent.mkdir(parents=True)
        path.write_text(name)
    return tmp_path


def edit(**changes: object) -> None:
    values = yaml.safe_load(Path("params.yaml").read_text())
    Path("params.yaml").write_text(yaml.safe_dump(values | changes))


def given(path: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads(path.read_text())
    return found


def test_by_default_nothing_of_the_machine_counts() -> None:
    check.main()
    assert given(SOURCE) == given(WEIGHTS) == {}


def test_a_changed_source_is_noted_and_told(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edit(dataset="folder", source=str(here / "my photos (ä)"))
    check.main()
    first = SOURCE.read_bytes()
    assert "changed" not in capsys.readouterr().out
    check.main()
    assert SOURCE.read_bytes() == first
    assert capsys.readouterr().out == ""
    (here / "my photos (ä)/cats/new.png").touch()
    check.main()
    assert SOURCE.read_bytes() != first
    assert "my photos (ä) has changed: 1 new (cats/new.png)" in capsys.readouterr().out
    assert given(WEIGHTS) == {}


def test_changed_weights_are_noted(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edit(weights=str(here / "my.weights.h5"))
    (here / "my.weights.h5").write_text("a")
    check.main()
    first = WEIGHTS.read_bytes()
    (here / "my.weights.h5").write_text("b")
    check.main()
    assert WEIGHTS.read_bytes() != first
    assert "my.weights.h5 has changed: 1 changed" in capsys.readouterr().out


@pytest.mark.parametrize("store", ["s4://team/cache", "cache", "/not there/cache"])
def test_a_store_that_can_not_be_reached_is_refused_first(store: str) -> None:
    cached = yaml.safe_load(Path("params.yaml").read_text())["cache"]
    edit(cache=cached | {"store": store})
    with pytest.raises(ThawError, match=f"^params.yaml: cache.store: {store}: "):
        check.main()
    assert not SOURCE.exists()
    edit(cache=cached | {"store": str(Path.cwd() / "store")})
    check.main()
    assert Path("store/about.txt").exists()


ONNX = {"fine_tune_at": None, "cache": {"layer": "features", "bottleneck": "pooled", "store": None}}


def test_a_changed_onnx_file_is_noted(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = onnx_network(here / "my net.onnx", size=None)
    edit(base_model=f"onnx:{path}", **ONNX)
    check.main()
    first = WEIGHTS.read_bytes()
    assert given(WEIGHTS)["files"] == 1
    onnx_network(path, "vector", size=None)
    check.main()
    assert WEIGHTS.read_bytes() != first
    told = f"base_model: {path} has changed: 1 changed"
    assert told in capsys.readouterr().out


def test_an_onnx_file_is_looked_into_before_any_work(here: Path) -> None:
    path = onnx_network(here / "my net.onnx", size=224)
    edit(base_model=f"onnx:{path}", **ONNX)
    with pytest.raises(ThawError, match=r"^params.yaml: image_size: 300: .* 224 x 224 pixels; giv"):
        check.main()
    edit(base_model=f"onnx:{here}/none.onnx")
    with pytest.raises(ThawError, match=r"^params.yaml: base_model: .*none.onnx: no such file"):
        check.main()


def test_a_path_in_a_datasets_file_counts_too() -> None:
    entry = {"title": "Mine", "layout": "folders", "licence": "mine", "source": "../my photos (ä)"}
    Path("datasets/mine.yaml").write_text(yaml.safe_dump(entry))
    edit(dataset="mine")
    check.main()
    assert given(SOURCE)["files"] == 2


def test_a_relative_path_is_found_from_a_copy_of_the_repository(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit(dataset="folder", source="data/raw")
    shutil.copytree(here / "my photos (ä)", "data/raw")
    shutil.copytree("datasets", here / "copy/datasets")
    shutil.copytree("pretrained", here / "copy/pretrained")
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy(name, here / "copy")
    monkeypatch.chdir(here / "copy")
    with pytest.raises(ThawError, match="source: data/raw: no such file"):
        check.main()
    monkeypatch.setenv("DVC_ROOT", str(here / "here"))
    check.main()
    assert given(SOURCE)["files"] == 2
    assert workspace.at_home("data/raw") == str(here / "here/data/raw")
    assert workspace.at_home("https://example.org/a.zip") == "https://example.org/a.zip"


def test_where_it_is_not_here_what_was_recorded_holds(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A colleague, or a server that only reports, hasn't the pictures' folder."""
    source = here / "my photos (ä)"
    edit(dataset="folder", source=str(source))
    check.main()
    first = SOURCE.read_bytes()
    assert given(SOURCE)["files"] == 2
    assert str(here).encode() not in first
    shutil.rmtree(source)
    check.main()
    assert SOURCE.read_bytes() == first
    assert f"note: source: {source} is not here" in capsys.readouterr().out
    edit(source=f"{source} of another")  # of which nothing is known
    with pytest.raises(ThawError, match="no such file; give the path"):
        check.main()


def test_a_path_is_looked_at_in_every_run_and_an_address_is_not(here: Path) -> None:
    look = workspace.GIVEN / "dvc.yaml"
    check.main()
    assert not look.exists()
    edit(dataset="folder", source=str(here / "my photos (ä)"))
    check.main()
    (stage,) = yaml.safe_load(look.read_text())["stages"].values()
    assert stage["always_changed"]
    assert {path for out in stage["outs"] for path in out} == {str(SOURCE), str(WEIGHTS)}


def test_where_nothing_was_recorded_it_is_a_sentence() -> None:
    edit(dataset="folder", source="~nobody-of-that-name/photos")
    with pytest.raises(ThawError, match=r"^params\.yaml: source: ~nobody-of-that-name/photos"):
        check.main()
    edit(source="/somewhere/else")
    with pytest.raises(ThawError, match=r"source: /somewhere/else: no such file; give the path"):
        check.main()


def test_a_place_where_a_stage_writes_is_refused() -> None:
    edit(dataset="folder", source="data/dataset/images")
    with pytest.raises(ThawError, match="lies where stage `download` writes"):
        check.main()
    edit(source=None, dataset="elpv", weights="data/weights/base.weights.h5")
    with pytest.raises(
        ThawError, match=r"weights: data/weights/base\.weights\.h5 lies where stage"
    ):
        check.main()


@pytest.mark.parametrize(
    ("key", "file"),
    [("dataset", "datasets/mine.yaml"), ("base_model", "pretrained/ResNet50.yaml")],
)
def test_a_file_that_git_does_not_know_is_missed_where_an_experiment_has_a_copy(
    here: Path, monkeypatch: pytest.MonkeyPatch, key: str, file: str
) -> None:
    path = here / "home" / file
    path.parent.mkdir(parents=True)
    path.touch()
    edit(**{key: path.stem})
    monkeypatch.setenv("DVC_ROOT", str(here / "home"))
    with pytest.raises(ThawError, match=rf"params.yaml: {key}: {file} .*: `git add {file}` and"):
        check.main()
