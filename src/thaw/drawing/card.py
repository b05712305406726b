"""A model card: what a model is, was made from, can do and can't."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

from thaw.drawing import markdown, summary
from thaw.drawing.markdown import code
from thaw.evaluation import intervals
from thaw.evaluation.record import Cells, WeakSpots

TEMPLATES = Path(__file__).resolve().parent / "templates"
CORRECTIONS = 50  # that are listed
FEW = 30  # pictures of a class or subgroup


@dataclass(frozen=True)
class Share:
    """A part of a whole, both counted."""

    part: int
    whole: int

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval, from 0 to 1."""
        return intervals.wilson(self.part / self.whole, self.whole)

    def __str__(self) -> str:
        """In percent, with the interval in brackets."""
        if not self.whole:
            return "–"
        low, high = self.interval
        return f"{self.part / self.whole:.1%} [{low:.1%}, {high:.1%}]"


@dataclass(frozen=True)
class ClassScore:
    """How one class's test pictures fared."""

    name: str
    pictures: int
    recall: Share  # of the class's pictures, those predicted as it
    precision: Share  # of the pictures predicted as the class, those of it


def by_class(confusion: Cells, classes: Sequence[str]) -> list[ClassScore]:
    """A score a class, from the cells of a confusion matrix."""
    actual, predicted, right = Counter[int](), Counter[int](), Counter[int]()
    for row, column, count in confusion:
        actual[row] += count
        predicted[column] += count
        right[row] += count if row == column else 0
    return [
        ClassScore(name, actual[at], Share(right[at], actual[at]), Share(right[at], predicted[at]))
        for at, name in enumerate(classes)
    ]


def by_subgroup(groups: Mapping[str, Mapping[str, float]]) -> list[tuple[str, Share]]:
    """The share that is right in each subgroup, as `comparison.by_group` counts them."""
    return [
        (
            name or "no subgroup",
            Share(round(each["accuracy"] * each["pictures"]), int(each["pictures"])),
        )
        for name, each in groups.items()
    ]


def limits(
    scores: Sequence[ClassScore],
    subgroups: Sequence[tuple[str, Share]],
    calibration_error: float,
    image_size: int,
    resize: str,
    spots: WeakSpots,
) -> list[str]:
    """What a reader of the figures should know before using the model, a sentence or two each."""
    pictures = sum(score.pictures for score in scores)
    found = [
        f"The figures are of {pictures:,} test pictures from the same source as the training "
        "pictures. Of other cameras, places or times they say nothing.",
        "It always names one of its classes, also for a picture of something else, and may be "
        "confident. Its output `unlike` tells most such pictures from its own; it knows no others.",
    ]
    worst = min((score for score in scores if score.pictures), key=lambda each: _rate(each.recall))
    if missed := worst.recall.whole - worst.recall.part:
        found.append(
            f"Of its classes it misses {code(worst.name)} most often: {missed:,} of "
            f"{worst.recall.whole:,} test pictures ({missed / worst.recall.whole:.1%}) are taken "
            "for another class."
        )
    if len(subgroups) > 1:
        low = min(subgroups, key=lambda each: _rate(each[1]))
        high = max(subgroups, key=lambda each: _rate(each[1]))
        apart = low[1].interval[1] < high[1].interval[0]
        verdict = "more than chance" if apart else "a difference that can be chance"
        found.append(
            f"Of the subgroups, {code(low[0])} is right least often ({low[1]}), {code(high[0])} "
            f"most often ({high[1]}): {verdict}."
        )
    counted = [(score.name, score.pictures) for score in scores]
    if len(subgroups) > 1:
        counted += [(name, share.whole) for name, share in subgroups]
    if few := [code(name) for name, count in counted if count < FEW]:
        found.append(
            f"Fewer than {FEW} test pictures each: {', '.join(few)}. Their figures are rough."
        )
    found += summary.weak_spots(spots)
    how = "stretched" if resize == "stretch" else "scaled and cut"
    found.append(
        f"Pictures are {how} to {image_size} × {image_size} pixels: what is smaller than a pixel "
        "then can't be seen."
    )
    found.append(
        f"Confidence and accuracy differ by {100 * calibration_error:.1f} points on average, "
        "without what chance alone makes of it."
    )
    return found


def corrected(made: Mapping[str, Any]) -> str:
    """What people corrected, as metrics/split.json has it: a sentence and a table.

    Empty where they corrected nothing.
    """
    if not made:
        return ""
    listed = made["listed"]
    rows = [
        [
            code(each[name]) if each[name] else ""
            for name in ("path", "was", "label", "reason", "who")
        ]
        for each in listed[:CORRECTIONS]
    ]
    more = f"\n\nand {len(listed) - CORRECTIONS:,} more." if len(listed) > CORRECTIONS else ""
    return (
        f"People corrected the labels that came with the pictures: {made['relabelled']:,} changed, "
        f"{made['dropped']:,} left out (`drop`), {made['confirmed']:,} confirmed.\n\n"
        f"{markdown.table(('picture', 'was', 'is', 'why', 'who'), rows)}{more}"
    )


def _rate(share: Share) -> float:
    return share.part / share.whole


def render(context: Mapping[str, Any]) -> str:
    """The card in Markdown; `context` holds what `templates/model_card.md.j2` names."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=False,  # Markdown; names go through `code`
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["code"] = code
    found: str = environment.get_template("model_card.md.j2").render(**context)
    return found
