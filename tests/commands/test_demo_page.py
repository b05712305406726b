"""The demo's page without a browser: what it says of the model and of each file."""

import base64
import contextlib
import importlib.util
import io
import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from commands import demo_page
from commands.demo_page import Given, RefusedError
from helpers import onnx_model, picture
from places import ROOT
from thaw.evaluation import comparison, metrics
from thaw.evaluation.inference import Classifier

HEIC = base64.b64decode(  # 64 pixels: red left, blue right
    "AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAVZtZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAA"
    "AAAAAAAAACJpbG9jAAAAAERAAAEAAQAAAAABegABAAAAAAAAACgAAAAjaWluZgAAAAAAAQAAABVpbmZlAgAAAAABAABo"
    "dmMxAAAAAA5waXRtAAAAAAABAAAA1mlwcnAAAAC3aXBjbwAAAHhodmNDAQNwAAAAkAAAAAAAHvAA/P34+AAADwNgAAEA"
    "GEABDAH//wNwAAADAJAAAAMAAAMAHroCQGEAAQArQgEBA3AAAAMAkAAAAwAAAwAeoCCBBZbqSSmubgIaDAgAAAMAyAAA"
    "AwAIQGIAAQAHRAHBcrAiQAAAABNjb2xybmNseAABAA0ABoAAAAAUaXNwZQAAAAAAAABAAAAAQAAAABBwaXhpAAAAAAMI"
    "CAgAAAAXaXBtYQAAAAAAAAABAAEEgQIDBAAAADBtZGF0AAAAJCgBr1j5DpJf//K13/9R/kPk+2if/pd8L96f5/1yJRHE"
    "v/hNuA=="
)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A run whose model calls red pictures rusty and others moss; a picture of each is there."""
    (tmp_path / "models").mkdir()
    onnx_model(
        tmp_path / "models/model.onnx",
        [[1.0], [0.0], [-1.0]],
        classes=["moss", "rusty"],
        image_size=8,
        resize="stretch",
        symmetries=[[0, False, False]],
    )
    (tmp_path / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    for name in ("datasets", "pretrained"):
        (tmp_path / name).symlink_to(ROOT / name)
    for number, name in enumerate(("moss", "rusty", "gone")):
        colour = (200 * number, 30, 200 - 200 * number) if number < 2 else (0, 0, 0)
        path = tmp_path / f"data/dataset/images/{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        if name != "gone":
            Image.new("RGB", (9, 9), colour).save(path)
    rows = [("gone.png", "gone"), ("moss.png", "moss"), ("rusty.png", "rusty")]
    table = "path,label\n" + "".join(f"{path},{label}\n" for path, label in rows)
    (tmp_path / "data/validation_predictions.csv").write_text(table)
    with contextlib.chdir(tmp_path):
        yield tmp_path


def write_figures(folder: Path, taken: list[float]) -> None:
    labels = np.arange(40) % 2
    shares = np.eye(2)[labels]
    shares[:4] = shares[:4, ::-1]
    found = {"head": np.eye(2)[labels], "fine_tuned": shares}
    known = comparison.evaluate(
        labels,
        found,
        {name: each.argmax(axis=1) for name, each in found.items()},
        {name: metrics.scores(labels, each) for name, each in found.items()},
        pd.DataFrame({"label": [str(each) for each in labels], "subgroup": ""}),
        classes=["0", "1"],
        positive="1",
        test_set="x",
        taken=taken,
    )
    (folder / "metrics").mkdir()
    (folder / "metrics/test.json").write_text(json.dumps(asdict(known)))


@pytest.mark.parametrize(
    ("taken", "how", "right"),
    [([1.0], "fine-tuned", "90.0%"), ([0.0], "frozen, with a head trained on it", "100.0%")],
)
def test_the_model_is_named_with_its_classes_and_accuracy(
    folder: Path, taken: list[float], how: str, right: str
) -> None:
    plain = "MobileNetV2. The model tells 2 classes apart: moss and rusty."
    assert demo_page.about(["moss", "rusty"]) == plain  # no figures are known
    write_figures(folder, taken)
    text = demo_page.about(["moss", "rusty"])
    assert text.startswith(f"MobileNetV2, {how}. The model tells 2 classes apart: moss and rusty.")
    assert f"On 40 test pictures {right} of its answers were right (95 % interval " in text


def test_of_many_classes_the_first_are_named() -> None:
    names = [f"c{number}" for number in range(1000)]
    assert demo_page.listed(names).endswith("c8, c9 and 990 more")


def test_a_sample_of_each_class_is_there_where_the_data_is(folder: Path) -> None:
    found = demo_page.samples(["moss", "rusty", "gone", "new"])
    assert {name: path.name for name, path in found.items()} == {
        "moss": "moss.png",
        "rusty": "rusty.png",
    }
    (folder / "data/validation_predictions.csv").unlink()
    assert demo_page.samples(["moss", "rusty"]) == {}


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.png", b"words", "a.png can't be read: not a picture that can be read. Give another"),
        ("empty.jpg", b"", "empty.jpg can't be read: an empty file. Give another picture."),
        ("b.pdf", b"%PDF-1.4", "b.pdf can't be read: PDF, which isn't read: save it as JPEG"),
        ("large.png", b"x" * (20 * 2**20 + 1), "large.png is larger than 20 MB. Give a smaller"),
    ],
)
def test_why_a_file_was_refused_is_said(folder: Path, name: str, content: bytes, told: str) -> None:
    model = Classifier(folder / "models/model.onnx")
    with pytest.raises(RefusedError) as refused:
        demo_page.look(Given(name, content), model)
    assert str(refused.value).startswith(told)


def test_a_picture_gets_what_the_model_says(folder: Path) -> None:
    model = Classifier(folder / "models/model.onnx")
    for name in ("moss", "rusty"):
        path = folder / f"data/dataset/images/{name}.png"
        (expected,) = model.classify([path])
        seen = demo_page.look(Given(path.name, path.read_bytes()), model)
        assert model.classes[seen.decided] == name
        assert seen.doubt == ""
        assert seen.shares.tolist() == expected.probabilities.tolist()


def test_a_picture_of_a_phone_is_read_where_its_reader_is(folder: Path) -> None:
    model = Classifier(folder / "models/model.onnx")
    given = Given("IMG_1.HEIC", HEIC)
    if importlib.util.find_spec("pi_heif") is None:
        with pytest.raises(RefusedError, match="HEIC, which isn't read: save it as JPEG or PNG"):
            demo_page.look(given, model)
        pytest.skip("pi-heif is not installed (make venv-demo)")
    seen = demo_page.look(given, model)
    assert model.classes[seen.decided] == "rusty"
    assert seen.pixels[0, -1].argmax() == 2
    with pytest.raises(RefusedError, match="a damaged HEIC picture"):
        demo_page.look(Given("half.heic", HEIC[:300]), model)


def test_what_is_given_takes_the_place_of_what_was_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class File(io.BytesIO):
        name = "new.png"

    state: dict[str, object] = {
        "given": [Given("old.png", b"")],
        "files 0": [File(b"1"), File(b"2")],
    }
    monkeypatch.setattr(demo_page.st, "session_state", state)
    demo_page.take("files 0")
    assert state["given"] == [Given("new.png", b"1"), Given("new.png", b"2")]
    assert state["round"] == 1  # another list of files, an empty one
    demo_page.take_sample(picture(tmp_path / "sample.png"))
    assert [each.name for each in state["given"]] == ["sample.png"]
