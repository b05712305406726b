"""Findings of an audit, and how they are told."""

import json
from pathlib import Path

import numpy as np
import pytest

from thaw.files import tables
from thaw.review import auditing
from thaw.review.auditing import Finding, Picture
from thaw.review.label_errors import Near
from thaw.review.traits import Giveaway

CLASSES = ("moss", "rust")


def pictures(labels: list[int], splits: str = "train") -> list[Picture]:
    return [
        Picture(f"{number}.png", CLASSES[label], splits, "rust", 0.9)
        for number, label in enumerate(labels)
    ]


def ring(count: int, distance: float = 0.1) -> Near:
    rows = (np.arange(count)[:, None] + np.arange(1, 4)) % count
    return Near(rows, np.full((count, 3), distance))


def test_the_worst_label_comes_first_and_a_confirmed_one_not_at_all() -> None:
    labels = np.array([0, 0, 0, 1, 1, 1])
    first = np.array([[0.9, 0.1], [0.3, 0.7], [0.05, 0.95], [0.1, 0.9], [0.2, 0.8], [0.6, 0.4]])
    second = first[:, :]
    known = pictures(labels.tolist())
    found, joint = auditing.by_labels(known, [first, second], labels, CLASSES, ring(6))
    assert [each.path for each in found] == ["2.png", "1.png", "5.png"]
    assert [each.suggested for each in found] == ["rust", "rust", "moss"]
    assert found[0].score == pytest.approx(0.95)
    assert found[0].neighbours == ("3.png", "4.png", "5.png")
    assert joint.sum() <= 6
    again, _ = auditing.by_labels(
        known, [first], labels, CLASSES, ring(6), confirmed=["1.png", "x.png"]
    )
    assert [each.path for each in again] == ["2.png", "5.png"]


def test_the_worst_outlier_comes_first_within_its_split() -> None:
    chance = np.random.default_rng(1)
    near = ring(60)
    distances = (
        np.exp(chance.normal(0, 0.1, (60, 1))) * np.where(np.arange(60) < 30, 0.1, 0.5)[:, None]
    )
    distances[7] *= 2
    known = pictures([0] * 60)
    known = [
        Picture(each.path, each.label, "train" if number < 30 else "validation")
        for number, each in enumerate(known)
    ]
    found = auditing.outliers(known, Near(near.rows, np.repeat(distances, 3, axis=1)))
    assert len(found) == auditing.LEAST
    assert found[0].path == "7.png"
    assert found[0].score > 2 * found[1].score


def test_copies_are_told_by_label_and_by_side() -> None:
    known = {
        "a.png": Picture("a.png", "moss", "train"),
        "b.png": Picture("b.png", "rust", "train"),
        "c.png": Picture("c.png", "moss", "test"),
    }
    identical = auditing.identical({"c.png": "1", "a.png": "1", "b.png": "2"})
    assert identical == [("a.png", "c.png", 1.0, "identical")]
    pairs = [*identical, ("a.png", "b.png", 0.93, "mirrored"), ("a.png", "gone.png", 0.9, "x")]
    found = auditing.copies(pairs, known)
    assert [(each.kind, each.note) for each in found] == [
        (auditing.TWO_SIDES, "in train, its copy (identical) in test"),
        (auditing.TWO_LABELS, "its copy (mirrored) is rust"),
    ]


FACTS = {"of": "test", "pictures": 2000, "wrong": 12}


def test_the_text_has_100_columns_and_the_worst_of_each_kind() -> None:
    long = f"{'a/' * 60}{{}}.png"
    found = [
        Finding(long.format(n), auditing.LABEL, n / 100, "moss" * 9, "rust" * 9, "rust" * 9, 0.99)
        for n in range(30)
    ]
    found.append(Finding("x.png", "dark", 5.0, "moss", note="mean of grey 3 of 255"))
    clear = Giveaway("the border", 0.9, 0.88, 0.92, 0.5)
    chance = Giveaway("size", 0.5, 0.48, 0.52, 0.5)
    told = auditing.text(found, [clear, chance], FACTS)
    assert max(map(len, told.splitlines())) <= 100
    assert "labels that look wrong: 30 pictures; the worst 10:\n   0.29  …" in told
    assert told.count(".png") == 11
    assert "dark: 1 picture:\n   5.00  x.png  is moss, mean of grey 3 of 255" in told
    assert "  the border alone tells the class of 90.0% [88.0%, 92.0%]; the most freq" in told
    assert "size alone" not in told
    assert "none found: copies with two labels;" in told


def test_findings_are_written_by_kind_and_score(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    found = [
        Finding("b.png", "dark", 5.0, "moss"),
        Finding("a.png", auditing.LABEL, 0.6, "moss", "rust", "rust", 0.7, ("x.png", "y.png")),
        Finding("c.png", auditing.LABEL, 0.8, "moss", "rust", "rust", 0.7),
    ]
    auditing.write(found, [Giveaway("size", 0.9, 0.8, 1.0, 0.5)], FACTS)
    rows = tables.read(auditing.FINDINGS)
    assert [*rows] == [*auditing.COLUMNS]
    assert rows["path"].tolist() == ["c.png", "a.png", "b.png"]
    assert rows["neighbours"].tolist() == ["", "x.png|y.png", ""]
    facts = json.loads(auditing.FACTS.read_text())
    assert facts["giveaways"][0]["name"] == "size"
