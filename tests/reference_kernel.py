"""Slow, readable twins of the kernel measures: loops over pairs and 4-tuples, straight from the definitions."""

from __future__ import annotations

import itertools
import math
import statistics

import numpy as np
from scipy.linalg import fractional_matrix_power, logm


def gaussian_gram(x: np.ndarray, width: float) -> np.ndarray:
    n = len(x)
    return np.array(
        [[math.exp(-(math.dist(x[i], x[j]) ** 2) / (2 * width**2)) for j in range(n)] for i in range(n)]
    )


def median_distance(x: np.ndarray) -> float:
    return statistics.median(math.dist(a, b) for a, b in itertools.combinations(x, 2))


def renyi(gram: np.ndarray, alpha: float) -> float:
    """log tr A^alpha / (1 - alpha) with a matrix power, or -tr A log A with a matrix logarithm."""
    a = gram / np.trace(gram)
    if alpha == 1:
        return -float(np.trace(a @ logm(a)).real)
    return math.log(np.trace(fractional_matrix_power(a, alpha)).real) / (1 - alpha)


def frequency_renyi(labels: np.ndarray, alpha: float) -> float:
    """Renyi entropy of the frequencies of the labels."""
    p = np.unique(labels, return_counts=True)[1] / len(labels)
    return -float(np.sum(p * np.log(p))) if alpha == 1 else math.log(np.sum(p**alpha)) / (1 - alpha)


def diffusion_entropy(gram: np.ndarray, time: float) -> float:
    """Entropy of the spectrum of the random walk D^-1 G itself, which is not symmetric."""
    walk = np.array([row / sum(row) for row in gram])
    size = np.abs(np.linalg.eigvals(walk)) ** time
    p = size / size.sum()
    return -sum(v * math.log(v) for v in p if v > 0)


def hsic_unbiased(k: np.ndarray, l: np.ndarray) -> float:
    """The U-statistic: mean over ordered 4-tuples of distinct rows of k_ij (l_ij + l_qr - 2 l_iq)."""
    tuples = list(itertools.permutations(range(len(k)), 4))
    return sum(k[i, j] * (l[i, j] + l[q, r] - 2 * l[i, q]) for i, j, q, r in tuples) / len(tuples)


def hsic_biased(k: np.ndarray, l: np.ndarray) -> float:
    n = len(k)
    h = np.eye(n) - np.ones((n, n)) / n
    return float(np.trace(k @ h @ l @ h)) / (n - 1) ** 2


def linear_cka(x: np.ndarray, y: np.ndarray) -> float:
    """Kornblith et al. (2019), equation 3, on centred columns."""
    x, y = x - x.mean(0), y - y.mean(0)
    return np.linalg.norm(y.T @ x) ** 2 / (np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y))
