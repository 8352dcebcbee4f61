"""Additive channels Y = f(X) + N in one dimension; `Product` and `Transformed` carry them to more."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from estimators.distributions import _tools as t

__all__ = ["LaplaceChannel", "SineChannel", "UniformChannel"]

_BLOCK = 512  # outputs whose mixture density is summed at once


@dataclass(frozen=True)
class UniformChannel:
    r"""X uniform on (0, 1) and Y = X + N with N uniform on (-noise, noise).

    .. math:: I(X;Y) = \epsilon - \log 2 \epsilon \quad (\epsilon \le \tfrac{1}{2}), \qquad
       I(X;Y) = \frac{1}{4 \epsilon} \quad (\epsilon > \tfrac{1}{2})

    Arguments:
        noise: half-width of the noise > 0.

    References:
        Czyz, Grabowski, Vogt, Beerenwinkel & Marx, 2023, *Beyond normal: on the evaluation of mutual information
        estimators*, NeurIPS.

    Example:
        >>> round(UniformChannel(noise=0.1).mutual_information(), 4)
        1.7094
    """

    noise: float = 0.1

    dx = dy = 1
    exact = True
    discrete_y = False

    def __post_init__(self) -> None:
        t.set_fields(self, noise=t.real(self.noise, "noise", low=0))

    def sample(self, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """n pairs; see `Distribution`."""
        rng = t.draw(n, seed)
        x = rng.random((n, 1))
        return x, x + rng.uniform(-self.noise, self.noise, (n, 1))

    def mutual_information(self) -> float:
        """I(X;Y) in nats."""
        e = self.noise
        return e - math.log(2 * e) if e <= 0.5 else 1 / (4 * e)

    def entropy_x(self) -> float:
        """h(X) = 0."""
        return 0.0

    def entropy_y(self) -> float:
        """h(Y) in nats."""
        return self.mutual_information() + math.log(2 * self.noise)

    def entropy(self) -> float:
        """h(X,Y) = h(N) in nats."""
        return math.log(2 * self.noise)

    def log_ratio(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """log p(x,y) / p(x) p(y), `(n,)`; -inf outside the support."""
        x, y = t.checked(self, x, y)
        e, y0 = self.noise, y[:, 0]
        shared = np.minimum(1, y0 + e) - np.maximum(0, y0 - e)  # length of the x that can have given y
        inside = (np.abs(y0 - x[:, 0]) <= e) & (shared > 0)
        return np.where(inside, -np.log(np.where(shared > 0, shared, 1.0)), -math.inf)


@dataclass(frozen=True)
class LaplaceChannel:
    r"""X Laplace with scale 1 and Y = X + N with N Laplace with scale `noise`.

    .. math:: I(X;Y) = h(Y) - \log 2 e b, \qquad
       p(y) = \frac{e^{-|y|} - b\, e^{-|y|/b}}{2 (1 - b^2)}

    with h(Y) by quadrature of the closed density.

    Arguments:
        noise: scale b of the noise > 0.

    Example:
        >>> round(LaplaceChannel(noise=1.0).mutual_information(), 4)
        0.395
    """

    noise: float = 0.5

    dx = dy = 1
    exact = True
    discrete_y = False

    def __post_init__(self) -> None:
        t.set_fields(self, noise=t.real(self.noise, "noise", 1e-6, 1e6))

    def sample(self, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """n pairs; see `Distribution`."""
        rng = t.draw(n, seed)
        x = rng.laplace(size=(n, 1))
        return x, x + rng.laplace(scale=self.noise, size=(n, 1))

    def _density(self, y: np.ndarray) -> np.ndarray:
        # The formula above after division by its cancelling factor 1 - b; the sum is symmetric in the two scales.
        large = max(1.0, self.noise)
        ratio = min(1.0, self.noise) / large
        u = np.abs(y) / large
        z = u * (1 - ratio) / ratio
        slope = np.where(z > 0, -np.expm1(-z) / np.where(z > 0, z, 1.0), 1.0)
        return np.exp(-u) * (1 + u * slope) / (2 * large * (1 + ratio))

    def entropy_x(self) -> float:
        """h(X) = 1 + log 2."""
        return 1 + math.log(2)

    def entropy_y(self) -> float:
        """h(Y) in nats."""
        wide, narrow = max(1.0, self.noise), min(1.0, self.noise)
        knee = min(20 * narrow, wide)
        parts = ((0.0, knee), (knee, 60 * wide))
        return 2 * sum(t.integral(lambda y: t.minus_p_log_p(self._density(y)), *part, 200) for part in parts)

    def entropy(self) -> float:
        """h(X,Y) = h(X) + h(N) in nats."""
        return self.entropy_x() + 1 + math.log(2 * self.noise)

    def mutual_information(self) -> float:
        """I(X;Y) in nats."""
        return self.entropy_y() - 1 - math.log(2 * self.noise)

    def log_ratio(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """log p(x,y) / p(x) p(y), `(n,)`."""
        x, y = t.checked(self, x, y)
        noise = -np.abs(y - x)[:, 0] / self.noise - math.log(2 * self.noise)
        return noise - np.log(self._density(y[:, 0]))


@dataclass(frozen=True)
class SineChannel:
    r"""X uniform on (0, 1) and \(Y = \sin(2 \pi k X) + N(0, s^2)\): no correlation, and harder as k grows.

    .. math:: I(X;Y) = h(Y) - \tfrac{1}{2} \log 2 \pi e s^2, \qquad
       p(y) = \frac{1}{2 \pi} \int_0^{2 \pi} N(y; \sin \theta, s^2)\, d\theta

    which is the same at every frequency. Both integrals are by quadrature.

    Arguments:
        frequency: whole periods k >= 1.
        noise: standard deviation s of the noise, in [0.01, 100].

    Example:
        >>> round(SineChannel(frequency=3, noise=0.3).mutual_information(), 4)
        0.8616
    """

    frequency: int = 1
    noise: float = 0.3

    dx = dy = 1
    exact = True
    discrete_y = False

    def __post_init__(self) -> None:
        noise = t.real(self.noise, "noise", 0, 1e3)
        if not 0.01 <= noise <= 100:
            raise ValueError(f"noise must lie in [0.01, 100] for the quadrature of the truth, got {noise}")
        t.set_fields(self, frequency=t.positive_int(self.frequency, "frequency"), noise=noise)

    def sample(self, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """n pairs; see `Distribution`."""
        rng = t.draw(n, seed)
        x = rng.random((n, 1))
        return x, np.sin(2 * math.pi * self.frequency * x) + self.noise * rng.standard_normal((n, 1))

    def entropy_x(self) -> float:
        """h(X) = 0."""
        return 0.0

    def entropy_y(self) -> float:
        """h(Y) in nats."""
        return _sine_entropy(self.noise)

    def entropy(self) -> float:
        """h(X,Y) = h(N) in nats."""
        return t.LOG_2PI_E / 2 + math.log(self.noise)

    def mutual_information(self) -> float:
        """I(X;Y) in nats."""
        return self.entropy_y() - self.entropy()

    def log_ratio(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """log p(x,y) / p(x) p(y), `(n,)`."""
        x, y = t.checked(self, x, y)
        z = (y - np.sin(2 * math.pi * self.frequency * x))[:, 0] / self.noise
        log_noise = -0.5 * z * z - math.log(self.noise * math.sqrt(2 * math.pi))
        return log_noise - np.log(_sine_density(y[:, 0], self.noise))


def _sine_density(y: np.ndarray, noise: float) -> np.ndarray:
    # A smooth periodic integrand: equal weights converge faster than any power of the number of points.
    angles = 64 + math.ceil(32 / noise)
    centres = np.sin((np.arange(angles) + 0.5) * 2 * math.pi / angles)
    blocks = (y[start : start + _BLOCK, None] for start in range(0, len(y), _BLOCK))
    means = [np.mean(np.exp(-0.5 * ((block - centres) / noise) ** 2), axis=1) for block in blocks]
    return np.concatenate(means) / (noise * math.sqrt(2 * math.pi))


@lru_cache(maxsize=64)
def _sine_entropy(noise: float) -> float:
    half = 1 + 12 * noise
    panels = 20 + math.ceil(half / noise)
    return 2 * t.integral(lambda y: t.minus_p_log_p(_sine_density(y, noise)), 0, half, panels)
