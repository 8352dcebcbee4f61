"""Mixtures of bivariate Gaussians: dependence of any shape, with the truth by quadrature."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from estimators.distributions import _tools as t

__all__ = ["GaussianMixture"]

_REACH = 10.0  # standard deviations covered on every side: 1e-23 is left out
_TOL = 1e-9  # change between two grids at which the quadrature has converged
_FINEST = 4096  # points per axis of the last grid tried


@dataclass(frozen=True)
class GaussianMixture:
    r"""A mixture of Gaussians in (X, Y), one dimension each: crosses, waves, two modes.

    .. math:: I(X;Y) = h(X) + h(Y) - h(X,Y)

    with all three by the trapezoidal rule, whose step is halved until the value moves by less than 1e-9.

    Arguments:
        means: centres `((mx, my), ...)`, one per component.
        scales: standard deviations: one number, or `((sx, sy), ...)`.
        correlations: within components: one number in (-1, 1), or one per component.
        weights: probabilities; equal by default.

    Raises:
        ValueError: if the lengths differ, the weights do not sum to 1, or components are too thin for the quadrature.

    References:
        Czyz, Grabowski, Vogt, Beerenwinkel & Marx, 2023, *On the properties and estimation of pointwise mutual
        information profiles*, arXiv:2310.10240.

    Example:
        >>> cross = GaussianMixture(means=((0.0, 0.0), (0.0, 0.0)), correlations=(0.9, -0.9))
        >>> round(cross.mutual_information(), 4)
        0.4084
    """

    means: tuple[tuple[float, float], ...] = ((-1.0, -1.0), (1.0, 1.0))
    scales: float | tuple[tuple[float, float], ...] = 1.0
    correlations: float | tuple[float, ...] = 0.0
    weights: tuple[float, ...] | None = None

    dx = dy = 1
    exact = True
    discrete_y = False

    def __post_init__(self) -> None:
        means = _pairs(self.means, "means")
        k = len(means)
        scales = self.scales
        scales = _pairs(((scales, scales),) * k if isinstance(scales, (int, float)) else scales, "scales", 0)
        rho = self.correlations
        rho = tuple(
            t.real(r, "correlations", -1, 1) for r in ((rho,) * k if isinstance(rho, (int, float)) else rho)
        )
        weights = (1 / k,) * k if self.weights is None else tuple(self.weights)
        weights = tuple(t.real(w, "weights", 0, 1 + 1e-9) for w in weights)
        if not len(scales) == len(rho) == len(weights) == k:
            raise ValueError(
                f"means, scales, correlations and weights have {k}, {len(scales)}, {len(rho)} and {len(weights)} entries; "
                "give one per component"
            )
        if abs(sum(weights) - 1) > 1e-9:
            raise ValueError(f"weights must sum to 1, got {sum(weights)}; divide them by their sum")
        t.set_fields(self, means=means, scales=scales, correlations=rho, weights=weights)

    def _arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        fields = (self.weights, self.means, self.scales, self.correlations)
        w, m, s, r = (np.asarray(field, dtype=np.float64) for field in fields)
        return w, m, s, r

    def sample(self, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """n pairs; see `Distribution`."""
        rng = t.draw(n, seed)
        w, m, s, r = self._arrays()
        k = rng.choice(len(w), size=n, p=w / w.sum())
        z = rng.standard_normal((n, 2))
        z[:, 1] = r[k] * z[:, 0] + np.sqrt((1 - r[k]) * (1 + r[k])) * z[:, 1]
        z = m[k] + s[k] * z
        return z[:, :1].copy(), z[:, 1:].copy()

    def _log_marginal(self, z: np.ndarray, axis: int) -> np.ndarray:
        w, m, s, _ = self._arrays()
        terms = [
            math.log(w[k] / s[k, axis] / math.sqrt(2 * math.pi)) - ((z - m[k, axis]) / s[k, axis]) ** 2 / 2
            for k in range(len(w))
        ]
        return np.logaddexp.reduce(terms)

    def _log_joint(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        w, m, s, r = self._arrays()
        total = np.full(np.broadcast_shapes(x.shape, y.shape), -math.inf)
        for k in range(len(w)):
            u, v, c = (x - m[k, 0]) / s[k, 0], (y - m[k, 1]) / s[k, 1], (1 - r[k]) * (1 + r[k])
            const = math.log(w[k] / (2 * math.pi * s[k, 0] * s[k, 1] * math.sqrt(c)))
            term = const - (u * u + (v - r[k] * u) ** 2 / c) / 2
            total = np.logaddexp(total, term)
        return total

    def entropy_x(self) -> float:
        """h(X) in nats."""
        return _entropy(self, 0)

    def entropy_y(self) -> float:
        """h(Y) in nats."""
        return _entropy(self, 1)

    def entropy(self) -> float:
        """h(X,Y) in nats."""
        return _entropy(self, None)

    def mutual_information(self) -> float:
        """I(X;Y) in nats."""
        return self.entropy_x() + self.entropy_y() - self.entropy()

    def log_ratio(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """log p(x,y) / p(x) p(y), `(n,)`."""
        x, y = (z[:, 0] for z in t.checked(self, x, y))
        return self._log_joint(x, y) - self._log_marginal(x, 0) - self._log_marginal(y, 1)


def _pairs(values: Any, name: str, low: float = -math.inf) -> tuple[tuple[float, float], ...]:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 2 or array.shape[1] != 2 or not len(array):
        raise ValueError(f"{name} must be pairs ((x, y), ...), one per component, got shape {array.shape}")
    return tuple((t.real(a, name, low), t.real(b, name, low)) for a, b in array.tolist())


@lru_cache(maxsize=256)
def _entropy(law: GaussianMixture, axis: int | None) -> float:
    """Entropy of one coordinate, or of both: an average over the components in their own coordinates."""
    w, m, s, r = law._arrays()
    previous, points = math.inf, 128
    while points <= _FINEST:
        u = np.linspace(-_REACH, _REACH, points + 1)
        mass = np.exp(-u * u / 2) * (u[1] - u[0]) / math.sqrt(2 * math.pi)
        value = 0.0
        for k in range(len(w)):
            if axis is not None:
                value -= w[k] * float(mass @ law._log_marginal(m[k, axis] + s[k, axis] * u, axis))
                continue
            slope = math.sqrt((1 - r[k]) * (1 + r[k]))
            for start in range(0, len(u), 256):  # rows of the grid held at once
                a = u[start : start + 256, None]
                log_p = law._log_joint(m[k, 0] + s[k, 0] * a, m[k, 1] + s[k, 1] * (r[k] * a + slope * u))
                value -= w[k] * float(mass[start : start + 256] @ log_p @ mass)
        if abs(value - previous) < _TOL:
            return float(value)
        previous, points = value, 2 * points
    raise ValueError(
        f"the entropy of {law!r} does not settle at {_FINEST} points per axis; use less extreme correlations or scales"
    )
