"""Labels that look wrong, on made features."""

import numpy as np
import pytest

from thaw.review import label_errors


def clouds(count: int = 60, classes: int = 3, far: float = 3.0) -> tuple[np.ndarray, np.ndarray]:
    """Features and labels of classes that lie apart."""
    chance = np.random.default_rng(1)
    labels = np.arange(count) % classes
    middles = far * chance.normal(size=(classes, 20))
    return (middles[labels] + chance.normal(size=(count, 20))).astype(np.float32), labels


def made(rows: np.ndarray) -> np.ndarray:
    return label_errors.features(rows[:30, None], rows[30:, None])


def test_views_and_places_are_averaged() -> None:
    rows, _ = clouds()
    views = np.stack([rows - 1, rows + 1], axis=1)
    maps = np.stack([np.stack([views - 2, views + 2], axis=2)] * 2, axis=3)
    assert maps.shape == (60, 2, 2, 2, 20)
    for each in (views, maps):
        assert label_errors.features(each) == pytest.approx(made(rows), abs=1e-4)
    assert np.linalg.norm(made(rows), axis=1) == pytest.approx(np.ones(60), abs=1e-4)


def test_the_formula_leaves_out_a_picture_and_what_belongs_to_it() -> None:
    """Against one regression for each unit."""
    rows, labels = clouds(12, 2)
    of, units = made_of(rows), np.array([0, 0, 0, 3, 4, 4, 6, 7, 8, 9, 10, 11])
    found = label_errors.ridge(of, labels, units, 2)
    targets = np.eye(2)[labels]
    kernel = np.exp(label_errors.WIDTH * (of @ of.T - 1)) + 1
    for unit in np.unique(units):
        out = units == unit
        inner = kernel[np.ix_(~out, ~out)] + label_errors.RIDGE * np.eye((~out).sum())
        expected = kernel[np.ix_(out, ~out)] @ np.linalg.solve(inner, targets[~out])
        assert found[out] == pytest.approx(expected, abs=1e-4)


def made_of(rows: np.ndarray) -> np.ndarray:
    return label_errors.features(rows[:, None])


def test_flipped_labels_have_the_lowest_margins(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, labels = clouds(90)
    wrong = labels.copy()
    wrong[[3, 40, 77]] = (labels[[3, 40, 77]] + 1) % 3
    for together in (label_errors.TOGETHER, 50):  # in one block, and in two
        monkeypatch.setattr(label_errors, "TOGETHER", together)
        shares = label_errors.ridge(made_of(rows), wrong, np.arange(90), 3)
        margins = label_errors.margins(shares, wrong)
        assert sorted(np.argsort(margins)[:3].tolist()) == [3, 40, 77]
        assert shares[[3, 40, 77]].argmax(axis=1).tolist() == labels[[3, 40, 77]].tolist()


def test_the_confident_joint_by_hand() -> None:
    """Means of the own class: 0.7 and 0.6."""
    shares = np.array([[0.9, 0.1], [0.8, 0.2], [0.4, 0.6], [0.9, 0.1], [0.1, 0.9], [0.2, 0.8]])
    labels = np.array([0, 0, 0, 1, 1, 1])
    assert label_errors.joint(shares, labels).tolist() == [[2, 1], [1, 2]]
    assert label_errors.margins(shares, labels) == pytest.approx([0.8, 0.6, -0.2, -0.8, 0.8, 0.6])


def test_a_picture_below_all_thresholds_is_not_counted() -> None:
    shares = np.array([[0.9, 0.1], [0.5, 0.5], [0.1, 0.9]])
    assert label_errors.joint(shares, np.array([0, 0, 1])).tolist() == [[1, 0], [0, 1]]


def test_the_nearest_come_first_and_none_is_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, labels = clouds()
    of = made_of(rows)
    monkeypatch.setattr(label_errors, "ROWS", 7)
    near = label_errors.nearest(of, 5)
    distances = 1 - of @ of.T
    np.fill_diagonal(distances, np.inf)
    assert near.rows.tolist() == np.argsort(distances, axis=1)[:, :5].tolist()
    assert near.distances == pytest.approx(np.sort(distances, axis=1)[:, :5], abs=1e-5)
    assert (labels[near.rows] == labels[:, None]).mean() > 0.95
    assert label_errors.nearest(of[:3], 10).rows.shape == (3, 2)
