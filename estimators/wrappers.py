"""Wrappers that say how far to trust a number: each takes an estimator and is an estimator.

A standard error is `Subsampled(KSG())`, a null is `Permuted(KSG())`. They nest, also with the wrappers of `views.py`:
`Permuted(Subsampled(Projected(KSG(), dims=4)))`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np
from array_api_compat import array_namespace, device

from estimators._result import Estimate
from estimators._samples import stream
from estimators._settings import settings
from estimators.protocols import Array

__all__ = ["Permuted", "Subsampled", "take_rows", "without_uncertainty"]


def take_rows(x: Array, index: np.ndarray) -> Array:
    """Rows of a numpy array or torch tensor, in its own library and on its own device."""
    xp = array_namespace(x)
    return xp.take(x, xp.asarray(index, device=device(x)), axis=0)


def without_uncertainty(estimator: Callable[..., Estimate]) -> Callable[..., Estimate]:
    """The estimator inside wrappers that leave the value as it is, so that nested wrappers add their cost, not multiply it."""
    while isinstance(estimator, (Subsampled, Permuted)):
        estimator = estimator.inner
    return estimator


@settings
class Subsampled:
    r"""Adds a standard error from disjoint parts of the sample.

    The sample is split at random into `parts` disjoint parts of m = n // parts rows. The scatter of the inner
    estimator over them, scaled from m to n by the 1/n law of the variance, gives

    .. math:: \mathrm{SE} = \frac{1}{\sqrt{p}} \sqrt{\frac{1}{p - 1} \sum_{j=1}^{p} (\hat I_j - \bar I)^2}

    Parts are disjoint because a bootstrap repeats rows, and repeated rows bias neighbour estimators. The value
    stays that of the inner estimator on all n rows. The error covers scatter, not bias; the mean over the parts
    (`part_mean`) differs from the value by the change of bias from n to m.

    Arguments:
        inner: any estimator.
        parts: number of disjoint parts, at least 2; each must be large enough for the inner estimator.
        seed: of the random split.

    Raises:
        ValueError: if `parts` < 2, or a part is too small for the inner estimator.

    References:
        Holmes & Nemenman, 2019, *Estimation of mutual information for real-valued data with error bars and
        controlled bias*, Phys. Rev. E 100, 022404. Politis, Romano & Wolf, 1999, *Subsampling*.

    Example:
        >>> import numpy as np
        >>> from estimators import Gaussian, Subsampled
        >>> x = np.random.default_rng(0).standard_normal((1000, 2))
        >>> Subsampled(Gaussian(), parts=5)(x[:, :1], x[:, 1:]).diagnostics["parts"]
        5.0
    """

    inner: Callable[..., Estimate]
    parts: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        if self.parts < 2:
            raise ValueError(f"parts = {self.parts}: at least 2 disjoint parts are needed to see scatter")

    def __call__(self, *samples: Array) -> Estimate:
        whole = self.inner(*samples)
        n = samples[0].shape[0]
        size = n // self.parts
        order = stream(self.seed, "parts").permutation(n)
        values = []
        for j in range(self.parts):
            index = np.sort(order[j * size : (j + 1) * size])
            try:
                values.append(without_uncertainty(self.inner)(*(take_rows(x, index) for x in samples)).value)
            except ValueError as error:
                raise ValueError(
                    f"Subsampled(parts={self.parts}) leaves {size} of n = {n} rows a part, too few for "
                    f"{self.inner!r}: {error}; use fewer parts or more samples"
                ) from None
        return dataclasses.replace(
            whole,
            method=repr(self),
            stderr=float(np.std(values, ddof=1)) / math.sqrt(self.parts),
            diagnostics={
                **whole.diagnostics,
                "parts": float(self.parts),
                "part_size": float(size),
                "part_mean": float(np.mean(values)),
            },
        )


@settings
class Permuted:
    r"""Adds a null: the same estimator on pairs that a permutation of the second argument has made independent.

    .. math:: p = \frac{1 + \#\{j : \hat I_j \ge \hat I\}}{1 + \text{times}}

    The value is left as it is: nothing is subtracted. The null's mean, standard deviation and 95 % quantile
    stand in the diagnostics beside the p-value, which is exact at any `times` (Phipson & Smyth, 2010).

    Arguments:
        inner: an estimator of mutual information between two arguments.
        times: permutations; the smallest possible p-value is 1 / (times + 1).
        seed: of the permutations.

    Raises:
        TypeError: if it is not called with two arguments: an entropy has no null, and a conditional mutual
            information needs local permutations.
        ValueError: if `times` < 1, and as the inner estimator does.

    References:
        Phipson & Smyth, 2010, *Permutation p-values should never be zero*, Stat. Appl. Genet. Mol. Biol. 9.

    Example:
        >>> import numpy as np
        >>> from estimators import Gaussian, Permuted
        >>> x = np.random.default_rng(0).standard_normal((200, 1))
        >>> round(Permuted(Gaussian(), times=19)(x, x + 1e-3 * x**3).diagnostics["p_value"], 3)
        0.05
    """

    inner: Callable[..., Estimate]
    times: int = 20
    seed: int = 0

    def __post_init__(self) -> None:
        if self.times < 1:
            raise ValueError(f"times = {self.times}: at least 1 permutation is needed")

    def __call__(self, *samples: Array) -> Estimate:
        if len(samples) != 2:
            raise TypeError(
                f"Permuted takes two samples (x, y), got {len(samples)}: shuffling pairs is a null for I(X;Y) only"
            )
        observed = self.inner(*samples)
        x, y = samples
        rng = stream(self.seed, "permutations")
        shuffled = (take_rows(y, rng.permutation(y.shape[0])) for _ in range(self.times))
        null = np.array([without_uncertainty(self.inner)(x, other).value for other in shuffled])
        return dataclasses.replace(
            observed,
            method=repr(self),
            diagnostics={
                **observed.diagnostics,
                "null_mean": float(null.mean()),
                "null_sd": float(null.std(ddof=1)) if self.times > 1 else 0.0,
                "null_q95": float(np.quantile(null, 0.95)),
                "p_value": float((1 + np.sum(null >= observed.value)) / (1 + self.times)),
            },
        )
