"""How often 95 % intervals hold the truth, and how often chance is told for more.

    python benchmarks/coverage.py [--quick]

Draws test pictures of made classifiers whose true scores are known, of 2 to 20 classes and an
accuracy of 0.5 to 1: of each score how often its interval holds the truth, beside three other
methods; of two models how often the interval of their difference does, how often a difference is
told where there is none, and how often one of 2 points is told. Writes
benchmarks/results/coverage.json and .md. --quick draws a fiftieth, and writes nothing.
"""

import argparse
import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import scipy.stats

import resampling
import tables
from thaw.core import errors
from thaw.drawing import markdown
from thaw.evaluation import differences, influence, intervals
from thaw.evaluation.influence import Array, Labels
from thaw.evaluation.record import LEVEL, TITLES
from worlds import World, skill_of, truth

WORLDS = (
    World(2, 1, 1),
    World(2, 2, 1.7),
    World(5, 1, 1),
    World(5, 4, 1.7),
    World(20, 1, 1),
    World(20, 3, 1.7),
)
COUNTS = (6, 20, 50, 200, 1000)
BANDS = {  # accuracies
    "0.5 to 0.8": (0.52, 0.58, 0.63, 0.68, 0.73, 0.78),
    "0.8 to 0.97": (0.81, 0.84, 0.87, 0.9, 0.93, 0.96),
    "0.97 to 1": (0.972, 0.976, 0.98, 0.985, 0.99, 0.995),
    "1": (1.0,),
}
DRAWS = 60  # of each world, count and band
OTHERS = 24  # as many for the methods that are slower
PAIRS = 40
ALIKE = (0.6, 0.95)  # correlations of what two models see
COMPARED = ((0.7, 0.7), (0.9, 0.9), (0.98, 0.98), (0.87, 0.95))  # accuracies of two models
POWER = 2000
FOLDED, GAIN = 2624, 0.02  # pictures, each predicted once by folds, and a difference in accuracy
CHANGED = (0.04, 0.05, 0.06)  # shares of pictures that one model alone has right
ANY = ("any_told", "any_raised")
Interval = tuple[float, float]
Method = Callable[[Labels, Array], Mapping[str, Interval]]


@dataclass(frozen=True)
class Cell:
    """How often something happened."""

    classes: int
    pictures: int
    band: str
    method: str
    draws: int
    shares: Mapping[str, float]  # by score


def thaws(labels: Labels, probabilities: Array) -> Mapping[str, Interval]:
    return intervals.scores(influence.judge(labels, probabilities))


def normal(labels: Labels, probabilities: Array) -> Mapping[str, Interval]:
    """The score and 1.96 standard errors by influences: what a delta method gives."""
    found = influence.judge(labels, probabilities)
    alone = np.arange(len(labels))
    half = {
        name: intervals.Z * intervals.spread(each, alone)[0] ** 0.5
        for name, each in found.influences.items()
    }
    return {name: (each - half[name], each + half[name]) for name, each in found.scores.items()}


def resampled(weigh: Callable[[Labels, np.random.Generator], Array]) -> Method:
    def found(labels: Labels, probabilities: Array) -> Mapping[str, Interval]:
        counts = weigh(labels, np.random.default_rng(0))
        return resampling.percentiles(labels, probabilities, counts)

    return found


METHODS: dict[str, Method] = {
    "Thaw": thaws,
    "bootstrap within classes": resampled(resampling.within_classes),
    "Bayesian bootstrap": resampled(resampling.bayesian),
    "normal": normal,
}


def covered(world: World, pictures: int, band: str, method: str, draws: int) -> Cell:
    """How often a method's intervals hold the truth."""
    generator = np.random.default_rng((world.classes, pictures))
    known = {skill: truth(world, skill) for skill in skills(world, band)}
    held = []
    for skill in itertools.islice(itertools.cycle(known), draws):
        found = METHODS[method](*world.draw(pictures, skill, generator))
        held.append([holds(found[name], known[skill][name]) for name in TITLES])
    return Cell(world.classes, pictures, band, method, draws, by_score(np.mean(held, axis=0)))


def skills(world: World, band: str) -> list[float]:
    return [skill_of(world, accuracy) for accuracy in BANDS[band] if accuracy > least(world)]


def least(world: World) -> float:
    """What always saying the most frequent class gives; a classifier is better."""
    return float(world.shares.max()) + 0.02


def holds(found: Interval, value: float) -> bool:
    return found[0] - 1e-9 <= value <= found[1] + 1e-9


def by_score(values: Array) -> dict[str, float]:
    return dict(zip(TITLES, values.tolist(), strict=True))


@dataclass(frozen=True)
class Paired:
    """How often a difference of two models was told, and how often its interval held the truth."""

    classes: int
    pictures: int
    accuracies: tuple[float, float]
    alike: float
    draws: int
    covered: Mapping[str, float]
    told: Mapping[str, float]  # by the score's own test
    raised: Mapping[str, float]  # as the report tells it: the scores beside accuracy by Holm
    any_told: float  # at least one score of eight by its own test
    any_raised: float  # at least one as the report tells it


def paired(
    world: World, pictures: int, accuracies: tuple[float, float], alike: float, draws: int
) -> Paired:
    generator = np.random.default_rng((world.classes, pictures, round(100 * alike)))
    first, second = (skill_of(world, each) for each in accuracies)
    before, after = truth(world, first), truth(world, second)
    held, told, raised = [], [], []
    for _ in range(draws):
        drawn = world.pair(pictures, (first, second), alike, generator)
        found = differences.differences(*drawn)
        held.append([holds((d.low, d.high), after[n] - before[n]) for n, d in found.items()])
        told.append([not each.chance for each in found.values()])
        more = differences.more_than_chance(found)
        raised.append([more[name] for name in TITLES])
    return Paired(
        *(world.classes, pictures, accuracies, alike, draws),
        *(by_score(np.mean(each, axis=0)) for each in (held, told, raised)),
        *(float(np.any(each, axis=1).mean()) for each in (told, raised)),
    )


def power(changed: float, draws: int) -> float:
    """How often a difference of 2 points in 2,624 pictures is told, if so many change."""
    mended, broken = (changed + GAIN) / 2, (changed - GAIN) / 2
    generator = np.random.default_rng(0)
    drawn = generator.multinomial(FOLDED, (mended, broken, 1 - changed), draws)
    return float(np.mean([differences.mid_p(up, down) < LEVEL for up, down, _ in drawn]))


def fixed(pictures: int) -> float:
    """The lowest coverage of Wilson's interval at any accuracy of 0.5 to 1, exactly."""
    right = np.arange(pictures + 1)
    low, high = np.array([intervals.wilson(each / pictures, pictures) for each in right]).T
    shares = np.linspace(0.5, 0.9999, 5000)[:, None]
    held = (low <= shares) & (shares <= high)
    return float((scipy.stats.binom.pmf(right, pictures, shares) * held).sum(axis=1).min())


def cells(part: int) -> Iterator[tuple[World, int, str, str, int]]:
    """Of all worlds, counts and bands; other methods where a bootstrap takes no minutes."""
    for world, pictures in itertools.product(WORLDS, COUNTS):
        if pictures < world.classes:
            continue
        for method, band in itertools.product(METHODS, BANDS):
            if method == "Thaw" or fits(world, pictures, band):
                draws = DRAWS if method == "Thaw" else OTHERS
                yield world, pictures, band, method, max(draws // part, 2)


def fits(world: World, pictures: int, band: str) -> bool:
    return world.classes <= 5 and pictures in (6, 20, 200) and band != "1"


def pairs(part: int) -> Iterator[tuple[World, int, tuple[float, float], float, int]]:
    for world, pictures in itertools.product(WORLDS[:4], COUNTS):
        for accuracies, alike in itertools.product(COMPARED, ALIKE):
            yield world, pictures, accuracies, alike, max(PAIRS // part, 2)


def counts_table(columns: Sequence[int], value: Callable[[str, int], str]) -> str:
    rows = [[title, *(value(name, each) for each in columns)] for name, title in TITLES.items()]
    return markdown.table(("score", *(f"{each:,}" for each in columns)), rows)


def spread(values: Sequence[float]) -> str:
    """Mean, and lowest to highest, in percent."""
    if not values:
        return "–"
    mean, low, high = (f"{100 * each:.0f}" for each in (np.mean(values), min(values), max(values)))
    return f"{mean} ({low}–{high})"


def page(found: Sequence[Cell], both: Sequence[Paired], powers: Mapping[str, float]) -> str:
    """The results in Markdown."""

    def of(name: str, pictures: int, perfect: bool, method: str = "Thaw") -> list[float]:
        return [
            each.shares[name]
            for each in found
            if (each.pictures, each.band == "1", each.method) == (pictures, perfect, method)
        ]

    null = [each for each in both if each.accuracies[0] == each.accuracies[1]]
    rows = [
        [method, str(count), *(spread(of(name, count, False, method)) for name in TITLES)]
        for count in (6, 20, 200)
        for method in METHODS
    ]
    any_of = [
        [f"{n:,}", *(spread([getattr(e, k) for e in null if e.pictures == n]) for k in ANY)]
        for n in COUNTS
    ]
    parts = [
        "In percent: the mean over worlds of 2, 5 and 20 classes and over accuracies, and in "
        f"parentheses the lowest and highest of them, {DRAWS} draws each ({PAIRS} of two models; "
        "a standard error of one is 3). Columns are numbers of test pictures.",
        "## Intervals that hold the truth, accuracy 0.5 to 1",
        counts_table(COUNTS, lambda name, n: spread(of(name, n, False))),
        "## The same, accuracy 1",
        counts_table(COUNTS, lambda name, n: spread(of(name, n, True))),
        "## Other methods, 2 and 5 classes",
        markdown.table(("method", "pictures", *TITLES.values()), rows),
        "## Wilson's interval of accuracy at the worst accuracy, exactly",
        markdown.table(
            [f"{n:,} pictures" for n in COUNTS], [[f"{100 * fixed(n):.1f}" for n in COUNTS]]
        ),
        "## Intervals of a difference that hold it",
        counts_table(
            COUNTS, lambda name, n: spread([e.covered[name] for e in both if e.pictures == n])
        ),
        "## A difference is told where there is none, by each score's own test",
        counts_table(
            COUNTS, lambda name, n: spread([e.told[name] for e in null if e.pictures == n])
        ),
        "## At least one of eight scores is called more than chance where there is no difference",
        markdown.table(("pictures", "each by itself", "as the report calls it"), any_of),
        "## A difference of 2 points in 2,624 pictures is told",
        markdown.table([f"{each} change" for each in powers], [[*map(percent, powers.values())]]),
    ]
    return "\n\n".join(parts) + "\n"


def percent(share: float) -> str:
    return f"{100 * share:.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a fiftieth of the draws, no file")
    quick = parser.parse_args().quick
    part = 50 if quick else 1
    start = time.perf_counter()
    with ProcessPoolExecutor() as pool:
        first = [pool.submit(covered, *each) for each in cells(part)]
        second = [pool.submit(paired, *each) for each in pairs(part)]
        found, both = [each.result() for each in first], [each.result() for each in second]
    powers = {f"{100 * each:.0f} %": power(each, POWER // part) for each in CHANGED}
    text = page(found, both, powers)
    if quick:
        print(text)
        return
    content: dict[str, Any] = {
        "machine": tables.machine(),
        "minutes": round((time.perf_counter() - start) / 60, 1),
        "intervals": [asdict(each) for each in found],
        "differences": [asdict(each) for each in both],
        "power": powers,
        "wilson": {each: fixed(each) for each in COUNTS},
    }
    tables.write("coverage", content, text)


if __name__ == "__main__":
    errors.run(main)
