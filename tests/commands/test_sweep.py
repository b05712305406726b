"""A sweep's runs: which begin again, and what is said of those that fail."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from commands import sweep
from thaw.core import places
from thaw.core.errors import ThawError
from thaw.core.places import KILLED, Ended
from thaw.review import experiments, sweeps

DVC = "Running stage 'fine_tune':\n"
STAGE = "ERROR: failed to reproduce 'fine_tune': failed to run: python3 src fine_tune, exited with "
LOSS = "error: the loss of epoch 1 is no number; set a smaller fine_tune.learning_rate"
(RUN,), _ = sweeps.plan(["seed=1"])


class Told:
    """Places whose runs end as they are told to."""

    at_once = 1
    closed = False

    def __init__(self, *ends: tuple[int, str]) -> None:
        self.left = list(ends)

    def run(self, command: Callable[[], Sequence[str]], log: Path) -> Ended:
        command()
        code, said = self.left.pop(0)
        log.write_text(said)
        return Ended(code, "n1")

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """In place of DVC's: each that is made, fetched and removed; only a run that ends has any."""
    done: list[str] = []

    def make(name: str, overrides: Sequence[str]) -> experiments.Copy:
        done.append(f"make {name} {' '.join(overrides)}")
        return experiments.Copy(name, tmp_path, tmp_path)

    def collect(_: experiments.Copy) -> bool:
        ended = (tmp_path / "sweep/s.log").read_text() == DVC
        done.append(f"collect {ended}")
        return ended

    monkeypatch.chdir(tmp_path)
    Path("sweep").mkdir()
    monkeypatch.setattr(experiments, "make", make)
    monkeypatch.setattr(experiments, "collect", collect)
    monkeypatch.setattr(experiments, "remove", lambda _: done.append("remove"))
    return done


FAILED, KEPT = (
    ["make s seed=1", "collect False", "remove"],
    ["make s seed=1", "collect True", "remove"],
)


@pytest.mark.parametrize(
    ("ends", "why", "done"),
    [
        ([(0, DVC)], "", KEPT),
        ([(255, f"{DVC}{LOSS}\n{STAGE}1")], LOSS.removeprefix("error: "), FAILED),
        ([(255, "no word of an error\nmore")], "no word of an error", FAILED),
        ([(KILLED, DVC + "?"), (0, DVC)], "", FAILED + KEPT),
        ([(255, f"{DVC}{STAGE}-9\n"), (0, DVC)], "", FAILED + KEPT),  # memory ran out
        ([(KILLED, "?")] * 3, "it was killed 3 times", FAILED * 3),
    ],
    ids=["sound", "failed", "no error", "killed", "stage killed", "killed thrice"],
)  # fmt: skip
def test_what_is_killed_begins_again_and_what_fails_does_not(
    ends: list[tuple[int, str]], why: str, done: list[str], copies: list[str]
) -> None:
    where = Told(*ends)
    found = sweep.carry_out("s", RUN, where)
    assert (found.why, found.node, where.left) == (why, "n1", [])
    assert copies == done


def test_what_was_stopped_does_not_begin_again(copies: list[str]) -> None:
    where = Told((KILLED, "?"))
    where.closed = True
    assert sweep.carry_out("s", RUN, where).why
    assert copies == FAILED


@pytest.mark.usefixtures("copies")
def test_one_that_fails_does_not_stop_the_others(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    runs, _ = sweeps.plan(["seed=1,2,3"])

    def carry_out(name: str, *_: object) -> sweep.Outcome:
        if name == "b":
            raise ThawError("DVC can't copy the repository: the disk is full")
        return sweep.Outcome("", "", 1.25)

    monkeypatch.setattr(sweep, "carry_out", carry_out)
    failed = sweep.run_all(dict(zip(runs, "abc", strict=True)), Told(), 5)
    assert failed == {"b": "DVC can't copy the repository: the disk is full"}
    assert capsys.readouterr().out.splitlines()[1:] == [
        "[3/5] a: 1.2 min",
        "[4/5] b: failed: DVC can't copy the repository: the disk is full (sweep/b.log)",
        "[5/5] c: 1.2 min",
    ]


@pytest.mark.usefixtures("copies")
def test_ctrl_c_ends_what_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(_: object) -> None:
        raise KeyboardInterrupt

    where = Told(*[(KILLED, "?")] * 6)
    runs, _ = sweeps.plan(["seed=1,2"])
    monkeypatch.setattr(places, "as_completed", stop)
    with pytest.raises(ThawError, match="goes on with the runs that are missing"):
        sweep.run_all(dict(zip(runs, "ab", strict=True)), where, 2)
    assert where.closed
