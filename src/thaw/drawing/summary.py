"""The evaluation of both models as Markdown, and its verdict."""

from collections.abc import Sequence

from thaw.drawing import markdown
from thaw.evaluation.record import (
    MADE,
    TITLES,
    Comparison,
    Evaluation,
    Spot,
    WeakSpots,
    whose,
)


def text(found: Evaluation, spots: WeakSpots) -> str:
    """A table of both models, 95 % intervals in brackets, what the paired test says, weak spots."""
    rows = [
        [
            title(name, found.positive),
            *(score(found.scores[m][name], found.intervals[m][name]) for m in found.compared),
        ]
        for name in TITLES
    ]
    return (
        f"Test: {found.pictures} pictures. In brackets: {MADE}.\n\n"
        f"{markdown.table(('', *found.compared.values()), rows)}\n\n{conclusion(found)}\n"
        f"{sureness(found)}"
        f"\n{' '.join(weak_spots(spots))}\n"
    )


def title(name: str, positive: str | None) -> str:
    """A score's name, and whose it is: "recall of `defective`"."""
    whole = whose(name, positive)
    if whole and positive is not None:
        whole = f"of {markdown.code(positive)}"
    elif whole:
        whole = f"({whole})"
    return f"{TITLES[name]} {whole}".rstrip()


def score(value: float, interval: Sequence[float]) -> str:
    """A figure and its interval."""
    low, high = interval
    return f"{value:.4f} [{low:.4f}, {high:.4f}]"


def conclusion(found: Evaluation) -> str:
    """Whether fine-tuning helped, or that there was none."""
    if found.thawed:
        return verdict(found.fine_tuning)
    if not found.tried:
        return "Nothing was fine-tuned (`fine_tune_at: null`): the head's model is the result."
    epochs = "The one epoch" if found.tried == 1 else f"None of the {found.tried} epochs"
    was = "was no" if found.tried == 1 else "was"
    return (
        f"{epochs} of fine-tuning {was} better on validation than the head: the head's model is "
        "the result."
    )


def sureness(found: Evaluation) -> str:
    """How far the confidence of what results can be believed, as a paragraph."""
    known = found.confidence.get("fine_tuned")
    if not known:
        return ""
    error = f"{found.scores['fine_tuned']['calibration_error']:.2%}"
    without = f"{known['uncalibrated_error']:.2%}"
    before = f", before calibration by {without}" if without != error else ""
    text = (
        f"Confidence and accuracy differ by {error} on average{before}. Of the surest 80 % of "
        f"the pictures {known['accuracy_at_80']:.2%} are right, of all "
        f"{found.scores['fine_tuned']['accuracy']:.2%}."
    )
    if known["in_doubt"]:
        text += (
            f" In doubt: {known['in_doubt']:.1%} of the pictures; of the others "
            f"{known['accuracy_without_doubt']:.2%} are right."
        )
    return f"\n{text}\n"


def verdict(comparison: Comparison) -> str:
    """Whether fine-tuning helped, in a sentence or two."""
    if not comparison.mended + comparison.broken:
        return "Fine-tuning changed nothing: both models are right on the same test pictures."
    change = (
        f"Fine-tuning mended {comparison.mended} of the head's mistakes and broke "
        f"{comparison.broken} that were right: accuracy {comparison.difference:+.2%} "
        f"[{comparison.low:+.2%}, {comparison.high:+.2%}], McNemar p = {comparison.p_value:.2g}."
    )
    if comparison.chance:
        return f"{change} On these pictures that can be chance."
    return f"{change} That is more than chance."


def weak_spots(found: WeakSpots) -> list[str]:
    """A sentence on what was looked at, and one for each weak spot."""
    looked = (
        f"{found.groups} groups of the {found.pictures:,} validation and test pictures (by "
        "subgroup, size, shape, brightness, contrast, detail and clusters of features)"
    )
    if not found.groups:
        return [
            f"Weak spots: none looked for, as the {found.pictures:,} validation and test pictures "
            "make no groups of 20."
        ]
    if not found.found:
        return [f"Weak spots: the model is worse than on the others in none of {looked}."]
    count = "one" if len(found.found) == 1 else f"{len(found.found)}"
    return [
        f"Weak spots: the model is worse than on the others, by more than chance, in {count} of "
        f"{looked}.",
        *map(_weak_spot, found.found),
    ]


def _weak_spot(spot: Spot) -> str:
    whose = ""
    if spot.subgroup is not None:
        whose = f" of {markdown.code(spot.subgroup)}" if spot.subgroup else " without a subgroup"
    like = f" that are {spot.about}" if spot.about else ""
    return (
        f"Of {spot.pictures:,} pictures{whose}{like}, {spot.accuracy:.1%} [{spot.low:.1%}, "
        f"{spot.high:.1%}] are right; of the others, class by class, {spot.others:.1%} (Holm's "
        f"p = {spot.p_value:.2g})."
    )
