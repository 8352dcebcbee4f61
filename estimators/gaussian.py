r"""Entropy and (conditional) mutual information of jointly Gaussian variables, with the exact small-sample correction.

The log-determinant of a sample covariance is biased. For \(S\) from \(\nu = n - 1\) degrees of freedom
in \(d\) dimensions,

.. math:: E \log|S| = \log|\Sigma| + \sum_{i=1}^{d} \psi\left(\frac{\nu - i + 1}{2}\right) + d \log\frac{2}{\nu}
   \qquad \mathrm{Var} \log|S| = \sum_{i=1}^{d} \psi'\left(\frac{\nu - i + 1}{2}\right)

so the bias is removed exactly when the data are Gaussian (Misra, Singh & Demchuk, 2005, *Estimation of the
entropy of a multivariate normal distribution*, J. Multivariate Anal. 92, 324-342).
"""

from __future__ import annotations

import math

import numpy as np
from array_api_compat import array_namespace
from scipy.special import polygamma, psi

from estimators._covariance import (
    canonical,
    common_flags,
    kurtosis_ratio,
    log_det,
    log_volume,
    merged,
    orthonormal,
    participation_ratio,
    prepared,
    require,
    residual,
    spectrum_ratio,
)
from estimators._normality import beyond_normal, departure, leading
from estimators._result import Estimate
from estimators._settings import settings
from estimators.protocols import Array

__all__ = [
    "Gaussian",
    "conditional_mutual_information",
    "entropy",
    "information_and_error",
    "log_det_bias",
    "log_det_variance",
    "mutual_information",
]

_FREEDOM = 10  # beyond the dimensions; with fewer the standard error of an entropy is 0.2 to 1.1 nats


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
    return 0.5 * (cov.shape[0] * math.log(2 * math.pi * math.e) + log_det(cov, "cov"))


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
    x, y = log_det(cov[:dx, :dx], "cov[:dx, :dx]"), log_det(cov[dx:, dx:], "cov[dx:, dx:]")
    return 0.5 * (x + y - log_det(cov, "cov"))


def conditional_mutual_information(cov: Array, dx: int, dy: int) -> Array:
    r"""I(X;Y|Z) in nats of jointly Gaussian (X, Y, Z): \(\frac{1}{2} (\log|C_{xz}| + \log|C_{yz}| - \log|C_z| - \log|C|)\).

    Differentiable for torch tensors.

    Arguments:
        cov: joint covariance `(dx + dy + dz, dx + dy + dz)`, numpy or torch, in the order X, Y, Z.
        dx: dimension of X.
        dy: dimension of Y; Z has the rest, at least one.

    Raises:
        ValueError: if `cov` is no covariance or `dx` and `dy` do not split it in three.

    References:
        Cover & Thomas, *Elements of Information Theory*, section 2.5.

    Example:
        >>> import numpy as np
        >>> chain = np.array([[1.0, 0.25, 0.5], [0.25, 1.0, 0.5], [0.5, 0.5, 1.0]])  # X - Z - Y
        >>> abs(round(float(conditional_mutual_information(chain, 1, 1)), 6))
        0.0
    """
    d = cov.shape[0]
    if not (dx > 0 and dy > 0 and dx + dy < d):
        raise ValueError(
            f"dx = {dx} and dy = {dy} must split a covariance of shape {tuple(cov.shape)} in three: "
            f"both positive and dx + dy < {d}"
        )
    xz = [*range(dx), *range(dx + dy, d)]
    apart = log_det(cov[xz][:, xz], "cov of (X, Z)") + log_det(cov[dx:, dx:], "cov of (Y, Z)")
    return 0.5 * (apart - log_det(cov[dx + dy :, dx + dy :], "cov of Z") - log_det(cov, "cov"))


def log_det_bias(nu: int, d: int) -> float:
    """E log|S| - log|Sigma| of a Gaussian sample covariance with `nu` >= `d` degrees of freedom."""
    return float(np.sum(psi((nu - np.arange(d)) / 2)) + d * math.log(2 / nu))


def log_det_variance(nu: int, d: int) -> float:
    """Var log|S| of a Gaussian sample covariance with `nu` >= `d` degrees of freedom."""
    return float(np.sum(polygamma(1, (nu - np.arange(d)) / 2)))


@settings
class Gaussian:
    r"""Gaussian entropy, information and conditional information in nats: `Gaussian()` of (x), (x, y) or (x, y, z).

    .. math:: \hat H = \tfrac{1}{2} \left( d \log 2 \pi e + \log|S| - \text{bias} \right) \qquad
       \hat I = -\tfrac{1}{2} \sum_i \log(1 - r_i^2) - \text{bias}

    with \(r_i\) the sample canonical correlations and the biases of the module's first formula. Given z they are
    the correlations of the residuals of x and y on z, which follow the same law with \(d_z\) fewer degrees of
    freedom; the chain rule I(X; Y,Z) = I(X;Z) + I(X;Y|Z) holds to rounding, with and without the correction.
    The entropy is an upper bound for any law with this covariance. The mutual information is exact for
    jointly Gaussian variables and otherwise bounds nothing: it over-states it on curved manifolds.

    Below 10 degrees of freedom beyond the dimensions the flag `small-sample` is raised.

    Standard errors are analytic, for Gaussian data: \(\tfrac{1}{4}\) of the variance of \(\log|S|\); for the
    mutual information its variance at independence plus \(\sum_i r_i^2 / n\) (delta method).

    The diagnostics of an information hold the participation ratios \((\sum \lambda)^2 / \sum \lambda^2\) of the
    correlation spectra of x and of y (`effective_rank_x`, `effective_rank_y`) and of the \(r_i^2\)
    (`effective_rank_xy`), and how many \(r_i^2\) are above the largest that independent data of this size reach
    (`shared_directions`, the edge of Wachter's law). `kurtosis_x` and `kurtosis_y` are Mardia's multivariate kurtosis
    over its Gaussian expectation: 1, within \(\sqrt{8 / (n d (d + 2))}\), for Gaussian data. `departure` is that of all
    arguments together, in its exact standard deviations, and `departure_leading` that of their 8 leading directions.
    The flag `non-gaussian` is raised for an information when either is beyond 5: then the value is no estimate of
    I(X;Y) and may err either way, as on an embedded manifold (4.0 for 2.0 nats in 128 + 128 dimensions). Fewer than 1
    in 200 Gaussian samples raise it, at any n and d; laws whose kurtosis is Gaussian by chance do not. An entropy has both
    numbers and not the flag: it stays an upper bound.

    Arguments:
        corrected: remove the small-sample bias. `False` gives the plug-in value.

    Shapes:
        `x`: `(n, d)` with n > d + 1; `y`: `(n, dy)` and `z`: `(n, dz)` with n > dx + dy + dz + 1. Numpy or torch,
        measured in float64 where they are.

    Raises:
        TypeError: for a discrete variable or an array that holds no real numbers.
        ValueError: for NaN, wrong shapes, unequal n, n too small, or all columns constant.

    References:
        Misra, Singh & Demchuk, 2005. Cover & Thomas, *Elements of Information Theory*, theorems 8.4.1 and 8.6.5.
        Wachter, 1980, *The limiting empirical measure of multiple discriminant ratios*, Ann. Statist. 8, 937-957.
        Mardia, 1970, *Measures of multivariate skewness and kurtosis with applications*, Biometrika 57, 519-530.

    Example:
        >>> import numpy as np
        >>> x = np.random.default_rng(0).standard_normal((2000, 1))
        >>> print(Gaussian()(x))
        H(X) <= 1.4196 ± 0.0158 nats  [Gaussian(corrected=True), n=2000]
    """

    corrected: bool = True

    def __call__(self, x: Array, y: Array | None = None, z: Array | None = None, /) -> Estimate:
        if y is None:
            if z is not None:
                raise TypeError("Gaussian takes (x), (x, y) or (x, y, z): z was given without y")
            return self._entropy(x)
        return self._mutual_information(x, y) if z is None else self._conditional(x, y, z)

    def _entropy(self, x: Array) -> Estimate:
        (x,), (scale,), dropped = prepared(x)
        xp = array_namespace(x)
        n, d = x.shape
        require(n, d, f"x of shape {(n, d)}")
        flags = _few(common_flags(x, dropped), n - 1 - d)
        volume, full_rank = log_volume(x)
        if not full_rank:
            value, correction, flags = -math.inf, 0.0, (*flags, "rank-deficient")
        else:
            log_det_s = 2 * volume + 2 * float(xp.sum(xp.log(scale))) + d * math.log(n / (n - 1))
            correction = log_det_bias(n - 1, d) / 2 if self.corrected else 0.0
            value = (d * math.log(2 * math.pi * math.e) + log_det_s) / 2 - correction
        return Estimate(
            value=value,
            quantity="H(X)",
            n=n,
            method=repr(self),
            bound="upper",
            stderr=math.sqrt(log_det_variance(n - 1, d)) / 2,
            flags=flags,
            diagnostics={"d": d, "dropped": dropped, "correction": -correction} | _departures(x),
        )

    def _mutual_information(self, x: Array, y: Array) -> Estimate:
        (x, y), _, dropped = prepared(x, y)
        require(
            x.shape[0], x.shape[1] + y.shape[1], f"x and y of shapes {tuple(x.shape)} and {tuple(y.shape)}"
        )
        dx, dy, r2 = canonical(x, y)
        flags = merged(common_flags(x, dropped), common_flags(y, 0))
        if dx < x.shape[1] or dy < y.shape[1]:
            flags = (*flags, "rank-deficient")
        flags, numbers = _judged(flags, x, y)
        numbers["dropped"] = dropped
        return self._estimate("I(X;Y)", x, y, (dx, dy, r2), x.shape[0] - 1, flags, numbers)

    def _conditional(self, x: Array, y: Array, z: Array) -> Estimate:
        (x, y, z), _, dropped = prepared(x, y, z)
        shapes = ", ".join(str(tuple(s.shape)) for s in (x, y, z))
        require(x.shape[0], x.shape[1] + y.shape[1] + z.shape[1], f"x, y and z of shapes {shapes}")
        basis, dz = orthonormal(z)
        rest_x, rest_y = residual(x, basis), residual(y, basis)
        dx, dy, r2 = canonical(rest_x, rest_y)
        flags = merged(common_flags(x, dropped), common_flags(y, 0), common_flags(z, 0))
        if dx < x.shape[1] or dy < y.shape[1] or dz < z.shape[1]:
            flags = (*flags, "rank-deficient")
        flags, numbers = _judged(flags, x, y, z)
        numbers |= {"dz": dz, "dropped": dropped}
        return self._estimate("I(X;Y|Z)", rest_x, rest_y, (dx, dy, r2), x.shape[0] - 1 - dz, flags, numbers)

    def _estimate(
        self,
        quantity: str,
        x: Array,
        y: Array,
        correlations: tuple[int, int, Array],
        nu: int,
        flags: tuple[str, ...],
        numbers: dict[str, float],
    ) -> Estimate:
        """The estimate from squared canonical correlations with `nu` degrees of freedom."""
        dx, dy, r2 = correlations
        n, xp = x.shape[0], array_namespace(x)
        flags = _few(flags, nu - dx - dy)
        top = float(xp.max(r2)) if dx and dy else 0.0
        plug_in, bias, stderr = _information(dx, dy, r2, n, nu)
        if plug_in == math.inf:  # one is a linear function of the other
            flags = (*flags, "saturated")
        elif bias > max(abs(plug_in - bias), 2 * stderr):
            flags = (*flags, "large-correction")
        return Estimate(
            value=plug_in - bias if self.corrected else plug_in,
            quantity=quantity,
            n=n,
            method=repr(self),
            stderr=stderr or None,
            flags=flags,
            diagnostics={
                "dx": dx,
                "dy": dy,
                **numbers,
                "correction": -bias if self.corrected else 0.0,
                "max_canonical_correlation": math.sqrt(top),
                "effective_rank_x": participation_ratio(x),
                "effective_rank_y": participation_ratio(y),
                "effective_rank_xy": spectrum_ratio(r2),
                "kurtosis_x": kurtosis_ratio(x),
                "kurtosis_y": kurtosis_ratio(y),
                "shared_directions": float(xp.sum(xp.astype(r2 > _chance_edge(nu, dx, dy), xp.int64))),
            },
        )


def information_and_error(x: Array, y: Array) -> tuple[float, float]:
    """Value and standard error of `Gaussian()(x, y)` for checked samples, without the cost of its diagnostics."""
    (x, y), _, _ = prepared(x, y)
    n = x.shape[0]
    require(n, x.shape[1] + y.shape[1], f"x and y of shapes {tuple(x.shape)} and {tuple(y.shape)}")
    plug_in, bias, stderr = _information(*canonical(x, y), n, n - 1)
    return plug_in - bias, stderr


def _information(dx: int, dy: int, r2: Array, n: int, nu: int) -> tuple[float, float, float]:
    """Plug-in value, its bias and its standard error, of squared canonical correlations with `nu` degrees of freedom."""
    xp = array_namespace(r2)
    bias = 0.5 * (log_det_bias(nu, dx) + log_det_bias(nu, dy) - log_det_bias(nu, dx + dy))
    at_independence = log_det_variance(nu, dx + dy) - log_det_variance(nu, dx) - log_det_variance(nu, dy)
    signal = max(0.0, float(xp.sum(r2)) - dx * dy / nu)  # r2 sums to dx dy / nu by chance alone
    stderr = math.sqrt(max(at_independence, 0.0) / 4 + signal / n)
    top = float(xp.max(r2)) if dx and dy else 0.0
    plug_in = -0.5 * float(xp.sum(xp.log1p(-r2))) if top < 1 - 1e-12 else math.inf
    return plug_in, bias, stderr


def _few(flags: tuple[str, ...], freedom: int) -> tuple[str, ...]:
    """The flags, with `small-sample` where so few degrees of freedom are left that errors are as large as values."""
    return (*flags, "small-sample") if freedom < _FREEDOM else flags


def _judged(flags: tuple[str, ...], *samples: Array) -> tuple[tuple[str, ...], dict[str, float]]:
    """The flags, with `non-gaussian` where it applies, and the numbers that decided."""
    numbers = _departures(array_namespace(samples[0]).concat(list(samples), axis=1))
    return ((*flags, "non-gaussian") if beyond_normal(numbers) else flags), numbers


def _departures(z: Array) -> dict[str, float]:
    return {"departure": departure(z), "departure_leading": departure(leading(z))}


def _chance_edge(nu: int, dx: int, dy: int) -> float:
    """Largest squared canonical correlation of independent data, in the limit of many dimensions (Wachter's law)."""
    a, b = dx / nu, dy / nu
    return a + b - 2 * a * b + 2 * math.sqrt(a * b * (1 - a) * (1 - b))
