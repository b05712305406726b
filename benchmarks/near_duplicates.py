"""How many planted copies of pictures are found, and how many others are taken for copies.

    python benchmarks/near_duplicates.py --source cats_and_dogs_filtered.zip

Plants 200 copies of eight kinds among the pictures of cats and dogs, and 200 among those of elpv.
The threshold, `alike.ALIKE`, is chosen on copies of one half of the pictures, and the figures
reported are of the other half. A dataset that isn't named keeps its last figures. Writes
benchmarks/results/near_duplicates.json and .md.
"""

import argparse
import io
import json
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageEnhance, ImageOps
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

import tables
import workspace
import workspaces
from thaw.core import errors
from thaw.drawing import markdown
from thaw.files import tables as files
from thaw.pictures import decoding
from thaw.splitting import alike

COPIES = 200
SHEET = 24  # pairs that are drawn
TURNS = (Image.Transpose.ROTATE_90, Image.Transpose.ROTATE_180, Image.Transpose.ROTATE_270)
LOOSE = 0.6  # correlation from which on pairs are looked at, to choose the threshold
Change = Callable[[Image.Image, random.Random], Image.Image]
Found = dict[str, Any]


def encoded(image: Image.Image, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer).convert("RGB")


def cropped(image: Image.Image, side: float, chance: random.Random) -> Image.Image:
    """A part of so much of each side, from any place."""
    width, height = round(image.width * side), round(image.height * side)
    left, top = chance.randint(0, image.width - width), chance.randint(0, image.height - height)
    return image.crop((left, top, left + width, top + height))


def brightened(image: Image.Image, chance: random.Random) -> Image.Image:
    brighter = ImageEnhance.Brightness(image).enhance(chance.choice([0.75, 1.25]))
    return ImageEnhance.Contrast(brighter).enhance(chance.choice([0.75, 1.25]))


KINDS: dict[str, Change] = {
    "turned by 90, 180 or 270 degrees": lambda i, c: i.transpose(c.choice(TURNS)),
    "turned by 5 degrees, corners black": lambda i, c: i.rotate(
        c.choice([-5, 5]), Image.Resampling.BICUBIC
    ),
    "mirrored, either way": lambda i, c: c.choice([ImageOps.mirror, ImageOps.flip])(i),
    "scaled to half": lambda i, _: i.resize((i.width // 2, i.height // 2)),
    "cropped to 80 % of each side": lambda i, c: cropped(i, 0.8, c),
    "JPEG of quality 30": lambda i, _: encoded(i, 30),
    "brightness and contrast times 0.75 or 1.25": brightened,
    "mirrored, cropped to 90 %, JPEG of quality 50": lambda i, c: encoded(
        cropped(ImageOps.mirror(i), 0.9, c), 50
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--source", help="the archive of cats and dogs, where its host isn't reached"
    )
    parser.add_argument("--datasets", nargs="+", default=["cats_and_dogs", "elpv"])
    parser.add_argument("--most", type=int, help="pictures of each dataset to take")
    parser.add_argument("--sheets", type=Path, help="a folder for pictures of misses and others")
    given = parser.parse_args()
    path = tables.RESULTS / "near_duplicates.json"
    found = json.loads(path.read_text("utf-8"))["datasets"] if path.exists() else {}
    for dataset in given.datasets:
        source = given.source if dataset == "cats_and_dogs" else None
        if source and Path(source).exists():
            source = str(Path(source).resolve())
        with workspaces.temporary() as folder:
            found[dataset] = measure(folder, dataset, source, given.most, given.sheets)
    machine = tables.machine()
    sections = [section(dataset, each) for dataset, each in found.items()]
    page = "\n\n".join([tables.machine_line(machine), *sections]) + "\n"
    tables.write("near_duplicates", {"machine": machine, "datasets": found}, page)


def measure(
    folder: Path, dataset: str, source: str | None, count: int | None, sheets: Path | None
) -> Found:
    """Plant copies in a dataset, and look for them."""
    made = workspaces.create(folder, workspaces.merged() | {"dataset": dataset, "source": source})
    made.stage("download")
    names = files.read(folder / workspace.LABELS)["path"].tolist()
    images = folder / workspace.IMAGES
    chance = random.Random(1)
    chance.shuffle(names)
    names = names[:count]
    kinds = list(KINDS)
    planted = [(number, kinds[number % len(kinds)]) for number in range(2 * COPIES)]
    pictures = [decoding.examine(images / name).small for name in names]
    copies = [KINDS[k](decoding.read(images / names[n]), random.Random(n)) for n, k in planted]
    every = np.stack([*pictures, *map(reduced, copies)])
    truth = {(number, len(names) + at): kind for at, (number, kind) in enumerate(planted)}
    chosen = {pair for at, pair in enumerate(truth) if at // len(kinds) % 2 == 0}
    start = time.perf_counter()
    pairs = {(pair.one, pair.other): pair for pair in alike.find(every, threshold=LOOSE)}
    seconds = time.perf_counter() - start
    similar = {pair: each.similarity for pair, each in pairs.items()}
    others = sorted((s for pair, s in similar.items() if pair not in truth), reverse=True)
    sides = {"chosen on": chosen, "reported on": set(truth) - chosen}
    result: Found = {
        "pictures": len(names),
        "seconds": seconds,
        "largest": largest([p for p, s in similar.items() if s >= alike.ALIKE], len(names)),
        "threshold": alike.ALIKE,
        "others": [float(each) for each in others[:50]],
        "flagged_others": sum(each >= alike.ALIKE for each in others),
        "flagged": sum(each >= alike.ALIKE for each in similar.values()),
    }
    for side, those in sides.items():
        result[side] = {
            kind: {
                "planted": sum(truth[pair] == kind for pair in those),
                "found": sum(
                    similar.get(pair, 0) >= alike.ALIKE for pair in those if truth[pair] == kind
                ),
                "least": min(similar.get(pair, 0.0) for pair in those if truth[pair] == kind),
            }
            for kind in kinds
        }
    if sheets:
        missed = [pair for pair in truth if similar.get(pair, 0) < alike.ALIKE]
        rest = sorted((p for p in pairs if p not in truth), key=lambda p: -similar[p])
        for name, which in (("missed", missed), ("others", rest)):
            if which:
                sheets.mkdir(parents=True, exist_ok=True)
                sheet(every, which[:SHEET]).save(sheets / f"{dataset}-{name}.png")
    return result


def largest(pairs: Sequence[tuple[int, int]], count: int) -> int:
    """How many of the first `count` pictures hang together, each like the next."""
    own = np.array([pair for pair in pairs if max(pair) < count] or [(0, 0)]).T
    graph = coo_array((np.ones(own.shape[1]), own), shape=(count, count))
    return int(np.bincount(connected_components(graph)[1]).max())


def reduced(image: Image.Image) -> decoding.Pixels:
    """As `decoding.examine` makes it."""
    side = (decoding.SMALL, decoding.SMALL)
    return np.asarray(image.convert("L").resize(side, Image.Resampling.BILINEAR))


def sheet(small: np.ndarray, pairs: Sequence[tuple[int, int]]) -> Image.Image:
    """Pairs side by side, six in a row."""
    drawn = [np.pad(np.hstack([small[one], small[other]]), 2) for one, other in pairs]
    drawn += [np.zeros_like(drawn[0])] * (-len(drawn) % 6)
    rows = [np.hstack(drawn[at : at + 6]) for at in range(0, len(drawn), 6)]
    return Image.fromarray(np.vstack(rows)).resize((6 * 264, len(rows) * 136))


def section(dataset: str, found: Found) -> str:
    """The figures of a dataset as Markdown."""
    told = found["reported on"]
    rows = [
        [kind, f"{each['found']} of {each['planted']}", f"{each['least']:.3f}"]
        for kind, each in told.items()
    ]
    share = np.mean([each["found"] / each["planted"] for each in told.values()])
    kept = np.mean([e["found"] / e["planted"] for e in found["chosen on"].values()])
    rows.append(["mean", f"{share:.1%}", ""])
    lines = [
        f"## `{dataset}`",
        f"{found['pictures']:,} pictures, {2 * COPIES} copies; threshold {found['threshold']}. On "
        f"the half that it was chosen on, {kept:.1%} are found.",
        markdown.table(("kind, other half", "found", "least correlation"), rows),
        f"Of {found['flagged']:,} pairs that are flagged, {found['flagged_others']:,} were not "
        f"planted. The most alike of those: {', '.join(f'{o:.3f}' for o in found['others'][:5])}. "
        f"It took {found['seconds']:.0f} s, from a correlation of {LOOSE} on.",
    ]
    if found["largest"] >= max(20, found["pictures"] // 10):
        lines.append(
            f"Of the pictures themselves, {found['largest']:,} are each like the next: stage "
            "`split` gives up and says so, and these figures are of what it would do otherwise."
        )
    return "\n\n".join(lines)


if __name__ == "__main__":
    errors.run(main)
