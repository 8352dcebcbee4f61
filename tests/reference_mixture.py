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
