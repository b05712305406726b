"""What people put where stages write: DVC removes a stage's outputs before it runs."""

import hashlib
import json
import logging
import os
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import workspace
from thaw.core.errors import OTHER_OWNER, OTHER_OWNERS, ThawError, shortlist
from thaw.files import catalogues
from thaw.files.serialize import write_json
from thaw.files.walking import hidden

if TYPE_CHECKING:
    from dvc.repo import Repo

KEPT = Path("kept")
PIPELINE = Path("dvc.yaml")


@dataclass(frozen=True)
class Output:
    """A file or folder that a stage writes, as dvc.yaml has it."""

    stage: str
    path: Path


def outputs() -> list[Output]:
    """All that stages write."""
    pipeline: Any = catalogues.read_yaml(PIPELINE)
    found = []
    for name, stage in pipeline["stages"].items():
        for each in [*stage.get("outs", []), *stage.get("metrics", [])]:
            found.append(Output(name, Path(each if isinstance(each, str) else next(iter(each)))))
    return found


def refuse_inside(value: str, path: Path, place: str) -> None:
    """Refuse a path of one's own that a stage's output is, lies in or holds.

    Raises:
        ThawError: naming the output, and what to do.
    """
    real = path.resolve()
    for output in outputs():
        theirs = output.path.resolve()
        if real.is_relative_to(theirs):
            raise ThawError(
                f"{place}: {value} lies where stage `{output.stage}` writes ({output.path}), and "
                f"a run replaces what is there; move it, as with `mv {path} my-{path.name}`, and "
                "give that path"
            )
        if theirs.is_relative_to(real):
            raise ThawError(
                f"{place}: {value} holds {output.path}, which stage `{output.stage}` writes; give "
                "a folder that holds your files alone"
            )


def note(stage: str) -> None:
    """Note what a stage leaves, so that what a person changes afterwards is told apart.

    Not where there is no pipeline, as where a benchmark runs stages: there nothing is removed.
    """
    if stage != "check" and PIPELINE.exists():
        mine = {str(each.path): _seen(each.path) for each in outputs() if each.stage == stage}
        write_json(_noted(stage), mine)


def expect(stage: str, folder: Path, target: Path) -> None:
    """Note what a stage is about to leave by renaming a folder, lest a kill come between."""
    write_json(_noted(stage), {str(target): _seen(folder, target)})


def forget(stage: str) -> None:
    """Begin a stage: what it leaves if it is killed is its own.

    But for `download`, which asks what there was before, and whose folder appears when it is whole:
    it notes that itself, with `expect`.
    """
    if stage != "download":
        _noted(stage).unlink(missing_ok=True)


def move_aside(others: Iterable[Path] = ()) -> tuple[list[Path], Path]:
    """Move what people put into or changed in stages' outputs to a folder; return both.

    That is all that DVC hasn't recorded or can't bring back, but for what a stage left that was
    stopped. `others` are moved too.
    """
    with _repository() as repo:
        ours = [
            output for output in outputs() if output.stage != "check"
        ]  # which writes notes alone
        foreign = [path for output in ours for path in _foreign(repo, output)]
    found = sorted({*foreign, *(path for path in others if path.is_file())})
    folder = KEPT / time.strftime("%Y-%m-%d-%H%M%S")
    for path in found:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        path.rename(folder / path)
    return found, folder


def protect() -> None:
    """Move aside what a run would remove.

    Raises:
        ThawError: when there was something, naming it and what to do.
    """
    found, folder = move_aside()
    if not found:
        return
    hint = ""
    if any(path.is_relative_to(workspace.RAW) for path in found):
        hint = (
            f". {workspace.RAW} is a copy: add pictures and mend labels where `source` points, "
            "and `dvc repro` brings them"
        )
    raise ThawError(
        f"a run would have removed what you changed where stages write "
        f"({shortlist([str(path) for path in found], 3)}); it is in {folder}/ now, and "
        f"`dvc repro` goes on without it{hint}"
    )


def check_out() -> list[Path]:
    """Bring outputs back as dvc.lock has them; return those that DVC's cache can't bring.

    These stay as they are: DVC's own checkout would remove them.
    """
    with _repository() as repo:
        outs = [out for out in repo.index.outs if out.use_cache]
        if there := [out.def_path for out in outs if not out.changed_cache()]:
            repo.checkout(targets=there, force=True)
    with _repository() as repo:
        return [
            Path(out.def_path)
            for out in repo.index.outs
            if not out.exists or out.changed_checksum()
        ]


def _foreign(repo: "Repo", output: Output) -> Iterator[Path]:
    if not output.path.exists() or _is_ours(output):
        return
    out = next((each for each in repo.index.outs if Path(each.def_path) == output.path), None)
    if out is None:  # changed in dvc.yaml since
        return
    now = out.get_hash()
    if now == out.hash_info or Path(repo.cache.local.oid_to_path(now.value)).exists():
        return
    if not out.use_cache and committed(output.path).get(output.path):
        return
    if output.path.is_file():
        yield output.path
        return
    tree = out.get_obj()
    known = {"/".join(key): info.value for key, _, info in tree} if tree else {}
    for path in _files(output.path):
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "md5").hexdigest()
        if known.get(path.relative_to(output.path).as_posix()) != found:
            yield path


def _is_ours(output: Output) -> bool:
    """Whether it is as its stage left it, or what a stage left that was killed."""
    try:
        mine = json.loads(_noted(output.stage).read_text("utf-8"))
    except OSError:
        began = (workspace.UNFINISHED / f"{output.stage}.lock").exists()
        return began and output.path != workspace.RAW
    except ValueError:
        return False
    return bool(mine.get(str(output.path)) == _seen(output.path))


def _seen(path: Path, target: Path | None = None) -> str:
    """Names, sizes and times of what is there; named as they will be once it is at `target`."""
    lines = []
    for file in [path] if path.is_file() else _files(path):
        status = file.lstat()
        name = (target or path) / file.relative_to(path)
        lines.append(f"{name.as_posix()!r} {status.st_size} {status.st_mtime_ns}")
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _files(folder: Path) -> Iterable[Path]:
    for where, folders, names in os.walk(folder):
        folders.sort()
        yield from (Path(where, name) for name in sorted(names) if not hidden(name))


def _noted(stage: str) -> Path:
    return workspace.UNFINISHED / f"{stage}.made"


def committed(*paths: Path) -> dict[Path, bool]:
    """What the last commit holds at or below these paths, and whether it is so here.

    By contents: `git diff` trusts a file's size and the second of its change, which are the same
    where DVC changes a digit of params.yaml.

    Raises:
        ThawError: when Git can't tell.
    """
    listed = _git("ls-tree", "-r", "-z", "HEAD", "--", *map(str, paths))
    found = {}
    for line in listed.split("\0")[:-1]:
        about, name = line.split("\t", 1)
        here = Path(name).is_file()
        wanted = about.split()[2]
        found[Path(name)] = here and _git("hash-object", "--", name).strip() == wanted
    return found


def restore(paths: Iterable[Path]) -> None:
    """Bring files back as the last commit holds them."""
    _git("checkout", "--quiet", "HEAD", "--", *map(str, paths))


def _git(*words: str) -> str:
    done = subprocess.run(["git", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        if OTHER_OWNER.search(done.stderr):
            raise ThawError(OTHER_OWNERS)
        told = done.stderr.strip().splitlines() or ["it gave no reason"]
        raise ThawError(
            f"Git can't tell what was committed ({told[0]}); run from the folder of a clone that "
            "holds params.yaml"
        )
    return done.stdout


@contextmanager
def _repository() -> Iterator["Repo"]:
    logging.getLogger("dvc").setLevel(logging.CRITICAL)
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        with Repo() as repo:
            yield repo
    except DvcException as error:
        raise ThawError(f"DVC can't look at what it keeps ({error}); mend that") from None
