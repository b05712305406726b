"""Linear classifiers on frozen features, by scikit-learn: the weights of a layer of logits."""

import warnings
from dataclasses import dataclass

import numpy as np
import scipy.optimize
from numpy.typing import NDArray
from scipy.special import log_softmax
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC
from threadpoolctl import threadpool_limits

from thaw.core.errors import ThawError
from thaw.core.progress import track

Array = NDArray[np.float32]
GRID = tuple(10.0**power for power in range(-7, 2))  # of C, from strong regularisation to weak
WORSE = 1.1  # times the least loss so far; after two such in a row larger C are left out
ITERATIONS = 1000
LARGEST = 2**26  # numbers in the training features: 256 MB; the SVM takes 6 times as much


@dataclass(frozen=True)
class Rows:
    """Pictures, or views of them, a row each."""

    features: Array  # (N, D), standardised
    labels: NDArray[np.int64]  # (N,) class numbers, each class among them
    weights: Array  # (N,) how much each counts


@dataclass(frozen=True)
class Fitted:
    """What a dense layer of logits holds, and how it was chosen."""

    kernel: Array  # (D, 1) with two classes, for the second one's logit; else (D, classes)
    bias: Array  # (1,) or (classes,)
    c: float
    losses: dict[float, float]  # validation cross-entropy by C, of those that were tried


def check_size(rows: int, width: int, kind: str) -> None:
    """Refuse training features that would not fit in memory.

    Raises:
        ThawError: when they are more than 2^26 numbers.
    """
    if rows * width > LARGEST:
        raise ThawError(
            f"params.yaml: head.classifier: {kind}: {rows:,} views of {width:,} features each are "
            f"more than the {LARGEST:,} numbers that it may hold in memory; set fewer "
            "augment.views, cache.bottleneck: pooled with head.pooling: average, or "
            "head.classifier: dense"
        )


def fit(kind: str, train: Rows, validation: Rows) -> Fitted:
    """Fit a linear classifier, its regularisation chosen by the validation cross-entropy.

    It minimises |w|^2 / 2 + C sum_i weight_i loss_i: for "logistic" the cross-entropy (of a softmax
    where there are more than two classes); for "svm" max(0, 1 - y_i m_i)^2 of the margin m = w x +
    b, each class against the rest, whose margins `calibrate` then makes logits. C goes up from
    10^-7 by powers of ten to 10, or until two in a row are worse than the best by a tenth: large
    ones take long.

    The result is the same for any number of cores and threads.

    Args:
        kind: svm or logistic.
        train: to fit.
        validation: to choose C and to calibrate by.
    """
    best: Fitted | None = None
    losses: dict[float, float] = {}
    with threadpool_limits(1):  # sums in another order would give other bytes
        for c in track(GRID, kind, unit="values of C"):
            kernel, bias = _fit(kind, train, c)
            if kind == "svm":
                margins = validation.features @ kernel + bias
                scale, shift = calibrate(margins, validation.labels, validation.weights)
                kernel, bias = kernel * scale, bias * scale + shift
            fitted = Fitted(kernel.astype(np.float32), bias.astype(np.float32), c, losses)
            losses[c] = score(fitted, validation)[0]
            if best is None or losses[c] < losses[best.c]:
                best = fitted
            if min(list(losses.values())[-2:]) > WORSE * losses[best.c]:
                break
    assert best is not None
    return best


def _fit(kind: str, rows: Rows, c: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if kind == "svm":
        model = LinearSVC(C=c, dual=False, max_iter=ITERATIONS)
    else:
        model = LogisticRegression(C=c, max_iter=ITERATIONS)
    with warnings.catch_warnings():
        # With classes that can be told apart, a large C needs more; validation judges the result.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(rows.features, rows.labels, sample_weight=rows.weights)
    return model.coef_.T.astype(np.float64), model.intercept_.astype(np.float64)


def calibrate(
    margins: NDArray[np.floating], labels: NDArray[np.int64], weights: Array
) -> tuple[float, NDArray[np.float64]]:
    """The scale a >= 0 and the shifts b that make of margins m the logits a m + b.

    They minimise the cross-entropy of sigmoid(a m + b) with two classes (Platt 1999, Probabilistic
    outputs for support vector machines), else of softmax(a m + b), b one a class: a temperature
    with biases. The targets are Platt's, (n + 1) / (n + 2) for a class of n pictures and the rest
    shared by the others, so that margins which tell all classes apart get a finite scale.

    Args:
        margins: (N, 1) of the second of two classes, or (N, classes).
        labels: (N,) class numbers.
        weights: (N,) how much each counts.
    """
    width = margins.shape[1]
    classes = max(width, 2)
    counts = np.bincount(labels, weights, classes)
    sure = ((counts + 1) / (counts + 2))[labels, None]
    targets = np.where(np.eye(classes, dtype=bool)[labels], sure, (1 - sure) / (classes - 1))
    weights = weights[:, None] / weights.sum()
    unit = margins.std() or 1.0
    scaled = margins.astype(np.float64) / unit

    def loss(given: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        logs = log_softmax(_columns(given[0] * scaled + given[1:]), axis=1)
        slope = (weights * (np.exp(logs) - targets))[:, -width:]
        return -np.sum(weights * targets * logs), np.append(np.sum(slope * scaled), slope.sum(0))

    bounds = [(0, None)] + [(None, None)] * width
    start = np.append(1.0, np.zeros(width))
    found = scipy.optimize.minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds).x
    return float(found[0] / unit), found[1:]


def score(fitted: Fitted, rows: Rows) -> tuple[float, float]:
    """Cross-entropy, weighted, and accuracy, not weighted."""
    with threadpool_limits(1):
        logits = (rows.features @ fitted.kernel + fitted.bias).astype(np.float64)
    columns = _columns(logits)
    logs = log_softmax(columns, axis=1)[np.arange(len(columns)), rows.labels]
    right = columns.argmax(axis=1) == rows.labels
    return float(-np.sum(rows.weights * logs) / rows.weights.sum()), float(right.mean())


def _columns(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """A column a class: where there is one logit, the first class has 0."""
    if logits.shape[1] > 1:
        return logits
    return np.concatenate([np.zeros_like(logits), logits], axis=1)
