import subprocess
import sys
from pathlib import Path

import pytest

from thaw.errors import ThawError, run, shortlist

SOURCES = Path(__file__).parents[1] / "src"


def raising(error: BaseException):
    def main() -> None:
        raise error

    return main


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (ThawError("threads: 0: give 1"), "error: threads: 0: give 1"),
        (FileNotFoundError(2, "No such file", "a.csv"), "error: a.csv is missing; run `dvc repro`"),
        (FileNotFoundError(2, "No such file", "a\n.csv"), r"error: a\n.csv is missing"),
        (ThawError("a\nb\x1b[2J\x9b: ü"), r"error: a\nb\x1b[2J\x9b: ü"),
        (KeyboardInterrupt(), "error: interrupted"),
    ],
)
def test_run_turns_a_mistake_into_a_sentence(error: BaseException, sentence: str):
    with pytest.raises(SystemExit) as caught:
        run(raising(error))
    assert str(caught.value.code).startswith(sentence)  # a text as exit code means 1


def test_run_lets_a_bug_through():
    with pytest.raises(KeyError):
        run(raising(KeyError("bug")))


def test_run_calls_main_once():
    calls = []
    run(lambda: calls.append(1))
    assert calls == [1]


@pytest.mark.parametrize(
    ("names", "limit", "text"),
    [
        ([], 2, ""),
        (["a", "b"], 2, "a, b"),
        (["a", "b", "c", "d"], 2, "a, b and 2 more"),
    ],
)
def test_shortlist(names: list[str], limit: int, text: str):
    assert shortlist(names, limit) == text


def test_output_that_cannot_be_encoded_is_escaped():
    script = "from thaw.errors import run; run(lambda: print('ü \\udcff'))"
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        env={"PYTHONIOENCODING": "ascii", "PYTHONPATH": str(SOURCES)},
        check=True,
    )
    assert done.stdout == b"\\xfc \\udcff\n"
