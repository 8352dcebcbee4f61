r"""Entropy and mutual information of jointly Gaussian variables, with the exact small-sample correction.

The log-determinant of a sample covariance is biased. For \(S\) from \(\nu = n - 1\) degrees of freedom
in \(d\) dimensions,

.. math:: E \log|S| = \log|\Sigma| + \sum_{i=1}^{d} \psi\left(\frac{\nu - i + 1}{2}\right) + d \log\frac{2}{\nu}
   \qquad \mathrm{Var} \log|S| = \sum_{i=1}^{d} \psi'\left(\frac{\nu - i + 1}{2}\right)

so the bias is removed exactly when the data are Gaussian (Misra, Singh & Demchuk, 2005, *Estimation of the
entropy of a multivariate normal distribution*, J. Multivariate Anal. 92, 324-342).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from array_api_compat import array_namespace
from scipy.special import polygamma, psi

from estimators._result import Estimate
from estimators._samples import as_samples, drop_constant_columns, paired, standardised
from estimators.protocols import Array

__all__ = ["Gaussian", "entropy", "log_det_bias", "log_det_variance", "mutual_information"]

_PIVOT = 1e-3  # smallest Cholesky pivot of a correlation matrix at which squaring loses no digit that matters
_RANK_TOL = 1e-10  # singular values below this share of the largest are null directions
_HEAVY = 6.0  # excess kurtosis above which second moments converge slowly (a Laplace law has 3)


def _log_det(cov: Array, name: str) -> Array:
    if getattr(cov, "ndim", None) != 2 or cov.shape[0] != cov.shape[1]:
        raise ValueError(
            f"{name} must be a square (d, d) matrix, got shape {tuple(getattr(cov, 'shape', ()))}"
        )
    xp = array_namespace(cov)
    # Checked on values: a matrix that is not symmetric would give a number without meaning.
    if not bool(xp.all(xp.abs(cov - cov.T) <= 1e-8 * xp.max(xp.abs(cov)))):
        raise ValueError(f"{name} of shape {tuple(cov.shape)} is not symmetric; pass (C + C.T) / 2")
    sign, value = xp.linalg.slogdet(cov)
    if bool((sign < 0) | (value != value)):
        raise ValueError(
            f"{name} of shape {tuple(cov.shape)} is not positive semidefinite: it is no covariance"
        )
    return value


def entropy(cov: Array) -> Array:
    r"""Differential entropy of N(0, cov) in nats: \(\frac{1}{2} \log |2 \pi e \, C|\).

    Differentiable for torch tensors. A singular covariance gives -inf.

    Arguments:
        cov: covariance matrix `(d, d)`, numpy or torch.

    Raises:
        ValueError: if `cov` is not square, symmetric and positive semidefinite.

    Example:
        >>> import numpy as np
        >>> round(float(entropy(np.eye(1))), 6)
        1.418939
    """
    return 0.5 * (cov.shape[0] * math.log(2 * math.pi * math.e) + _log_det(cov, "cov"))


def mutual_information(cov: Array, dx: int) -> Array:
    r"""I(X;Y) in nats of jointly Gaussian (X, Y): \(\frac{1}{2} (\log|C_x| + \log|C_y| - \log|C|)\).

    Differentiable for torch tensors. Infinite when one is a function of the other.

    Arguments:
        cov: joint covariance `(dx + dy, dx + dy)`, numpy or torch, X first.
        dx: dimension of X, with 0 < dx < dx + dy.

    Raises:
        ValueError: if `cov` is no covariance or `dx` does not split it.

    Example:
        >>> import numpy as np
        >>> round(float(mutual_information(np.array([[1.0, 0.5], [0.5, 1.0]]), 1)), 6)
        0.143841
    """
    if not 0 < dx < cov.shape[0]:
        raise ValueError(
            f"dx = {dx} must split a covariance of shape {tuple(cov.shape)} in two: 0 < dx < {cov.shape[0]}"
        )
    x, y = _log_det(cov[:dx, :dx], "cov[:dx, :dx]"), _log_det(cov[dx:, dx:], "cov[dx:, dx:]")
    return 0.5 * (x + y - _log_det(cov, "cov"))


def log_det_bias(nu: int, d: int) -> float:
    """E log|S| - log|Sigma| of a Gaussian sample covariance with `nu` >= `d` degrees of freedom."""
    return float(np.sum(psi((nu - np.arange(d)) / 2)) + d * math.log(2 / nu))


def log_det_variance(nu: int, d: int) -> float:
    """Var log|S| of a Gaussian sample covariance with `nu` >= `d` degrees of freedom."""
    return float(np.sum(polygamma(1, (nu - np.arange(d)) / 2)))


@dataclass(frozen=True)
class Gaussian:
    r"""Gaussian entropy `Gaussian()(x)` and mutual information `Gaussian()(x, y)`, in nats.

    .. math:: \hat H = \tfrac{1}{2} \left( d \log 2 \pi e + \log|S| - \text{bias} \right) \qquad
       \hat I = -\tfrac{1}{2} \sum_i \log(1 - r_i^2) - \text{bias}

    with \(r_i\) the sample canonical correlations and the biases of the module's first formula. The
    entropy is an upper bound for any law with this covariance. The mutual information is exact for
    jointly Gaussian variables and otherwise bounds nothing: it over-states it on curved manifolds.

    Standard errors are analytic, for Gaussian data: \(\tfrac{1}{4}\) of the variance of \(\log|S|\); for the
    mutual information its variance at independence plus \(\sum_i r_i^2 / n\) (delta method).

    Arguments:
        corrected: remove the small-sample bias. `False` gives the plug-in value.

    Shapes:
        `x`: `(n, d)` with n > d; `y`: `(n, dy)` with n > d + dy. Numpy or torch, measured in float64 where they are.

    Raises:
        TypeError: for a discrete variable or an array that holds no real numbers.
        ValueError: for NaN, wrong shapes, unequal n, n too small, or all columns constant.

    References:
        Misra, Singh & Demchuk, 2005. Cover & Thomas, *Elements of Information Theory*, theorems 8.4.1 and 8.6.5.

    Example:
        >>> import numpy as np
        >>> x = np.random.default_rng(0).standard_normal((2000, 1))
        >>> print(Gaussian()(x))
        H(X) <= 1.4196 ± 0.0158 nats  [Gaussian(corrected=True), n=2000]
    """

    corrected: bool = True

    def __call__(self, x: Array, y: Array | None = None, /) -> Estimate:
        return self._entropy(x) if y is None else self._mutual_information(x, y)

    def _entropy(self, x: Array) -> Estimate:
        x, dropped = drop_constant_columns(as_samples(x), "x")
        xp = array_namespace(x)
        n, d = x.shape
        _require(n, d, f"x of shape {(n, d)}")
        x, scale = standardised(x, with_scale=True)
        flags = _common_flags(x, dropped)
        log_volume, full_rank = _log_volume(x)
        if not full_rank:
            value, correction, flags = -math.inf, 0.0, (*flags, "rank-deficient")
        else:
            log_det = 2 * log_volume + 2 * float(xp.sum(xp.log(scale))) + d * math.log(n / (n - 1))
            correction = log_det_bias(n - 1, d) / 2 if self.corrected else 0.0
            value = (d * math.log(2 * math.pi * math.e) + log_det) / 2 - correction
        return Estimate(
            value=value,
            quantity="H(X)",
            n=n,
            method=repr(self),
            bound="upper",
            stderr=math.sqrt(log_det_variance(n - 1, d)) / 2,
            flags=flags,
            diagnostics={"d": d, "dropped": dropped, "correction": -correction},
        )

    def _mutual_information(self, x: Array, y: Array) -> Estimate:
        x, y = as_samples(x), as_samples(y, "y")
        paired(x, y)
        (x, dropped_x), (y, dropped_y) = drop_constant_columns(x, "x"), drop_constant_columns(y, "y")
        x, y = standardised(x), standardised(y)
        flags = _common_flags(x, dropped_x + dropped_y)
        if "heavy-tails" not in flags and "heavy-tails" in _common_flags(y, 0):
            flags = (*flags, "heavy-tails")
        n = x.shape[0]
        dx, dy, r2 = _canonical(x, y)
        _require(n, dx + dy, f"x and y of shapes {tuple(x.shape)} and {tuple(y.shape)}")
        if dx < x.shape[1] or dy < y.shape[1]:
            flags = (*flags, "rank-deficient")
        xp = array_namespace(x)
        nu = n - 1
        bias = 0.5 * (log_det_bias(nu, dx) + log_det_bias(nu, dy) - log_det_bias(nu, dx + dy))
        if float(xp.max(r2)) >= 1 - 1e-12:  # one is a linear function of the other
            value, flags = math.inf, (*flags, "saturated")
        else:
            value = -0.5 * float(xp.sum(xp.log1p(-r2))) - (bias if self.corrected else 0.0)
        at_independence = log_det_variance(nu, dx + dy) - log_det_variance(nu, dx) - log_det_variance(nu, dy)
        signal = max(0.0, float(xp.sum(r2)) - dx * dy / nu)  # r2 sums to dx dy / nu by chance alone
        stderr = math.sqrt(max(at_independence, 0.0) / 4 + signal / n)
        if self.corrected and bias > max(abs(value), 2 * stderr):
            flags = (*flags, "large-correction")
        return Estimate(
            value=value,
            quantity="I(X;Y)",
            n=n,
            method=repr(self),
            stderr=stderr,
            flags=flags,
            diagnostics={
                "dx": dx,
                "dy": dy,
                "dropped": dropped_x + dropped_y,
                "correction": -bias if self.corrected else 0.0,
                "max_canonical_correlation": math.sqrt(float(xp.max(r2))),
            },
        )


def _require(n: int, d: int, what: str) -> None:
    if n <= d + 1:
        raise ValueError(
            f"{what}: a Gaussian fit in {d} dimensions needs n > {d + 1} samples; "
            "use more samples or wrap the estimator as Projected(Gaussian(), dims=...)"
        )


def _log_volume(z: Array) -> tuple[float, bool]:
    """Half the log-determinant of z'z / n for standardised columns, and whether the rank is full."""
    xp = array_namespace(z)
    factor = _cholesky(z)
    if factor is not None:
        return float(xp.sum(xp.log(xp.linalg.diagonal(factor)))), True
    singular = xp.linalg.svdvals(z / z.shape[0] ** 0.5)
    if float(singular[-1]) <= _RANK_TOL * float(singular[0]):
        return -math.inf, False
    return float(xp.sum(xp.log(singular))), True


def _canonical(x: Array, y: Array) -> tuple[int, int, Array]:
    """Ranks of the standardised x and y, and their squared canonical correlations."""
    xp = array_namespace(x)
    lx, ly = _cholesky(x), _cholesky(y)
    if lx is not None and ly is not None:
        cross = xp.linalg.solve(ly, xp.linalg.solve(lx, x.T @ y / x.shape[0]).T)
        dx, dy = x.shape[1], y.shape[1]
    else:
        (ux, dx), (uy, dy) = _range_basis(x), _range_basis(y)
        cross = ux.T @ uy
    return dx, dy, xp.clip(xp.linalg.svdvals(cross), 0.0, 1.0) ** 2


def _cholesky(z: Array) -> Array | None:
    """Factor of z'z / n where squaring the condition number does no harm; `None` elsewhere."""
    xp = array_namespace(z)
    try:
        factor = xp.linalg.cholesky(z.T @ z / z.shape[0])
    except (ValueError, RuntimeError):  # the LinAlgError of numpy and of torch: not positive definite
        return None
    return factor if float(xp.min(xp.linalg.diagonal(factor))) >= _PIVOT else None


def _range_basis(x: Array) -> tuple[Array, int]:
    """Orthonormal basis of the columns: (n, rank). Mutual information only depends on this range."""
    xp = array_namespace(x)
    u, s, _ = xp.linalg.svd(x, full_matrices=False)
    rank = int(xp.sum(xp.astype(s > _RANK_TOL * s[0], xp.int64)))
    return u[:, :rank], rank


def _common_flags(z: Array, dropped: int) -> tuple[str, ...]:
    """Flags of standardised columns, whose kurtosis is their mean fourth power."""
    xp = array_namespace(z)
    square = z * z
    flags = ("constant-columns",) if dropped else ()
    heavy = float(xp.max(xp.mean(square * square, axis=0))) - 3 > _HEAVY
    return (*flags, "heavy-tails") if heavy else flags
