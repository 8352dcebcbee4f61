r"""Estimates of mutual information from a trained conditional density q(y | x), judged on separate data.

The samples are split into three parts: densities are trained on the first, stopped by the second and scored on the
third, which alone gives the estimate. Neither estimate is a bound of I(X;Y).

Continuous y: the columns are whitened on the training part, so that a full Gaussian is the standard normal law, and
q(y | x) is a mixture of Gaussians whose weights, means and log-variances are network outputs,

.. math:: q(y | x) = \sum_c \pi_c(x) \, N\left( T_c y; \, m_c(x), \, \mathrm{diag} \, e^{s_c(x)} \right)

with T_c unit lower triangular, the same for every x. Log-variances lie in (-10, 10); when more than 1 % of those of
the test samples are within a tenth of the limit the estimate is flagged `saturated`: y may be a function of x. Labels
y: q(y | x) is a softmax. Both classes share these settings:

    covariance: `"full"`, or `"diagonal"`: T_c is the identity.
    components: Gaussians of the mixture.
    hidden: units of a hidden layer.
    layers: hidden layers.
    batch: samples of a training step.
    steps: largest number of training steps.
    lr: learning rate of Adam.
    patience: validations (one in 20 steps) without improvement after which a training stops.
    penalty: decoupled weight decay in units of (mean dimension / training samples).
    seeds: independent trainings.
    seed: fixes the split, the weights and the batches.
    validation: share of the samples that stops the training.
    test: share of the samples that gives the value.
    progress: shows a bar if stderr is a terminal; no part of equality or `repr`.

Both take `x`: `(n, dx)` and `y`: `(n, dy)`, numpy or torch; an integer vector `(n,)` is a discrete variable. The two
variables have different roles: let y be the one of lower dimension. The value is the mean over `seeds` trainings, and
`stderr`, `failed-seeds` and `overfit` are those of `estimators.variational`. The diagnostic `validation` is the gain
of E log q(y | x) over the marginal Gaussian (or the frequencies of the labels) on the validation part.
"""

from __future__ import annotations

from dataclasses import field
from functools import partial
from typing import Literal

from estimators._result import Estimate
from estimators._samples import is_discrete
from estimators._settings import settings
from estimators._trained import DensitySettings, check_training, estimate
from estimators.protocols import Array

__all__ = ["CLUB", "DoE"]


@settings
class DoE:
    r"""Difference of entropies: I(X;Y) in nats from two held-out cross-entropies.

    .. math:: \hat I = \underbrace{- \frac{1}{n} \sum_i \log q(y_i)}_{\ge H(Y) \text{ in expectation}}
       - \underbrace{- \frac{1}{n} \sum_i \log q'(y_i | x_i)}_{\ge H(Y|X) \text{ in expectation}}

    over the n test samples, with q and q' of one family: for one component q is the full Gaussian of the training
    part, for more a mixture of Gaussians fitted to it by EM. A poor q' lowers the value and a poor q raises it, so it is neither
    bound; both errors are cross-entropies minus entropies and fall with better families, and its variance does not
    grow as e^I. For labels the `ceiling` is the first cross-entropy. The diagnostics `entropy` and
    `conditional_entropy` are the two parts, in nats and in the units of y.

    The settings, their shapes and the flags are those of the module.

    Raises:
        TypeError: for arrays that hold no real numbers, or tensors on different devices.
        ValueError: for a setting out of range, NaN, wrong shapes, unequal n, all columns constant, n too small to
            split, no more training samples than columns of y, or if all trainings diverge.

    References:
        McAllester & Stratos, 2020, *Formal limitations on the measurement of mutual information*.

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> x = rng.standard_normal((500, 1))
        >>> e = DoE(seeds=1, steps=200)(x, x + rng.standard_normal((500, 1)))
        >>> print(abs(e.value - 0.5 * np.log(2)) < 4 * e.stderr)
        True
    """

    covariance: Literal["full", "diagonal"] = "full"
    components: int = 1
    hidden: int = 64
    layers: int = 2
    batch: int = 128
    steps: int = 2000
    lr: float = 3e-3
    patience: int = 10
    penalty: float = 75.0
    seeds: int = 3
    seed: int = 0
    validation: float = 0.15
    test: float = 0.25
    progress: bool = field(default=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        _check(self)

    def __call__(self, x: Array, y: Array, /) -> Estimate:
        from estimators._density_fit import fit_doe

        return estimate(self, partial(fit_doe, self, is_discrete(y)), x, y, "none")


@settings
class CLUB:
    r"""Contrastive log-ratio (CLUB) of I(X;Y), in nats, with a trained q(y | x).

    .. math:: \hat I = \frac{1}{n} \sum_i \log q(y_i | x_i) - \frac{1}{n (n - 1)} \sum_{i \ne j} \log q(y_j | x_i)

    over all pairs of the n test samples. With q = p(y | x) its expectation is an upper bound, I(X;Y) plus the
    divergence of p(x) p(y) from p(x, y), which is not tight: a bivariate normal law of correlation \(\rho\) has
    \(\rho^2 / (1 - \rho^2)\). With a trained q it is neither bound unless q is exact, and so `bound` is `"none"`;
    a q that is too narrow over-states it, as the unmatched pairs are far from its mean.

    The settings, their shapes and the flags are those of the module.

    Raises:
        TypeError: for arrays that hold no real numbers, or tensors on different devices.
        ValueError: for a setting out of range, NaN, wrong shapes, unequal n, all columns constant, n too small to
            split, no more training samples than columns of y, or if all trainings diverge.

    References:
        Cheng et al., 2020, *CLUB: A contrastive log-ratio upper bound of mutual information*.

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> x = rng.standard_normal((500, 1))
        >>> e = CLUB(seeds=1, steps=200)(x, x + rng.standard_normal((500, 1)))  # correlation^2 = 1/2: 1 nat
        >>> print(abs(e.value - 1.0) < 4 * e.stderr)
        True
    """

    covariance: Literal["full", "diagonal"] = "full"
    components: int = 1
    hidden: int = 64
    layers: int = 2
    batch: int = 128
    steps: int = 2000
    lr: float = 3e-3
    patience: int = 10
    penalty: float = 75.0
    seeds: int = 3
    seed: int = 0
    validation: float = 0.15
    test: float = 0.25
    progress: bool = field(default=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        _check(self)

    def __call__(self, x: Array, y: Array, /) -> Estimate:
        from estimators._density_fit import fit_club

        return estimate(self, partial(fit_club, self, is_discrete(y)), x, y, "none")


def _check(settings: DensitySettings) -> None:
    if settings.covariance not in ("full", "diagonal"):
        raise ValueError(f"covariance must be 'full' or 'diagonal', got {settings.covariance!r}")
    if settings.components < 1:
        raise ValueError(f"components = {settings.components} must be at least 1")
    check_training(settings)
