"""Weak spots: a planted one is found, and none where there is none."""

import json
from dataclasses import asdict, replace
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy import stats

from helpers import pixels, plain
from thaw.drawing import summary
from thaw.evaluation import weak_spots
from thaw.evaluation.record import Spot, WeakSpots
from thaw.evaluation.weak_spots import Group

SEEN = ("side", "shape", "brightness", "contrast", "detail")


def made(seed: int, pictures: int = 900) -> tuple[np.ndarray, np.ndarray, list[Group]]:
    """Right or wrong by class alone (96 and 77 %), class, and all groups of two subgroups."""
    chance = np.random.default_rng(seed)
    labels = (chance.random(pictures) < 0.3).astype(int)
    right = chance.random(pictures) < np.where(labels, 0.77, 0.96)
    seen = pd.DataFrame({name: chance.random(pictures) for name in SEEN})
    seen["brightness"] += labels  # as far as the class makes it hard, bright ones are no weak spot
    kinds = np.where(chance.random(pictures) < 0.4, "mono", "poly").tolist()
    return right, labels, weak_spots.groups(kinds, seen, chance.integers(0, 8, pictures))


def test_a_planted_group_is_found() -> None:
    found = 0
    for seed in range(20):
        right, labels, candidates = made(seed)
        (bright,) = (
            each.pictures
            for each in candidates
            if each.subgroup == "mono" and each.about.startswith("low in contrast")
        )
        right[bright] = np.random.default_rng(seed).random(bright.sum()) < 0.7
        spots, masks = weak_spots.search(right, labels.tolist(), candidates)
        if not spots.found:
            continue
        spot = spots.found[0]
        found += spot.subgroup == "mono" and spot.about.startswith("low in contrast")
        assert spot.pictures == masks[0].sum()
        assert spot.right == right[masks[0]].sum()
        assert spot.accuracy < spot.others
    assert found >= 18


def test_none_is_named_where_there_is_none() -> None:
    """In at most 5 % of runs, though each looks at some 40 groups, and one class is harder."""
    runs = 200
    false = 0
    for seed in range(runs):
        right, labels, candidates = made(1000 + seed)
        spots, _ = weak_spots.search(right, labels.tolist(), candidates)
        assert spots.groups == len(candidates) >= 40
        false += bool(spots.found)
    assert false <= 0.05 * runs


def test_the_test_is_exact() -> None:
    """Against all ways to deal out what is right, class by class."""
    right = np.array([1, 1, 0, 1, 0, 1, 1, 1, 0, 0], bool)
    strata = np.array([0, 0, 0, 0, 0, 1, 1, 1, 1, 1])
    group = np.array([0, 1, 1, 0, 1, 0, 1, 0, 1, 0], bool)
    ways = [
        sum(first) + sum(second)
        for first, second in product(
            *[
                [
                    np.array(way)[group[strata == s]]
                    for way in product((0, 1), repeat=5)
                    if sum(way) == right[strata == s].sum()
                ]
                for s in (0, 1)
            ]
        )
    ]
    p_value, others = weak_spots.worse(right, group, strata)
    assert p_value == pytest.approx(np.mean(np.array(ways) <= right[group].sum()))
    assert others == pytest.approx((3 * 2 / 2 + 2 * 2 / 3) / 5)
    one = np.zeros(10, np.int64)
    table = [[2, 3], [4, 1]]
    expected = stats.fisher_exact(table, alternative="less").pvalue
    assert weak_spots.worse(right, group, one)[0] == pytest.approx(expected)


def test_a_group_that_lies_in_another_is_named_once() -> None:
    right = np.ones(400, bool)
    right[:60] = False
    wide, narrow, apart = (np.zeros(400, bool) for _ in range(3))
    wide[:60], narrow[:40], apart[200:260] = True, True, True
    right[200:230] = False
    groups = [
        Group(None, name, mask)
        for name, mask in (("narrow", narrow), ("wide", wide), ("apart", apart))
    ]
    spots, _ = weak_spots.search(right, [0] * 400, groups)
    assert [spot.about for spot in spots.found] == ["wide", "apart"]


def test_quarters_of_what_is_alike_are_no_groups() -> None:
    seen = pd.DataFrame({name: np.arange(100.0) for name in SEEN})
    seen["side"] = 300.0
    seen["shape"] = [1.0] * 90 + [1.5] * 10  # most are square, and too few are wide
    found = weak_spots.groups([""] * 100, seen, np.zeros(100, np.int64))
    names = [each.about.split(" (")[0] for each in found]
    assert names == [
        "dark",
        "bright",
        "low in contrast",
        "high in contrast",
        "smooth",
        "rich in detail",
    ]
    assert found[0].about == "dark (up to a mean grey of 25 of 255)"
    assert [each.pictures.sum() for each in found] == [25] * 6
    few = weak_spots.groups(["a"] * 30 + ["b"] * 70, seen, np.zeros(100, np.int64))
    assert [each.subgroup for each in few if not each.about] == ["a", "b"]
    assert [each.subgroup for each in few if each.about.startswith("dark")] == [None]  # all "a"
    assert all(each.pictures.sum() >= weak_spots.SMALLEST for each in few)


def test_clusters_are_those_of_the_features() -> None:
    chance = np.random.default_rng(1)
    of = np.repeat(np.arange(3), (60, 30, 30))
    features = np.eye(3)[of] * 9 + chance.random((120, 3))
    found = weak_spots.clusters(features)
    assert len({tuple(pair) for pair in zip(of, found, strict=True)}) == 3
    assert (found[:60] == 0).all()  # the largest
    assert not weak_spots.clusters(features[:50]).any()  # too few


def test_of_many_pictures_as_many_as_are_affordable_are_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert weak_spots.chosen(7).tolist() == [*range(7)]
    monkeypatch.setattr(weak_spots, "MOST", 3)
    assert weak_spots.chosen(7).tolist() == [0, 3, 6]


SPOT = Spot("mo|no", "dark (up to a mean grey of 61 of 255)", 61, 45, 0.61, 0.83, 0.912, 0.004)


@pytest.mark.parametrize(
    ("spots", "told"),
    [
        (
            [SPOT],
            "Of 61 pictures of <code>mo&#124;no</code> that are dark (up to a mean grey of 61 of "
            "255), 73.8% [61.0%, 83.0%] are right; of the others, class by class, 91.2% "
            "(Holm's p = 0.004).",
        ),
        ([replace(SPOT, about="")], "Of 61 pictures of <code>mo&#124;no</code>, 73.8% "),
        ([replace(SPOT, subgroup=None)], "Of 61 pictures that are dark (up to"),
        ([replace(SPOT, subgroup="")], "Of 61 pictures without a subgroup that are dark (up"),
        ([], "none of 44 groups"),
    ],
)
def test_what_was_found_is_a_sentence(spots: list[Spot], told: str) -> None:
    found = WeakSpots(918, 44, spots)
    text = " ".join(summary.weak_spots(found))
    assert told in text
    assert "918 validation and test pictures" in text
    (few,) = summary.weak_spots(WeakSpots(42, 0, []))
    assert few.endswith("42 validation and test pictures make no groups of 20.")
    back = WeakSpots.of(json.loads(json.dumps(asdict(found))))
    assert summary.weak_spots(back) == summary.weak_spots(found)


def test_pictures_are_looked_at_upright_and_as_the_network_takes_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.fromarray(pixels(1, 40, 10)).save(tmp_path / "turned.jpg", exif=turned)
    plain(tmp_path / "plain.png", "#404040")
    monkeypatch.setattr(
        weak_spots.sessions, "run", lambda _, p: [p, p.mean(axis=(1, 2))[:, None].repeat(2, axis=1)]
    )
    seen, features = weak_spots.look(
        None, [tmp_path / "turned.jpg", tmp_path / "plain.png"], 8, "stretch", "file"
    )
    assert seen["shape"].tolist() == [0.25, 1.0]
    assert seen["side"].tolist() == [20.0, 9.0]
    assert seen["brightness"][1] == 64
    assert seen["contrast"][1] == seen["detail"][1] == 0
    assert seen["contrast"][0] > 10
    assert features.shape == (2, 3)
    assert features[1].tolist() == [64, 64, 64]
