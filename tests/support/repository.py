"""A copy of this repository, and `dvc` as a person runs it there."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

from places import ROOT

COPIED = ("dvc.yaml", "params.yaml", ".gitignore", ".dvcignore", ".dvc/config", ".dvc/.gitignore")
FOLDERS = ("src", "datasets", "pretrained", ".dvc/plots")
IGNORED = shutil.ignore_patterns("__pycache__")
STAGES = [
    "download",
    "weights",
    "split",
    "extract_features",
    "train_head",
    "fine_tune",
    "evaluate",
    "model_card",
]
CHANGES = {
    "dataset": "folder",
    "base_model": "MobileNetV2",
    "weights": "random",
    "image_size": 32,
    "augment.views": 2,
    "batch_size": 8,
    "split.held_out": 0.4,
    "split.test": 0.5,
    "head.epochs": 2,
    "fine_tune.epochs": 1,
    "cache.layer": "block_10_project_BN",
    "fine_tune_at": 100,
}
PICTURES = 60  # of them one twice


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
    return folder


class Repository:
    """A copy of this repository in a folder of its own, and its commands."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "thaw"
        self.path.mkdir()
        dropped = ("AWS", "CELERY", "DVC", "GIT", "MAKE", "MFLAGS", "PYTHON", "VIRTUAL_ENV", "XDG")
        self.env = {k: v for k, v in os.environ.items() if not k.startswith(dropped)} | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(folder / "home"),
            "XDG_CACHE_HOME": str(folder / "home/cache"),
            "XDG_CONFIG_HOME": str(folder / "home/config"),
            "DVC_SITE_CACHE_DIR": str(folder / "site"),
            "DVC_NO_ANALYTICS": "1",
            "GIT_CONFIG_NOSYSTEM": "1",
        }
        (folder / "home").mkdir()
        for name in FOLDERS:
            shutil.copytree(ROOT / name, self.path / name, ignore=IGNORED)
        for name in COPIED:
            shutil.copy(ROOT / name, self.path / name)
        self.edit({**CHANGES, "source": str(draw(folder / "my pictures"))})
        self.run("git", "init", "--quiet", "--initial-branch=main")
        self.run("git", "config", "user.name", "Test")
        self.run("git", "config", "user.email", "test@example.org")
        self.commit("Begin")

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
            timeout=900,
        )
        assert done.returncode == code, f"{' '.join(command)}\n{done.stdout}"
        return done.stdout

    def dvc(self, *words: str, code: int = 0) -> str:
        return self.run(sys.executable, "-m", "dvc", *words, code=code)

    def dvc_json(self, *words: str) -> Any:
        done = subprocess.run(
            [sys.executable, "-m", "dvc", *words, "--json"],
            cwd=self.path,
            env=self.env,
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        )
        return json.loads(done.stdout)

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
