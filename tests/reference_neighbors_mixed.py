"""Slow, readable twins of the neighbour estimators beyond KSG: whole distance matrices, one row after the other."""

from __future__ import annotations

import math

import numpy as np
from reference_neighbors import distances, standardised
from scipy.special import psi


def frenzel_pompe(x: np.ndarray, y: np.ndarray, z: np.ndarray, k: int = 3, norm: str = "max") -> float:
    to_x, to_y, to_z = (distances(standardised(v), norm) for v in (x, y, z))
    joint = np.maximum(np.maximum(to_x, to_y), to_z)
    total = 0.0
    for i in range(len(x)):
        radius = np.sort(joint[i])[k - 1]
        total += psi(np.sum(to_z[i] < radius) + 1)
        total -= psi(np.sum(np.maximum(to_x, to_z)[i] < radius) + 1)
        total -= psi(np.sum(np.maximum(to_y, to_z)[i] < radius) + 1)
    return float(psi(k) + total / len(x))


def total_correlation(variables: list[np.ndarray], k: int = 3, norm: str = "max") -> float:
    to = [distances(standardised(v), norm) for v in variables]
    joint = np.max(to, axis=0)
    n, m = len(joint), len(to)
    total = psi(k) + (m - 1) * psi(n)
    for i in range(n):
        radius = np.sort(joint[i])[k - 1]
        total -= sum(psi(np.sum(t[i] < radius) + 1) for t in to) / n
    return float(total)


def ross(x: np.ndarray, y: np.ndarray, k: int = 3, norm: str = "max") -> float:
    kept = [i for i in range(len(y)) if np.sum(y == y[i]) > 1]
    x, y = x[kept], y[kept]
    to_x = distances(standardised(x), norm)
    n = len(y)
    total = 0.0
    for i in range(n):
        own = np.sort(to_x[i, y == y[i]])[:-1]  # the last is the sample itself, at infinity
        used = min(k, own.size)
        total += psi(used) - psi(own.size + 1) - psi(np.sum(to_x[i] < own[used - 1]) + 1)
    return float(psi(n) + total / n)


def gao(x: np.ndarray, y: np.ndarray, k: int = 3, norm: str = "max") -> float:
    to_x, to_y = (distances(standardised(v), norm) for v in (x, y))
    joint = np.maximum(to_x, to_y)
    n = len(x)
    total = 0.0
    for i in range(n):
        radius = np.sort(joint[i])[k - 1]
        closed = joint[i] < radius * (1 + 1e-6) + 1e-300
        if radius == 0 or np.sum(closed & (joint[i] > radius * (1 - 1e-6))) > 1:
            ball, neighbours = radius * (1 + 1e-6) + 1e-300, closed.sum() + 1
        else:
            ball, neighbours = radius * (1 - 1e-6), k
        total += psi(neighbours) - psi(np.sum(to_x[i] < ball) + 1) - psi(np.sum(to_y[i] < ball) + 1)
    return float(psi(n) + total / n)


def knn_divergence(x: np.ndarray, y: np.ndarray, k: int = 3, norm: str = "max") -> float:
    y = (y - x.mean(axis=0)) / x.std(axis=0)
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    (n, d), m = x.shape, len(y)
    total = 0.0
    for i in range(n):
        size = [
            np.max(np.abs(z - x[i]), axis=1) if norm == "max" else np.sqrt(np.sum((z - x[i]) ** 2, axis=1))
            for z in (np.delete(x, i, axis=0), y)
        ]
        total += math.log(np.sort(size[1])[k - 1] / np.sort(size[0])[k - 1])
    return float(d * total / n + psi(m + 1) - psi(n))


def local_non_uniformity(x: np.ndarray, y: np.ndarray, k: int, alpha: float) -> float:
    def corrected(z: np.ndarray) -> float:
        n, d = z.shape
        if d == 1:
            return 0.0
        joint = distances(z)
        total = psi(k) - (d - 1) / k + (d - 1) * psi(n)
        for i in range(n):
            gaps = z[np.argsort(joint[i])[:k]] - z[i]
            box = np.abs(gaps).max(axis=0)
            for j in range(d):
                total -= psi(np.sum(np.abs(z[:, j] - z[i, j]) <= box[j]) - 1) / n
            axes = np.linalg.eigh(gaps.T @ gaps)[1]
            ratio = np.prod(np.abs(gaps @ axes).max(axis=0)) / np.prod(box)
            if ratio < alpha:
                total -= math.log(ratio) / n
        return float(total)

    x, y = standardised(x), standardised(y)
    return corrected(np.hstack([x, y])) - corrected(x) - corrected(y)


def geometric(x: np.ndarray, y: np.ndarray | None = None, k: int = 20) -> float:
    def entropy(z: np.ndarray) -> float:
        n, d = z.shape
        to = distances(z, "euclidean")
        total = math.log(n) + d / 2 * math.log(math.pi) - math.lgamma(1 + d / 2)
        for i in range(n):
            near = z[np.argsort(to[i])[:k]]
            hood = np.vstack([z[i], near])
            spread, axes = np.linalg.eigh(np.cov(hood.T).reshape(d, d))
            ratio = np.sqrt(spread / spread[-1])
            radius = np.sort(to[i])[k - 1]
            along = (near - z[i]) @ axes / (radius * ratio)
            inside = max(1, int(np.sum(np.sum(along**2, axis=1) <= 1 + 1e-9)))
            total += (d * math.log(radius) + np.sum(np.log(ratio)) - math.log(inside)) / n
        return float(total)

    if y is None:
        return entropy(standardised(x)) + float(np.sum(np.log(x.std(axis=0))))
    x, y = standardised(x), standardised(y)
    return entropy(x) + entropy(y) - entropy(np.hstack([x, y]))
