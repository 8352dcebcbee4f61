r"""Information through a noisy channel by sample propagation: the exact mixture density at samples drawn from it.

The entropy of \(T = f(X) + \sigma \varepsilon\) over n inputs is that of a known Gaussian mixture. It has no closed
form, but its density does, so a mean over draws is unbiased for the mixture (Goldfeld et al., 2019, *Estimating
information flow in deep neural networks*).
"""

from __future__ import annotations

import math
from typing import Any

from array_api_compat import array_namespace, device

from estimators._channel import MIN_N, SATURATION, channel, check_sigma, label_codes, label_entropy
from estimators._components import Mixture, log_density_rows
from estimators._pairs import beyond_reach, log_sum_exp, row_blocks
from estimators._result import Estimate
from estimators._samples import as_samples, diagnostics, stream
from estimators._settings import settings
from estimators.protocols import Array

__all__ = ["SamplePropagation"]


@settings
class SamplePropagation:
    r"""Monte Carlo estimate of I(X;T) or I(T;Y) for a noisy readout \(T = f(X) + \sigma \varepsilon\), in nats.

    With \(p_j = N(f(x_j), \sigma^2 I)\) the law of T given the j-th of n inputs, and \(t_{im}\) drawn from \(p_i\),

    .. math:: \hat I(X;T) = \frac{1}{n M} \sum_{i=1}^{n} \sum_{m=1}^{M}
       \log \frac{p_i(t_{im})}{\frac{1}{n} \sum_j p_j(t_{im})}

    With labels, \(p_i\) gives way to the mixture of the inputs of the same label, which makes it I(T;Y). The diagnostic
    `entropy` is H(T), the estimate plus the known entropy of the noise.

    * For X uniform on the n inputs the estimate is unbiased, and `stderr` (from the scatter within each input's
      draws) is all of its error. No draw exceeds log n, the `ceiling`; I(T;Y) cannot exceed H(Y).
    * For the law that the inputs were drawn from it is a plug-in, and I(X;T) is too low in expectation (the entropy is
      concave in the law of f(X)). The risk falls as \(n^{-1/2}\) with a constant exponential in the dimension: where
      the noise is small against the distances between inputs the number is log n whatever the law, flag `saturated`.
    * It lies between the sides of `KolchinskyTracey(sigma)`, which are certain and cheaper by a factor of M.

    The number depends on the noise: compare layers only at one `sigma` and one scale.

    `SamplePropagation(sigma)(x, covariances=C)` is the same for \(T \mid X = x_i \sim N(f(x_i), C_i + \sigma^2 I)\).

    Arguments:
        sigma: standard deviation of the noise. It has no default, because it declares what is measured.
        draws: M, samples of the noise for each input, at least 2. Time is M n^2 d.
        seed: of the noise.

    Shapes:
        `x`: `(n, d)`, the noise-free values; `y`: integers `(n,)`; `covariances`: variances `(n, d)`, matrices
        `(n, d, d)` or `LowRank(factors (n, d, r))`, each also with a leading 1. Numpy or torch, measured in float64 on
        the device of `x`.

    Raises:
        TypeError: if `x` holds no real numbers or `y` no integers, or they are on different devices.
        ValueError: for `sigma` <= 0, `draws` < 2, NaN, wrong shapes, unequal n, a single class, or covariances that
            are none.

    References:
        Goldfeld et al., 2019. Goldfeld, Greenewald, Niles-Weed & Polyanskiy, 2020, *Convergence of smoothed empirical
        measures with applications to entropy estimation*, IEEE Trans. Inf. Theory 66, 4368-4391.

    Example:
        >>> import numpy as np
        >>> x = np.random.default_rng(0).standard_normal((500, 1))
        >>> e = SamplePropagation(sigma=1.0)(x)  # 0.5 log(1 + var x) = 0.353 at most
        >>> print(f"{e.value:.3f} +- {e.stderr:.3f}")
        0.330 +- 0.009
    """

    sigma: float
    draws: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        check_sigma(self.sigma)
        if self.draws < 2:
            raise ValueError(
                f"draws = {self.draws} must be at least 2: one draw of each input shows no scatter"
            )

    def __call__(self, x: Array, y: Array | None = None, /, *, covariances: Any = None) -> Estimate:
        x = as_samples(x, "x", min_n=MIN_N)
        n = int(x.shape[0])
        codes = None if y is None else label_codes(x, y)
        mixture, dropped, flags = channel(x, covariances, self.sigma)
        of_inputs, of_labels = _log_ratios(mixture, codes, self.draws, self.seed)
        ratios = of_inputs if codes is None else of_labels
        information = float(of_inputs.mean())
        if information > SATURATION * math.log(n):
            flags = (*flags, "saturated")
        within = ratios - ratios.mean(1)[:, None]
        variance = float((within * within).sum()) / (n * (self.draws - 1))
        scale = x.shape[1] - dropped
        return Estimate(
            value=float(ratios.mean()),
            quantity="I(X;T)" if codes is None else "I(T;Y)",
            n=n,
            method=repr(self),
            stderr=math.sqrt(variance / (n * self.draws)),
            ceiling=math.log(n) if codes is None else label_entropy(codes),
            flags=flags,
            diagnostics=diagnostics(
                d=scale,
                dropped=dropped,
                sigma=self.sigma,
                entropy=information
                + float(mixture.noise_entropy)
                + mixture.means.shape[1] * math.log(self.sigma),
                information_xt=information,
            ),
        )


def _log_ratios(mixture: Mixture, codes: Array | None, draws: int, seed: int) -> tuple[Array, Array]:
    """log p(t|x) / p(t) and, with labels, log p(t|y) / p(t) of every draw, `(n, draws)` each."""
    xp, n = array_namespace(mixture.means), mixture.means.shape[0]
    white = xp.asarray(
        stream(seed, "sample propagation").standard_normal((draws, n, mixture.white_dims)),
        device=device(mixture.means),
    )
    exact = beyond_reach(mixture.means)
    own = xp.arange(n, device=device(mixture.means))
    inputs, labels = [], []
    for rows in row_blocks(n, n):
        at = own[rows]
        for m in range(draws):
            logs = log_density_rows(mixture, mixture.draw(rows, white[m, rows, :]), exact)
            total = log_sum_exp(logs) - math.log(n)
            inputs.append(xp.sum(xp.where(at[:, None] == own[None, :], logs, 0.0), axis=1) - total)
            if codes is not None:
                same = codes[at][:, None] == codes[None, :]
                members = xp.sum(xp.astype(same, xp.float64), axis=1)
                labels.append(log_sum_exp(xp.where(same, logs, -math.inf)) - xp.log(members) - total)

    def arranged(parts: list[Array]) -> Array:
        columns = [xp.concat(parts[m::draws]) for m in range(draws)]
        return xp.stack(columns, axis=1)

    return arranged(inputs), arranged(labels) if codes is not None else arranged(inputs)
