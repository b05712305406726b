"""What a run was made with, noted once for all stages that share it."""

import importlib.util
import json
from pathlib import Path

import pytest

from places import SRC
from thaw.core import environment, gpus

HERE = {"python": "3.11.7", "keras": "3.15.1", "processor": "Old", "cores": 2, "threads": 2}


@pytest.fixture
def noted() -> list[environment.Entry]:
    """Two stages in one environment."""
    entries, told = environment.record([], "split", HERE)
    assert told is None
    entries, told = environment.record(entries, "evaluate", HERE)
    assert told is None
    return entries


def test_stages_that_ran_alike_share_an_entry(noted: list[environment.Entry]) -> None:
    assert noted == [{"stages": ["evaluate", "split"], **HERE}]


def test_the_same_run_again_changes_nothing(noted: list[environment.Entry]) -> None:
    for stage in ("split", "evaluate"):
        assert environment.record(noted, stage, HERE) == (noted, None)


def test_the_first_stage_elsewhere_says_what_differs(noted: list[environment.Entry]) -> None:
    there = HERE | {"keras": "3.16.0", "processor": "New", "libc": "musl", "cores": 64}
    entries, told = environment.record(noted, "evaluate", there)
    assert told == (
        "keras 3.16.0 instead of 3.15.1, processor New instead of Old, libc musl instead of none"
    )
    assert entries == [{"stages": ["evaluate"], **there}, {"stages": ["split"], **HERE}]
    entries, told = environment.record(entries, "split", there)
    assert (entries, told) == ([{"stages": ["evaluate", "split"], **there}], None)


def test_other_cores_are_noted_without_a_word(noted: list[environment.Entry]) -> None:
    entries, told = environment.record(noted, "split", HERE | {"cores": 64})
    assert told is None
    assert len(entries) == 2


def test_a_file_with_marks_of_a_merge_is_written_anew(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = importlib.util.spec_from_file_location("door", SRC / "__main__.py")
    door = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(door)
    path = tmp_path / "metrics" / "environment.json"
    door.note_environment("split", 2, path)
    once = path.read_bytes()
    door.note_environment("split", 2, path)
    assert path.read_bytes() == once
    path.write_text("<<<<<<< HEAD\n" + once.decode(), encoding="utf-8")
    door.note_environment("split", 2, path)
    assert path.read_bytes() == once
    assert capsys.readouterr().err == ""
    path.write_text(json.dumps([{**json.loads(once)[0], "python": "2.7"}]), encoding="utf-8")
    door.note_environment("split", 2, path)
    told = capsys.readouterr().err
    assert told.startswith(f"note: the bytes may differ from those recorded in {path}: python 3.")


def test_here_names_versions_processor_and_system() -> None:
    found = environment.here(3, "AVX2")
    assert {"python", "keras", "numpy", "onnxruntime", "pillow", "dvc"} <= found.keys()
    assert {"tensorflow", "tensorflow-cpu"} & found.keys()
    assert (found["threads"], found["instructions"]) == (3, "AVX2")
    assert all(found[name] for name in ("system", "cores"))
    assert environment.here(3, "AVX2") == found


def test_a_variable_that_limits_the_processor_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    assert environment.here(2, "")["ONEDNN_MAX_CPU_ISA"] == "AVX2"


@pytest.mark.parametrize("build", ["onnxruntime", environment.ON_CUDA])
def test_gpus_are_noted_where_they_compute(monkeypatch: pytest.MonkeyPatch, build: str) -> None:
    plain = environment.here(2, "")
    assert "gpus" not in plain

    def installed(name: str) -> str:
        if name != build:
            raise environment.PackageNotFoundError
        return "1.26.0"

    monkeypatch.setattr(environment, "version", installed)
    monkeypatch.setattr(gpus, "names", lambda: ("NVIDIA T4", "NVIDIA T4"))
    found = environment.here(2, "")
    assert found.get("gpus") == ("2 x NVIDIA T4" if build == environment.ON_CUDA else None)
    assert found[build] == "1.26.0"
    assert found.keys() - {"gpus", build} < plain.keys()


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ("fpu avx2 avx512f avx512_bf16", True),
        ("fpu amx_bf16 amx_tile", True),
        ("fp asimd bf16 i8mm", True),
        ("fpu avx2 avx512f avx512_vnni", False),
        ("Apple M2", False),
    ],
)
def test_whether_a_processor_multiplies_bfloat16(
    told: str, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "processor", lambda *_: told)
    monkeypatch.setattr(environment.gpus, "names", list)
    assert environment.multiplies_bfloat16() is expected
    monkeypatch.setattr(environment.gpus, "names", lambda: ["NVIDIA A100"])
    assert environment.multiplies_bfloat16()
