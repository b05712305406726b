"""Intervals hold the truth of made classifiers, and chance isn't told for more."""

import numpy as np
import pytest

import coverage
from thaw.evaluation.record import TITLES
from worlds import World, skill_of, truth

EVEN = World(2, 1, 1)
HIGH = "0.97 to 1"


def test_a_world_has_the_accuracy_that_is_asked_for() -> None:
    assert truth(EVEN, skill_of(EVEN, 0.9))["accuracy"] == pytest.approx(0.9, abs=0.01)
    labels, first, second = EVEN.pair(4000, (1.5, 1.5), 0.95, np.random.default_rng(0))
    changed = first.argmax(axis=1) != second.argmax(axis=1)
    assert 0.02 < changed.mean() < 0.15
    assert np.bincount(labels).min() > 1800


def test_our_intervals_hold_where_a_bootstraps_do_not() -> None:
    """Six pictures, of which all are mostly right: a bootstrap says 100 % [100, 100]."""
    ours = coverage.covered(EVEN, 6, HIGH, "Thaw", 60)
    theirs = coverage.covered(EVEN, 6, HIGH, "bootstrap within classes", 60)
    for name in ("accuracy", "f1", "roc_auc", "loss"):
        assert ours.shares[name] > 0.85, name
        assert theirs.shares[name] < 0.6, name


def test_a_difference_is_seldom_told_where_there_is_none() -> None:
    found = coverage.paired(EVEN, 20, (0.9, 0.9), 0.6, 60)
    assert [*found.told] == [*TITLES]
    assert max(found.told.values()) <= 0.1
    assert found.any_raised <= found.any_told


@pytest.mark.parametrize("changed", coverage.CHANGED)
def test_two_points_of_folds_are_told(changed: float) -> None:
    assert coverage.power(changed, 400) > 0.9
