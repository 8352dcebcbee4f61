"""Total correlation of jointly Gaussian variables, with the exact small-sample correction."""

from __future__ import annotations

import math
from collections.abc import Sequence

from array_api_compat import array_namespace

from estimators._covariance import (
    common_flags,
    log_det,
    log_volume,
    merged,
    orthonormal,
    participation_ratio,
    prepared,
    require,
    variable_name,
)
from estimators._result import Estimate
from estimators._settings import settings
from estimators.gaussian import log_det_bias, log_det_variance
from estimators.protocols import Array

__all__ = ["GaussianTotalCorrelation", "total_correlation"]


def total_correlation(cov: Array, sizes: Sequence[int] | None = None) -> Array:
    r"""Total correlation in nats of jointly Gaussian blocks: \(\frac{1}{2} (\sum_j \log|C_{jj}| - \log|C|)\).

    Differentiable for torch tensors. With two blocks it is their mutual information; infinite when a block is a
    function of the others.

    Arguments:
        cov: joint covariance `(d, d)`, numpy or torch.
        sizes: dimensions of the blocks, in order; by default every coordinate is a block.

    Raises:
        ValueError: if `cov` is no covariance or `sizes` do not add up to d.

    References:
        Watanabe, 1960, *Information theoretical analysis of multivariate correlation*, IBM J. Res. Dev. 4, 66-82.

    Example:
        >>> import numpy as np
        >>> round(float(total_correlation(np.array([[1.0, 0.5], [0.5, 1.0]]))), 6)
        0.143841
    """
    joint = log_det(cov, "cov")
    sizes = [1] * cov.shape[0] if sizes is None else list(sizes)
    if min(sizes, default=0) < 1 or sum(sizes) != cov.shape[0]:
        raise ValueError(
            f"sizes = {tuple(sizes)} must be positive and add up to {cov.shape[0]}, "
            f"the dimension of a covariance of shape {tuple(cov.shape)}"
        )
    start, apart = 0, 0.0
    for size in sizes:
        stop = start + size
        apart = apart + log_det(cov[start:stop, start:stop], f"cov[{start}:{stop}, {start}:{stop}]")
        start = stop
    return 0.5 * (apart - joint)


@settings
class GaussianTotalCorrelation:
    r"""Total correlation of the columns of one array, or of several arrays, in nats.

    .. math:: \hat T = \tfrac{1}{2} \left( \sum_j \log|S_{jj}| - \log|S| \right) - \text{bias}, \qquad
       \text{bias} = \tfrac{1}{2} \left( \sum_j b(d_j) - b(d) \right)

    with \(b(d) = E \log|S| - \log|\Sigma|\) of a Wishart matrix in d dimensions. Called with one array, every
    column is a variable, `TC(X)`; with several, each array is one, `TC(X1;X2;...)`. Exact for jointly Gaussian
    variables, no bound otherwise.

    The standard error is analytic, for Gaussian data: the variance at independence, which is exact since
    \(|S| / \prod_j |S_{jj}|\) is then independent of the \(|S_{jj}|\), plus \(\sum_{i<j} \|R_{ij}\|_F^2 / n\) over
    the whitened cross-covariances (delta method).

    Arguments:
        corrected: remove the small-sample bias. `False` gives the plug-in value.

    Shapes:
        One array `(n, d)` with d >= 2, or several `(n, d_j)`; n > 1 + the sum of the dimensions. Numpy or torch.

    Raises:
        TypeError: for a discrete variable or an array that holds no real numbers.
        ValueError: for a single column, NaN, wrong shapes, unequal n, n too small, or all columns constant.

    References:
        Watanabe, 1960, IBM J. Res. Dev. 4, 66-82. Misra, Singh & Demchuk, 2005, J. Multivariate Anal. 92, 324-342.

    Example:
        >>> import numpy as np
        >>> x = np.random.default_rng(0).standard_normal((2000, 5))
        >>> print(GaussianTotalCorrelation()(x))
        TC(X) = 0.0009 ± 0.0015 nats  [GaussianTotalCorrelation(corrected=True), n=2000]
    """

    corrected: bool = True

    def __call__(self, x: Array, /, *others: Array) -> Estimate:
        samples, _, dropped = prepared(x, *others)
        n = samples[0].shape[0]
        if not others and samples[0].shape[1] + dropped < 2:
            raise ValueError(
                f"x of shape {(n, 1)} is one variable and total correlation needs two; pass more columns or arrays"
            )
        xp = array_namespace(samples[0])
        require(n, sum(s.shape[1] for s in samples), "x" if not others else f"{len(samples)} arrays together")
        flags = merged(common_flags(samples[0], dropped), *(common_flags(s, 0) for s in samples[1:]))
        if others:
            white, sizes = zip(*(orthonormal(s) for s in samples), strict=True)
            z = xp.concat(white, axis=1) * n**0.5
            if z.shape[1] < sum(s.shape[1] for s in samples):
                flags = (*flags, "rank-deficient")
        else:
            z, sizes = samples[0], (1,) * samples[0].shape[1]
        volume, full_rank = log_volume(z)
        nu, d = n - 1, z.shape[1]
        bias = 0.5 * (sum(log_det_bias(nu, size) for size in sizes) - log_det_bias(nu, d))
        by_chance = (d * d - sum(size * size for size in sizes)) / (2 * nu)
        gram = z.T @ z / n
        signal = max(0.0, (float(xp.sum(gram * gram)) - d) / 2 - by_chance)
        at_independence = log_det_variance(nu, d) - sum(log_det_variance(nu, size) for size in sizes)
        stderr = math.sqrt(max(at_independence, 0.0) / 4 + signal / n)
        plug_in = -volume if full_rank else math.inf
        if not full_rank:
            flags = (*flags, "saturated")
        elif bias > max(abs(plug_in - bias), 2 * stderr):
            flags = (*flags, "large-correction")
        names = ";".join(f"X{i + 1}" for i in range(len(samples))) if others else "X"
        ranks = {f"effective_rank_{variable_name(i)}": participation_ratio(s) for i, s in enumerate(samples)}
        return Estimate(
            value=plug_in - bias if self.corrected else plug_in,
            quantity=f"TC({names})",
            n=n,
            method=repr(self),
            stderr=stderr or None,
            flags=flags,
            diagnostics={
                "d": d,
                "variables": len(sizes),
                "dropped": dropped,
                "correction": -bias if self.corrected else 0.0,
                **ranks,
            },
        )
