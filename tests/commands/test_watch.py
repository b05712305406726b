"""`src/watch.py`: the learning curves in a terminal and in a pipe."""

import os
import pty
import re
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

from places import SRC
from thaw.files.serialize import write_csv, write_json
from thaw.review.comparison_plots import COLUMNS as HISTORY

CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f]")  # all but the line's end
HEAD = [(1, 0.7, 0.6, 0.5, 0.75), (2, 0.5, 0.4, 0.75, 0.875)]
MODEL = [(3, 0.4, 0.3, 0.9, 0.8125)]
ENTER, LEAVE = "\x1b[?1049h", "\x1b[?1049l"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "dvc.yaml").touch()
    return tmp_path


def write(folder: Path, name: str, rows: list[tuple[float, ...]], *, final: bool) -> None:
    write_csv(folder / f"plots/{name}.csv", HISTORY, rows)
    more = {"parameters": 7} if final else {}
    write_json(folder / f"metrics/{name}.json", {"epochs": len(rows)} | more)


def command(*words: str) -> list[str]:
    return [sys.executable, str(SRC), "watch", *words]


def once(folder: Path, *words: str, code: int = 0) -> str:
    done = subprocess.run(
        command("--once", *words), cwd=folder, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == code, done.stderr
    return done.stderr if code else done.stdout


class Terminal:
    """`watch.py` in a terminal of 80 x 24."""

    def __init__(self, folder: Path, **env: str) -> None:
        self._end, theirs = pty.openpty()
        termios.tcsetwinsize(theirs, (24, 80))
        kept = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES", "NO_COLOR")}
        self.process = subprocess.Popen(
            command(),
            cwd=folder,
            env=kept | env,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        self.shown = ""

    def until(self, text: str) -> None:
        """Read on until it wrote this; the end of what it writes, if it is the end's mark."""
        end = time.monotonic() + 60
        while text not in self.shown:
            assert time.monotonic() < end, self.shown
            self.shown += os.read(self._end, 4096).decode(errors="replace")

    def rest(self) -> str:
        """What it wrote until its end."""
        while True:
            try:
                self.shown += os.read(self._end, 4096).decode(errors="replace")
            except OSError:  # EIO: nobody holds the other end any more
                return self.shown


def test_before_any_training_it_says_so(folder: Path) -> None:
    assert once(folder) == "no training has begun here; `dvc repro` starts one\n"


def test_once_in_a_pipe_is_text_with_the_last_figures(folder: Path) -> None:
    write(folder, "head", HEAD, final=True)
    write(folder, "model", MODEL, final=True)
    shown = once(folder)
    assert CONTROL.findall(shown) == []
    assert shown.endswith(
        "epoch 3: 1 of fine-tuning, after 2 of the head\n"
        "accuracy 0.9000 training, 0.8125 validation (best 0.8750, epoch 2)\n"
        "loss     0.4000 training, 0.3000 validation (least 0.3000, epoch 3)\n"
    )


def test_feature_extraction_alone_has_the_curves_of_the_head(folder: Path) -> None:
    write(folder, "head", HEAD, final=True)
    write(folder, "model", [], final=True)
    assert "\nepoch 2: head\n" in once(folder)


def test_curves_of_an_earlier_head_are_not_drawn_after_this_one(folder: Path) -> None:
    write(folder, "head", HEAD, final=False)
    write(folder, "model", MODEL, final=True)
    assert "\nepoch 2: head\n" in once(folder)


def test_in_a_pipe_an_epoch_is_told_once_and_the_end_is_found(folder: Path) -> None:
    write(folder, "head", HEAD[:1], final=False)
    with subprocess.Popen(
        command(), cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        told = [process.stdout.readline()]
        write(folder, "head", HEAD, final=False)
        told += [process.stdout.readline() for _ in range(3)]
        write(folder, "head", HEAD, final=True)
        write(folder, "model", [], final=True)
        told += process.stdout.readlines()
        assert process.wait(60) == 0
    assert [line for line in told if line.startswith("epoch")] == [
        "epoch 1: head\n",
        "epoch 2: head\n",
    ]
    assert CONTROL.findall("".join(told)) == []


def test_in_a_terminal_it_redraws_and_leaves_the_last_curves(folder: Path) -> None:
    write(folder, "head", HEAD, final=True)
    write(folder, "model", MODEL, final=True)
    terminal = Terminal(folder)
    terminal.until("no training runs; waiting for one, Ctrl-C ends")
    (folder / "metrics/model.json").unlink()
    (folder / "plots/model.csv").unlink()
    terminal.until("epoch 2: head")
    write(folder, "model", MODEL, final=True)
    shown = terminal.rest()
    assert terminal.process.wait(60) == 0
    assert shown.startswith(ENTER)
    assert "\x1b[38;5;208m" in shown
    left = shown.partition(LEAVE)[2]
    assert "\x1b[?" not in left
    assert "epoch 3: 1 of fine-tuning, after 2 of the head" in left
    assert len(left.rstrip().splitlines()) == 23


def test_between_head_and_fine_tuning_it_waits(folder: Path) -> None:
    """The metrics of an earlier model stay until DVC runs fine-tuning."""
    write(folder, "head", HEAD[:1], final=False)
    write(folder, "model", MODEL, final=True)
    terminal = Terminal(folder)
    terminal.until("epoch 1: head")
    write(folder, "head", HEAD, final=True)
    terminal.until("epoch 2: head")
    time.sleep(2)
    assert terminal.process.poll() is None
    write(folder, "model", [(3, 0.35, 0.25, 0.95, 0.9375)], final=True)
    shown = terminal.rest()
    assert terminal.process.wait(60) == 0
    assert "validation (best 0.9375, epoch 3)" in shown.partition(LEAVE)[2]
    assert "0.8125" not in shown


@pytest.mark.parametrize("moment", ["no training", "training"])
def test_ctrl_c_ends_it_cleanly(folder: Path, moment: str) -> None:
    if moment == "training":
        write(folder, "head", HEAD, final=False)
    terminal = Terminal(folder, NO_COLOR="1")
    terminal.until("Ctrl-C ends")
    os.killpg(terminal.process.pid, signal.SIGINT)
    shown = terminal.rest()
    assert terminal.process.wait(60) == 0
    assert "Traceback" not in shown
    assert "error" not in shown
    assert LEAVE in shown
    assert "\x1b[38" not in shown


def test_the_experiment_that_began_last_in_a_copy(folder: Path) -> None:
    assert once(folder, "--experiment", code=1) == (
        "error: no experiment runs in a copy here; leave out --experiment\n"
    )
    for number, place in enumerate((".dvc/tmp/exps/tmpa", ".dvc/tmp/exps/standalone/tmpb")):
        copy = folder / place
        write(copy, "head", HEAD[: number + 1], final=False)
        (copy / "dvc.yaml").touch()
        os.utime(copy / "dvc.yaml", (number, number))
    assert "\nepoch 2: head\n" in once(folder, "--experiment")
    os.utime(folder / ".dvc/tmp/exps/tmpa/dvc.yaml", (5, 5))
    assert "\nepoch 1: head\n" in once(folder, "--experiment")
