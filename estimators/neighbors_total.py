r"""Total correlation of many variables from the distances between neighbours, on the CPU."""

from __future__ import annotations

from dataclasses import field

import numpy as np
from scipy.special import psi

from estimators._neighbor_inputs import check_settings, stacked, warnings_of
from estimators._result import Estimate
from estimators._samples import as_numpy, drop_constant_columns
from estimators._search_blocks import count, kth
from estimators._settings import settings
from estimators.neighbors import _mean_psi
from estimators.protocols import Array

__all__ = ["TotalCorrelation", "split_columns"]

_RANK_TOL = 1e-10  # singular values below this share of the largest are null directions


@settings
class TotalCorrelation:
    r"""Total correlation (multi-information) in nats from nearest neighbours (Kraskov et al.).

    .. math:: TC = \sum_{j=1}^{m} H(X_j) - H(X_1, \dots, X_m) \qquad
       \hat T = \psi(k) + (m - 1) \psi(n) - \sum_{j=1}^{m} \langle \psi(n_j + 1) \rangle

    with \(n_j\) the other points strictly closer in \(X_j\) than the k-th neighbour in the joint space.
    Called with one array, every column is a variable; with several, each array is one. Two arrays give the
    estimate of `KSG`. The joint distance is the largest of those of the variables, whatever the norm within each,
    so the norm makes no difference to single columns. No bound.

    No count can be below the k neighbours themselves, so the estimate cannot exceed the `ceiling`
    \((m - 1) (\psi(n) - \psi(k))\); within one nat of it the flag `saturated` is raised. When the columns of
    different variables are linearly dependent the truth is infinite, and the flag `rank-deficient` is raised.

    Arguments:
        k: number of neighbours. Small k has less bias, large k less variance.
        standardise: scale the columns to unit standard deviation first. With `False` the units decide.
        norm: norm within each variable, `"max"` or `"euclidean"`.
        workers: threads that share the search. The estimate is the same for every number, so it is no part
            of the estimator's name.

    Shapes:
        One array `(n, m)` with m >= 2, or several `(n, d_j)`; n > k. Numpy or torch on the CPU; measured in
        float64.

    Raises:
        TypeError: for a discrete variable, an array without real numbers, or a tensor on another device.
        ValueError: for a single variable, NaN, wrong shapes, unequal n, n <= k, or fewer than two columns of one
            array, or not every one of several arrays, that vary.

    References:
        Watanabe, 1960, *Information theoretical analysis of multivariate correlation*, IBM J. Res. Dev. 4.
        Kraskov, Stögbauer & Grassberger, 2004, *Estimating mutual information*, Phys. Rev. E 69, 066138, eq. 23.

    Example:
        >>> import numpy as np
        >>> x, u, v = np.random.default_rng(0).standard_normal((3, 2000))
        >>> print(TotalCorrelation()(np.stack([x, x + u, x + v], axis=1)))  # truth: log(2) = 0.6931
        TC(X1;...;X3) = 0.7044 nats  [TotalCorrelation(k=3, standardise=True, norm='max'), n=2000, ceiling 13.356]
    """

    k: int = 3
    standardise: bool = True
    norm: str = "max"
    workers: int = field(default=1, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_settings(self)

    def __call__(self, x: Array, /, *others: Array) -> Estimate:
        variables, total, dropped = split_columns(x, *others)
        s = stacked(variables, self.k, standardise=self.standardise)
        m = len(s.widths)
        euclidean = self.norm == "euclidean" and max(s.widths) > 1
        radius = kth(s.z, s.widths, self.k, euclidean, self.workers)
        near = [
            count(s.columns(j, j + 1), s.widths[j : j + 1], radius, euclidean, self.workers) for j in range(m)
        ]
        ceiling = float((m - 1) * (psi(s.n) - psi(self.k)))
        value = float(psi(self.k) + (m - 1) * psi(s.n)) - sum(_mean_psi(counts + 1) for counts in near)
        flags, numbers = warnings_of(s, self.k, np.sqrt(radius) if euclidean else radius, euclidean=euclidean)
        if dropped and "constant-columns" not in flags:
            flags = (*flags, "constant-columns")
        if _rank(s.unit) < sum(_rank(s.unit[:, edge : edge + w]) for edge, w in _ranges(s.widths)):
            flags = (*flags, "rank-deficient")
        if value > ceiling - 1:
            flags = ("saturated", *flags)
        return Estimate(
            value=value,
            quantity=f"TC(X1;...;X{total})",
            n=s.n,
            method=repr(self),
            ceiling=ceiling,
            flags=flags,
            diagnostics={"d": s.z.shape[1], "variables": m, **numbers, "dropped": dropped + s.dropped},
        )


def split_columns(x: Array, /, *others: Array) -> tuple[dict[str, np.ndarray], int, int]:
    """Variables by name, how many there were, and the constant ones among them that were left out.

    One array is split into its columns. A constant column is independent of all else, so it adds nothing.
    """
    if others:
        arrays = {"xyz"[j] if j < 3 else f"x{j + 1}": array for j, array in enumerate((x, *others))}
        return {name: as_numpy(array, name) for name, array in arrays.items()}, len(arrays), 0
    x = as_numpy(x, "x")
    if x.shape[1] < 2:
        raise ValueError(
            f"x of shape {x.shape} is one variable and total correlation needs two; pass more columns or arrays"
        )
    kept, dropped = drop_constant_columns(x, "x")
    if kept.shape[1] < 2:
        raise ValueError(
            f"x of shape {x.shape}: all columns but one are constant, so its total correlation is 0 by definition"
        )
    return {f"x[:, {j}]": kept[:, j : j + 1] for j in range(kept.shape[1])}, x.shape[1], dropped


def _ranges(widths: tuple[int, ...]) -> list[tuple[int, int]]:
    return [(sum(widths[:j]), width) for j, width in enumerate(widths)]


def _rank(z: np.ndarray) -> int:
    if z.shape[1] == 1:
        return 1
    singular = np.linalg.svd(z, compute_uv=False)
    return int(np.sum(singular > _RANK_TOL * singular[0]))
