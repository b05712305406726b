"""Folds: who lies where, how they are judged, and whether they are of the present parameters."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from thaw.core.errors import ThawError
from thaw.review import folds
from thaw.review.folds import Folds, Joined

CLASSES = ("cat", "dog")


def test_rows_of_several_arrays_are_one_array() -> None:
    arrays = [np.arange(24.0).reshape(4, 2, 3), np.arange(100.0, 118.0).reshape(3, 2, 3)]
    rows = np.array([6, 0, 4, 3])
    whole, joined = np.concatenate(arrays)[rows], Joined(arrays, rows)
    turns = np.array([1, 0, 1])
    some = np.array([2, 0, 3])
    assert joined.shape == whole.shape == (4, 2, 3)
    assert np.array_equal(joined[some, turns], whole[some, turns])
    assert np.array_equal(joined[1:3], whole[1:3])
    assert np.array_equal(joined[2, 0], whole[2, 0])
    assert np.array_equal(joined[..., :2][some, turns], whole[..., :2][some, turns])


def test_what_is_tied_lies_together() -> None:
    keys = [["same", "group a"], ["other"], ["same"], ["third", "group b"], ["fourth", "group a"]]
    assert folds.clusters(keys).tolist() == [0, 1, 0, 3, 0]
    assert folds.clusters(keys, [(1, 3)]).tolist() == [0, 1, 0, 1, 0]
    assert folds.clusters(keys, [(1, 3), (3, 4)]).tolist() == [0, 0, 0, 0, 0]


@pytest.mark.parametrize(("pictures", "each"), [(400, 1), (400, 4), (3000, 1), (3000, 2)])
def test_folds_are_stratified_and_break_no_group(pictures: int, each: int) -> None:
    labels = (np.arange(pictures) // each % 4 == 0).astype(np.int64)
    units = np.arange(pictures) // each
    found = folds.divide(labels, units, 5, 1, CLASSES)
    for fold in range(5):
        mine = found == fold
        assert abs(mine.sum() - pictures / 5) <= 2 * each
        assert abs(labels[mine].sum() - labels.sum() / 5) <= each
    assert all(len(set(found[units == unit].tolist())) == 1 for unit in np.unique(units)[:200])
    again = folds.divide(labels, units, 5, 1, CLASSES)
    assert np.array_equal(found, again)
    assert not np.array_equal(found, folds.divide(labels, units, 5, 2, CLASSES))


def test_more_folds_than_a_class_has_groups_is_a_sentence() -> None:
    labels = np.array([0] * 20 + [1] * 6)
    with pytest.raises(ThawError, match=r"^--k 7: the class dog has 6 pictures .* K=6 at most$"):
        folds.divide(labels, np.arange(26), 7, 1, CLASSES)
    units = np.append(np.arange(20), [20, 20, 20, 21, 21, 21])
    with pytest.raises(ThawError, match=r"^--k 3: the class dog has 2 groups of pictures .* K=2 "):
        folds.divide(labels, units, 3, 1, CLASSES)


def test_what_is_validated_on_is_no_part_of_the_rest() -> None:
    labels, units = np.arange(200) % 2, np.arange(200) // 4
    rows = np.flatnonzero(folds.divide(labels, units, 5, 1, CLASSES) != 0)
    learn, validate = folds.validation(labels, units, rows, 0.2, 1, CLASSES)
    assert sorted([*learn, *validate]) == rows.tolist()
    assert abs(len(validate) - 32) <= 4
    assert not {*units[learn].tolist()} & {*units[validate].tolist()}


def test_too_few_to_validate_on_is_a_sentence() -> None:
    labels, units = np.array([0] * 8 + [1] * 2), np.array([*range(8), 8, 8])
    with pytest.raises(ThawError, match="the class dog has too few pictures to leave some out"):
        folds.validation(labels, units, np.arange(10), 0.2, 1, CLASSES)


def made(repeats: int = 1, pictures: int = 60, names: tuple[str, ...] = CLASSES) -> Folds:
    """Of three folds; every seventh picture is taken for another class, by both models."""
    rows, shares = [], []
    for repeat in range(repeats):
        for number in range(pictures):
            label = number % len(names)
            path = f"{names[label]}/{number}.png"
            about = (path, names[label], ("day", "night")[number % 3 == 0], "", path)
            rows.append((*about, repeat + 1, number // len(names) % 3))
            own = np.full(len(names), 0.1 + number / 1e4)
            own[(label + (number % 7 == 0)) % len(names)] += 1
            shares.append(own / own.sum())
    table = pd.DataFrame(rows, columns=[*folds.ABOUT])
    both = {"head": np.array(shares), "fine_tuned": np.array(shares)}
    return Folds(names, table, both, {})


def result(found: Folds, repeats: int = 1) -> dict[str, Any]:
    return {
        "settings": "",
        "classes": [*found.classes],
        "positive": found.classes[1] if len(found.classes) == 2 else None,
        "k": 3,
        "repeats": repeats,
        "pictures": len(set(found.table["path"])),
        **folds.judge(found, None),
        "fine_tuning": None,
    }


def test_scores_are_of_folds_and_of_all_together() -> None:
    found = made()
    known = folds.judge(found, None)["head"]
    right = [number % 7 != 0 for number in range(60)]
    accuracy = known["scores"]["accuracy"]
    by_fold = [np.mean([right[n] for n in range(60) if n // 2 % 3 == fold]) for fold in range(3)]
    assert accuracy["together"] == pytest.approx(np.mean(right))
    assert accuracy["mean"] == pytest.approx(np.mean(by_fold))
    assert accuracy["spread"] == pytest.approx(np.std(by_fold, ddof=1))
    assert [*known["groups"]] == ["label", "subgroup"]
    assert known["groups"]["label"]["cat"]["pictures"] == 30
    assert known["groups"]["subgroup"]["night"]["accuracy"] == pytest.approx(17 / 20)


def test_a_picture_that_is_predicted_often_counts_once() -> None:
    once, often = (folds.judge(made(repeats), None)["head"] for repeats in (1, 5))
    for kind in ("scores", "groups"):
        first = once[kind]["accuracy"] if kind == "scores" else once[kind]["label"]["dog"]
        second = often[kind]["accuracy"] if kind == "scores" else often[kind]["label"]["dog"]
        for end in ("low", "high"):
            assert second[end] == pytest.approx(first[end], abs=0.003)


@pytest.mark.parametrize("classes", [CLASSES, tuple(f"class {'x' * 30} {n}" for n in range(10))])
def test_the_table_fits_a_terminal(classes: tuple[str, ...]) -> None:
    found = made(names=classes)
    text = folds.text(result(found))
    assert max(map(len, text.splitlines())) <= 100
    assert "The test pictures were not read." in text
    assert "Mean and spread (standard deviation) are of 3 folds" in text


class Run:
    """A run whose files lie here, in the place of Git's and DVC's."""

    def __init__(self) -> None:
        self.repo = self.dvcfs = self

    def has(self, path: Path) -> bool:
        return path.is_file()

    def read(self, path: Path, parse: Any) -> Any:
        return parse(path.read_text())

    def find(self, folder: str) -> list[str]:
        return [str(path) for path in Path(folder).rglob("*")]

    def read_bytes(self, path: str) -> bytes:
        return Path(path).read_bytes()


def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text("head:\n  epochs: 2\nfine_tune:\n  epochs: 3\ncores: 1\n")
    lock = {"stages": {"extract_features": {"outs": [{"path": "data/features", "md5": "aa"}]}}}
    Path("dvc.lock").write_text(json.dumps(lock))
    Path(folds.CODE).mkdir(parents=True)
    Path(folds.CODE, "loop.py").write_text("pass\n")
    run: Any = Run()
    found = made()
    found = replace(found, probabilities={"head": found.probabilities["head"]})
    noted = result(found) | {"settings": folds.settings(run, fine_tuned=False)}
    folds.write(replace(found, result=noted))
    return run


def test_what_is_written_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = folds.read(write(tmp_path, monkeypatch))
    assert found is not None
    assert found.classes == CLASSES
    assert found.table["path"].tolist() == made().table["path"].tolist()
    assert np.allclose(found.probabilities["head"], made().probabilities["head"], rtol=1e-5)


CHANGES = {
    "a parameter": ("params.yaml", "epochs: 2", "epochs: 4", False),
    "one of fine-tuning": ("params.yaml", "epochs: 3", "epochs: 4", True),
    "one that no result follows from": ("params.yaml", "cores: 1", "cores: 2", True),
    "the cache": ("dvc.lock", "aa", "bb", False),
    "the code": (f"{folds.CODE}/loop.py", "pass", "...", False),
    "the predictions": (str(folds.PREDICTIONS), "cat/0.png", "cat/00.png", False),
}


@pytest.mark.parametrize("change", CHANGES)
def test_folds_of_before_a_change_are_not_read(
    change: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = write(tmp_path, monkeypatch)
    path, old, new, still = CHANGES[change]
    text = Path(path).read_text()
    assert old in text
    Path(path).write_text(text.replace(old, new))
    assert (folds.read(run) is not None) == still


def test_a_run_without_folds_has_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = write(tmp_path, monkeypatch)
    folds.PREDICTIONS.unlink()
    assert folds.read(run) is None
