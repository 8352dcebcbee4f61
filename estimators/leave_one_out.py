r"""Bounds of I(X;Z) from one draw per input, for an encoder whose law p(z|x) is known and Gaussian.

.. math:: I_{NCE} = E \left[ \log \frac{p(z_i|x_i)}{\frac{1}{K} \sum_j p(z_i|x_j)} \right] \le I(X;Z) \le
   E \left[ \log \frac{p(z_i|x_i)}{\frac{1}{K - 1} \sum_{j \ne i} p(z_i|x_j)} \right] = I_{LOO}

for K independent inputs (Poole et al., 2019, *On variational bounds of mutual information*, equations 4 and 11).
"""

from __future__ import annotations

import math
from typing import Any, Literal

from array_api_compat import array_namespace, device

from estimators._channel import MIN_N, SATURATION, channel, check_sigma
from estimators._components import Mixture, log_density_rows
from estimators._pairs import beyond_reach, log_sum_exp, row_blocks
from estimators._result import Estimate
from estimators._samples import as_samples, diagnostics, stream
from estimators._settings import settings
from estimators.protocols import Array

__all__ = ["LeaveOneOut", "leave_one_out_bound"]

_FEW = 5.0  # effective alternatives at the median draw below which a mean over them is a matter of luck


def leave_one_out_bound(log_densities: Array) -> Array:
    r"""Upper bound of I(X;Z) in nats from \(\log p(z_i | x_j)\) of all pairs.

    .. math:: \frac{1}{K} \sum_i \left( \log p(z_i|x_i) - \log \frac{1}{K - 1} \sum_{j \ne i} p(z_i|x_j) \right)

    Differentiable for torch tensors. The lower bound from the same matrix is `score_bounds.infonce_bound`; of a Gaussian
    encoder the matrix is `mixture_covariances.log_densities(z, means, covariances)`.

    Arguments:
        log_densities: `(K, K)` with K >= 2, entry (i, j) at z_i given x_j; numpy or torch. A constant added to a row
            changes nothing.

    Raises:
        ValueError: if it is not square.

    References:
        Poole et al., 2019, equation 4.

    Example:
        >>> import numpy as np
        >>> print(round(float(leave_one_out_bound(np.eye(3))), 4))
        1.0
    """
    shape = tuple(getattr(log_densities, "shape", ()))
    if len(shape) != 2 or shape[0] != shape[1] or shape[0] < 2:
        raise ValueError(
            f"log_densities must have shape (K, K) with K >= 2, one row for each z and one column for each x, got {shape}"
        )
    xp = array_namespace(log_densities)
    own = xp.eye(shape[0], dtype=xp.bool, device=device(log_densities))
    others = log_sum_exp(xp.where(own, -math.inf, log_densities)) - math.log(shape[0] - 1)
    return xp.mean(xp.linalg.diagonal(log_densities) - others)


@settings
class LeaveOneOut:
    r"""Upper or lower bound of I(X;Z) in nats for \(Z = f(X) + \sigma \varepsilon\), from one draw of each input.

    .. math:: \hat I_{upper} = \frac{1}{K} \sum_i \log \frac{p(z_i|x_i)}{\frac{1}{K - 1} \sum_{j \ne i} p(z_i|x_j)}
       \qquad \hat I_{lower} = \frac{1}{K} \sum_i \log \frac{p(z_i|x_i)}{\frac{1}{K} \sum_j p(z_i|x_j)}

    with K = n. Both hold in expectation for the law that the inputs were drawn from, not for X uniform on the n rows:
    that is what tells them from `KolchinskyTracey` and `SamplePropagation`. The lower one never exceeds log K, its
    `ceiling`; once it is near (`saturated`) the two part, and the upper one grows with the distances between inputs.
    Both are in the diagnostics. `stderr` is from the first-order influence of every input, as the one that is coded
    and as the alternative for others. It is too small for the upper side where few inputs are near enough to matter
    (the diagnostic `alternatives`, their effective number at the median draw; flag `low-effective-sample` below 5).

    `LeaveOneOut(sigma)(x, covariances=C)` is the same for \(Z \mid X = x_i \sim N(f(x_i), C_i + \sigma^2 I)\).

    Arguments:
        sigma: standard deviation of the noise. It has no default, because it declares what is measured.
        side: which side is the value, `"upper"` or `"lower"`.
        seed: of the noise.

    Shapes:
        `x`: `(n, d)`, the noise-free values; `covariances`: variances `(n, d)`, matrices `(n, d, d)` or
        `LowRank(factors (n, d, r))`, each also with a leading 1. Numpy or torch, measured in float64 on the device of
        `x`.

    Raises:
        TypeError: if `x` holds no real numbers.
        ValueError: for `sigma` <= 0, NaN, wrong shapes, n < 4, or covariances that are none.

    References:
        Poole et al., 2019.

    Example:
        >>> import numpy as np
        >>> x = np.random.default_rng(0).standard_normal((2000, 1))  # I(X;Z) = 0.5 log 2 = 0.347
        >>> for side in ("lower", "upper"):
        ...     print(LeaveOneOut(sigma=1.0, side=side)(x))
        I(X;Z) >= 0.3548 ± 0.0153 nats  [LeaveOneOut(sigma=1.0, side='lower', seed=0), n=2000, ceiling 7.601]
        I(X;Z) <= 0.3553 ± 0.0153 nats  [LeaveOneOut(sigma=1.0, side='upper', seed=0), n=2000]
    """

    sigma: float
    side: Literal["upper", "lower"] = "upper"
    seed: int = 0

    def __post_init__(self) -> None:
        check_sigma(self.sigma)
        if self.side not in ("lower", "upper"):
            raise ValueError(f"side must be 'lower' or 'upper', got {self.side!r}")

    def __call__(self, x: Array, /, *, covariances: Any = None) -> Estimate:
        x = as_samples(x, "x", min_n=MIN_N)
        n = int(x.shape[0])
        mixture, dropped, flags = channel(x, covariances, self.sigma)
        sides, errors, alternatives = _sides(mixture, self.seed)
        if sides["lower"] > SATURATION * math.log(n):
            flags = (*flags, "saturated")
        if self.side == "upper" and alternatives < _FEW:
            flags = (*flags, "low-effective-sample")
        return Estimate(
            value=sides[self.side],
            quantity="I(X;Z)",
            n=n,
            method=repr(self),
            bound=self.side,
            stderr=errors[self.side],
            ceiling=math.log(n) if self.side == "lower" else None,
            flags=flags,
            diagnostics=diagnostics(
                **sides, d=x.shape[1] - dropped, dropped=dropped, sigma=self.sigma, alternatives=alternatives
            ),
        )


def _sides(mixture: Mixture, seed: int) -> tuple[dict[str, float], dict[str, float], float]:
    """Both sides, their standard errors, and the effective number of alternatives of the median draw."""
    means = mixture.means
    xp, n, on = array_namespace(means), means.shape[0], device(means)
    white = xp.asarray(stream(seed, "leave one out").standard_normal((n, mixture.white_dims)), device=on)
    exact, own = beyond_reach(means), xp.arange(n, device=on)
    terms: dict[str, list[Array]] = {"lower": [], "upper": []}
    weights = {"lower": 0.0, "upper": 0.0}
    effective = []
    for rows in row_blocks(n, n):
        logs = log_density_rows(mixture, mixture.draw(rows, white[rows, :]), exact)
        diagonal = own[rows][:, None] == own[None, :]
        matched = xp.sum(xp.where(diagonal, logs, 0.0), axis=1)
        for side, scores, count in (
            ("lower", logs, n),
            ("upper", xp.where(diagonal, -math.inf, logs), n - 1),
        ):
            total = log_sum_exp(scores)
            terms[side].append(matched - total + math.log(count))
            share = xp.exp(scores - total[:, None])
            weights[side] = weights[side] + xp.sum(share, axis=0)
        effective.append(1 / xp.sum(share * share, axis=1))
    sides, errors = {}, {}
    for side, parts in terms.items():
        term = xp.concat(parts)
        sides[side] = float(xp.mean(term))
        influence = term - weights[side]
        influence = influence - xp.mean(influence)
        errors[side] = math.sqrt(float(xp.sum(influence * influence)) / (n * (n - 1)))
    middle = xp.sort(xp.concat(effective))[n // 2]
    return sides, errors, float(middle)
