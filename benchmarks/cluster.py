"""What a cluster costs: `engine: ray` beside `local`, many processes, a million pictures.

    python benchmarks/cluster.py [overhead] [scaling] [memory] [--pictures 200] [--turns 3]

Needs the repository's own run (`dvc repro`) and Ray (`make venv-cluster`). Each of the three can be
taken by itself; the others keep what they had. Writes benchmarks/results/cluster.json and .md.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import library
import tables
import workspace
from processes import RSS_UNIT
from thaw.core import cluster, cores, engines, errors
from thaw.drawing import markdown
from thaw.features import cache, extraction
from thaw.files import tables as tables_of_results

KINDS = ("overhead", "scaling", "memory")
WORKERS = (1, 4, 16, 64, 256)
PROCESSES = 64  # of Ray's at most, so that few cores can start them: each is several workers then
ROUNDS = 6  # parts of each worker
COUNTS = (10_000, 1_000_000)
NAME = "train/a class of pictures/picture {}.jpg"


@dataclass(frozen=True)
class Together:
    """Work whose processes wait for each other before they begin, so that start-up is aside."""

    work: Any
    folder: Path
    count: int

    def start(self) -> Callable[[Any], Any]:
        """As the work's, once all are there."""
        each = self.work.start()
        begun = self.folder / f"{os.getpid()}-{time.monotonic_ns()}"
        begun.touch()
        while len(os.listdir(self.folder)) < self.count:  # noqa: PTH208
            time.sleep(0.5)
        return each

    def began(self) -> float:
        """When the last of them was there."""
        return max(path.stat().st_mtime for path in self.folder.iterdir())


@dataclass(frozen=True)
class Sleep:
    """Takes as long as a picture, without work."""

    seconds: float

    def start(self) -> Callable[[Any], int]:
        """From an item to nothing much."""

        def work(_: object) -> int:
            if self.seconds:
                time.sleep(self.seconds)
            return 0

        return work


class Names(Sequence[str]):
    """Names of pictures, made as they are asked for."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: Any) -> Any:
        return NAME.format(range(self._count)[index])


@contextmanager
def ray(processes: int) -> Iterator[None]:
    """Ray with so many cores as far as it knows, in a process that ends with it."""
    folder = tempfile.mkdtemp(prefix="ray", dir="/tmp")
    os.environ |= {"RAY_TMPDIR": folder}
    os.environ.pop(cluster.ADDRESS, None)
    cores.limit(None)
    available, cluster.available = cluster.available, lambda: processes
    try:
        engines.use("ray")
        cluster.connect()
        yield
    finally:
        if cluster._ray:
            cluster._ray.shutdown()
            cluster._ray = None
        cluster.available = available
        engines.use("local")
        shutil.rmtree(folder, ignore_errors=True)


def overhead(pictures: int, turns: int) -> dict[str, Any]:
    """Seconds of the extraction of some pictures by each engine, in turn, start-up aside."""
    facts = cache.read_facts(workspace.FEATURES)
    split = tables_of_results.read(workspace.SPLIT)
    paths = split[split["split"] == "train"]["path"].tolist()[:pictures]
    views = facts.augmentation.count
    extractor = extraction.Extractor(
        str(workspace.FROZEN.resolve()), workspace.IMAGES, facts, views
    )
    seconds: dict[str, list[float]] = {"local": [], "ray": []}
    used = []  # of a core, which doesn't count what else runs
    with ray(cores.available()):
        for turn in range(turns):
            for engine in ("local", "ray"):
                engines.use(engine)
                before = time.process_time()
                seconds[engine].append(extract(extractor, paths, engine))
                used += [time.process_time() - before] if engine == "local" else []
                print(f"turn {turn + 1}: {engine} {seconds[engine][-1]:.1f} s", flush=True)
    found = {engine: median(each) for engine, each in seconds.items()}
    return {
        "pictures": len(paths),
        "views": views,
        "seconds": seconds,
        "overhead": found["ray"] / found["local"] - 1,
        "picture": median(used) / len(paths),
    }


def extract(extractor: extraction.Extractor, paths: list[str], engine: str) -> float:
    """Seconds from the moment that all processes are there to the last result."""
    with tempfile.TemporaryDirectory(prefix="thaw-benchmark-") as folder:
        out, begun = Path(folder, "out"), Path(folder, "begun")
        begun.mkdir()
        made: list[Together] = []
        spread = engines.spread

        def together(work: Any, items: Any, *more: int) -> Iterator[Any]:
            count = 1 if engine == "local" else cores.available()
            made.append(Together(work, begun, count))
            return spread(made[0], items, *more)

        engines.spread = together  # type: ignore[assignment]
        try:
            extraction.extract(extractor, paths, out, "train")
        finally:
            engines.spread = spread
        return time.time() - made[0].began()


def scaling(picture: float, at_once: int = 16) -> list[dict[str, float]]:
    """How near to linear: parts that take as long as they were measured to, asleep."""
    found = []
    for workers in WORKERS:
        processes = min(workers, PROCESSES)
        with ray(processes), tempfile.TemporaryDirectory(prefix="thaw-benchmark-") as folder:
            lanes(workers // processes)
            work = Together(Sleep(picture), Path(folder), workers)
            items = range(workers * ROUNDS * at_once)
            used = time.process_time()
            for _ in engines.spread(work, items, at_once):
                pass
            seconds = time.time() - work.began()
            used = time.process_time() - used
        linear = ROUNDS * at_once * picture
        found.append(
            {
                "workers": workers,
                "processes": processes,
                "seconds": seconds,
                "linear": linear,
                "efficiency": linear / seconds,
                "driver": used / (workers * ROUNDS),
            }
        )
        print(f"{workers} workers: {linear / seconds:.1%} of linear", flush=True)
    return found


def lanes(count: int) -> None:
    """Let each of Ray's processes be several workers, in threads, as far as `cluster` knows."""
    real = cluster._ray

    class Ray:
        """Ray, but for what it says of cores and how processes are begun."""

        def __getattr__(self, name: str) -> Any:
            return getattr(real, name)

        def cluster_resources(self) -> dict[str, float]:
            return {"CPU": real.cluster_resources().get("CPU", 0) * count}

        def remote(self, kind: type) -> Any:
            return Kind(real.remote(kind))

    class Kind:
        """Begins a process for the first of so many workers, and has the others share it."""

        def __init__(self, kind: Any) -> None:
            self._kind, self._born = kind, 0
            self._last: Any = None

        def options(self, **options: Any) -> Any:
            self._options = options
            return self

        def remote(self, *words: Any) -> Any:
            if self._born % count == 0:
                how = self._options | {"max_concurrency": count}
                self._last = self._kind.options(**how).remote(*words)
            self._born += 1
            return self._last

    if count > 1:
        cluster._ray = Ray()


def memory() -> list[dict[str, float]]:
    """The driver's memory by the number of pictures, each in a process of its own."""
    found = []
    for count in COUNTS:
        child = os.fork()
        if not child:
            _drive(count)
        _, status, usage = os.wait4(child, 0)
        if status:
            raise errors.ThawError(f"driving {count:,} pictures failed; its error is above")
        found.append({"pictures": count, "peak_mb": usage.ru_maxrss * RSS_UNIT / 1e6})
        print(f"{count:,} pictures: {found[-1]['peak_mb']:.0f} MB", flush=True)
    return found


def _drive(count: int) -> None:
    """Drive so many pictures, whose names alone there are; the process ends here."""
    code = 1
    try:
        with ray(2):
            for _ in engines.spread(Sleep(0), Names(count), 16):
                pass
        code = 0
    except Exception:
        traceback.print_exc()
    finally:
        os._exit(code)


def page(found: dict[str, Any]) -> str:
    """All results as Markdown."""
    texts = [tables.machine_line(found["machine"])]
    if taken := found.get("overhead"):
        texts.append(
            f"Extraction of {taken['pictures']:,} pictures with {taken['views']} views each, the "
            "two engines in turn, from the moment that all processes are there; "
            f"`ray` takes {taken['overhead']:+.1%}."
        )
        rows = [[f"`{name}`", tables.cell(each, "s")] for name, each in taken["seconds"].items()]
        texts.append(markdown.table(("engine", "median (lowest to highest)"), rows))
    if taken := found.get("scaling"):
        texts.append(
            f"Scaling, simulated: each worker has {ROUNDS} parts of 16 pictures, each of which "
            "sleeps as long as one takes a core. Where there are fewer processes than workers, "
            "each is several, in threads. The driver's time is all of its process's."
        )
        rows = [
            [
                f"{each['workers']}",
                f"{each['processes']}",
                f"{each['linear']:.1f} s",
                f"{each['seconds']:.1f} s",
                f"{each['efficiency']:.1%}",
                f"{1000 * each['driver']:.1f} ms",
            ]
            for each in taken
        ]
        columns = ("workers", "processes", "linear", "measured", "of linear", "driver, a part")
        texts.append(markdown.table(columns, rows))
    if taken := found.get("memory"):
        texts.append(
            "Largest resident memory of the driver, which hands out names alone, made as they are "
            "asked for; a list of names comes on top."
        )
        rows = [[f"{each['pictures']:,}", f"{each['peak_mb']:,.0f} MB"] for each in taken]
        texts.append(markdown.table(("pictures", "memory"), rows))
    return "\n\n".join(texts) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"of {', '.join(KINDS)}; all")
    parser.add_argument("--pictures", type=int, default=200)
    parser.add_argument("--turns", type=int, default=3)
    asked = parser.parse_args()
    if unknown := {*asked.kinds} - {*KINDS}:
        sys.exit(f"error: {min(unknown)}: give some of {', '.join(KINDS)}")
    os.chdir(library.ROOT)
    path = tables.RESULTS / "cluster.json"
    found = json.loads(path.read_text()) if path.exists() else {}
    kinds = asked.kinds or KINDS
    if "memory" in kinds:  # first, as it forks
        found["memory"] = memory()
    if "overhead" in kinds:
        found["overhead"] = overhead(asked.pictures, asked.turns)
    if "scaling" in kinds:
        found["scaling"] = scaling(found["overhead"]["picture"])
    found["machine"] = tables.machine()
    tables.write("cluster", found, page(found))


if __name__ == "__main__":
    errors.run(main)
