from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest

from thaw.drawing import markdown
from thaw.evaluation import differences, influence
from thaw.evaluation.deciding import Decision
from thaw.evaluation.record import Comparison, Difference
from thaw.evaluation.robustness import Robustness, judge
from thaw.review import reports
from thaw.review.reports import Flip, Predictions
from thaw.splitting.corrections import Correction

TEXT = """\
path,label,subgroup,head_a,head_b,fine_tuned_a,fine_tuned_b
x.png,a,,0.9,0.1,0.8,0.2
y.png,b,,0.4,0.6,0.7,0.3
"""


def run(labels: dict[str, str], second: list[float], classes: tuple[str, ...] = ("a", "b")):
    """Predictions of two classes, by the share of the second."""
    shares = np.array([[1 - share, share] for share in second])
    groups = dict.fromkeys(labels, "")
    by_model = {"head": shares, "fine_tuned": shares}
    decided = {model: each.argmax(axis=1) for model, each in by_model.items()}
    return Predictions(classes, labels, by_model, groups, decided)


def pair_of(before: Predictions, after: Predictions) -> reports.Pair:
    """Of runs on pictures of the same contents, each of which its name stands for."""
    sides = [
        reports.Tested("cells", frozenset("ab"), name, each, {path: path for path in each.labels})
        for name, each in (("1", before), ("2", after))
    ]
    found = reports.pair(*sides, "head")
    assert found is not None
    return found


def paired(
    labels: np.ndarray, before: np.ndarray, after: np.ndarray, paths: Sequence[str] = ()
) -> reports.Pair:
    """Of runs that say the most probable class."""
    decided = (before.argmax(axis=1), after.argmax(axis=1))
    return reports.Pair(labels, before, after, decided, paths)


def sample(count: int = 80, seed: int = 0) -> reports.Pair:
    generator = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    before, after = (
        np.clip(0.5 + (labels - 0.5) * skill + generator.normal(0, 0.3, count), 0.01, 0.99)
        for skill in (0.2, 1.2)
    )
    return paired(labels, *(np.stack([1 - p, p], axis=1) for p in (before, after)))


def measured(lost: int, views: int = 1) -> Robustness:
    """On 100 pictures of which noise costs so many."""
    labels = np.arange(100) % 2

    def shares(wrong: int) -> influence.Array:
        second = np.where((np.arange(100) >= wrong) == labels, 0.9, 0.1)
        return np.stack([1 - second, second], axis=1)

    return judge(
        labels, shares(10), {("noise", "grey levels", 5.0): shares(10 + lost)},
        decision=Decision(), model="m", part="validation", of=100, picture_set="s", views=views,
    )  # fmt: skip


def test_robustness_is_compared_where_it_was_measured_alike() -> None:
    text = reports.robustness(measured(40), measured(5))
    assert "| as they are | 90.0% | 90.0% | 0.0 |" in text
    assert "| noise | 50.0% | 85.0% | +35.0 |" in text
    alone = reports.robustness(None, measured(40))
    assert alone == reports.robustness(measured(40, views=8), measured(40))
    assert alone.startswith("On 100 validation pictures")
    assert "|" not in alone


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
    pair = pair_of(before, after)
    assert pair.paths == ["z", "x", "y"]
    assert pair.labels.tolist() == [1, 0, 1]
    assert pair.before[:, 1].tolist() == [0.7, 0.1, 0.6]
    assert pair.after[:, 1].tolist() == pytest.approx([0.2, 0.3, 0.9])


def test_a_corrected_label_and_other_pictures_leave_the_common_ones_paired() -> None:
    before = run({"x": "a", "y": "b", "gone": "b"}, [0.1, 0.6, 0.7])
    after = run({"new": "a", "y": "a", "x": "a"}, [0.5, 0.3, 0.2])
    pair = pair_of(before, after)
    assert pair.paths == ["y", "x"]
    assert pair.labels.tolist() == [0, 0]  # as they are now
    assert pair.relabelled == 1
    assert pair.before[:, 1].tolist() == [0.6, 0.1]
    assert pair.after[:, 1].tolist() == [0.3, 0.2]


def test_a_picture_is_known_by_its_contents() -> None:
    """Renamed, exchanged, and overwritten by another one of the same name."""
    before = {"a": "1", "b": "2", "c": "3", "d": "4"}
    after = {"a": "2", "b": "1", "c": "5", "renamed": "4"}
    assert reports.matched(before, after) == {"a": "b", "b": "a", "renamed": "d"}
    assert reports.matched({"a": "1", "b": "1"}, {"b": "1", "c": "1", "d": "1"}) == {
        "b": "b",
        "c": "a",
    }


FIRST = run({"x": "a", "y": "b"}, [0.1, 0.6])


UNLISTED = (
    "the test pictures differ (2 before, 2 after), and which of them are in both isn't known, "
    "since the list of pictures of one is neither in the cache here nor on the remote"
)


def on(
    predictions: Predictions | None = FIRST,
    test_set: str = "",
    dataset: str = "cells",
    contents: dict[str, str] | None = None,
) -> reports.Tested:
    return reports.Tested(dataset, frozenset("ab"), test_set, predictions, contents)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (on(), on()),
        (on(None, "1"), on(None, "1")),
        (on(test_set="1"), on(None, "1", "pets")),  # the same pictures by another name
        (on(), on(test_set="1")),
        (
            on(test_set="1", contents={"x": "1", "y": "2"}),
            on(test_set="2", contents={"x": "1", "y": "3"}),
        ),
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
            "the classes differ (`a`, `b` before; `cat`, `dog` after)",
        ),
        (
            on(),
            on(dataset="pets"),
            "another dataset",
            "the datasets differ (`cells` before, `pets` after)",
        ),
        (
            on(),
            on(run({"x": "a", "z": "b"}, [0.1, 0.6])),
            "other test pictures",
            UNLISTED,
        ),
        (
            on(test_set="1"),
            on(test_set="2"),
            "other test pictures",
            UNLISTED,
        ),
        (
            on(test_set="1", contents={"x": "1", "y": "2"}),
            on(test_set="2", contents={"x": "3", "y": "4"}),
            "other test pictures",
            "no test picture is in both (2 before, 2 after)",
        ),
        (
            on(None, "1"),
            on(None, "2"),
            "other test pictures",
            "the test pictures differ, and the predictions of one are missing",
        ),
        (
            on(None),
            on(test_set="2"),
            "predictions are missing",
            "whether both were tested on the same pictures isn't known, since the predictions of "
            "one are missing",
        ),
    ],
)
def test_runs_on_other_pictures_are_not_compared(
    before: reports.Tested, after: reports.Tested, note: str, sentence: str
) -> None:
    assert reports.unlike(before, after) == reports.Unlike(note, sentence)


def side(accuracy: float, recall: float | None = None, positive: str = "b") -> reports.Side:
    found = {"accuracy": accuracy} | ({} if recall is None else {"recall": recall})
    return reports.Side(found, {}, positive)


def differ(value: float, p_value: float) -> Difference:
    return Difference(value, value - 0.02, value + 0.02, p_value)


def test_scores_that_cant_be_compared_have_no_verdict() -> None:
    text = reports.scores(side(0.8), side(0.9), None, verdicts=False)
    assert text.splitlines()[0] == "|  | before | after |"
    assert "| accuracy | 0.800 | 0.900 |" in text
    assert "better" not in text
    assert "chance" not in text


def test_a_score_of_another_class_is_not_compared() -> None:
    found = {"accuracy": differ(0.1, 0.01), "recall": differ(0.4, 0.01)}
    text = reports.scores(side(0.8, 0.3, "a"), side(0.9, 0.7), found)
    assert "| accuracy | 0.800 | 0.900 | +0.100 | [+0.080, +0.120] | ▲ better |" in text
    assert "| recall | 0.300 | 0.700 | – | – | – |" in text


@pytest.mark.parametrize(
    ("name", "change", "chance", "word"),
    [
        ("accuracy", 0.01, False, "▲ better"),
        ("accuracy", -0.01, False, "▼ worse"),
        ("loss", -0.01, False, "▲ better"),
        ("calibration_error", 0.01, False, "▼ worse"),
        ("f1", 0.01, True, "≈ chance"),
        ("f1", 0.0004, False, "= same"),
    ],
)
def test_better_and_worse_have_a_word_and_an_arrow(
    name: str, change: float, chance: bool, word: str
) -> None:
    assert reports.word(name, change, chance) == word


def test_the_verdict_is_of_the_paired_test() -> None:
    pair = sample()
    comparison = differences.compare(pair.labels, *pair.decided)
    assert reports.verdict(pair, comparison) == "**Better**"
    assert reports.why(pair, comparison) == (
        f"of 80 test pictures, {comparison.mended} are right now that were wrong and "
        f"{comparison.broken} are wrong that were right, more than chance (p < 0.001)"
    )
    back = differences.compare(pair.labels, *pair.decided[::-1])
    assert reports.verdict(pair, back) == "**Worse**"
    assert reports.verdict(None, None) == "**No verdict**"
    few = Comparison(3, 1, 0.375, 0.025, -0.02, 0.07)
    assert reports.verdict(pair, few) == "**No difference that can be told**"
    assert reports.why(pair, few).endswith("which can be chance (p = 0.375)")
    same = paired(pair.labels, pair.before, pair.before)
    assert reports.verdict(same, few) == "**Identical**"


def test_classes_and_groups_show_what_changed_in_them() -> None:
    labels = np.array([0, 0, 1, 1, 1])
    before, after = (
        np.eye(2)[guesses] for guesses in (np.array([0, 1, 1, 1, 0]), np.array([0, 0, 0, 1, 0]))
    )
    pair = paired(labels, before, after)
    lines = reports.by_group("class", "ab", pair, labels).splitlines()
    assert lines[0] == "| class | pictures | before | after | change | what changed |"
    assert lines[2:] == [
        "| `a` | 2 | 0.500 | 1.000 | +0.500 | 1 mended, 0 broken |",
        "| `b` | 3 | 0.667 | 0.333 | −0.333 | 0 mended, 1 broken |",
    ]
    lines = reports.confused(pair, "ab").splitlines()
    assert lines[2:] == [
        "| `b` taken for `a` | 1 | 2 | +1 |",
        "| `a` taken for `b` | 1 | 0 | −1 |",
    ]


@pytest.mark.parametrize("classes", [100, 1000])
def test_of_many_classes_those_that_changed_most_are_shown(classes: int) -> None:
    labels = np.arange(3 * classes) % classes
    before, after = np.eye(classes)[labels], np.eye(classes)[labels]
    after[labels == 7] = np.eye(classes)[8]
    pair = paired(labels, before, after)
    names = [f"class {number}" for number in range(classes)]
    lines = reports.by_group("class", names, pair, labels).splitlines()
    assert lines[2].startswith("| `class 7` | 3 | 1.000 | 0.000 | −1.000 |")
    assert lines[-1] == f"And {classes - reports.GROUPS:,} more, which changed less."
    assert len(lines) == reports.GROUPS + 4
    assert "| `class 7` taken for `class 8` | 0 | 3 | +3 |" in reports.confused(pair, names)


def table(*rows: tuple[str, str, str]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["path", "label", "content"])


def test_a_changed_dataset_in_words() -> None:
    before = table(("1", "a", "x"), ("2", "a", "y"), ("3", "b", "z"), ("4", "b", "w"))
    after = table(("1", "a", "x"), ("2", "b", "y"), ("5", "b", "w"), ("6", "a", "new"))
    found = reports.dataset_changes(before, after)
    assert found.relabelled == {"2": ("a", "b")}
    assert reports.in_words(found) == (
        "Pictures: 1 added (1 `a`), 1 removed (1 `b`), 1 relabelled (1 `a` to `b`), 1 renamed; "
        "2 stayed as they were."
    )
    assert reports.in_words(reports.dataset_changes(before, before)) == "Pictures: the same 4."


def test_changed_code_is_told_by_what_depends_on_it() -> None:
    dependencies = {"src/thaw/files": ["split", "evaluate"], "src/stages/split.py": ["split"]}
    files = ["src/thaw/files/tables.py", "src/thaw/files_not.py", "docs/a.md"]
    assert reports.code_changes(files, dependencies) == (
        "Code: `src/thaw/files/tables.py` changed, on which depend `split`, `evaluate`. 2 other "
        "files changed that no result follows from."
    )
    assert reports.code_changes([], dependencies) == "Code: the same."


def test_costs_of_both_models() -> None:
    before = reports.Cost(8_900_000, 2_260_000, 10.0, {"head": 11.0})
    after = reports.Cost(8_900_000, 2_260_000, 5.0, {"head": 11.2, "fine-tuning": 125.0})
    lines = reports.costs(before, after, 2).splitlines()
    assert lines[2:7] == [
        "| size | 8.9 MB | 8.9 MB | = same |",
        "| parameters | 2.26 million | 2.26 million | = same |",
        "| time for a picture | 10.0 ms | 5.0 ms | −50 % |",
        "| training: head | 11 s | 11 s | = same |",
        "| training: fine-tuning | – | 2 min 5 s | – |",
    ]
    assert "measured here and now, on 2 cores" in lines[-1]


@pytest.mark.parametrize(
    ("first", "second", "apart"),
    [([1, 2], [2, 3], False), ([1, 2], [2.1, 3], True), ([2.1, 3], [1, 2], True)],
)
def test_without_pairs_intervals_must_lie_apart(
    first: list[float], second: list[float], apart: bool
) -> None:
    assert reports.apart({"f1": first, "loss": [0, 1]}, {"f1": second}) == {"f1": apart}


def test_flips_come_right_to_wrong_first_and_then_by_confidence() -> None:
    names = ("a", "b", "c")
    #            kept, broken, broken, mended, other
    labels = np.array([0, 0, 0, 1, 2])
    before = np.array(
        [[0.8, 0.1, 0.1], [0.9, 0.1, 0], [0.5, 0.4, 0.1], [0.6, 0.3, 0.1], [0.7, 0.2, 0.1]]
    )
    after = np.array([[0.7, 0.2, 0.1], [0.4, 0.6, 0], [0.1, 0.1, 0.8], [0, 1.0, 0], [0.1, 0.9, 0]])
    paths = ["k", "p", "q", "r", "s"]
    found = reports.flips(paired(labels, before, after, paths), names)
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
    assert reports.flipped(flips[:20]).endswith("| `19.png` | `a` | `a` 0.600 | `b` 0.700 |")


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


def test_parameters_that_changed_came_or_went() -> None:
    before = {"seed": 1, "head": {"dropout": 0.2, "l2": 0.0}, "old": "a|b"}
    after = {"seed": 1, "head": {"dropout": None, "l2": 0.0}, "new": True}
    assert reports.parameters(before, after) == (
        "| parameter | before | after |\n|---|---|---|\n"
        "| `head.dropout` | `0.2` | `null` |\n"
        "| `old` | <code>a&#124;b</code> | – |\n"
        "| `new` | – | `true` |"
    )
    same = reports.parameters({"rate": 0.00001, "l2": 0}, {"rate": "1e-05", "l2": 0.0})
    assert same == "Parameters: the same."
    assert reports.parameters(before, before) == "Parameters: the same."


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
    text = reports.parameters({"source": "/a/pets"}, {"source": "/b/pets"})
    assert "| `source` | `…/pets` | `…/pets (another folder)` |" in text


def test_numbers_have_a_change_where_both_sides_have_them() -> None:
    found = reports.numbers({"head": {"epochs": 4, "x": 1.5}}, {"head": {"epochs": 2}})
    assert found.splitlines()[2:] == [
        "| `head.epochs` | `4` | `2` | −2 |",
        "| `head.x` | 1.500 | – | – |",
    ]
    assert reports.numbers({"a": 1}, {"a": 1}) == "None of them changed."


def test_scores_before_and_after() -> None:
    found = {"accuracy": differ(0.1, 0.001), "loss": differ(-0.1, 0.4)}
    before = reports.Side({"accuracy": 0.8, "loss": 0.7}, {}, "b")
    after = reports.Side({"accuracy": 0.9, "loss": 0.6, "f1": 0.7}, {}, "b")
    lines = reports.scores(before, after, found).splitlines()
    assert lines[0] == "|  | before | after | change | 95 % interval |  |"
    assert lines[2] == "| accuracy | 0.800 | 0.900 | +0.100 | [+0.080, +0.120] | ▲ better |"
    assert lines[3] == "| cross-entropy | 0.700 | 0.600 | −0.100 | [−0.120, −0.080] | ≈ chance |"
    assert lines[6] == "| F1 | – | 0.700 | – | – | – |"
    assert len(lines) == 2 + len(reports.TITLES)
    apart = [reports.Side({"f1": 0.5}, {"f1": within}, None) for within in ((0.4, 0.6), (0.7, 0.8))]
    assert "| F1 | 0.500 | 0.500 | 0.000 | – | = same |" in reports.scores(*apart, None)


def test_runs_side_by_side() -> None:
    base = reports.Run("`main`", "", {"accuracy": 0.8, "f1": 0.7}, [], "")
    other = reports.Run(
        "`a`", "1-a/report.md", {"accuracy": 0.9}, [], reports.BETTER, differ(0.1, 0.01)
    )
    assert reports.runs([base], [other]).splitlines()[2:] == [
        "| `main` | 0.800 | – | – | – |",
        "| [`a`](1-a/report.md) | 0.900 | +0.100 | [+0.080, +0.120] | ▲ better |",
    ]
    assert "| `main` | – | 0.700 | – | – |" in reports.other_scores([base, other])


def test_the_classes_that_are_said_are_read_and_compared_whatever_their_order() -> None:
    """The second run says b from a probability of 0.3 on, and lists its classes the other way."""
    before = reports.predictions(TEXT)
    after = reports.predictions(
        "path,label,subgroup,head_b,head_a,fine_tuned_b,fine_tuned_a,decided_head,"
        "decided_fine_tuned\n"
        "x.png,a,,0.1,0.9,0.2,0.8,a,a\n"
        "y.png,b,,0.6,0.4,0.3,0.7,b,b\n"
    )
    assert after.decided["fine_tuned"].tolist() == [1, 0]
    sides = [
        reports.Tested("cells", frozenset("ab"), name, each, {path: path for path in each.labels})
        for name, each in (("1", before), ("2", after))
    ]
    pair = reports.pair(*sides, "fine_tuned")
    assert pair is not None
    np.testing.assert_array_equal(pair.before, pair.after)
    assert [each.tolist() for each in pair.decided] == [[0, 0], [0, 1]]
    assert not reports.identical(pair)
    (flip,) = reports.flips(pair, ["a", "b"])
    assert (flip.before, flip.after, flip.share_before, flip.share_after) == ("a", "b", 0.7, 0.3)
    comparison = differences.compare(pair.labels, *pair.decided)
    assert (comparison.mended, comparison.broken) == (1, 0)


def test_corrections_that_came_and_went_are_told_with_their_reasons() -> None:
    kept, gone, new = (
        Correction(f"{name}.png", "drop", reason, "", 2)
        for name, reason in (("a", "noise"), ("b", "dark"), ("c", "a | b"))
    )
    text = reports.corrected([kept, gone], [new, kept])
    assert "Corrections of labels that came or went: 2" in text
    rows = [line for line in text.splitlines() if line.startswith("| ")][1:]
    assert rows[0].startswith("| new | `c.png` | `drop` | <code>a&#32;")
    assert rows[1] == "| taken back | `b.png` | `drop` | `dark` |  |"
    assert reports.corrected([kept], [kept]) == ""
