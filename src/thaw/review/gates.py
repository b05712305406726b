"""Whether a change makes results better or worse, told in a word and a sentence."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from thaw.evaluation import differences
from thaw.evaluation.influence import Array, Labels
from thaw.evaluation.record import LOWER_IS_BETTER, TITLES, Verdict, whose

NONE = "no verdict"
EXITS = {Verdict.BETTER: 0, Verdict.NO_WORSE: 0, Verdict.WORSE: 1, Verdict.OPEN: 2, NONE: 3}
POINTS = 100  # to a whole


@dataclass(frozen=True)
class Side:
    """What a run says of pictures that its model didn't learn from."""

    classes: tuple[str, ...]
    keys: tuple[tuple[str, int], ...]  # of each prediction: the picture's path, and the repeat
    labels: Mapping[str, str]  # the class of each picture, by its path
    clusters: Mapping[str, str]  # what each picture belongs to, by its path
    probabilities: Array  # (predictions, classes)
    decided: Labels  # (predictions,) numbers of the classes that it says


@dataclass(frozen=True)
class Told:
    """A verdict, and the sentence that goes with it."""

    word: str
    sentence: str

    @property
    def exit(self) -> int:
        """The code that the command ends with."""
        return EXITS[self.word]


def judge(
    before: Side, after: Side, score: str, margin: float, positive: str | None, where: str
) -> Told:
    """Compare two runs on the pictures that both have, by the labels that the second has.

    Args:
        before: of the base.
        after: of the change.
        score: of `TITLES`.
        margin: how much worse is no worse, in points: hundredths of the score.
        positive: the class that the score is of; None for the mean over the classes.
        where: which predictions these are: "folds".
    """
    if {*before.classes} != {*after.classes}:
        names = " and ".join(", ".join(sorted(each.classes)) for each in (before, after))
        return Told(NONE, f"The classes differ ({names}), so there is nothing to compare.")
    places = {key: place for place, key in enumerate(before.keys)}
    both = [place for place, key in enumerate(after.keys) if key in places]
    larger = max(len({path for path, _ in each.keys}) for each in (before, after))
    pictures = {after.keys[place][0] for place in both}
    if 2 * len(pictures) < larger:
        return Told(
            NONE,
            f"Of {larger:,} pictures of {where} both have {len(pictures):,}: too few to tell.",
        )
    keys = [after.keys[place] for place in both]
    classes = after.classes
    labels = np.array([classes.index(after.labels[path]) for path, _ in keys])
    columns = [before.classes.index(name) for name in classes]
    first = before.probabilities[np.ix_([places[key] for key in keys], columns)]
    second = after.probabilities[both]
    at = None if positive is None else classes.index(positive)
    back = np.argsort(columns)  # the number that a class of the first run has in the second
    said = (back[before.decided[[places[key] for key in keys]]], after.decided[both])
    owners = [after.clusters[path] for path, _ in keys]
    found = differences.differences(labels, first, second, at, owners, said)[score]
    verdict = found.verdict(score, margin / POINTS)
    name = f"{TITLES[score]} {whose(score, positive)}".rstrip()
    change, low, high = (POINTS * each for each in (found.value, found.low, found.high))
    way = " (lower is better)" if score in LOWER_IS_BETTER else ""
    on = f"on {len(pictures):,} pictures of {where} that both have"
    return Told(
        str(verdict),
        f"{name[:1].upper()}{name[1:]} changed by {change:+.2f} points [{low:+.2f}, {high:+.2f}]"
        f"{way} {on}: {MEANING[verdict].format(margin=f'{margin:g}')}.",
    )


MEANING = {
    Verdict.BETTER: "more than chance, and for the better",
    Verdict.NO_WORSE: "if it is worse, then by less than the margin of {margin}",
    Verdict.WORSE: "more than chance, for the worse, and it may be by more than the margin of "
    "{margin}",
    Verdict.OPEN: "that can be chance, and can be worse than the margin of {margin} allows",
}
