"""What the page shows, from plain values."""

import base64
import io
import json
import re

import numpy as np
import pandas as pd
import pytest
import vl_convert
from PIL import Image

from helpers import pixels
from thaw.drawing.card import Share
from thaw.evaluation import record
from thaw.review import pages, share_tables

EPOCHS = pd.DataFrame(
    [
        {
            "epoch": float(epoch),
            "train_loss": 1 / epoch,
            "validation_loss": 1.1 / epoch,
            "train_accuracy": 1 - 0.1 / epoch,
            "validation_accuracy": 1 - 0.2 / epoch,
        }
        for epoch in (1, 2, 3)
    ]
)


def test_a_drawing_runs_down_and_leaves_out_what_follows() -> None:
    stages = {name: f"does {name}" for name in ("get", "split", "weights", "train", "judge")}
    edges = [("get", "split"), ("split", "train"), ("get", "train"), ("weights", "train")]
    found = pages.drawing(stages, [*edges, ("train", "judge"), ("get", "judge")])
    places = {node["name"]: (node["x"], node["y"]) for node in found.nodes}
    assert [node["name"] for node in found.nodes] == ["get", "split", "weights", "train", "judge"]
    assert places["split"][1] == places["weights"][1] < places["train"][1] < places["judge"][1]
    assert len(found.edges) == 4
    assert found.nodes[0]["about"] == "does get"
    for x, y in places.values():
        assert found.box / 2 <= x <= found.width - found.box / 2
        assert 0 <= y <= found.height - found.tall
    assert len(set(places.values())) == len(places)


def test_parameters_lie_in_their_groups() -> None:
    params = {"seed": 1, "source": None, "head": {"hidden": [4, 2], "pooling": "max"}}
    assert pages.grouped(params) == [
        ("general", [("seed", "1"), ("source", "null")]),
        ("head", [("hidden", "[4, 2]"), ("pooling", "max")]),
    ]


def rows(loss: float, positive: str | None = "b") -> dict[str, dict[str, object]]:
    names = ("precision", "recall", "f1", "roc_auc", "average_precision", "calibration_error")
    values = dict.fromkeys(("accuracy", *names), 0.5) | {"loss": loss}
    within = dict.fromkeys(values, (0.25, 0.75)) | {"loss": (loss / 2, 2 * loss)}
    return {row["title"]: row for row in pages.scores([values, values], [within, within], positive)}


def test_a_metric_has_its_value_interval_and_bar() -> None:
    found = rows(0.4)
    cell = found["accuracy"]["cells"][1]
    assert cell == {
        "value": "0.5000",
        "interval": "[0.2500, 0.7500]",
        "low": 25.0,
        "wide": 50.0,
        "at": 50.0,
    }
    assert found["accuracy"]["note"] == ""
    assert found["cross-entropy"]["note"] == "lower is better"
    assert found["cross-entropy"]["cells"][0]["at"] == 40.0


@pytest.mark.parametrize(("positive", "note"), [("b", "of b"), (None, "mean over the classes")])
def test_a_metric_of_a_class_names_it(positive: str | None, note: str) -> None:
    found = rows(0.4, positive)
    assert found["recall"]["note"] == found["average precision"]["note"] == note
    assert found["accuracy"]["note"] == ""


def test_a_bar_that_is_longer_than_one_says_where_it_ends() -> None:
    row = rows(2.0)["cross-entropy"]
    assert row["note"] == "lower is better, bar ends at 4.00"
    assert row["cells"][0] == {
        "value": "2.0000",
        "interval": "[1.0000, 4.0000]",
        "low": 25.0,
        "wide": 75.0,
        "at": 50.0,
    }


@pytest.mark.parametrize(
    ("metric", "value", "word"),
    [("accuracy", 0.04, "better"), ("accuracy", -0.04, "worse"), ("loss", -0.04, "better")],
)
def test_a_difference_is_told_with_its_interval(metric: str, value: float, word: str) -> None:
    values = dict.fromkeys(record.TITLES, 0.5)
    within = dict.fromkeys(values, (0.25, 0.75))
    apart = dict.fromkeys(values, record.Difference(0.01, -0.02, 0.04, 0.4))
    apart[metric] = record.Difference(value, value - 0.01, value + 0.01, 1e-6)
    found = pages.scores([values, values], [within, within], "b", apart)
    told = {row["title"]: row["difference"] for row in found}
    ends = [f"{end:+.4f}".replace("-", "−") for end in (value - 0.01, value + 0.01)]
    assert told[record.TITLES[metric]]["interval"] == f"[{', '.join(ends)}]"
    assert told[record.TITLES[metric]]["word"] == word
    assert told["recall"] == {
        "value": "+0.0100",
        "interval": "[−0.0200, +0.0400]",
        "word": "can be chance",
    }
    assert pages.scores([values], [within], "b")[0]["difference"] is None


def test_the_slider_counts_what_comes_of_each_threshold() -> None:
    labels = np.array([1, 1, 0, 0, 0])
    second = np.array([0.9, 0.4137, 0.5, 0.2, 0.0])
    part = pages.Judged("validation", labels, np.stack([1 - second, second], axis=1))
    found = pages.thresholds([part], [1], 0.4137)
    grid = found["grid"]
    assert grid[found["used"]] == 0.4137
    assert (grid[0], grid[-1], len(grid)) == (0, 1, 202)
    positives, others, hits, alarms = found["parts"][0]["classes"][0]
    assert (positives, others) == (2, 3)
    for at, each in enumerate(grid):
        assert hits[at] == ((second >= each) & (labels == 1)).sum()
        assert alarms[at] == ((second >= each) & (labels == 0)).sum()
    assert hits[found["used"]] == 2
    many = pages.thresholds([part], [0, 1] * 60, None)
    assert (len(many["grid"]), many["used"]) == (51, None)
    assert json.loads(pages.embedded(found)) == found


def test_of_many_classes_the_most_confused_pairs_are_listed() -> None:
    labels = np.array([0, 0, 0, 1, 2])
    found = pages.confused(labels, np.array([1, 1, 0, 1, 0]), 3)
    assert found == [
        {"actual": 0, "predicted": 1, "count": 2, "of": 3},
        {"actual": 2, "predicted": 0, "count": 1, "of": 1},
    ]


def test_a_curve_has_the_line_of_guessing() -> None:
    points = pd.DataFrame({"fpr": [0.0, 1.0], "tpr": [0.0, 1.0]})
    spec = pages.curve({"head only": points}, "fpr", "tpr", ("x", "y"), [(0, 0), (1, 1)])
    line = spec["layer"][0]["data"]["values"]
    assert line == [{"fpr": 0, "tpr": 0}, {"fpr": 1, "tpr": 1}]
    assert "guessing" in vl_convert.vegalite_to_svg({**spec, "width": 300})


def test_a_share_of_nothing_is_a_dash() -> None:
    assert share_tables.share(Share(154, 205)) == ("75.1%", "[68.8%, 80.5%]")
    assert share_tables.share(Share(0, 0)) == ("–", "")


def test_a_confusion_matrix_counts_and_gives_shares_of_rows() -> None:
    labels = np.array([0, 0, 0, 0, 1])
    found = pages.confusion(labels, np.array([0, 0, 0, 1, 1]), 3)
    assert [[cell["count"] for cell in row] for row in found] == [[3, 1, 0], [0, 1, 0], [0, 0, 0]]
    assert [[cell["share"] for cell in row] for row in found] == [[75, 25, 0], [0, 100, 0], [0] * 3]


@pytest.mark.parametrize("starts", [None, 2])
def test_a_learning_curve_has_a_border_where_fine_tuning_starts(starts: int | None) -> None:
    spec = pages.learning_curve(EPOCHS, starts, "loss", "cross-entropy")
    values = spec["data"]["values"]
    assert {(row["epoch"], row["pictures"], row["cross-entropy"]) for row in values} == {
        (epoch, kind, first / epoch)
        for epoch in (1, 2, 3)
        for kind, first in (("training", 1), ("validation", 1.1))
    }
    rules = [layer["data"]["values"] for layer in spec["layer"] if "data" in layer]
    assert rules == ([] if starts is None else [[{"epoch": 2.5}]] * 2)


@pytest.mark.parametrize(
    ("name", "ends"),
    [("loss", {"domainMin": 0}), ("accuracy", {"domainMax": 1}), ("low", {})],
)
def test_an_axis_ends_where_nothing_can_lie(name: str, ends: dict[str, int]) -> None:
    history = EPOCHS.copy()
    if name == "low":
        name = "accuracy"
        history[["train_accuracy", "validation_accuracy"]] /= 2
    spec = pages.learning_curve(history, 2, name, name)
    scale = spec["layer"][0]["encoding"]["y"]["scale"]
    assert {key: value for key, value in scale.items() if key.startswith("domain")} == ends
    drawn = vl_convert.vegalite_to_svg({**spec, "width": 300})
    numbers = [float(each.replace("−", "-")) for each in re.findall(r">(−?[\d.]+)</text>", drawn)]
    assert min(numbers) >= 0


def test_a_curve_keeps_the_order_of_its_points() -> None:
    points = pd.DataFrame([{"fpr": 0.0, "tpr": y, "threshold": 1 - y} for y in (0.0, 0.5, 0.2)])
    spec = pages.curve(
        {"head only": points, "fine-tuned": points[:1]}, "fpr", "tpr", ("x", "y"), [(0, 0), (1, 1)]
    )
    values = spec["data"]["values"]
    assert [row["place"] for row in values] == [0, 1, 2, 0]
    assert [row["model"] for row in values] == ["head only"] * 3 + ["fine-tuned"]
    assert all(layer["encoding"]["x"]["field"] == "fpr" for layer in spec["layer"])


@pytest.mark.parametrize(
    ("size", "side", "smaller"),
    [((200, 100), 50, (50, 25)), ((20, 10), 50, (20, 10)), ((200, 100), None, (200, 100))],
)
def test_a_picture_becomes_an_address(
    size: tuple[int, int], side: int | None, smaller: tuple[int, int]
) -> None:
    image = Image.fromarray(pixels(1, *size))
    head, _, content = pages.webp(image, side).partition(",")
    assert head == "data:image/webp;base64"
    with Image.open(io.BytesIO(base64.b64decode(content))) as opened:
        assert (opened.format, opened.size) == ("WEBP", smaller)


def test_no_text_ends_the_script_that_holds_it() -> None:
    texts = ["</script><script>alert(1)</script>", "<!--", "\u2028", "é \\u003c"]
    found = pages.embedded({"texts": texts})
    assert not re.search("[<\u2028]", found)
    assert json.loads(found) == {"texts": texts}


@pytest.mark.parametrize("models", [["head"], ["head", "fine_tuned"]])
def test_each_class_has_recall_and_precision_with_intervals(models: list[str]) -> None:
    confusion = {model: [(0, 0, 6), (0, 1, 2), (1, 1, 9)] for model in models}
    table = share_tables.by_class(confusion, ["moss", "rust", "ivy"])
    first, _, last = table.rows
    assert first[0] == "moss"
    recall, precision = share_tables.share(Share(6, 8)), share_tables.share(Share(6, 6))
    assert first[1] == [("8", ""), *[recall] * len(models), *[precision] * len(models)]
    assert last[1] == [("0", ""), *[("–", "")] * 2 * len(models)]
    assert len(table.heads) == len(first[1])
    assert table.heads[1] == ("recall" if len(models) == 1 else "recall, head only")


def test_folds_are_tables_of_scores_and_groups() -> None:
    groups = {"mono": {"pictures": 1200, "accuracy": 0.9, "low": 0.88, "high": 0.92}}
    score = {"mean": 0.9, "spread": 0.01, "together": 0.89, "low": 0.87, "high": 0.91}
    result = {
        "positive": "rust",
        "head": {"scores": {"accuracy": score, "f1": score}, "groups": {"subgroup": groups}},
    }
    scores, by_subgroup = share_tables.by_folds(result)
    assert scores.rows[1] == (
        "F1 of rust",
        [("0.9000", ""), ("0.0100", ""), ("0.8900", "[0.8700, 0.9100]")],
    )
    assert by_subgroup.rows == [("mono", [("1,200", ""), ("90.0%", "[88.0%, 92.0%]")])]
