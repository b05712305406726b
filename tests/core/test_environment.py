"""`thaw.environment`: what a run was made with, noted once for all stages that share it."""

import json
from pathlib import Path

import pytest

from thaw.core import environment

HERE = {"python": "3.11.7", "keras": "3.15.1", "processor": "Old", "cores": 2, "threads": 2}


def entries(path: Path) -> list[dict[str, object]]:
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.fixture
def noted(tmp_path: Path) -> Path:
    """Two stages in one environment."""
    path = tmp_path / "metrics" / "environment.json"
    assert environment.record(path, "split", HERE) is None
    assert environment.record(path, "evaluate", HERE) is None
    return path


def test_stages_that_ran_alike_share_an_entry(noted: Path) -> None:
    assert entries(noted) == [{"stages": ["evaluate", "split"], **HERE}]


def test_the_same_run_again_leaves_the_same_bytes(noted: Path) -> None:
    before = noted.read_bytes()
    for stage in ("split", "evaluate"):
        assert environment.record(noted, stage, HERE) is None
    assert noted.read_bytes() == before


def test_the_first_stage_elsewhere_says_what_differs(noted: Path) -> None:
    there = HERE | {"keras": "3.16.0", "processor": "New", "libc": "musl", "cores": 64}
    told = environment.record(noted, "evaluate", there)
    assert told == (
        f"note: the bytes may differ from those recorded in {noted}: keras 3.16.0 instead of "
        "3.15.1, processor New instead of Old, libc musl instead of none"
    )
    assert entries(noted) == [{"stages": ["evaluate"], **there}, {"stages": ["split"], **HERE}]
    assert environment.record(noted, "split", there) is None
    assert entries(noted) == [{"stages": ["evaluate", "split"], **there}]


def test_other_cores_are_noted_without_a_word(noted: Path) -> None:
    assert environment.record(noted, "split", HERE | {"cores": 64}) is None
    assert len(entries(noted)) == 2


def test_a_file_with_marks_of_a_merge_is_written_anew(noted: Path) -> None:
    noted.write_text("<<<<<<< HEAD\n" + noted.read_text(encoding="utf-8"), encoding="utf-8")
    assert environment.record(noted, "split", HERE) is None
    assert entries(noted) == [{"stages": ["split"], **HERE}]


def test_here_names_versions_processor_and_system() -> None:
    found = environment.here(threads=3)
    assert {"python", "keras", "numpy", "onnxruntime", "pillow", "dvc"} <= found.keys()
    assert {"tensorflow", "tensorflow-cpu"} & found.keys()
    assert found["threads"] == 3
    assert all(found[name] for name in ("system", "instructions", "cores"))
    assert environment.here(threads=3) == found


def test_a_variable_that_limits_the_processor_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    assert environment.here(threads=2)["ONEDNN_MAX_CPU_ISA"] == "AVX2"
