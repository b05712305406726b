"""Sweeps: which runs, and what is said of a setting over its seeds."""

import math

import numpy as np
import pytest

from thaw.core.errors import ThawError
from thaw.review import sweeps
from thaw.review.sweeps import Said

CLASSES = ("a", "b")


def said(wrong: set[int], pictures: int = 200) -> Said:
    labels = {f"{n}.png": CLASSES[n % 2] for n in range(pictures)}
    decided = np.array([(n % 2) ^ (n in wrong) for n in range(pictures)])
    return Said(CLASSES, labels, np.eye(2)[decided] * 0.8 + 0.1, decided)


def test_every_combination_in_order() -> None:
    runs, varied = sweeps.plan(["fine_tune_at=54,null", "head.hidden=[],[4]", "seed=1,2", "x=3"])
    assert [str(run) for run in runs][:3] == [
        "fine_tune_at=54 head.hidden=[] seed=1 x=3",
        "fine_tune_at=54 head.hidden=[] seed=2 x=3",
        "fine_tune_at=54 head.hidden=[4] seed=1 x=3",
    ]
    assert len(runs) == 8
    assert varied == ["fine_tune_at", "head.hidden", "seed"]
    assert runs[2].name("sweep", varied) == "sweep-fine_tune_at-54-hidden-_4_-seed-1"
    assert runs[2].setting == "fine_tune_at=54 head.hidden=[4] x=3"
    told, shared = runs[2].apart(varied)
    assert (told.setting, str(shared)) == ("fine_tune_at=54 head.hidden=[4]", "x=3")
    (first, _), varied = sweeps.plan(["x=3", "seed=1,2"])
    assert first.apart(varied)[0].setting == "x=3"
    (alone,), _ = sweeps.plan(["seed=1"])
    assert alone.setting == "as it is"


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (["seed"], "seed: give a parameter and its values, such as"),
        (["seed="], "seed=: give a parameter and its values"),
        (["seed=1", "seed=2"], "seed=2: seed is there twice; give all its values at once"),
        (["seed=1,2,1"], "seed=1,2,1: 1 is there twice; give each value once"),
        ([f"seed={','.join(map(str, range(15)))}", f"x={','.join(map(str, range(14)))}"],
         "these are 210 runs; give fewer values, at most 200"),
    ],
)  # fmt: skip
def test_mistakes(settings: list[str], told: str) -> None:
    with pytest.raises(ThawError) as caught:
        sweeps.plan(settings)
    assert str(caught.value).startswith(told)


def test_a_setting_is_judged_over_its_seeds_and_a_picture_counts_once() -> None:
    runs, _ = sweeps.plan(["fine_tune_at=54,100", "seed=1,2,3"])
    first = [{*range(40)}, {*range(44)}, {*range(36)}]
    second = [{*range(20)}, {*range(24)}, {*range(16)}]
    found = dict(zip(runs, map(said, first + second), strict=True))
    one, other = sweeps.judge(found)
    assert (one.setting, one.runs, one.accuracy) == ("fine_tune_at=54", 3, pytest.approx(0.8))
    assert one.spread == pytest.approx(0.02)
    assert math.isnan(one.difference)
    assert other.difference == pytest.approx(0.1)
    assert other.p_value < 0.001
    # The same predictions three times are no more evidence than once.
    (once, *_), (thrice, *_) = (
        sweeps.judge(dict(zip(runs[:count], [said(first[0])] * count, strict=True)))
        for count in (1, 3)
    )
    assert (once.low, once.high) == pytest.approx((thrice.low, thrice.high), abs=1e-3)
    assert math.isnan(once.spread)


def test_failed_runs_are_counted_and_pairs_are_of_the_same_seed() -> None:
    runs, _ = sweeps.plan(["fine_tune_at=54,100,120", "seed=1,2"])
    results = [said({*range(40)}), None, said({*range(20)}), said({*range(50)}), None, None]
    rows = sweeps.judge(dict(zip(runs, results, strict=True)))
    assert [(row.runs, row.failed) for row in rows] == [(1, 1), (2, 0), (0, 2)]
    assert rows[1].difference == pytest.approx(0.1)  # of seed 1 alone
    lines = sweeps.text(rows).splitlines()
    assert lines[1].startswith("fine_tune_at=54   1, 1 failed  80.00 [73.9, 85.0]")
    assert lines[3].split() == ["fine_tune_at=120", "0,", "2", "failed", "–", "–", "–"]
    assert sweeps.markdown(rows).count("\n") == 5
