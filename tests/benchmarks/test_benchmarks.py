"""What the benchmarks are built on: turns of child processes, subsets, medians, tables."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import processes
import sweep
import tables
import workspaces
from helpers import folders
from places import ROOT
from thaw.core.errors import ThawError
from thaw.core.params import parse

Write = Callable[[str], Path]


@pytest.fixture
def script(tmp_path: Path) -> Write:
    """Write a script to run in `tmp_path` that can import `processes`."""
    (tmp_path / "src").mkdir()
    shutil.copy(processes.__file__, tmp_path / "src")

    def write(text: str) -> Path:
        path = tmp_path / "child.py"
        path.write_text(text)
        return path

    return write


SERVING = """
from processes import serve

def counting(step):
    print("building")
    done = [0]
    def job():
        done[0] += step
        return done[0]
    return job

serve({"ones": lambda: counting(1), "tens": lambda: counting(10)})
"""


def test_a_child_does_a_job_each_time_it_is_asked(
    script: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    path = script(SERVING)
    with processes.Child(path.parent, path) as child:
        jobs = ("ones", "ones", "tens", "tens")
        assert [child.turn(job).pictures for job in jobs] == [1, 2, 10, 20]
    assert capsys.readouterr().out.split() == ["building", "building"]


def test_a_childs_time_and_memory_are_its_own(script: Write) -> None:
    path = script("import time\nheld = b'x' * 400_000_000\ntime.sleep(0.2)")
    usage = processes.run(path.parent, path)
    assert usage.seconds > 0.2
    assert usage.peak_mb > 400


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("import sys; print('first'); sys.exit('error: no pictures')", "child failed: no pictures"),
        ("raise SystemExit(3)", "child failed: no reason given"),
        ("import os; os.kill(os.getpid(), 9)", "child was ended by signal 9"),
    ],
)
def test_a_child_that_fails_ends_the_benchmark_with_a_sentence(
    script: Write, text: str, told: str
) -> None:
    path = script(text)
    with pytest.raises(SystemExit, match=f"^error: {told}$"):
        processes.run(path.parent, path)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("raise ValueError('a bad one')", "child failed: ValueError: a bad one"),
        ("print('well')", "child ended without doing ones"),
    ],
)
def test_so_does_one_that_fails_in_its_turn(script: Write, text: str, told: str) -> None:
    path = script(text)
    with (
        processes.Child(path.parent, path) as child,
        pytest.raises(SystemExit, match=f"^error: {told}$"),
    ):
        child.turn("ones")


def test_a_subset_takes_as_many_of_each_class_from_each_part() -> None:
    rows = [
        {"path": f"{part}/{label}/{number}", "part": part, "label": label}
        for part in ("train", "validation")
        for label in ("cats", "dogs")
        for number in range(5)
    ]
    assert workspaces.balanced(rows, {"train": 4, "validation": 2}) == [
        "train/cats/0",
        "train/cats/1",
        "train/dogs/0",
        "train/dogs/1",
        "validation/cats/0",
        "validation/dogs/0",
    ]


@pytest.mark.parametrize(
    ("unit", "expected"), [("s", 4.0), ("MB", 4.0), ("pictures/s", 0.25), ("%", -6.0)]
)
def test_the_ratio_is_above_one_where_thaw_is_better(unit: str, expected: float) -> None:
    assert tables.ratio([9.0, 8.0, 1.0], [2.0], unit) == expected


def test_a_cell_has_the_spread_of_several_values() -> None:
    assert tables.cell([12.34], "s") == "12.3 s"
    assert tables.cell([1234.5, 900.0, 2000.0], "MB") == "1,234 MB (900 to 2,000)"
    assert tables.cell([96.25], "%") == "96.2 %"


def test_the_table_has_a_line_for_each_measure() -> None:
    samples = {name: {"plain": [80.0], "thaw": [10.0]} for name in tables.MEASURES}
    lines = tables.table(samples).splitlines()
    assert len(lines) == 2 + len(tables.MEASURES)
    assert lines[2] == "| whole run after the download | 80.0 s | 10.0 s | 8.0 | at least 6 |"
    assert "| 80.0 % | 10.0 % | -70.0 points | no lower |" in lines[-1]
    assert tables.summary(samples)["steps"]["ratio"] == 0.125


def test_the_sweeps_table_names_the_advised_value_best_first() -> None:
    rows = [
        {"fine_tune_at": None, "advised": False, "accuracy": 0.9, "loss": 0.3, "seconds": 8.0},
        {"fine_tune_at": "b", "advised": True, "accuracy": 0.95, "loss": 0.2, "seconds": 61.4},
    ]
    assert sweep.table(rows).splitlines()[2:] == [
        "| b (advised) | 0.9500 | 0.2000 | 61 |",
        "| null | 0.9000 | 0.3000 | 8 |",
    ]


@pytest.mark.parametrize("name", ["bench", "memory", "recipes", "seeds", "sweep"])
def test_a_script_finds_what_it_imports_wherever_it_is_started(name: str, tmp_path: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    script = ROOT / "benchmarks" / f"{name}.py"
    command = [sys.executable, str(script), "--help"]
    shown = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert shown.stdout.startswith(f"usage: {name}.py"), shown.stderr


def test_what_measures_memory_is_a_small_process_itself() -> None:
    """A child's peak memory begins at its parent's."""
    code = "import sys, bench, memory; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT / "benchmarks", capture_output=True, text=True
    )
    assert "workspaces" in done.stdout.split(), done.stderr
    assert {"numpy", "pandas", "keras", "tensorflow"}.isdisjoint(done.stdout.split())


def test_a_workspace_runs_a_stage_in_a_process_of_its_own(tmp_path: Path) -> None:
    params = workspaces.merged(settings=["dataset=folder"])
    params["source"] = str(folders(tmp_path / "pictures", "a", "b"))
    made = workspaces.create(tmp_path / "run", params)
    usage = made.stage("download")
    assert usage.seconds > 0
    assert usage.peak_mb > 10
    assert [row["label"] for row in made.rows("data/dataset/labels.csv")] == ["a", "a", "b", "b"]
    with pytest.raises(SystemExit, match=r"^error: src split failed: params.yaml: batch_size: 0: "):
        made.stage("split", batch_size=0)


def test_settings_go_over_a_recipes_parameters_and_these_over_ours() -> None:
    ours, recipe = workspaces.merged(), workspaces.merged("tensorflow-tutorial")
    assert recipe["head"]["schedule"] == "constant" != ours["head"]["schedule"]
    assert recipe["head"]["l2"] == ours["head"]["l2"]
    assert workspaces.merged("tensorflow-tutorial", ["head.l2=0.5"])["head"] == (
        recipe["head"] | {"l2": 0.5}
    )
    with pytest.raises(ThawError, match="batch_sise is not a parameter"):
        workspaces.merged(settings=["batch_sise=3"])
    for params in (ours, recipe):
        parse(workspaces.vgg16(params))


def test_ctrl_c_ends_a_benchmark_with_a_sentence() -> None:
    with (
        pytest.raises(SystemExit, match=r"^error: interrupted; no result was written$"),
        workspaces.temporary() as folder,
    ):
        raise KeyboardInterrupt
    assert not folder.exists()
