"""The rule on known curves, the probe against scikit-learn's own, the command on tiny pictures."""

import thaw.networks.quiet  # noqa: F401

import contextlib
import csv
import importlib
import io
import math
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
import yaml
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from commands import probe
from helpers import folders
from places import ROOT
from thaw.core.errors import ThawError
from thaw.networks import backbones, onnx_export
from thaw.pictures import decoding, sessions
from thaw.review import probing
from thaw.training import classifiers, heads, loop


def curve(
    accuracies: Sequence[float], parameters: int = 100, error: float = 0.01, empty: int = 1
) -> list[probing.Depth]:
    """Depths of ten layers each; nothing is left to thaw after the last `empty`."""
    count = len(accuracies)
    return [
        probing.Depth(
            10 * place,
            f"block_{place}",
            accuracy,
            error,
            f"layer_{place}" if place < count - empty else None,
            parameters if place < count - empty else 0,
            1.0,
        )
        for place, accuracy in enumerate(accuracies)
    ]


@pytest.mark.parametrize(
    ("accuracies", "best", "chosen", "advised"),
    [
        ([0.5, 0.7, 0.8, 0.9, 0.8], 3, 3, "layer_3"),  # a peak
        ([0.5, 0.7, 0.895, 0.9, 0.8], 3, 2, "layer_2"),  # within an error of it
        ([0.5, 0.7, 0.885, 0.9, 0.8], 3, 3, "layer_3"),  # not within it
        ([0.5, 0.9, 0.8, 0.9, 0.8], 1, 1, "layer_1"),  # a tie: the shallowest
        ([0.5, 0.6, 0.7, 0.8, 0.9], 4, 4, "layer_3"),  # the last block: thaw it
        ([0.5, 0.6, 0.7, 0.895, 0.9], 4, 3, "layer_3"),
        ([0.9, 0.9, 0.9, 0.9, 0.9], 0, 0, "layer_0"),  # flat: the features help nothing
    ],
)
def test_the_shallowest_block_within_one_standard_error(
    accuracies: list[float], best: int, chosen: int, advised: str
) -> None:
    found = curve(accuracies)
    advice = probing.advise(found, 1)
    assert (advice.best, advice.chosen) == (found[best], found[chosen])
    assert advice.thawed.fine_tune_at == advised


def test_the_error_of_the_best_counts_and_no_others() -> None:
    found = curve([0.5, 0.88, 0.9, 0.8], error=0.01)
    found[1] = probing.Depth(10, "block_1", 0.88, 0.1, "layer_1", 100, 1.0)
    assert probing.advise(found, 1).chosen is found[2]


def test_where_nothing_is_left_after_several_blocks_the_last_layers_with_weights_are_thawed() -> (
    None
):
    found = curve([0.5, 0.6, 0.7, 0.8, 0.9], empty=3)
    assert probing.advise(found, 1).thawed is found[1]


def test_a_recipe_that_the_table_puts_lower_is_not_advised() -> None:
    """The best block is near the end, the last layer 27 points below it."""
    advice = probing.advise(curve([0.5, 0.6, 0.7, 0.9, 0.63], parameters=100_000), 99)
    assert (advice.situation, advice.recipe) == (1, "earlier-layer-svm")
    text = probing.sentences(advice, 99, 50, "dvc exp run -S x")
    assert "Recipe earlier-layer-svm: a linear classifier on an earlier layer, block_3 (" in text
    assert "codes-svm, usual in this situation, reads block_4, whose probe is 27.0 points" in text


@pytest.mark.parametrize(
    ("accuracies", "pictures", "situation", "recipe"),
    [
        ([0.5, 0.6, 0.7, 0.9, 0.9], 99, 1, "codes-svm"),  # at three quarters: near
        ([0.5, 0.6, 0.7, 0.9, 0.9], 100, 2, "tensorflow-tutorial"),  # 1,000 numbers a picture: many
        ([0.5, 0.6, 0.9, 0.9, 0.9], 99, 3, "earlier-layer-svm"),
        ([0.5, 0.6, 0.895, 0.9, 0.8], 99, 3, "earlier-layer-svm"),  # the chosen's place counts
        ([0.5, 0.6, 0.9, 0.9, 0.9], 100, 4, "all-layers"),
    ],
)
def test_the_four_situations(
    accuracies: list[float], pictures: int, situation: int, recipe: str
) -> None:
    advice = probing.advise(curve(accuracies, parameters=100_000), pictures)
    assert (advice.situation, advice.recipe) == (situation, recipe)
    text = probing.sentences(advice, pictures, 50, "dvc exp run -S x")
    assert "a share of 50 validation pictures" in text
    assert ("block_2" in advice.deed) == (situation == 3)
    assert f"Situation {situation} of 4" in text
    assert recipe in text
    assert ("many pictures" in text) == (situation in (2, 4))
    assert ("far from those" in text) == (situation in (3, 4))
    assert probing.RULE in text


def test_the_table_marks_what_is_advised() -> None:
    found = curve([0.5, 0.7, 0.9])
    lines = probing.table(found, probing.advise(found, 1)).splitlines()
    assert [line for line in lines if "←" in line] == [lines[3]]
    assert "layer_1 ←" in lines[3]
    assert lines[4] == "| block_2 | 0.900 ± 0.010 | null | 0 | 0 |"


def test_the_standard_error_of_a_share() -> None:
    assert probing.standard_error(0.5, 100) == pytest.approx(0.05)
    assert probing.standard_error(0.9, 400) == pytest.approx(0.015)
    assert probing.standard_error(1.0, 50) == 0


def features(count: int = 120, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """(count, 40) of unlike scales, a few of which tell the classes apart; the first is larger."""
    random = np.random.default_rng(0)
    labels = np.minimum(np.arange(count) % (classes + 2), classes - 1)
    labels = classes - 1 - labels
    found = random.normal(size=(count, 40)) * 10.0 ** random.integers(-2, 3, 40)
    found[:, :3] += 0.7 * labels[:, None] * found[:, :3].std(axis=0)
    return found.astype(np.float32), labels


@pytest.mark.parametrize(("balanced", "seed"), [(False, 0), (False, 3), (True, 7)])
def test_a_probe_is_what_scikit_learn_gives_with_the_strength_that_validates_best(
    balanced: bool, seed: int
) -> None:
    (train, labels), (validation, answers) = features(), features(61)
    folds = StratifiedKFold(5, shuffle=True, random_state=seed)
    weight = "balanced" if balanced else None
    pipelines = [
        make_pipeline(StandardScaler(), LogisticRegression(C=c, class_weight=weight, max_iter=1000))
        for c in probing.STRENGTHS
    ]
    scores = [cross_val_score(each, train, labels, cv=folds).mean() for each in pipelines]
    assert len(set(scores)) > 1
    expected = pipelines[int(np.argmax(scores))].fit(train, labels)
    found = probing.probe(train, labels, balanced, seed)
    assert found.score(validation, answers) == expected.score(validation, answers)
    np.testing.assert_allclose(
        found.predict_proba(validation), expected.predict_proba(validation), rtol=1e-6
    )


def test_a_class_of_few_pictures_makes_fewer_folds_and_of_one_is_refused() -> None:
    train, labels = features(60, 2)
    rare = np.zeros_like(labels)
    rare[:2] = 1
    assert probing.probe(train, rare, False, 1).score(train, rare) > 0.9
    rare[1] = 0
    with pytest.raises(ThawError, match="a class has one training picture"):
        probing.probe(train, rare, False, 1)


@pytest.mark.parametrize(
    ("count", "expected"), [(1, [0]), (3, [0, 1, 2]), (11, [0, 2, 5, 8, 10]), (5, [0, 1, 2, 3, 4])]
)
def test_the_depths_that_are_measured_span_all(count: int, expected: list[int]) -> None:
    assert probing.spread(count) == expected


def test_times_between_the_measured_depths_follow_the_work() -> None:
    assert probing.interpolate([1000, 800, 600, 100, 0], {0: 10.0, 2: 6.0, 3: 2.0}) == [
        10.0,
        pytest.approx(8.0),
        6.0,
        2.0,
        2.0,
    ]


@pytest.fixture(scope="module")
def vgg() -> keras.Model:
    keras.utils.set_random_seed(0)
    return backbones.build("VGG16", 32)


def test_the_features_are_each_blocks_own_averages_and_maxima(
    vgg: keras.Model, tmp_path: Path
) -> None:
    folders(tmp_path / "pictures", "a", each=3)
    paths = [f"a/{number}.png" for number in range(3)]
    session = sessions.session(onnx_export.to_onnx(probing.network(vgg, 32)))
    folder, out = tmp_path / "pictures", tmp_path / "x.npy"
    pooled = probing.extract(session, folder, paths, 32, "stretch", out)
    channels = probing.widths(vgg)
    assert pooled.shape == (3, 2, sum(channels))
    pixels = np.stack([decoding.load(tmp_path / "pictures" / path, 32) for path in paths])
    given = keras.applications.vgg16.preprocess_input(pixels.astype(np.float32))
    maps = [given]
    for layer in vgg.layers[1:]:
        given = np.asarray(layer(given))
        if layer.name.endswith("_pool"):
            maps.append(given)
    for depth, each in enumerate(maps):
        expected = np.concatenate([each.mean((1, 2)), each.max((1, 2))], axis=1)
        found = probing.part(pooled, channels, depth)
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize(
    ("name", "layer", "expected"),
    [
        ("MobileNetV2", "block_7_add", "block_8_expand"),
        ("MobileNetV2", "block_15_add", "block_16_expand"),
        ("MobileNetV2", "out_relu", None),
        ("ResNet50", "conv3_block4_add", "conv4_block1_1_conv"),
        ("ResNet50", "conv5_block3_add", None),
    ],
)
def test_the_first_layer_with_weights_after_a_block(
    name: str, layer: str, expected: str | None
) -> None:
    base = backbones.build(name, 32)
    assert probing.first_after(base, backbones.layer_index(base, layer, "x")) == expected


@pytest.mark.parametrize("name", ["MobileNet", "NASNetMobile"])
def test_a_network_without_blocks_is_refused(name: str) -> None:
    with pytest.raises(ThawError, match=f"base_model: {name} has no blocks"):
        probing.depths(backbones.build(name, 32))


@pytest.mark.parametrize(
    ("name", "millions"), [("VGG16", 15_347), ("MobileNetV2", 300)]
)  # as published, the classification layers left out
def test_multiplications_are_as_published(name: str, millions: int) -> None:
    base = backbones.build(name, 224)
    assert probing.multiply_adds(base, 0) == pytest.approx(millions * 1e6, rel=0.01)
    assert probing.multiply_adds(base, len(base.layers) - 1) == 0


def test_what_thawing_trains_is_the_part_above_and_the_head(vgg: keras.Model) -> None:
    spec = heads.HeadSpec("average_max", [], 0.0, 0.0, "glorot_uniform", False)
    classifier = classifiers.classifier(vgg, heads.layers(spec, 2), "average_max", 32)
    at = {index: probing.thaw_above(classifier, vgg, index) for index in probing.depths(vgg)}
    head = 2 * 512 + 1
    block5 = 3 * (9 * 512 * 512 + 512)
    assert next(iter(at.values())) == vgg.count_params() + head
    assert list(at.values())[-2:] == [block5 + head, 0]
    recipe = loop.Optimization("adam", 1e-5, "constant", 1)
    for index in (0, 14):
        assert probing.seconds_a_step(classifier, vgg, index, "average_max", recipe, 2) > 0


class Tiny:
    """A folder in which the probe can run, and its parameters."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("datasets", "pretrained"):
            shutil.copytree(ROOT / name, folder / name)
        self.params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8")) | {
            "dataset": "folder",
            "source": str(folders(folder / "pictures", "a", "b", each=30)),
            "base_model": "VGG16",
            "fine_tune_at": "block5_conv1",
            "weights": "random",
            "image_size": 32,
            "cache": {"layer": "block4_pool", "bottleneck": "blocks", "store": None},
            "batch_size": 8,
        }

    def run(self, *scripts: str, **changes: object) -> None:
        with contextlib.chdir(self.folder):
            text = yaml.safe_dump(self.params | changes)
            Path("params.yaml").write_text(text, encoding="utf-8")
            for name in scripts:
                place = "commands" if name == "probe" else "stages"
                importlib.import_module(f"{place}.{name}").main()

    def rows(self) -> list[dict[str, str]]:
        with (self.folder / "probe/probe.csv").open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tiny]:
    with pytest.MonkeyPatch.context() as patched:
        # TensorFlow's threads can't be set twice in a process.
        patched.setattr(loop, "prepare", lambda seed, _: keras.utils.set_random_seed(seed))
        made = Tiny(tmp_path_factory.mktemp("tiny"))
        made.run("download", "weights", "split")
        yield made


@pytest.fixture(scope="module")
def printed(tiny: Tiny) -> str:
    """The command is run; what it prints."""
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        tiny.run("probe")
    return text.getvalue()


def test_the_command_writes_a_table_a_picture_and_an_advice(tiny: Tiny, printed: str) -> None:
    rows = tiny.rows()
    assert [row["block"] for row in rows] == ["pixels", *(f"block{n}_pool" for n in range(1, 6))]
    assert [row["fine_tune_at"] for row in rows] == [*(f"block{n}_conv1" for n in range(1, 6)), ""]
    validation = 8  # 30 pictures a class, of which 9 are held out and 5 of these tested on
    for row in rows:
        accuracy = float(row["accuracy"])
        assert accuracy * validation == pytest.approx(round(accuracy * validation))
        error = math.sqrt(accuracy * (1 - accuracy) / validation)
        assert float(row["standard_error"]) == pytest.approx(error)
    assert float(rows[-1]["seconds"]) == int(rows[-1]["parameters"]) == 0
    assert all(float(row["seconds"]) > 0 for row in rows[:-1])
    assert sorted(path.name for path in (tiny.folder / "probe").iterdir()) == [
        "probe.csv",
        "probe.md",
        "probe.png",
    ]
    written = (tiny.folder / "probe/probe.md").read_text(encoding="utf-8")
    assert written.strip() in printed
    advised = [row["fine_tune_at"] for row in rows if row["advised"] == "1"]
    assert len(advised) == 1
    assert f"Advice: `dvc exp run -S fine_tune_at={advised[0]}" in written
    assert not (tiny.folder / "metrics/environment.json").exists()


@pytest.mark.usefixtures("printed")
def test_accuracies_are_the_same_in_every_run(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    first = [row["accuracy"] for row in tiny.rows()]
    monkeypatch.setattr(probe, "costs", lambda *_: ([1] * 5 + [0], [1.0] * 6))
    tiny.run("probe")
    assert [row["accuracy"] for row in tiny.rows()] == first


def test_more_pictures_than_the_probes_learn_from_are_drawn_among(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = pd.DataFrame({"path": map(str, range(50))})

    def drawn(seed: int) -> list[str]:
        return probe.some(rows, seed)["path"].tolist()

    assert drawn(1) == rows["path"].tolist()
    monkeypatch.setattr(probing, "MOST", 20)
    assert len(drawn(1)) == 20
    assert drawn(1) == sorted(drawn(1), key=int) == drawn(1) != drawn(2)
    assert drawn(1) != rows["path"].tolist()[:20]


@pytest.mark.parametrize(
    ("block", "layer", "expected"),
    [
        ("block2_pool", "block4_pool", " -S cache.layer=block2_pool"),
        ("block4_pool", "block4_pool", ""),
        ("block4_pool", "block3_pool", ""),
        ("pixels", "block4_pool", ""),
        ("block2_pool", "pixels", ""),
    ],
)
def test_the_command_that_follows_the_advice_moves_a_cached_layer_that_lies_above(
    tiny: Tiny, vgg: keras.Model, block: str, layer: str, expected: str
) -> None:
    index = 0 if block == "pixels" else backbones.layer_index(vgg, block, "x")
    depth = probing.depth(vgg, index, 0.9, 10, 5, 1.0)
    advice = probing.Advice(depth, depth, depth, True, True, 2, "x", "y")
    given = probe.Params.model_validate(
        tiny.params | {"cache": {"layer": layer, "bottleneck": "blocks", "store": None}}
    )
    at = probing.first_after(vgg, index)
    assert (
        probe.command(advice, probe.cached_layer(given, vgg))
        == f"dvc exp run -S fine_tune_at={at}{expected}"
    )


def test_what_is_missing_is_named_with_the_remedy(tiny: Tiny) -> None:
    for path in ("data/split.csv", "data/weights/base.weights.h5"):
        (tiny.folder / path).rename(tiny.folder / "away")
        with pytest.raises(
            ThawError, match=rf"^{path} is missing; run `make probe`, or `dvc repro"
        ):
            tiny.run("probe")
        (tiny.folder / "away").rename(tiny.folder / path)


@pytest.mark.parametrize("part", ["train", "validation"])
def test_one_class_is_refused(tiny: Tiny, part: str) -> None:
    split = tiny.folder / "data/split.csv"
    kept = split.read_text(encoding="utf-8")
    lines = [line for line in kept.splitlines() if f",b,{part}," not in line]
    split.write_text("\n".join(lines) + "\n", encoding="utf-8")
    with pytest.raises(ThawError, match=f"^data/split.csv: the {part} pictures are all of one"):
        tiny.run("probe")
    split.write_text(kept, encoding="utf-8")


def test_a_head_that_cant_be_trained_is_refused(tiny: Tiny) -> None:
    head = tiny.params["head"] | {"pooling": "flatten"}
    with pytest.raises(ThawError, match=r"head\.pooling: flatten"):
        tiny.run("probe", head=head)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (
            {
                "base_model": "MobileNet",
                "cache": {"layer": "conv_pw_6_relu", "bottleneck": "pooled", "store": None},
                "fine_tune_at": "conv_pw_12",
            },
            "base_model: MobileNet has no blocks",
        ),
        (
            {"cache": {"layer": "block9", "bottleneck": "pooled", "store": None}},
            "cache.layer: block9: VGG16 has",
        ),
    ],
)
def test_what_cant_be_probed_is_refused_before_any_work(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch, changes: dict[str, object], told: str
) -> None:
    monkeypatch.setattr(probe, "accuracies", None)
    with pytest.raises(ThawError, match=told):
        tiny.run("probe", **changes)
