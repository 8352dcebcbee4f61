"""Laws made of laws: side by side, decoupled, with shared zeros, with noise on top."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from estimators.distributions import _tools as t
from estimators.distributions._tools import Distribution

__all__ = ["Independent", "Noisy", "Product", "ZeroInflated"]

_BLANK = 1e-12  # what rounding leaves of a zero after a map and its inverse


@dataclass(frozen=True)
class Product:
    r"""Independent pairs side by side; information and entropies add.

    .. math:: I(X_1 \ldots X_m; Y_1 \ldots Y_m) = \sum_i I(X_i; Y_i)

    With a `MultivariateNormal(0.0, ...)` as one part, it adds columns of noise.

    Arguments:
        parts: laws with continuous x and y.
        times: copies of the whole.

    Raises:
        ValueError: if there are no parts or one has a label.

    Example:
        >>> from estimators.distributions import UniformChannel
        >>> law = Product((UniformChannel(noise=1.0),), times=8)
        >>> law.dx, law.mutual_information()
        (8, 2.0)
    """

    parts: tuple[Distribution, ...]
    times: int = 1

    discrete_y = False

    def __post_init__(self) -> None:
        if not isinstance(self.parts, (tuple, list)) or not self.parts:
            raise ValueError(f"parts must be a tuple with at least one law, got {self.parts!r}")
        for part in self.parts:
            if t.law(part, "each of parts").discrete_y:
                raise ValueError(f"{part!r} has a label and cannot stand side by side with other columns")
        t.set_fields(self, parts=tuple(self.parts), times=t.positive_int(self.times, "times"))

    @property
    def dx(self) -> int:
        """Columns of x."""
        return self.times * sum(part.dx for part in self.parts)

    @property
    def dy(self) -> int:
        """Columns of y."""
        return self.times * sum(part.dy for part in self.parts)

    @property
    def exact(self) -> bool:
        """True when every part is."""
        return all(part.exact for part in self.parts)

    def sample(self, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """n pairs; see `Distribution`."""
        parts = self.parts * self.times
        drawn = [part.sample(n, s) for part, s in zip(parts, t.split(n, seed, len(parts)), strict=True)]
        return np.hstack([x for x, _ in drawn]), np.hstack([y for _, y in drawn])

    def mutual_information(self) -> float:
        """I(X;Y) in nats."""
        return self.times * sum(part.mutual_information() for part in self.parts)

    def entropy_x(self) -> float:
        """h(X) in nats."""
        return self.times * sum(part.entropy_x() for part in self.parts)

    def entropy_y(self) -> float:
        """h(Y) in nats."""
        return self.times * sum(part.entropy_y() for part in self.parts)

    def entropy(self) -> float:
        """h(X,Y) in nats."""
        return self.times * sum(part.entropy() for part in self.parts)

    def log_ratio(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """log p(x,y) / p(x) p(y), `(n,)`."""
        x, y = t.checked(self, x, y)
        total, i, j = np.zeros(len(x)), 0, 0
        for part in self.parts * self.times:
            total += part.log_ratio(x[:, i : i + part.dx], y[:, j : j + part.dy])
            i, j = i + part.dx, j + part.dy
        return total


@dataclass(frozen=True)
class Independent:
    """The marginals of a law without its dependence: I(X;Y) = 0.

    Arguments:
        base: the law whose x and y are drawn apart.

    Example:
        >>> from estimators.distributions import MultivariateStudent
        >>> Independent(MultivariateStudent(df=1, correlations=0.9)).mutual_information()
        0.0
    """

    base: Distribution

    exact = True

    def __post_init__(self) -> None:
        t.law(self.base)

    @property
    def dx(self) -> int:
        """Columns of x."""
        return self.base.dx

    @property
    def dy(self) -> int:
        """Columns of y."""
        return self.base.dy

    @property
    def discrete_y(self) -> bool:
        """That of the base."""
        return self.base.discrete_y

    def sample(self, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """n pairs; see `Distribution`."""
        first, second = t.split(n, seed, 2)
        return self.base.sample(n, first)[0], self.base.sample(n, second)[1]

    def mutual_information(self) -> float:
        """Zero."""
        return 0.0

    def entropy_x(self) -> float:
        """h(X) in nats."""
        return self.base.entropy_x()

    def entropy_y(self) -> float:
        """H(Y) in nats."""
        return self.base.entropy_y()

    def entropy(self) -> float:
        """H(X,Y) = H(X) + H(Y) in nats."""
        return self.entropy_x() + self.entropy_y()

    def log_ratio(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Zero for each pair, `(n,)`."""
        x, y = t.checked(self, x, y)
        return np.zeros(len(x))


@dataclass(frozen=True)
class ZeroInflated:
    r"""A pair that is all zeros, in both views at once, with probability `zeros`.

    .. math:: I = H_b(p) + (1 - p)\, I_{\text{base}}, \qquad H_b(p) = -p \log p - (1 - p) \log (1 - p)

    since either view shows whether the pair was blanked. Neither discrete nor continuous: x and y have an atom at 0
    beside a density, as sparse activations do.

    Arguments:
        base: a law with continuous x and y, which is never exactly 0.
        zeros: probability p in (0, 1).

    Raises:
        ValueError: if y of the base is a label.

    Example:
        >>> from estimators.distributions import MultivariateNormal
        >>> round(ZeroInflated(MultivariateNormal(0.8), zeros=0.5).mutual_information(), 4)  # log 2 + 0.5108 / 2
        0.9486
    """

    base: Distribution
    zeros: float = 0.3

    discrete_y = False

    def __post_init__(self) -> None:
        if t.law(self.base).discrete_y:
            raise ValueError(f"{self.base!r} has a label, which cannot be blanked; use ZeroInflatedPoisson")
        t.set_fields(self, zeros=t.real(self.zeros, "zeros", 0, 1))

    @property
    def dx(self) -> int:
        """Columns of x."""
        return self.base.dx

    @property
    def dy(self) -> int:
        """Columns of y."""
        return self.base.dy

    @property
    def exact(self) -> bool:
        """That of the base."""
        return self.base.exact

    def sample(self, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """n pairs; see `Distribution`."""
        inner, outer = t.split(n, seed, 2)
        x, y = self.base.sample(n, inner)
        kept = np.random.default_rng(outer).random((n, 1)) >= self.zeros
        return np.where(kept, x, 0.0), np.where(kept, y, 0.0)

    def mutual_information(self) -> float:
        """I(X;Y) in nats."""
        p = self.zeros
        return -p * math.log(p) - (1 - p) * math.log1p(-p) + (1 - p) * self.base.mutual_information()

    def entropy_x(self) -> float:
        """Not defined for a law with an atom and a density."""
        raise t.not_closed(self, "the entropy of x")

    def entropy_y(self) -> float:
        """Not defined for a law with an atom and a density."""
        raise t.not_closed(self, "the entropy of y")

    def entropy(self) -> float:
        """Not defined for a law with an atom and a density."""
        raise t.not_closed(self, "the joint entropy")

    def log_ratio(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Log density of the joint law against the product of its marginals, `(n,)`."""
        x, y = t.checked(self, x, y)
        blank_x, blank_y = (np.all(np.abs(z) < _BLANK, axis=1) for z in (x, y))
        ratio = np.where(blank_x & blank_y, -math.log(self.zeros), -math.inf)
        kept = ~(blank_x | blank_y)
        ratio[kept] = self.base.log_ratio(x[kept], y[kept]) - math.log1p(-self.zeros)
        return ratio


@dataclass(frozen=True)
class Noisy:
    r"""Independent Gaussian noise on every column, after everything else.

    .. math:: I(X + s N; Y + s N') \le I(X;Y)

    by data processing, so the stated information is an upper bound and `exact` is False. It is close when the
    noise is small against the latent variables, not against each column.

    Arguments:
        base: a law with continuous x and y.
        sigma: standard deviation s > 0 of the noise.

    Raises:
        ValueError: if y of the base is a label.

    Example:
        >>> from estimators.distributions import MultivariateNormal
        >>> law = Noisy(MultivariateNormal(0.8), sigma=0.01)
        >>> law.exact, round(law.mutual_information(), 4)
        (False, 0.5108)
    """

    base: Distribution
    sigma: float = 0.01

    exact = False
    discrete_y = False

    def __post_init__(self) -> None:
        if t.law(self.base).discrete_y:
            raise ValueError(f"{self.base!r} has a label, which takes no noise; add noise before the label")
        t.set_fields(self, sigma=t.real(self.sigma, "sigma", low=0))

    @property
    def dx(self) -> int:
        """Columns of x."""
        return self.base.dx

    @property
    def dy(self) -> int:
        """Columns of y."""
        return self.base.dy

    def sample(self, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """n pairs; see `Distribution`."""
        inner, outer = t.split(n, seed, 2)
        x, y = self.base.sample(n, inner)
        rng = np.random.default_rng(outer)
        return x + self.sigma * rng.standard_normal(x.shape), y + self.sigma * rng.standard_normal(y.shape)

    def mutual_information(self) -> float:
        """An upper bound of I(X;Y) in nats."""
        return self.base.mutual_information()

    def entropy_x(self) -> float:
        """Not closed."""
        raise t.not_closed(self, "the entropy of x")

    def entropy_y(self) -> float:
        """Not closed."""
        raise t.not_closed(self, "the entropy of y")

    def entropy(self) -> float:
        """Not closed."""
        raise t.not_closed(self, "the joint entropy")

    def log_ratio(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Not closed."""
        raise t.not_closed(self, "the log ratio")
