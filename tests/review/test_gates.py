"""The gate's word, from the predictions of two runs."""

from dataclasses import replace

import numpy as np
import pytest

from thaw.evaluation.record import Verdict
from thaw.review import gates
from thaw.review.gates import NONE, Side


def side(wrong: set[int], pictures: int = 1000, repeats: int = 1) -> Side:
    labels = {f"{n}.png": ("cat", "dog")[n % 2] for n in range(pictures)}
    keys = tuple((path, repeat) for repeat in range(repeats) for path in labels)
    shares = np.full((pictures, 2), 0.1)
    for n in range(pictures):
        shares[n, (n + (n in wrong)) % 2] = 0.9
    owners = {path: path for path in labels}
    found = np.tile(shares, (repeats, 1))
    return Side(("cat", "dog"), keys, labels, owners, found, found.argmax(axis=1))


BASE = {*range(100)}
CASES = {
    "none": (BASE, 0.5, Verdict.NO_WORSE),
    "mended": ({*range(60)}, 0.5, Verdict.BETTER),
    "broken": ({*range(160)}, 0.5, Verdict.WORSE),
    "broken within a wide margin": ({*range(110)}, 3, Verdict.NO_WORSE),
    "as many either way": ({*range(50, 150)}, 0.5, Verdict.OPEN),
    "as many either way, by a wide margin": ({*range(50, 150)}, 3, Verdict.NO_WORSE),
}


@pytest.mark.parametrize("case", CASES)
def test_a_word_for_each_case(case: str) -> None:
    wrong, margin, word = CASES[case]
    told = gates.judge(side(BASE), side(wrong), "accuracy", margin, None, "folds")
    assert told.word == word
    assert told.sentence.startswith(f"Accuracy changed by {(100 - len(wrong)) / 10:+.2f} points [")
    assert "on 1,000 pictures of folds that both have" in told.sentence


def test_repeats_are_no_more_evidence() -> None:
    once, often = (
        gates.judge(
            side(BASE, repeats=n), side({*range(8, 100)}, repeats=n), "accuracy", 0.5, None, ""
        )
        for n in (1, 9)
    )
    assert once.word == often.word


def test_lower_is_better_where_it_is() -> None:
    told = gates.judge(side(BASE), side({*range(20)}), "loss", 0.5, None, "folds")
    assert told.word == Verdict.BETTER
    assert "(lower is better)" in told.sentence


def test_the_order_of_pictures_and_classes_does_not_count() -> None:
    after = side({*range(60)})
    turned = replace(
        after,
        classes=("dog", "cat"),
        keys=after.keys[::-1],
        probabilities=after.probabilities[::-1, ::-1],
        decided=1 - after.decided[::-1],
    )
    found = [gates.judge(side(BASE), each, "f1", 0.5, "dog", "folds") for each in (after, turned)]
    assert found[0] == found[1]


def test_a_corrected_label_counts_for_both() -> None:
    after = side(BASE)
    labels = after.labels | {"0.png": "dog", "1.png": "cat"}
    told = gates.judge(side(BASE), replace(after, labels=labels), "accuracy", 0.5, None, "folds")
    assert told.word == Verdict.NO_WORSE
    assert told.sentence.startswith("Accuracy changed by +0.00 points")


def test_other_classes_and_other_pictures_give_no_verdict() -> None:
    other = replace(side(BASE), classes=("cat", "fox"))
    told = gates.judge(side(BASE), other, "accuracy", 0.5, None, "folds")
    assert (told.word, told.exit) == (NONE, 3)
    assert told.sentence.startswith("The classes differ (cat, dog and cat, fox)")
    told = gates.judge(side(BASE), side(BASE, pictures=400), "accuracy", 0.5, None, "folds")
    assert (told.word, told.exit) == (NONE, 3)
    assert told.sentence.startswith("Of 1,000 pictures of folds both have 400")


def test_exit_codes() -> None:
    assert {str(word): code for word, code in gates.EXITS.items()} == {
        "better": 0,
        "no worse": 0,
        "worse": 1,
        "can't be told": 2,
        "no verdict": 3,
    }
