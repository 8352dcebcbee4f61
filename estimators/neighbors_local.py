r"""Corrections of neighbour estimators where the density is not constant within a neighbourhood, on the CPU.

Strong dependence makes the joint density thin in some direction: a ball or a box along the axes that holds k
neighbours is then mostly empty, and the density at its centre is taken too low.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from scipy.special import psi

from estimators._neighbor_inputs import check_settings, stacked, warnings_of
from estimators._result import Estimate
from estimators._samples import stream
from estimators._search import count, nearest
from estimators._settings import settings
from estimators.neighbors import _mean_psi
from estimators.protocols import Array

__all__ = ["LocalNonUniformity"]

_QUANTILE = 0.005  # share of uniform neighbourhoods that the threshold takes for thin ones
_DRAWS = 100_000
_FLAT = 1e-9  # thickness against length below which a neighbourhood is a plane to working precision
_BLOCK = 1 << 22  # numbers held at once


@settings
class LocalNonUniformity:
    r"""Mutual information I(X;Y) in nats: `KSG` with the local non-uniformity correction (Gao et al.).

    .. math:: \hat I = \hat T(X, Y) - \hat T(X) - \hat T(Y) \qquad
       \hat T = \hat T_{KSG} - \frac{1}{n} \sum_i \min\left(0, \log \frac{\bar V_i}{V_i}\right)
       \ \text{where} \ \frac{\bar V_i}{V_i} < \alpha

    with \(\hat T\) the total correlation of the columns, \(\hat T_{KSG}\) algorithm 2 of `KSG` for them,
    \(\psi(k) - (m-1)/k + (m-1) \psi(n) - \sum_j \langle \psi(n_j) \rangle\), \(V_i\) the volume of the smallest
    box around sample i, along the axes, that holds its k neighbours, and \(\bar V_i\) that of the smallest box along
    the principal axes of these neighbours. For scalar X and Y this is the estimator of the paper; the total
    correlation of a single column is zero, and vectors follow by the chain rule. There is one norm only: the volumes
    are those of boxes, whose sides are the radii of algorithm 2 in every column. No bound.

    A principal box is smaller by chance too. Only ratios below the threshold \(\alpha\) are corrected. By default
    it is the 0.5 % quantile of the ratio for k points drawn uniformly in a box, by 100,000 draws from a fixed
    seed; `alpha` in the diagnostics states it for the joint space, `corrected` the share of samples below it, and
    `correction` what they add. The flag `large-correction` is raised when the correction is more than half of the
    value, or when the uncorrected estimate is within one nat of the most it can be: then the correction alone
    decides, and the value grows with n where Y is a smooth function of X (the truth is infinite). `saturated` is
    raised when most neighbourhoods are flat to working precision: then rounding sets the value.

    Arguments:
        k: number of neighbours; more than the columns of X and Y together, or no principal box has a volume.
        alpha: the threshold, in (0, 1], for every space alike; `None` draws it.
        standardise: scale the columns to unit standard deviation first. With `False` the units decide.
        workers: threads that share the search. The estimate is the same for every number, so it is no part
            of the estimator's name.

    Shapes:
        `x`: `(n, dx)`; `y`: `(n, dy)`; n > k > dx + dy. Numpy or torch on the CPU; measured in float64.

    Raises:
        TypeError: for a discrete variable, an array without real numbers, or a tensor on another device.
        ValueError: for NaN, wrong shapes, unequal n, n <= k, k <= dx + dy, or all columns constant.

    References:
        Gao, Ver Steeg & Galstyan, 2015, *Efficient estimation of mutual information for strongly dependent
        variables*, AISTATS.

    Example:
        >>> import numpy as np
        >>> from estimators import KSG
        >>> x, noise = np.random.default_rng(0).standard_normal((2, 500, 1))
        >>> y = x + 1e-4 * noise
        >>> truth = 0.5 * np.log1p(1e8)
        >>> [float(round(estimator(x, y).value - truth, 2)) for estimator in (KSG(), LocalNonUniformity())]
        [-4.26, 0.07]
    """

    k: int = 5
    alpha: float | None = None
    standardise: bool = True
    workers: int = field(default=1, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_settings(self)
        if self.alpha is not None and not 0 < self.alpha <= 1:
            raise ValueError(f"alpha must lie in (0, 1], or be None to draw it, got {self.alpha!r}")

    def __call__(self, x: Array, y: Array, /) -> Estimate:
        s = stacked({"x": x, "y": y}, self.k, standardise=self.standardise)
        dx, dy = s.widths
        if self.k <= dx + dy:
            raise ValueError(
                f"x and y of shapes {tuple(x.shape)} and {tuple(y.shape)}: k = {self.k} neighbours span no box in "
                f"{dx + dy} dimensions; give k > {dx + dy}, or fewer columns, as Projected does"
            )
        joint, of_x, of_y = (_total_correlation(z, self) for z in (s.z, s.columns(0, 1), s.columns(1, 2)))
        plain = joint.plain - of_x.plain - of_y.plain
        correction = joint.correction - of_x.correction - of_y.correction
        value = plain + correction
        flags, numbers = warnings_of(s, self.k, joint.radius)
        ceiling = float(psi(s.n) - psi(self.k)) - 1 / self.k  # of the uncorrected estimate
        mostly = joint.corrected > 0.02 and abs(correction) > abs(value) / 2
        if mostly or plain > ceiling - 1:
            flags = (*flags, "large-correction")
        if joint.flat > 0.5:
            flags = ("saturated", *flags)
        return Estimate(
            value=value,
            quantity="I(X;Y)",
            n=s.n,
            method=repr(self),
            flags=flags,
            diagnostics={
                "dx": dx,
                "dy": dy,
                "correction": correction,
                "corrected": joint.corrected,
                "alpha": self.alpha if self.alpha is not None else threshold(self.k, dx + dy),
                **numbers,
            },
        )


@dataclass(frozen=True, eq=False)
class _Parts:
    """A total correlation and its correction, the shares of corrected and of flat samples, and the radii."""

    plain: float
    correction: float
    corrected: float
    flat: float
    radius: np.ndarray


def _total_correlation(z: np.ndarray, estimator: LocalNonUniformity) -> _Parts:
    n, d = z.shape
    if d == 1:
        return _Parts(0.0, 0.0, 0.0, 0.0, np.zeros(n))
    k = estimator.k
    distance, index = nearest(z, k, d, False, estimator.workers)
    total = float(psi(k) + (d - 1) * (psi(n) - 1 / k))
    for j in range(d):
        column = z[:, j : j + 1]
        # A closed ball is the open one of the next larger number: distances are rounded alike.
        radius = np.nextafter(np.abs(column[index, 0] - column).max(axis=1), np.inf)
        total -= _mean_psi(count(column, radius, False, estimator.workers))
    alpha = estimator.alpha if estimator.alpha is not None else threshold(k, d)
    log_ratio, flat = np.empty(n), np.empty(n, bool)
    rows = max(1, _BLOCK // (k * d))
    for i in range(0, n, rows):
        block = slice(i, i + rows)
        log_ratio[block], flat[block] = _log_box_ratio(z[index[block]] - z[block, None])
    thin = log_ratio < math.log(alpha)
    correction = -float(np.sum(log_ratio[thin])) / n
    return _Parts(total, correction, float(thin.mean()), float(flat.mean()), distance[:, -1])


def _log_box_ratio(gaps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Log-volume of the principal box less that of the box along the axes, for `gaps: (b, k, d)` to k neighbours.

    Also says which neighbourhoods are flat to working precision; their thickness is taken as the last that is not.
    """
    reach = np.abs(gaps).max(axis=1)
    # The axes come from the neighbourhood at unit size: it may be tiny, and its square smaller still.
    size = reach.max(axis=1)[:, None]
    unit = gaps / size[:, None]
    axes = np.linalg.svd(unit, full_matrices=False)[2]
    thick = np.abs(unit @ np.swapaxes(axes, 1, 2)).max(axis=1)
    flat = thick.min(axis=1) < _FLAT * thick.max(axis=1)
    with np.errstate(divide="ignore"):
        box = np.sum(np.log(reach / size), axis=1)
        principal = np.sum(np.log(np.maximum(thick, np.finfo(float).eps)), axis=1)
    return principal - box, flat


@lru_cache(maxsize=64)
def threshold(k: int, d: int) -> float:
    """Quantile of the ratio of the principal box to the box along the axes, for k uniform points around a centre."""
    draws = max(2000, min(_DRAWS, 40 * _BLOCK // (k * d * d)))
    gaps = stream(0, "local volumes").uniform(-1, 1, size=(draws, k, d))
    ratio = np.concatenate(
        [_log_box_ratio(part)[0] for part in np.array_split(gaps, 1 + gaps.size // _BLOCK)]
    )
    return float(math.exp(np.quantile(ratio, _QUANTILE)))
