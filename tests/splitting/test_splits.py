import hashlib
import random
from collections import Counter, defaultdict
from typing import Any

import pandas as pd
import pytest

from thaw.core.errors import ThawError
from thaw.datasets.labels import Labelled
from thaw.splitting.splits import SPLITS, Divided, balance, conflicts, counts, divide, doubt, wilson


def distinct(pictures: list[Labelled]) -> dict[str, str]:
    """Content hashes of pictures that all differ."""
    return {each.path: hashlib.sha256(each.path.encode()).hexdigest() for each in pictures}


def many(part: str = "", **classes: int) -> list[Labelled]:
    return [
        Labelled(f"{part}/{label}/{index}.png", label, part)
        for label, count in classes.items()
        for index in range(count)
    ]


def split(
    pictures: list[Labelled],
    content: dict[str, str] | None = None,
    held_out: float = 0.4,
    test: float = 0.5,
    seed: int = 1,
    **ties: Any,
) -> Divided:
    content = distinct(pictures) if content is None else content
    table = pd.DataFrame(pictures)
    return divide(table, content, held_out=held_out, test=test, seed=seed, **ties)


def table(pictures: list[Labelled], divided: Divided) -> dict[str, tuple[int, ...]]:
    found = counts(divided.split, {each.path: each.label for each in pictures})
    return {part: tuple(found[part].values()) for part in SPLITS}


def test_elpv_is_divided_as_published():
    pictures = many(defective=821, intact=1803)
    found = table(pictures, split(pictures, held_out=0.35, test=0.7143))
    assert found == {"train": (534, 1172), "validation": (82, 180), "test": (205, 451)}
    assert sum(found["test"]) == 656


@pytest.mark.parametrize(
    ("held_out", "test", "expected"),
    [(0.2, 0.5, (80, 10, 10)), (0.5, 0.2, (50, 40, 10)), (0.25, 0.1, (75, 22, 3))],
)
def test_shares(held_out: float, test: float, expected: tuple[int, int, int]):
    pictures = many(a=100, b=100)
    found = table(pictures, split(pictures, held_out=held_out, test=test))
    assert found == {part: (n, n) for part, n in zip(SPLITS, expected, strict=True)}


def test_seed_chooses_the_pictures():
    pictures = many(a=50, b=50)
    splits = [tuple(sorted(split(pictures, seed=seed).split.items())) for seed in (1, 1, 2, 3)]
    assert splits[0] == splits[1]
    assert len(set(splits)) == 3


def test_one_more_picture_moves_few_others():
    pictures = many(a=200, b=200)
    before = split(pictures).split
    after = split([*pictures, Labelled("new.png", "a")]).split
    assert sum(before[path] != after[path] for path in before) <= 2


def random_layout(
    chance: random.Random, parts: tuple[str, ...]
) -> tuple[list[Labelled], dict[str, str]]:
    """Pictures of three classes, about every third identical to another, some with other labels."""
    pictures: list[Labelled] = []
    content: dict[str, str] = {}
    for index in range(120):
        path = f"{chance.randrange(10**9)}-{index}.png"
        pictures.append(Labelled(path, "abc"[index % 3], chance.choice(parts)))
        others = sorted(set(content.values()))
        copy = others and chance.random() < 0.35
        content[path] = chance.choice(others) if copy else f"content {index}"
    return pictures, content


PARTS = [("",), ("train", "validation"), ("train", "train", "validation", "test")]


@pytest.mark.parametrize("parts", PARTS)
@pytest.mark.parametrize("seed", range(30))
def test_identical_pictures_are_never_on_two_sides(parts: tuple[str, ...], seed: int):
    pictures, content = random_layout(random.Random(seed), parts)
    divided = split(pictures, content, seed=seed)
    sides = defaultdict(set)
    for path, side in divided.split.items():
        sides[content[path]].add(side)
    assert all(len(side) == 1 for side in sides.values())
    assert set(sides) == set(content.values())  # no content is lost
    part = {each.path: each.part for each in pictures}
    assert set(divided.left_out) == set(part) - set(divided.split)
    assert all(part[path] == "train" for path in divided.left_out)
    for path, side in divided.split.items():
        if part[path] == "train":
            assert side == "train"
        elif part[path]:
            assert side != "train"


@pytest.mark.parametrize("parts", PARTS)
@pytest.mark.parametrize("seed", range(5))
def test_neither_names_nor_order_matter(parts: tuple[str, ...], seed: int):
    chance = random.Random(seed)
    pictures, content = random_layout(chance, parts)
    names = {each.path: f"other/{chance.randrange(10**9)}/{each.path}" for each in pictures}
    renamed = [Labelled(names[each.path], each.label, each.part) for each in pictures]
    chance.shuffle(renamed)
    again = split(renamed, {names[path]: value for path, value in content.items()})
    first = split(pictures, content)
    assert again.split == {names[path]: side for path, side in first.split.items()}
    assert again.left_out == sorted(names[path] for path in first.left_out)


@pytest.mark.parametrize("part", ["validation", "test"])
def test_training_picture_identical_to_one_held_out_is_left_out(part: str):
    parts = ("train", "validation", "test")
    pictures = [each for name in parts for each in many(name, a=5, b=5)]
    content = distinct(pictures)
    content["train/a/0.png"] = content[f"{part}/a/0.png"]
    divided = split(pictures, content)
    assert divided.left_out == ["train/a/0.png"]
    assert "train/a/0.png" not in divided.split
    assert divided.split[f"{part}/a/0.png"] == part


def test_own_parts_are_kept_and_validation_gives_the_test_part():
    pictures = many("train", cats=1000, dogs=1000) + many("validation", cats=500, dogs=500)
    divided = split(pictures, test=0.2)
    found = table(pictures, divided)
    assert found == {"train": (1000, 1000), "validation": (400, 400), "test": (100, 100)}
    assert all(divided.split[each.path] == "train" for each in pictures if each.part == "train")


def test_three_own_parts_are_kept_as_they_are():
    pictures = [each for part in SPLITS for each in many(part, a=7, b=3)]
    divided = split(pictures)
    assert divided.split == {each.path: each.part for each in pictures}


def test_own_training_and_test_parts_give_a_validation_part():
    pictures = many("train", a=100, b=100) + many("test", a=10, b=10)
    divided = split(pictures, held_out=0.2)
    found = table(pictures, divided)
    assert found == {"train": (80, 80), "validation": (20, 20), "test": (10, 10)}


def test_identical_pictures_with_two_labels_are_told():
    pictures = many(a=20, b=20)
    content = distinct(pictures)
    content["/a/3.png"] = content["/b/4.png"]
    divided = split(pictures, content)
    labels = {each.path: each.label for each in pictures}
    assert conflicts(labels, content) == ["/a/3.png", "/b/4.png"]
    assert divided.split["/a/3.png"] == divided.split["/b/4.png"]


@pytest.mark.parametrize(
    ("few", "part"), [(1, "validation"), (2, "validation"), (3, "validation"), (4, "train")]
)
def test_too_few_pictures(few: int, part: str):
    held_out = 0.9 if part == "train" else 0.2
    with pytest.raises(ThawError) as caught:
        split(many(plenty=100, rare=few), held_out=held_out)
    text = str(caught.value)
    assert text.startswith(f"params.yaml: split: the {part} split would get no picture")
    assert f"of the class rare (it has {few})" in text
    change = "change split.held_out and split.test"  # no share gives each split one of two
    assert f"add pictures, {f'or {change}' if few > 2 else 'three at least'}" in text
    assert "seed" not in text


@pytest.mark.parametrize("part", SPLITS)
def test_own_part_that_lacks_a_class_is_named(part: str):
    """No share and no seed would mend it."""
    pictures = [
        each for name in SPLITS for each in many(name, a=5, **({} if name == part else {"b": 5}))
    ]
    with pytest.raises(
        ThawError, match=f"own {part} part has no picture of the class b .*; add"
    ) as it:
        split(pictures)
    assert "split." not in str(it.value)


@pytest.mark.parametrize(
    ("right", "count", "interval"),
    [(24, 27, (0.7194, 0.9615)), (0, 10, (0, 0.2775)), (10, 10, (0.7225, 1)), (1, 1, (0.2065, 1))],
)
def test_wilson_is_the_published_interval(right: int, count: int, interval: tuple[float, float]):
    assert wilson(right, count) == pytest.approx(interval, abs=5e-5)


def test_few_test_pictures_are_told_with_the_width_of_an_interval():
    assert doubt(27) == (
        "27 test pictures tell little: 24 right of 27 means 72 to 96 % (95 % interval, 24 points "
        "wide); add pictures, or test on a larger share (split.held_out and split.test)"
    )
    assert doubt(1).startswith("1 test picture tells little: 1 right of 1 means 21 to 100 %")
    assert doubt(99)
    assert not doubt(100)


def patients(
    seed: int, count: int = 60, classes: str = "ab", parts: tuple[str, ...] = ("",)
) -> tuple[list[Labelled], dict[str, str]]:
    """Pictures of patients, who have one to thirty of them, and most of them mainly one class."""
    chance = random.Random(seed)
    pictures, groups = [], {}
    for patient in range(count):
        mainly = chance.choice(classes)
        for index in range(chance.choice([1, 2, 3, 5, 8, 30])):
            label = mainly if chance.random() < 0.8 else chance.choice(classes)
            path = f"{label}/{patient}-{index}.png"
            pictures.append(Labelled(path, label, chance.choice(parts)))
            groups[path] = f"patient {patient}"
    return pictures, groups


def sides(divided: Divided, of: dict[str, str]) -> dict[str, set[str]]:
    found = defaultdict(set)
    for path, side in divided.split.items():
        found[of[path]].add(side)
    return found


@pytest.mark.parametrize("parts", PARTS)
@pytest.mark.parametrize("seed", range(20))
def test_a_group_never_straddles(parts: tuple[str, ...], seed: int):
    pictures, groups = patients(seed, classes="abc", parts=parts)
    content = distinct(pictures)
    one, other = sorted(content)[0], sorted(content)[-1]
    content[one] = content[other]  # in two groups
    alike = [(sorted(content)[1], sorted(content)[-2])]
    if parts != ("",):  # few pictures have a group in two parts
        groups = {
            path: groups[path] if index % 5 == 0 else path for index, path in enumerate(groups)
        }
    divided = split(pictures, content, 0.3, seed=seed, groups=groups, alike=alike)
    assert max(len(each) for each in sides(divided, groups).values()) == 1
    for pair in [*alike, (one, other)]:
        assert len({divided.split[path] for path in pair if path in divided.split}) <= 1
    own = {each.path: each.part for each in pictures}
    assert {*own} - {*divided.split} == {*divided.straddling, *divided.left_out}
    assert bool(divided.straddling) == (parts != ("",))
    last = max((part for part in parts if part), key=SPLITS.index, default="")
    assert last not in {own[path] for path in divided.straddling} - {""}


@pytest.mark.parametrize("seed", range(20))
def test_groups_are_stratified_as_well_as_they_allow(seed: int):
    """Within the size of a small group of a share of some two hundred pictures."""
    pictures, groups = patients(seed)
    divided = split(pictures, None, 0.3, seed=seed, groups=groups)
    labels = {each.path: each.label for each in pictures}
    total = Counter(labels.values())
    for part, share in {"train": 0.7, "validation": 0.15, "test": 0.15}.items():
        for label, count in counts(divided.split, labels)[part].items():
            assert abs(count - share * total[label]) <= 8


def test_a_rare_class_of_three_groups_has_one_on_each_side():
    pictures, groups = patients(1)
    rare = [Labelled(f"rare/{n}.png", "rare") for n in range(6)]
    groups |= {each.path: f"sick {n % 3}" for n, each in enumerate(rare)}
    divided = split([*pictures, *rare], None, 0.3, groups=groups)
    assert {divided.split[each.path] for each in rare} == {*SPLITS}


def test_a_class_of_two_groups_is_refused():
    pictures, groups = patients(1)
    rare = [Labelled(f"rare/{n}.png", "rare") for n in range(6)]
    groups |= {each.path: f"sick {n % 2}" for n, each in enumerate(rare)}
    with pytest.raises(
        ThawError, match=r"of the class rare \(it has 6 in 2 groups\); add groups, three at least"
    ):
        split([*pictures, *rare], None, 0.3, groups=groups)


@pytest.mark.parametrize("seed", range(5))
def test_neither_names_nor_order_matter_to_groups(seed: int):
    pictures, groups = patients(seed)
    content = distinct(pictures)
    names = {each.path: f"other/{hash(each.path)}/{each.path}" for each in pictures}
    renamed = [Labelled(names[each.path], each.label) for each in pictures]
    random.Random(seed).shuffle(renamed)
    first = split(pictures, content, groups=groups)
    again = split(
        renamed,
        {names[path]: value for path, value in content.items()},
        groups={names[path]: group for path, group in groups.items()},
    )
    assert again.split == {names[path]: side for path, side in first.split.items()}
    other = split(pictures, content, groups=groups, seed=99)
    assert other.split != first.split


@pytest.mark.parametrize("parts", PARTS)
@pytest.mark.parametrize("seed", range(10))
def test_pictures_alike_are_never_on_two_sides(parts: tuple[str, ...], seed: int):
    pictures = [
        Labelled(f"{index}.png", "abc"[index % 3], parts[index % len(parts)])
        for index in range(120)
    ]
    alike = [(f"{n}.png", f"{n + step}.png") for n in range(0, 60, 10) for step in (1, 4)]
    divided = split(pictures, seed=seed, alike=alike)
    own = {each.path: each.part for each in pictures}
    for one, other in alike:
        assert len({divided.split[path] for path in (one, other) if path in divided.split}) <= 1
        assert own[one] or {one, other} <= divided.split.keys()
    assert set(own) - set(divided.split) == {*divided.straddling}


def test_pictures_alike_move_few_others():
    pictures = many(a=200, b=200)
    before = split(pictures).split
    after = split(pictures, alike=[("/a/1.png", "/a/2.png"), ("/a/1.png", "/b/5.png")]).split
    assert sum(before[path] != after[path] for path in before) <= 10


def test_how_well_groups_are_divided_is_told():
    labels = {"1": "ok", "2": "ok", "3": "sick", "4": "ok", "5": "sick", "6": "ok"}
    parts = dict(zip("123456", ["train"] * 4 + ["validation", "test"], strict=True))
    told = balance(parts, labels, dict(zip("123456", "AABCDE", strict=True)))
    assert told.splitlines()[0] == (
        "groups: 3 in train, 1 in validation, 1 in test, none on two sides; no class's share is "
        "off by more than 66.7 points (sick: 100.0 % of validation, 33.3 % of all)"
    )
    assert told.splitlines()[1].startswith("note: 1 group to test on is few")


def test_counts_names_every_split_and_class():
    found = counts({"1": "train", "2": "train", "3": "test"}, {"1": "b", "2": "b", "3": "a"})
    assert found == {
        "train": {"a": 0, "b": 2},
        "validation": {"a": 0, "b": 0},
        "test": {"a": 1, "b": 0},
    }
