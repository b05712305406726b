"""From probabilities to what a model says."""

import json

import numpy as np
import pytest

from thaw.evaluation import deciding
from thaw.evaluation.deciding import Decision

CLASSES = ["healthy", "sick", "dead"]


def test_the_most_probable_class_is_said_unless_gains_say_otherwise() -> None:
    shares = np.array([[0.7, 0.3], [0.68, 0.32], [0.2, 0.8]])
    assert Decision().decide(shares).tolist() == [0, 0, 1]
    gains = deciding.gains_of_threshold(0.31, 1, 2)
    assert Decision(gains=gains).decide(shares).tolist() == [0, 1, 1]


@pytest.mark.parametrize("column", [0, 1])
def test_gains_of_two_classes_are_a_threshold(column: int) -> None:
    assert deciding.threshold_of(None, column) == 0.5
    gains = deciding.gains_of_threshold(0.31, column, 2)
    assert deciding.threshold_of(gains, column) == pytest.approx(0.31)
    gains = deciding.gains_of_costs({"sick": {"healthy": 9}}, CLASSES[:2])
    assert deciding.threshold_of(gains, column) == pytest.approx([0.9, 0.1][column])


@pytest.mark.parametrize("threshold", [0.05, 0.5, 0.93])
def test_a_threshold_of_two_classes_is_the_probability_from_which_it_is_said(
    threshold: float,
) -> None:
    share = np.random.default_rng(0).uniform(size=500)
    shares = np.stack([1 - share, share], axis=1)
    said = Decision(gains=deciding.gains_of_threshold(threshold, 1, 2)).decide(shares)
    np.testing.assert_array_equal(said == 1, share > threshold)


def test_costs_say_the_class_of_the_least_expected_cost() -> None:
    costs = {"sick": {"healthy": 10.0}}
    gains = deciding.gains_of_costs(costs, CLASSES)
    table = np.array([[0, 1, 1], [10, 0, 1], [1, 1, 0]])
    shares = np.random.default_rng(1).dirichlet([1, 1, 1], 300)
    expected = (shares @ table).argmin(axis=1)
    np.testing.assert_array_equal(Decision(gains=gains).decide(shares), expected)
    assert len({*expected.tolist()}) == 3


TRUTH = np.array([True, True, False, True, False, False])
SHARES = np.array([0.9, 0.8, 0.7, 0.6, 0.4, 0.1])


@pytest.mark.parametrize(
    ("rule", "least", "expected"),
    [
        ("recall", 1.0, 0.5),  # between 0.6 and 0.4
        ("recall", 0.6, 0.75),
        ("precision", 1.0, 0.75),
        ("precision", 0.7, 0.5),  # 3 of 4; at 0.7 2 of 3
        ("precision", 0.5, 0.05),  # all: below the least
    ],
)
def test_thresholds_reach_what_is_asked_for(rule: str, least: float, expected: float) -> None:
    found = deciding.find_threshold(rule, least, TRUTH, SHARES)
    assert found == pytest.approx(expected)


def test_a_precision_that_no_threshold_has() -> None:
    with pytest.raises(ValueError, match=r"no threshold has a precision of 0\.9"):
        deciding.find_threshold("precision", 0.9, ~TRUTH, SHARES)


def test_pictures_of_the_same_probability_are_told_apart_by_no_threshold() -> None:
    shares = np.array([0.9, 0.6, 0.6, 0.2])
    truth = np.array([True, True, False, False])
    assert deciding.find_threshold("recall", 0.9, truth, shares) == pytest.approx(0.4)


def test_rejection() -> None:
    right = np.array([True, True, True, False, True])
    confidence = np.array([0.99, 0.9, 0.8, 0.7, 0.6])
    assert deciding.find_rejection("accuracy", 1.0, right, confidence) == pytest.approx(0.75)
    # Accuracy of all is 0.8, too: the least confidence that reaches it leaves the most.
    assert deciding.find_rejection("accuracy", 0.8, right, confidence) == pytest.approx(0.3)
    assert deciding.find_rejection("coverage", 0.6, right, confidence) == pytest.approx(0.75)
    with pytest.raises(ValueError, match="no confidence has an accuracy of 1"):
        deciding.find_rejection("accuracy", 1.0, ~right, confidence[::-1])
    assert deciding.at_coverage(0.6, right, confidence) == 1.0
    assert deciding.at_coverage(0.8, right, confidence) == 0.75


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("planted", [0.3, 1.0, 4.0])
def test_the_temperature_undoes_what_made_logits_too_large(classes: int, planted: float) -> None:
    generator = np.random.default_rng(2)
    width = 1 if classes == 2 else classes
    true = generator.normal(0, 2, (4000, 1, width))
    shares = deciding.probabilities(true)[:, 0]
    labels = np.array([generator.choice(classes, p=each) for each in shares])
    found = deciding.temperature(true * planted, labels)
    assert found == pytest.approx(planted, rel=0.08)


def test_the_temperature_is_that_of_the_mean_over_views() -> None:
    """Views that disagree make the mean less sure: each may be surer than if it were alone."""
    generator = np.random.default_rng(3)
    true = generator.normal(0, 2, (4000, 1, 1))
    labels = (generator.uniform(size=4000) < deciding.probabilities(true)[:, 0, 1]).astype(int)
    views = true + generator.normal(0, 2, (4000, 8, 1))
    alone = deciding.temperature(views[:, :1], labels)
    assert deciding.temperature(views, labels) < 0.8 * alone


def test_sure_pictures_that_are_all_right_are_left_as_they_are() -> None:
    """And those that are less sure than they are right get as sure as Platt's targets."""
    labels = np.array([0, 1] * 20)
    logits = np.where(labels == 1, 9.0, -9.0)[:, None, None]
    assert deciding.temperature(logits, labels) == 1
    found = deciding.temperature(logits / 9, labels)
    assert deciding.probabilities(1 / found * np.ones((1, 1)))[0, 1] == pytest.approx(21 / 22)


@pytest.mark.parametrize("count", [40, 250])
@pytest.mark.parametrize("spread", [2, 5, 10])
def test_what_chance_makes_of_few_calibrated_pictures_is_no_temperature(
    count: int, spread: float
) -> None:
    """However sure they are: of 40 draws a twentieth would get one, were there no more to learn."""
    generator = np.random.default_rng(4)
    found = []
    for _ in range(40):
        true = generator.normal(0, spread, (count, 1, 1))
        shares = deciding.probabilities(true)[:, 0, 1]
        labels = (generator.uniform(size=count) < shares).astype(int)
        found.append(deciding.temperature(true, labels))
    assert sum(each != 1 for each in found) <= 6


def test_probabilities_of_one_logit_tell_sure_pictures_apart() -> None:
    found = deciding.probabilities(np.array([[40.0], [-40.0], [45.0]], np.float32))
    assert 0 < found[2, 0] < found[0, 0] < 1e-15
    assert found[1, 0] == 1 - found[1, 1]


def test_doubt_says_why() -> None:
    one = Decision(reject_below=0.7, unlike_above=1.3)
    assert one.doubt(0.8, 1.0) == ""
    assert one.doubt(0.8, None) == ""
    assert one.doubt(0.6, 1.0) == "too unsure, below 70.0%"
    assert "unlike the pictures it was trained on (9.2, usual up to 1.3)" in one.doubt(0.99, 9.2)
    assert Decision().doubt(0.5, 100.0) == ""


def test_what_a_model_file_holds_is_read_back() -> None:
    one = Decision(1.5, [[1.0, 0.0], [0.0, 2.0]], 1 / 3, "sick", 0.6, 1.25)
    assert Decision.of(one.metadata()) == one
    assert Decision.of({}) == Decision()
    with pytest.raises(TypeError):
        Decision.of({"decision": json.dumps([1])})
    with pytest.raises(TypeError):
        Decision.of({"decision": json.dumps({"other": 1})})
