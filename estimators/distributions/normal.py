"""Jointly Gaussian vectors, given by their canonical correlations."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from estimators.distributions import _tools as t

__all__ = ["MultivariateNormal"]


@dataclass(frozen=True)
class MultivariateNormal:
    r"""Gaussian (X, Y) with white marginals and given canonical correlations.

    .. math:: I(X;Y) = -\tfrac{1}{2} \sum_i \log(1 - \rho_i^2)

    Any jointly Gaussian pair is one of these up to an invertible linear map of each view, which `Mixing` adds.

    Arguments:
        correlations: one value for every pair, or a tuple with one value per pair, each in (-1, 1).
        dx: columns of x.
        dy: columns of y.
        pairs: correlated pairs; by default all `min(dx, dy)`, or as many as the tuple has.
        rotation: seed of a fixed random rotation of each view, which spreads every pair over all columns (dense).
            `None` keeps pair i in column i of both views (sparse).

    Raises:
        TypeError: if a setting is no number.
        ValueError: if a correlation is not in (-1, 1) or there are more pairs than columns.

    References:
        Cover & Thomas, 2006, *Elements of Information Theory*, theorem 8.4.1. Hotelling, 1936, *Relations between
        two sets of variates*, Biometrika 28, 321-377.

    Example:
        >>> law = MultivariateNormal(0.8)
        >>> x, y = law.sample(5, seed=0)
        >>> x.shape, y.shape, round(law.mutual_information(), 4)
        ((5, 1), (5, 1), 0.5108)
        >>> MultivariateNormal.with_information(2.0, dx=64, dy=64, pairs=4).correlations
        0.7950600976206501
    """

    correlations: float | tuple[float, ...] = 0.0
    dx: int = 1
    dy: int = 1
    pairs: int | None = None
    rotation: int | None = None

    exact = True
    discrete_y = False

    def __post_init__(self) -> None:
        dx, dy = t.positive_int(self.dx, "dx"), t.positive_int(self.dy, "dy")
        given = self.correlations
        many = isinstance(given, (tuple, list, np.ndarray))
        values = tuple(given) if many else (given,)  # type: ignore[arg-type]
        values = tuple(t.real(value, "each of correlations", -1, 1) for value in values)
        pairs = self.pairs
        if pairs is None:
            pairs = len(values) if many else min(dx, dy)
        pairs = t.positive_int(pairs, "pairs", low=0)
        if many and pairs != len(values):
            raise ValueError(f"pairs = {pairs}, but correlations has {len(values)} values; leave pairs out")
        if pairs > min(dx, dy):
            raise ValueError(
                f"{pairs} pairs do not fit in dx = {dx} and dy = {dy} columns; raise dx and dy to at least {pairs}"
            )
        seed = None if self.rotation is None else t.positive_int(self.rotation, "rotation", low=0)
        t.set_fields(
            self, correlations=values if many else values[0], dx=dx, dy=dy, pairs=pairs, rotation=seed
        )

    @classmethod
    def with_information(
        cls, nats: float, dx: int = 1, dy: int = 1, pairs: int | None = None, rotation: int | None = None
    ) -> MultivariateNormal:
        r"""The law with I(X;Y) = `nats`, spread evenly: \(\rho^2 = 1 - e^{-2 I / \text{pairs}}\).

        Raises:
            ValueError: if `nats` is negative, or so large that a correlation rounds to 1 within 1e-6 nats.
        """
        nats = t.real(nats, "nats")
        if nats < 0:
            raise ValueError(f"mutual information is never negative, got nats = {nats}")
        pairs = min(dx, dy) if pairs is None else t.positive_int(pairs, "pairs")
        rho = math.sqrt(-math.expm1(-2 * nats / pairs))
        if rho < 1:
            made = cls(rho, dx, dy, pairs, rotation)
            if abs(made.mutual_information() - nats) < 1e-6:
                return made
        raise ValueError(
            f"{nats} nats in {pairs} pair(s) needs a correlation too close to 1 for float64; use at least "
            f"pairs={math.ceil(nats / 10)} (and as many columns)"
        )

    def _rho(self) -> np.ndarray:
        values = self.correlations
        return np.asarray(values) if isinstance(values, tuple) else np.full(self.pairs or 0, values)

    def _turn(self, z: np.ndarray, view: t.View, *, back: bool = False) -> np.ndarray:
        if self.rotation is None:
            return z
        q = t.rotation(z.shape[1], self.rotation, view)
        return z @ q if back else z @ q.T

    def sample(self, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """n pairs; see `Distribution`."""
        rng = t.draw(n, seed)
        x, y, rho = rng.standard_normal((n, self.dx)), rng.standard_normal((n, self.dy)), self._rho()
        p = len(rho)
        y[:, :p] = rho * x[:, :p] + np.sqrt((1 - rho) * (1 + rho)) * y[:, :p]
        return self._turn(x, "x"), self._turn(y, "y")

    def covariance(self) -> np.ndarray:
        """Covariance of the joint vector, `(dx + dy, dx + dy)`, x first."""
        cross = np.zeros((self.dx, self.dy))
        np.fill_diagonal(cross, np.pad(self._rho(), (0, min(cross.shape) - (self.pairs or 0))))
        cross = self._turn(self._turn(cross.T, "x").T, "y")
        return np.block([[np.eye(self.dx), cross], [cross.T, np.eye(self.dy)]])

    def mutual_information(self) -> float:
        """I(X;Y) in nats."""
        rho = self._rho()
        return -0.5 * float(np.sum(np.log((1 - rho) * (1 + rho)))) + 0.0  # 1 - rho is exact near rho = 1

    def entropy_x(self) -> float:
        """h(X) in nats."""
        return self.dx * t.LOG_2PI_E / 2

    def entropy_y(self) -> float:
        """h(Y) in nats."""
        return self.dy * t.LOG_2PI_E / 2

    def entropy(self) -> float:
        """h(X,Y) in nats."""
        return self.entropy_x() + self.entropy_y() - self.mutual_information()

    def squared_lengths(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Squared Mahalanobis lengths of x, of y and of (x, y), each `(n,)`."""
        x, y = t.checked(self, x, y)
        x, y, rho = self._turn(x, "x", back=True), self._turn(y, "y", back=True), self._rho()
        p = len(rho)
        qx, qy = np.sum(x * x, axis=1), np.sum(y * y, axis=1)
        rest = np.sum(y[:, p:] ** 2, axis=1)
        noise = np.sum((y[:, :p] - rho * x[:, :p]) ** 2 / ((1 - rho) * (1 + rho)), axis=1)
        return qx, qy, qx + noise + rest

    def log_ratio(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """log p(x,y) / p(x) p(y), `(n,)`."""
        qx, qy, q = self.squared_lengths(x, y)
        return self.mutual_information() + (qx + qy - q) / 2
