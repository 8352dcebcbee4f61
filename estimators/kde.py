r"""Entropy and mutual information from Gaussian kernel density estimates.

.. math:: \hat p_i = \frac{1}{n - 1} \sum_{j \ne i} N(x_i; x_j, \mathrm{diag}(h)^2) \qquad
   \hat H(X) = -\frac{1}{n} \sum_i \log \hat p_i

Leaving the point itself out makes each \(\hat p_i\) a density fitted to other samples, so that \(\hat H\) is a cross
entropy: for any fixed bandwidth an upper bound of H(X) in expectation. With the point kept ("resubstitution") it is
the mixture bound of Kolchinsky and Tracey less d/2, and too low for narrow kernels.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from array_api_compat import array_namespace, device, is_numpy_array, is_torch_array

from estimators._channel import label_codes
from estimators._covariance import common_flags, merged
from estimators._pairs import beyond_reach, log_sum_exp, row_blocks, squared_distances
from estimators._result import Estimate
from estimators._samples import (
    as_samples,
    diagnostics,
    drop_constant_columns,
    is_discrete,
    paired,
    repeated_rows,
    standardised,
)
from estimators._settings import settings
from estimators.protocols import Array

__all__ = ["KDE", "kde_entropy"]

_RULES = ("scott", "silverman", "likelihood")
_MIN_N = 4
_SEARCH = 4.0 ** np.arange(-5, 2)  # factors of Scott's bandwidth that are tried first
_SMOOTHED = 0.1  # nats; above, the bandwidth makes the number and not the law
_FEW = 5.0  # effective neighbours at the median point below which the estimate is that of single kernels


def kde_entropy(z: Array, bandwidth: float | Array, leave_one_out: bool = True) -> Array:
    r"""Entropy in nats of a Gaussian kernel density estimate, at the points themselves; differentiable.

    .. math:: -\frac{1}{n} \sum_i \log \frac{1}{n - 1} \sum_{j \ne i} e^{-\frac{1}{2} \sum_k (z_{ik} - z_{jk})^2 / h_k^2}
       + \sum_k \log h_k + \frac{d}{2} \log 2 \pi

    By Jensen's inequality it is at least \(-L + \frac{d}{2} \log 2 \pi h^2\) with the uniformity loss
    \(L = \log \mathrm{mean}_{i \ne j}\, e^{-t \|z_i - z_j\|^2}\) at \(t = 1 / 2 h^2\), so a lower loss certifies a
    larger entropy of this estimate. A backward pass keeps n^2 numbers.

    Arguments:
        z: samples `(n, d)`, numpy or torch; measured in float64.
        bandwidth: standard deviation h > 0 of the kernel: one number, or `(d,)`, one for each coordinate.
        leave_one_out: with `False` each point is in its own density, with weight 1/n.

    Raises:
        ValueError: if `z` is not `(n, d)` with n >= 2, or the bandwidth is not positive and finite.

    References:
        Ahmad & Lin, 1976, *A nonparametric estimation of the entropy for absolutely continuous distributions*, IEEE
        Trans. Inf. Theory 22, 372-375. Wang & Isola, 2020, *Understanding contrastive representation learning through
        alignment and uniformity on the hypersphere*.

    Example:
        >>> import numpy as np
        >>> print(round(float(kde_entropy(np.array([[0.0], [2.0]]), 1.0)), 4))  # 2 + 0.5 log 2 pi
        2.9189
    """
    if not (is_numpy_array(z) or is_torch_array(z)) or z.ndim != 2 or z.shape[0] < 2 or z.shape[1] < 1:
        raise ValueError(
            f"z must have shape (n, d) with n >= 2 and d >= 1, got {tuple(getattr(z, 'shape', ()))}"
        )
    xp, d = array_namespace(z), z.shape[1]
    z = xp.astype(z, xp.float64)
    if is_torch_array(bandwidth) and is_numpy_array(z):
        raise TypeError(
            "z is a numpy array and bandwidth a tensor; pass bandwidth as a number or numpy array"
        )
    h = bandwidth if is_torch_array(bandwidth) else xp.asarray(bandwidth, dtype=xp.float64, device=device(z))
    if tuple(h.shape) not in {(), (d,)}:
        raise ValueError(
            f"bandwidth must be one number or ({d},), one for each column of z, got {tuple(h.shape)}"
        )
    if not bool(xp.all((h > 0) & (h < math.inf))):
        raise ValueError(f"bandwidth must be positive and finite, got {bandwidth}")
    volume = xp.sum(xp.log(h)) if h.ndim else d * xp.log(h)
    (parts,) = _log_densities([_kernel(z / h)], z.shape[0], leave_one_out, device(z))
    return volume + 0.5 * d * math.log(2 * math.pi) - xp.mean(parts[0])


def _kernel(z: Array) -> Callable[[slice], Array]:
    """Exponents of the kernel between some rows and all, in units of the bandwidth."""
    z = z - array_namespace(z).mean(z, axis=0)
    exact = beyond_reach(z)
    return lambda rows: -0.5 * squared_distances(z[rows, :], z, exact)


def _log_densities(
    kernels: list[Callable[[slice], Array]], n: int, leave_one_out: bool, on: Any
) -> list[tuple[Array, Array, Array]]:
    """Of every kernel: log mean over the others, how much each point counts in all means, and effective neighbours."""
    found: list[list[list[Array]]] = [[[], [], []] for _ in kernels]
    count = math.log(n - 1 if leave_one_out else n)
    for rows in row_blocks(n, n):
        for kernel, (terms, weights, effective) in zip(kernels, found, strict=True):
            scores = kernel(rows)
            xp = array_namespace(scores)
            if leave_one_out:
                own = xp.arange(n, device=on)
                scores = xp.where(own[rows][:, None] == own[None, :], -math.inf, scores)
            total = log_sum_exp(scores)
            share = xp.exp(scores - total[:, None])
            terms.append(total - count)
            weights.append(xp.sum(share, axis=0))
            effective.append(1 / xp.sum(share * share, axis=1))
    return [(xp.concat(t), sum(w[1:], w[0]), xp.concat(e)) for t, w, e in found]


@settings
class KDE:
    r"""Entropy H(X), or mutual information I(X;Y), in nats from Gaussian kernel density estimates.

    .. math:: \hat H(X) = -\frac{1}{n} \sum_i \log \hat p(x_i) \qquad
       \hat I(X;Y) = \frac{1}{n} \sum_i \log \frac{\hat p(x_i, y_i)}{\hat p(x_i)\, \hat p(y_i)}

    The kernel is a product over coordinates; \(\hat I\) takes the bandwidths of the joint density for the margins too,
    so that their smoothing partly cancels. The kernel of labels is equality. In units of each column's standard
    deviation the bandwidths are, with d the dimension of the (joint) density,

    * `"scott"`: \(n^{-1/(d+4)}\), and `"silverman"`: \(\left(\frac{4}{d + 2}\right)^{1/(d+4)} n^{-1/(d+4)}\), best for
      a Gaussian law; several narrow modes are over-smoothed, and the entropy comes out too large;
    * `"likelihood"`: the common factor that gives points left out of the estimate the largest likelihood, between
      1/1024 and 4 times Scott's (flag `not-converged` at these ends). It costs some 20 passes over all pairs.

    A number is a bandwidth in the units of the data; only then is the leave-one-out entropy certain to be an upper
    bound in expectation. `stderr` is first-order (scatter of the samples, not the bias of smoothing, which decides in
    more than a few dimensions: `neighbours` in the diagnostics is the effective number of points in the kernel of the
    median point, flag `high-dimension` below 5). A kernel wider than the ridge of a strong dependence hides it:
    `smoothed_away` is what it would take from a normal law of this covariance, and above 0.1 nats the flag is `saturated`.

    Arguments:
        bandwidth: `"scott"`, `"silverman"`, `"likelihood"`, or a positive number.
        leave_one_out: leave each point out of its own density; with `False`, resubstitution.

    Shapes:
        `x`: `(n, d)`; `y`: `(n, dy)` or integers `(n,)`; n >= 4. Numpy or torch, measured in float64 on the device of
        `x`.

    Raises:
        TypeError: for arrays that hold no real numbers, or on different devices.
        ValueError: for a bad bandwidth, NaN, wrong shapes, unequal n, n < 4, all columns constant, or a label that
            occurs once and is left out.

    References:
        Ahmad & Lin, 1976. Moon, Rajagopalan & Lall, 1995, *Estimation of mutual information using kernel density
        estimators*, Phys. Rev. E 52, 2318. Scott, 1992, *Multivariate density estimation*. Silverman, 1986, *Density
        estimation for statistics and data analysis*.

    Example:
        >>> import numpy as np
        >>> x = np.random.default_rng(0).standard_normal((2000, 1))  # 0.5 log 2 pi e = 1.419
        >>> print(KDE()(x))
        H(X) = 1.4224 ± 0.0160 nats  [KDE(bandwidth='scott', leave_one_out=True), n=2000]
    """

    bandwidth: float | Literal["scott", "silverman", "likelihood"] = "scott"
    leave_one_out: bool = True

    def __post_init__(self) -> None:
        if isinstance(self.bandwidth, str):
            if self.bandwidth not in _RULES:
                raise ValueError(f"bandwidth must be a number or one of {_RULES}, got {self.bandwidth!r}")
        elif isinstance(self.bandwidth, bool) or not isinstance(self.bandwidth, (int, float)):
            raise TypeError(
                f"KDE(bandwidth={self.bandwidth!r}): bandwidth must be a number or one of {_RULES}"
            )
        elif not 0 < self.bandwidth < math.inf:
            raise ValueError(f"bandwidth = {self.bandwidth} must be positive and finite")

    def __call__(self, x: Array, y: Array | None = None, /) -> Estimate:
        x = as_samples(x, "x", min_n=_MIN_N)
        codes, continuous = None, [x]
        if y is not None and is_discrete(y):
            codes = label_codes(x, y)
        elif y is not None:
            y = as_samples(y, "y", min_n=_MIN_N)
            paired(x, y)
            if device(x) != device(y):
                raise TypeError(
                    f"x is on device {device(x)} and y on {device(y)}; move one of them with .to(...)"
                )
            continuous.append(y)
        xp, n, on = array_namespace(x), int(x.shape[0]), device(x)
        kept = [drop_constant_columns(v, name) for v, name in zip(continuous, "xy", strict=False)]
        d = sum(v.shape[1] for v, _ in kept)
        dropped = sum(count for _, count in kept)
        spaces, log_volume, h, flags = self._spaces([v for v, _ in kept], dropped)
        kernels = [_kernel(z) for z in spaces]
        ceiling = None
        if codes is not None:
            kernels.append(_same_label(codes))
            ceiling = _label_ceiling(codes, self.leave_one_out)
        if len(kernels) == 2:
            first, second = kernels
            kernels.insert(0, lambda rows: first(rows) + second(rows))
        parts = _log_densities(kernels, n, self.leave_one_out, on)
        signs = (-1.0,) if y is None else (1.0, -1.0, -1.0)
        terms = sum(sign * part[0] for sign, part in zip(signs, parts, strict=True))
        influence = terms + sum(sign * part[1] for sign, part in zip(signs, parts, strict=True))
        influence = influence - xp.mean(influence)
        neighbours = float(xp.sort(parts[0][2])[n // 2])
        repeats = _repeats(xp.concat([v for v, _ in kept], axis=1))
        more = (("duplicates",) if repeats else ()) + (("high-dimension",) if neighbours < _FEW else ())
        smoothed = _smoothed_away(*spaces) if len(spaces) == 2 else None
        more = more if smoothed is None or smoothed <= _SMOOTHED else (*more, "saturated")
        constant = d / 2 * math.log(2 * math.pi) + log_volume if y is None else 0.0
        certain = y is None and self.leave_one_out and not isinstance(self.bandwidth, str)
        return Estimate(
            value=float(xp.mean(terms)) + constant,
            quantity="H(X)" if y is None else "I(X;Y)",
            n=n,
            method=repr(self),
            bound="upper" if certain else "none",
            stderr=math.sqrt(float(xp.sum(influence * influence)) / (n * (n - 1))),
            ceiling=ceiling,
            flags=merged(flags, more),
            diagnostics=diagnostics(
                d=d,
                dropped=dropped,
                bandwidth=h,
                neighbours=neighbours,
                repeated_rows=repeats,
                smoothed_away=smoothed,
            ),
        )

    def _spaces(
        self, samples: list[Array], dropped: int
    ) -> tuple[list[Array], float, float, tuple[str, ...]]:
        """Samples in units of their bandwidths, the log volume of these units, the factor, and flags."""
        xp = array_namespace(samples[0])
        d = sum(v.shape[1] for v in samples)
        pairs = [standardised(v, with_scale=True) for v in samples]
        flags = merged(*(common_flags(z, dropped) for z, _ in pairs))
        if not isinstance(self.bandwidth, str):
            h = float(self.bandwidth)
            return [v / h for v in samples], d * math.log(h), h, flags
        n = samples[0].shape[0]
        h = n ** (-1 / (d + 4))
        if self.bandwidth == "silverman":
            h *= (4 / (d + 2)) ** (1 / (d + 4))
        elif self.bandwidth == "likelihood":
            h, inside = _most_likely(xp.concat([z for z, _ in pairs], axis=1), h)
            flags = flags if inside else (*flags, "not-converged")
        log_scale = sum(float(xp.sum(xp.log(scale))) for _, scale in pairs)
        return [z / h for z, _ in pairs], d * math.log(h) + log_scale, h, flags


def _smoothed_away(x: Array, y: Array) -> float:
    r"""Nats that kernels of unit variance take from the information of a normal law with the covariance of the samples.

    .. math:: \tfrac{1}{2} \left[ c(\lambda_{xy}) - c(\lambda_x) - c(\lambda_y) \right], \qquad
       c(\lambda) = \sum_k \log \left(1 + \frac{1}{\lambda_k}\right) - \frac{1}{1 + \lambda_k}

    over the eigenvalues of the three covariances: c / 2 is the Kullback-Leibler divergence of the law from the smoothed one.
    """
    xp = array_namespace(x)

    def cost(z: Array) -> float:
        z = z - xp.mean(z, axis=0)
        values = xp.linalg.eigvalsh(z.T @ z / z.shape[0])
        values = xp.maximum(values, values[-1:] * 1e-14)  # a null direction, to working precision
        return float(xp.sum(xp.log1p(1 / values) - 1 / (1 + values)))

    return 0.5 * (cost(xp.concat([x, y], axis=1)) - cost(x) - cost(y))


def _most_likely(z: Array, scott: float) -> tuple[float, bool]:
    """Bandwidth of the largest leave-one-out likelihood, and whether it lies inside the range searched."""
    from scipy.optimize import minimize_scalar

    def cost(log_h: float) -> float:
        return float(kde_entropy(z, math.exp(log_h)))

    grid = np.log(_SEARCH * scott)
    best = int(np.argmin([cost(value) for value in grid]))
    if best in (0, len(grid) - 1):
        return math.exp(grid[best]), False
    ends = (grid[best - 1], grid[best + 1])
    found = minimize_scalar(cost, bounds=ends, method="bounded", options={"xatol": 2e-4}).x
    return math.exp(round(found, 3)), True  # rounded: numpy and torch distances differ in the last digits


def _same_label(codes: Array) -> Callable[[slice], Array]:
    xp = array_namespace(codes)
    zero = xp.zeros((1, 1), dtype=xp.float64, device=device(codes))
    return lambda rows: xp.where(codes[rows][:, None] == codes[None, :], zero, -math.inf)


def _label_ceiling(codes: Array, leave_one_out: bool) -> float:
    """The largest possible mean of -log p(y), with p(y) as the kernel of labels estimates it."""
    xp, n, less = array_namespace(codes), codes.shape[0], int(leave_one_out)
    counts = [int(xp.sum(xp.astype(codes == c, xp.int64))) for c in range(int(xp.max(codes)) + 1)]
    if min(counts) <= less:
        raise ValueError(
            f"y of shape {tuple(codes.shape)} has a label that occurs once: left out, its density is zero; drop it, or "
            "pass leave_one_out=False"
        )
    return -sum(count / n * math.log((count - less) / (n - less)) for count in counts)


def _repeats(x: Array) -> int:
    return x.shape[0] - x.unique(dim=0).shape[0] if is_torch_array(x) else repeated_rows(x)
