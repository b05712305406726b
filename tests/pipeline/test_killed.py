"""`kill -9` at any moment of any stage; then `dvc repro` finishes, and its result is the same.

What is killed begins cold, as a person's does; what then finishes may begin warm.
"""

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

import pytest
import yaml

from repository import UNCHANGED, Finished, Repository

pytestmark = pytest.mark.timeout(900)
CHECKPOINT = Path("data/unfinished/model.npz")
NOTES = (".lock", ".made", ".listing", "seconds.json")  # that stages leave
LIVE = {"cache.layer": "pixels", "augment.rotation": 0.2}


def start(
    repository: Repository, *command: str, output: int | IO[bytes] = subprocess.DEVNULL
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, *command],
        cwd=repository.path,
        env=repository.env,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def kill(repository: Repository, stage: str, now: Callable[[], bool]) -> None:
    """Run a stage and kill `dvc` and all that it started as soon as `now`; it may end before."""
    lock = repository.path / "dvc.lock"
    committed = lock.read_text() if lock.exists() else ""  # what `git checkout` would bring back
    process = start(repository, "-m", "dvc", "repro", "--single-item", stage)
    while process.poll() is None and not now():
        time.sleep(0.01)
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    # DVC rewrites two files of its own in place, and refuses one cut short: as the page says.
    rwlock = repository.path / ".dvc/tmp/rwlock"
    if rwlock.exists() and not rwlock.read_text():
        rwlock.unlink()
    if lock.exists() and cut_short(lock.read_text(), committed):
        lock.write_text(committed) if committed else lock.unlink()


def cut_short(text: str, before: str) -> bool:
    """Whether it lacks its end: a line's, or what was there before of stages."""

    def parts(lock: str) -> set[tuple[str, str]]:
        stages = (yaml.safe_load(lock) or {}).get("stages") or {}
        return {(name, part) for name, stage in stages.items() for part in stage or ()}

    try:
        return not text.endswith("\n") or not parts(text) >= parts(before)
    except (yaml.YAMLError, AttributeError):  # the start of a word is no mapping
        return True


def test_a_lock_that_was_cut_short_is_seen() -> None:
    whole = "schema: '2.0'\nstages:\n  a:\n    cmd: x\n  b:\n    cmd: y\n"
    assert not cut_short(whole, whole)
    assert not cut_short(whole, "")
    assert all(cut_short(whole[:end], whole) for end in range(len(whole)))


def after(seconds: float) -> Callable[[], bool]:
    end = time.monotonic() + seconds
    return lambda: time.monotonic() > end


def results(repository: Repository) -> dict[str, object]:
    return yaml.safe_load((repository.path / "dvc.lock").read_text())["stages"]


def leftovers(repository: Repository) -> list[Path]:
    ours = [path for path in repository.path.rglob("*") if ".dvc" not in path.parts]
    unfinished = repository.path / CHECKPOINT.parent
    return [
        path
        for path in ours
        if path.name.startswith(".part-")
        or (
            path.is_relative_to(unfinished) and path != unfinished and not path.name.endswith(NOTES)
        )
    ]


def test_killed_at_random_moments_the_result_is_the_same(
    finished: Finished, tmp_path: Path
) -> None:
    """And that on one core, where the undisturbed run has all."""
    killed = Repository(tmp_path)
    killed.edit({"source": str(finished.repository.pictures), "cores": 1})
    kill_each(killed, finished.took)
    killed.dvc("repro", "--quiet")  # `look`, which none of these needs
    assert results(killed) == results(finished.repository)
    assert leftovers(killed) == []
    killed.run("git", "add", "--all")
    assert "unfinished" not in killed.run("git", "ls-files")
    lock = (finished.repository.path / "dvc.lock").read_text()
    assert (killed.path / "dvc.lock").read_text() == lock
    assert killed.dvc_json("status") == UNCHANGED


def test_killed_with_live_views_the_result_is_the_same(finished: Finished, tmp_path: Path) -> None:
    """With them only the trainings differ."""
    undisturbed = finished.repository.copy(tmp_path / "undisturbed")
    undisturbed.edit(LIVE)
    undisturbed.dvc("repro", "extract_features")
    killed = undisturbed.copy(tmp_path / "killed")
    took = {}
    for stage in ("train_head", "fine_tune"):
        began = time.monotonic()
        undisturbed.run(sys.executable, "-m", "dvc", "repro", "--single-item", stage)
        took[stage] = time.monotonic() - began
    kill_each(killed, took)
    assert results(killed) == results(undisturbed)
    assert leftovers(killed) == []


def test_killed_while_the_cache_is_raised_the_result_is_the_same(
    finished: Finished, tmp_path: Path
) -> None:
    """And whether it is found or made, and DVC sees nothing of it."""
    repository = finished.repository.copy(tmp_path)
    repository.edit({"cache.layer": "block1_norm1"})
    repository.dvc("repro", "train_head")
    raised = repository.path / "data/unfinished/raised"
    kill(repository, "fine_tune", lambda: any(raised.glob("*/*")))
    repository.dvc("repro", "fine_tune")
    (kept,) = raised.glob("*/train.npy")
    began, lock = kept.stat().st_mtime_ns, results(repository)
    repeat = ("repro", "--force", "--single-item", "fine_tune")
    assert "the cache was raised to block1_pool (index 7) before" in repository.dvc(*repeat)
    assert kept.stat().st_mtime_ns == began
    assert results(repository) == lock
    shutil.rmtree(raised)
    assert "raises the cache to block1_pool (index 7)" in repository.dvc(*repeat)
    assert results(repository) == lock
    assert repository.dvc_json("status", "fine_tune") == {}
    assert "raised" not in repository.run("git", "status", "--porcelain", "--untracked-files=all")
    repository.edit({"fine_tune_at": 10})
    told = repository.dvc("repro", "--single-item", "fine_tune")
    assert "raises the cache to block2_relu1 (index 9)" in told
    assert len([*raised.glob("*/train.npy")]) == 1  # one at a time


def kill_each(killed: Repository, took: dict[str, float]) -> None:
    """Run stages that take so many seconds, each killed at some moment and then run to its end."""
    generator = random.Random(1)
    for stage, seconds in took.items():
        kill(killed, stage, after(generator.uniform(0.3, seconds)))
        if stage == "fine_tune":
            kept = killed.path / CHECKPOINT
            kill(killed, stage, kept.exists)
            if kept.exists():
                output = killed.dvc("repro", "--single-item", stage)
                assert re.search(r"continues after epoch \d of 3", output)
        output = killed.dvc("repro", "--single-item", stage)
        assert "bytes may differ" not in output


def test_the_curves_grow_while_dvc_trains_and_after_a_kill_go_on(
    finished: Finished, tmp_path: Path
) -> None:
    """What is read meanwhile is whole, takes no lock, and is what an undisturbed run has too."""
    repository = finished.repository.copy(tmp_path)
    repository.edit({"fine_tune.epochs": 12})
    repository.dvc("repro", "fine_tune")
    whole, before = (repository.path / "plots/model.csv").read_text(), results(repository)
    head = len((repository.path / "plots/head.csv").read_text().splitlines()) - 1
    repository.commit("Run")
    log = tmp_path / "log"
    seen = grown(repository, log, until=7)
    assert len(seen) >= 3
    assert all(text.endswith("\n") for text in seen)
    assert all(untaken(whole).startswith(untaken(text)) for text in seen)
    # DVC and git see a training that isn't finished; and what is there is not half an epoch.
    assert repository.run("git", "status", "--porcelain").split() == [
        *("M", "metrics/model.json"),
        *("M", "plots/model.csv"),
    ]
    repository.dvc("repro", "--force", "--single-item", "fine_tune")
    assert (repository.path / "plots/model.csv").read_text() == whole
    assert results(repository) == before
    assert repository.run("git", "status", "--porcelain") == ""
    text = log.read_bytes().decode()
    assert re.findall(r"[\x00-\x09\x0b-\x1f\x7f]", text) == []
    assert re.findall(r"^epoch (\d+) of 12: loss ", text, re.MULTILINE)[:3] == ["1", "2", "3"]
    shown = repository.python("src", "watch", "--once")
    last = whole.splitlines()[-1].split(",")
    assert f"epoch {head + 12}: 12 of fine-tuning, after {head} of the head" in shown
    assert f"accuracy {float(last[3]):.4f} training, {float(last[4]):.4f} validation" in shown
    assert f"loss     {float(last[1]):.4f} training, {float(last[2]):.4f} validation" in shown


def untaken(curves: str) -> str:
    """Without the column that tells which epoch is the best so far."""
    return re.sub(r",[01]$", "", curves, flags=re.MULTILINE)


def grown(repository: Repository, log: Path, until: int) -> list[str]:
    """Run stage `fine_tune` until so many epochs are seen, and kill it: the curves as they grew."""
    curves = repository.path / "plots/model.csv"
    seen: list[str] = []
    with log.open("wb") as file:
        words = ("-m", "dvc", "repro", "--force", "--single-item", "fine_tune")
        process = start(repository, *words, output=file)
        try:
            while not seen or seen[-1].count("\n") - 1 < until:
                assert process.poll() is None
                if "epoch 1 of" in log.read_text() and (text := curves.read_text()) not in seen:
                    seen.append(text)
                    if len(seen) == 1:
                        assert repository.dvc_json("metrics", "show")  # waits for no lock
                        assert 1 <= repository.json("metrics/model.json")["epochs"] < 12
                time.sleep(0.01)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return seen


def test_a_stage_that_a_killed_dvc_left_running_is_waited_for(tmp_path: Path) -> None:
    repository = Repository(tmp_path)
    lock = repository.path / "data/unfinished/download.lock"
    lock.parent.mkdir(parents=True)
    hold = "import fcntl, sys, time; fcntl.flock(f := open(sys.argv[1], 'w'), fcntl.LOCK_EX); "
    hold += "f.write('12345'); f.flush(); time.sleep(60)"
    holder = start(repository, "-c", hold, str(lock))
    while not (lock.exists() and lock.read_text() == "12345"):
        time.sleep(0.01)
    log = tmp_path / "log"
    with log.open("w") as file:
        waiting = subprocess.Popen(
            [sys.executable, "-u", "src", "download"],
            cwd=repository.path,
            env=repository.env,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
        while "`kill 12345` ends it" not in log.read_text():
            assert waiting.poll() is None
            time.sleep(0.05)
        assert not (repository.path / "data/dataset").exists()
        holder.kill()
        holder.wait()
        assert waiting.wait(60) == 0
    assert (repository.path / "data/dataset/labels.csv").exists()


def test_what_a_killed_stage_left_is_removed(tmp_path: Path) -> None:
    repository = Repository(tmp_path)
    for name in ("data/unfinished/download.tmp/a", "data/.part-dataset/raw/images/x/y.png"):
        (repository.path / name).parent.mkdir(parents=True)
        (repository.path / name).write_text("half")
    repository.run("git", "add", "--all")
    assert "part" not in repository.run("git", "ls-files")
    repository.dvc("repro", "download")
    assert leftovers(repository) == []
    assert not (repository.path / "data/dataset/images/x").exists()


def test_killed_once_its_folder_stands_a_download_is_no_work_of_a_person(tmp_path: Path) -> None:
    """Before the stage's end could note what it left; a picture put there later is a person's."""
    repository = Repository(tmp_path)
    repository.dvc("repro", "check")
    code = "import sys, os, runpy; sys.argv = ['src', 'download']; sys.path.insert(0, 'src'); "
    code += "import keeping; keeping.note = lambda stage: os.kill(os.getpid(), 9); "
    code += "runpy.run_path('src', run_name='__main__')"
    repository.run(sys.executable, "-c", code, code=-signal.SIGKILL)
    assert (repository.path / "data/dataset/labels.csv").exists()
    mine = repository.path / "data/dataset/images/moss/mine.png"
    mine.write_bytes(b"mine")
    told = repository.dvc("repro", "--single-item", "download", code=255)
    assert "what you changed" in told
    assert [*(repository.path / "kept").rglob("mine.png")]
    repository.run(sys.executable, "-c", code, code=-signal.SIGKILL)
    repository.dvc("repro", "--single-item", "download")


def test_a_full_disk_is_a_sentence_and_leaves_nothing_to_trust(tmp_path: Path) -> None:
    repository = Repository(tmp_path)
    script = "import resource, runpy, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
    script += "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)); "
    script += "sys.argv = ['src', 'weights']; "
    script += "runpy.run_path('src', run_name='__main__')"
    output = repository.run(sys.executable, "-c", script, code=1)
    assert output.splitlines()[-1] == (
        "error: data/weights/base.weights.h5 can't be written (File too large); "
        "free disk space or make its folder writable"
    )
    assert "Traceback" not in output
    assert list((repository.path / "data/weights").iterdir()) == []
    repository.dvc("repro", "weights")
