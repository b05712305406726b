"""A copy of this repository, and `dvc` as a person runs it there."""

import contextlib
import copy
import fcntl
import importlib
import io
import json
import os
import pickle
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import dvc.cli
import numpy as np
import yaml
from PIL import Image

import warm
from places import ROOT
from stages import check
from thaw.core import errors

COPIED = (
    *("dvc.yaml", "params.yaml", "corrections.csv", ".gitignore", ".dvcignore"),
    *(".dvc/config", ".dvc/.gitignore"),
)
FOLDERS = ("src", "datasets", "pretrained", "versions", "robustness", "data/given", ".dvc/plots")
IGNORED = shutil.ignore_patterns("__pycache__")
STAGES = [
    "check",
    "download",
    "weights",
    "split",
    "freeze",
    "extract_features",
    "train_head",
    "fine_tune",
    "decide",
    "evaluate",
    "model_card",
]
CHANGES = {
    "dataset": "folder",
    "base_model": "cifar10_cnn",  # small: a stage takes a third of what MobileNetV2's takes
    "network.batch_norm": True,
    "weights": "random",
    "image_size": 32,
    "augment.views": 2,
    "batch_size": 8,
    "split.held_out": 0.7,  # few are quick to train on, many to be mistaken in
    "split.test": 0.7,
    "head.epochs": 2,
    "head.learning_rate": 0.005,  # some are then right and some wrong
    "fine_tune.epochs": 3,
    "fine_tune.optimizer": "adam",
    "fine_tune.learning_rate": 0.00001,
    "fine_tune.warmup": 0,  # so that something changes in few steps
    "fine_tune.ema": 0,
    "cache.layer": "block1_pool",
    "fine_tune_at": 8,
}
PICTURES = 60  # of them one twice
# What `dvc status` says where nothing is to be done: a path is looked at in every run.
UNCHANGED = {"data/given/dvc.yaml:look": ["always changed"]}
NASTY = "<b onerror=alert(1)> & \"'.png"


def draw(folder: Path) -> Path:
    """Two classes of noisy pictures, told apart by colour and grain; one lies there twice."""
    for number, (label, colour, grain) in enumerate((("moss", 1, 1), ("rusty iron", 0, 8))):
        (folder / label).mkdir(parents=True)
        for index in range(PICTURES // 2 - number):
            random = np.random.default_rng(1000 * number + index)
            size = 48 + 8 * (index % 3)
            noise = random.integers(0, 120, (size // grain, size // grain, 3))
            noise[..., colour] += 120
            pixels = np.kron(noise, np.ones((grain, grain, 1))).astype(np.uint8)
            name = f"{label} {index}.png" if index % 2 else f"{label.split()[0]}-{index}.jpg"
            Image.fromarray(pixels).save(folder / label / name)
    shutil.copy(folder / "rusty iron/rusty-0.jpg", folder / "rusty iron/the same again.jpg")
    (folder / "moss/moss 1.png").rename(folder / "moss" / NASTY)
    return folder


def home(folder: Path) -> dict[str, str]:
    """The environment that keeps settings and caches of Git and DVC in a folder."""
    (folder / "home").mkdir(parents=True)
    return {
        "HOME": str(folder / "home"),
        "XDG_CACHE_HOME": str(folder / "home/cache"),
        "XDG_CONFIG_HOME": str(folder / "home/config"),
        "DVC_SITE_CACHE_DIR": str(folder / "site"),
    }


class Repository:
    """A copy of this repository in a folder of its own, and its commands."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "thaw"
        self.path.mkdir()
        dropped = ("AWS", "CELERY", "DVC", "GIT", "MAKE", "MFLAGS", "PYTHON", "VIRTUAL_ENV", "XDG")
        self.env = {k: v for k, v in os.environ.items() if not k.startswith(dropped)} | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "DVC_NO_ANALYTICS": "1",
            "GIT_CONFIG_NOSYSTEM": "1",
            **home(folder),
        }
        self.pictures = draw(folder / "my pictures")
        for name in FOLDERS:
            shutil.copytree(ROOT / name, self.path / name, ignore=IGNORED)
        for name in COPIED:
            shutil.copy(ROOT / name, self.path / name)
        (self.path / "data/given/dvc.yaml").write_text(check.LOOK)  # as after a first run
        self.edit({**CHANGES, "source": str(self.pictures)})
        self.run("git", "init", "--quiet", "--initial-branch=main")
        self.run("git", "config", "user.name", "Test")
        self.run("git", "config", "user.email", "test@example.org")
        self.commit("Begin")

    def copy(self, folder: Path) -> "Repository":
        """The same in another folder, with its outputs and its cache, and a home of its own."""
        other = copy.copy(self)
        other.path = folder / self.path.name
        other.env = self.env | home(folder)
        shutil.copytree(self.path, other.path, symlinks=True)
        return other

    def run(self, *command: str, code: int = 0) -> str:
        """Run a command that must end with this exit code; what it writes, to either stream."""
        done = subprocess.run(
            command,
            cwd=self.path,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert done.returncode == code, f"{' '.join(command)}\n{done.stdout}"
        return done.stdout

    def python(self, *words: str, code: int = 0) -> str:
        """The same of `python src` and `python -m dvc`, in a process that begins warm."""
        ended, written = warm.run(words, self.path, self.env)
        assert ended == code, f"python {' '.join(words)}\n{written}"
        return written

    def dvc(self, *words: str, code: int = 0) -> str:
        return self.python("-m", "dvc", *words, code=code)

    def dvc_json(self, *words: str) -> Any:
        """What a command of DVC's that only looks finds; in this process, for speed."""
        printed = io.StringIO()
        with (
            contextlib.chdir(self.path),
            mock.patch.dict(os.environ, self.env, clear=True),
            mock.patch("dvc.ui.disable_colorama", contextlib.nullcontext),  # takes stdout back
            contextlib.redirect_stdout(printed),
        ):
            code = dvc.cli.main([*words, "--json"])
        assert code == 0, f"dvc {' '.join(words)}\n{printed.getvalue()}"
        return json.loads(printed.getvalue())

    def command(self, name: str, *words: str, code: int = 0) -> str:
        """What `python src NAME` writes, to either stream; in this process, for speed."""
        written = io.StringIO()
        with (
            contextlib.chdir(self.path),
            mock.patch.dict(os.environ, self.env, clear=True),
            mock.patch("sys.argv", [f"python src {name}", *words]),
            contextlib.redirect_stdout(written),
            contextlib.redirect_stderr(written),
        ):
            ended = 0
            try:
                errors.run(importlib.import_module(f"commands.{name}").main)
            except SystemExit as end:
                ended = end.code or 0
                if isinstance(ended, str):  # Python writes it, and ends with 1
                    print(ended)
                    ended = 1
        assert ended == code, f"{name} {' '.join(words)}\n{written.getvalue()}"
        return written.getvalue()

    def edit(self, changes: dict[str, object]) -> None:
        params = self.path / "params.yaml"
        values = yaml.safe_load(params.read_text())
        for name, value in changes.items():
            *groups, last = name.split(".")
            group = values
            for part in groups:
                group = group[part]
            assert last in group
            group[last] = value
        params.write_text(yaml.safe_dump(values, sort_keys=False))

    def commit(self, message: str) -> None:
        self.run("git", "add", "--all")
        self.run("git", "commit", "--quiet", "--message", message)

    def restore(self) -> None:
        """Back to what is committed, outputs and all."""
        self.run("git", "checkout", "--quiet", ".")
        self.dvc("checkout", "--quiet")

    def json(self, name: str) -> Any:
        return json.loads((self.path / name).read_text())


def ran(output: str) -> list[str]:
    return re.findall(r"Running stage '(\w+)'", output)


def results(lock: str) -> dict[str, str]:
    """The hash of every output in a `dvc.lock`, by path."""
    stages = yaml.safe_load(lock)["stages"].values()
    return {out["path"]: out["md5"] for stage in stages for out in stage["outs"]}


@dataclass(frozen=True)
class Finished:
    """A repository after `dvc repro`, committed: to be copied, since all tests share it."""

    repository: Repository
    output: str
    took: dict[str, float]  # seconds of each stage, with DVC's own

    @classmethod
    def make(cls, folder: Path) -> "Finished":
        repository = Repository(folder)
        began = time.monotonic()
        times, lines = [], []
        with subprocess.Popen(
            [sys.executable, "-m", "dvc", "repro"],
            cwd=repository.path,
            env=repository.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as running:
            for line in running.stdout or ():
                lines.append(line)
                times += [time.monotonic()] if ran(line) else []
        output = "".join(lines)
        assert running.returncode == 0, output
        times.append(time.monotonic())
        start = times[0] - began
        took = {name: times[i + 1] - times[i] + start for i, name in enumerate(ran(output))}
        repository.commit("Run the pipeline")
        return cls(repository, output, took)

    @classmethod
    def once(cls, base: Path) -> "Finished":
        """Made by the first of pytest's workers that asks; the others wait for it."""
        done = base / "finished.pickle"
        with (base / "finished.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not done.exists():
                folder = base / "finished"
                folder.mkdir()  # fails where it failed before: once is enough
                done.write_bytes(pickle.dumps(cls.make(folder)))
        return pickle.loads(done.read_bytes())
