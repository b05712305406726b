"""What Git and DVC hold of a run: a Git revision, a DVC experiment, or the workspace."""

import logging
import os
import subprocess
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import yaml
from dvc.dependency import ParamsDependency
from dvc.exceptions import DvcException
from dvc.repo import Repo
from dvc.repo.experiments.utils import exp_refs_by_baseline
from dvc.scm import SCMError, resolve_rev
from dvc_data.index import DataIndexError

from thaw.core.errors import ThawError, reason
from thaw.drawing.markdown import code

WORKSPACE = "workspace"
GONE = (OSError, DvcException, DataIndexError)
# Where a job of continuous integration says which branch it is of: it checks out a commit alone.
BRANCH = ("GITHUB_HEAD_REF", "CI_MERGE_REQUEST_SOURCE_BRANCH_NAME", "CI_COMMIT_REF_NAME")
Read = TypeVar("Read")


@dataclass
class Revision:
    """A run; `missing` gathers a sentence for each of its files that wasn't found."""

    name: str
    repo: Repo
    about: str = ""  # what the title tells beside the commit
    missing: list[str] = field(default_factory=list)

    @property
    def commit(self) -> str:
        """Its commit; of the workspace, the one that it began at."""
        return str(self.repo.scm.get_rev() if self.name == WORKSPACE else self.repo.get_rev())

    @property
    def title(self) -> str:
        """A branch's name and a commit."""
        name, about = self.name, self.about
        if name == WORKSPACE:
            name = _branch(self.repo) or name
            about = "with changes" if self.repo.scm.is_dirty() else ""
        return f"{code(name)} ({' '.join(filter(None, (self.commit[:7], about)))})"

    def read(self, path: Path, parse: Callable[[str], Read]) -> Read | None:
        """What a file holds; None where the file is missing.

        Raises:
            ThawError: when `parse` can't read it.
        """
        try:
            content = self.repo.dvcfs.read_bytes(path.as_posix())
        except GONE:
            self.missing.append(self._missing(path))
            return None
        try:
            return parse(content.decode())
        except (ValueError, KeyError, TypeError, yaml.YAMLError):
            raise ThawError(
                f"{path} of {self.name} is not what the stages write; `dvc repro` there"
            ) from None

    def has(self, path: Path) -> bool:
        """Whether there is a file."""
        return bool(self.repo.dvcfs.exists(path.as_posix()))

    def copy(self, path: Path, folder: Path) -> Path | None:
        """A copy of a file in a folder; None where it is missing."""
        try:
            self.repo.dvcfs.get_file(path.as_posix(), str(folder / path.name))
        except GONE:
            return None
        return folder / path.name

    def facts(self, path: Path) -> tuple[str, int | None] | None:
        """The checksum and bytes of a stage's output; the file itself needn't be here."""
        try:
            found = self.repo.dvcfs.info(path.as_posix())
        except GONE:
            return None
        kept = found.get("dvc_info", {})
        size = found.get("size", kept.get("size"))
        return str(kept.get("md5") or found.get("md5") or ""), size

    def checksums(self, folder: Path) -> dict[str, str] | None:
        """The checksum of each file in an output, by its path in there; None where it is missing.

        The files themselves needn't be here.
        """
        found: dict[str, str] = {}
        try:
            for root, _, files in self.repo.dvcfs.walk(folder.as_posix(), detail=True):
                for name, facts in files.items():
                    kept = facts.get("dvc_info", facts)
                    if "md5" not in kept:
                        return None
                    found[Path(root, name).relative_to(folder).as_posix()] = str(kept["md5"])
        except GONE:
            return None
        return found or None

    def dependencies(self) -> dict[str, list[str]]:
        """The stages that depend on each file or folder, by its path."""
        found: dict[str, list[str]] = {}
        for stage in self.repo.index.stages:
            for each in stage.deps:
                if not isinstance(each, ParamsDependency):
                    found.setdefault(str(each.def_path), []).append(stage.name)
        return found

    def stale(self, stages: Container[str] | None = None) -> list[str]:
        """The parameters that changed after the stages that read them ran.

        Args:
            stages: of which; None for all.
        """
        found: set[str] = set()
        for dependency in self.repo.index.deps:
            wanted = stages is None or dependency.stage.name in stages
            if wanted and isinstance(dependency, ParamsDependency):
                for names in dependency.workspace_status().values():
                    # DVC names the parameters that changed; of a stage that never ran, it says new.
                    found |= set(dependency.params if isinstance(names, str) else names)
        return sorted(found)

    def _missing(self, path: Path) -> str:
        kept = {Path(out.def_path) for out in self.repo.index.outs if out.use_cache}
        if path in kept:
            return (
                f"{code(path)} of {self.title} is neither in the cache here nor on the remote; "
                "`dvc push` it where it was made, or `dvc repro` there"
            )
        return f"{self.title} has no {code(path)}; `dvc repro` there and commit what it writes"


def experiments(base: str) -> list[str]:
    """The experiments that began at a Git revision, the first one made first.

    Without DVC's lock, so that they can be looked at while another one runs.

    Raises:
        ThawError: when there is no such revision.
    """
    with opened(WORKSPACE) as now, _sentence(base):
        scm = now.repo.scm
        start = resolve_rev(scm, base)
        found = exp_refs_by_baseline(scm, {start})[start]
        return [
            each.name
            for each in sorted(found, key=lambda e: scm.resolve_commit(str(e)).commit_time)
        ]


@dataclass(frozen=True)
class Past:
    """A commit of a branch, and the text of some files there, by path; without those it lacks."""

    commit: str
    date: str  # as 2026-11-27
    texts: dict[str, str]


def history(revision: str, paths: Sequence[Path], most: int) -> list[Past]:
    """The latest commits of a branch that changed the first of these files, the oldest first.

    Of what was merged into the branch, the merge alone counts.
    """
    words = ("--first-parent", "--format=%H %cs", f"--max-count={most}", revision)
    found = []
    for line in reversed(_git("log", *words, "--", str(paths[0])).splitlines()):
        commit, date = line.split()
        texts = {str(path): _git("show", f"{commit}:./{path}") for path in paths}
        texts = {path: text for path, text in texts.items() if text}
        found.append(Past(commit, date, texts))
    return found


def changed_files(before: Revision, after: Revision) -> list[str]:
    """The files of the repository that differ."""
    commits = [before.commit, *([] if after.name == WORKSPACE else [after.commit])]
    return _git("diff", "--name-only", "--relative", "-z", *commits).split("\0")[:-1]


def fork(base: str, head: str) -> tuple[str, int] | None:
    """Where a run branched off from a base that went on since, and by how many commits it did.

    None where it didn't go on, or where the run is one that the base has in it.

    Raises:
        ThawError: when there is no such revision.
    """
    with opened(WORKSPACE) as now, _sentence(base):
        first = str(resolve_rev(now.repo.scm, base)) if base != WORKSPACE else ""
    with opened(head) as run:
        second = run.commit
    common = _git("merge-base", first, second).strip() if first else ""
    if common in ("", first, second):
        return None
    return common, int(_git("rev-list", "--count", f"{common}..{first}"))


def _git(*words: str) -> str:
    """What Git prints; nothing where it can't."""
    done = subprocess.run(["git", *words], capture_output=True, check=False)
    return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else ""


def _branch(repo: Repo) -> str:
    try:
        return str(repo.scm.active_branch())
    except SCMError:  # a commit alone is checked out
        return next(filter(None, map(os.environ.get, BRANCH)), "")


@contextmanager
def _sentence(name: str) -> Iterator[None]:
    try:
        yield
    except SCMError:
        raise ThawError(
            f"{name} is no Git revision and no DVC experiment here; give one such as main, HEAD~1 "
            "or a name that `dvc exp list` shows"
        ) from None


@contextmanager
def opened(name: str, commit: str | None = None, about: str = "") -> Iterator[Revision]:
    """A run by its name; of a commit of that branch, where one is given.

    Raises:
        ThawError: when there is none of that name, or no repository here.
    """
    logging.getLogger("dvc").setLevel(logging.CRITICAL)
    if not Path("dvc.yaml").is_file():
        raise ThawError("dvc.yaml is missing here; run from the folder that holds it")
    try:
        with Repo() as here, _sentence(name):
            rev = commit or (None if name == WORKSPACE else resolve_rev(here.scm, name))
        repo = Repo(rev=rev)
    except DvcException as error:
        raise ThawError(f"{reason(error)}; clone the repository with Git") from None
    with repo:
        try:
            _ = repo.index
        except DvcException as error:
            raise ThawError(f"{name}: {reason(error)}; mend it there") from None
        yield Revision(name, repo, about)
