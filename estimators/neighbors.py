r"""Entropy and mutual information from the distances between neighbours.

Kozachenko & Leonenko (1987) turn the distance \(\epsilon_i\) to the k-th neighbour into a density estimate;
Kraskov, Stögbauer & Grassberger (2004) let the errors of three such estimates cancel. What decides
whether such code is right are the details, so they are stated here once:

* Columns are scaled to unit standard deviation, so that no unit of measurement decides who is near.
* A point is removed from its own neighbours by index: a repeated row is a neighbour at distance zero.
* "Strictly closer" is `<` between two differences rounded alike; it holds at every scale.
* A continuous law repeats no coordinate. Where a column does (rounding, rectified units, copied rows), equal
  distances make every count depend on `<` against `<=`. The columns that repeat a value, and no others, then
  get uniform noise of 1e-10 standard deviations from a fixed seed, so equal data give equal estimates. The
  number of repeats is always in `diagnostics`; the flag `ties` is raised once one column repeats
  more than 2 % of its entries (float32 rounding alone repeats about 0.7 % of a million normal draws), and
  `duplicates` when whole rows repeat: then the estimate is biased, upwards for the mutual information.
* Neighbours must be near. The flag `high-dimension` is raised when the median distance to the k-th neighbour
  exceeds 0.3 of the median distance between random pairs (diagnostic `contrast`): the density is then not even
  roughly constant within a neighbourhood. Two 4-dimensional Gaussian vectors, correlated by 0.8 per coordinate,
  are above it at n = 2000 (KSG is 16 % low) and below it at n = 10,000 (still 8 % low). The rule sees the
  intrinsic dimension and n, not the number of columns.

Distances are exact. On the CPU: a k-d tree in few dimensions, sorted values on a line, and in many dimensions all
pairs, by approximate distances of known error with an exact check of what they leave open. Tensors on a CUDA
device are measured there, all pairs in float64. Memory is O(n d). The first call on a machine compiles the loops it
needs, a few seconds each for trees and for pairs; later processes take them from the cache.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import field
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from array_api_compat import array_namespace, is_torch_array
from scipy.special import gammaln, psi

from estimators._result import Estimate
from estimators._samples import as_numpy, as_samples, drop_constant_columns, paired, stream
from estimators._search import _column_groups, _shared, nearest_and_counts
from estimators._search import nearest as _nearest
from estimators._settings import settings
from estimators.protocols import Array

__all__ = ["KSG", "KozachenkoLeonenko"]

_JITTER = 1e-10  # in standard deviations: far below any neighbour distance, far above rounding
_TIES = 0.02  # share of repeated entries in a column above which the flag is raised
_CONTRAST = 0.3  # median neighbour distance over median pair distance above which neighbours are not near
_HEAVY = 6.0  # excess kurtosis above which distances say little about the bulk (a Laplace law has 3)
_RANK_TOL = 1e-10  # singular values below this share of the largest are null directions
_SQUARED = 1e-12  # eigenvalue of a correlation matrix above which squaring has lost no null direction
_SEED = 0


@settings
class KozachenkoLeonenko:
    r"""Differential entropy H(X) in nats from nearest neighbours.

    .. math:: \hat H = \psi(n) - \psi(k) + \log c_d + \frac{d}{n} \sum_i \log \epsilon_i

    with \(\epsilon_i\) the distance to the k-th neighbour and \(c_d\) the volume of the unit ball: \(2^d\)
    for the largest-coordinate norm, \(\pi^{d/2} / \Gamma(d/2 + 1)\) for the Euclidean one. Columns are
    divided by their standard deviations \(s_j\) first and \(\sum_j \log s_j\) is added back, so
    \(H(aX) = H(X) + d \log |a|\) in either norm. Of linearly dependent columns the truth is minus infinity, which no
    sample shows: the flag `rank-deficient` is raised.

    Arguments:
        k: number of neighbours. Small k has less bias, large k less variance.
        norm: `"max"` or `"euclidean"`.
        workers: threads that share the search. The estimate is the same for every number, so it is no part
            of the estimator's name.

    Shapes:
        `x`: `(n, d)` with n > k, numpy or torch, on the CPU or a CUDA device; measured in float64.

    Raises:
        TypeError: for a discrete variable, an array without real numbers, or tensors on different or other devices.
        ValueError: for NaN, wrong shapes, n <= k, or all columns constant.

    References:
        Kozachenko & Leonenko, 1987, *Sample estimate of the entropy of a random vector*, Problems of
        Information Transmission 23. Kraskov, Stögbauer & Grassberger, 2004, *Estimating mutual information*,
        Phys. Rev. E 69, 066138, eq. 20.

    Example:
        >>> import numpy as np
        >>> x = np.random.default_rng(0).standard_normal((2000, 1))
        >>> print(KozachenkoLeonenko()(x))
        H(X) = 1.4374 nats  [KozachenkoLeonenko(k=3, norm='max'), n=2000]
    """

    k: int = 3
    norm: str = "max"
    workers: int = field(default=1, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_settings(self)

    def __call__(self, x: Array, /) -> Estimate:
        return self._measure(_samples(x, "x"))

    def _measure(self, x: Array) -> Estimate:
        n = x.shape[0]
        _require(n, self.k, f"x of shape {tuple(x.shape)}")
        x, dropped = drop_constant_columns(x, "x")
        d = x.shape[1]
        on = _on_device_of(x)
        z, log_spread = on.standardised(x, workers=self.workers)
        singular = _singular(z)
        z, ties, duplicates = on.untied(z, workers=self.workers)
        euclidean = self.norm == "euclidean"
        radius = on.nearest(z, self.k, d, euclidean, self.workers)[0][:, -1]
        if euclidean:
            radius = np.sqrt(radius)
        log_ball = d / 2 * math.log(math.pi) - gammaln(d / 2 + 1) if euclidean else d * math.log(2)
        with np.errstate(divide="ignore"):  # an atom of the law: its entropy is -inf
            log_radius = float(np.mean(np.log(radius)))
        flags, numbers = _warnings(z, z, self.k, dropped, ties, duplicates, radius, (d,), euclidean)
        if singular:
            flags = ("rank-deficient", *flags)
        return Estimate(
            value=float(psi(n) - psi(self.k) + log_ball + d * log_radius + np.sum(log_spread)),
            quantity="H(X)",
            n=n,
            method=repr(self),
            flags=flags,
            diagnostics={"d": d, **numbers},
        )


@settings
class KSG:
    r"""Mutual information I(X;Y) in nats from nearest neighbours (Kraskov, Stögbauer & Grassberger).

    .. math:: \hat I_1 = \psi(k) + \psi(n) - \langle \psi(n_x + 1) + \psi(n_y + 1) \rangle \qquad
       \hat I_2 = \psi(k) - \tfrac{1}{k} + \psi(n) - \langle \psi(n_x) + \psi(n_y) \rangle

    Algorithm 1 counts, in each marginal, the other points strictly closer than the k-th neighbour of the
    joint space. Algorithm 2 takes one radius per marginal, the farthest of the k neighbours along it, and
    counts the closed balls. The joint distance is the larger of the two marginal ones. No bound: the
    estimate errs low when dependence is strong or the dimension high, and scatters about zero for
    independent variables.

    No count can be below the k neighbours themselves, so the estimate cannot exceed the `ceiling`
    \(\psi(n) - \psi(k)\), less \(1/k\) for algorithm 2; within one nat of it the flag `saturated` is raised.

    Arguments:
        k: number of neighbours. Small k has less bias, large k less variance.
        algorithm: 1 or 2.
        standardise: scale the columns to unit standard deviation first. With `False` the units decide.
        norm: norm within each of X and Y, `"max"` or `"euclidean"`.
        workers: threads that share the search. The estimate is the same for every number, so it is no part
            of the estimator's name.

    Shapes:
        `x`: `(n, dx)`; `y`: `(n, dy)`; n > k. Numpy or torch, both on the CPU or on one CUDA device; measured
            in float64.

    Raises:
        TypeError: for a discrete variable, an array without real numbers, or tensors on different or other devices.
        ValueError: for NaN, wrong shapes, unequal n, n <= k, or all columns constant.

    References:
        Kraskov, Stögbauer & Grassberger, 2004, *Estimating mutual information*, Phys. Rev. E 69, 066138,
        eqs. 8 and 9. Gao, Ver Steeg & Galstyan, 2015, *Efficient estimation of mutual information for
        strongly dependent variables*, AISTATS, for the number of samples that strong dependence needs.

    Example:
        >>> import numpy as np
        >>> x, noise = np.random.default_rng(0).standard_normal((2, 2000, 1))
        >>> e = KSG()(x, 0.6 * x + 0.8 * noise)
        >>> round(e.value, 4), round(e.ceiling, 4), e.flags
        (0.2065, 6.6779, ())
    """

    k: int = 3
    algorithm: int = 1
    standardise: bool = True
    norm: str = "max"
    workers: int = field(default=1, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_settings(self)
        if self.algorithm not in (1, 2):
            raise ValueError(f"algorithm must be 1 or 2, got {self.algorithm!r}")

    def __call__(self, x: Array, y: Array, /) -> Estimate:
        x, y = _samples(x, "x"), _samples(y, "y")
        places = [str(getattr(v, "device", "cpu")) for v in (x, y)]  # numpy before 2.0 names none
        if places[0] != places[1]:
            raise TypeError(
                f"x of shape {tuple(x.shape)} is on device {places[0]!r} and y of shape {tuple(y.shape)} on "
                f"{places[1]!r}; bring both to one device, as by x.cpu() and y.cpu()"
            )
        return self._measure(x, y)

    def _measure(self, x: Array, y: Array) -> Estimate:
        paired(x, y)
        n = x.shape[0]
        _require(n, self.k, f"x and y of shapes {tuple(x.shape)} and {tuple(y.shape)}")
        (x, dropped_x), (y, dropped_y) = drop_constant_columns(x, "x"), drop_constant_columns(y, "y")
        dx, dy = x.shape[1], y.shape[1]
        on = _on_device_of(x)
        unit, log_spread = on.standardised(x, y, workers=self.workers)
        unit, ties, duplicates = on.untied(unit, workers=self.workers)
        # Without standardisation only the relative units count: a common factor moves no neighbour.
        z = unit if self.standardise else on.scaled(unit, np.exp(log_spread - log_spread.max()))
        euclidean = self.norm == "euclidean"
        distance, near_x, near_y = on.nearest_and_counts(
            z, self.k, dx, euclidean, self.algorithm, self.workers
        )
        if self.algorithm == 1:
            ceiling = psi(n) - psi(self.k)
            value = psi(self.k) + psi(n) - _mean_psi(near_x + 1) - _mean_psi(near_y + 1)
        else:
            ceiling = psi(n) - psi(self.k) - 1 / self.k
            value = psi(self.k) - 1 / self.k + psi(n) - _mean_psi(near_x) - _mean_psi(near_y)
        radius = np.sqrt(distance[:, -1]) if euclidean else distance[:, -1]
        flags, numbers = _warnings(
            unit, z, self.k, dropped_x + dropped_y, ties, duplicates, radius, (dx, dy), euclidean
        )
        if value > ceiling - 1:
            flags = ("saturated", *flags)
        return Estimate(
            value=float(value),
            quantity="I(X;Y)",
            n=n,
            method=repr(self),
            ceiling=float(ceiling),
            flags=flags,
            diagnostics={"dx": dx, "dy": dy, **numbers},
        )


class _Tools(NamedTuple):
    """What the measurements are made of; takes arrays of one library and returns small numpy arrays."""

    standardised: Callable[..., Any]
    untied: Callable[..., Any]
    scaled: Callable[..., Any]
    nearest: Callable[..., Any]
    nearest_and_counts: Callable[..., Any]
    some_columns: Callable[..., Any]
    tails: Callable[..., Any]


def _on_device_of(x: Array) -> _Tools:
    if isinstance(x, np.ndarray):
        return _Tools(
            _standardised,
            _untied,
            lambda z, factors: z * factors,
            _nearest,
            nearest_and_counts,
            lambda z, rows: z.T.take(rows, axis=1),
            _tails,
        )
    from estimators import _search_torch as search

    return _Tools(
        search.standardised,
        lambda z, workers: search.untied(z, _JITTER, _SEED),
        search.scaled,
        search.nearest,
        search.nearest_and_counts,
        search.some_columns,
        search.tails,
    )


def _samples(x: Array, name: str) -> Array:
    """A tensor on a CUDA device stays there; everything else is measured on the CPU, as numpy."""
    if is_torch_array(x) and x.device.type == "cuda":
        return as_samples(x, name)
    return as_numpy(x, name)


def check_settings(estimator: Any) -> None:
    """Checks the range of `k`, `workers` and `norm`, as far as the estimator has them."""
    for name in ("k", "workers"):
        if getattr(estimator, name) < 1:
            raise ValueError(f"{name} must be an integer of at least 1, got {getattr(estimator, name)!r}")
    if getattr(estimator, "norm", "max") not in ("max", "euclidean"):
        raise ValueError(f"norm must be 'max' or 'euclidean', got {estimator.norm!r}")


def _require(n: int, k: int, what: str) -> None:
    if n <= k:
        raise ValueError(
            f"{what}: k = {k} neighbours need n > k samples, got n = {n}; give more samples or a smaller k"
        )


def _standardised(*variables: np.ndarray, workers: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """The columns of all variables, of mean 0 and standard deviation 1, and the logarithms of the deviations.

    Each column is contiguous in the result, as all that follows runs along them.
    """
    n, edges = len(variables[0]), np.cumsum([0, *(x.shape[1] for x in variables)])
    columns = np.empty((edges[-1], n))
    for x, first, last in zip(variables, edges[:-1], edges[1:], strict=True):
        _transpose(x, columns[first:last], workers)
    size, spread = np.empty((2, len(columns)))

    def work(first: int, last: int) -> None:
        for group in _column_groups(n, first, last):
            part = columns[group]
            part -= part.mean(axis=1, keepdims=True)
            part -= part.mean(axis=1, keepdims=True)  # the first, of a column with a large offset, is rounded
            size[group] = np.maximum(part.max(axis=1), -part.min(axis=1))
            part /= size[group, None]  # first, so that squares neither overflow nor vanish
            spread[group] = np.sqrt(np.einsum("ij,ij->i", part, part) / n)
            part /= spread[group, None]

    _shared(work, len(columns), workers)
    return columns.T, np.log(size) + np.log(spread)


def _singular(unit: Array) -> bool:
    """Whether standardised columns are linearly dependent to working precision, as far as n > d can tell."""
    xp, (n, d) = array_namespace(unit), unit.shape
    if d == 1 or n <= d or float(xp.linalg.eigvalsh(unit.T @ unit / n)[0]) > _SQUARED:
        return False
    singular = xp.linalg.svdvals(unit)
    return float(singular[-1]) <= _RANK_TOL * float(singular[0])


def _transpose(x: np.ndarray, into: np.ndarray, workers: int) -> None:
    """Copies `x: (n, d)` into `(d, n)`, in squares that stay in cache."""
    width = min(x.shape[1], 64)
    height = 4096 // width

    def work(first: int, last: int) -> None:
        for row in range(first, last, height):
            down = slice(row, min(row + height, last))
            for column in range(0, x.shape[1], width):
                into[column : column + width, down] = x[down, column : column + width].T

    _shared(work, len(x), workers, height)


def _tails(unit: np.ndarray) -> float:
    """The largest fourth moment of the standardised columns."""
    moments = []
    for group in _column_groups(len(unit), 0, unit.shape[1]):
        square = unit.T[group] * unit.T[group]
        moments.append(float(np.einsum("ij,ij->i", square, square).max()))
    return max(moments) / len(unit)


def _untied(z: np.ndarray, workers: int = 1) -> tuple[np.ndarray, int, int]:
    """Breaks the ties of standardised samples; also returns most repeats in a column and repeated rows."""
    repeats = np.zeros(z.shape[1], np.int64)

    def work(first: int, last: int) -> None:
        for group in _column_groups(len(z), first, last):
            ordered = np.sort(z.T[group], axis=1)
            repeats[group] = np.count_nonzero(ordered[:, 1:] == ordered[:, :-1], axis=1)

    _shared(work, z.shape[1], workers)
    tied = repeats > 0
    if not tied.any():
        return z, 0, 0
    # A repeated row repeats every coordinate, so rows need no comparison while one column has no repeat.
    duplicates = z.shape[0] - np.unique(z, axis=0).shape[0] if tied.all() else 0
    noise = stream(_SEED, "jitter").uniform(-_JITTER, _JITTER, size=(z.shape[0], int(tied.sum())))
    z = z.copy(order="K")
    z[:, tied] += noise
    return z, int(repeats.max()), duplicates


def _warnings(
    unit: np.ndarray,
    z: np.ndarray,
    k: int,
    dropped: int,
    ties: int,
    duplicates: int,
    radius: np.ndarray,
    widths: Sequence[int],
    euclidean: bool,
) -> tuple[tuple[str, ...], dict[str, float]]:
    """Flags and diagnostics, from the standardised samples `unit` and the measured ones `z`.

    The variables have `widths` columns each, the last one all that remain.
    """
    n, d = z.shape
    on = _on_device_of(z)
    some = stream(_SEED, "sample").permutation(n)[:2000]
    pair = np.zeros(len(some))
    edges = [0, *np.cumsum(widths)[:-1].tolist(), d]
    for first, last in pairwise(edges):
        square = np.zeros(len(pair))
        for group in _column_groups(len(pair), first, last):
            sample = on.some_columns(z[:, group], some)
            gap = sample - np.roll(sample, 1, axis=1)
            if euclidean:
                square += np.einsum("ij,ij->j", gap, gap)
            else:
                pair = np.maximum(pair, np.abs(gap).max(axis=0))
        pair = np.maximum(pair, np.sqrt(square))
    typical = float(np.median(pair))
    contrast = float(np.median(radius)) / typical if typical > 0 else 0.0
    raised = {
        "ties": ties > _TIES * n,
        # In one column a float32 collision repeats the whole row, so there the same share is tolerated.
        "duplicates": duplicates > (0 if d > 1 else _TIES * n),
        "constant-columns": dropped > 0,
        "heavy-tails": on.tails(unit) - 3 > _HEAVY,
        "small-sample": n < 10 * k,
        "high-dimension": contrast > _CONTRAST,
    }
    numbers = {"dropped": dropped, "ties": ties, "duplicates": duplicates, "contrast": contrast}
    return tuple(flag for flag, is_raised in raised.items() if is_raised), numbers


def _mean_psi(counts: np.ndarray) -> float:
    """Mean digamma, from how often each count occurs: the same for every order of the points."""
    tally = np.bincount(counts)
    seen = np.flatnonzero(tally)
    return float(psi(seen) @ tally[seen]) / counts.size
