r"""How far samples depart from a joint normal law, in standard deviations of what normal samples of this size show."""

from __future__ import annotations

import math
from collections.abc import Mapping

from array_api_compat import array_namespace, device

from estimators._covariance import orthonormal
from estimators._samples import stream
from estimators.protocols import Array

__all__ = ["LIMIT", "beyond_normal", "departure", "leading"]

LIMIT = 5.0  # of `departure`: with both forms fewer than 1 in 200 normal samples reach it, at any n and d
_LEADING = 8  # principal directions that are also judged apart from the many others
_STEPS = 4  # of subspace iteration


def departure(z: Array) -> float:
    r"""Mardia's multivariate kurtosis of centred columns, as a deviation from its law for normal samples.

    .. math:: b = \frac{1}{n} \sum_i \left(z_i^\top S^{-1} z_i\right)^2, \qquad
       E\, b = d (d + 2) \frac{n - 1}{n + 1}, \qquad
       \mathrm{Var}\, b = \frac{8 d (d + 2) (n - 3) (n - d - 1) (n - d + 1)}{(n + 1)^2 (n + 3) (n + 5)}

    with S the covariance over n; both moments are exact for normal samples of full rank d. A linear map of the columns
    changes nothing. Nor does a choice of directions by the covariance alone, as of principal ones: whitened normal
    samples are independent of it. 0 where n is too small for a variance.

    References:
        Mardia, 1970, *Measures of multivariate skewness and kurtosis with applications*, Biometrika 57, 519-530.
        Mardia, 1974, *Applications of some measures of multivariate skewness and kurtosis in testing normality and
        robustness studies*, Sankhya B 36, 115-128.
    """
    xp, n = array_namespace(z), z.shape[0]
    basis, d = orthonormal(z)
    if not d or n < d + 2 or n < 4:
        return 0.0
    lengths = xp.sum(basis * basis, axis=1) * n
    kurtosis = float(xp.mean(lengths * lengths))
    expected = d * (d + 2) * (n - 1) / (n + 1)
    variance = 8 * d * (d + 2) * (n - 3) * (n - d - 1) * (n - d + 1) / ((n + 1) ** 2 * (n + 3) * (n + 5))
    return (kurtosis - expected) / math.sqrt(variance)


def leading(z: Array) -> Array:
    """Projections `(n, 8)` of centred columns on directions of much variance, close to the principal ones.

    In many columns, noise dilutes what is not normal in the few directions that carry the variance. The directions
    depend on the covariance alone, so `departure` of the projections keeps its law.
    """
    xp, d = array_namespace(z), z.shape[1]
    if d <= _LEADING:
        return z
    start = stream(0, "directions").standard_normal((d, _LEADING))
    directions = xp.asarray(start, dtype=z.dtype, device=device(z))
    for _ in range(_STEPS):
        directions = xp.linalg.qr(z.T @ (z @ directions)).Q
    return z @ directions


def beyond_normal(numbers: Mapping[str, float]) -> bool:
    """Whether the diagnostics of an estimate say that its samples are not jointly normal."""
    return max(abs(numbers.get(key, 0.0)) for key in ("departure", "departure_leading")) > LIMIT
