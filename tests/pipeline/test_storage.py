"""Storage that a team shares: a folder, and an S3 store that rclone serves here."""

import copy
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from places import ROOT
from repository import UNCHANGED, Finished, Repository, home, ran
from s3 import KEY, SECRET, Server, serving

pytestmark = pytest.mark.timeout(900)

ARTIFACTS = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["artifacts"]


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("s3")) as server:
        yield server


def elsewhere(repository: Repository, folder: Path) -> Repository:
    """The same commands in another folder, with caches and settings of its own."""
    other = copy.copy(repository)
    other.path = folder / "thaw"
    other.env = repository.env | home(folder)
    return other


def clone(repository: Repository, folder: Path) -> Repository:
    other = elsewhere(repository, folder)
    repository.run("git", "clone", "--quiet", str(repository.path), str(other.path))
    return other


def share(repository: Repository, kind: str, store: Server, name: str) -> Path:
    """Give the repository a remote, committed; the folder in which what is pushed lies."""
    if kind == "s3":
        place = store.folder / "team" / name
        remote = f"url = s3://team/{name}\n    endpointurl = {store.endpoint}"
    else:
        place = repository.path.parent / "shared"
        remote = f"url = {place}"
    (repository.path / ".dvc/config.local").unlink(missing_ok=True)
    common = (ROOT / ".dvc/config").read_text(encoding="utf-8")
    default = common.replace("[core]", "[core]\n    remote = storage")
    (repository.path / ".dvc/config").write_text(f"{default}['remote \"storage\"']\n    {remote}\n")
    repository.commit(f"Share by {kind}")
    return place


def log_in(repository: Repository, kind: str, secret: str = SECRET) -> None:
    if kind == "s3":
        (repository.path / ".dvc/config.local").write_text(
            f"['remote \"storage\"']\n    access_key_id = {KEY}\n    secret_access_key = {secret}\n"
        )


def objects(place: Path) -> set[str]:
    """The names of what lies in a store or a cache, after its MD5."""
    files = (place / "files/md5").rglob("*")
    return {path.relative_to(place).as_posix() for path in files if path.is_file()}


def outputs(repository: Repository) -> dict[str, bytes]:
    """Every file under the outputs in `dvc.lock`, and its bytes."""
    lock = yaml.safe_load((repository.path / "dvc.lock").read_text(encoding="utf-8"))
    found = {}
    for stage in lock["stages"].values():
        for out in stage["outs"]:
            place = repository.path / out["path"]
            assert place.exists(), place
            for path in [place, *place.rglob("*")]:
                if path.is_file():
                    found[path.relative_to(repository.path).as_posix()] = path.read_bytes()
    return found


@pytest.fixture(scope="module")
def whole(finished: Finished, tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """The pipeline after a run, its model registered."""
    repository = finished.repository.copy(tmp_path_factory.mktemp("whole"))
    repository.env["NO_PROXY"] = "127.0.0.1"
    return repository


@pytest.fixture
def small(tmp_path: Path) -> Repository:
    """Our artifacts, their files made here; no stages."""
    folder = tmp_path / "small"
    folder.mkdir()
    repository = Repository(folder)
    repository.env["NO_PROXY"] = "127.0.0.1"
    artifacts = yaml.safe_dump({"artifacts": ARTIFACTS})
    (repository.path / "dvc.yaml").write_text(artifacts, encoding="utf-8")
    release(repository, "v0.1.0")
    return repository


def release(repository: Repository, version: str) -> None:
    for artifact in ARTIFACTS.values():
        path = repository.path / artifact["path"]
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"{path.name} {version}")
    repository.dvc("add", "--quiet", *(artifact["path"] for artifact in ARTIFACTS.values()))
    repository.commit(version)


@pytest.mark.parametrize("kind", ["s3", "folder"])
def test_a_clone_pulls_everything_and_runs_nothing(
    whole: Repository, s3: Server, tmp_path: Path, kind: str
) -> None:
    place = share(whole, kind, s3, "whole")
    log_in(whole, kind)
    whole.dvc("push")
    assert objects(place) <= objects(whole.path / ".dvc/cache")
    colleague = clone(whole, tmp_path)
    log_in(colleague, kind)
    colleague.dvc("pull")
    assert outputs(colleague) == outputs(whole)
    assert colleague.dvc_json("status") == UNCHANGED
    assert ran(colleague.dvc("repro")) == []
    assert colleague.run("git", "status", "--porcelain") == ""
    assert colleague.run("git", "grep", "-e", SECRET, "--", ".dvc", code=1) == ""


def test_a_second_push_has_nothing_to_do_and_a_fetch_takes_a_single_file(
    small: Repository, s3: Server, tmp_path: Path
) -> None:
    share(small, "s3", s3, tmp_path.name)
    log_in(small, "s3")
    assert "2 files pushed" in small.dvc("push")
    assert "Everything is up to date." in small.dvc("push")
    colleague = clone(small, tmp_path / "clone")
    log_in(colleague, "s3")
    colleague.dvc("pull", "models/model.onnx")
    assert (colleague.path / "models/model.onnx").exists()
    assert not (colleague.path / "models/model.keras").exists()


@pytest.mark.parametrize("kind", ["s3", "folder"])
def test_a_pull_of_what_nobody_pushed_names_it(
    small: Repository, s3: Server, tmp_path: Path, kind: str
) -> None:
    share(small, kind, s3, tmp_path.name)
    colleague = clone(small, tmp_path / "clone")
    log_in(colleague, kind)
    said = colleague.dvc("pull", code=1)
    assert "models/model.onnx" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("secret", ["wrong", None])
def test_wrong_or_no_credentials_push_nothing(
    small: Repository, s3: Server, tmp_path: Path, secret: str | None
) -> None:
    place = share(small, "s3", s3, tmp_path.name)
    if secret:
        log_in(small, "s3", secret)
    small.env["AWS_EC2_METADATA_DISABLED"] = "true"
    said = small.dvc("push", code=255)
    assert ("SignatureDoesNotMatch" if secret else "Unable to locate credentials") in said
    assert "Traceback" not in said
    assert not place.exists()


def test_credentials_come_from_the_environment_too(
    small: Repository, s3: Server, tmp_path: Path
) -> None:
    place = share(small, "s3", s3, tmp_path.name)
    small.env |= {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}
    small.dvc("push")
    assert len(objects(place)) == len(ARTIFACTS)


def test_the_artifacts_are_the_models_of_the_pipeline(whole: Repository) -> None:
    assert set(ARTIFACTS) == {"classifier", "classifier-keras"}
    for artifact in ARTIFACTS.values():
        assert (whole.path / artifact["path"]).is_file()
        assert artifact["type"] == "model"
        assert artifact["desc"]
        assert artifact["labels"]


@pytest.mark.parametrize("name", ARTIFACTS)
def test_artifacts_get_fetches_a_model_by_tag(
    small: Repository, s3: Server, tmp_path: Path, name: str
) -> None:
    share(small, "s3", s3, tmp_path.name)
    log_in(small, "s3")
    for version in ("v1.0.0", "v2.0.0"):
        release(small, version)
        small.dvc("push")
        small.run("git", "tag", "--annotate", "--message", "", f"{name}@{version}")
    user = elsewhere(small, tmp_path / "user")
    user.path.mkdir()
    user.env |= {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}
    model = Path(ARTIFACTS[name]["path"]).name
    for words, version in (((), "v2.0.0"), (("--rev", "v1.0.0"), "v1.0.0")):
        user.dvc("artifacts", "get", str(small.path), name, "--out", version, *words)
        assert (user.path / version).read_text() == f"{model} {version}"
