r"""How well a log density ratio explains samples that took no part in its fit.

.. math:: S(r) = \max_{t \ge 0} \frac{1}{m} \sum_i \left( t\, r_{ii} - \log \frac{1}{m} \sum_j e^{t\, r_{ij}} \right)
   \qquad r_{ij} = \log \frac{p(x_i, y_j)}{p(x_i)\, p(y_j)}

For ratios fitted on other samples this is the InfoNCE bound, E S <= min(I(X;Y), log m) up to the choice of the one number
t. It is largest for the true ratio, so that candidates of any kind are compared on the same samples.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from scipy.special import logsumexp

from estimators._result import Estimate
from estimators.student import EllipticalFit, elliptical_fit, length_information

__all__ = ["Evidence", "elliptical_evidence", "evidence", "supported"]

_SCALES = (0.05, 0.1, 0.2, 0.35, 0.5, 0.7, 0.85, 1.0, 1.25, 1.6)
_SHRINK = (0.1, 0.2, 0.3, 0.45, 0.6, 0.75, 0.9, 1.0)
_RANKS = (1, 2, 4, 8, 16, 32, 64, 128)
_NARROW = 8  # columns up to which none are left out
_DRAWS = 3  # data sets from the fitted law, to see what it would score
_OPTIMISM = 0.1  # nats by which a value may exceed its evidence without asking
_MISFIT = 0.15  # share of the expected evidence that may be missing


class Evidence(NamedTuple):
    """The score of one candidate, with the terms of each held-out sample."""

    terms: np.ndarray  # (m,)

    @property
    def value(self) -> float:
        """Mean of the terms, in nats."""
        return float(self.terms.mean())

    @property
    def stderr(self) -> float:
        """Scatter of the mean."""
        return float(self.terms.std(ddof=1)) / math.sqrt(len(self.terms))

    def behind(self, other: Evidence, *, paired: bool = True) -> float:
        """By how many standard errors of the difference this one is below `other`, on the same samples if `paired`."""
        together = (
            Evidence(other.terms - self.terms).stderr if paired else math.hypot(self.stderr, other.stderr)
        )
        return (other.value - self.value) / together if together > 0 else 0.0


def infonce_terms(ratios: np.ndarray) -> np.ndarray:
    """Terms of the InfoNCE bound for a matrix `(m, m)` with matched pairs on the diagonal."""
    return np.diagonal(ratios) - logsumexp(ratios, axis=1) + math.log(ratios.shape[1])


def evidence(ratios: np.ndarray) -> Evidence:
    """The score of a matrix `(m, m)` of log ratios of held-out samples, matched pairs on the diagonal."""
    return max((Evidence(infonce_terms(t * ratios)) for t in _SCALES), key=lambda e: e.value)


def elliptical_evidence(fit: EllipticalFit, x: np.ndarray, y: np.ndarray) -> Evidence:
    """The score of a fitted law. Instead of the ratio all canonical correlations may shrink by one factor, and the small
    ones, which are noise where columns are many, may be left out."""
    most = min(fit.dx, fit.dy)
    ranks = [rank for rank in _RANKS if rank < most and fit.dx + fit.dy > _NARROW]
    laws = [fit, *(fit.leading(rank) for rank in ranks)]
    if math.isinf(fit.df):  # lengths of heavy tails are no measure of a scale
        laws = [law.rescaled(x, y) for law in laws]
    return max(
        (Evidence(infonce_terms(law.log_ratios(x, y, t))) for law in laws for t in _SHRINK),
        key=lambda e: e.value,
    )


def supported(
    fit: EllipticalFit, found: Estimate, seen: Evidence, rng: np.random.Generator, *, ahead: bool
) -> bool:
    """Whether samples from the fitted law, fitted again, would score as the held-out samples did.

    A law that over-states, such as a normal one on a curved manifold, scores far less than it promises. In many
    dimensions a true law scores less than its information as well, because it is fitted; so the law itself says
    how much less. Where few samples say little, a rival that scores as much, or the flag `non-gaussian`, decides.

    Arguments:
        fit: the law, as fitted without the held-out samples.
        found: its information, corrected.
        seen: its evidence.
        rng: of the draws.
        ahead: whether no candidate that makes fewer assumptions scores as much.
    """
    if found.value - seen.value <= _OPTIMISM + 2 * seen.stderr:
        return found.value >= seen.value - _OPTIMISM - 2 * seen.stderr  # its own ratio must not prove more
    if not ahead or "non-gaussian" in found.flags:
        return False
    linear = max(found.value - length_information(fit.df, fit.dx, fit.dy), 0.0)
    r = np.sqrt(_with_information(fit.correlations**2, linear))
    expected = float(np.mean([_score_of_draw(fit, r, len(seen.terms), rng) for _ in range(_DRAWS)]))
    return seen.value >= (1 - _MISFIT) * expected - 3 * seen.stderr


def _linear(r2: np.ndarray) -> float:
    return -0.5 * float(np.sum(np.log1p(-r2)))


def _with_information(r2: np.ndarray, target: float) -> np.ndarray:
    """Squared correlations lowered by one amount of noise until they carry `target` nats."""
    low, high = 0.0, float(r2.max())
    for _ in range(60):
        noise = (low + high) / 2
        low, high = (noise, high) if _linear(_less(r2, noise)) > target else (low, noise)
    return _less(r2, high)


def _less(r2: np.ndarray, noise: float) -> np.ndarray:
    return np.clip((r2 - noise) / (1 - noise), 0.0, None)


def _score_of_draw(fit: EllipticalFit, r: np.ndarray, m: int, rng: np.random.Generator) -> float:
    n = fit.n + m
    a, b = rng.standard_normal((n, fit.dx)), rng.standard_normal((n, fit.dy))
    k = len(r)
    b[:, :k] = r * a[:, :k] + np.sqrt(1 - r**2) * b[:, :k]
    if math.isfinite(fit.df):
        length = np.sqrt(fit.df / rng.chisquare(fit.df, n))[:, None]
        a, b = a * length, b * length
    again = elliptical_fit(a[m:], b[m:], fit.df)
    return elliptical_evidence(again, a[:m], b[:m]).value
