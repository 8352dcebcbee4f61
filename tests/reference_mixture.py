"""Slow, readable twins of the mixture bounds: two Python loops over single pairs, straight from the formulas."""

from __future__ import annotations

import math

import numpy as np
from scipy.stats import multivariate_normal


def pairwise_entropy(means: np.ndarray, variance: float, divergence: str) -> float:
    """Kolchinsky & Tracey (2017): H(p_i) - mean_i log mean_j exp(-D(p_i || p_j)), equal covariances `variance` I."""
    n, d = means.shape
    total = 0.0
    for i in range(n):
        row = 0.0
        for j in range(n):
            squared = sum((means[i, k] - means[j, k]) ** 2 for k in range(d))
            row += math.exp(-squared / ((2 if divergence == "kl" else 8) * variance))
        total -= math.log(row / n)
    return total / n + d / 2 * math.log(2 * math.pi * math.e * variance)


def gaussian_information(h: np.ndarray, sigma: float) -> float:
    """1/2 log|I + C / sigma^2| with the covariance of the n rows."""
    covariance = np.atleast_2d(np.cov(h.T, bias=True))
    return 0.5 * np.linalg.slogdet(np.eye(h.shape[1]) + covariance / sigma**2)[1]


def monte_carlo_information(h: np.ndarray, sigma: float, draws: int, seed: int) -> tuple[float, float]:
    """I(X;T) of the n-point mixture and its standard error: log p(t|i) - log mean_j p(t|j) over sampled (i, t)."""
    rng = np.random.default_rng(seed)
    n, d = h.shape
    noise = multivariate_normal(np.zeros(d), sigma**2)
    values = []
    for _ in range(draws):
        i = rng.integers(n)
        t = h[i] + sigma * rng.standard_normal(d)
        logs = np.atleast_1d(noise.logpdf(t - h))
        values.append(logs[i] - np.logaddexp.reduce(logs) + math.log(n))
    return float(np.mean(values)), float(np.std(values) / math.sqrt(draws))


def kl_gaussians(mi: np.ndarray, si: np.ndarray, mj: np.ndarray, sj: np.ndarray) -> float:
    """KL(N(mi, si) || N(mj, sj)) with explicit inverses."""
    delta, inverse = mi - mj, np.linalg.inv(sj)
    logs = np.linalg.slogdet(sj)[1] - np.linalg.slogdet(si)[1]
    return 0.5 * float(delta @ inverse @ delta + np.trace(inverse @ si) - len(mi) + logs)


def chernoff_gaussians(mi: np.ndarray, si: np.ndarray, mj: np.ndarray, sj: np.ndarray, alpha: float) -> float:
    """-log of the integral of N(mi, si)^alpha N(mj, sj)^(1 - alpha)."""
    delta, mixed = mi - mj, (1 - alpha) * si + alpha * sj
    logs = np.linalg.slogdet(mixed)[1]
    logs -= (1 - alpha) * np.linalg.slogdet(si)[1] + alpha * np.linalg.slogdet(sj)[1]
    return float(alpha * (1 - alpha) / 2 * delta @ np.linalg.inv(mixed) @ delta + logs / 2)


def pairwise_bounds(means: np.ndarray, covariances: np.ndarray, alpha: float) -> tuple[float, float]:
    """Kolchinsky & Tracey (2017) entropy bounds of components N(means[i], covariances[i]), pair by pair."""
    n = len(means)
    own = np.mean([multivariate_normal(m, c).entropy() for m, c in zip(means, covariances, strict=True)])
    low = high = own
    for i in range(n):
        rows = [(means[i], covariances[i], means[j], covariances[j]) for j in range(n)]
        low -= math.log(sum(math.exp(-chernoff_gaussians(*row, alpha)) for row in rows) / n) / n
        high -= math.log(sum(math.exp(-kl_gaussians(*row)) for row in rows) / n) / n
    return float(low), float(high)


def leave_one_out(logs: np.ndarray) -> tuple[float, float]:
    """Lower (InfoNCE) and upper (leave-one-out) bound from log p(z_i | x_j), entry by entry."""
    k, low, high = len(logs), 0.0, 0.0
    for i in range(k):
        p = np.exp(logs[i])
        low += math.log(p[i] / (sum(p[j] for j in range(k)) / k))
        high += math.log(p[i] / (sum(p[j] for j in range(k) if j != i) / (k - 1)))
    return low / k, high / k


def kernel_log_density(x: np.ndarray, h: np.ndarray, i: int, leave_one_out: bool) -> float:
    """Log of the mean kernel with standard deviations `h` between row i and the (other) rows."""
    others = [j for j in range(len(x)) if j != i or not leave_one_out]
    p = [np.prod(np.exp(-((x[i] - x[j]) ** 2) / (2 * h**2)) / np.sqrt(2 * np.pi) / h) for j in others]
    return float(np.log(np.mean(p)))
