"""Kill processes of a cluster at random while it extracts, and compare the bytes.

    python benchmarks/killed.py [--kills 20] [--pictures 200] [--views 2] [--seed 1]

Needs the repository's own run (`dvc repro`) and Ray (`make venv-cluster`). A cluster of three nodes
on this machine extracts; meanwhile a process that works, a whole node or the driver is killed with
-9 every few seconds. A node that is killed is replaced, a driver begun again. Takes minutes, and
`make test` leaves it out. It ends with an error if any byte differs from `engine: local`.
"""

import argparse
import hashlib
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import psutil

import library
import workspace
from thaw.core import cluster, engines, errors
from thaw.features import cache, extraction
from thaw.files import tables

STORE = 80_000_000
KINDS = ("process", "process", "process", "driver", "node")


def extract(out: Path, pictures: int, views: int) -> None:
    """Extract some pictures; goes on after those that are whole."""
    facts = cache.read_facts(workspace.FEATURES)
    split = tables.read(workspace.SPLIT)
    paths = split[split["split"] == "train"]["path"].tolist()[:pictures]
    extraction.BLOCK = 8
    extractor = extraction.Extractor(str(workspace.FROZEN), workspace.IMAGES, facts, views)
    extraction.extract(extractor, paths, out, "train", scratch=out)


def driver(out: Path, pictures: int, views: int) -> subprocess.Popen[bytes]:
    """The same on the cluster, in a process of its own."""
    words = ("--out", str(out), "--pictures", str(pictures), "--views", str(views))
    return subprocess.Popen([sys.executable, __file__, *words], start_new_session=True)


def processes() -> list[psutil.Process]:
    """Those that work."""
    return [
        process
        for process in psutil.Process().children(recursive=True)
        if _name(process).startswith("ray::_Process")
    ]


def _name(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def digests(out: Path) -> list[str]:
    """Of both arrays."""
    return [
        hashlib.sha256((out / f".part-train_{kind}.npy").read_bytes()).hexdigest()
        for kind in extraction.KINDS
    ]


def disturb(nodes: Any, out: Path, asked: argparse.Namespace) -> Counter[str]:
    """Extract over and over while something is killed now and then; what was killed."""
    generator = random.Random(asked.seed)
    killed: Counter[str] = Counter()
    runs = 0
    whole = digests(out / "undisturbed")
    node = nodes.add_node(num_cpus=1, object_store_memory=STORE)
    while sum(killed.values()) < asked.kills:
        folder = out / f"run {runs}"
        running = driver(folder, asked.pictures, asked.views)
        runs += 1
        while (ended := running.poll()) is None:
            time.sleep(generator.uniform(0.5, 8))
            kind = generator.choice(KINDS)
            if sum(killed.values()) == asked.kills or running.poll() is not None:
                continue
            if kind == "driver":
                running.kill()
                running.wait()
                running = driver(folder, asked.pictures, asked.views)
            elif kind == "node":
                nodes.remove_node(node, allow_graceful=False)
                node = nodes.add_node(num_cpus=1, object_store_memory=STORE)
            elif there := processes():
                generator.choice(there).kill()
            else:
                continue
            killed[kind] += 1
            print(f"killed: {kind}", flush=True)
        if ended:
            raise errors.ThawError(f"run {runs} ended with code {ended}")
        if digests(folder) != whole:
            raise errors.ThawError(f"run {runs} gave other bytes than engine: local ({folder})")
        print(f"run {runs}: the same bytes", flush=True)
        shutil.rmtree(folder)
    return killed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--pictures", type=int, default=200)
    parser.add_argument("--views", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)  # as a driver
    asked = parser.parse_args()
    os.chdir(library.ROOT)
    if asked.out:
        engines.use("ray")
        extract(asked.out, asked.pictures, asked.views)
        return
    folder = tempfile.mkdtemp(prefix="ray", dir="/tmp")  # short: a socket's name has 107 bytes
    os.environ |= {"RAY_TMPDIR": folder, "RAY_USAGE_STATS_ENABLED": "0"}
    from ray.cluster_utils import Cluster

    nodes = Cluster(
        initialize_head=True,
        head_node_args={
            "num_cpus": 1,
            "object_store_memory": STORE,
            "include_dashboard": False,
            "_system_config": {"health_check_period_ms": 1000},
        },
    )
    try:
        with tempfile.TemporaryDirectory(prefix="thaw-benchmark-") as out:
            extract(Path(out, "undisturbed"), asked.pictures, asked.views)
            nodes.add_node(num_cpus=1, object_store_memory=STORE)
            os.environ[cluster.ADDRESS] = nodes.address
            killed = disturb(nodes, Path(out), asked)
    finally:
        nodes.shutdown()
        shutil.rmtree(folder, ignore_errors=True)
    told = ", ".join(f"{count} of a {kind}" for kind, count in sorted(killed.items()))
    print(f"{sum(killed.values())} kills ({told}): the same bytes as engine: local each time")


if __name__ == "__main__":
    errors.run(main)
