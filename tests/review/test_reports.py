import numpy as np
import pytest

from thaw.drawing import markdown
from thaw.evaluation import differences, record
from thaw.review import reports
from thaw.review.reports import Flip, Noise, Predictions

TEXT = """\
path,label,subgroup,head_a,head_b,fine_tuned_a,fine_tuned_b
x.png,a,,0.9,0.1,0.8,0.2
y.png,b,,0.4,0.6,0.7,0.3
"""
COLUMNS = ("before", "after")


def run(labels: dict[str, str], second: list[float], classes: tuple[str, ...] = ("a", "b")):
    """Predictions of two classes, by the share of the second."""
    shares = np.array([[1 - share, share] for share in second])
    return Predictions(classes, labels, {"head": shares, "fine_tuned": shares})


def sample(count: int = 80, seed: int = 0) -> reports.Pair:
    generator = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    before, after = (
        np.clip(0.5 + (labels - 0.5) * skill + generator.normal(0, 0.3, count), 0.01, 0.99)
        for skill in (0.2, 1.2)
    )
    return reports.Pair(labels, *(np.stack([1 - p, p], axis=1) for p in (before, after)))


def test_predictions_are_read_as_evaluate_writes_them() -> None:
    found = reports.predictions(TEXT)
    assert found.classes == ("a", "b")
    assert found.labels == {"x.png": "a", "y.png": "b"}
    assert found.probabilities["head"].tolist() == [[0.9, 0.1], [0.4, 0.6]]
    assert found.probabilities["fine_tuned"].tolist() == [[0.8, 0.2], [0.7, 0.3]]


def test_a_class_may_be_called_as_a_model() -> None:
    found = reports.predictions(TEXT.replace("_a", "_head_").replace("_b", "_fine_tuned_"))
    assert found.classes == ("head_", "fine_tuned_")


@pytest.mark.parametrize(
    "text",
    ["", "path,label,subgroup,head_a,fine_tuned_b\n", TEXT.replace("0.9", "x"), TEXT + "z,a,,1\n"],
)
def test_what_are_no_predictions_is_an_error(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        reports.predictions(text)


@pytest.mark.parametrize("classes", [("a", "b"), ("b", "a")])
def test_runs_are_paired_by_name_whatever_the_order(classes: tuple[str, str]) -> None:
    before = run({"x": "a", "y": "b", "z": "b"}, [0.1, 0.6, 0.7])
    second = [0.2, 0.3, 0.9]  # of the class b
    if classes == ("b", "a"):
        second = [1 - share for share in second]
    after = run({"z": "b", "x": "a", "y": "b"}, second, classes)
    pair = reports.pair(before, after, "head")
    assert pair.labels.tolist() == [0, 1, 1]
    assert pair.before[:, 1].tolist() == [0.1, 0.6, 0.7]
    assert pair.after[:, 1].tolist() == pytest.approx([0.3, 0.9, 0.2])


FIRST = run({"x": "a", "y": "b"}, [0.1, 0.6])


def on(
    predictions: Predictions | None = FIRST, test_set: str = "", dataset: str = "cells"
) -> reports.Tested:
    return reports.Tested(dataset, frozenset("ab"), test_set, predictions)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (on(), on()),
        (on(None, "1"), on(None, "1")),
        (on(test_set="1"), on(None, "1", "pets")),  # the same pictures by another name
        (on(), on(test_set="1")),
    ],
)
def test_runs_on_the_same_pictures_are_compared(
    before: reports.Tested, after: reports.Tested
) -> None:
    assert reports.unlike(before, after) is None


@pytest.mark.parametrize(
    ("before", "after", "note", "sentence"),
    [
        (
            on(),
            reports.Tested("pets", frozenset(["dog", "cat"]), "", None),
            "other classes",
            "The classes differ (`a`, `b` before; `cat`, `dog` after)",
        ),
        (
            on(),
            on(dataset="pets"),
            "another dataset",
            "The datasets differ (`cells` before, `pets` after)",
        ),
        (
            on(),
            on(run({"x": "a", "z": "b"}, [0.1, 0.6])),
            "other test pictures",
            "The test pictures differ (2 before, 2 after, 1 of the same name and class)",
        ),
        (
            on(),
            on(run({"x": "a", "y": "a"}, [0.1, 0.6])),
            "other test pictures",
            "The test pictures differ (2 before, 2 after, 1 of the same name and class)",
        ),
        (
            on(test_set="1"),
            on(test_set="2"),
            "other test pictures",
            "The test pictures have the same names but other contents",
        ),
        (
            on(None, "1"),
            on(None, "2"),
            "other test pictures",
            "The test pictures differ",
        ),
        (
            on(None),
            on(test_set="2"),
            "predictions are missing",
            "Whether both were tested on the same pictures isn't known, since the predictions of "
            "one are missing",
        ),
    ],
)
def test_runs_on_other_pictures_are_not_compared(
    before: reports.Tested, after: reports.Tested, note: str, sentence: str
) -> None:
    assert reports.unlike(before, after) == reports.Unlike(note, sentence)


def test_scores_that_cant_be_compared_have_no_verdict() -> None:
    sides = [{"accuracy": 0.8}, {"accuracy": 0.9}]
    text = reports.scores(sides, [{}, {}], None, ("b", "b"), COLUMNS)
    assert text.splitlines()[0] == "| metric | before | after |"
    assert "| accuracy | 0.8000 | 0.9000 |" in text
    assert "better" not in text
    assert "chance" not in text


def test_a_score_of_another_class_is_not_compared() -> None:
    sides = [{"accuracy": 0.8, "recall": 0.3}, {"accuracy": 0.9, "recall": 0.7}]
    noise = {"accuracy": Noise(False), "recall": Noise(False)}
    text = reports.scores(sides, [{}, {}], noise, ("a", "b"), COLUMNS)
    assert "| accuracy | 0.8000 | 0.9000 | +0.1000 better | – | more than chance |" in text
    assert "| recall | 0.3000 | 0.7000 | – | – | – |" in text


def test_noise_is_of_the_class_that_the_scores_are_of() -> None:
    pair = sample()
    first, second = (reports.paired_noise(pair, positive)[0] for positive in (0, 1))
    assert first["recall"] != second["recall"]
    assert first["accuracy"] == second["accuracy"]
    assert reports.paired_noise(pair)[0] == second


def test_a_changes_interval_is_that_of_the_paired_difference() -> None:
    pair = sample()
    noise, comparison = reports.paired_noise(pair)
    expected = differences.differences(pair.labels, pair.before, pair.after)
    assert set(noise) == set(reports.TITLES)
    for name, each in expected.items():
        assert noise[name].interval == (each.low, each.high), name
    assert not noise["loss"].chance
    assert noise["accuracy"].interval == (comparison.low, comparison.high)
    assert comparison.p_value < record.LEVEL
    assert not noise["accuracy"].chance


def test_scores_beside_accuracy_are_told_together() -> None:
    """One that its own test tells is chance where the other six say nothing."""
    found = {name: record.Difference(0.1, -0.1, 0.3, 0.5) for name in record.TITLES}
    found |= {name: record.Difference(0.1, 0.01, 0.2, 0.03) for name in ("accuracy", "f1")}
    more = differences.more_than_chance(found)
    assert [name for name, each in more.items() if each] == ["accuracy"]
    found["f1"] = record.Difference(0.1, 0.05, 0.2, 0.007)
    assert differences.more_than_chance(found)["f1"]


def test_accuracy_is_chance_when_mcnemar_says_so() -> None:
    labels = np.arange(60) % 2
    right = np.where(labels == 1, 0.9, 0.1)
    before = right.copy()
    before[:4] = 1 - before[:4]
    shares = [np.stack([1 - p, p], axis=1) for p in (before, right)]
    noise, comparison = reports.paired_noise(reports.Pair(labels, *shares))
    assert noise["accuracy"].chance
    assert reports.verdict(comparison, 60) == (
        "On the same 60 test pictures, 4 went from wrong to right and 0 from right to wrong: "
        "accuracy +6.67% [0.00%, +15.93%], McNemar p = 0.062. That can be chance."
    )


def test_nothing_changed_is_chance() -> None:
    pair = sample()
    same = reports.Pair(pair.labels, pair.before, pair.before)
    assert reports.identical(same)
    assert not reports.identical(pair)
    noise, _ = reports.paired_noise(same)
    assert all(each == Noise(True, (0.0, 0.0)) for each in noise.values())


@pytest.mark.parametrize(
    ("first", "second", "chance"),
    [([1, 2], [2, 3], True), ([1, 2], [2.1, 3], False), ([2.1, 3], [1, 2], False)],
)
def test_without_pairs_intervals_must_lie_apart(
    first: list[float], second: list[float], chance: bool
) -> None:
    assert reports.unpaired_noise({"f1": first, "loss": [0, 1]}, {"f1": second}) == {
        "f1": Noise(chance)
    }


def test_flips_come_right_to_wrong_first_and_then_by_confidence() -> None:
    names = ("a", "b", "c")
    #            kept, broken, broken, mended, other
    labels = np.array([0, 0, 0, 1, 2])
    before = np.array(
        [[0.8, 0.1, 0.1], [0.9, 0.1, 0], [0.5, 0.4, 0.1], [0.6, 0.3, 0.1], [0.7, 0.2, 0.1]]
    )
    after = np.array([[0.7, 0.2, 0.1], [0.4, 0.6, 0], [0.1, 0.1, 0.8], [0, 1.0, 0], [0.1, 0.9, 0]])
    found = reports.flips(reports.Pair(labels, before, after), ["k", "p", "q", "r", "s"], names)
    assert [(flip.path, flip.kind) for flip in found] == [
        ("q", "right to wrong"),
        ("p", "right to wrong"),
        ("r", "wrong to right"),
        ("s", "wrong to another wrong"),
    ]
    assert found[0] == Flip("q", "a", "a", "c", 0.5, 0.8)
    assert reports.caption(found[0]) == "a 50% → c 80%"


def test_a_long_table_of_flips_says_how_many_are_left_out() -> None:
    flips = [Flip(f"{number}.png", "a", "a", "b", 0.6, 0.7) for number in range(23)]
    text = reports.flipped(flips)
    assert text.count(".png") == reports.LISTED == 20
    assert text.endswith("\n\nAnd 3 more, in flipped.csv.")
    assert reports.flipped(flips[:20]).endswith("| `19.png` | `a` | `a` 60.0% | `b` 70.0% |")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("main", "`main`"),
        ("<b>@you</b> $x$", "`<b>@you</b> $x$`"),
        ("a|b", "<code>a&#124;b</code>"),
        ("`x`", "<code>&#96;x&#96;</code>"),
        ("\\", "<code>&#92;</code>"),
        ("a\nb", "<code>a&#92;nb</code>"),
        ("", "<code></code>"),
        (" ", "<code>&#32;</code>"),
        (None, "`None`"),
    ],
)
def test_any_name_is_code(text: object, expected: str) -> None:
    assert markdown.code(text) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0.5, "+0.5000"), (-0.5, "−0.5000"), (0.0, "0.0000"), (-0.00001, "0.0000")],
)
def test_changes_have_a_sign(value: float, expected: str) -> None:
    assert markdown.signed(value) == expected


@pytest.mark.parametrize(
    ("name", "change", "expected"),
    [
        ("accuracy", 0.1, "better"),
        ("accuracy", -0.1, "worse"),
        ("loss", 0.1, "worse"),
        ("calibration_error", -0.1, "better"),
        ("f1", 0.00004, "same"),
        ("loss", 0.0, "same"),
    ],
)
def test_a_word_says_what_a_change_is_worth(name: str, change: float, expected: str) -> None:
    assert reports.word(name, change) == expected


def test_parameters_that_changed_came_or_went() -> None:
    before = {"seed": 1, "head": {"dropout": 0.2, "l2": 0.0}, "old": "a|b"}
    after = {"seed": 1, "head": {"dropout": None, "l2": 0.0}, "new": True}
    assert reports.parameters(before, after, COLUMNS) == (
        "| parameter | before | after |\n|---|---|---|\n"
        "| `head.dropout` | `0.2` | `null` |\n"
        "| `old` | <code>a&#124;b</code> | – |\n"
        "| `new` | – | `true` |"
    )
    same = reports.parameters({"rate": 0.00001, "l2": 0}, {"rate": "1e-05", "l2": 0.0}, COLUMNS)
    assert same == "No parameter changed."
    assert reports.parameters(before, before, COLUMNS) == "No parameter changed."


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("/home/ana/photos of cats", "…/photos of cats"),
        ("~/photos/", "…/photos"),
        ("file:///home/ana/pets.zip", "…/pets.zip"),
        ("C:\\Users\\ana\\pets.zip", "…/pets.zip"),
        ("https://example.org/a/pets.zip", "https://example.org/a/pets.zip"),
        ("pypi:elpv-dataset==1.0", "pypi:elpv-dataset==1.0"),
        ("block_10_project_BN", "block_10_project_BN"),
        (3, 3),
        (None, None),
    ],
)
def test_a_path_of_the_machine_is_not_told(value: object, shown: object) -> None:
    assert markdown.place(value) == shown


def test_two_folders_of_one_name_are_told_apart() -> None:
    text = reports.parameters({"source": "/a/pets"}, {"source": "/b/pets"}, COLUMNS)
    assert "| `source` | `…/pets` | `…/pets (another folder)` |" in text


def test_numbers_have_a_change_where_both_sides_have_them() -> None:
    found = reports.numbers({"head": {"epochs": 4, "x": 1.5}}, {"head": {"epochs": 2}}, COLUMNS)
    assert found.splitlines()[2:] == [
        "| `head.epochs` | `4` | `2` | −2 |",
        "| `head.x` | `1.5` | – | – |",
    ]
    assert reports.numbers({"a": 1}, {"a": 1}, COLUMNS) == "None of them changed."


def test_scores_before_and_after() -> None:
    sides = [{"accuracy": 0.8, "loss": 0.5}, {"accuracy": 0.9, "loss": 0.6, "f1": 0.7}]
    within = [{"accuracy": (0.7, 0.85)}, {"accuracy": (0.8, 0.95), "f1": (0.6, 0.8)}]
    noise = {"accuracy": Noise(False, (0.02, 0.15)), "loss": Noise(True)}
    lines = reports.scores(sides, within, noise, ("b", "b"), COLUMNS).splitlines()
    assert lines[0] == "| metric | before | after | change | 95 % interval of the change | noise |"
    assert lines[2] == (
        "| accuracy | 0.8000 [0.7000, 0.8500] | 0.9000 [0.8000, 0.9500] | +0.1000 better "
        "| [+0.0200, +0.1500] | more than chance |"
    )
    assert lines[3] == "| cross-entropy | 0.5000 | 0.6000 | +0.1000 worse | – | can be chance |"
    assert lines[6] == "| F1 of `b` | – | 0.7000 [0.6000, 0.8000] | – | – | – |"
    assert len(lines) == 2 + len(reports.TITLES)
