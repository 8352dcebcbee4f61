r"""Mutual information from nearest neighbours where not every variable is continuous, on the CPU.

`Ross` is for continuous X and class labels Y. `Gao` is for any mixture: discrete, continuous, or both in one
variable, as rectified units or censored measurements are. Neither bounds the truth, and neither adds noise to
repeated values that its formula has a place for.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import field

import numpy as np
from scipy.special import psi

from estimators._neighbor_inputs import Stacked, check_settings, stacked, warnings_of
from estimators._result import Estimate
from estimators._samples import as_labels, as_numpy, is_discrete, paired
from estimators._search import nearest
from estimators._search_blocks import count
from estimators._settings import settings
from estimators.neighbors import _mean_psi, _require
from estimators.protocols import Array

__all__ = ["Gao", "Ross"]

_OPEN = 0.05  # share of samples away from atoms above which the flag `saturated` is asked of them
_ALIKE = (
    2.0**-20
)  # steps of one size, scaled and rounded (to float32 at worst), differ by less than this share
_SPARSE = 0.05  # share of samples at atoms of fewer than 3 k samples above which the estimate errs high


@settings
class Ross:
    r"""Mutual information I(X;Y) in nats of continuous X and class labels Y (Ross).

    .. math:: \hat I = \psi(n) - \langle \psi(n_c) \rangle + \langle \psi(k_c) \rangle - \langle \psi(m) \rangle

    with \(n_c\) the size of the sample's own class, m - 1 the other samples of any class that are strictly
    closer than its k-th neighbour within the class, and \(k_c = \min(k, n_c - 1)\). No bound.

    A class with a single sample has no neighbour within the class. Its samples are left out (`singletons`
    counts them, `n` does not), and what remains is the information of the other classes. `small_classes` counts
    the classes of at most k samples, where fewer neighbours are used. Either raises the flag `small-sample`.

    As m is at least \(k_c\), the estimate cannot exceed the `ceiling` \(\psi(n) - \langle \psi(n_c) \rangle\),
    an estimate of H(Y): the truth cannot either, so reaching it is no fault.

    Repeated values of X are treated as by `KSG`: counted, loosened by noise far below any distance, and flagged
    `ties`. Where they belong to the law, as zeros of rectified units do, use `Gao`.

    Arguments:
        k: number of neighbours within the class.
        standardise: scale the columns to unit standard deviation first. With `False` the units decide.
        norm: `"max"` or `"euclidean"`.
        workers: threads that share the search. The estimate is the same for every number, so it is no part
            of the estimator's name.

    Shapes:
        `x`: `(n, d)`; `y`: integers `(n,)`. Numpy or torch on the CPU; x is measured in float64.

    Raises:
        TypeError: if `y` is no integer vector, `x` holds no real numbers or is discrete, or a tensor is on
            another device.
        ValueError: for NaN, wrong shapes, unequal n, n <= k, all columns constant, a single class, or fewer
            than two classes of at least two samples.

    References:
        Ross, 2014, *Mutual information between discrete and continuous data sets*, PLoS ONE 9, e87357.

    Example:
        >>> import numpy as np
        >>> y = np.arange(2000) % 2
        >>> x = 2.0 * y + np.random.default_rng(0).standard_normal(2000)
        >>> e = Ross()(x, y)
        >>> round(e.value, 4), round(e.ceiling, 4), e.flags
        (0.3432, 0.6934, ())
    """

    k: int = 3
    standardise: bool = True
    norm: str = "max"
    workers: int = field(default=1, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_settings(self)

    def __call__(self, x: Array, y: Array, /) -> Estimate:
        x, codes = as_numpy(x, "x"), as_labels(y)
        paired(x, codes)
        x, codes, singletons = _without_singletons(x, codes)
        s = stacked({"x": x}, self.k, standardise=self.standardise)
        sizes = np.bincount(codes)
        euclidean = self.norm == "euclidean"
        radius = np.empty(s.n)
        for rows in np.split(np.argsort(codes, kind="stable"), np.cumsum(sizes)[:-1]):
            k = min(self.k, rows.size - 1)
            own = np.asfortranarray(s.z[rows])
            radius[rows] = nearest(own, k, own.shape[1], euclidean, self.workers)[0][:, -1]
        near = count(s.z, s.widths, radius, euclidean, self.workers)
        label_entropy = float(psi(s.n) - psi(sizes) @ sizes / s.n)
        used = np.minimum(self.k, sizes - 1)
        value = label_entropy + float(psi(used) @ sizes / s.n) - _mean_psi(near + 1)
        flags, numbers = warnings_of(s, self.k, np.sqrt(radius) if euclidean else radius, euclidean=euclidean)
        small = int(np.sum(sizes <= self.k))
        if (singletons or small) and "small-sample" not in flags:
            flags = (*flags, "small-sample")
        return Estimate(
            value=value,
            quantity="I(X;Y)",
            n=s.n,
            method=repr(self),
            ceiling=label_entropy,
            flags=flags,
            diagnostics={
                "dx": s.widths[0],
                "classes": sizes.size,
                "small_classes": small,
                "singletons": singletons,
                **numbers,
            },
        )


@settings
class Gao:
    r"""Mutual information I(X;Y) in nats of any mixture of discrete and continuous laws (Gao et al.).

    .. math:: \hat I = \psi(n) + \langle \psi(\tilde k) - \psi(n_x + 1) - \psi(n_y + 1) \rangle

    Where the k-th neighbour in the joint space is alone at its distance, \(\tilde k = k\) and \(n_x\),
    \(n_y\) count the other samples strictly closer, as in algorithm 1 of `KSG`, whose joint distance it
    shares. Where it shares its distance with more samples (zero, at a repeated value), the ball is closed:
    \(n_x\), \(n_y\) count the other samples within that distance, and \(\tilde k\) is one more than those in
    the joint space. So the estimate is that of `KSG` for continuous pairs, that of `Ross` for labels of which
    every class has more than k samples, and \(\psi(n) + \langle \psi(n_{xy}) - \psi(n_x) - \psi(n_y)
    \rangle\) with the sample itself counted for discrete pairs. It is the paper's estimator with \(\psi\) for
    log, and with the ball closed at every shared distance, where the paper closes it at distance zero only:
    from a point near an atom all samples of the atom are equally far. Distances are the same when they agree
    to one part in a million. No bound.

    Repeated values are no fault here and raise no flag. `ties` and `duplicates` count them, and `atoms` is the
    share of samples whose ball is closed. Such a ball should hold many samples: for two independent Poisson(3)
    counts the estimate is high by 0.12 at n = 100, by 0.015 at n = 1000 and by 0.003 at n = 4000. The flag
    `small-sample` is raised when more than 5 % of the samples have a closed ball of fewer than 3 k (`sparse`).
    So rounded measurements, with about k samples in a cell, are flagged; they belong to `KSG`.

    An integer vector is a class label: two samples of different classes are farther apart than any two values,
    and a sample alone in its class is left out as in `Ross` (`singletons`), unless both X and Y are labels.
    Counts and other ordered numbers are passed as a float column.

    Arguments:
        k: number of neighbours. Small k has less bias, large k less variance.
        standardise: scale the columns to unit standard deviation first. With `False` the units decide.
        norm: norm within each variable, `"max"` or `"euclidean"`.
        workers: threads that share the search. The estimate is the same for every number, so it is no part
            of the estimator's name.

    Shapes:
        `x`: `(n, dx)` or integers `(n,)`; `y`: `(n, dy)` or integers `(n,)`; n > k. Numpy or torch on the CPU;
        measured in float64.

    Raises:
        TypeError: for an array without real numbers, or a tensor on another device.
        ValueError: for NaN, wrong shapes, unequal n, n <= k, all columns constant, or a single class.

    References:
        Gao, Kannan, Oh & Viswanath, 2017, *Estimating mutual information for discrete-continuous mixtures*,
        NeurIPS. Mesner & Shalizi, 2021, *Conditional mutual information estimation for mixed, discrete and
        continuous data*, IEEE Trans. Inf. Theory 67, for the closed ball at repeated values.

    Example:
        >>> import numpy as np
        >>> x, noise = np.random.default_rng(0).standard_normal((2, 5000))
        >>> y = 0.8 * x + 0.6 * noise
        >>> e = Gao()(np.maximum(x, 0), np.maximum(y, 0))  # truth: 0.3464
        >>> round(e.value, 4), round(e.diagnostics["atoms"], 2), e.flags
        (0.3518, 0.41, ())
    """

    k: int = 3
    standardise: bool = True
    norm: str = "max"
    workers: int = field(default=1, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_settings(self)

    def __call__(self, x: Array, y: Array, /) -> Estimate:
        arrays = {"x": x, "y": y}
        labels = {name: as_labels(v, name) for name, v in arrays.items() if is_discrete(v)}
        values = {name: as_numpy(v, name) for name, v in arrays.items() if name not in labels}
        both = {**labels, **values}
        paired(both["x"], both["y"])
        singletons = 0
        if labels and values:
            (name,), (label,) = values, labels
            values[name], labels[label], singletons = _without_singletons(values[name], labels[label])
        s = stacked(values, self.k, standardise=self.standardise, untie=False) if values else None
        euclidean = self.norm == "euclidean"
        z, dx, far = _side_by_side(s, labels, euclidean)
        n, d = z.shape
        power = 2 if euclidean else 1  # Euclidean distances are squared
        more, less = (1 + _ALIKE) ** power, (1 - _ALIKE) ** power
        _require(n, self.k, f"x and y of shapes {tuple(x.shape)} and {tuple(y.shape)}")
        distance = nearest(z, self.k, dx if euclidean else d, euclidean, self.workers)[0]
        used = np.sum(distance < far**power, axis=1)  # a class of k samples or fewer has no k-th neighbour
        radius = np.where(used > 0, distance[np.arange(n), np.maximum(used, 1) - 1], 0.0)
        wide = np.maximum(radius * more, np.nextafter(0, 1))
        within = count(z, (dx, d - dx), wide, euclidean, self.workers)
        nearer = np.sum(distance < (radius * less)[:, None], axis=1)
        closed = (radius == 0) | (within - nearer > 1)
        radius = np.where(closed, wide, radius * less)
        near_x = count(z[:, :dx], (dx,), radius, euclidean, self.workers)
        near_y = count(z[:, dx:], (d - dx,), radius, euclidean, self.workers)
        joint = np.where(closed, within + 1, used)
        value = float(psi(n)) + _mean_psi(joint) - _mean_psi(near_x + 1) - _mean_psi(near_y + 1)
        flags, numbers = _mixture_warnings(s, self.k, radius, euclidean)
        # A ball is closed because it holds more than k samples: near k that choice itself raises the count.
        sparse = float(np.mean(closed & (joint < 3 * self.k)))
        if (singletons or sparse > _SPARSE) and "small-sample" not in flags:
            flags = (*flags, "small-sample")
        room = psi(near_x + 1) + psi(near_y + 1) - 2 * psi(joint)
        if np.mean(~closed) > _OPEN and np.mean(room[~closed]) < 1:
            flags = ("saturated", *flags)
        return Estimate(
            value=value,
            quantity="I(X;Y)",
            n=n,
            method=repr(self),
            ceiling=float(psi(n)) - _mean_psi(joint),
            flags=flags,
            diagnostics={
                "dx": dx,
                "dy": d - dx,
                "singletons": singletons,
                "atoms": float(np.mean(closed)),
                "sparse": sparse,
                **numbers,
            },
        )


def _without_singletons(x: np.ndarray, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """Leaves out the samples that are alone in their class; the codes are numbered anew."""
    sizes = np.bincount(codes)
    keep = sizes[codes] > 1
    singletons = int(np.sum(sizes == 1))
    if np.sum(sizes > 1) < 2:
        raise ValueError(
            f"labels of shape {codes.shape}: {singletons} of the {sizes.size} classes have one sample only, and at "
            "least two classes of two samples or more are needed; merge rare classes or give more samples"
        )
    if not singletons:
        return x, codes, 0
    return x[keep], np.unique(codes[keep], return_inverse=True)[1].reshape(-1), singletons


def _side_by_side(
    s: Stacked | None, labels: Mapping[str, np.ndarray], euclidean: bool
) -> tuple[np.ndarray, int, float]:
    """Columns of X, then of Y; how many are of X; and the distance from which on two samples differ in a label.

    Labels are multiples of a power of two beyond every distance of the other columns, so that multiples are exact.
    """
    if s is None:
        return np.stack([labels["x"], labels["y"]]).astype(float).T, 1, 1.0
    if not labels:
        return s.z, s.widths[0], math.inf
    spread = np.ptp(s.z, axis=0)
    far = 2.0 ** math.ceil(math.log2(1 + (np.sqrt(np.sum(spread**2)) if euclidean else np.max(spread))))
    ((name, codes),) = labels.items()
    column = far * codes[:, None]
    columns = [column, s.z] if name == "x" else [s.z, column]
    return np.concatenate([c.T for c in columns]).T, columns[0].shape[1], far


def _mixture_warnings(
    s: Stacked | None, k: int, radius: np.ndarray, euclidean: bool
) -> tuple[tuple[str, ...], dict[str, float]]:
    """Flags and diagnostics of the columns that are no labels; repeated values are part of the law."""
    if s is None:
        return (("small-sample",) if radius.size < 10 * k else ()), {}
    flags, numbers = warnings_of(s, k, np.sqrt(radius) if euclidean else radius, euclidean=euclidean)
    return tuple(flag for flag in flags if flag not in ("ties", "duplicates")), numbers
