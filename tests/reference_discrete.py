"""Slow, readable twins of the discrete estimators: one symbol after the other, brute-force integrals and enumeration."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from scipy.integrate import quad
from scipy.special import gammaln, polygamma, psi


def counted(labels: Sequence[object]) -> list[int]:
    return list(Counter(labels).values())


def plug_in(counts: Sequence[int]) -> float:
    n = sum(counts)
    return -sum(c / n * math.log(c / n) for c in counts if c)


def miller_madow(counts: Sequence[int]) -> float:
    return plug_in(counts) + (sum(c > 0 for c in counts) - 1) / (2 * sum(counts))


def grassberger(counts: Sequence[int]) -> float:
    """By the recurrence G(1) = -gamma - log 2, G(2) = 2 - gamma - log 2, G(2k+1) = G(2k), G(2k+2) = G(2k) + 2 / (2k+1)."""
    seen = [c for c in counts if c]
    if len(seen) == 1:
        return 0.0
    g = {1: -np.euler_gamma - math.log(2), 2: 2 - np.euler_gamma - math.log(2)}
    for k in range(1, max(seen)):
        g[2 * k + 1] = g[2 * k]
        g[2 * k + 2] = g[2 * k] + 2 / (2 * k + 1)
    n = sum(seen)
    return math.log(n) - sum(c * g[c] for c in seen) / n


def shrinkage(counts: Sequence[int]) -> float:
    """One count per symbol of the alphabet, zeros included."""
    n, k = sum(counts), len(counts)
    above = 1 - sum((c / n) ** 2 for c in counts)
    below = (n - 1) * sum((1 / k - c / n) ** 2 for c in counts)
    return 1.0 if above >= below else above / below


def shrunk(counts: Sequence[int]) -> list[float]:
    n, k, weight = sum(counts), len(counts), shrinkage(counts)
    return [weight / k + (1 - weight) * c / n for c in counts]


def entropy(law: Sequence[float]) -> float:
    return -sum(p * math.log(p) for p in law if p > 0)


def james_stein(counts: Sequence[int]) -> float:
    return entropy(shrunk(counts))


def james_stein_information(table: np.ndarray) -> float:
    p = np.array(shrunk(table.ravel().tolist())).reshape(table.shape)
    return entropy(p.sum(axis=1)) + entropy(p.sum(axis=0)) - entropy(p.ravel())


def chao_shen(counts: Sequence[int]) -> float:
    seen = [c for c in counts if c]
    if len(seen) == 1:
        return 0.0
    n, singletons = sum(seen), seen.count(1)
    coverage = 1 - (singletons - 1 if singletons == n else singletons) / n
    law = [coverage * c / n for c in seen]
    return -sum(p * math.log(p) / (1 - (1 - p) ** n) for p in law)


def xi(beta: float, k: int) -> float:
    return float(psi(k * beta + 1) - psi(beta + 1))


def nsb_by_formula(counts: Sequence[int]) -> tuple[float, float]:
    """Posterior mean and deviation, adaptive quadrature over log beta and sums over all pairs of symbols."""
    n, k = sum(counts), len(counts)

    def log_density(t: float) -> float:
        b = math.exp(t)
        prior = k * polygamma(1, k * b + 1) - polygamma(1, b + 1)
        evidence = gammaln(k * b) - gammaln(n + k * b) + sum(gammaln(c + b) - gammaln(b) for c in counts)
        return float(math.log(prior) + evidence + t)

    def first(b: float) -> float:
        return float(psi(n + k * b + 1) - sum((c + b) / (n + k * b) * psi(c + b + 1) for c in counts))

    def second(b: float) -> float:
        total, out = n + k * b, 0.0
        for (i, ci), (j, cj) in itertools.product(enumerate(counts), repeat=2):
            u, v = ci + b, cj + b
            if i == j:
                term = (psi(u + 2) - psi(total + 2)) ** 2 + polygamma(1, u + 2) - polygamma(1, total + 2)
                out += u * (u + 1) / (total * (total + 1)) * term
            else:
                term = (psi(u + 1) - psi(total + 2)) * (psi(v + 1) - psi(total + 2)) - polygamma(1, total + 2)
                out += u * v / (total * (total + 1)) * term
        return float(out)

    grid = np.linspace(-15, 15, 301)
    peak = max(log_density(t) for t in grid)

    def integral(f: Callable[[float], float]) -> float:
        def integrand(t: float) -> float:
            return math.exp(log_density(t) - peak) * f(math.exp(t))

        return quad(integrand, -18, 18, limit=400, epsabs=0, epsrel=1e-10, points=[-6, -3, 0, 3, 6])[0]

    norm = integral(lambda b: 1.0)
    mean, square = integral(first) / norm, integral(second) / norm
    return mean, math.sqrt(square - mean**2)


def nsb_of_two(a: int, b: int, points: int = 4000) -> tuple[float, float]:
    """Two symbols, no formula of the posterior: p on a grid of (0, 1), and its prior, a mixture of Beta laws over xi.

    Both integrals are midpoint sums after substitutions that make the integrands flat at their ends.
    """
    t = np.linspace(-14, 14, 1401)
    beta = np.exp(t)
    mixture = (2 * polygamma(1, 2 * beta + 1) - polygamma(1, beta + 1)) * beta  # d xi / d t
    v, step = np.linspace(-17, 17, points + 1, retstep=True)
    u, du = (
        np.sinh(v),
        np.cosh(v) * step,
    )  # p = 1 / (1 + exp(-u)), dp = p (1 - p) du: laws at the very ends count
    log_p, log_q = -np.logaddexp(0, -u), -np.logaddexp(0, u)
    prior = np.zeros_like(u)
    for weight, s in zip(mixture, beta, strict=True):
        prior += weight * np.exp(gammaln(2 * s) - 2 * gammaln(s) + s * (log_p + log_q))
    posterior = prior * np.exp(a * log_p + b * log_q) * du
    posterior /= posterior.sum()
    h = -np.exp(log_p) * log_p - np.exp(log_q) * log_q
    mean = float(posterior @ h)
    return mean, math.sqrt(float(posterior @ (h - mean) ** 2))


def outcomes(n: int, k: int) -> Iterator[tuple[int, ...]]:
    """All ways to put n samples into k cells."""
    if k == 1:
        yield (n,)
        return
    for first in range(n + 1):
        for rest in outcomes(n - first, k - 1):
            yield (first, *rest)


def expectation(f: Callable[[tuple[int, ...]], float], law: Sequence[float], n: int) -> float:
    """Exact expectation of a function of the counts of n samples, over all multinomial outcomes."""
    total = 0.0
    for counts in outcomes(n, len(law)):
        log_p = math.lgamma(n + 1) + sum(
            c * math.log(p) - math.lgamma(c + 1) for c, p in zip(counts, law, strict=True)
        )
        total += math.exp(log_p) * f(counts)
    return total


def binned_symbols(
    x: np.ndarray, bins: int, rule: str, low: float = 0.0, high: float = 0.0
) -> list[tuple[int, ...]]:
    """The pattern of each row, one value after the other."""
    n, d = x.shape
    columns = []
    for j in range(d):
        column = x[:, j].tolist()
        if rule == "mass":
            ordered = sorted(column)
            edges = [ordered[math.ceil(k * n / bins) - 1] for k in range(1, bins)]
            columns.append([sum(edge < value for edge in edges) for value in column])
            continue
        a, b = (min(column), max(column)) if rule == "width" else (low, high)
        columns.append([min(math.floor((value - a) * bins / (b - a)), bins - 1) for value in column])
    return list(zip(*columns, strict=True))
