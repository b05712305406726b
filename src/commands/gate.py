"""Say whether a change makes the results better, no worse or worse.

    make gate [BASE=main] [MARGIN=0.5] [SCORE=accuracy] [TEST=1] [ALLOW=unsure]
    python src gate --base main --margin 0.5 --score accuracy

Compares the workspace with BASE, a Git revision or a DVC experiment, picture by picture: on folds
where both have them of their present parameters (`make folds`), else on validation pictures, and on
test pictures only with TEST=1. MARGIN is in points, hundredths of the score. No stage runs.

Exit codes: 0 better or no worse, 1 worse, 2 can't be told, 3 no verdict (other classes, another
dataset, results missing), 4 a mistake in what was asked. `make` makes a 2 of all but 0.
"""

import argparse
import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import workspace
from thaw.core.arguments import Parser
from thaw.core.errors import ThawError, some
from thaw.evaluation.record import BY_CLASS, TITLES
from thaw.files import dialects
from thaw.review import folds, gates, reports, revisions
from thaw.review.gates import NONE, Side, Told
from thaw.review.revisions import WORKSPACE, Revision, opened

MISTAKE = 4
ALLOWED = {"": (), "unsure": (2,), "all": (2, 3)}
MODEL = "fine_tuned"  # what a run results in


def points(text: str) -> float:
    """A margin."""
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not 0 <= found <= gates.POINTS:
        raise argparse.ArgumentTypeError(f"{text}: give a number of points from 0 to 100")
    return found


def arguments() -> argparse.Namespace:
    parser = Parser(__doc__)
    parser.add_argument("--base", default="main", help="compare with it (default: %(default)s)")
    parser.add_argument(
        "--margin",
        type=points,
        default=0.5,
        metavar="POINTS",
        help="so much worse is no worse (default: %(default)s)",
    )
    parser.add_argument(
        "--score",
        choices=list(TITLES),
        default="accuracy",
        metavar="NAME",
        help=f"one of {', '.join(TITLES)} (default: %(default)s)",
    )
    parser.add_argument("--test", action="store_true", help="decide by the test pictures")
    parser.add_argument(
        "--allow",
        choices=[each for each in ALLOWED if each],
        default="",
        metavar="WHAT",
        help="exit with 0 too where it can't be told (unsure), or there is no verdict either (all)",
    )
    return parser.read()


@contextmanager
def mistakes() -> Iterator[None]:
    """A mistake in what was asked is no verdict of worse, whose exit code it would have."""
    try:
        yield
    except ThawError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(MISTAKE)


def of_folds(runs: Sequence[Revision]) -> tuple[str, list[Side]] | None:
    """Both runs' folds, where they tell of the change."""
    found = [folds.read(run) for run in runs]
    if found[0] is None or found[1] is None:
        return None
    model = MODEL if all(MODEL in each.probabilities for each in found if each) else "head"
    if model == "head" and tuning(runs[0]) != tuning(runs[1]):
        return None  # what changed doesn't show in the head
    where = "folds" if model == MODEL or tuning(runs[1])[0] is None else "folds, by the head,"
    return where, [
        Side(
            each.classes,
            tuple(zip(each.table["path"], map(int, each.table["repeat"]), strict=True)),
            dict(zip(each.table["path"], each.table["label"], strict=True)),
            dict(zip(each.table["path"], each.table["cluster"], strict=True)),
            each.probabilities[model],
            each.probabilities[model].argmax(axis=1),
        )
        for each in found
        if each
    ]


def tuning(run: Revision) -> tuple[Any, Any]:
    """How a run fine-tunes."""
    params = parameters(run)
    return params.get("fine_tune_at"), params.get("fine_tune")


def parameters(run: Revision) -> dict[str, Any]:
    """What params.yaml of a run holds."""
    return run.read(workspace.PARAMS, dialects.load) or {}


def of_pictures(runs: Sequence[Revision], test: bool) -> list[Side] | Told:
    """What both runs' models say of validation or test pictures."""
    path = workspace.PREDICTIONS if test else workspace.VALIDATION
    sides = []
    for run in runs:
        found = run.read(path, reports.predictions) if run.has(path) else None
        if found is None:
            return Told(
                NONE,
                f"{run.name} has no {path}, or nobody pushed it; `dvc repro` there (or `dvc pull` "
                "here), and `dvc push`.",
            )
        if stale := run.stale():
            why = f"{run.name} was not run since these changed: {', '.join(stale)}"
            return Told(NONE, f"{why}; `dvc repro` there and commit what it writes.")
        labels = found.labels
        sides.append(
            Side(
                found.classes,
                tuple((name, 1) for name in labels),
                labels,
                {name: name for name in labels},
                found.probabilities[MODEL],
                found.decided[MODEL],
            )
        )
    return sides


def verdict(runs: Sequence[Revision], given: argparse.Namespace) -> Told:
    """The gate's word and sentence."""
    before, after = map(parameters, runs)
    datasets = [each.get("dataset") for each in (before, after)]
    if datasets[0] != datasets[1]:
        names = " and ".join(map(str, datasets))
        return Told(NONE, f"The datasets differ ({names}), so there is nothing to compare.")
    chosen = None if given.test else of_folds(runs)
    if chosen:
        where, sides = chosen
    else:
        found = of_pictures(runs, given.test)
        if isinstance(found, Told):
            return found
        where, sides = "test" if given.test else "validation", found
    positive = after.get("positive")
    if positive is None and len(sides[1].classes) == 2:
        positive = sides[1].classes[1]
    if given.score not in BY_CLASS:
        positive = None
    return gates.judge(sides[0], sides[1], given.score, given.margin, positive, where)


def main() -> None:
    with mistakes():
        given = arguments()
        forked = revisions.fork(given.base, WORKSPACE)
        commit, ahead = forked or (None, 0)
        with opened(given.base, commit) as base, opened(WORKSPACE) as now:
            found = verdict((base, now), given)
    print(f"{found.word}\n{found.sentence}")
    if forked:
        print(
            f"compared with where this branched off, as {given.base} has had "
            f"{some(ahead, 'commit')} since"
        )
    sys.exit(0 if found.exit in ALLOWED[given.allow] else found.exit)
