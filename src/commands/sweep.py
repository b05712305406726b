"""Run every combination of some parameters' values, judged over seeds in one table.

    make sweep SET="fine_tune_at=54,100,134 seed=1,2,3" [JOBS=2] [AS=name]
    python src sweep fine_tune_at=54,100,134 seed=1,2,3

Each is an experiment of DVC's, in a copy of the repository, with a log in sweep/. One that fails is
told and doesn't stop the others; those that are there already aren't run again, so that a sweep
that was stopped goes on. With `engine: ray`, runs go to the nodes of a Ray cluster, and one whose
process or node is killed begins again on another. The table is of validation pictures, by which one
chooses; --test judges the runs by the test pictures, once, at the end. Exits with 1 where a run
failed.
"""

import argparse
import re
import time
from contextlib import closing
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import workspace
from commands import recipe
from thaw.core import params, places
from thaw.core.arguments import Parser, whole
from thaw.core.errors import ThawError, one_line, some
from thaw.files import catalogues
from thaw.files.serialize import write_csv, write_text
from thaw.review import experiments, recipes, reports, revisions, sweeps
from thaw.review.revisions import WORKSPACE, opened
from thaw.review.sweeps import Run, Said

OUT = Path("sweep")
MODEL = "fine_tuned"
COLUMNS = tuple(each.name for each in fields(sweeps.Row))
# What DVC says of a stage that was killed: by what is short of memory, mostly.
STAGE_KILLED = re.compile(r"failed to run: .*, exited with -\d+$", re.MULTILINE)


def arguments() -> argparse.Namespace:
    parser = Parser(__doc__)
    recipe.add_settings(parser, "sweep")
    parser.add_argument("--name", default="sweep", help="of the experiments (default: sweep)")
    parser.add_argument(
        "--jobs",
        type=whole(1, 64),
        help="runs at once, at most (default: 1; on a cluster, as many as it has room for)",
    )
    parser.add_argument("--test", action="store_true", help="judge by the test pictures")
    return parser.read()


def check(runs: list[Run]) -> int:
    """Refuse any wrong value before the first run; the cores that a run on a cluster gets.

    Raises:
        ThawError: naming the run.
    """
    here: Any = catalogues.read_yaml(workspace.PARAMS)
    cores = 1
    for run in runs:
        merged = here
        for key, value in run.values:
            merged = recipes.merge(merged, recipes.nested(key, value))
        place = f"params.yaml with {run}"
        checked = params.parse(merged, place)
        workspace.check_params(checked, place)
        cores = max(cores, checked.cores or checked.threads)
    return cores


@dataclass(frozen=True)
class Outcome:
    """How a run went."""

    why: str  # it failed; empty where it didn't
    node: str = ""  # of a cluster
    minutes: float = 0.0  # since it had a place


def carry_out(name: str, run: Run, where: places.Places) -> Outcome:
    """Run one in a copy of the repository.

    Raises:
        ThawError: when the copy can't be made, or its experiment not be fetched.
    """
    log = OUT / f"{name}.log"
    log.unlink(missing_ok=True)
    overrides = [f"{key}={recipe.quoted(value)}" for key, value in run.values]
    for left in reversed(range(places.TRIES)):
        copies: list[experiments.Copy] = []
        began = time.monotonic()

        def command(made: list[experiments.Copy] = copies) -> list[str]:
            nonlocal began
            began = time.monotonic()
            made.append(experiments.make(name, overrides))
            return made[0].command

        try:
            ended = where.run(command, log)
            if copies and experiments.collect(copies[0]):
                return Outcome("", ended.node, (time.monotonic() - began) / 60)
        finally:
            for each in copies:
                experiments.remove(each)
        said = log.read_text("utf-8", "replace") if log.exists() else ""
        killed = ended.code < 0 or STAGE_KILLED.search(said) is not None
        if where.closed or not (killed and left):
            break
        print(f"note: {name}: it was killed{on(ended.node)}; it begins again", flush=True)
    lines = said.splitlines()
    errors = [line for line in lines if line.lower().startswith("error")]
    why = f"it was killed {places.TRIES} times" if killed else (errors or lines or ["it ended"])[0]
    return Outcome(one_line(re.sub("^error: ", "", why, flags=re.IGNORECASE)), ended.node)


def on(node: str) -> str:
    return f" on {node}" if node else ""


def result(name: str, *, test: bool) -> Said | None:
    """What an experiment's model says; None where its predictions are neither here nor pulled."""
    path = workspace.PREDICTIONS if test else workspace.VALIDATION
    with opened(name) as found:
        known = found.read(path, reports.predictions) if found.has(path) else None
    if known is None:
        return None
    return Said(known.classes, known.labels, known.probabilities[MODEL], known.decided[MODEL])


def run_all(names: dict[Run, str], where: places.Places, total: int) -> dict[str, str]:
    """Run all side by side; why each that failed did.

    Args:
        names: of those that aren't there.
        where: they run.
        total: runs, with those that are there.

    Raises:
        ThawError: when it is stopped.
    """
    print(f"runs {where}", flush=True)
    failed: dict[str, str] = {}

    def one(run: Run) -> Outcome:
        try:
            return carry_out(names[run], run, where)
        except ThawError as error:
            return Outcome(str(error))

    jobs = {name: partial(one, run) for run, name in names.items()}
    try:
        with closing(places.side_by_side(where, jobs)) as done:
            for count, (name, found) in enumerate(done, total - len(names) + 1):
                told = f"{found.minutes:.1f} min"
                if found.why:
                    failed[name] = found.why
                    told = f"failed: {found.why} ({OUT}/{name}.log)"
                print(f"[{count}/{total}] {name}{on(found.node)}: {told}", flush=True)
    except KeyboardInterrupt:
        raise ThawError(
            "interrupted; the same command goes on with the runs that are missing"
        ) from None
    return failed


def main() -> None:
    given = arguments()
    settings = recipe.settings(given)
    if not settings:
        raise ThawError('give parameters: make sweep SET="fine_tune_at=54,100,134 seed=1,2,3"')
    runs, varied = sweeps.plan(settings)
    workspace.read_params()  # the engine
    cores = check(runs)
    names = {run: run.name(given.name, varied) for run in runs}
    if len({*names.values()}) < len(names):
        raise ThawError("two of these runs would have one name; give values of plain characters")
    with opened(WORKSPACE):
        pass  # there is a repository
    OUT.mkdir(exist_ok=True)
    print(f"{some(len(runs), 'run')}: {', '.join(varied) or 'one setting'}; logs in {OUT}/")
    there = {*revisions.experiments("HEAD")}
    left = {run: name for run, name in names.items() if name not in there}
    if len(left) < len(names):
        print(f"{len(names) - len(left)} of {len(names)} were run before")
    failed = run_all(left, places.find(given.jobs, cores), len(names)) if left else {}
    found = {
        run.apart(varied)[0]: None if name in failed else result(name, test=given.test)
        for run, name in names.items()
    }
    shared = runs[0].apart(varied)[1]
    rows = sweeps.judge(found)
    lines = []
    for row in rows:
        known = asdict(row)
        lines.append(["" if known[name] != known[name] else known[name] for name in COLUMNS])
    write_csv(OUT / "sweep.csv", COLUMNS, lines)
    with_all = f"All with {shared}.\n\n" if shared.values else ""
    write_text(OUT / "sweep.md", with_all + sweeps.markdown(rows))
    part = "test" if given.test else "validation"
    print(f"\nOn {part} pictures; in brackets, 95 % intervals in which a picture counts once:\n")
    print(f"{with_all}{sweeps.text(rows)}")
    print(f"\nwritten: {OUT}/sweep.md, {OUT}/sweep.csv; `make compare` has each run by itself")
    if failed:
        raise ThawError(f"{len(failed)} of {some(len(runs), 'run')} failed, as listed above")
