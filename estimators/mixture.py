r"""Entropy of a Gaussian mixture with one component per sample, bracketed by pairwise distances.

For \(T = f(X) + \sigma \varepsilon\), with X uniform on n inputs, \(h_i\) the value of f at the i-th and
\(\varepsilon\) standard normal,

.. math:: I_c = -\frac{1}{n} \sum_i \log \frac{1}{n} \sum_j e^{-\|h_i - h_j\|^2 / c \sigma^2}
   \qquad I_8 \le I(X;T) = H(T) - \frac{d}{2} \log(2 \pi e \sigma^2) \le I_2

where c = 8 is the Bhattacharyya and c = 2 the Kullback-Leibler divergence between components (Kolchinsky &
Tracey, 2017, *Estimating mixture entropy with pairwise distances*, Entropy 19, 361).
"""

from __future__ import annotations

import math
from typing import Any, Literal

from array_api_compat import array_namespace

from estimators._channel import (
    MIN_N,
    SATURATION,
    check_sigma,
    label_codes,
    label_entropy,
    noisy,
    take,
    without_constant_columns,
)
from estimators._pairs import GEMM_REACH, squared_distances
from estimators._result import Estimate
from estimators._samples import as_samples, diagnostics
from estimators._settings import settings
from estimators.protocols import Array

__all__ = ["KolchinskyTracey", "entropy_bounds", "information_bounds"]

_BLOCK = 64  # rows of the distance matrix held at once: small enough to stay in the cache
_GEMM_REACH = GEMM_REACH


def entropy_bounds(means: Array, variance: float | Array) -> tuple[Array, Array]:
    r"""Lower and upper bound of the entropy of \(\frac{1}{n} \sum_i N(\mu_i, s^2 I)\), in nats.

    Differentiable for torch tensors, in `means` and in a tensor `variance`. Works on blocks of rows, so
    memory is linear in n; a backward pass keeps all n^2 distances.

    Arguments:
        means: component means `(n, d)`, numpy or torch; measured in float64.
        variance: the common variance \(s^2 > 0\) of every component and coordinate.

    Returns:
        `(lower, upper)`, scalars of the array library of `means`.

    Raises:
        ValueError: if `means` is not `(n, d)` or `variance` is not positive and finite.

    References:
        Kolchinsky & Tracey, 2017, equations 10 and 11 (Bhattacharyya and Kullback-Leibler distances).

    Example:
        >>> import numpy as np
        >>> low, high = entropy_bounds(np.array([[0.0], [2.0]]), 1.0)
        >>> print(f"{low:.4f} {high:.4f}")
        1.6380 1.9852
    """
    low, high = information_bounds(means, variance)
    xp = array_namespace(means)
    log_variance = xp.log(variance) if hasattr(variance, "shape") else math.log(variance)
    noise = 0.5 * means.shape[1] * (math.log(2 * math.pi * math.e) + log_variance)
    return low + noise, high + noise


def information_bounds(means: Array, variance: float | Array) -> tuple[Array, Array]:
    r"""Bounds of I(X;T) for \(T = \mu_X + s \varepsilon\) and X uniform on the n rows, in nats.

    This is `entropy_bounds` less the entropy of the noise. Both sides lie in [0, log n]. Differentiable.

    Arguments:
        means: noise-free values `(n, d)`, numpy or torch; measured in float64.
        variance: the noise variance \(s^2 > 0\).

    Raises:
        ValueError: if `means` is not `(n, d)` or `variance` is not positive and finite.

    Example:
        >>> import numpy as np
        >>> low, high = information_bounds(np.array([[0.0], [100.0]]), 1.0)
        >>> print(f"{low:.4f} {high:.4f}")
        0.6931 0.6931
    """
    if getattr(means, "ndim", None) != 2 or 0 in means.shape:
        raise ValueError(
            f"means must have shape (n, d) with n, d >= 1, got {tuple(getattr(means, 'shape', ()))}"
        )
    if not (variance > 0 and variance < math.inf):
        raise ValueError(f"variance must be positive and finite, got {variance}")
    xp = array_namespace(means)
    n = means.shape[0]
    z = xp.astype(means, xp.float64)
    z = (z - xp.mean(z, axis=0)) / variance**0.5
    squares = xp.sum(z * z, axis=1)
    exact = bool(xp.max(squares) > _GEMM_REACH)
    low, high = 0.0, 0.0
    for start in range(0, n, _BLOCK):
        rows = slice(start, start + _BLOCK)
        if exact:
            distance = squared_distances(z[rows, :], z, exact)
        else:
            distance = squares[rows, None] + squares[None, :] - 2 * (z[rows, :] @ z.T)
        # The diagonal contributes exp(0) = 1, so row sums lie in [1, n]: no shift is needed before the log.
        near = xp.exp(xp.maximum(distance, squares[:1] * 0.0) / -8)
        low = low - xp.sum(xp.log(xp.mean(near, axis=1)))
        near = near * near
        high = high - xp.sum(xp.log(xp.mean(near * near, axis=1)))
    return low / n, high / n


@settings
class KolchinskyTracey:
    r"""Certain bounds of I(X;T) and I(T;Y) for a noisy readout \(T = f(X) + \sigma \varepsilon\), in nats.

    `KolchinskyTracey(sigma)(x)` brackets I(X;T) with X uniform on the n inputs:

    .. math:: I_8 \le I(X;T) \le \min\left(I_2, \; \tfrac{1}{2} \log|I + C / \sigma^2|, \; \log n\right)

    where x holds the noise-free values f(X) and C is their covariance (divisor n).
    `KolchinskyTracey(sigma)(x, y)` brackets I(T;Y), with one label per input, by

    .. math:: \text{lo} - \sum_y p_y \, \text{up}_y \le I(T;Y) \le \text{up} - \sum_y p_y \, \text{lo}_y

    from the same bounds of all rows and within each class; these sides are not clipped to [0, H(Y)].

    `interval` has both sides and no level: they hold with certainty for the n-point mixture. They say nothing
    of inputs outside the sample, and no value exceeds log n. The number depends on the noise: compare layers
    only at one `sigma` and one scale (the diagnostic `log_tr_cov` records the scale).

    `KolchinskyTracey(sigma)(x, covariances=C)`, with or without labels, brackets the channel
    \(T \mid X = x_i \sim N(f(x_i), C_i + \sigma^2 I)\) by the bounds of `mixture_covariances`, such as local Gaussian
    inputs carried through Jacobians, \(C_i = J_i S_i J_i^\top\).

    Arguments:
        sigma: standard deviation of the noise. It has no default, because it declares what is measured.
        side: which side is the value, `"lower"` or `"upper"`.

    Shapes:
        `x`: `(n, d)`; `y`: integers `(n,)`; `covariances`: variances `(n, d)`, matrices `(n, d, d)` or
        `LowRank(factors (n, d, r))`, each also with a leading 1. Numpy or torch, measured in float64 on the device of
        `x`.

    Raises:
        TypeError: if `x` holds no real numbers or `y` no integers, or they are on different devices.
        ValueError: for `sigma` <= 0, NaN, wrong shapes, unequal n, a single class, or covariances that are none.

    References:
        Kolchinsky & Tracey, 2017.
        Goldfeld et al., 2019, *Estimating information flow in deep neural networks*.

    Example:
        >>> import numpy as np
        >>> x = np.random.default_rng(0).standard_normal((500, 1))
        >>> low, high = KolchinskyTracey(sigma=1.0)(x).interval
        >>> print(f"{low:.4f} <= I(X;T) <= {high:.4f}")
        0.2152 <= I(X;T) <= 0.3534
    """

    sigma: float
    side: Literal["lower", "upper"] = "lower"

    def __post_init__(self) -> None:
        check_sigma(self.sigma)
        if self.side not in ("lower", "upper"):
            raise ValueError(f"side must be 'lower' or 'upper', got {self.side!r}")

    def __call__(self, x: Array, y: Array | None = None, /, *, covariances: Any = None) -> Estimate:
        x = as_samples(x, "x", min_n=MIN_N)
        n = int(x.shape[0])
        codes = None if y is None else label_codes(x, y)
        dropped, flags, noise = 0, tuple[str, ...](), None
        if covariances is None:
            x, dropped, flags = without_constant_columns(x)
        else:  # even a constant column may carry information, by its width
            noise = noisy(x, covariances, self.sigma)
        low, high, details = self._bounds(x, noise)
        quantity, ceiling = "I(X;T)", math.log(n)
        if high > SATURATION * math.log(n):
            flags = (*flags, "saturated")
        if codes is not None:
            quantity, total = "I(T;Y)", (low, high)
            for label in range(int(array_namespace(codes).max(codes)) + 1):
                rows = codes == label
                share = int(rows.sum()) / n
                within = self._bounds(x[rows], None if noise is None else take(noise, rows))
                low, high = low - share * within[1], high - share * within[0]
            low = min(low, high)
            entropy = label_entropy(codes)
            details |= {"label_entropy": entropy, "lower_xt": total[0], "upper_xt": total[1]}
            # The lower side never exceeds the truth, hence not H(Y); the upper is only known to be below log n.
            ceiling = entropy if self.side == "lower" else ceiling
        return Estimate(
            value=low if self.side == "lower" else high,
            quantity=quantity,
            n=n,
            method=repr(self),
            bound=self.side,
            interval=(low, high),
            ceiling=ceiling,
            flags=flags,
            diagnostics=diagnostics(**details, d=x.shape[1], dropped=dropped, sigma=self.sigma),
        )

    def _bounds(self, x: Array, noise: Any) -> tuple[float, float, dict[str, float]]:
        gaussian, log_trace = _gaussian_upper(x, self.sigma)
        if noise is None:
            sides = information_bounds(x / self.sigma, 1.0)
        else:
            from estimators import mixture_covariances as general

            sides = general.information_bounds(x / self.sigma, noise)
            gaussian = float(general.gaussian_information(x / self.sigma, noise))
        low, high = (float(side) for side in sides)
        upper = min(high, gaussian, math.log(x.shape[0]))
        # Where both sides meet (all points apart, or all equal) rounding may swap them.
        return min(low, upper), upper, {"kl_upper": high, "gaussian_upper": gaussian, "log_tr_cov": log_trace}


def _gaussian_upper(x: Array, sigma: float) -> tuple[float, float]:
    """Information of a Gaussian with the covariance of `x` through the noise; and log tr of that covariance."""
    xp = array_namespace(x)
    centred = x - xp.mean(x, axis=0)
    scale = float(xp.max(xp.abs(centred)))
    if scale == 0.0:
        return 0.0, -math.inf
    z = centred / (scale * x.shape[0] ** 0.5)
    gram = z.T @ z if z.shape[1] <= z.shape[0] else z @ z.T
    eigenvalues = xp.clip(xp.linalg.eigvalsh(gram), 0.0, None) * (scale / sigma) ** 2
    return 0.5 * float(xp.sum(xp.log1p(eigenvalues))), math.log(float(xp.sum(z * z))) + 2 * math.log(scale)
