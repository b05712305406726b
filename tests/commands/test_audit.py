"""`python src audit` on a small run."""

import json
import subprocess

import pytest

from commands import audit
from places import SRC
from repository import Finished, Repository
from thaw.files import tables
from thaw.files.serialize import write_csv
from thaw.review import auditing
from thaw.splitting import corrections

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def repository(finished: Finished, tmp_path_factory: pytest.TempPathFactory) -> Repository:
    found = finished.repository.copy(tmp_path_factory.mktemp("audit"))
    found.python("src", "folds", "--k", "2")
    return found


def test_folds_are_made_where_there_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    class Run:
        def __enter__(self) -> None: ...
        def __exit__(self, *_: object) -> None: ...

    found, ran = [None, "folds"], []
    monkeypatch.setattr(audit, "opened", lambda _: Run())
    monkeypatch.setattr(audit.folds, "read", lambda _: found.pop(0))

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        ran.append(command[1:])
        return subprocess.CompletedProcess(command, 7 * (not found))

    monkeypatch.setattr(audit.subprocess, "run", run)
    assert audit.read_folds() == "folds"
    assert ran == [[str(SRC), "folds"]]
    found.append(None)
    with pytest.raises(SystemExit) as ended:
        audit.read_folds()
    assert ended.value.code == 7


def test_the_test_pictures_are_left_alone(repository: Repository) -> None:
    split = tables.read(repository.path / "data/split.csv")
    tested = split["path"][split["split"] == "test"]
    images = repository.path / "data/dataset/images"
    for path in tested:
        (images / path).rename(images / f"{path}.away")
    try:
        told = repository.python("src", "audit")
    finally:
        for path in tested:
            (images / f"{path}.away").rename(images / path)
    assert max(map(len, told.splitlines())) <= 100
    found = tables.read(repository.path / auditing.FINDINGS)
    assert not {*found["path"]} & {*tested}
    wrong = found[found["kind"] == auditing.LABEL]
    labels = dict(zip(split["path"], split["label"], strict=True))
    assert (wrong["label"] == wrong["path"].map(labels)).all()
    assert (wrong["suggested"] != wrong["label"]).all()
    scores = wrong["score"].astype(float).tolist()
    assert scores == sorted(scores, reverse=True)
    facts = json.loads((repository.path / auditing.FACTS).read_text())
    assert facts["pictures"] == len(split) - len(tested)
    # Colour and grain tell the classes apart; the sizes are the same in both.
    assert {"the mean colour": True, "size": False}.items() <= {
        each["name"]: each["low"] > each["most"] for each in facts["giveaways"]
    }.items()


def test_a_wrong_label_is_the_worst_and_once_confirmed_listed_no_more(
    repository: Repository,
) -> None:
    split, corrected = repository.path / "data/split.csv", repository.path / "corrections.csv"
    before = split.read_bytes(), corrected.read_bytes()
    rows = tables.read(split)
    at = rows.index[(rows["split"] == "train") & (rows["label"] == "moss")][0]
    path = rows.loc[at, "path"]
    rows.loc[at, "label"] = "rusty iron"
    write_csv(split, list(rows), rows.to_numpy().tolist())
    worst = []
    for line in ([], [(path, "rusty iron", "looked at", "Ann")]):
        write_csv(corrected, corrections.COLUMNS, line)
        repository.python("src", "audit")
        found = tables.read(repository.path / auditing.FINDINGS)
        worst.append(found["path"][found["kind"] == auditing.LABEL].tolist())
    split.write_bytes(before[0])
    corrected.write_bytes(before[1])
    assert worst[0][0] == path
    assert worst[1] == worst[0][1:]


def test_the_test_pictures_alone(repository: Repository) -> None:
    told = repository.python("src", "audit", "--test")
    assert " test pictures; confident learning estimates" in told
    found = tables.read(repository.path / auditing.FINDINGS)
    predicted = tables.read(repository.path / "data/predictions.csv").set_index("path")
    wrong = found[found["kind"] == auditing.LABEL].set_index("path")
    share = predicted[["fine_tuned_moss", "fine_tuned_rusty iron"]].astype(float)
    best = share.idxmax(axis=1).str.removeprefix("fine_tuned_")
    assert {*wrong.index} == {*predicted.index[best != predicted["label"]]}
