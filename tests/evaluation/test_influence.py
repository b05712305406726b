"""Each picture's influence on each score."""

import numpy as np
import pytest

from thaw.evaluation import influence

MANY = 500


def sample(classes: int, ties: bool) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    labels = np.arange(30) % classes
    found = np.exp(generator.normal(size=(30, classes)) + 1.5 * np.eye(classes)[labels])
    found /= found.sum(axis=1, keepdims=True)
    return labels, np.round(6 * found) / 6 + 0.01 if ties else found


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize(("classes", "positive"), [(2, None), (2, 0), (4, None), (4, 2)])
def test_an_influence_is_what_one_picture_more_changes(
    classes: int, positive: int | None, ties: bool
) -> None:
    labels, probabilities = sample(classes, ties)
    found = influence.judge(labels, probabilities, positive)
    rows = np.repeat(np.arange(30), MANY)
    for picture in (0, 3, 17, 29):
        more = np.append(rows, picture)
        changed = influence.judge(labels[more], probabilities[more], positive)
        for name, influences in found.influences.items():
            assert influences.mean() == pytest.approx(0, abs=1e-9)
            if name != "calibration_error":  # that of its plain form
                change = len(more) * (changed.scores[name] - found.scores[name])
                assert influences[picture] == pytest.approx(change, abs=0.03), name


def test_a_class_without_pictures_has_no_area() -> None:
    labels, probabilities = sample(3, False)
    kept = labels < 2
    found = influence.judge(labels[kept], probabilities[kept])
    alone = [
        influence.judge(labels[kept], probabilities[kept], each).scores["roc_auc"]
        for each in (0, 1)
    ]
    assert found.scores["roc_auc"] == pytest.approx(np.mean(alone))
