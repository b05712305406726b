import csv
import io
import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

from commands.predict import pictures
from helpers import onnx_model, picture, plain
from places import SRC
from thaw.core.errors import ThawError
from thaw.evaluation.deciding import probabilities
from thaw.evaluation.inference import Classifier
from thaw.pictures import sessions
from thaw.pictures.augmentation import symmetric

PREDICT = [str(SRC), "predict"]
COLD_OR_WARM = [[0.02], [0.0], [-0.02]]  # red less blue
COLOURS = [[0.04, 0, 0], [0, 0.04, 0], [0, 0, 0.04]]
THREE = ["red", "green", "sky, blue"]
AS_IS = [[0, False, False]]


@pytest.fixture
def two(tmp_path: Path) -> Path:
    facts = {"classes": ["cold", "warm"], "image_size": 8, "resize": "stretch", "symmetries": AS_IS}
    return onnx_model(tmp_path / "two.onnx", COLD_OR_WARM, **facts)


def test_a_model_that_takes_one_picture_at_a_time(tmp_path: Path, two: Path) -> None:
    model = onnx.load(two)
    for item in (*model.graph.input, *model.graph.output):
        item.type.tensor_type.shape.dim[0].dim_value = 1
    onnx.save(model, tmp_path / "one.onnx")
    pixels = np.random.default_rng(0).uniform(0, 255, (3, 8, 8, 3))
    found = Classifier(tmp_path / "one.onnx").logits(pixels)
    np.testing.assert_array_equal(found, Classifier(two).logits(pixels))


@pytest.fixture
def three(tmp_path: Path) -> Path:
    facts = {"classes": THREE, "image_size": 8, "resize": "stretch", "symmetries": AS_IS}
    return onnx_model(tmp_path / "three.onnx", COLOURS, **facts)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of three pictures, one of them broken, and of what isn't to be looked at."""
    folder = tmp_path / "photos"
    plain(folder / "1 red.png", "red")
    plain(folder / "deep" / "2.JPG", "blue")
    (folder / "3 broken.png").write_bytes(b"")
    (folder / "notes.txt").write_text("no picture")
    plain(folder / ".hidden.png", "red")
    return folder


def predict(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, *PREDICT, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        timeout=60,
    )
    assert "Traceback" not in done.stderr
    return done


# The classifier


def test_probabilities_of_two_and_of_more_classes():
    logits = np.array([[0.0], [np.log(3)], [-200], [200]], dtype=np.float32)
    expected = [[0.5, 0.5], [0.25, 0.75], [1, 0], [0, 1]]
    np.testing.assert_allclose(probabilities(logits), expected, atol=1e-6)
    logits = np.log(np.array([[1, 2, 5], [4, 4, 8]], dtype=np.float32)) + 300
    expected = [[1 / 8, 2 / 8, 5 / 8], [1 / 4, 1 / 4, 1 / 2]]
    np.testing.assert_allclose(probabilities(logits), expected, rtol=1e-4)


def test_probabilities_of_either_class_are_as_exact_and_keep_their_rank():
    logits = np.array([[20.0], [25], [30], [-25], [-50]], dtype=np.float32)
    found = probabilities(logits)
    np.testing.assert_allclose(found[:, 0], probabilities(-logits)[:, 1], rtol=1e-12)
    np.testing.assert_allclose(found[:3, 0], np.exp([-20, -25, -30]), rtol=1e-6)
    assert found[0, 1] < found[1, 1] < found[2, 1] < 1


def test_classifier_reads_what_the_model_says_of_itself(three: Path):
    classifier = Classifier(three)
    assert classifier.classes == THREE
    assert classifier.image_size == 8
    pixels = np.full((2, 8, 8, 3), (255, 100, 0), dtype=np.uint8)
    np.testing.assert_allclose(classifier.logits(pixels), [[10.2, 4, 0]] * 2, rtol=1e-5)


def test_pictures_come_back_in_order_beside_those_that_are_broken(tmp_path: Path, three: Path):
    colours = ["red", "lime", "blue"]
    paths = [plain(tmp_path / f"{i}.png", colours[i % 3]) for i in range(40)]  # batches and a rest
    for index in (0, 5, 16, 39):
        paths[index].write_text("broken")
    results = list(Classifier(three).classify(paths))
    assert [result.path for result in results] == paths
    for index, result in enumerate(results):
        if index in (0, 5, 16, 39):
            assert result.probabilities is None
            assert result.reason == "not a picture that can be read"
        else:
            assert result.probabilities.argmax() == index % 3
            assert result.probabilities.sum() == pytest.approx(1)
            assert result.reason == ""


def test_only_broken_pictures_and_none_at_all(tmp_path: Path, two: Path):
    classifier = Classifier(two)
    missing = [tmp_path / f"{index}.png" for index in range(16)]
    assert [result.reason for result in classifier.classify(missing)] == ["no such file"] * 16
    assert list(classifier.classify([])) == []


def test_probabilities_are_averaged_over_the_symmetries(tmp_path: Path):
    symmetries = [[0, False, False], [0, True, False], [1, False, False], [3, False, True]]
    facts = {"classes": THREE, "image_size": 8, "resize": "stretch", "symmetries": symmetries}
    classifier = Classifier(onnx_model(tmp_path / "a.onnx", COLOURS, **facts))
    path = picture(tmp_path / "a.bmp", width=8, height=8)
    with Image.open(path) as opened:
        pixels = np.asarray(opened)
    each = [probabilities(classifier.logits(symmetric(pixels, *s)[None]))[0] for s in symmetries]
    (found,) = classifier.classify([path])
    np.testing.assert_allclose(found.probabilities, np.mean(each, axis=0), rtol=1e-5)
    assert np.ptp(each, axis=0).max() > 0.1  # the model sees that they differ


@pytest.mark.parametrize(("resize", "seen"), [("stretch", "red"), ("crop", "green")])
def test_pictures_are_resized_as_the_model_says(tmp_path: Path, resize: str, seen: str):
    """Red, green and blue side by side, and a model that looks at the top left pixel."""
    fields = np.repeat(np.diag([255, 255, 255])[None].repeat(8, axis=0), 8, axis=1)
    Image.fromarray(fields.astype(np.uint8)).save(tmp_path / "a.png")
    facts = {"classes": THREE, "image_size": 8, "resize": resize, "symmetries": AS_IS}
    classifier = Classifier(onnx_model(tmp_path / "a.onnx", COLOURS, **facts))
    (found,) = classifier.classify([tmp_path / "a.png"])
    assert THREE[found.probabilities.argmax()] == seen


@pytest.mark.parametrize(("bit_depth", "seen"), [(12, "white"), (16, "black")])
def test_pictures_of_16_bits_are_read_as_the_model_says(tmp_path: Path, bit_depth: int, seen: str):
    Image.fromarray(np.full((8, 8), 4095, np.uint16)).save(tmp_path / "a.png")
    facts = {"classes": ["black", "white"], "image_size": 8, "resize": "stretch"}
    weights = [[0.04], [0.04], [-0.07]]
    facts |= {"symmetries": AS_IS, "bit_depth": bit_depth}
    classifier = Classifier(onnx_model(tmp_path / "a.onnx", weights, **facts))
    (found,) = classifier.classify([tmp_path / "a.png"])
    assert found.probabilities[1] == pytest.approx(
        1 / (1 + np.exp(-0.01 * (255 if seen == "white" else 15)))
    )


@pytest.mark.parametrize("lacking", ["classes", "image_size"])
def test_foreign_model_is_a_sentence(tmp_path: Path, lacking: str):
    facts = {"classes": THREE, "image_size": 8, "resize": "stretch", "symmetries": AS_IS}
    del facts[lacking]
    path = onnx_model(tmp_path / "a.onnx", COLOURS, **facts)
    with pytest.raises(ThawError, match=f"a.onnx is no model that Thaw exported .*{lacking}"):
        Classifier(path)


@pytest.mark.parametrize(
    ("fact", "value"),
    [
        ("classes", 5),
        ("classes", ["a"]),
        ("classes", ["a", "b"]),
        ("classes", ["a", "b", "c", "d"]),
        ("classes", [1, 2, 3]),
        ("classes", ["a", "a", "b"]),
        ("image_size", 0),
        ("image_size", -1),
        ("image_size", 16),
        ("image_size", "8"),
        ("image_size", 10**7),
        ("resize", "squeeze"),
        ("resize", None),
        ("bit_depth", 12.5),
        ("bit_depth", "auto"),
        ("symmetries", []),
        ("symmetries", 5),
        ("symmetries", [[0]]),
        ("symmetries", [["x", True, True]]),
    ],
)
def test_model_that_contradicts_itself_is_a_sentence(tmp_path: Path, fact: str, value: object):
    facts = {"classes": THREE, "image_size": 8, "resize": "stretch", "symmetries": AS_IS}
    path = onnx_model(tmp_path / "a.onnx", COLOURS, **facts, bit_depth="file")
    model = onnx.load(path)
    (entry,) = [each for each in model.metadata_props if each.key == fact]
    entry.value = json.dumps(value)
    onnx.save(model, path)
    assert refusal(path)
    entry.value = "{"
    onnx.save(model, path)
    assert refusal(path)


def refusal(path: Path) -> str:
    with pytest.raises(ThawError, match="is no model that Thaw exported") as caught:
        Classifier(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("std::bad_alloc")])
def test_too_little_memory_is_no_fault_of_the_model(
    three: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
):
    def failing(_: str) -> None:
        raise error

    monkeypatch.setattr(sessions, "session", failing)
    with pytest.raises(type(error)):
        Classifier(three)


def test_damaged_model_is_a_sentence(
    tmp_path: Path, three: Path, capfd: pytest.CaptureFixture[str]
):
    whole = three.read_bytes()
    picture(tmp_path / "a.png")
    chance = np.random.default_rng(0)
    for content in (b"", b"garbage", b"PK\x03\x04", whole[:-9], whole[: len(whole) // 2]):
        three.write_bytes(content)
        refusal(three)
    for _ in range(100):
        damaged = bytearray(whole)
        for place in chance.integers(0, len(whole), 3):
            damaged[place] = chance.integers(256)
        three.write_bytes(damaged)
        with suppress(ThawError):
            list(Classifier(three).classify([tmp_path / "a.png"]))
    assert capfd.readouterr().out == ""  # ONNX Runtime would say there that it tries again


def test_model_with_two_inputs_is_a_sentence(three: Path):
    model = onnx.load(three)
    model.graph.input.append(onnx.helper.make_tensor_value_info("more", 1, [1]))
    onnx.save(model, three)
    refusal(three)


@pytest.mark.parametrize("place", ["../w.bin", "a/../../w.bin", "link.bin", "absolute", "none"])
def test_model_takes_no_weights_from_outside_its_folder(tmp_path: Path, three: Path, place: str):
    (tmp_path / "inside").mkdir()
    outside = tmp_path / "w.bin"
    outside.write_bytes(bytes(36))
    (tmp_path / "inside" / "link.bin").symlink_to(outside)
    model = onnx.load(three)
    (weights,) = [each for each in model.graph.initializer if each.name == "weights"]
    weights.ClearField("raw_data")
    weights.data_location = onnx.TensorProto.EXTERNAL
    where = str(outside) if place == "absolute" else place
    for key, value in {"location": where, "offset": "0", "length": "36"}.items():
        weights.external_data.add(key=key, value=value)
    path = tmp_path / "inside" / "a.onnx"
    path.write_bytes(model.SerializeToString())
    refusal(path)


# The command


def test_table(photos: Path, two: Path, tmp_path: Path):
    single = plain(tmp_path / "single.bmp", "green")
    done = predict(single, photos, "--model", two)
    lines = [line.split("  ", 1) for line in done.stdout.splitlines()]
    cells = [(path, " ".join(rest.split())) for path, rest in lines]
    assert cells == [
        (str(single), "50.0% cold"),
        (str(photos / "1 red.png"), "99.4% warm"),  # 1 / (1 + exp(-0.02 * 255))
        (str(photos / "3 broken.png"), "can't be read: an empty file"),
        (str(photos / "deep" / "2.JPG"), "99.4% cold"),
    ]
    assert done.returncode == 1
    assert "error: 1 of 4 pictures can't be read" in done.stderr


def test_json(photos: Path, three: Path):
    done = predict("--json", photos, "--model", three)
    assert done.returncode == 1
    red, broken, blue = json.loads(done.stdout)
    assert list(red) == ["path", "class", "confidence", "probabilities", "doubt"]
    assert red["path"] == str(photos / "1 red.png")
    assert red["class"] == "red"
    assert red["probabilities"] == {"red": 0.999926, "green": 0.000037, "sky, blue": 0.000037}
    assert red["confidence"] == red["probabilities"]["red"]
    assert blue["class"] == "sky, blue"
    assert broken == {
        "path": str(photos / "3 broken.png"),
        "class": None,
        "confidence": None,
        "error": "an empty file",
    }


def test_csv(photos: Path, three: Path):
    done = predict("--csv", photos, "--model", three)
    assert done.returncode == 1
    red, broken, blue = csv.DictReader(io.StringIO(done.stdout))
    assert list(red) == ["path", "class", "confidence", *THREE, "unlike", "doubt", "error"]
    assert red["class"] == "red"
    assert red["confidence"] == red["red"] == "0.999926"
    assert (blue["class"], blue["error"]) == ("sky, blue", "")
    assert broken["path"] == str(photos / "3 broken.png")
    assert broken["error"] == "an empty file"
    assert broken["class"] == broken["confidence"] == broken["red"] == ""


def test_good_pictures_exit_with_0_and_the_model_is_found_where_it_lies(tmp_path: Path, two: Path):
    (tmp_path / "models").mkdir()
    two.rename(tmp_path / "models" / "model.onnx")
    plain(tmp_path / "-1.png", "blue")
    done = predict("--", "-1.png", cwd=tmp_path)
    assert done.stdout.split() == ["-1.png", "99.4%", "cold"]
    assert done.stderr == ""
    assert done.returncode == 0


NAMES = ["a\nb.png", 'say "x", y.png', "-1.png", "\udcff.png", "\x1b[2J.png", "שלום.png", "$x$.png"]


@pytest.fixture
def strange(tmp_path: Path) -> Path:
    """A folder of pictures with `NAMES`; "\udcff" is how Python calls the byte 255."""
    folder = tmp_path / "strange"
    for name in NAMES:
        plain(folder / "0.png", "blue").rename(folder / name)
    return folder


def test_strange_file_names_come_out_whole(strange: Path, two: Path):
    expected = sorted(NAMES)
    done = predict(strange.name, "--json", "--model", two, cwd=strange.parent)
    assert [Path(each["path"]).name for each in json.loads(done.stdout)] == expected
    done = predict(strange.name, "--csv", "--model", two, cwd=strange.parent)
    escaped = [name.replace("\udcff", r"\udcff") for name in expected]
    rows = csv.DictReader(io.StringIO(done.stdout, newline=""))
    assert [Path(row["path"]).name for row in rows] == escaped
    assert done.returncode == 0


def test_strange_file_names_take_a_line_each_in_the_table(strange: Path, two: Path):
    done = predict(strange.name, "--model", two, cwd=strange.parent)
    lines = done.stdout.splitlines()
    assert len(lines) == len(NAMES)
    assert all(line.endswith("99.4%  cold") for line in lines)
    assert any(line.startswith(r"strange/a\nb.png ") for line in lines)
    assert "\x1b" not in done.stdout


def test_error_with_a_strange_name_is_one_line(tmp_path: Path, two: Path):
    (tmp_path / "a\nb").mkdir()
    done = predict("a\nb", "--model", two, cwd=tmp_path)
    assert done.stderr.startswith(r"error: a\nb holds no picture")
    assert done.stderr.count("\n") == 1


CLASSES = ["-rf", 'say "x", y', "$x$", "שלום", "Größe.v2", "error", "path"]


def test_strange_class_names_come_out_whole(tmp_path: Path):
    facts = {"classes": CLASSES, "image_size": 8, "resize": "stretch", "symmetries": AS_IS}
    weights = [[0.0] * len(CLASSES)] * 2 + [[0.01 * number for number in range(len(CLASSES))]]
    model = onnx_model(tmp_path / "a.onnx", weights, **facts)
    plain(tmp_path / "a.png", "blue")
    (found,) = json.loads(predict("a.png", "--json", "--model", model, cwd=tmp_path).stdout)
    assert list(found["probabilities"]) == CLASSES
    assert found["class"] == "path"
    done = predict("a.png", "--csv", "--model", model, cwd=tmp_path)
    (row,) = csv.DictReader(io.StringIO(done.stdout))
    assert list(row)[3:-3] == [*CLASSES[:5], "class error", "class path"]
    assert (row["path"], row["class"], row["error"]) == ("a.png", "path", "")
    assert float(row["class path"]) == found["probabilities"]["path"]
    assert predict("a.png", "--model", model, cwd=tmp_path).stdout.endswith("  path\n")


@pytest.mark.parametrize(
    ("model", "paths", "told"),
    [
        ("none.onnx", ["photos"], "none.onnx is missing; run `dvc repro`"),
        ("photos/notes.txt", ["photos"], "notes.txt is no model that Thaw exported"),
        (
            "two.onnx",
            ["empty"],
            "empty holds no picture, but 1 file of other kinds (1 .txt); give a folder of AVIF",
        ),
    ],
)
@pytest.mark.usefixtures("photos", "two")
def test_mistake_is_one_sentence(tmp_path: Path, model: str, paths: list[str], told: str):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").touch()
    done = predict(*paths, "--model", model, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert told in done.stderr
    assert done.stderr.count("\n") == 1


def test_pipe_among_the_pictures_is_reported_and_not_waited_for(tmp_path: Path, two: Path):
    plain(tmp_path / "photos" / "a.png", "blue")
    os.mkfifo(tmp_path / "photos" / "b.jpg")
    done = predict("photos", "--model", two, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stdout.splitlines()[0].endswith("cold")
    assert done.stdout.splitlines()[1].endswith("can't be read: not an ordinary file")


def test_missing_picture_is_reported_beside_the_others(tmp_path: Path, two: Path):
    plain(tmp_path / "a.png", "blue")
    done = predict("none.png", "a.png", "--model", two, cwd=tmp_path)
    assert done.returncode == 1
    assert "can't be read: no such file" in done.stdout.splitlines()[0]
    assert done.stdout.splitlines()[1].endswith("cold")


def test_folder_gives_what_is_a_picture_by_its_bytes_and_says_what_is_none(
    photos: Path, capsys: pytest.CaptureFixture[str]
):
    for suffix in ("webp", "tiff", "avif"):
        plain(photos / f"x.{suffix}", "red")
    (photos / "x.webp").rename(photos / "no suffix")
    (photos / "x.tiff").rename(photos / "x.txt")
    (photos / "x.heic").touch()
    names = ["1 red.png", "3 broken.png", "no suffix", "x.avif", "x.heic", "x.txt", "deep/2.JPG"]
    assert [path.relative_to(photos).as_posix() for path in pictures([photos])] == names
    told = capsys.readouterr()
    assert told.err == f"{photos}: 7 pictures; left out: 1 file of other kinds (1 .txt)\n"
    assert told.out == ""


@pytest.mark.parametrize("times", [1, 800])  # the pipe breaks at the end, and on the way
@pytest.mark.parametrize("paths", [["a.png"], ["a.png", "none.png"]])
def test_reader_that_stops_early_is_no_error(
    tmp_path: Path, two: Path, times: int, paths: list[str]
):
    plain(tmp_path / "a.png", "blue")
    command = [sys.executable, *PREDICT, *paths * times, "--model", two]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path
    ) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 1


def test_predict_never_imports_tensorflow(tmp_path: Path, two: Path):
    plain(tmp_path / "a.png", "blue")
    script = f"""
import runpy, sys
sys.argv = [*{PREDICT!r}, "a.png", "--model", {str(two)!r}]
runpy.run_path(sys.argv[0], run_name="__main__")
heavy = {{"tensorflow", "keras", "sklearn", "matplotlib", "pandas"}} & set(sys.modules)
assert "onnxruntime" in sys.modules
sys.exit(f"imported {{sorted(heavy)}}" if heavy else 0)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("cold\n")
