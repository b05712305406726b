"""Draw the learning curves in the terminal, while a training runs.

    make watch

Beside `dvc repro` in another terminal, until the training ends or Ctrl-C. With --experiment, those
of the experiment that DVC began last in a copy: `dvc exp run --temp`, the queue, `make recipe`.
"""

import argparse
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

import workspace
from thaw.core.arguments import Parser
from thaw.core.errors import ThawError
from thaw.files import tables
from thaw.review import terminal

PHASES = ("head", "model")
COPIES = (".dvc/tmp/exps", ".dvc/tmp/exps/standalone")
PAUSE = 0.5  # seconds between two looks
PATIENCE = 30  # seconds in which fine-tuning follows a new head, if it does
NOTHING = "no training has begun here; `dvc repro` starts one"
# The terminal's other screen, without a cursor, and back.
OTHER_SCREEN, FIRST_SCREEN = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"
ERASE = "\x1b[H\x1b[J"


@dataclass(frozen=True)
class State:
    """What there is to draw."""

    head: pd.DataFrame
    model: pd.DataFrame
    head_ended: bool
    ended: bool

    @property
    def history(self) -> pd.DataFrame:
        return pd.concat([self.head, self.model])

    @property
    def fine_tuning_starts(self) -> int | None:
        """The last epoch of the head's training."""
        return int(self.model["epoch"].iloc[0]) - 1 if len(self.model) else None


def arguments() -> argparse.Namespace:
    parser = Parser(__doc__)
    parser.add_argument("--once", action="store_true", help="draw them as they are, and end")
    parser.add_argument("--experiment", action="store_true", help="of one that runs in a copy")
    return parser.read()


def newest_copy() -> Path:
    """The folder of the experiment begun last that DVC runs in a copy of the repository.

    Raises:
        ThawError: when there is none.
    """
    copies = [path.parent for each in COPIES for path in Path().glob(f"{each}/tmp*/dvc.yaml")]
    if not copies:
        raise ThawError("no experiment runs in a copy here; leave out --experiment")
    return max(copies, key=lambda path: path.joinpath("dvc.yaml").stat().st_mtime_ns)


def read(folder: Path) -> State:
    """The curves so far. DVC removes those of a stage that it runs, but not those of later ones."""
    head, model = (_rows(folder / workspace.PLOTS / f"{name}.csv") for name in PHASES)
    final = [_is_final(folder / workspace.METRICS / f"{name}.json") for name in PHASES]
    if not final[0]:
        model = model[:0]  # of an earlier head
    return State(head, model, final[0], all(final))


def _rows(path: Path) -> pd.DataFrame:
    try:
        return tables.numbers(path)
    except FileNotFoundError:
        return pd.DataFrame()


def _is_final(path: Path) -> bool:
    """Whether a training's metrics are those that its stage writes last."""
    try:
        return "parameters" in json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return False


def _written(path: Path) -> int | None:
    """When a file was written, in nanoseconds; None where it isn't there."""
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return None


def drawn(state: State, size: tuple[int, int], colour: bool) -> str:
    if state.history.empty:
        return NOTHING
    return terminal.learning_curves(state.history, state.fine_tuning_starts, size, colour)


def follow(folder: Path, colour: bool) -> State:
    """Draw at every change, until a training that was seen has ended, or Ctrl-C.

    Returns:
        The last state.
    """
    state = read(folder)
    shown = earlier = None
    head_seen = 0.0
    began = False
    with _screen(), suppress(KeyboardInterrupt):
        while (folder / "dvc.yaml").is_file():  # DVC removes its copy when that is done
            state = read(folder)
            written = _written(folder / workspace.METRICS / "model.json")
            if not state.head_ended:
                earlier, head_seen = written, time.monotonic()
            elif written == earlier and time.monotonic() - head_seen < PATIENCE:
                # Still of an earlier head. It stays if the new head came out the same.
                state = replace(state, model=state.model[:0], ended=False)
            began |= not state.ended
            size = shutil.get_terminal_size()
            if shown != (now := (state.history.to_numpy().tolist(), began, size)):
                shown = now
                hint = "Ctrl-C ends" if began else "no training runs; waiting for one, Ctrl-C ends"
                _show(state, (size.columns, size.lines - 1), colour, hint)
            if began and state.ended:
                break
            time.sleep(PAUSE)
    return state


def _show(state: State, size: tuple[int, int], colour: bool, hint: str) -> None:
    if sys.stdout.isatty():
        print(f"{ERASE}{drawn(state, size, colour)}\n{hint}", end="", flush=True)
    elif len(state.history):
        print(terminal.words(state.history, state.fine_tuning_starts), flush=True)


@contextmanager
def _screen() -> Iterator[None]:
    """Use the terminal's other screen, so that what was on this one comes back."""
    if not sys.stdout.isatty():
        yield
        return
    print(OTHER_SCREEN, end="", flush=True)
    try:
        yield
    finally:
        print(FIRST_SCREEN, end="", flush=True)


def main() -> None:
    given = arguments()
    folder = newest_copy() if given.experiment else Path()
    if not (folder / "dvc.yaml").is_file():
        raise ThawError("dvc.yaml is missing here; run from the folder that holds it")
    colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    state = read(folder) if given.once else follow(folder, colour)
    if given.once or sys.stdout.isatty():
        size = shutil.get_terminal_size()
        print(drawn(state, (size.columns, size.lines - 1), colour))
