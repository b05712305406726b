"""Tables of the page: shares with their intervals, by class, subgroup and score."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from thaw.drawing import card, summary
from thaw.drawing.card import Share
from thaw.evaluation.record import COMPARED, Cells, Groups
from thaw.evaluation.robustness import Robustness
from thaw.review import folds

Cell = tuple[str, str]  # a figure, and its interval or nothing
SCORES = ("recall", "precision")
KINDS = {"label": "By class", "subgroup": "By subgroup", "group": "By group"}


@dataclass(frozen=True)
class Table:
    """Rows of a name and a cell for each head."""

    title: str
    heads: Sequence[str]
    rows: Sequence[tuple[str, Sequence[Cell]]]


def share(found: Share) -> Cell:
    """In percent, with the interval; a dash where it is of nothing."""
    if not found.whole:
        return "–", ""
    low, high = found.interval
    return f"{found.part / found.whole:.1%}", f"[{low:.1%}, {high:.1%}]"


def by_class(confusion: Mapping[str, Cells], classes: Sequence[str]) -> Table:
    """Recall and precision of each class, by model."""
    found = [card.by_class(cells, classes) for cells in confusion.values()]
    rows = [
        (
            each[0].name,
            [
                (f"{each[0].pictures:,}", ""),
                *(share(getattr(one, score)) for score in SCORES for one in each),
            ],
        )
        for each in zip(*found, strict=True)
    ]
    return Table("By class", _heads(SCORES, confusion), rows)


def by_group(title: str, groups: Mapping[str, Groups]) -> Table:
    """Accuracy of each group, by model."""
    rows = [
        (
            name or "none",
            [
                (f"{int(each['pictures']):,}", ""),
                *(
                    (
                        "{accuracy:.1%}".format(**model[name]),
                        "[{low:.1%}, {high:.1%}]".format(**model[name]),
                    )
                    for model in groups.values()
                ),
            ],
        )
        for name, each in next(iter(groups.values())).items()
    ]
    return Table(title, _heads(["accuracy"], groups), rows)


def by_folds(result: Mapping[str, Any]) -> list[Table]:
    """What folds found: scores by model, and accuracies."""
    models = folds.models(result)
    found = []
    for model in models:
        rows = []
        for name, each in result[model]["scores"].items():
            title = summary.title(name, result["positive"]).replace("`", "")
            within = f"[{each['low']:.4f}, {each['high']:.4f}]"
            rows.append(
                (
                    title,
                    [
                        (f"{each['mean']:.4f}", ""),
                        (f"{each['spread']:.4f}", ""),
                        (f"{each['together']:.4f}", within),
                    ],
                )
            )
        found.append(Table(COMPARED[model].capitalize(), ["mean", "spread", "together"], rows))
    for kind, title in KINDS.items():
        groups = {model: result[model]["groups"].get(kind, {}) for model in models}
        if groups[models[-1]]:
            found.append(by_group(title, groups))
    return found


def by_corruption(found: Robustness) -> Table:
    """Accuracy on corrupted pictures by kind, at its strengths from mild to severe."""
    strengths = max(len(some) for some in found.kinds.values())
    rows = [
        (
            f"{kind}, {some[0].unit}",
            [
                (f"{each.accuracy:.1%}{'' if each.chance else ' *'}", f"at {each.strength:g}")
                for each in some
            ],
        )
        for kind, some in found.kinds.items()
    ]
    heads = [f"strength {number}" for number in range(1, strengths + 1)]
    return Table("Accuracy by corruption", heads, rows)


def _heads(scores: Sequence[str], models: Mapping[str, object]) -> list[str]:
    if len(models) == 1:
        return ["pictures", *scores]
    return ["pictures", *(f"{score}, {COMPARED[model]}" for score in scores for model in models)]
