"""The section of a run's page that shows what an audit found, and gathers corrections."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from thaw.review.auditing import LABEL, TITLES
from thaw.review.traits import Giveaway
from thaw.splitting.corrections import COLUMNS, DROP, Correction

MOST = {LABEL: 120}  # findings that are shown of a kind
OTHERS = 30
LARGE, SMALL = 160, 72  # pixels of a finding's picture and of its neighbours'
BUTTONS = 5  # classes with a button each; of more, a list


def shown(findings: pd.DataFrame) -> pd.DataFrame:
    """The worst of each kind, in their order."""
    place = findings.groupby("kind", sort=False).cumcount()
    return findings[place < findings["kind"].map(lambda kind: MOST.get(kind, OTHERS))]


def section(
    findings: pd.DataFrame,
    facts: Mapping[str, Any],
    labels: Mapping[str, str],
    made: Sequence[Correction],
    thumbnail: Callable[[Iterable[tuple[str, int]]], Mapping[tuple[str, int], str]],
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What `templates/audit.html.j2` names, and what `templates/audit.js` reads.

    Args:
        findings: the table that an audit wrote.
        facts: what it noted beside it.
        labels: of all pictures, by path.
        made: the corrections that there are.
        thumbnail: makes pictures of paths, each of so many pixels.
    """
    rows = shown(findings)
    near = [cell.split("|") if cell else [] for cell in rows["neighbours"]]
    wanted = {(path, LARGE) for path in rows["path"]}
    wanted |= {(each, SMALL) for paths in near for each in paths}
    images = thumbnail(sorted(wanted))
    counts = Counter(findings["kind"])
    context = {
        "kinds": [(kind, title, counts[kind]) for kind, title in TITLES.items() if counts[kind]],
        "pictures": facts["pictures"],
        "of": facts["of"],
        "wrong": facts["wrong"],
        "near": any(near),
        "giveaways": [
            str(each) for each in (Giveaway(**known) for known in facts["giveaways"]) if each.clear
        ],
    }
    data = {
        "split": facts["split"],
        "classes": facts["classes"],
        "buttons": BUTTONS,
        "columns": COLUMNS,
        "drop": DROP,
        "titles": TITLES,
        "made": [[each.path, each.label, each.reason, each.who] for each in made],
        "findings": [
            {
                **{name: row[name] for name in ("path", "kind", "label", "suggested", "note")},
                "says": row["says"],
                "share": float(row["share"]) if row["share"] else None,
                "picture": images[row["path"], LARGE],
                "near": [
                    {"path": each, "label": labels.get(each, ""), "picture": images[each, SMALL]}
                    for each in paths
                ],
            }
            for row, paths in zip(rows.to_dict("records"), near, strict=True)
        ],
    }
    return context, data
