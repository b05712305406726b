"""What both models say of pictures, and how far they differ, each picture beside itself."""

import contextlib
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import scipy.stats
from numpy.typing import NDArray

import library  # noqa: F401
import workspace
from stages import evaluate
from thaw.drawing import markdown
from thaw.evaluation import metrics
from thaw.files import tables
from workspaces import Workspace

MODELS = tuple(evaluate.FILES)  # head, fine_tuned
RESAMPLES = 99_999
BLOCK = 10_000  # resamples at once
Right = NDArray[np.bool_]


@dataclass(frozen=True)
class Judged:
    """Pictures, and of each model its scores and (pictures,) whether each is right."""

    paths: list[str]
    scores: dict[str, dict[str, float]]
    right: dict[str, Right]


def judge(made: Workspace, part: str) -> Judged:
    """What both models say of a part of the split, by the mean over views that they predict with.

    As stages `decide` and `evaluate` compute it.
    """
    made.stage("decide")
    with contextlib.chdir(made.folder):
        classes: list[str] = workspace.read_dataset()["classes"]
        positive = workspace.check_positive(workspace.read_params(), classes)
        split = tables.read(workspace.SPLIT)
        rows = split[split["split"] == part].sort_values("path")
        found = {
            model: evaluate.predict(path, rows, f"{model}, {part}")
            for model, path in evaluate.FILES.items()
        }
    labels = rows["label"].map(classes.index).to_numpy()
    return Judged(
        rows["path"].tolist(),
        {
            model: metrics.scores(labels, said.probabilities, positive, said.decided)
            for model, said in found.items()
        },
        {model: said.decided == labels for model, said in found.items()},
    )


@dataclass(frozen=True)
class Mean:
    """A mean over predictions, and its standard error, the predictions of a picture as one."""

    value: float
    error: float

    def __str__(self) -> str:
        return f"{100 * self.value:.1f} % ± {100 * self.error:.1f}"


@dataclass(frozen=True)
class Paired:
    """How the second model differs from the first on the same pictures, several times maybe."""

    predictions: int
    pictures: int
    mended: int  # predictions that the second alone has right
    broken: int  # that the first alone has right
    difference: float  # of accuracy
    error: float  # its standard error, the predictions of a picture as one
    p_value: float

    @property
    def shown(self) -> str:
        """The difference in points, and its standard error."""
        return f"{markdown.signed(100 * self.difference, '.2f')} ± {100 * self.error:.2f}"


def mean(pictures: Sequence[Hashable], values: NDArray[Any]) -> Mean:
    """The mean of values, and its error as clusters of one picture's values have it.

    sqrt(C / (C - 1) sum_c (sum of c's deviations from the mean)^2) / N, of N values in C clusters
    (Cameron and Miller 2015, A Practitioner's Guide to Cluster-Robust Inference).
    """
    value = float(np.mean(values))
    sums = _sums(pictures, values.astype(float) - value)
    count = len(sums)
    spread = count / (count - 1) * float(np.square(sums).sum()) if count > 1 else float("nan")
    return Mean(value, spread**0.5 / len(values))


def paired(pictures: Sequence[Hashable], first: Right, second: Right) -> Paired:
    """Compare two models on predictions.

    The test flips the sign of each picture's difference, summed over its predictions: if neither
    model is better, either sign is as likely. Each picture counts as one, however often it was
    predicted. With one prediction a picture this is McNemar's exact test.

    Args:
        pictures: (N,) which picture each prediction is of.
        first: (N,) whether the first model has it right.
        second: (N,) whether the second has.
    """
    difference = second.astype(int) - first.astype(int)
    found = mean(pictures, difference)
    sums = _sums(pictures, difference)
    return Paired(
        len(difference),
        len(sums),
        int(np.sum(difference > 0)),
        int(np.sum(difference < 0)),
        found.value,
        found.error,
        sign_flips(sums[sums != 0]),
    )


def sign_flips(sums: NDArray[Any]) -> float:
    """The two-sided p-value of a sum, by flips of its terms' signs: all, or 99,999 at random."""
    if len(sums) < 2:
        return 1.0  # either sign of a single one is as far from 0
    tested = scipy.stats.permutation_test(
        (sums, np.zeros_like(sums)),
        lambda one, other, axis: np.sum(one - other, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=RESAMPLES,
        batch=BLOCK,
        rng=np.random.default_rng(0),
    )
    return float(tested.pvalue)


def together(judged: Sequence[Judged]) -> Paired:
    """Both models compared on the predictions of several runs."""
    pictures = [path for each in judged for path in each.paths]
    first, second = (np.concatenate([each.right[model] for each in judged]) for model in MODELS)
    return paired(pictures, first, second)


def _sums(pictures: Sequence[Hashable], values: NDArray[Any]) -> NDArray[Any]:
    found: NDArray[Any] = pd.Series(values).groupby(pd.Index(pictures)).sum().to_numpy()
    return found
