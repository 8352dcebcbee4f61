r"""Elliptical laws with heavy tails: the multivariate Student law, fitted by maximum likelihood.

For \((X, Y)\) with location \(\mu\), scatter \(\Sigma\) and \(\nu\) degrees of freedom, and \(h_d\) the entropy of the
d-dimensional law with identity scatter,

.. math:: I(X;Y) = -\tfrac{1}{2} \sum_i \log(1 - \rho_i^2) + h_{d_x} + h_{d_y} - h_{d_x + d_y}

with \(\rho_i\) the canonical correlations of \(\Sigma\). The last three terms are what the common length carries: it
stays when every correlation is 0 (Arellano-Valle, Contreras-Reyes & Genton, 2013, *Shannon entropy and mutual
information for multivariate skew-elliptical distributions*, Scand. J. Statist. 40, 42-62).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from scipy.special import gammaln, psi
from scipy.stats import rankdata
from scipy.stats import t as student_t

from estimators._covariance import common_flags, merged, require
from estimators._result import Estimate
from estimators._samples import as_numpy, diagnostics, drop_constant_columns, paired, standardised
from estimators._settings import settings
from estimators.gaussian import log_det_bias
from estimators.protocols import Array

__all__ = ["EllipticalFit", "Student", "StudentCopula", "elliptical_fit", "length_information", "log_density"]

_DF = np.geomspace(0.5, 200.0, 121)  # 5 % apart: finer than the likelihood resolves below n = 10,000
_STEPS = 100
_SETTLED = 1e-6  # relative change of the scatter
_NORMAL = 100.0  # degrees of freedom from which the law is taken for the normal one
_NULL = 1e-9  # added to the scatter, as a share of its mean eigenvalue


def _log_norm(df: float | np.ndarray, d: int) -> np.ndarray:
    return gammaln((df + d) / 2) - gammaln(df / 2) - d / 2 * np.log(df * np.pi)


def log_density(squared_lengths: np.ndarray, d: int, df: float) -> np.ndarray:
    """Log density of the d-dimensional law with identity scatter; `df = inf` is the normal law.

    Example:
        >>> round(float(log_density(0.0, 1, 1.0)), 6)  # log 1 / pi: Cauchy
        -1.14473
    """
    if math.isinf(df):
        return -np.asarray(squared_lengths) / 2 - d / 2 * math.log(2 * math.pi)
    return _log_norm(df, d) - (df + d) / 2 * np.log1p(np.asarray(squared_lengths) / df)


def length_information(df: float, dx: int, dy: int) -> float:
    r"""\(h_{d_x} + h_{d_y} - h_{d_x + d_y}\) of the module's formula, in nats; 0 for the normal law.

    Example:
        >>> round(length_information(1.0, 1, 1), 6)  # log 8 pi - 3
        0.224171
    """
    if math.isinf(df):
        return 0.0
    return _entropy(df, dx) + _entropy(df, dy) - _entropy(df, dx + dy)


def _entropy(df: float, d: int) -> float:
    total = (df + d) / 2
    return float(-_log_norm(df, d) + total * (psi(total) - psi(df / 2)))


class EllipticalFit(NamedTuple):
    """An elliptical law of (X, Y), in canonical form: \\(a = A^T (x - \\mu_x)\\) and \\(b = B^T (y - \\mu_y)\\) are
    white and correlated in pairs."""

    df: float
    location_x: np.ndarray
    location_y: np.ndarray
    to_white_x: np.ndarray  # (columns of x, dx)
    to_white_y: np.ndarray
    correlations: np.ndarray  # (min(dx, dy),), descending
    n: int
    settled: bool

    @property
    def dx(self) -> int:
        """Canonical variables of x: its columns, unless the law is cut."""
        return self.to_white_x.shape[1]

    @property
    def dy(self) -> int:
        """Those of y."""
        return self.to_white_y.shape[1]

    def leading(self, rank: int) -> EllipticalFit:
        """The law of the first canonical variables of x and y alone."""
        kept_x, kept_y = self.to_white_x[:, :rank], self.to_white_y[:, :rank]
        return self._replace(to_white_x=kept_x, to_white_y=kept_y, correlations=self.correlations[:rank])

    def rescaled(self, x: np.ndarray, y: np.ndarray) -> EllipticalFit:
        """The canonical variables with unit variance on other samples: in many dimensions a fit whitens its own too much."""
        a, b = self.white(x, y)
        return self._replace(
            to_white_x=self.to_white_x / a.std(axis=0), to_white_y=self.to_white_y / b.std(axis=0)
        )

    def bias(self) -> float:
        """Small-sample bias of the canonical correlations: exact for the normal law, first order for the others."""
        nu = self.n - 1
        exact = 0.5 * (
            log_det_bias(nu, self.dx) + log_det_bias(nu, self.dy) - log_det_bias(nu, self.dx + self.dy)
        )
        if math.isinf(self.df):
            return exact
        # Fisher information of a scatter (Lange, Little & Taylor, 1989): its errors are that much larger than Wishart's.
        d = self.dx + self.dy
        return exact * (self.df + d + 2) / (self.df + d)

    def information(self, corrected: bool = True) -> float:
        """I(X;Y) of the law in nats."""
        linear = -0.5 * float(np.sum(np.log1p(-(self.correlations**2))))
        return linear - (self.bias() if corrected else 0.0) + length_information(self.df, self.dx, self.dy)

    def white(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The canonical variables a and b."""
        return (x - self.location_x) @ self.to_white_x, (y - self.location_y) @ self.to_white_y

    def log_ratios(self, x: np.ndarray, y: np.ndarray, shrink: float = 1.0) -> np.ndarray:
        r"""\(\log p(x_i, y_j) / p(x_i) p(y_j)\) for all pairs `(m, k)`, with the correlations times `shrink`."""
        a, b = self.white(x, y)
        alone_x, alone_y = np.sum(a * a, axis=1)[:, None], np.sum(b * b, axis=1)
        r = self.correlations * shrink
        a, b = a[:, : len(r)], b[:, : len(r)]
        own = r**2 / (1 - r**2)
        together = alone_x + alone_y + (a * a @ own)[:, None] + b * b @ own - 2 * (a * (r / (1 - r**2))) @ b.T
        return self._ratio(alone_x, alone_y, together, r)

    def log_ratio(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        r"""\(\log p(x_i, y_i) / p(x_i) p(y_i)\), `(n,)`."""
        a, b = self.white(x, y)
        alone_x, alone_y = np.sum(a * a, axis=1), np.sum(b * b, axis=1)
        r = self.correlations
        a, b = a[:, : len(r)], b[:, : len(r)]
        together = alone_x + alone_y + (a * a + b * b) @ (r**2 / (1 - r**2)) - 2 * (a * b) @ (r / (1 - r**2))
        return self._ratio(alone_x, alone_y, together, r)

    def _ratio(
        self, alone_x: np.ndarray, alone_y: np.ndarray, together: np.ndarray, r: np.ndarray
    ) -> np.ndarray:
        alone = log_density(alone_x, self.dx, self.df) + log_density(alone_y, self.dy, self.df)
        joint = log_density(together, self.dx + self.dy, self.df) - 0.5 * float(np.sum(np.log1p(-(r**2))))
        return joint - alone


def elliptical_fit(
    x: np.ndarray, y: np.ndarray, df: float | None = None, *, steps: int = _STEPS
) -> EllipticalFit:
    r"""Maximum-likelihood location, scatter and degrees of freedom of (X, Y).

    Iteratively reweighted moments, with weights \((\nu + d) / (\nu + q_i)\) from the squared lengths \(q_i\), and in
    turn \(\nu\) by the likelihood of these lengths (ECME; Liu & Rubin, 1995, *ML estimation of the t distribution
    using EM and its extensions, ECM and ECME*, Statistica Sinica 5, 19-39).

    Arguments:
        x: samples `(n, dx)`.
        y: samples `(n, dy)`.
        df: \(\nu\), fitted if `None`; `inf` gives moments.
        steps: largest number of steps.

    Raises:
        ValueError: if the scatter is singular.
    """
    z = np.concatenate([x, y], axis=1)
    location, factor, df, settled = _scatter(z, df, steps)
    dx = x.shape[1]
    scatter = factor @ factor.T
    lx = factor[:dx, :dx]
    ly = np.linalg.cholesky(scatter[dx:, dx:])
    cross = np.linalg.solve(ly, np.linalg.solve(lx, scatter[:dx, dx:]).T).T
    u, r, vt = np.linalg.svd(cross)
    return EllipticalFit(
        df,
        location[:dx],
        location[dx:],
        np.linalg.solve(lx.T, u),
        np.linalg.solve(ly.T, vt.T),
        np.minimum(r, 1 - 1e-12),
        len(z),
        settled,
    )


def _scatter(z: np.ndarray, df: float | None, steps: int) -> tuple[np.ndarray, np.ndarray, float, bool]:
    n, d = z.shape
    if df is not None and math.isinf(df):
        return z.mean(axis=0), _factor(np.cov(z, rowvar=False, bias=True).reshape(d, d)), df, True
    nu = 4.0 if df is None else df
    # Ranks start the scatter: second moments may not exist.
    location = np.median(z, axis=0)
    reach = np.median(np.abs(z - location), axis=0) * 1.4826
    reach = np.where(reach > 0, reach, z.std(axis=0))  # more than half of a column may be one value
    scores = student_t.ppf((rankdata(z, axis=0) - 0.5) / n, 30)
    start = np.corrcoef(scores, rowvar=False).reshape(d, d)
    factor = _factor(start * np.outer(reach, reach))
    settled = False
    for _ in range(steps):
        squared = np.sum(np.linalg.solve(factor, (z - location).T) ** 2, axis=0)
        if df is None:
            likelihood = n * _log_norm(_DF, d) - [(v + d) / 2 * np.sum(np.log1p(squared / v)) for v in _DF]
            nu = float(_DF[int(np.argmax(likelihood))])
        weights = (nu + d) / (nu + squared)
        location = weights @ z / weights.sum()
        centred = z - location
        # Divided by the sum of the weights: the same fixed point as by n, reached sooner (Kent, Tyler & Vardi, 1994).
        new = _factor((weights[:, None] * centred).T @ centred / weights.sum())
        change = float(np.max(np.abs(new - factor)) / np.max(np.abs(new)))
        factor = new
        if change < _SETTLED:
            settled = True
            break
    if df is None and nu >= _NORMAL:
        return _scatter(z, math.inf, steps)
    return location, factor, nu, settled


def _factor(scatter: np.ndarray) -> np.ndarray:
    d = len(scatter)
    try:
        return np.linalg.cholesky(scatter + _NULL * np.trace(scatter) / d * np.eye(d))
    except np.linalg.LinAlgError:
        raise ValueError(
            f"the scatter of {d} columns is singular: some columns are linear functions of others; "
            "project them first, as in Projected(Student(), dims=...)"
        ) from None


@settings
class Student:
    r"""Mutual information I(X;Y) of a multivariate Student law, in nats: `Gaussian` for heavy tails.

    .. math:: \hat I = -\tfrac{1}{2} \sum_i \log(1 - \hat\rho_i^2) - \text{bias}
       + h_{d_x}(\hat\nu) + h_{d_y}(\hat\nu) - h_{d_x + d_y}(\hat\nu)

    with location, scatter and degrees of freedom by maximum likelihood, and the bias of the Gaussian estimate times
    \((\nu + d + 2) / (\nu + d)\), to first order in 1 / n. For light tails the fit is the Gaussian one. Exact for elliptical
    Student laws and, like `Gaussian`, no bound otherwise. `df` in the diagnostics is the fitted \(\nu\).

    Arguments:
        df: the degrees of freedom; `None` fits them.

    Shapes:
        `x`: `(n, dx)`, `y`: `(n, dy)` with n > dx + dy + 1. Numpy or torch, on the CPU.

    Raises:
        TypeError: for a discrete variable, an array that holds no real numbers, or a tensor on another device.
        ValueError: for `df` <= 0, NaN, wrong shapes, unequal n, n too small, all columns constant, or columns that are
            linear functions of others.

    References:
        Arellano-Valle, Contreras-Reyes & Genton, 2013. Liu & Rubin, 1995. Lange, Little & Taylor, 1989, *Robust
        statistical modeling using the t distribution*, JASA 84, 881-896.

    Example:
        >>> from estimators import Gaussian, distributions
        >>> law = distributions.MultivariateStudent(3, 0.5, 5, 5, pairs=2)  # 0.586 nats, of which 0.288 are linear
        >>> x, y = law.sample(4000, seed=0)
        >>> abs(Student()(x, y).value - law.mutual_information()) < 0.05
        True
    """

    df: float | None = None

    def __post_init__(self) -> None:
        if self.df is not None and not self.df > 0:
            raise ValueError(f"df = {self.df} must be positive; inf is the normal law and None fits it")

    def __call__(self, x: Array, y: Array, /) -> Estimate:
        a, b, dropped = _columns(x, y)
        return _estimate(repr(self), elliptical_fit(a, b, self.df), a, b, dropped)


@settings
class StudentCopula:
    r"""`Student` on ranks, in nats: the t copula, which no increasing map of a coordinate changes.

    .. math:: \tilde x_{ij} = T_\nu^{-1}\left(\frac{\mathrm{rank}(x_{ij})}{n + 1}\right), \qquad
       \hat I = \hat I_{\text{Student}, \nu}(\tilde X; \tilde Y)

    with \(\nu\) the one of largest copula likelihood on a grid, infinity (the Gaussian copula) included. No bound: rank
    transforms bend the subspace of (near) rank-deficient vectors, as for `GaussianCopula`.

    Shapes:
        `x`: `(n, dx)`, `y`: `(n, dy)` with n > dx + dy + 1. Numpy or torch, on the CPU.

    Raises:
        TypeError, ValueError: as `Student`.

    References:
        Demarta & McNeil, 2005, *The t copula and related copulas*, Int. Stat. Rev. 73, 111-129.

    Example:
        >>> import numpy as np
        >>> from estimators import distributions
        >>> x, y = distributions.MultivariateStudent(3, 0.5, 2, 2).sample(1000, seed=0)
        >>> StudentCopula()(x, y).value == StudentCopula()(np.arctan(x), y**3).value
        True
    """

    def __call__(self, x: Array, y: Array, /) -> Estimate:
        a, b, dropped = _columns(x, y)
        fit, a, b = copula_fit(a, b)
        return _estimate(repr(self), fit, a, b, dropped)


_COPULA_DF = (1.0, 2.0, 3.0, 4.0, 6.0, 9.0, 15.0, 30.0, math.inf)


def copula_scores(x: np.ndarray, df: float) -> np.ndarray:
    """Columns replaced by the Student (or normal) quantiles of their ranks."""
    share = rankdata(x, axis=0) / (len(x) + 1)
    if math.isinf(df):
        from scipy.special import ndtri

        return ndtri(share)
    return student_t.ppf(share, df)


def copula_fit(
    x: np.ndarray,
    y: np.ndarray,
    df: float | None = None,
    *,
    rows: np.ndarray | None = None,
    steps: int = _STEPS,
) -> tuple[EllipticalFit, np.ndarray, np.ndarray]:
    """The t copula of largest likelihood, and the scores of all rows that it goes with.

    Arguments:
        x: samples `(n, dx)`.
        y: samples `(n, dy)`.
        df: the degrees of freedom, from a grid if `None`.
        rows: the rows that are fitted; all by default.
        steps: largest number of steps of a fit.
    """
    best: tuple[float, EllipticalFit, np.ndarray, np.ndarray] | None = None
    for nu in (
        reversed(_COPULA_DF) if df is None else (df,)
    ):  # the likelihood falls on both sides of its maximum
        a, b = copula_scores(x, nu), copula_scores(y, nu)
        inside_a, inside_b = (a, b) if rows is None else (a[rows], b[rows])
        fit = elliptical_fit(inside_a, inside_b, nu, steps=steps)
        likelihood = _copula_likelihood(fit, inside_a, inside_b)
        if best is not None and likelihood <= best[0]:
            break
        best = likelihood, fit, a, b
    assert best is not None
    return best[1:]


def _copula_likelihood(fit: EllipticalFit, a: np.ndarray, b: np.ndarray) -> float:
    """Mean log density of the copula: of the scores, over that of their margins."""
    log_det = sum(np.linalg.slogdet(w)[1] for w in (fit.to_white_x, fit.to_white_y))
    white_a, white_b = fit.white(a, b)
    # p(a, b) = ratio p(a) p(b), with the margins of the vectors; over it those of the scalars.
    vectors = log_density(np.sum(white_a**2, axis=1), fit.dx, fit.df) + log_density(
        np.sum(white_b**2, axis=1), fit.dy, fit.df
    )
    scalars = log_density(np.concatenate([a, b], axis=1) ** 2, 1, fit.df).sum(axis=1)
    return float(np.mean(fit.log_ratio(a, b) + vectors - scalars) + log_det)


def _columns(x: Array, y: Array) -> tuple[np.ndarray, np.ndarray, int]:
    columns, dropped = [], 0
    for sample, name in ((x, "x"), (y, "y")):
        kept, lost = drop_constant_columns(as_numpy(sample, name), name)
        columns.append(kept)
        dropped += lost
    paired(*columns)
    a, b = (standardised(c) for c in columns)
    require(a.shape[0], a.shape[1] + b.shape[1], f"x and y of shapes {a.shape} and {b.shape}")
    return a, b, dropped


def _estimate(method: str, fit: EllipticalFit, a: np.ndarray, b: np.ndarray, dropped: int) -> Estimate:
    flags = merged(("constant-columns",) if dropped else (), () if fit.settled else ("not-converged",))
    # Heavy tails are what this law is for; they are no reason to doubt it unless it is held to the normal one.
    if math.isinf(fit.df):
        flags = merged(flags, common_flags(a, 0), common_flags(b, 0))
    value, bias = fit.information(), fit.bias()
    # The value is the mean of these to first order; dx dy / 2 n^2 is the variance that is left at independence.
    scatter = float(np.var(fit.log_ratio(a, b), ddof=1)) / len(a) + fit.dx * fit.dy / (2 * len(a) ** 2)
    return Estimate(
        value=value,
        quantity="I(X;Y)",
        n=len(a),
        method=method,
        stderr=math.sqrt(scatter),
        flags=flags,
        diagnostics=diagnostics(
            df=fit.df if math.isfinite(fit.df) else 0.0,
            linear=value - length_information(fit.df, fit.dx, fit.dy),
            correction=-bias,
            max_canonical_correlation=float(fit.correlations[0]),
            dx=fit.dx,
            dy=fit.dy,
            dropped=dropped,
        ),
    )
