"""Compare experiments: what each changed, accuracies, the difference to the base.

    make compare [BASE=main] [NAMES="brave-ivy old-fox"]
    python src compare                       the workspace and all experiments of this commit
    python src compare brave-ivy old-fox     these experiments or Git revisions
    python src compare --base main --md      for a pull request

Accuracies are in percent. The difference is that of the result (the fine-tuned model, or the
head where nothing was fine-tuned) to the base's on the test pictures that both have, in points,
with its 95 % interval; it is called chance where McNemar's test gives p >= 0.05. No stage runs.
"""

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from commands.report import read_metrics, read_params, read_test, tested, thawed
from thaw.core.arguments import Parser
from thaw.core.errors import as_yaml
from thaw.drawing.markdown import code, place
from thaw.evaluation import differences
from thaw.evaluation.record import compared
from thaw.review import comparing, reports
from thaw.review.revisions import WORKSPACE, Revision, experiments, opened

MODEL = "fine_tuned"


def arguments() -> argparse.Namespace:
    parser = Parser(__doc__)
    parser.add_argument("names", nargs="*", metavar="EXPERIMENT", help="or a Git revision")
    parser.add_argument("--base", default="HEAD", help="what they differ from (default: HEAD)")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--md", action="store_true", help="a Markdown table")
    form.add_argument("--csv", action="store_true", help="CSV, for programs")
    return parser.read()


def accuracy(run: Revision) -> dict[str, dict[str, float]]:
    """By part and model, the head alone where nothing was fine-tuned.

    Of a run of before the end of 2026, on the test pictures alone.
    """
    found: dict[str, Any] = read_metrics(run, "evaluation")
    if "head" in found:
        found = {"test": found}
    models = compared(thawed(read_test(run)))
    return {
        part: {
            model: scores["accuracy"]
            for model, scores in found.get(part, {}).items()
            if "accuracy" in scores and model in models
        }
        for part in comparing.PARTS
    }


def row(run: Revision, base: dict[str, Any], first: reports.Tested) -> comparing.Row:
    """A run beside the base, of which its parameters are given and on what it was tested."""
    changed = [
        f"{name}: {as_yaml(place(value))}"
        for name, _, value in reports.changed(base, read_params(run))
    ]
    found = accuracy(run)
    if stale := run.stale():
        note = f"not run since {', '.join(stale)} changed"
        return comparing.Row(run.name, changed, {}, note=note)
    second = tested(run, read_test(run))
    if different := reports.unlike(first, second):
        return comparing.Row(run.name, changed, found, note=different.note)
    pair = reports.pair(first, second, MODEL)
    if pair is None:
        return comparing.Row(run.name, changed, found, note="predictions are missing")
    difference = differences.compare(pair.labels, *pair.decided)
    note = "identical" if reports.identical(pair) else ""
    pictures = len(pair.labels)
    all_of = [len(each.predictions.labels) for each in (first, second) if each.predictions]
    other = any(pictures < each for each in all_of)
    return comparing.Row(run.name, changed, found, difference, note, pictures if other else None)


def chosen(given: Sequence[str], base: str) -> list[str]:
    """The runs to compare with the base: those named, or the workspace and its experiments."""
    return list(given) or [WORKSPACE, *experiments(base)]


def gather(base_name: str, names: Sequence[str]) -> tuple[list[comparing.Row], list[str]]:
    """A row a run, the base first, and what was looked for in vain."""
    missing: list[str] = []
    with opened(base_name) as base:
        params, first = read_params(base), tested(base, read_test(base))
        rows = [comparing.Row(base.name, ["(the base)"], accuracy(base))]
        for name in names:
            with opened(name) as run:
                found = row(run, params, first)
                same = not found.changed and found.accuracy == rows[0].accuracy
                if name != WORKSPACE or not same:
                    rows.append(found)
                    missing += run.missing
        missing = [*base.missing, *missing]
    return rows, list(dict.fromkeys(missing))


def main() -> None:
    given = arguments()
    rows, missing = gather(given.base, chosen(given.names, given.base))
    form = comparing.markdown if given.md else comparing.separated if given.csv else comparing.text
    print(form(rows))
    for sentence in missing:
        print(f"missing: {sentence}", file=sys.stderr)
    if len(rows) == 1:
        print(
            f"nothing to compare {code(given.base)} with; `dvc exp run -S fine_tune_at=120` makes "
            "an experiment",
            file=sys.stderr,
        )
