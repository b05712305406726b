"""What Git and DVC hold of a run: a Git revision, a DVC experiment, or the workspace."""

import logging
from collections.abc import Callable, Iterator
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
Read = TypeVar("Read")


@dataclass
class Revision:
    """A run; `missing` gathers a sentence for each of its files that wasn't found."""

    name: str
    repo: Repo
    missing: list[str] = field(default_factory=list)

    @property
    def title(self) -> str:
        commit = "" if self.name == WORKSPACE else f" ({self.repo.get_rev()[:7]})"
        return f"{code(self.name)}{commit}"

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

    def stale(self) -> list[str]:
        """The parameters that changed after the stages that read them ran."""
        found: set[str] = set()
        for dependency in self.repo.index.deps:
            if isinstance(dependency, ParamsDependency):
                for names in dependency.workspace_status().values():
                    found |= set(names)
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
def opened(name: str) -> Iterator[Revision]:
    """A run by its name.

    Raises:
        ThawError: when there is none of that name, or no repository here.
    """
    logging.getLogger("dvc").setLevel(logging.CRITICAL)
    if not Path("dvc.yaml").is_file():
        raise ThawError("dvc.yaml is missing here; run from the folder that holds it")
    try:
        with Repo() as here, _sentence(name):
            rev = None if name == WORKSPACE else resolve_rev(here.scm, name)
        repo = Repo(rev=rev)
    except DvcException as error:
        raise ThawError(f"{reason(error)}; clone the repository with Git") from None
    with repo:
        try:
            _ = repo.index
        except DvcException as error:
            raise ThawError(f"{name}: {reason(error)}; mend it there") from None
        yield Revision(name, repo)
