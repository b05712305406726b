"""Candidates, folds and the table of benchmarks/recipes.py; what it runs is in test_scripts.py."""

from pathlib import Path

import pytest
import yaml

import recipes
import workspaces
from thaw.core.errors import ThawError


def rows(*classes: int) -> list[dict[str, str]]:
    """So many pictures of each class."""
    return [
        {"path": f"{label}/{number}.png", "label": str(label)}
        for label, count in enumerate(classes)
        for number in range(count)
    ]


def test_folds_have_a_like_share_of_each_class() -> None:
    pictures = rows(60, 31)
    found = recipes.divide(pictures, {row["path"]: row["path"] for row in pictures}, 3, seed=1)
    for label, least in (("0", 20), ("1", 10)):
        of = [fold for fold, row in zip(found, pictures, strict=True) if row["label"] == label]
        assert all(least <= of.count(fold) <= least + 1 for fold in range(3))


def test_identical_pictures_are_in_one_fold() -> None:
    pictures = rows(40, 40)
    content = {row["path"]: str(number // 4) for number, row in enumerate(pictures)}
    found = recipes.divide(pictures, content, 4, seed=1)
    assert all(len({*found[start : start + 4]}) == 1 for start in range(0, 80, 4))
    assert sorted({*found}) == [0, 1, 2, 3]
    assert found == recipes.divide(pictures, content, 4, seed=1)
    assert found != recipes.divide(pictures, content, 4, seed=2)


def test_a_class_with_fewer_pictures_than_folds_is_refused() -> None:
    pictures = rows(9, 2)
    content = {row["path"]: row["path"] for row in pictures}
    with pytest.raises(ThawError, match=r"^--folds 3: 1 has 2 pictures; give fewer$"):
        recipes.divide(pictures, content, 3, seed=1)


@pytest.mark.parametrize(
    ("folds", "only", "expected"),
    [
        (3, None, [0, 1, 2]),
        (3, [2, 0, 2], [0, 2]),
        (1, None, "--folds 1: give 2 or more"),
        (3, [3], "--only-folds 3: of --folds 3, give 0 to 2"),
    ],
)
def test_folds_to_run(folds: int, only: list[int] | None, expected: list[int] | str) -> None:
    if isinstance(expected, str):
        with pytest.raises(ThawError, match=f"^{expected}$"):
            recipes.fold_numbers(folds, only)
    else:
        assert recipes.fold_numbers(folds, only) == expected


@pytest.mark.parametrize("dataset", ["elpv", "cats_and_dogs"])
def test_the_candidates_are_sound_and_differ(dataset: str) -> None:
    found = recipes.candidates(dataset)
    assert len(found) >= 3
    assert len({str(params) for params in found.values()}) == len(found)
    assert {params["dataset"] for params in found.values()} == {dataset}


def test_a_candidate_overrides_parameters_or_a_recipe() -> None:
    assert recipes.candidates("elpv")["default"] == workspaces.merged() | {"source": None}
    deep = recipes.candidates("elpv")["mobilenetv2-224-block6"]
    assert (deep["cache"]["layer"], deep["cache"]["bottleneck"]) == ("block_5_add", "blocks")
    assert recipes.candidates("cats_and_dogs")["tutorial"] == (
        workspaces.merged("tensorflow-tutorial") | {"source": None}
    )


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"params": {"split": {"seed": 2}}}, "split and seed are those of params.yaml for all"),
        ({"recipe": "vgg16-adam"}, "split and seed are those of params.yaml for all; remove them"),
        ({"params": {"seed": 7}}, "split and seed are those of params.yaml for all"),
        ({"params": {"batch_sise": 7}}, "batch_sise is not a parameter"),
        ({"params": {"fine_tune_at": 400}}, "fine_tune_at: 400: MobileNetV2 has 154 layers"),
        ({"parms": {}}, "parms: extra inputs are not permitted"),
    ],
)
def test_a_bad_candidate_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, values: dict, told: str
) -> None:
    monkeypatch.setattr(recipes, "CANDIDATES", tmp_path)
    text = yaml.safe_dump({"about": "a", "dataset": "elpv"} | values)
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(ThawError, match=r"mine\.yaml: ") as caught:
        recipes.candidates("elpv")
    assert told in str(caught.value)


def test_a_name_that_is_none_is_told() -> None:
    with pytest.raises(ThawError, match=r"^tutorial: of candidates for elpv, give default, "):
        recipes.named(recipes.candidates("elpv"), ["default", "tutorial"], "elpv")
    with pytest.raises(ThawError, match=r"^--dataset cifar10: there are candidates for cats_and_d"):
        recipes.candidates("cifar10")


def a_run(name: str, fold: int, loss: float, **changes: object) -> recipes.Record:
    scores = {"accuracy": 0.5, "loss": loss, "roc_auc": 0.9}
    return {
        "candidate": name,
        "digest": "now",
        "folds": 2,
        "network": "VGG16",
        "thawed": "block5_conv1",
        "image_size": 150,
        "fold": fold,
        "seed": 1,
        "minutes": {"extraction": 3.0, "head": 0.25, "fine_tuning": 2.0 + fold},
        "scores": {"head": scores, "fine_tuned": scores},
        "right": {"head": "1100", "fine_tuned": "1110"},
    } | changes


def test_the_table_has_the_best_candidate_first() -> None:
    runs = [a_run(name, fold, loss) for name, loss in (("a", 0.4), ("b", 0.2)) for fold in (0, 1)]
    runs += [a_run("half", 0, 0.1, thawed=None), a_run("old", 0, 0.5, digest="before")]
    lines = recipes.table(runs, dict.fromkeys(("a", "b", "half", "old"), "now")).splitlines()
    assert lines[2] == (
        "| `b` | VGG16 | `block5_conv1` | 150 | 50.0 % ± 18.9 | 75.0 % ± 16.4 | 0.9000 | 0.2000 | "
        "+25.00 ± 16.37 | 3.0 + 0.2 + 2.5 | 2: 2 of 2 folds, 1 seed |"
    )
    assert [line.split(" | ")[0] for line in lines[3:6]] == [
        "| `a`",
        "| `half`",
        "| `old` before its last change",
    ]
    assert lines[4].split(" | ")[5] == "–"


def test_a_picture_counts_once_for_several_seeds() -> None:
    runs = [a_run("a", fold, 0.4, seed=seed) for fold in (0, 1) for seed in (1, 2, 3)]
    (once,), (more,) = (
        [recipes.line(of, {"a": "now"})]
        for of in ([each for each in runs if each["seed"] == 1], runs)
    )
    assert more[4:9] == once[4:9]
    assert more[-1] == "6: 2 of 2 folds, 3 seeds"
