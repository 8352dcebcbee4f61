r"""Elliptical laws: a Gaussian vector times one random length, so that all coordinates are large together.

For \((X, Y) = R\, Z\) with Z Gaussian, and \(h_d\) the entropy of the d-dimensional law with identity shape,

.. math:: I(X;Y) = I_{\text{Gauss}} + h_{d_x} + h_{d_y} - h_{d_x + d_y}

where the last three terms are the information that the common length carries: it stays when every correlation is 0
(Arellano-Valle, Contreras-Reyes & Genton, 2013, *Shannon entropy and mutual information for multivariate
skew-elliptical distributions*, Scand. J. Statist. 40, 42-62).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import gammainccinv, gammaincinv, gammaln, psi

from estimators.distributions import _tools as t
from estimators.distributions.normal import MultivariateNormal

__all__ = ["ContaminatedLength", "Elliptical", "MultivariateStudent", "StudentLength"]

_TAIL = 1e-20  # probability left out on either side of a quadrature


@dataclass(frozen=True)
class StudentLength:
    r"""\(R = \sqrt{\nu / \chi^2_\nu}\), which makes a multivariate Student-t law.

    .. math:: h_d = -\log \frac{\Gamma(\frac{\nu + d}{2})}{\Gamma(\frac{\nu}{2}) (\nu \pi)^{d/2}}
       + \frac{\nu + d}{2} \left( \psi\left(\frac{\nu + d}{2}\right) - \psi\left(\frac{\nu}{2}\right) \right)

    Arguments:
        df: degrees of freedom > 0; 1 is the Cauchy law, moments exist below order `df`.

    Example:
        >>> round(StudentLength(1).entropy(1), 6)  # log 4 pi, the entropy of the Cauchy law
        2.531024
    """

    df: float

    def __post_init__(self) -> None:
        t.set_fields(self, df=t.real(self.df, "df", low=0))

    def draw(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """n lengths."""
        return np.sqrt(self.df / rng.chisquare(self.df, n))

    def _log_norm(self, d: int) -> float:
        nu = self.df
        return float(gammaln((nu + d) / 2) - gammaln(nu / 2)) - d / 2 * math.log(nu * math.pi)

    def log_density(self, q: np.ndarray, d: int) -> np.ndarray:
        """Log density of the spherical d-dimensional law at squared length q."""
        return self._log_norm(d) - (self.df + d) / 2 * np.log1p(q / self.df)

    def entropy(self, d: int) -> float:
        """Entropy of the spherical d-dimensional law, in nats."""
        total = (self.df + d) / 2
        return -self._log_norm(d) + total * float(psi(total) - psi(self.df / 2))


@dataclass(frozen=True)
class ContaminatedLength:
    r"""R is `scale` with probability `share` and 1 otherwise: a Gaussian with outliers.

    The entropy \(h_d\) is one integral over the law of the squared length.

    Arguments:
        share: probability of the second length, in (0, 1).
        scale: the second length > 0.

    References:
        Tukey, 1960, *A survey of sampling from contaminated distributions*.

    Example:
        >>> round(ContaminatedLength(share=0.1, scale=5.0).entropy(1), 4)
        1.7397
    """

    share: float = 0.1
    scale: float = 5.0

    def __post_init__(self) -> None:
        t.set_fields(
            self, share=t.real(self.share, "share", 0, 1), scale=t.real(self.scale, "scale", 0, 1e100)
        )

    def draw(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """n lengths."""
        return np.where(rng.random(n) < self.share, self.scale, 1.0)

    def log_density(self, q: np.ndarray, d: int) -> np.ndarray:
        """Log density of the spherical d-dimensional law at squared length q."""
        outside = math.log(self.share) - d * math.log(self.scale) - q / (2 * self.scale**2)
        return np.logaddexp(math.log1p(-self.share) - q / 2, outside) - d / 2 * math.log(2 * math.pi)

    def entropy(self, d: int) -> float:
        """Entropy of the spherical d-dimensional law, in nats."""
        low = math.log(2 * gammaincinv(d / 2, _TAIL))
        high = math.log(2 * gammainccinv(d / 2, _TAIL))
        log_norm = d / 2 * math.log(2) + float(gammaln(d / 2))

        def mean(length: float) -> float:  # over v = log of a chi-squared variable
            return t.integral(
                lambda v: (
                    np.exp(d / 2 * v - np.exp(v) / 2 - log_norm) * self.log_density(length**2 * np.exp(v), d)
                ),
                low,
                high,
                panels=400,
            )

        return -(1 - self.share) * mean(1.0) - self.share * mean(self.scale)


@dataclass(frozen=True)
class Elliptical:
    r"""A Gaussian pair times one random length, \((X, Y) = R\, Z\); the formula is the module's.

    Arguments:
        normal: the law of Z.
        length: the law of R: `StudentLength` or `ContaminatedLength`.

    Raises:
        TypeError: if `normal` is no `MultivariateNormal` or `length` no law of a length.

    Example:
        >>> law = Elliptical(MultivariateNormal(0.0, dx=1, dy=1), StudentLength(1))
        >>> round(law.mutual_information(), 6)  # log 8 pi - 3, though uncorrelated
        0.224171
    """

    normal: MultivariateNormal
    length: StudentLength | ContaminatedLength

    exact = True
    discrete_y = False

    def __post_init__(self) -> None:
        if not isinstance(self.normal, MultivariateNormal):
            raise TypeError(
                f"normal must be a MultivariateNormal, got {self.normal!r}; apply transforms outside, as in "
                "Transformed(Elliptical(...), ...)"
            )
        if not isinstance(self.length, (StudentLength, ContaminatedLength)):
            raise TypeError(f"length must be StudentLength or ContaminatedLength, got {self.length!r}")

    @property
    def dx(self) -> int:
        """Columns of x."""
        return self.normal.dx

    @property
    def dy(self) -> int:
        """Columns of y."""
        return self.normal.dy

    def sample(self, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """n pairs; see `Distribution`."""
        inner, outer = t.split(n, seed, 2)
        x, y = self.normal.sample(n, inner)
        r = self.length.draw(n, np.random.default_rng(outer))[:, None]
        return r * x, r * y

    def mutual_information(self) -> float:
        """I(X;Y) in nats."""
        return (
            self.normal.mutual_information()
            + self.length.entropy(self.dx)
            + self.length.entropy(self.dy)
            - self.length.entropy(self.dx + self.dy)
        )

    def entropy_x(self) -> float:
        """h(X) in nats."""
        return self.length.entropy(self.dx)

    def entropy_y(self) -> float:
        """h(Y) in nats."""
        return self.length.entropy(self.dy)

    def entropy(self) -> float:
        """h(X,Y) in nats."""
        return self.length.entropy(self.dx + self.dy) - self.normal.mutual_information()

    def log_ratio(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """log p(x,y) / p(x) p(y), `(n,)`."""
        qx, qy, q = self.normal.squared_lengths(x, y)
        log_p = self.length.log_density
        alone = log_p(qx, self.dx) + log_p(qy, self.dy)
        return self.normal.mutual_information() + log_p(q, self.dx + self.dy) - alone


def MultivariateStudent(
    df: float,
    correlations: float | tuple[float, ...] = 0.0,
    dx: int = 1,
    dy: int = 1,
    pairs: int | None = None,
    rotation: int | None = None,
) -> Elliptical:
    """Short for `Elliptical(MultivariateNormal(correlations, ...), StudentLength(df))`.

    Example:
        >>> round(MultivariateStudent(df=2, correlations=0.5, dx=2, dy=2).mutual_information(), 4)
        0.4808
    """
    return Elliptical(MultivariateNormal(correlations, dx, dy, pairs, rotation), StudentLength(df))
