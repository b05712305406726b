"""Corrupt pictures, predict them, and show what that did."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from thaw.core.progress import track
from thaw.core.threads import in_threads
from thaw.drawing import markdown
from thaw.evaluation import deciding
from thaw.evaluation.inference import Classifier
from thaw.evaluation.influence import Array
from thaw.evaluation.robustness import Robustness, Strength, points, sentences
from thaw.pictures import corruptions, decoding

CONDITIONS = [(kind, strength) for kind in corruptions.KINDS for strength in kind.strengths]
KEYS = [(kind.name, kind.unit, strength) for kind, strength in CONDITIONS]
COLUMNS = ("kind", "unit", "strength", "accuracy", "confidence", "drop", "low", "high", "chance")


def stratified(labels: NDArray[np.int64], count: int, seed: int) -> NDArray[np.int64]:
    """Numbers of so many pictures, each class with its share; all where there are no more.

    Pictures are drawn one by one: with one more, those of before are drawn, too.
    """
    generator = np.random.default_rng(seed)
    places = np.empty(len(labels))
    for label in np.unique(labels):
        mine = generator.permutation(np.flatnonzero(labels == label))
        places[mine] = (np.arange(len(mine)) + 0.5) / len(mine)
    return np.sort(np.argsort(places, kind="stable")[:count])


def predict(
    classifier: Classifier, folder: Path, paths: Sequence[str], seed: int, views: int
) -> Array:
    """Predict each picture as it is and in each of `CONDITIONS`: (pictures, 1 + these, classes).

    Args:
        classifier: the model.
        folder: what `paths` are relative to.
        paths: the pictures.
        seed: of what corruptions draw.
        views: 1 for the picture alone; else the mean over the model's symmetric views.

    Raises:
        BadImageError: when a picture can't be read.
    """

    def shares(pixels: decoding.Pixels) -> Array:
        looked = classifier.views(pixels) if views > 1 else pixels[None]
        mean: Array = deciding.probabilities(classifier.logits(looked)).mean(axis=0)
        return mean

    def each(path: str) -> Array:
        pixels = classifier.look(folder / path)
        changed = (
            corruptions.corrupted(pixels, kind, strength, seed, path)
            for kind, strength in CONDITIONS
        )
        return np.stack([shares(pixels), *map(shares, changed)])

    return np.stack(list(track(in_threads(each, paths), "robustness", len(paths))))


def rows(found: Robustness) -> Iterator[tuple[object, ...]]:
    """A row for each strength, in the order of `COLUMNS`."""
    for each in found.strengths:
        yield (*(getattr(each, name) for name in COLUMNS[:-1]), int(each.chance))


def text(found: Robustness) -> str:
    """What was found, in 100 columns."""
    lines = [
        f"{'':<44}{'accuracy':>10}{'confidence':>12}   lost, in points",
        f"{'as they are':<44}{found.accuracy:>10.1%}{found.confidence:>12.1%}",
        f"{'mean of all below':<44}{found.mean_accuracy:>10.1%}{found.mean_confidence:>12.1%}"
        f"   {_mean(found)}",
    ]
    for kind, some in found.kinds.items():
        for number, each in enumerate(some):
            title = f"{kind}, {each.unit}" if number == 0 else ""
            lines.append(
                f"{title:<38}{each.strength:>6g}{each.accuracy:>10.1%}{each.confidence:>12.1%}"
                f"   {each.lost}{_mark(each)}"
            )
    return "\n".join([*lines, "", note(found)])


def _mean(found: Robustness) -> str:
    return points(found.mean_drop, found.mean_low, found.mean_high)


def _mark(each: Strength) -> str:
    return "" if each.chance else " *"


def note(found: Robustness) -> str:
    """How the figures came about."""
    return (
        f"{found.pictures:,} of {found.of:,} {found.part} pictures, {found.how}; accuracy as they "
        f"are: [{found.low:.1%}, {found.high:.1%}].\nIn brackets: 95 % intervals. *: more than "
        "chance (McNemar, all strengths together by Holm)."
    )


def as_markdown(found: Robustness) -> str:
    """The same for a page."""
    table = [
        ["as they are", "", f"{found.accuracy:.1%}", f"{found.confidence:.1%}", ""],
        [
            "mean of all below",
            "",
            f"{found.mean_accuracy:.1%}",
            f"{found.mean_confidence:.1%}",
            _mean(found),
        ],
    ]
    for kind, some in found.kinds.items():
        for number, each in enumerate(some):
            table.append(
                [
                    f"{kind}, {each.unit}" if number == 0 else "",
                    f"{each.strength:g}",
                    f"{each.accuracy:.1%}",
                    f"{each.confidence:.1%}",
                    each.lost + _mark(each).replace("*", "\\*"),
                ]
            )
    columns = ("corruption", "strength", "accuracy", "confidence", "lost, in points")
    parts = [
        "# Robustness",
        sentences(found),
        "![Accuracy and confidence by corruption and strength](robustness.png)",
        markdown.table(columns, table),
        note(found).replace("*:", "\\*:").replace("\n", " "),
    ]
    return "\n\n".join(parts) + "\n"
