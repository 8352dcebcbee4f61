"""Continuous samples cut into cells, so that counting applies: what the number says depends on how the cells are cut."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np

from estimators._covariance import common_flags
from estimators._result import Estimate
from estimators._samples import as_numpy, drop_constant_columns, is_discrete, paired, standardised
from estimators._settings import settings
from estimators.discrete import Discrete
from estimators.protocols import Array

__all__ = ["Binned", "cells", "patterns"]

Rule = Literal["width", "mass", "fixed"]

_MIN_N = 4
_ROUNDED = 0.1  # nats; above, the size of the cells makes the number and not the law
_FINEST = 1e-6  # variance, in squared cells, below which a direction is a function of the others
_OVERFLOW = 0.01  # share of values outside the range above which the end cells, not the law, make the number


def cells(
    x: np.ndarray, bins: int, rule: Rule = "width", low: float | None = None, high: float | None = None
) -> np.ndarray:
    r"""Cell of each value, column by column: integers `(n, d)` from 0 to `bins` - 1.

    .. math:: q(x) = \left\lfloor \frac{B (x - a)}{b - a} \right\rfloor \qquad \text{and } q(b) = B - 1

    `"width"` takes a and b from each column's smallest and largest value, `"fixed"` from `low` and `high`; there
    values outside the range get the cells -1 and `bins`. `"mass"` cuts at order statistics, so that the cells of a
    column without ties hold equally many values, up to one.

    Arguments:
        x: finite samples `(n, d)`; for `"width"` no column is constant.
        bins: number B of cells of each column.
        rule: how the range is cut.
        low, high: the range, for `"fixed"`.

    Example:
        >>> import numpy as np
        >>> cells(np.array([[0.0], [1.0], [3.9], [4.0]]), 4).ravel().tolist()
        [0, 1, 3, 3]
    """
    n = x.shape[0]
    if rule == "mass":
        ordered = np.sort(x, axis=0)
        # Edges are samples, not interpolated: cells are then invariant to increasing maps, and nested.
        edges = ordered[[math.ceil(k * n / bins) - 1 for k in range(1, bins)]]
        columns = (np.searchsorted(edges[:, j], x[:, j], side="left") for j in range(x.shape[1]))
        return np.stack(list(columns), axis=1).astype(np.int64)
    if rule == "width":
        # Differences of the largest floats overflow; a power of two changes no digit.
        x = np.ldexp(x, -np.frexp(np.max(np.abs(x), axis=0))[1])
        start, stop = np.min(x, axis=0), np.max(x, axis=0)
    else:
        start, stop = np.asarray(low, dtype=float), np.asarray(high, dtype=float)
    with np.errstate(over="ignore"):  # far outside a fixed range
        # Multiplied first: integers on an integer range fall on exact edges.
        position = np.floor((x - start) * bins / (stop - start))
    # x just below b may round up to B.
    position = np.where((x <= stop) & (position >= bins), bins - 1, position)
    return np.clip(position, -1, bins).astype(np.int64)


def patterns(rows: np.ndarray) -> np.ndarray:
    """Codes `(n,)` of the distinct rows of integers `(n, d)`: the joint pattern of a row is one symbol.

    Example:
        >>> import numpy as np
        >>> patterns(np.array([[0, 1], [1, 0], [0, 1]])).tolist()
        [0, 1, 0]
    """
    rows = np.ascontiguousarray(rows, dtype=np.int64)
    if rows.ndim != 2:
        raise ValueError(f"rows must be integers (n, d), got shape {rows.shape}")
    seen: dict[bytes, int] = {}
    return np.array([seen.setdefault(row.tobytes(), len(seen)) for row in rows], dtype=np.int64)


@settings
class Binned:
    r"""Cuts continuous samples into cells and counts: an estimator of labels becomes one of samples, in nats.

    .. math:: H(QX), \qquad I(QX;QY), \qquad QX = \left( q(X_1), \dots, q(X_d) \right)

    with q of `cells`; the joint pattern of a row is one symbol. Labels stay what they are, so `Binned()(x, y)` with
    integers y is I(QX;Y). By data processing the binned information lies below I(X;Y); a binned entropy is another
    quantity than the differential entropy, and for a network without noise it is I(X;QT).

    What to know before reading a story into it:

    * It saturates. With d columns there are \(B^d\) cells, and as soon as every row has its own the entropy is
      log n whatever the law (`saturated`); I(QX;Y) is then H(Y). `occupied` and `log_n` are in the diagnostics,
      `ceiling` of an entropy is min(log n, d log B).
    * `"width"` cuts each column's own range: a relative resolution. Growing or shrinking weights are invisible, one
      outlier merges all other values (`heavy-tails`), and the range widens with n. It drops constant columns, having none.
    * A dependence finer than a cell is not seen: `rounded_away` is what rounding would take from a normal law of this
      covariance, and above 0.1 nats the flag is `saturated`. Many cells need many samples: `small-sample`, as `Discrete`.
    * `"fixed"` cuts [`low`, `high`]: an absolute resolution. It suits bounded activations, such as tanh on [-1, 1].
      A shrinking layer "compresses". Values outside are an error, or with `overflow=True` fall into one
      cell below and one above: a layer that outgrows the range then seems to compress as well. Their share is
      `overflow` in the diagnostics, `saturated` above 1 %. For one range over a whole layer pass its extremes.
    * `"mass"` makes every column's own law uniform, entropy log B: only dependence between columns is left to see.
    * `bins` counts cells; a `linspace` of 30 edges has 29. The cells follow the axes: rotations change the number.

    Arguments:
        inner: estimator of labels, such as `Discrete(...)`, also inside `Permuted` or `Subsampled`. NSB and James-Stein
            take the occupied patterns for the alphabet unless `symbols` says otherwise.
        bins: cells of each column, at least 2.
        rule: `"width"`, `"mass"` or `"fixed"`.
        low, high: the range, for `"fixed"` only.
        overflow: count values outside the range in two cells of their own; for `"fixed"` only.

    Shapes:
        `x`: `(n, d)`; `y`: `(n, dy)` or integers `(n,)`, with n >= 4. Numpy or torch on the CPU, cut in float64.

    Raises:
        TypeError: for an array that holds no real numbers, or a tensor on another device.
        ValueError: for NaN, wrong shapes, unequal n, n < 4, all columns constant (not for `"fixed"`, where that is
            an entropy of exactly zero), values outside the fixed range, or settings that contradict each other.

    References:
        Shwartz-Ziv & Tishby, 2017, *Opening the black box of deep neural networks via information*. Saxe et al., 2018,
        *On the information bottleneck theory of deep learning*. Goldfeld et al., 2019, *Estimating information flow in
        deep neural networks*: what binning measures there is clustering.

    Example:
        >>> import numpy as np
        >>> x = np.random.default_rng(0).uniform(-1, 1, (5000, 2))
        >>> e = Binned(bins=2, rule="fixed", low=-1.0, high=1.0)(x)
        >>> print(f"{e.quantity} = {e.value:.4f} of at most {e.ceiling:.4f}")
        H(QX) = 1.3859 of at most 1.3863
    """

    inner: Callable[..., Estimate] = field(default_factory=Discrete)
    bins: int = 30
    rule: Rule = "width"
    low: float | None = None
    high: float | None = None
    overflow: bool = False

    def __post_init__(self) -> None:
        if self.rule not in get_args(Rule):
            raise ValueError(f"rule = {self.rule!r} must be one of {', '.join(get_args(Rule))}")
        if self.bins < 2:
            raise ValueError(f"bins = {self.bins}: at least 2 cells are needed to tell values apart")
        if self.rule == "fixed":
            if self.low is None or self.high is None or not 0 < self.high - self.low < math.inf:
                raise ValueError(
                    f"rule='fixed' needs a range low < high, got low = {self.low} and high = {self.high}"
                )
        elif self.low is not None or self.high is not None or self.overflow:
            raise ValueError(f"low, high and overflow belong to rule='fixed', not to rule={self.rule!r}")

    def __call__(self, x: Array, y: Array | None = None, /) -> Estimate:
        arrays = {"x": x} if y is None else {"x": x, "y": y}
        cut = {name: self._cut(value, name) for name, value in arrays.items()}
        if y is not None:
            paired(x, y)
        inner = self.inner(*(part.labels for part in cut.values()))
        binned = [part for part in cut.values() if part.columns]
        extra: dict[str, float] = {"bins": self.bins, "dropped": sum(part.dropped for part in binned)}
        for name, part in cut.items():
            suffix = "" if y is None else name
            if part.columns:
                extra[f"d{suffix}"] = part.columns
                extra[f"log_cells{'_' * bool(suffix)}{suffix}"] = part.columns * math.log(self._sides)
        if len(binned) == 2:
            extra["rounded_away"] = _rounded_away(binned[0].rows, binned[1].rows)
        if self.rule == "fixed":
            extra["overflow"] = max((part.outside for part in binned), default=0.0)
        raised = {
            "constant-columns": extra["dropped"] > 0,
            "saturated": extra.get("overflow", 0.0) > _OVERFLOW or extra.get("rounded_away", 0.0) > _ROUNDED,
            "heavy-tails": any(part.heavy for part in binned),
        }
        flags = tuple(dict.fromkeys((*inner.flags, *(name for name, is_so in raised.items() if is_so))))
        ceiling = inner.ceiling
        if y is None and ceiling is not None and binned:
            ceiling = max(ceiling, min(math.log(inner.n), extra["log_cells"]))
        return dataclasses.replace(
            inner,
            method=repr(self),
            quantity="H(QX)" if y is None and binned else inner.quantity,
            ceiling=ceiling,
            flags=flags,
            diagnostics={**inner.diagnostics, **extra},
        )

    @property
    def _sides(self) -> int:
        """Cells of one column."""
        return self.bins + 2 * self.overflow

    def _cut(self, x: Array, name: str) -> _Cut:
        if is_discrete(x):
            return _Cut(labels=x)
        z = as_numpy(x, name, min_n=_MIN_N)
        if self.rule != "fixed":
            kept, dropped = drop_constant_columns(z, name)
            rows = cells(kept, self.bins, self.rule)
            heavy = self.rule == "width" and "heavy-tails" in common_flags(standardised(kept), 0)
            return _Cut(labels=patterns(rows), rows=rows, columns=rows.shape[1], dropped=dropped, heavy=heavy)
        rows = cells(z, self.bins, self.rule, self.low, self.high)
        outside = (rows < 0) | (rows >= self.bins)
        if outside.any() and not self.overflow:
            raise ValueError(
                f"{name} of shape {z.shape} has {int(outside.sum())} values outside [{self.low}, {self.high}], it spans "
                f"[{z.min():.6g}, {z.max():.6g}]: widen low and high, or pass overflow=True to count them in end cells"
            )
        return _Cut(labels=patterns(rows), rows=rows, columns=rows.shape[1], outside=float(outside.mean()))


def _rounded_away(x: np.ndarray, y: np.ndarray) -> float:
    """Nats that rounding to cells takes from the information of a normal law with the covariance of the samples.

    Rounding adds the variance 1/12 of a cell to every column (Sheppard's correction); less it, the cells' covariance is that
    of the samples, in squared cells. The last of it that is kept stands for a dependence finer than any cell.
    """
    d = x.shape[1]
    z = np.concatenate([x, y], axis=1).astype(float)
    cov = (z - z.mean(axis=0)).T @ (z - z.mean(axis=0)) / len(z)

    def lost(c: np.ndarray) -> float:
        values = np.linalg.eigvalsh(c)
        return float(np.sum(np.log(np.maximum(values, 1 / 12) / np.maximum(values - 1 / 12, _FINEST))))

    return 0.5 * (lost(cov) - lost(cov[:d, :d]) - lost(cov[d:, d:]))


@dataclass(frozen=True)
class _Cut:
    """Labels of one argument, and how they were cut; no columns where they were labels before."""

    labels: Array
    rows: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.int64))
    columns: int = 0
    dropped: int = 0
    heavy: bool = False
    outside: float = 0.0
