"""Wrappers: each takes an estimator and is an estimator.

A standard error is `Subsampled(KSG())`, a null is `Permuted(KSG())`, many dimensions are `Projected(KSG())`.
They nest: `Permuted(Subsampled(Projected(KSG(), dims=4)))`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from array_api_compat import array_namespace, device

from estimators._result import Estimate
from estimators._samples import as_samples, is_discrete, paired
from estimators.protocols import Array

__all__ = ["Permuted", "Projected", "Subsampled"]


def _rows(x: Array, index: np.ndarray) -> Array:
    """Rows of a numpy array or torch tensor, in its own library and on its own device."""
    xp = array_namespace(x)
    return xp.take(x, xp.asarray(index, device=device(x)), axis=0)


def _bare(estimator: Callable[..., Estimate]) -> Callable[..., Estimate]:
    """The estimator inside wrappers that leave the value as it is, so that nested wrappers add their cost, not multiply it."""
    while isinstance(estimator, (Subsampled, Permuted)):
        estimator = estimator.inner
    return estimator


@dataclass(frozen=True)
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
        order = np.random.default_rng(self.seed).permutation(n)
        values = []
        for j in range(self.parts):
            index = np.sort(order[j * size : (j + 1) * size])
            try:
                values.append(_bare(self.inner)(*(_rows(x, index) for x in samples)).value)
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


@dataclass(frozen=True)
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
        rng = np.random.default_rng(self.seed)
        shuffled = (_rows(y, rng.permutation(y.shape[0])) for _ in range(self.times))
        null = np.array([_bare(self.inner)(x, other).value for other in shuffled])
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


@dataclass(frozen=True)
class Projected:
    r"""Measures after projection on the leading principal components of each continuous argument.

    .. math:: P x = V_k^\top (x - \bar x), \qquad V_k = \text{top-}k\ \text{eigenvectors of}\ \mathrm{Cov}(x)

    By data processing I(PX; PY) <= I(X;Y), so what the estimator sees can only be less than what is there. An
    entropy is that of the projected variable, H(PX), another quantity than H(X). Orthonormal directions keep
    the scale. Directions are rounded to a fixed sign, so that equal data give equal projections.

    Arguments:
        inner: any estimator.
        dims: components kept of each argument; arguments with fewer columns keep all.

    Raises:
        ValueError: if `dims` < 1, and as the inner estimator does.

    References:
        Cover & Thomas, *Elements of Information Theory*, theorem 2.8.1.

    Example:
        >>> import numpy as np
        >>> from estimators import Gaussian, Projected
        >>> x = np.random.default_rng(0).standard_normal((500, 40))
        >>> Projected(Gaussian(), dims=3)(x).quantity
        'H(PX)'
    """

    inner: Callable[..., Estimate]
    dims: int = 4

    def __post_init__(self) -> None:
        if self.dims < 1:
            raise ValueError(f"dims = {self.dims}: at least one component must be kept")

    def __call__(self, *samples: Array) -> Estimate:
        shares, reduced = [], []
        for name, x in zip("xyz", samples, strict=False):
            if hasattr(x, "shape") and hasattr(samples[0], "shape"):
                paired(
                    samples[0], x, ("x", name)
                )  # before projecting, so that the message has the caller's shapes
            if is_discrete(x):
                reduced.append(x)
                continue
            projected, share = _principal(as_samples(x, name), self.dims)
            reduced.append(projected)
            shares.append(share)
        inner = self.inner(*reduced)
        quantity = "H(PX)" if inner.quantity == "H(X)" else inner.quantity
        kept = {f"kept_variance_{name}": share for name, share in zip("xyz", shares, strict=False)}
        # A bound on I(PX;PY) from below also bounds I(X;Y); one from above does not.
        bound = "none" if inner.bound == "upper" and len(samples) > 1 else inner.bound
        return dataclasses.replace(
            inner,
            method=repr(self),
            quantity=quantity,
            bound=bound,
            diagnostics={**inner.diagnostics, **kept},
        )


def _principal(x: Array, dims: int) -> tuple[Array, float]:
    xp = array_namespace(x)
    if x.shape[1] <= dims:
        return x, 1.0
    x = x - xp.mean(x, axis=0)
    top = xp.max(xp.abs(x))
    if float(top) == 0:
        return x[:, :dims], 1.0
    cov = (x / top).T @ (x / top)
    values, vectors = xp.linalg.eigh(cov)
    vectors = xp.flip(vectors[:, -dims:], axis=(1,))
    largest = xp.argmax(xp.abs(vectors), axis=0)
    sign = xp.stack([xp.sign(vectors[int(largest[j]), j]) for j in range(dims)])
    return x @ (vectors * sign), float(xp.sum(values[-dims:]) / xp.sum(values))
