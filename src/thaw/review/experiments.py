"""DVC's experiments in copies of the repository: made here, run anywhere, collected here.

`dvc exp run --temp` does these three in one process, which is unsafe where several begin at once:
each stashes its experiment and takes the newest of the stash, which may be another's; and DVC's
locks know a process by its number alone, so that one of another node counts as dead
(treeverse/dvc#7419). So whatever touches the repository's own Git is done by one process, one at a
time, and a run sees its copy alone. These are the parts that DVC's queue is made of, at the version
that requirements.txt pins; tests/pipeline/test_experiments.py runs them.
"""

import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from dvc.exceptions import DvcException
from dvc.repo import Repo, lock_repo
from dvc.repo.experiments.executor.base import ExecutorInfo
from dvc.repo.experiments.executor.local import TempDirExecutor
from dvc.repo.experiments.queue.base import BaseStashQueue
from dvc.scm import SCMError

from thaw.core.errors import ThawError, reason

COPIES = Path(".dvc/tmp/exps/standalone")  # where `make watch` finds them
_lock = Lock()


@dataclass(frozen=True)
class Copy:
    """A copy of the repository in which an experiment runs."""

    name: str
    folder: Path
    note: Path  # what DVC tells the run, and the run DVC

    @property
    def command(self) -> list[str]:
        """What runs it, on any machine that sees the folders under the same paths."""
        return [sys.executable, "-m", "dvc", "exp", "exec-run", "--infofile", str(self.note)]


def make(name: str, overrides: Sequence[str]) -> Copy:
    """Copy the repository as it is here, with other parameters.

    Args:
        name: of the experiment.
        overrides: of params.yaml, as `dvc exp run --set-param` takes them.

    Raises:
        ThawError: when DVC can't.
    """
    COPIES.mkdir(parents=True, exist_ok=True)
    with _lock:
        try:
            with Repo(_wait_for_lock=True) as repo, lock_repo(repo):
                every = repo.experiments
                params = {"params.yaml": list(overrides)} if overrides else None
                entry = every.new(every.tempdir_queue, name=name, params=params)
                made = BaseStashQueue.init_executor(
                    every, entry, TempDirExecutor, wdir=str(COPIES.absolute())
                )
                note = every.celery_queue.get_infofile_path(entry.stash_rev)
                made.info.dump_json(note)
        except (DvcException, SCMError, OSError) as error:
            raise ThawError(f"DVC can't copy the repository: {reason(error)}") from None
    return Copy(name, Path(made.root_dir), Path(note))


def collect(copy: Copy) -> bool:
    """Fetch a copy's experiment into the repository; whether it had one."""
    with _lock:
        found = ExecutorInfo.load_json(os.fspath(copy.note))
        if found.result is None:
            return False
        try:
            with Repo() as repo:
                made = TempDirExecutor.from_info(found)
                BaseStashQueue.collect_executor(repo.experiments, made, found.result)
        except (DvcException, SCMError, OSError) as error:
            raise ThawError(f"DVC can't fetch the experiment: {reason(error)}") from None
    return True


def remove(copy: Copy) -> None:
    """Remove a copy, in which nothing runs any more."""
    shutil.rmtree(copy.folder, ignore_errors=True)
    shutil.rmtree(copy.note.parent, ignore_errors=True)
