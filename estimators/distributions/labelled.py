"""A continuous x and a discrete y: classes as clusters, overlapping steps, counts with too many zeros."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.special import gammaln

from estimators.distributions import _tools as t

__all__ = ["LabelledClusters", "Staircase", "ZeroInflatedPoisson"]

_APART = 40.0  # separation at which clusters of unit width no longer overlap in float64


@dataclass(frozen=True)
class LabelledClusters:
    r"""Labels on a grid of `levels ** axes` equally likely classes, each a Gaussian cluster of unit width in x.

    The axes are independent, so that \(I(X;Y)\) is `axes` times the information of one amplitude-modulated channel,

    .. math:: I_1 = h\left( \frac{1}{m} \sum_{j<m} N(\Delta j, 1) \right) - \tfrac{1}{2} \log 2 \pi e

    with the entropy by quadrature.

    Arguments:
        levels: clusters along one axis, 2 to 100.
        axes: informative directions of x; the other columns are noise.
        separation: distance between neighbouring centres.
        dx: columns of x, at least `axes`.
        rotation: seed of a fixed random rotation of x, which hides the axes; `None` leaves them.

    Raises:
        ValueError: if `axes` > `dx`, or the number of classes is beyond int64.

    Example:
        >>> law = LabelledClusters(levels=2, axes=3, separation=4.0, dx=10)  # 8 classes
        >>> x, y = law.sample(4, seed=0)
        >>> x.shape, y.shape, y.dtype.name, round(law.mutual_information(), 4)
        ((4, 10), (4,), 'int64', 1.8982)
    """

    levels: int = 2
    axes: int = 1
    separation: float = 2.0
    dx: int = 1
    rotation: int | None = None

    dy = 1
    exact = True
    discrete_y = True

    def __post_init__(self) -> None:
        levels, axes = t.positive_int(self.levels, "levels", 2), t.positive_int(self.axes, "axes")
        dx = t.positive_int(self.dx, "dx")
        if levels > 100:
            raise ValueError(f"levels must be at most 100 for the quadrature, got {levels}; use more axes")
        if axes > dx:
            raise ValueError(f"{axes} axes do not fit in dx = {dx} columns; raise dx to at least {axes}")
        if axes * math.log2(levels) > 62:
            raise ValueError(f"{levels}**{axes} classes are beyond int64; use fewer axes or levels")
        seed = None if self.rotation is None else t.positive_int(self.rotation, "rotation", low=0)
        gap = t.real(self.separation, "separation", low=-1e-300, high=1e12)
        t.set_fields(self, levels=levels, axes=axes, separation=gap, dx=dx, rotation=seed)

    @property
    def classes(self) -> int:
        """Number of classes."""
        return self.levels**self.axes

    def sample(self, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """n pairs with labels y in 0 ... classes - 1; see `Distribution`."""
        rng = t.draw(n, seed)
        steps = rng.integers(self.levels, size=(n, self.axes))
        x = rng.standard_normal((n, self.dx))
        x[:, : self.axes] += self.separation * (steps - (self.levels - 1) / 2)
        if self.rotation is not None:
            x = x @ t.rotation(self.dx, self.rotation, "x").T
        return x, steps @ self._place_values()

    def _place_values(self) -> np.ndarray:
        return self.levels ** np.arange(self.axes, dtype=np.int64)

    def mutual_information(self) -> float:
        """I(X;Y) in nats."""
        return self.axes * (_line_entropy(self.levels, self.separation) - t.LOG_2PI_E / 2)

    def entropy_y(self) -> float:
        """H(Y) = log classes."""
        return self.axes * math.log(self.levels)

    def entropy_x(self) -> float:
        """h(X) in nats."""
        return self.mutual_information() + self.dx * t.LOG_2PI_E / 2

    def entropy(self) -> float:
        """H(Y) + h(X|Y) in nats."""
        return self.entropy_y() + self.dx * t.LOG_2PI_E / 2

    def log_ratio(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """log p(x|y) / p(x), `(n,)`."""
        x, y = t.checked(self, x, y)
        if self.rotation is not None:
            x = x @ t.rotation(self.dx, self.rotation, "x")
        steps = y[:, None] // self._place_values() % self.levels
        centres = self.separation * (np.arange(self.levels) - (self.levels - 1) / 2)
        total = np.zeros(len(x))
        for axis in range(self.axes):
            log_p = -((x[:, axis, None] - centres) ** 2) / 2
            own = np.take_along_axis(log_p, steps[:, axis, None], axis=1)[:, 0]
            total += own - np.logaddexp.reduce(log_p, axis=1) + math.log(self.levels)
        return total


@lru_cache(maxsize=256)
def _line_entropy(levels: int, gap: float) -> float:
    """Entropy of an even mixture of unit Gaussians at 0, gap, 2 gap, ..."""
    if gap >= _APART:
        return math.log(levels) + t.LOG_2PI_E / 2

    def f(z: np.ndarray) -> np.ndarray:
        p = np.zeros_like(z)
        for j in range(levels):
            p += np.exp(-((z - gap * j) ** 2) / 2)
        return t.minus_p_log_p(p / (levels * math.sqrt(2 * math.pi)))

    low, high = -12.0, gap * (levels - 1) + 12.0
    return t.integral(f, low, high, panels=math.ceil((high - low) * (1 + gap / 4)))


@dataclass(frozen=True)
class Staircase:
    r"""Y uniform on 0 ... m-1 and X uniform on (Y, Y + 2): neighbouring classes overlap by half.

    .. math:: I(X;Y) = \log m - \frac{m - 1}{m} \log 2

    Arguments:
        levels: number m of classes.

    References:
        Gao, Kannan, Oh & Viswanath, 2017, *Estimating mutual information for discrete-continuous mixtures*, NeurIPS.

    Example:
        >>> round(Staircase(levels=5).mutual_information(), 4)  # log 5 - 4/5 log 2
        1.0549
    """

    levels: int = 5

    dx = dy = 1
    exact = True
    discrete_y = True

    def __post_init__(self) -> None:
        t.set_fields(self, levels=t.positive_int(self.levels, "levels"))

    def sample(self, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """n pairs with labels y in 0 ... levels - 1; see `Distribution`."""
        rng = t.draw(n, seed)
        y = rng.integers(self.levels, size=n)
        return y[:, None] + 2 * rng.random((n, 1)), y

    def mutual_information(self) -> float:
        """I(X;Y) in nats."""
        return math.log(self.levels) - (self.levels - 1) / self.levels * math.log(2)

    def entropy_y(self) -> float:
        """H(Y) = log levels."""
        return math.log(self.levels)

    def entropy_x(self) -> float:
        """h(X) in nats."""
        return self.mutual_information() + math.log(2)

    def entropy(self) -> float:
        """H(Y) + h(X|Y) in nats."""
        return math.log(2 * self.levels)

    def log_ratio(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """log p(x|y) / p(x), `(n,)`; -inf outside the support."""
        x, y = t.checked(self, x, y)
        step = np.floor(x[:, 0])
        sharers = 2 - (step == 0) - (step == self.levels)  # classes that can have given x
        inside = (y >= 0) & (y < self.levels) & ((step == y) | (step == y + 1))
        return np.where(inside, math.log(self.levels) - np.log(np.where(inside, sharers, 1)), -math.inf)


@dataclass(frozen=True)
class ZeroInflatedPoisson:
    r"""X exponential with mean 1, and Y Poisson with mean X but 0 with probability `zeros` instead.

    .. math:: I(X;Y) = H(Y) - \int_0^\infty e^{-x} H(Y | X = x)\, dx, \qquad
       P(Y = k) = \frac{1 - p}{2^{k+1}} + p\, [k = 0]

    A zero does not tell whether it was put in, so this is less than (1 - p) times the value at p = 0, which is
    \(2 \log 2 - \gamma - \sum_k 2^{-k} \log k\).

    Arguments:
        zeros: probability p in [0, 1) of a zero that was put in.

    References:
        Gao, Kannan, Oh & Viswanath, 2017, *Estimating mutual information for discrete-continuous mixtures*, NeurIPS.

    Example:
        >>> round(ZeroInflatedPoisson(zeros=0.0).mutual_information(), 4)
        0.3012
        >>> round(ZeroInflatedPoisson(zeros=0.15).mutual_information(), 4)
        0.2298
    """

    zeros: float = 0.15

    dx = dy = 1
    exact = True
    discrete_y = True

    def __post_init__(self) -> None:
        t.set_fields(self, zeros=t.real(self.zeros, "zeros", -1e-300, 1))

    def sample(self, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """n pairs with counts y; see `Distribution`."""
        rng = t.draw(n, seed)
        x = rng.standard_exponential((n, 1))
        return x, np.where(rng.random(n) < self.zeros, 0, rng.poisson(x[:, 0])).astype(np.int64)

    def _counts(self, k: np.ndarray) -> np.ndarray:
        return (1 - self.zeros) * 0.5 ** (k + 1.0) + self.zeros * (k == 0)

    def _given(self, x: np.ndarray, k: np.ndarray) -> np.ndarray:
        log_x = np.log(np.where(x > 0, x, 1.0))
        poisson = np.where((x > 0) | (k == 0), np.exp(k * log_x - x - gammaln(k + 1.0)), 0.0)
        return (1 - self.zeros) * poisson + self.zeros * (k == 0)

    def entropy_x(self) -> float:
        """h(X) = 1."""
        return 1.0

    def entropy_y(self) -> float:
        """H(Y) in nats."""
        return float(np.sum(t.minus_p_log_p(self._counts(np.arange(200)))))

    def mutual_information(self) -> float:
        """I(X;Y) in nats."""
        k = np.arange(300)[:, None]

        def f(root: np.ndarray) -> np.ndarray:  # x = root^3 removes the log singularity at 0
            x = root**3
            return 3 * root**2 * np.exp(-x) * np.sum(t.minus_p_log_p(self._given(x, k)), axis=0)

        return self.entropy_y() - t.integral(f, 0, 60 ** (1 / 3))

    def entropy(self) -> float:
        """h(X) + H(Y|X) in nats."""
        return self.entropy_x() + self.entropy_y() - self.mutual_information()

    def log_ratio(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """log p(y|x) / p(y), `(n,)`."""
        x, y = t.checked(self, x, y)
        return np.log(self._given(x[:, 0], y)) - np.log(self._counts(y))
