"""Run every combination of some parameters' values, judged over seeds in one table.

    make sweep SET="fine_tune_at=54,100,134 seed=1,2,3" [JOBS=1] [AS=name]
    python src sweep fine_tune_at=54,100,134 seed=1,2,3

Each is an experiment of DVC's, in a copy of the repository, with a log in sweep/. One that fails is
told and doesn't stop the others; those that are there already aren't run again, so that a sweep
that was stopped goes on. The table is of validation pictures, by which one chooses; --test judges
the runs by the test pictures, once, at the end. Exits with 1 where a run failed.
"""

import argparse
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, fields
from pathlib import Path
from threading import Lock
from typing import Any

import workspace
from commands import recipe
from thaw.core import params
from thaw.core.arguments import Parser, whole
from thaw.core.errors import ThawError, one_line, some
from thaw.files import catalogues
from thaw.files.serialize import write_csv, write_text
from thaw.review import recipes, reports, sweeps
from thaw.review.revisions import WORKSPACE, experiments, opened
from thaw.review.sweeps import Run, Said

OUT = Path("sweep")
MODEL = "fine_tuned"
COLUMNS = tuple(each.name for each in fields(sweeps.Row))


def arguments() -> argparse.Namespace:
    parser = Parser(__doc__)
    recipe.add_settings(parser, "sweep")
    parser.add_argument("--name", default="sweep", help="of the experiments (default: sweep)")
    parser.add_argument(
        "--jobs", type=whole(1, 64), default=1, help="runs at once (default: %(default)s)"
    )
    parser.add_argument("--test", action="store_true", help="judge by the test pictures")
    return parser.read()


def check(runs: list[Run]) -> None:
    """Refuse any wrong value before the first run.

    Raises:
        ThawError: naming the run.
    """
    here: Any = catalogues.read_yaml(workspace.PARAMS)
    for run in runs:
        merged = here
        for key, value in run.values:
            merged = recipes.merge(merged, recipes.nested(key, value))
        place = f"params.yaml with {run}"
        workspace.check_params(params.parse(merged, place), place)


def carry_out(name: str, run: Run) -> str:
    """Run one in a copy of the repository; why it failed, empty where it didn't."""
    words = [f"--set-param={key}={recipe.quoted(value)}" for key, value in run.values]
    command = [sys.executable, "-m", "dvc", "exp", "run", "--temp", f"--name={name}", *words]
    with (OUT / f"{name}.log").open("wb") as log:
        done = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, check=False)
    if not done.returncode:
        return ""
    lines = (OUT / f"{name}.log").read_text("utf-8", "replace").splitlines()
    errors = [line for line in lines if line.lower().startswith("error")]
    return one_line((errors or lines or ["it was stopped"])[0])


def result(name: str, *, test: bool) -> Said | None:
    """What an experiment's model says; None where its predictions are neither here nor pulled."""
    path = workspace.PREDICTIONS if test else workspace.VALIDATION
    with opened(name) as found:
        known = found.read(path, reports.predictions) if found.has(path) else None
    if known is None:
        return None
    return Said(known.classes, known.labels, known.probabilities[MODEL], known.decided[MODEL])


def run_all(names: dict[Run, str], jobs: int) -> dict[str, str]:
    """Run those that aren't there; why each that failed did."""
    there = {*experiments("HEAD")}
    left = {run: name for run, name in names.items() if name not in there}
    if len(left) < len(names):
        print(f"{len(names) - len(left)} of {len(names)} were run before")
    failed: dict[str, str] = {}
    finished = len(names) - len(left)
    lock = Lock()

    def one(run: Run) -> None:
        nonlocal finished
        name, began = left[run], time.monotonic()
        why = carry_out(name, run)
        with lock:
            finished += 1
            minutes = (time.monotonic() - began) / 60
            told = f"failed: {why} ({OUT}/{name}.log)" if why else f"{minutes:.1f} min"
            print(f"[{finished}/{len(names)}] {name}: {told}", flush=True)
            if why:
                failed[name] = why

    with ThreadPoolExecutor(jobs) as pool:
        for _ in pool.map(one, left):
            pass
    return failed


def main() -> None:
    given = arguments()
    settings = recipe.settings(given)
    if not settings:
        raise ThawError('give parameters: make sweep SET="fine_tune_at=54,100,134 seed=1,2,3"')
    runs, varied = sweeps.plan(settings)
    check(runs)
    names = {run: run.name(given.name, varied) for run in runs}
    if len({*names.values()}) < len(names):
        raise ThawError("two of these runs would have one name; give values of plain characters")
    with opened(WORKSPACE):
        pass  # there is a repository
    OUT.mkdir(exist_ok=True)
    print(f"{some(len(runs), 'run')}: {', '.join(varied) or 'one setting'}; logs in {OUT}/")
    failed = run_all(names, given.jobs)
    found = {
        run: None if name in failed else result(name, test=given.test)
        for run, name in names.items()
    }
    rows = sweeps.judge(found)
    lines = []
    for row in rows:
        known = asdict(row)
        lines.append(["" if known[name] != known[name] else known[name] for name in COLUMNS])
    write_csv(OUT / "sweep.csv", COLUMNS, lines)
    write_text(OUT / "sweep.md", sweeps.markdown(rows))
    part = "test" if given.test else "validation"
    print(f"\nOn {part} pictures; in brackets, 95 % intervals in which a picture counts once:\n")
    print(sweeps.text(rows))
    print(f"\nwritten: {OUT}/sweep.md, {OUT}/sweep.csv; `make compare` has each run by itself")
    if failed:
        raise ThawError(f"{len(failed)} of {some(len(runs), 'run')} failed, as listed above")
