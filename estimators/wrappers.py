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
from scipy.stats import t

from estimators._local_permutation import contrast, neighbourhoods, permutation
from estimators._result import Estimate
from estimators._samples import is_discrete, stream
from estimators._settings import settings
from estimators.protocols import Array

__all__ = ["Permuted", "Subsampled", "take_rows", "without_uncertainty"]

# Smallest parts by default: with fewer rows the variance leaves the 1/n law, first for neighbour estimators.
_PART_ROWS, _ROWS_PER_COLUMN = 1000, 8
_FREEDOM = (
    6  # least degrees of freedom by default: the 95 % quantile of t is 1.94, against 1.64 of the normal law
)

_CONTRAST = (
    1 / 3
)  # neighbour distance over pair distance above which neighbours in z are not near, as for `KSG`


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
    r"""Adds a standard error and an interval from disjoint parts of the sample.

    The sample is split at random into p disjoint parts of m = n // p rows, r times over. The scatter of the inner
    estimator over the parts of one split, averaged over the splits, is its variance at m rows, and the 1/n law of the
    variance, Var(n) = Var(m) m / n, brings it to n rows:

    .. math:: \mathrm{SE}^2 = \frac{1}{r} \sum_{s=1}^{r} \frac{1}{p (p - 1)} \sum_{j=1}^{p} (\hat I_{sj} - \bar I_s)^2
       \qquad \hat I \pm t_{r (p - 1)} \, \mathrm{SE}

    Parts are disjoint because a bootstrap repeats rows, and repeated rows bias neighbour estimators; the jackknife
    doubles their variance. The value stays that of the inner estimator on all n rows. The interval covers the inner
    estimator's expectation at this n with probability `level`, not the truth: it knows scatter, not bias.

    The 1/n law needs large parts. By default a part has at least 1000 rows and 8 rows a column where n allows it,
    and there are 2 to 10 parts; few parts are drawn more often, so that the t quantile keeps at least 6 degrees of
    freedom (2 parts are drawn 6 times: the cost of 6 full samples where the inner cost is linear). Where a part
    has fewer than 2 rows a column the flag `small-sample` is raised. The law also fails, on the safe side, for a
    second-moment estimator of independent variables: its variance falls as \(1/n^2\), and the error is overstated
    \(\sqrt{p}\) times. Heavy tails (flagged by the inner estimator) fail it on the other side.

    The mean over the parts (`part_mean`) differs from the value by the change of bias from n to m.

    Arguments:
        inner: any estimator.
        parts: number of disjoint parts, at least 2, split once; by default chosen as above from n and the columns.
        level: nominal coverage of the interval.
        seed: of the random split.

    Raises:
        ValueError: if `parts` < 2, `level` is not in (0, 1), or a part is too small for the inner estimator.

    References:
        Holmes & Nemenman, 2019, *Estimation of mutual information for real-valued data with error bars and
        controlled bias*, Phys. Rev. E 100, 022404. Politis, Romano & Wolf, 1999, *Subsampling*.

    Example:
        >>> import numpy as np
        >>> from estimators import Gaussian, Subsampled
        >>> x = np.random.default_rng(0).standard_normal((1000, 2))
        >>> e = Subsampled(Gaussian())(x[:, :1], x[:, 0] + x[:, 1])
        >>> e.diagnostics["parts"], e.interval[0] < e.value < e.interval[1], e.level
        (2.0, True, 0.9)
    """

    inner: Callable[..., Estimate]
    parts: int | None = None
    level: float = 0.9
    seed: int = 0

    def __post_init__(self) -> None:
        if self.parts is not None and self.parts < 2:
            raise ValueError(f"parts = {self.parts}: at least 2 disjoint parts are needed to see scatter")
        if not 0 < self.level < 1:
            raise ValueError(f"level = {self.level} must lie between 0 and 1")

    def __call__(self, *samples: Array) -> Estimate:
        whole = self.inner(*samples)
        n, columns = samples[0].shape[0], sum(math.prod(x.shape[1:]) for x in samples)
        parts = self.parts or min(max(n // max(_PART_ROWS, _ROWS_PER_COLUMN * columns), 2), 10)
        while True:
            repeats = 1 if self.parts else math.ceil(_FREEDOM / (parts - 1))
            try:
                values = self._values(samples, n, parts, repeats)
                break
            except ValueError as error:
                if self.parts or parts == 2:
                    mend = "more samples" if parts == 2 else "fewer parts or more samples"
                    raise ValueError(
                        f"Subsampled(parts={parts}) leaves {n // parts} of n = {n} rows a part, too few for "
                        f"{self.inner!r}: {error}; use {mend}"
                    ) from None
                parts = max(parts // 2, 2)
        stderr, freedom = None, repeats * (parts - 1)
        interval, level = (
            whole.interval,
            whole.level,
        )  # an interval without a level is two certain sides: it stays
        if np.all(np.isfinite(values)) and math.isfinite(whole.value):
            stderr = math.sqrt(float(values.var(axis=1, ddof=1).mean()) / parts) or None
        if interval is None or level is not None:
            reach = None if stderr is None else float(t.ppf((1 + self.level) / 2, freedom)) * stderr
            interval = None if reach is None else (whole.value - reach, whole.value + reach)
            level = None if reach is None else self.level
        crowded = n // parts < 2 * columns and "small-sample" not in whole.flags
        return dataclasses.replace(
            whole,
            method=repr(self),
            stderr=stderr,
            interval=interval,
            level=level,
            flags=(*whole.flags, "small-sample") if crowded else whole.flags,
            diagnostics={
                **whole.diagnostics,
                "parts": float(parts),
                "part_size": float(n // parts),
                "splits": float(repeats),
                "part_mean": float(np.mean(values)),
            },
        )

    def _values(self, samples: tuple[Array, ...], n: int, parts: int, repeats: int) -> np.ndarray:
        """The inner estimator on every part, `(repeats, parts)`."""
        inner, size, rng = without_uncertainty(self.inner), n // parts, stream(self.seed, "parts")
        values = np.empty((repeats, parts))
        for split in range(repeats):
            order = rng.permutation(n)
            for j in range(parts):
                index = np.sort(order[j * size : (j + 1) * size])
                values[split, j] = inner(*(take_rows(x, index) for x in samples)).value
        return values


@settings
class Permuted:
    r"""Adds a null: the same estimator on samples that a permutation has made (conditionally) independent.

    .. math:: p = \frac{1 + \#\{j : \hat I_j \ge \hat I\}}{1 + \text{times}}

    For I(X;Y) the rows of y are permuted. For I(X;Y|Z) a permutation of all rows would also take the dependence of x
    on z away, so \(x_i\) is replaced by the x of a random sample among the `neighbors` nearest to i in z (itself
    included), each used once as far as possible; given class labels z, by that of a random sample of the class.

    The value is left as it is: nothing is subtracted. The null's mean, standard deviation and 95 % quantile
    stand in the diagnostics beside the p-value. Without z it is exact at any `times` (Phipson & Smyth, 2010); given a
    continuous z it is as good as x is alike within a neighbourhood. `contrast_z` is the median distance to the last
    neighbour over that of random pairs; above one third the flag `high-dimension` is raised, as the permuted x then
    hardly depends on z.

    Arguments:
        inner: an estimator of mutual information between two arguments, or of three with the condition last.
        times: permutations; the smallest possible p-value is 1 / (times + 1).
        seed: of the permutations.
        neighbors: samples of z that may be exchanged, at least 2; only used with three arguments.

    Raises:
        TypeError: if it is not called with two or three arguments: an entropy has no null.
        ValueError: if `times` < 1, `neighbors` < 2 or n < `neighbors`, and as the inner estimator does.

    References:
        Phipson & Smyth, 2010, *Permutation p-values should never be zero*, Stat. Appl. Genet. Mol. Biol. 9.
        Runge, 2018, *Conditional independence testing based on a nearest-neighbor estimator of conditional mutual
        information*, AISTATS, algorithm 1.

    Example:
        >>> import numpy as np
        >>> from estimators import Gaussian, Permuted
        >>> x = np.random.default_rng(0).standard_normal((200, 1))
        >>> round(Permuted(Gaussian(), times=19)(x, x + 1e-3 * x**3).diagnostics["p_value"], 3)
        0.05
        >>> z, u, v = np.random.default_rng(0).standard_normal((3, 500, 1))
        >>> test = Permuted(Gaussian(), times=19)
        >>> [round(test(z + u, y, z).diagnostics["p_value"], 2) for y in (z + v, z + u + v)]
        [0.55, 0.05]
    """

    inner: Callable[..., Estimate]
    times: int = 20
    seed: int = 0
    neighbors: int = 5

    def __post_init__(self) -> None:
        if self.times < 1:
            raise ValueError(f"times = {self.times}: at least 1 permutation is needed")
        if self.neighbors < 2:
            raise ValueError(
                f"neighbors = {self.neighbors}: at least 2 are needed, as a sample is one of its own"
            )

    def __call__(self, *samples: Array) -> Estimate:
        if len(samples) not in (2, 3):
            raise TypeError(
                f"Permuted takes two samples (x, y) or three (x, y, z), got {len(samples)}: shuffling is a null for "
                "I(X;Y) and I(X;Y|Z) only"
            )
        observed = self.inner(*samples)
        flags, numbers = observed.flags, {}
        near = None
        if len(samples) == 3 and not is_discrete(samples[2]):
            near = neighbourhoods(samples[2], self.neighbors)
            numbers["contrast_z"] = contrast(samples[2], near)
            if numbers["contrast_z"] > _CONTRAST and "high-dimension" not in flags:
                flags = (*flags, "high-dimension")
        rng = stream(self.seed, "permutations")
        null = np.array([self._null_value(samples, near, rng) for _ in range(self.times)])
        return dataclasses.replace(
            observed,
            method=repr(self),
            flags=flags,
            diagnostics={
                **observed.diagnostics,
                **numbers,
                "null_mean": float(null.mean()),
                "null_sd": float(null.std(ddof=1)) if self.times > 1 else 0.0,
                "null_q95": float(np.quantile(null, 0.95)),
                "p_value": float((1 + np.sum(null >= observed.value)) / (1 + self.times)),
            },
        )

    def _null_value(
        self, samples: tuple[Array, ...], near: np.ndarray | None, rng: np.random.Generator
    ) -> float:
        inner = without_uncertainty(self.inner)
        x, y, *given = samples
        if not given:
            return inner(x, take_rows(y, rng.permutation(y.shape[0]))).value
        return inner(take_rows(x, permutation(given[0], near, rng)), y, *given).value
