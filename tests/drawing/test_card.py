"""The model card's figures and what it says of them."""

import numpy as np
import pytest
from scipy.stats import norm

from thaw.drawing import card
from thaw.drawing.card import Share
from thaw.evaluation import metrics
from thaw.evaluation.record import WeakSpots

SPOTS = WeakSpots(80, 12, [])
CONFUSION = [[6, 2], [1, 9]]  # of moss and rust


def test_recall_and_precision_of_each_class() -> None:
    cells = [(0, 0, 6), (0, 1, 2), (1, 0, 1), (1, 1, 9)]
    moss, rust, ivy = card.by_class(cells, ["moss", "rust", "ivy"])
    assert (moss.pictures, moss.recall, moss.precision) == (8, Share(6, 8), Share(6, 7))
    assert (rust.pictures, rust.recall, rust.precision) == (10, Share(9, 10), Share(9, 11))
    assert (ivy.pictures, ivy.recall, ivy.precision) == (0, Share(0, 0), Share(0, 0))


@pytest.mark.parametrize(("part", "whole"), [(0, 5), (3, 5), (154, 205)])
def test_the_interval_is_wilsons(part: int, whole: int) -> None:
    z = norm.ppf(0.975)
    centre = (part + z**2 / 2) / (whole + z**2)
    half = z / (whole + z**2) * (part * (whole - part) / whole + z**2 / 4) ** 0.5
    assert Share(part, whole).interval == pytest.approx((centre - half, centre + half))


def test_a_share_is_written_in_percent() -> None:
    assert str(Share(154, 205)) == "75.1% [68.8%, 80.5%]"
    assert str(Share(0, 0)) == "–"


def limits(confusion: list[list[int]], groups: dict[str, dict[str, float]]) -> str:
    cells = metrics.cells(np.array(confusion))
    scores = card.by_class(cells, ["moss", "rust"])
    return "\n".join(card.limits(scores, card.by_subgroup(groups), 0.021, 160, "crop", SPOTS))


def test_the_class_that_is_missed_most_is_named() -> None:
    text = limits(CONFUSION, {})
    assert "Of its classes it misses `moss` most often: 2 of 8 test pictures (25.0%)" in text
    assert "18 test pictures from the same source" in text
    assert "Fewer than 30 test pictures each: `moss`, `rust`." in text
    assert "scaled and cut to 160 × 160 pixels" in text
    assert "differ by 2.1 points" in text
    assert "worse than on the others in none of 12 groups of the 80 validation" in text
    assert "the subgroups" not in text


def test_nothing_is_said_to_be_missed_where_nothing_is() -> None:
    text = limits([[40, 0], [0, 40]], {})
    assert "misses" not in text
    assert "Fewer" not in text


@pytest.mark.parametrize(
    ("right", "verdict"), [(0.9, "a difference that can be chance"), (0.5, "more than chance")]
)
def test_subgroups_are_compared_by_their_intervals(right: float, verdict: str) -> None:
    groups = {
        "mono": {"pictures": 100, "accuracy": right},
        "poly": {"pictures": 100, "accuracy": 0.95},
    }
    text = limits(CONFUSION, groups)
    assert f"`mono` is right least often ({right:.1%}" in text
    assert verdict in text


def test_corrections_are_listed_with_what_was_there() -> None:
    one = {"path": "a|b.png", "was": "moss", "label": "drop", "reason": "noise", "who": ""}
    made = {"relabelled": 0, "dropped": 60, "confirmed": 1, "listed": [one] * 61}
    text = card.corrected(made)
    assert text.startswith(
        "People corrected the labels that came with the pictures: 0 changed, 60 left out (`drop`), "
        "1 confirmed."
    )
    assert text.count("| `moss` | `drop` | `noise` |  |") == 50
    assert "a|b" not in text
    assert text.endswith("\n\nand 11 more.")
    assert card.corrected({}) == ""
