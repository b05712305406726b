"""Made classifiers whose true scores are known, to draw test pictures from."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
import scipy.optimize

import library  # noqa: F401
from thaw.evaluation import influence
from thaw.evaluation.influence import Array, Labels

POPULATION = 60_000
SEARCHED = 20_000  # pictures that a skill is found by
SURE = 30.0  # a skill without mistakes
Generator = np.random.Generator


@dataclass(frozen=True)
class World:
    """Pictures of classes, and a classifier of them.

    A picture shows `classes` values of unit variance, that of its class raised by a skill; the
    classifier knows this, so that it is calibrated, and may be surer than it should.
    """

    classes: int
    rare: float  # how many times rarer the last class is than the first
    sure: float  # 1: calibrated; more: too sure

    @property
    def shares(self) -> Array:
        found = np.geomspace(1, 1 / self.rare, self.classes)
        return found / found.sum()

    def labels(self, count: int, generator: Generator) -> Labels:
        """At least one of each class, as stage `split` sees to; all else as it falls."""
        while True:
            labels = generator.choice(self.classes, count, p=self.shares)
            if len(np.unique(labels)) == self.classes:
                return labels
            if count < 10 * self.classes:  # it would take for ever
                labels[: self.classes] = np.arange(self.classes)
                return labels

    def seen(self, labels: Labels, skill: float, noise: Array) -> Array:
        """(N, classes) probabilities."""
        raised = skill * np.eye(self.classes)[labels] + noise
        logits = self.sure * (skill * raised + np.log(self.shares))
        found = np.exp(logits - logits.max(axis=1, keepdims=True))
        return found / found.sum(axis=1, keepdims=True)

    def draw(self, count: int, skill: float, generator: Generator) -> tuple[Labels, Array]:
        """Labels, and what the classifier says of their pictures."""
        labels = self.labels(count, generator)
        return labels, self.seen(labels, skill, generator.normal(size=(count, self.classes)))

    def pair(
        self, count: int, skills: tuple[float, float], alike: float, generator: Generator
    ) -> tuple[Labels, Array, Array]:
        """Labels, and what two classifiers say, the noise of whose pictures correlates."""
        labels = self.labels(count, generator)
        first, own = generator.normal(size=(2, count, self.classes))
        second = alike * first + (1 - alike**2) ** 0.5 * own
        return labels, self.seen(labels, skills[0], first), self.seen(labels, skills[1], second)


@cache
def skill_of(world: World, accuracy: float) -> float:
    """The skill that is right about so often."""
    if accuracy == 1:
        return SURE
    generator = np.random.default_rng(0)
    labels = world.labels(SEARCHED, generator)
    noise = generator.normal(size=(SEARCHED, world.classes))

    def right(skill: float) -> float:
        return float((world.seen(labels, skill, noise).argmax(axis=1) == labels).mean())

    return float(scipy.optimize.bisect(lambda skill: right(skill) - accuracy, 0, SURE, xtol=0.01))


@cache
def truth(world: World, skill: float) -> Mapping[str, float]:
    """The scores of a large population; a calibrated classifier has no calibration error."""
    labels, probabilities = world.draw(POPULATION, skill, np.random.default_rng(1))
    found = dict(influence.judge(labels, probabilities).scores)
    return found | ({"calibration_error": 0.0} if world.sure == 1 else {})
