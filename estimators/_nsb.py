r"""The posterior of an entropy under the Nemenman-Shafee-Bialek prior, by a quadrature that follows its peak.

A symmetric Dirichlet prior of concentration \(\beta\) all but fixes the entropy of K symbols beforehand, near
\(\xi(\beta) = \psi(K \beta + 1) - \psi(\beta + 1)\). The mixture with \(p(\beta) \propto d\xi / d\beta\) is nearly flat
in the entropy. With counts \(n_i\) of sum n, and integrals over \(t = \log \beta\),

.. math:: p(\beta | n) \propto \frac{d\xi}{d\beta} \frac{\Gamma(K \beta)}{\Gamma(n + K \beta)}
   \prod_i \frac{\Gamma(n_i + \beta)}{\Gamma(\beta)}
"""

from __future__ import annotations

import math

import numpy as np
from scipy.special import gammaln, logsumexp, polygamma, psi

__all__ = ["posterior"]

_DEPTH = 40.0  # the integrand is cut where its logarithm lies this far below the peak: a share of exp(-40)
_REACH = 60.0  # log-concentrations searched, to each side; the tails fall at least as exp(-|t|)
_GRID = 200  # points of each look at the integrand
_LOOKS = 6  # each look zooms in on what lies above the cut
_PANELS, _NODES = 20, 16  # composite Gauss-Legendre
_STIRLING = 100.0  # from here three terms of Stirling's series are exact to rounding
_FLAT = 1e4  # from here the two trigammas of the prior agree to so many digits that their series is better


def posterior(counts: np.ndarray, symbols: float) -> tuple[float, float, float]:
    """Posterior mean and standard deviation of the entropy, in nats, and the mean log-concentration.

    Arguments:
        counts: positive counts `(m,)`.
        symbols: size of the alphabet, at least m and 2.
    """
    sizes, times = np.unique(counts, return_counts=True)
    n, symbols = int(counts.sum()), float(symbols)  # an alphabet such as 30^50 overflows integers
    t, weight = _quadrature(sizes, times, n, symbols)
    mean, second = _moments(np.exp(t), sizes, times, n, symbols)
    value = float(weight @ mean)
    # Centred first: the variance may be ten digits below the square of the mean.
    variance = float(weight @ (second + (mean - value) ** 2))
    return value, math.sqrt(max(variance, 0.0)), float(weight @ t)


def _quadrature(
    sizes: np.ndarray, times: np.ndarray, n: int, symbols: float
) -> tuple[np.ndarray, np.ndarray]:
    """Nodes in log-concentration and their normalised posterior weights."""
    low, high = -_REACH - math.log(symbols), _REACH
    for _ in range(_LOOKS):
        t = np.linspace(low, high, _GRID)
        density = _log_density(t, sizes, times, n, symbols)
        seen = np.flatnonzero(density >= density.max() - _DEPTH)
        low, high = t[max(seen[0] - 1, 0)], t[min(seen[-1] + 1, _GRID - 1)]
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    edges = np.linspace(low, high, _PANELS + 1)
    half = (edges[1] - edges[0]) / 2
    t = ((edges[:-1] + half)[:, None] + half * nodes).ravel()
    log_weight = _log_density(t, sizes, times, n, symbols) + np.tile(np.log(weights), _PANELS)
    return t, np.exp(log_weight - logsumexp(log_weight))


def _log_density(t: np.ndarray, sizes: np.ndarray, times: np.ndarray, n: int, symbols: float) -> np.ndarray:
    """Log posterior density of t = log(beta), up to a constant."""
    beta = np.exp(t)
    evidence = -_log_rising(symbols * beta, n)
    for size, many in zip(sizes, times, strict=True):
        evidence += many * _log_rising(beta, int(size))
    return evidence + np.log(_prior(beta, symbols)) + t


def _log_rising(a: np.ndarray, n: int) -> np.ndarray:
    """log Gamma(a + n) - log Gamma(a), without the cancellation of two huge terms at large a."""
    small = np.minimum(a, _STIRLING)
    direct = gammaln(small + n) - gammaln(small)
    large = np.maximum(a, _STIRLING)

    def tail(z: np.ndarray) -> np.ndarray:
        r = 1 / z
        return r * (1 / 12 - r**2 * (1 / 360 - r**2 / 1260))

    series = n * np.log(large) + (large + n - 0.5) * np.log1p(n / large) - n + tail(large + n) - tail(large)
    return np.where(a < _STIRLING, direct, series)


def _prior(beta: np.ndarray, symbols: float) -> np.ndarray:
    """d xi / d beta = K psi'(K beta + 1) - psi'(beta + 1)."""
    k = symbols
    small = np.minimum(beta, _FLAT)
    direct = k * polygamma(1, k * small + 1) - polygamma(1, small + 1)
    large = np.maximum(beta, _FLAT)
    series = (1 - 1 / k) / (2 * large**2) - (1 - (1 / k) ** 2) / (6 * large**3)
    return np.where(beta < _FLAT, direct, series)


def _moments(
    beta: np.ndarray, sizes: np.ndarray, times: np.ndarray, n: int, symbols: float
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of the entropy at each concentration (Wolpert & Wolf, 1995)."""
    sizes, times = np.append(sizes, 0), np.append(times.astype(float), symbols - float(times.sum()))
    total = n + symbols * beta
    mean = psi(total + 1)
    for size, many in zip(sizes, times, strict=True):
        mean = mean - many * (size + beta) / total * psi(size + beta + 1)
    # The second moment is summed about the mean: about zero it would be a difference of numbers ten digits larger.
    # With b_i = psi(a_i + 1) - psi(A + 2) + mean, sum_i a_i b_i = -A / (A + 1) exactly.
    shift, own = mean - psi(total + 2), np.zeros_like(beta)
    for size, many in zip(sizes, times, strict=True):
        a = size + beta
        b = psi(a + 1) + shift
        own += many * a * ((a + 1) * ((b + 1 / (a + 1)) ** 2 + polygamma(1, a + 2)) - a * b**2)
    r = 1 / (total + 1)
    variance = total * r**3 + own / total * r - polygamma(1, total + 2)
    return mean, np.maximum(variance, 0.0)
