"""Slow, readable twins of the neighbour estimators: the whole distance matrix, one row after the other."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import gammaln, psi


def distances(x: np.ndarray, norm: str = "max") -> np.ndarray:
    """All pairwise distances `(n, n)`; infinite on the diagonal, so that no point is its own neighbour."""
    gap = np.abs(x[:, None, :] - x[None, :, :])
    out = gap.max(axis=2) if norm == "max" else np.sqrt(np.sum(gap**2, axis=2))
    np.fill_diagonal(out, np.inf)
    return out


def joint_distances(x: np.ndarray, split: int, norm: str = "max") -> np.ndarray:
    """The larger of the distances over the first `split` columns and over the others."""
    if split == x.shape[1]:
        return distances(x, norm)
    return np.maximum(distances(x[:, :split], norm), distances(x[:, split:], norm))


def standardised(x: np.ndarray) -> np.ndarray:
    return (x - x.mean(axis=0)) / x.std(axis=0)


def kozachenko_leonenko(x: np.ndarray, k: int = 3, norm: str = "max") -> float:
    n, d = x.shape
    z = standardised(x)
    radius = np.sort(distances(z, norm), axis=1)[:, k - 1]
    log_ball = d * math.log(2) if norm == "max" else d / 2 * math.log(math.pi) - gammaln(d / 2 + 1)
    h = psi(n) - psi(k) + log_ball + d * np.mean(np.log(radius))
    return float(h + np.sum(np.log(x.std(axis=0))))


def ksg(x: np.ndarray, y: np.ndarray, k: int = 3, algorithm: int = 1, norm: str = "max") -> float:
    n = len(x)
    to_x, to_y = distances(standardised(x), norm), distances(standardised(y), norm)
    joint = np.maximum(to_x, to_y)
    total = 0.0
    for i in range(n):
        neighbours = np.argsort(joint[i])[:k]
        if algorithm == 1:
            radius = joint[i, neighbours[-1]]
            total += psi(np.sum(to_x[i] < radius) + 1) + psi(np.sum(to_y[i] < radius) + 1)
        else:
            total += psi(np.sum(to_x[i] <= to_x[i, neighbours].max()))
            total += psi(np.sum(to_y[i] <= to_y[i, neighbours].max()))
    return float(psi(k) + psi(n) - total / n - (1 / k if algorithm == 2 else 0))
