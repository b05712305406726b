"""Two models on the same pictures: differences, their errors and chances."""

import numpy as np
import pytest
import scipy.stats

import judging
import seeds


def bits(text: str) -> np.ndarray:
    return np.array([each == "1" for each in text])


def test_of_one_prediction_a_picture_it_is_mcnemars_test() -> None:
    first, second = bits("1" * 50 + "0" * 12 + "1" * 5), bits("1" * 50 + "1" * 12 + "0" * 5)
    found = judging.paired(range(67), first, second)
    assert (found.mended, found.broken, found.predictions, found.pictures) == (12, 5, 67, 67)
    # By chance: 2^17 flips are more than are drawn.
    assert found.p_value == pytest.approx(scipy.stats.binomtest(12, 17).pvalue, abs=0.005)
    assert found.difference == pytest.approx(7 / 67)
    assert found.error == pytest.approx(scipy.stats.sem(second.astype(int) - first.astype(int)))
    assert judging.paired(range(60), first[:60], second[:60]).p_value == 2 / 2**10
    assert judging.paired(range(50), first[:50], second[:50]).p_value == 1.0


@pytest.mark.parametrize("seeds", [2, 5])
def test_a_picture_counts_as_one_however_often_it_was_predicted(seeds: int) -> None:
    """Five times the same predictions are no more evidence than one time."""
    first, second = bits("1" * 20 + "0" * 8 + "1" * 2), bits("1" * 20 + "1" * 8 + "0" * 2)
    once = judging.paired(range(30), first, second)
    more = judging.paired([*range(30)] * seeds, np.tile(first, seeds), np.tile(second, seeds))
    assert (more.mended, more.predictions, more.pictures) == (8 * seeds, 30 * seeds, 30)
    assert more.p_value == once.p_value
    assert (more.difference, more.error) == pytest.approx((once.difference, once.error))
    tested = judging.mean([*range(30)] * seeds, np.tile(first, seeds))
    assert tested.error == pytest.approx(judging.mean(range(30), first).error)


def test_differences_that_cancel_are_none() -> None:
    found = judging.paired([*"abab"], bits("0110"), bits("1001"))
    assert (found.mended, found.broken, found.difference, found.p_value) == (2, 2, 0.0, 1.0)


def test_a_mean_is_shown_in_percent_and_a_difference_in_points() -> None:
    assert str(judging.mean(range(4), bits("1110"))) == "75.0 % ± 25.0"
    assert judging.paired(range(4), bits("1110"), bits("1100")).shown == "−25.00 ± 25.00"


def test_nothing_is_called_fine_tuned_where_nothing_was() -> None:
    scores = {model: dict.fromkeys(seeds.SHOWN, 0.9) for model in judging.MODELS}
    right = {model: np.ones(4, bool) for model in judging.MODELS}
    judged = judging.Judged(["a", "b", "c", "d"], scores, right)
    minutes = {"extraction": 1.0, "head": 0.4, "fine_tuning": 0.2}
    runs = [seeds.Run(1, seed, judged, minutes) for seed in (1, 2)]
    alone, both = (seeds.section("seeds", runs, "test", thawed=each) for each in (False, True))
    assert "tun" not in alone.lower()
    assert "| fine-tuned |" in both
    assert "| 1 | 2 | 1.0 | 0.4 | 0.2 |" in both
