"""The pipeline with its cache in parts in a store, by `dvc`."""

from pathlib import Path

import pytest

from repository import Finished, Repository, ran

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def stored(finished: Finished, tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """The pipeline up to fine-tuning, parts so small that few are open at a time."""
    folder = tmp_path_factory.mktemp("stored")
    repository = finished.repository.copy(folder)
    code = repository.path / "src/thaw/features/stores.py"
    text = code.read_text()
    assert text.count("EACH = 32") == text.count("WINDOW = 16") == 1
    code.write_text(text.replace("EACH = 32", "EACH = 3").replace("WINDOW = 16", "WINDOW = 2"))
    repository.edit({"cache.layer": "block1_norm1", "cache.store": str(folder / "parts")})
    (repository.path / "said").write_text(repository.dvc("repro", "fine_tune"))
    return repository


def parts(repository: Repository) -> list[Path]:
    return sorted((repository.path.parent / "parts").rglob("*.npy"))


def test_all_trainings_read_parts(stored: Repository, finished: Finished) -> None:
    said = (stored.path / "said").read_text()
    assert {"extract_features", "train_head", "fine_tune"} <= {*ran(said)}
    assert said.count("training pictures are mixed by parts of 3") == 2  # of the head, and above
    assert "raises the cache to block1_pool" in said
    names = {path.name for path in (stored.path / "data/features").iterdir()}
    kinds = ("boundary", "bottleneck")
    arrays = {f"{of}_{kind}" for of in ("train", "validation") for kind in kinds}
    labels = {"train_labels.npy", "validation_labels.npy"}
    assert names == {*(f"{name}.json" for name in arrays), *labels, "features.json"}
    assert len(parts(stored)) >= 20
    for name in ("head", "model"):
        found, other = (each.json(f"metrics/{name}.json") for each in (stored, finished.repository))
        assert found.keys() == other.keys()


def test_the_same_parts_come_again_and_lists_are_checked_out(stored: Repository) -> None:
    before = {path: path.read_bytes() for path in parts(stored)}
    lock = (stored.path / "dvc.lock").read_text()
    name = stored.json("data/features/train_bottleneck.json")["parts"][0]
    next(path for path in before if path.stem == name).write_bytes(b"spoilt")
    told = stored.dvc("repro", "--force", "--single-item", "train_head", code=255)
    assert f"part {name} is not as stage extract_features wrote it" in told
    assert "Traceback" not in told
    stored.dvc("repro", "--force", "--single-item", "extract_features")
    assert {path: path.read_bytes() for path in parts(stored)} == before
    assert (stored.path / "dvc.lock").read_text() == lock


def test_folds_and_the_audit_read_parts(stored: Repository) -> None:
    stored.python("src", "folds", "--k", "2")
    assert "labels" in stored.python("src", "audit")
