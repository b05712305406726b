"""What is lost on corrupted pictures, and what is said of it."""

from dataclasses import asdict, replace

import numpy as np
import pytest

from thaw.evaluation import robustness
from thaw.evaluation.deciding import Decision
from thaw.evaluation.influence import Array
from thaw.evaluation.robustness import Robustness, judge, sentences

PICTURES = 100
LABELS = np.arange(PICTURES) % 2


def shares(wrong: int, confidence: float = 0.9) -> Array:
    """Of a model that takes the first so many for the other class."""
    right = np.arange(PICTURES) >= wrong
    second = np.where(right == LABELS, confidence, 1 - confidence)
    return np.stack([1 - second, second], axis=1)


def judged(*wrong: int) -> Robustness:
    """Noise costs so many of 100 beside ten that are wrong anyway; shift costs nothing."""
    units = {"noise": "grey levels", "shift": "% of the side"}
    found = {("noise", units["noise"], float(at)): shares(n, 0.8) for at, n in enumerate(wrong, 1)}
    found |= {("shift", units["shift"], float(at)): shares(10, 0.7) for at in (1, 2)}
    return judge(
        LABELS,
        shares(10),
        found,
        decision=Decision(),
        model="m",
        part="validation",
        of=120,
        picture_set="s",
        views=1,
    )


def test_accuracy_confidence_and_what_is_lost() -> None:
    found = judged(12, 40)
    assert (found.accuracy, found.confidence) == pytest.approx((0.9, 0.9))
    noise = found.kinds["noise"]
    assert [each.accuracy for each in noise] == pytest.approx([0.88, 0.6])
    assert [each.drop for each in noise] == pytest.approx([0.02, 0.3])
    assert [each.confidence for each in noise] == pytest.approx([0.8, 0.8])
    assert [each.chance for each in noise] == [True, False]
    assert all(each.low <= each.drop <= each.high for each in found.strengths)
    assert 0.2 < noise[1].low < noise[1].high < 0.4
    assert found.mean_accuracy == pytest.approx((0.88 + 0.6 + 0.9 + 0.9) / 4)
    assert found.mean_drop == pytest.approx(0.9 - found.mean_accuracy)
    lost = np.array([0] * 10 + [0.5] * 2 + [0.25] * 28 + [0] * 60)
    half = 1.984 * lost.std(ddof=1) / 10
    assert (found.mean_low, found.mean_high) == pytest.approx(
        (found.mean_drop - half, found.mean_drop + half), abs=1e-4
    )


def test_the_model_says_what_its_decision_makes_of_probabilities() -> None:
    """One that says the second class at 0.05 or more says it of all these pictures."""
    decision = Decision(gains=[[0.05, 0], [0, 0.95]], threshold=0.05)
    found = judge(
        LABELS, shares(10), {("noise", "grey levels", 1.0): shares(10, 0.99)},
        decision=decision, model="m", part="validation", of=100, picture_set="s", views=1,
    )  # fmt: skip
    assert found.accuracy == 0.5
    assert found.strengths[0].accuracy == pytest.approx(0.9)
    assert found.confidence == pytest.approx(0.5)


def test_many_strengths_are_told_together() -> None:
    """One in twenty would be told by chance alone, of 45 two or three."""
    alone = judge(
        LABELS, shares(10), {("noise", "grey levels", 1.0): shares(16)},
        decision=Decision(), model="m", part="validation", of=100, picture_set="s", views=1,
    )  # fmt: skip
    many = judged(16, 10, 10, 10)
    assert not alone.strengths[0].chance
    assert many.strengths[0].chance


def test_it_is_said_from_which_strength_on_more_than_chance_is_lost() -> None:
    text = sentences(judged(12, 40, 60))
    assert text.startswith(
        "On 100 validation pictures, one view each, accuracy is 90.0% as they are "
    )
    assert "noise 2 (grey levels): 30.0 [" in text
    assert "noise 3" not in text
    assert text.endswith("No loss beyond chance by shift.")
    assert "mean of 8 views each" in sentences(replace(judged(12), views=8))


def test_it_is_read_back_as_it_was_written() -> None:
    found = judged(12, 40)
    again = Robustness.of_json(asdict(found))
    assert again == found
    assert again.alike(found)
    for other in (replace(found, picture_set="t"), replace(found, views=8), judged(12, 40, 60)):
        assert not other.alike(found)
    for wrong in ({}, {"strengths": [{}]}, asdict(found) | {"more": 1}):
        with pytest.raises((KeyError, TypeError)):
            Robustness.of_json(wrong)


def test_a_gain_is_no_loss() -> None:
    found = judged(0, 0)
    assert robustness.told(found) == ([], ["noise", "shift"])
    assert found.strengths[0].drop == pytest.approx(-0.1)
