"""Slow, readable twins of the bounds: explicit projectors, pseudo-inverses, grids, binomial sums."""

from __future__ import annotations

import math

import numpy as np


def kl_inverse_by_grid(q: float, c: float, points: int = 1_000_001) -> float:
    """The largest p >= q on a grid with kl(q||p) <= c."""
    p = np.linspace(q, 1.0, points)[:-1]
    kl = np.zeros_like(p)
    if q > 0:
        kl += q * np.log(q / p)
    if q < 1:
        kl += (1 - q) * np.log((1 - q) / (1 - p))
    return float(p[kl <= c][-1])


def binomial_cdf(k: int, n: int, p: float) -> float:
    """P(Bin(n, p) <= k), summed."""
    return math.fsum(math.comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(k + 1))


def projector(z: np.ndarray) -> np.ndarray:
    """P = I - Z^T (Z Z^T)^+ Z for features in columns Z = z^T: n x n."""
    return np.eye(len(z)) - z @ np.linalg.pinv(z.T @ z, hermitian=True, rcond=1e-10) @ z.T


def vicreg_rhs(
    z: np.ndarray,
    y: np.ndarray,
    pool: np.ndarray,
    pool_y: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
) -> float:
    """The c-version of the bound without its concentration terms, as the formula is written."""
    n, m = len(z), len(pool)
    w_s, w_star = np.linalg.pinv(z) @ y, np.linalg.pinv(pool) @ pool_y
    c = math.sqrt(np.linalg.eigvalsh((w_s - w_star).T @ (w_s - w_star))[-1])
    invariance = sum(float(np.linalg.norm(a - b)) for a, b in zip(first, second, strict=True)) / len(first)
    return (
        c * invariance
        + 2 / math.sqrt(m) * float(np.linalg.norm(projector(pool) @ pool_y))
        + 1 / math.sqrt(n) * float(np.linalg.norm(projector(z) @ y))
    )
