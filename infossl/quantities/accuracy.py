"""Accuracy of read-outs: a linear probe and a k-nearest-neighbour vote on frozen outputs."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from estimators import Estimate
from infossl.activations import Activations
from infossl.readouts import knn_accuracy, ridge_accuracy

__all__ = ["KNNAccuracy", "LinearAccuracy"]

Readout = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], float]


@dataclass(frozen=True)
class LinearAccuracy:
    """Share of samples that a closed-form ridge classifier gets right on samples it was not fitted on.

    Fitted on the probe set's fitting samples where it has them, by 5-fold cross-fitting otherwise. Null: the
    share of the commonest class. Standard error: binomial.
    """

    quantity = "accuracy(linear)"
    needs = ("labels",)
    channel = ""
    view = "clean"

    def __call__(self, activations: Activations) -> Estimate:
        return _accuracy("accuracy(linear)", repr(self), ridge_accuracy, activations)


@dataclass(frozen=True)
class KNNAccuracy:
    """Share of samples that a cosine-weighted vote of the k nearest fitting samples gets right.

    Arguments:
        k: neighbours.
        temperature: weight of a neighbour at cosine c is exp(c / temperature).

    References:
        Wu, Xiong, Yu & Lin, 2018, *Unsupervised feature learning via non-parametric instance discrimination*,
        arXiv 1805.01978.
    """

    k: int = 20
    temperature: float = 0.07

    quantity = "accuracy(kNN)"
    needs = ("labels",)
    channel = ""
    view = "clean"

    def __call__(self, activations: Activations) -> Estimate:
        def readout(z: np.ndarray, y: np.ndarray, test_z: np.ndarray, test_y: np.ndarray) -> float:
            return knn_accuracy(z, y, test_z, test_y, k=min(self.k, len(z)), temperature=self.temperature)

        return _accuracy("accuracy(kNN)", repr(self), readout, activations)


def _accuracy(quantity: str, method: str, readout: Readout, activations: Activations) -> Estimate:
    z, y, n = activations.z, activations.labels(), activations.n
    if activations.fit_z is not None and activations.fit_y is not None:
        value = readout(activations.fit_z, activations.fit_y, z, y)
    else:
        fold = np.random.default_rng(activations.seed).permutation(n) % 5
        parts = [(fold != j, fold == j) for j in range(5)]
        value = sum(readout(z[fit], y[fit], z[test], y[test]) * test.sum() for fit, test in parts) / n
    chance = float(np.unique(y, return_counts=True)[1].max() / n)
    return Estimate(
        value=float(value),
        quantity=quantity,
        unit="1",
        n=n,
        method=method,
        stderr=math.sqrt(max(value * (1 - value), 0.0) / n),
        ceiling=1.0,
        diagnostics={"null_mean": chance},
    )
