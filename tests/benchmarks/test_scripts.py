"""The benchmarks' scripts on tiny pictures, with the stages in this process."""

import thaw.networks.quiet  # noqa: F401

import contextlib
import dataclasses
import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import pytest

import bench
import caches
import judging
import memory
import plain_keras
import recipes
import seeds
import sweep
import tables
import thaw_worker
import unlike
import workspace
import workspaces
from helpers import picture
from places import ROOT
from processes import Usage
from runs import Run
from thaw.features import cache
from thaw.files import tables as tables_of_results
from thaw.files.serialize import write_csv
from thaw.review import probing
from thaw.training import loop

BENCHMARKS = ROOT / "benchmarks"
FOLDERS = ("data", "everything")  # with a split.csv
TRAINING = ("train_head", "fine_tune", "decide", "evaluate")
NETWORK = {
    "base_model": "cifar10_cnn",
    "weights": "random",
    "cache": {"layer": "block1_pool", "bottleneck": "pooled", "store": None},
    "feature_layer": None,
    "fine_tune_at": "block2_conv1",
}


@pytest.fixture(scope="module", autouse=True)
def in_this_process() -> Iterator[None]:
    """TensorFlow's threads can't be set twice in a process."""

    def run(folder: Path, script: str, name: str) -> Usage:
        assert script == "src"
        with contextlib.chdir(folder):
            importlib.import_module(f"stages.{name}").main()
        return Usage(2.0, 300.0)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(loop, "prepare", lambda seed, _: keras.utils.set_random_seed(seed))
        patched.setattr(workspaces, "run", run)
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The pipeline with seed 2 and split.seed 3."""
    made = Run(tmp_path_factory.mktemp("run"))
    made.params |= NETWORK
    made.params["split"]["seed"] = 3
    made.stages("download", "weights")
    made.stages("split", "freeze", "extract_features", *TRAINING, seed=2)
    return made


@pytest.fixture(scope="module")
def repeated(run: Run, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    """Where two splits were run with one seed, and what was found."""
    params = run.params | {"split": run.params["split"] | {"seed": 1}}
    made = workspaces.create(tmp_path_factory.mktemp("repeated") / "run", params)
    return made.folder, seeds.repeat(made, [(3, 2), (1, 2), (3, 2)], "test")


def test_a_seed_gives_what_the_pipeline_gives_with_it(
    run: Run, repeated: tuple[Path, dict]
) -> None:
    """Of features that were computed with another split.seed, for all pictures."""
    folder, found = repeated
    assert [*found] == [(1, 2), (3, 2)]
    expected = json.loads((run.folder / "metrics/evaluation.json").read_text())["test"]
    for model, scores in expected.items():
        ours = found[3, 2].judged.scores[model]
        assert {name: ours[name] for name in scores} == pytest.approx(scores)
    for path in (run.folder / "data/features").iterdir():
        assert (folder / "data/features" / path.name).read_bytes() == path.read_bytes()
    assert [each.minutes["extraction"] > 0 for each in found.values()] == [True, False]


def test_what_is_right_is_that_of_the_predictions(run: Run, repeated: tuple[Path, dict]) -> None:
    table = tables_of_results.read(run.folder / "data/predictions.csv").sort_values("path")
    judged = repeated[1][3, 2].judged
    assert judged.paths == table["path"].tolist()
    for model in judging.MODELS:
        guessed = [float(share) > 0.5 for share in table[f"{model}_b"]]
        assert judged.right[model].tolist() == [*(guessed == (table["label"] == "b"))]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, True),
        ({"augment": {"views": 1}}, False),
        ({"augment": {"rotation": 0.1}}, False),
        ({"augment": {"rotation": 0.1}, "cache": {"layer": "pixels"}}, True),
    ],
)
def test_only_views_that_all_splits_have_are_computed_once(
    tmp_path: Path, changes: dict[str, dict[str, object]], expected: bool
) -> None:
    params = workspaces.merged()
    for group, values in changes.items():
        params[group] |= values
    assert caches.shared(workspaces.Workspace(tmp_path, params)) is expected


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the benchmarks write then, instead of benchmarks/results."""
    monkeypatch.setattr(tables, "RESULTS", tmp_path / "results")
    return tmp_path / "results"


def a_run(split_seed: int, seed: int, accuracy: float) -> seeds.Run:
    scores = dict.fromkeys(seeds.SHOWN, 0.5) | {"accuracy": accuracy, "roc_auc": 1.0, "loss": 0.25}
    right = {"head": np.array([True, False]), "fine_tuned": np.array([True, True])}
    judged = judging.Judged(["a", "b"], dict.fromkeys(judging.MODELS, scores), right)
    return seeds.Run(split_seed, seed, judged, {"extraction": 0.0, "head": 1.0, "fine_tuning": 2.0})


def test_seeds_writes_their_mean_and_spread(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = []

    def repeat(made: workspaces.Workspace, chosen: list, part: str) -> dict:
        given.extend([made, chosen, part])
        return {key: a_run(*key, 0.5 + sum(key) / 10) for key in chosen}

    monkeypatch.setattr(seeds, "repeat", repeat)
    arguments = "seeds.py --seeds 1 3 --split-seeds 1 2 --recipe all-layers --set head.dropout=0.5"
    monkeypatch.setattr(sys, "argv", [*arguments.split(), "--set", "source=/home/me/a.zip"])
    seeds.main()
    made, *chosen = given
    assert made.params["head"]["dropout"] == 0.5
    assert made.params["dataset"] == "cats_and_dogs"
    assert chosen == [[(1, 1), (1, 3), (1, 1), (2, 1)], "test"]
    page = (results / "seeds.md").read_text()
    head, first, second = page.split("## ")
    assert "With `recipe all-layers`, `head.dropout=0.5`, `source=…/a.zip`." in head
    assert first.startswith("One split, `seed` 1, 3\n\nsplit.seed is 1")
    assert "| head | 0.8000 ± 0.1414 | 0.2500 ± 0.0000 |" in first
    assert "2 pictures: +50.00 ± 50.00 points, 2 mended, 0 broken, p = 1." in first
    assert "| 1 | 3 | – | 1.0 | 2.0 |" in first
    assert second.startswith("One seed of training, `split.seed` 1, 2\n")
    assert ("were chosen on" in first, "were chosen on" in second) == (False, True)
    kept = json.loads((results / "seeds.json").read_text())
    assert [each["seed"] for each in kept["seeds"]["runs"]] == [1, 3]
    assert kept["split_seeds"]["paired"]["mended"] == 2


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [("", [(1, n) for n in range(1, 6)]), ("--split-seeds 4 5", [(4, 1), (5, 1)])],
)
def test_either_seed_may_vary(
    results: Path, monkeypatch: pytest.MonkeyPatch, arguments: str, expected: list
) -> None:
    monkeypatch.setattr(
        seeds, "repeat", lambda _, chosen, __: {key: a_run(*key, 0.5) for key in chosen}
    )
    monkeypatch.setattr(sys, "argv", ["seeds.py", *arguments.split()])
    seeds.main()
    kept = json.loads((results / "seeds.json").read_text())
    groups = [kept[name]["runs"] for name in ("seeds", "split_seeds") if name in kept]
    assert [[(each["split_seed"], each["seed"]) for each in group] for group in groups] == [
        expected
    ]


def test_recipes_go_on_where_they_were(
    run: Run, results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Test pictures are never read, and what is known isn't run again."""
    of_all = ("dataset", "seed", "source", "split")
    params = {name: value for name, value in run.params.items() if name not in of_all}
    text = json.dumps({"about": "small", "dataset": "folder", "params": params})
    (tmp_path / "small.yaml").write_text(text)
    monkeypatch.setattr(recipes, "CANDIDATES", tmp_path)
    trained, read, found = [], [], []
    train, judge = seeds.train, judging.judge

    def judged(made: workspaces.Workspace, part: str) -> judging.Judged:
        read.extend({row["path"] for row in made.rows(f"{n}/split.csv")} for n in FOLDERS)
        if not found:  # later ones are told the same, since nothing was trained
            found.append(judge(made, part))
        return found[0]

    def counted(made: workspaces.Workspace, seed: int) -> dict[str, float]:
        trained.append(seed)
        return {"head": 1.0, "fine_tuning": 2.0} if found else train(made, seed)

    monkeypatch.setattr(seeds, "train", counted)
    monkeypatch.setattr(judging, "judge", judged)
    command = ["recipes.py", "--dataset", "folder", "--source", run.params["source"], "--folds=2"]
    for only, expected in ((["--only-folds", "1"], [1]), ([], [1]), ([], [])):
        trained.clear()
        monkeypatch.setattr(sys, "argv", [*command, *only])
        recipes.main()
        assert trained == expected
    one, two = json.loads((results / "recipes-folder.json").read_text())["runs"]
    assert (one["fold"], two["fold"]) == (0, 1)
    # Of 40 pictures 12 are held out, and 6 of them test.
    assert [len(each["right"][m]) for each in (one, two) for m in judging.MODELS] == [17] * 4
    assert [len(paths) for paths in read] == [34] * 4
    assert len({*map(frozenset, read)}) == 1
    assert "6 test pictures were set aside" in (results / "recipes-folder.md").read_text()


def test_sweep_writes_a_table(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = {"fine_tune_at": 100, "advised": False, "accuracy": 0.9, "loss": 0.3, "seconds": 8.0}
    given = []
    monkeypatch.setattr(sweep, "sweep", lambda *values: given.extend(values) or [row])
    arguments = "sweep.py --recipe tensorflow-tutorial --at null 100 b --name trial"
    monkeypatch.setattr(sys, "argv", arguments.split())
    sweep.main()
    made, values = given
    assert values == [None, 100, "b"]
    assert made.params["dataset"] == "cats_and_dogs"
    assert "| 100 | 0.9000 | 0.3000 | 8 |" in (results / "trial.md").read_text()
    assert json.loads((results / "trial.json").read_text())["values"] == [row]


def test_memory_writes_a_table(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def measure(_: Path, count: int, peaks: memory.Peaks) -> None:
        for values in peaks.values():
            values.append(10.0 * count)

    monkeypatch.setattr(memory, "measure", measure)
    monkeypatch.setattr(sys, "argv", ["memory.py", "--counts", "200", "300"])
    memory.main()
    lines = (results / "memory.md").read_text().splitlines()
    assert lines[2] == "| peak memory | 200 pictures | 300 pictures | ratio |"
    assert lines[4] == "| `download` | 2,000 MB | 3,000 MB | 1.50 |"
    assert len(lines) == 4 + len(memory.STAGES)


def test_bench_reads_what_the_stages_wrote(
    run: Run, results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def plain(folder: Path, *_: str) -> Usage:
        models = [f"{model}_{part}" for model in judging.MODELS for part in ("validation", "test")]
        found = dict.fromkeys(models, 0.75) | {"seconds_after_head": 30.0}
        (folder / "plain.json").write_text(json.dumps(found))
        return Usage(80.0, 900.0)

    monkeypatch.setattr(bench, "run", plain)
    monkeypatch.setattr(workspaces, "run", lambda *_: Usage(2.0, 300.0))  # they have run
    found = bench.Found({"train": 32, "validation": 6, "test": 2})
    bench.compare_runs(found, workspaces.Workspace(run.folder, run.params), 2, "1 of 1")
    for job in (*bench.JOBS, "steps_rounded", "vgg_epoch", "vgg_epoch_rounded"):
        found.add(job, 10.0, 20.0)
    tests = json.loads((run.folder / "metrics/evaluation.json").read_text())["test"]
    for model in judging.MODELS:
        assert found.samples[f"{model}_test"]["thaw"] == [100 * tests[model]["accuracy"]]
    assert found.samples["whole"] == {"plain": [80.0], "thaw": [2.0 * len(bench.STAGES)]}
    assert found.samples["head"] == {"plain": [50.0], "thaw": [2.0]}
    bench.write(found, bench.QUICK, 1)
    page = (results / "quick.md").read_text()
    assert "| head changed | 50.0 s | 2.0 s | 25.0 | at least 20 |" in page
    assert "| `evaluate` | 2.0 s | 300 MB |" in page
    assert set(json.loads((results / "quick.json").read_text())["measures"]) == set(tables.MEASURES)


def test_a_sweep_has_a_row_for_each_value_and_for_the_advised_one(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where all has run that comes before `fine_tune`."""
    depths = [
        probing.Depth(5, "block1_pool", 0.9, 0.1, "block2_conv1", 100, 2.0),
        probing.Depth(10, "block2_pool", 0.8, 0.1, None, 0, 0.0),
    ]
    rows = [(*dataclasses.astuple(each), int(each is depths[0])) for each in depths]
    write_csv(run.folder / "probe/probe.csv", (*dataclasses.asdict(depths[0]), "advised"), rows)
    of_all = workspaces.run

    def of_fine_tune(folder: Path, script: str, name: str) -> Usage:
        return of_all(folder, script, name) if name == "fine_tune" else Usage(1.0, 1.0)

    monkeypatch.setattr(workspaces, "run", of_fine_tune)
    made = workspaces.Workspace(run.folder, run.params)
    found = sweep.sweep(made, [None])
    assert [row["fine_tune_at"] for row in found] == [None, "block2_conv1"]
    assert [row["advised"] for row in found] == [False, True]
    assert found[0]["accuracy"] == made.read("metrics/head.json")["validation_accuracy"]
    assert found[1]["loss"] == made.read("metrics/model.json")["validation_loss"]


def test_thaws_worker_does_what_the_stages_do(run: Run) -> None:
    with contextlib.chdir(run.folder):
        train, validation = (
            len(cache.read(workspace.FEATURES, f"{part}_labels"))
            for part in ("train", "validation")
        )
        jobs = thaw_worker.jobs(workspace.read_params())
        done = {name: build()() for name, build in jobs.items()}
        jobs["views"]()()
        extracted = Path("scratch/train_boundary.npy").read_bytes()
        assert extracted == Path("data/features/train_boundary.npy").read_bytes()
    assert done == {
        "network": train,
        "decoded": train,
        "views": train * run.params["augment"]["views"],
        "steps": train,
        "vgg_epoch": train + validation,
    }


def test_plain_keras_reads_thaws_split(run: Run) -> None:
    with contextlib.chdir(run.folder):
        paths, labels = plain_keras.labelled("train")
        assert labels == cache.read(workspace.FEATURES, "train_labels").tolist()
        assert all(Path(path).is_file() for path in paths)
        pictures, _ = next(iter(plain_keras.dataset(paths, labels, size=32)))
    assert pictures.shape == (min(len(paths), plain_keras.BATCH), 32, 32, 3)


def test_unlike_pictures_are_told_by_each_score(run: Run, results: Path, tmp_path: Path) -> None:
    for number in range(12):
        picture(tmp_path / "others" / f"{number}.png", seed=number, width=32, height=32)
    with contextlib.chdir(run.folder):
        name, found = unlike.measure(tmp_path / "others", 20, 6)
    assert name == "folder"
    assert found["pictures"] == {"train": 20, "test": 6, "noise": 6, "text": 6, "others": 12}
    assert len(found["areas"]) == 5
    ours = next(iter(found["areas"].values()))
    assert all(0 <= area <= 1 for area in ours.values())
    assert "| noise (6) | text (6) | others (12) |" in unlike.section(name, found)
    assert not results.exists()
