"""Laws with a known information, for the tests of the neighbour estimators: `sample(seed)` and its truth."""

from __future__ import annotations

import math

import numpy as np
from scipy.integrate import quad
from scipy.stats import multivariate_normal, norm, poisson

from estimators import gaussian

RELU_RHO = 0.8


def covariance(d: int, seed: int) -> np.ndarray:
    """A correlation matrix without small eigenvalues."""
    a = np.random.default_rng(seed).standard_normal((d, d + 2))
    c = a @ a.T + np.eye(d)
    return c / np.sqrt(np.outer(np.diag(c), np.diag(c)))


def normal(cov: np.ndarray, n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, len(cov))) @ np.linalg.cholesky(cov).T


def gaussian_cmi(cov: np.ndarray, dx: int, dy: int) -> float:
    """I(X;Y|Z) for columns X, Y, Z."""
    x, y, z = np.split(np.arange(len(cov)), [dx, dx + dy])
    h = [gaussian.entropy(cov[np.ix_(i, i)]) for i in (np.r_[x, z], np.r_[y, z], z, np.r_[x, y, z])]
    return float(h[0] + h[1] - h[2] - h[3])


def gaussian_kl(mean: np.ndarray, cov_p: np.ndarray, cov_q: np.ndarray) -> float:
    """KL(N(0, cov_p) || N(mean, cov_q))."""
    q = np.linalg.inv(cov_q)
    log_ratio = np.linalg.slogdet(cov_q)[1] - np.linalg.slogdet(cov_p)[1]
    return float(0.5 * (np.trace(q @ cov_p) + mean @ q @ mean - len(mean) + log_ratio))


def gaussian_tc(cov: np.ndarray) -> float:
    return float(0.5 * (np.sum(np.log(np.diag(cov))) - np.linalg.slogdet(cov)[1]))


MEANS, SCALES, PRIORS = np.array([0.0, 2.0, 2.5]), np.array([1.0, 0.5, 3.0]), np.array([0.5, 0.3, 0.2])


def labelled(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Three classes, a normal law each."""
    rng = np.random.default_rng(seed)
    y = rng.choice(3, size=n, p=PRIORS)
    return MEANS[y] + SCALES[y] * rng.standard_normal(n), y


def labelled_truth() -> float:
    def density(x: float) -> np.ndarray:
        return PRIORS * norm.pdf(x, MEANS, SCALES)

    def surprise(x: float) -> float:
        p = density(x)
        return float(np.sum(p * (norm.logpdf(x, MEANS, SCALES) - math.log(p.sum()))))

    return quad(surprise, -20, 25, points=[0, 1, 2, 3, 5], limit=200)[0]


def zero_inflated(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """X exponential; Y is 0 with probability 0.15 and Poisson(X) otherwise (Gao et al., 2017, experiment IV)."""
    rng = np.random.default_rng(seed)
    x = rng.exponential(size=n)
    return x, np.where(rng.random(n) < 0.15, 0, rng.poisson(x)).astype(float)


def zero_inflated_truth() -> float:
    """H(Y) - H(Y|X); the Poisson law mixed over exponential rates is geometric."""
    counts = np.arange(150)

    def entropy(p: np.ndarray) -> float:
        p = 0.85 * p
        p[0] += 0.15
        p = p[p > 0]
        return float(-np.sum(p * np.log(p)))

    given_x = quad(lambda x: entropy(poisson.pmf(counts, x)) * math.exp(-x), 0, 60, limit=200)[0]
    return entropy(0.5 ** (counts + 1.0)) - given_x


def uniform_step(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """X uniform on 0, ..., 4; Y uniform on [X, X + 2] (Gao et al., 2017, experiment II)."""
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 5, n)
    return x.astype(float), x + 2 * rng.random(n)


def uniform_step_truth() -> float:
    return math.log(5) - 0.8 * math.log(2)


def rectified(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Both halves of a correlated normal pair behind a rectifier: atoms, half-lines and a density in one law."""
    x, noise = np.random.default_rng(seed).standard_normal((2, n))
    return np.maximum(x, 0), np.maximum(RELU_RHO * x + math.sqrt(1 - RELU_RHO**2) * noise, 0)


def rectified_truth() -> float:
    rho, sd = RELU_RHO, math.sqrt(1 - RELU_RHO**2)
    off = multivariate_normal([0, 0], [[1, rho], [rho, 1]]).cdf([0, 0])

    def line(x: float) -> float:  # Y = 0
        log_p = norm.logcdf(-rho * x / sd)
        return norm.pdf(x) * math.exp(log_p) * (log_p - math.log(0.5))

    def plane(x: float) -> float:
        def inner(y: float) -> float:
            log_p = norm.logpdf(y, rho * x, sd)
            return math.exp(log_p) * (log_p - norm.logpdf(y))

        return norm.pdf(x) * quad(inner, 0, 12, points=[max(rho * x, 0.01)])[0]

    return off * math.log(4 * off) + 2 * quad(line, 0, 12)[0] + quad(plane, 0, 10)[0]


def counts(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Two Poisson counts with a common part."""
    common, x, y = np.random.default_rng(seed).poisson([[2.0], [1.0], [1.0]], (3, n))
    return (common + x).astype(float), (common + y).astype(float)


def counts_truth() -> float:
    own = poisson.pmf(np.arange(60), 1)
    joint = np.zeros((60, 60))
    for shared in range(60):
        shifted = np.concatenate([np.zeros(shared), own[: 60 - shared]])
        joint += poisson.pmf(shared, 2) * np.outer(shifted, shifted)
    apart = np.outer(joint.sum(axis=1), joint.sum(axis=0))
    seen = joint > 1e-200
    return float(np.sum(joint[seen] * np.log(joint[seen] / apart[seen])))
