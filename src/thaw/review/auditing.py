"""What an audit of a dataset finds: labels, copies, outliers, pictures that are amiss."""

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thaw.core.errors import some
from thaw.files.serialize import write_csv, write_json
from thaw.review import label_errors, traits
from thaw.review.label_errors import Array, Near, Numbers
from thaw.review.traits import Giveaway, Traits

FINDINGS = Path("audit/findings.csv")
FACTS = Path("audit/audit.json")
LABEL, TWO_LABELS, TWO_SIDES, OUTLIER = "label", "two labels", "two sides", "outlier"
TITLES = {  # in the order in which they are shown
    LABEL: "labels that look wrong",
    TWO_LABELS: "copies with two labels",
    TWO_SIDES: "copies on two sides of the split",
    OUTLIER: "least like all others",
    "blurred": "blurred, or without detail",
    "dark": "dark",
    "bright": "bright",
    "low contrast": "low in contrast",
    "odd size": "of another size",
    "odd shape": "of another shape",
}
NEIGHBOURS = 5  # of a finding
AROUND = 30  # neighbours by whose distance outliers are told
FARTHEST, LEAST, MOST = 0.02, 10, 100  # of the pictures that are listed as outliers
LISTED = 10  # of a kind, in a terminal
WIDTH = 100
COLUMNS = ("path", "kind", "score", "label", "suggested", "says", "share", "neighbours", "note")


@dataclass(frozen=True)
class Picture:
    """What is known of a picture before it is looked at."""

    path: str
    label: str
    split: str
    says: str = ""  # the class that a model which didn't learn it predicts
    share: float | None = None  # and how sure it is


@dataclass(frozen=True)
class Finding:
    """A picture that a person should look at."""

    path: str
    kind: str
    score: float  # larger is worse, among those of its kind
    label: str
    suggested: str = ""
    says: str = ""
    share: float | None = None
    neighbours: tuple[str, ...] = ()
    note: str = ""

    def __str__(self) -> str:
        """What there is to say beside its path."""
        told = [f"is {self.label}"]
        if self.kind == LABEL:
            told.append(f"looks {self.suggested}")
        if self.note:
            told.append(self.note)
        if self.says and self.kind == LABEL and self.share is not None:
            told.append(f"model: {self.says} {self.share:.1%}")
        return ", ".join(told)


def by_labels(
    pictures: Sequence[Picture],
    shares: Sequence[Array],
    labels: Numbers,
    classes: Sequence[str],
    near: Near | None = None,
    confirmed: Iterable[str] = (),
) -> tuple[list[Finding], NDArray[np.int64]]:
    """Labels that look wrong, the worst first, and the confident joint, which tells how many are.

    Args:
        pictures: N of them.
        shares: (N, C) of each model that didn't learn the picture; their mean counts.
        labels: (N,) class numbers.
        classes: their names.
        near: the nearest pictures of each.
        confirmed: paths whose label somebody said is right.
    """
    mean = np.mean(shares, axis=0)
    joint = label_errors.joint(mean, labels)
    margin = label_errors.margins(mean, labels)
    others = mean.copy()
    others[np.arange(len(labels)), labels] = -np.inf
    seem = others.argmax(axis=1)
    right = {*confirmed}
    worst = [row for row in np.argsort(margin, kind="stable") if margin[row] < 0]
    found = [
        found_at(
            *(pictures, near, row, LABEL),
            float(np.clip((1 - margin[row]) / 2, 0, 1)),
            suggested=classes[seem[row]],
        )
        for row in worst
        if pictures[row].path not in right
    ]
    return found, joint


def neighbours(pictures: Sequence[Picture], near: Near | None, row: int) -> tuple[str, ...]:
    """The paths of the nearest ones."""
    if near is None:
        return ()
    return tuple(pictures[each].path for each in near.rows[row][:NEIGHBOURS])


def found_at(
    pictures: Sequence[Picture],
    near: Near | None,
    row: int,
    kind: str,
    score: float,
    suggested: str = "",
    note: str = "",
) -> Finding:
    """What was found of one of the pictures, with its nearest ones."""
    each = pictures[row]
    beside = neighbours(pictures, near, row)
    return Finding(
        each.path, kind, score, each.label, suggested, each.says, each.share, beside, note
    )


def outliers(pictures: Sequence[Picture], near: Near) -> list[Finding]:
    """The pictures that are farthest from their nearest ones, compared with those of their split.

    The cache holds training pictures as the mean of views, others as they are: these lie apart.
    """
    distances = np.log(np.maximum(near.distances[:, :AROUND].mean(axis=1), 1e-6))
    count = min(max(LEAST, round(FARTHEST * len(pictures))), MOST)
    splits = np.array([each.split for each in pictures])
    score = np.zeros(len(pictures))
    for name in np.unique(splits):
        score[splits == name] = traits.far(distances[splits == name])
    return [
        found_at(
            *(pictures, near, row, OUTLIER, float(score[row])),
            note=f"{score[row]:.1f} deviations farther from others than usual",
        )
        for row in np.argsort(-score, kind="stable")[:count]
    ]


def amiss(
    pictures: Sequence[Picture], looked: Sequence[Traits], near: Near | None
) -> list[Finding]:
    """Blurred, dark, bright, flat, odd-sized and odd-shaped pictures."""
    found = []
    for kind, score in traits.amiss(looked).items():
        for row in np.argsort(-score, kind="stable"):
            if score[row] <= traits.FAR:
                break
            each = looked[row]
            notes = {
                "odd size": f"{each.width} × {each.height} pixels",
                "odd shape": f"{each.width} × {each.height} pixels",
                "low contrast": f"deviation of grey {each.contrast:.0f} of 255",
                "blurred": f"{score[row]:.1f} deviations less sharp than usual",
            }
            found.append(
                found_at(
                    *(pictures, near, row, kind, float(score[row])),
                    note=notes.get(kind, f"mean of grey {each.brightness:.0f} of 255"),
                )
            )
    return found


def copies(
    pairs: Iterable[tuple[str, str, float, str]], known: Mapping[str, Picture]
) -> list[Finding]:
    """Pairs of copies with two labels, or on two sides of the split.

    Args:
        pairs: two paths, how like they are, by what they differ.
        known: the pictures of the split, by path; pairs with another one don't count.
    """
    found = []
    for one, other, like, how in pairs:
        if one not in known or other not in known:
            continue
        first, second = known[one], known[other]
        kinds = {
            TWO_LABELS: (first.label != second.label, f"its copy ({how}) is {second.label}"),
            TWO_SIDES: (
                first.split != second.split,
                f"in {first.split}, its copy ({how}) in {second.split}",
            ),
        }
        for kind, (holds, note) in kinds.items():
            if holds:
                suggested = second.label if kind == TWO_LABELS else ""
                found.append(
                    Finding(
                        *(one, kind, like, first.label, suggested, first.says, first.share),
                        neighbours=(other,),
                        note=note,
                    )
                )
    return sorted(found, key=lambda each: -each.score)


def identical(contents: Mapping[str, str]) -> list[tuple[str, str, float, str]]:
    """Pairs of pictures that show the same, of each such set the first with each other one."""
    first: dict[str, str] = {}
    pairs = []
    for path, content in sorted(contents.items()):
        if (before := first.setdefault(content, path)) != path:
            pairs.append((before, path, 1.0, "identical"))
    return pairs


def write(
    found: Sequence[Finding], giveaways: Sequence[Giveaway], facts: Mapping[str, Any]
) -> None:
    """Write both files, findings by kind, the worst first."""
    order = list(TITLES)
    rows = sorted(found, key=lambda each: (order.index(each.kind), -each.score, each.path))
    write_csv(
        FINDINGS,
        COLUMNS,
        [
            (
                *(each.path, each.kind, round(each.score, 4), each.label, each.suggested),
                *(each.says, "" if each.share is None else round(each.share, 6)),
                *("|".join(each.neighbours), each.note),
            )
            for each in rows
        ],
    )
    told = [
        {"name": e.name, "accuracy": e.accuracy, "low": e.low, "high": e.high, "most": e.most}
        for e in giveaways
    ]
    write_json(FACTS, {**facts, "giveaways": told})


def text(found: Sequence[Finding], giveaways: Sequence[Giveaway], facts: Mapping[str, Any]) -> str:
    """The worst of each kind, a line each, in 100 columns."""
    lines = [
        f"{facts['pictures']:,} {facts['of']} pictures; confident learning estimates that "
        f"{facts['wrong']:,} labels are wrong.",
    ]
    for kind, title in TITLES.items():
        own = [each for each in found if each.kind == kind]
        if not own:
            continue
        own.sort(key=lambda each: -each.score)
        more = f"; the worst {LISTED}:" if len(own) > LISTED else ":"
        lines += ["", f"{title}: {some(len(own), 'picture')}{more}"]
        for each in own[:LISTED]:
            about = _cut(str(each), 60)
            path = _cut_left(each.path, WIDTH - 11 - len(about))
            lines.append(f"{each.score:7.2f}  {path}  {about}")
    clear = [each for each in giveaways if each.clear]
    if clear:
        lines += ["", "what gives the class away, without what the picture shows:"]
        lines += [f"  {each}" for each in clear]
    elif giveaways:
        lines += ["", "neither size, file, light, colour nor border gives the class away"]
    missing = [title for kind, title in TITLES.items() if not any(f.kind == kind for f in found)]
    if missing:
        lines += ["", *textwrap.wrap(f"none found: {'; '.join(missing)}", WIDTH)]
    return "\n".join(lines)


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"


def _cut_left(text: str, width: int) -> str:
    return text if len(text) <= width else f"…{text[len(text) - width + 1 :]}"
