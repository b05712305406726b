import json
from dataclasses import asdict, replace

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sk

from thaw.drawing import summary
from thaw.evaluation import comparison, influence, intervals, metrics, record

SPOTS = record.WeakSpots(80, 12, [])


def sample(classes: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    labels = np.arange(count) % classes
    shares = generator.random((count, classes)) + np.eye(classes)[labels] / 2
    return labels, shares / shares.sum(axis=1, keepdims=True)


def test_curve_of_two_classes_is_the_seconds():
    labels, probabilities = sample(2, 40)
    points = np.array(comparison.curve("roc", labels, probabilities))
    expected = sk.roc_auc_score(labels, probabilities[:, 1])
    assert sk.auc(points[:, 0], points[:, 1]) == pytest.approx(expected)
    assert set(points[1:, 2]) <= set(probabilities[:, 1])


def test_curve_of_the_positive_class():
    labels, probabilities = sample(3, 60)
    points = np.array(comparison.curve("roc", labels, probabilities, 0))
    expected = sk.roc_auc_score(labels == 0, probabilities[:, 0])
    assert sk.auc(points[:, 0], points[:, 1]) == pytest.approx(expected)


@pytest.mark.parametrize("ties", [False, True])
def test_curves_of_three_classes_are_the_mean_whose_area_is_in_the_table(ties: bool):
    labels, probabilities = sample(3, 61)
    if ties:  # eighths, whose sum is exactly one
        probabilities = np.random.default_rng(0).multinomial(8, probabilities) / 8
    scores = metrics.scores(labels, probabilities)
    for kind in ("roc", "pr"):
        across, up = np.array(comparison.curve(kind, labels, probabilities)).T
        if kind == "roc":
            assert sk.auc(across, up) == pytest.approx(scores["roc_auc"])
            assert [across[0], up[0], across[-1], up[-1]] == [0, 0, 1, 1]
            assert (np.diff(across) >= 0).all()
            assert (np.diff(up) >= -1e-12).all()
        else:
            area = -np.sum(np.diff(across) * up[:-1])
            assert area == pytest.approx(scores["average_precision"])
            assert [across[0], across[-1], up[-1]] == [1, 0, 1]


@pytest.mark.parametrize(("kind", "ends"), [("roc", [(0, 0), (1, 1)]), ("pr", [(1, 0.5), (0, 1)])])
def test_long_curve_is_thinned_and_keeps_its_ends(kind: str, ends: list[tuple[float, float]]):
    labels, probabilities = sample(2, 4000)
    points = comparison.curve(kind, labels, probabilities)
    assert 400 <= len(points) <= 500
    assert [points[0][:2], points[-1][:2]] == ends
    assert points == sorted(points, reverse=kind == "pr", key=lambda point: point[0])
    assert all(0 <= threshold <= 1 for _, _, threshold in points)


def test_by_group():
    rows = pd.DataFrame({"subgroup": ["y", "x", "y", "", "007"]}, dtype=object)
    right = np.array([True, True, False, True, False])
    found = comparison.by_group(rows, "subgroup", ["y", "x", "", "gone", "007"], right)
    assert [(name, each["pictures"], each["accuracy"]) for name, each in found.items()] == [
        ("y", 2, 0.5),
        ("x", 1, 1.0),
        ("", 1, 1.0),
        ("007", 1, 0.0),
    ]
    assert (found["y"]["low"], found["y"]["high"]) == intervals.wilson(0.5, 2)
    assert json.loads(json.dumps(found)) == found


@pytest.mark.parametrize(
    ("p_value", "told"),
    [(0.0499, "That is more than chance."), (0.05, "On these pictures that can be chance.")],
)
def test_verdict(p_value: float, told: str):
    comparison = record.Comparison(12, 3, p_value, 0.0135, -0.001, 0.03)
    assert summary.verdict(comparison) == (
        "Fine-tuning mended 12 of the head's mistakes and broke 3 that were right: "
        f"accuracy +1.35% [-0.10%, +3.00%], McNemar p = {p_value:.2g}. {told}"
    )


def test_text_has_a_row_for_every_score_and_is_read_back_from_json():
    labels, probabilities = sample(2, 60)
    scores = metrics.scores(labels, probabilities, 0)
    head = dict.fromkeys(scores, 0.25)
    rows = pd.DataFrame({"label": ["nok" if each == 0 else "a|b" for each in labels]})
    rows["subgroup"] = ""
    found = {"head": probabilities, "fine_tuned": probabilities}
    tested = comparison.evaluate(
        labels,
        found,
        {name: each.argmax(axis=1) for name, each in found.items()},
        {"head": head, "fine_tuned": scores},
        rows,
        classes=["nok", "a|b"],
        positive="nok",
        test_set="x",
    )
    assert list(tested.groups["label"]["head"]) == ["nok", "a|b"]
    assert tested.groups["label"]["head"]["nok"]["pictures"] == (labels == 0).sum()
    expected = intervals.scores(influence.judge(labels, probabilities, 0))
    assert tested.intervals["head"] == expected
    assert sum(pictures for *_, pictures in tested.confusion["head"]) == 60
    lines = summary.text(tested, SPOTS).splitlines()
    assert lines[0].startswith("Test: 60 pictures. In brackets: 95 % intervals, Wilson's")
    assert lines[2] == "|  | head only | fine-tuned |"
    for name, line in zip(record.TITLES, lines[4:12], strict=True):
        low, high = tested.intervals["head"][name]
        span = f"[{low:.4f}, {high:.4f}]"
        title = record.TITLES[name] + (" of `nok`" if name in record.BY_CLASS else "")
        assert line == f"| {title} | 0.2500 {span} | {scores[name]:.4f} {span} |"
    assert lines[-1].startswith("Weak spots: the model is worse than on the others in none of 12")
    alone = summary.text(replace(tested, thawed=False, tried=0), SPOTS)
    assert "|  | head only |" in alone
    assert "fine-tuned |" not in alone
    assert "Nothing was fine-tuned (`fine_tune_at: null`)" in alone
    assert "McNemar" not in alone
    for tried, told in (
        (1, "The one epoch of fine-tuning was no better on validation than the head"),
        (10, "None of the 10 epochs of fine-tuning was better on validation than the head"),
    ):
        untaken = summary.text(replace(tested, thawed=False, tried=tried), SPOTS)
        assert f"{told}: the head's model is the result." in untaken
        assert "fine-tuned" not in untaken
    error = scores["calibration_error"]
    for without, told in (
        (error, "on average. Of"),
        (0.5, "average, before calibration by 50.00%"),
    ):
        known = {"accuracy_at_80": 0.9, "uncalibrated_error": without, "in_doubt": 0.0}
        sure = replace(tested, confidence={"fine_tuned": known})
        assert f"differ by {error:.2%} on average" in summary.text(sure, SPOTS)
        assert told in summary.text(sure, SPOTS)
    back = record.Evaluation.of(json.loads(json.dumps(asdict(tested))))
    assert summary.text(back, SPOTS) == summary.text(tested, SPOTS)


@pytest.mark.parametrize(
    ("taken", "thawed", "tried"), [([], False, 0), ([0.0, 0.0], False, 2), ([0.0, 1.0], True, 2)]
)
def test_nothing_was_fine_tuned_unless_an_epoch_was_taken(
    taken: list[float], thawed: bool, tried: int
):
    labels, probabilities = sample(2, 20)
    found = {"head": probabilities, "fine_tuned": probabilities}
    scores = {name: metrics.scores(labels, probabilities) for name in found}
    rows = pd.DataFrame({"label": [str(each) for each in labels], "subgroup": ""})
    tested = comparison.evaluate(
        labels,
        found,
        {name: each.argmax(axis=1) for name, each in found.items()},
        scores,
        rows,
        classes=["0", "1"],
        positive="1",
        test_set="x",
        taken=taken,
    )
    assert (tested.thawed, tested.tried) == (thawed, tried)
    assert ("fine_tuned" in tested.compared) == thawed


@pytest.mark.parametrize(
    ("name", "positive", "expected"),
    [
        ("recall", "a|b", "recall of <code>a&#124;b</code>"),
        ("roc_auc", None, "ROC AUC (mean over the classes)"),
        ("accuracy", "nok", "accuracy"),
        ("loss", None, "cross-entropy"),
    ],
)
def test_a_title_says_whose_score_it_is(name: str, positive: str | None, expected: str):
    assert summary.title(name, positive) == expected


@pytest.mark.parametrize("kind", ["roc", "pr"])
def test_a_mean_curves_points_are_those_of_the_whole_curve(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = np.random.default_rng(3)
    labels = generator.integers(0, 30, 900)
    shares = generator.random((900, 30)).round(2) + np.eye(30)[labels] / 2
    monkeypatch.setattr(comparison, "CURVE_POINTS", 10**6)
    whole = comparison.curve(kind, labels, shares)
    monkeypatch.setattr(comparison, "CURVE_POINTS", 20)
    assert comparison.curve(kind, labels, shares) == [whole[n] for n in comparison.kept(len(whole))]
