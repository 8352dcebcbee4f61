r"""Entropy and mutual information of discrete variables from counts, by six estimators.

The plug-in entropy \(\hat H = -\sum_i \hat p_i \log \hat p_i\) of n samples over K symbols is biased low, and its
variance is known to the same order (Harris, 1975):

.. math:: E \hat H = H - \frac{K - 1}{2 n} + O(n^{-2}) \qquad
   \mathrm{Var} \hat H = \frac{\mathrm{Var} \log p}{n} + \frac{K - 1}{2 n^2} + O(n^{-3})

The functions take counts, one per symbol; a zero is a symbol of the alphabet that was not seen.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from scipy.special import psi, xlogy

from estimators import _nsb
from estimators._result import Estimate
from estimators._samples import as_labels, is_discrete, paired
from estimators._settings import settings
from estimators.protocols import Array

__all__ = [
    "Discrete",
    "chao_shen",
    "grassberger",
    "james_stein",
    "miller_madow",
    "nsb",
    "plug_in",
    "shrinkage",
]

Method = Literal["plug-in", "miller-madow", "grassberger", "james-stein", "chao-shen", "nsb"]

_MIN_N = 4
_PER_CELL = 5  # samples per occupied cell below which the plug-in bias is no longer a small correction
_SATURATED = 0.5  # nats below log n
_ROUNDING = 1e-9
_LARGEST = 10**200  # beyond it concentrations overflow


def plug_in(counts: np.ndarray) -> float:
    r"""Plug-in (maximum-likelihood) entropy in nats: \(-\sum_i \hat p_i \log \hat p_i\), \(\hat p_i = n_i / n\).

    Example:
        >>> round(plug_in([1, 1, 2]), 6)
        1.039721
    """
    c = _occupied(counts)
    # log n - sum c log c / n would lose digits for large counts, and would not be exactly zero for one symbol.
    p = c / c.sum()
    return float(-np.sum(xlogy(p, p)) + 0.0)


def miller_madow(counts: np.ndarray) -> float:
    r"""Miller-Madow entropy in nats: \(\hat H + \frac{m - 1}{2 n}\) with m occupied cells.

    References:
        Miller, 1955, *Note on the bias of information estimates*, in *Information Theory in Psychology*, 95-100.

    Example:
        >>> round(miller_madow([1, 1, 2]), 6)
        1.289721
    """
    c = _occupied(counts)
    return plug_in(c) + (len(c) - 1) / (2 * float(c.sum()))


def grassberger(counts: np.ndarray) -> float:
    r"""Grassberger's entropy in nats: \(\log n - \frac{1}{n} \sum_i n_i G(n_i)\).

    .. math:: G(n) = \psi(n) + \frac{(-1)^n}{2} \left( \psi\left(\tfrac{n + 1}{2}\right) - \psi\left(\tfrac{n}{2}\right) \right)

    For Poisson counts of mean z the expectation of n G(n) is \(z \log z + z E_1(2 z)\): the part of the bias that
    grows with the cells falls exponentially in z. At fixed n about 1 / 2n is left, whatever their number. One
    occupied cell, where the formula leaves that remainder too, gives exactly zero.

    References:
        Grassberger, 2003, *Entropy estimates from insufficient samplings*, arXiv physics/0307138 (revised 2008).

    Example:
        >>> round(grassberger([1, 1, 2]), 6)
        1.656657
    """
    c = _occupied(counts)
    if len(c) == 1:
        return 0.0
    n = float(c.sum())
    sign = 1.0 - 2.0 * (c % 2)
    g = psi(c) + sign / 2 * (psi((c + 1) / 2) - psi(c / 2))
    return float(math.log(n) - np.sum(c * g) / n)


def shrinkage(counts: np.ndarray, symbols: int | None = None) -> float:
    r"""Weight of the uniform law in the James-Stein estimate, in [0, 1].

    .. math:: \lambda = \frac{1 - \sum_i \hat p_i^2}{(n - 1) \sum_i (1 / K - \hat p_i)^2}

    Arguments:
        counts: one count per symbol.
        symbols: size K of the alphabet; by default the length of `counts`, zeros included.

    Example:
        >>> shrinkage([4, 4]), round(shrinkage([9, 1]), 6)
        (1.0, 0.0625)
    """
    c, k = _alphabet(counts, symbols)
    n = float(c.sum())
    square = float(np.sum((c / n) ** 2))
    # Both sums may be zero up to rounding: a single symbol, and counts that are uniform already.
    distance = (n - 1) * (square - 1 / k)
    scatter = 1 - square
    return 1.0 if distance <= max(scatter, _ROUNDING / k) else scatter / distance


def james_stein(counts: np.ndarray, symbols: int | None = None, *, weight: float | None = None) -> float:
    r"""James-Stein entropy in nats: that of \(\lambda / K + (1 - \lambda) \hat p_i\).

    Arguments:
        counts: one count per symbol.
        symbols: size K of the alphabet; by default the length of `counts`, zeros included.
        weight: \(\lambda\) in [0, 1]; by default `shrinkage(counts, symbols)`.

    References:
        Hausser & Strimmer, 2009, *Entropy inference and the James-Stein estimator*, J. Mach. Learn. Res. 10.

    Example:
        >>> round(james_stein([9, 1]), 6)
        0.37677
    """
    c, k = _alphabet(counts, symbols)
    lam = shrinkage(c, k) if weight is None else weight
    p = lam / k + (1 - lam) * c / c.sum()
    unseen = 0.0 if lam == 0 else (1 - len(c) / k) * lam * math.log(lam / k)
    return float(-np.sum(xlogy(p, p)) - unseen + 0.0)


def chao_shen(counts: np.ndarray) -> float:
    r"""Chao-Shen entropy in nats, from the coverage \(C = 1 - f_1 / n\) with \(f_1\) singletons.

    .. math:: \hat H = -\sum_i \frac{C \hat p_i \log (C \hat p_i)}{1 - (1 - C \hat p_i)^n}

    Where all samples are singletons the coverage would vanish; it is then 1 / n.

    References:
        Chao & Shen, 2003, *Nonparametric estimation of Shannon's index of diversity when there are unseen species
        in sample*, Environ. Ecol. Stat. 10, 429-443.

    Example:
        >>> round(chao_shen([1, 1, 2]), 6)
        1.76324
    """
    c = _occupied(counts)
    if len(c) == 1:
        return 0.0
    n = float(c.sum())
    p = _coverage(c) * c / n
    return float(-np.sum(p * np.log(p) / -np.expm1(n * np.log1p(-p))))


def nsb(counts: np.ndarray, symbols: int | None = None) -> tuple[float, float]:
    r"""Nemenman-Shafee-Bialek entropy in nats: posterior mean and standard deviation.

    A mixture of symmetric Dirichlet priors whose mean entropy \(\xi(\beta) = \psi(K \beta + 1) - \psi(\beta + 1)\) is
    uniform over (0, log K). The integral over \(\beta\) is one-dimensional and exact to about ten digits.

    Arguments:
        counts: one count per symbol.
        symbols: size K of the alphabet; by default the length of `counts`, zeros included.

    References:
        Nemenman, Shafee & Bialek, 2002, *Entropy and inference, revisited*, NIPS 14. Wolpert & Wolf, 1995,
        *Estimating functions of probability distributions from a finite set of samples*, Phys. Rev. E 52.

    Example:
        >>> mean, sd = nsb([1, 1, 2])
        >>> round(mean, 4), round(sd, 4)
        (0.9777, 0.1309)
    """
    c, k = _alphabet(counts, symbols)
    return _nsb.posterior(c, k)[:2] if k > 1 else (0.0, 0.0)


@settings
class Discrete:
    r"""Entropy `Discrete()(x)` and mutual information `Discrete()(x, y)` of labels, in nats.

    .. math:: \hat I(X;Y) = \hat H(X) + \hat H(Y) - \hat H(X,Y)

    with one method for the three entropies; James-Stein takes them from one shrunk joint table, as Hausser &
    Strimmer do. Per method:

    * `"plug-in"`: maximum likelihood. The entropy is low by about (m - 1) / 2n, the mutual information high by
      about \((m_{xy} - m_x - m_y + 1) / 2n\), with m occupied cells.
    * `"miller-madow"`: adds that bias back; too little where cells are unseen.
    * `"grassberger"`: the same aim with a bias that falls faster in the counts.
    * `"james-stein"`: shrinks towards the uniform law; for small tables, biased for very uneven laws.
    * `"chao-shen"`: weighs by the coverage, for many unseen symbols of an unknown alphabet.
    * `"nsb"`: Bayesian; for an alphabet of known size far beyond n, with a posterior standard deviation.

    `stderr` is analytic for the first three: the variance of \(\log \hat p\), or of
    \(\log \hat p_{xy} / \hat p_x \hat p_y\), over n, and the term of order \(n^{-2}\), which is all there is at a uniform
    law and at independence. It is the posterior standard deviation of an NSB entropy and `None` otherwise: wrap
    the estimator as `Subsampled(...)`.

    Flags: `small-sample` under 5 samples per occupied (joint) cell, and where the bias that a plug-in information leaves
    in, \((m_{xy} - m_x - m_y + 1) / 2 n\) over the occupied cells, is above 2 standard errors; `saturated` where an
    entropy lies within 0.5 nats of log n, as any law with many more than n symbols does; `violated-bound` where a
    corrected value lies above min(H(X), H(Y)), or above the log of a declared alphabet; `large-correction` as its text
    says.

    Arguments:
        method: one of the six.
        symbols: size of the alphabet, or a pair for x and y; `None` counts those that were seen. James-Stein and
            NSB depend on it; the joint alphabet is the product of the two.

    Shapes:
        `x`, `y`: integers or booleans `(n,)` with n >= 4, numpy or torch on the CPU.

    Raises:
        TypeError: for floats, rows `(n, d)`, or a tensor on another device.
        ValueError: for an unknown method, n < 4, unequal n, or more distinct labels than `symbols`.

    References:
        Miller, 1955. Harris, 1975, *The statistical estimation of entropy in the non-parametric case*. Roulston,
        1999, *Estimating the errors on measured entropy and mutual information*, Physica D 125. Grassberger, 2003.
        Hausser & Strimmer, 2009. Chao & Shen, 2003. Nemenman, Shafee & Bialek, 2002.

    Example:
        >>> import numpy as np
        >>> x = np.arange(1000) % 4
        >>> print(Discrete()(x, x // 2))
        I(X;Y) = 0.6931 ± 0.0007 nats  [Discrete(method='plug-in', symbols=None), n=1000, ceiling 0.693]
    """

    method: Method = "plug-in"
    symbols: int | tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if self.method not in get_args(Method):
            raise ValueError(f"method = {self.method!r} must be one of {', '.join(get_args(Method))}")
        sizes = self.symbols if isinstance(self.symbols, tuple) else (self.symbols,) * 2
        if len(sizes) != 2 or any(k is not None and (type(k) is not int or k < 1) for k in sizes):
            raise ValueError(
                f"symbols = {self.symbols!r} must be an integer of at least 1, a pair of them for x and y, or None"
            )

    def __call__(self, x: Array, y: Array | None = None, /) -> Estimate:
        return self._entropy(x) if y is None else self._mutual_information(x, y)

    def _entropy(self, x: Array) -> Estimate:
        counts = np.bincount(_labels(x, "x"))
        n, k = int(counts.sum()), self._size(counts, 0)
        value, extra = self._value(counts, k)
        plain, sd = plug_in(counts), extra.pop("posterior_sd", None)
        if self.method in ("plug-in", "miller-madow", "grassberger"):
            sd = _entropy_error(counts)
        declared = self.symbols is not None and value > math.log(k) + _ROUNDING
        return Estimate(
            value=value,
            quantity="H(X)",
            n=n,
            method=repr(self),
            bound="lower" if self.method == "plug-in" else "none",
            stderr=sd or None,
            ceiling=self._ceiling(n, k),
            flags=_flags(n, len(counts), max(plain, value), value, value - plain, sd, broken=declared),
            diagnostics={
                "occupied": len(counts),
                "singletons": np.sum(counts == 1),
                "log_n": math.log(n),
                "correction": value - plain,
                **extra,
            },
        )

    def _mutual_information(self, x: Array, y: Array) -> Estimate:
        a, b = _labels(x, "x"), _labels(y, "y")
        paired(x, y)
        t = _table(a, b)
        n = len(a)
        h, extra = self._three(t)
        value = h[0] + h[1] - h[2]
        plain = [plug_in(t.x), plug_in(t.y), plug_in(t.joint)]
        correction = value - (plain[0] + plain[1] - plain[2])
        coherent = self.method in ("plug-in", "james-stein")
        analytic = self.method in ("plug-in", "miller-madow", "grassberger")
        sd = _information_error(t) if analytic else None
        # To first order; uncorrected, it is what the plug-in reads of independent labels.
        bias = (len(t.joint) - len(t.x) - len(t.y) + 1) / (2 * n) if self.method == "plug-in" else 0.0
        return Estimate(
            value=value,
            quantity="I(X;Y)",
            n=n,
            method=repr(self),
            stderr=sd or None,
            ceiling=min(h[0], h[1]) if coherent else None,
            flags=_flags(
                n,
                len(t.joint),
                max(*h, *plain),
                value,
                correction,
                sd,
                broken=value > min(h[:2]) + _ROUNDING,
                biased=bias > 2 * (sd or 0.0) + _ROUNDING,
            ),
            diagnostics={
                "occupied": len(t.joint),
                "occupied_x": len(t.x),
                "occupied_y": len(t.y),
                "singletons": np.sum(t.joint == 1),
                "log_n": math.log(n),
                "h_x": h[0],
                "h_y": h[1],
                "h_xy": h[2],
                "correction": correction,
                **extra,
            },
        )

    def _value(self, counts: np.ndarray, k: int) -> tuple[float, dict[str, Any]]:
        """Entropy, and what this method adds to the diagnostics."""
        if self.method == "james-stein":
            weight = shrinkage(counts, k)
            return james_stein(counts, k, weight=weight), {"lambda": weight}
        if self.method == "nsb":
            mean, sd = nsb(counts, k)
            return mean, {"posterior_sd": sd}
        if self.method == "chao-shen":
            return chao_shen(counts), {"coverage": _coverage(_occupied(counts))}
        return _PLAIN[self.method](counts), {}

    def _three(self, t: _Table) -> tuple[list[float], dict[str, Any]]:
        """H(X), H(Y) and H(X,Y)."""
        kx, ky = self._size(t.x, 0), self._size(t.y, 1)
        sized = {"x": (t.x, kx), "y": (t.y, ky), "xy": (t.joint, kx * ky)}
        if self.method == "james-stein":
            # The marginals of the shrunk joint table are the marginals shrunk by the same weight.
            weight = shrinkage(*sized["xy"])
            return [james_stein(c, k, weight=weight) for c, k in sized.values()], {"lambda": weight}
        values, extra = [], {}
        for which, (counts, k) in sized.items():
            value, more = self._value(counts, k)
            values.append(value)
            extra.update({f"{key}_{which}": number for key, number in more.items()})
        return values, extra

    def _size(self, counts: np.ndarray, which: int) -> int:
        """Size of the alphabet of x (0) or y (1)."""
        k = self.symbols[which] if isinstance(self.symbols, tuple) else self.symbols
        if k is not None and k < len(counts):
            raise ValueError(
                f"{'xy'[which]} has {len(counts)} distinct labels, more than symbols = {self.symbols!r} allows; "
                "declare the whole alphabet or leave symbols=None"
            )
        return len(counts) if k is None else k

    def _ceiling(self, n: int, k: int) -> float | None:
        """The largest entropy that this method can return for n samples from k symbols."""
        m = min(n, k)
        if self.method == "plug-in":
            return math.log(m)
        if self.method == "miller-madow":
            return math.log(m) + (m - 1) / (2 * n)
        if self.method == "grassberger":
            return math.log(n) - float(psi(1)) + math.log(2)  # all singletons
        return None if self.method == "chao-shen" else math.log(k)


_PLAIN: dict[str, Callable[[np.ndarray], float]] = {
    "plug-in": plug_in,
    "miller-madow": miller_madow,
    "grassberger": grassberger,
}


def _occupied(counts: np.ndarray) -> np.ndarray:
    """Positive counts as integers."""
    c = np.asarray(counts)
    if c.ndim != 1 or not np.issubdtype(c.dtype, np.integer) or len(c) == 0 or c.min() < 0 or c.max() == 0:
        raise ValueError(
            f"counts must be a vector (K,) of integers, none negative and one positive at least, got dtype {c.dtype} and "
            f"shape {c.shape}; count labels with numpy.bincount(labels)"
        )
    return c[c > 0]


def _alphabet(counts: np.ndarray, symbols: int | None) -> tuple[np.ndarray, int]:
    c = _occupied(counts)
    k = len(counts) if symbols is None else symbols
    if k < len(c):
        raise ValueError(f"symbols = {symbols} is less than the {len(c)} symbols that were seen")
    if k > _LARGEST:
        raise ValueError(
            f"the (joint) alphabet has 10^{len(str(k)) - 1} symbols and is beyond floating point; declare at most 10^200"
        )
    return c, k


def _coverage(occupied: np.ndarray) -> float:
    n, single = int(occupied.sum()), int(np.sum(occupied == 1))
    return 1 - (single if single < n or n == 1 else n - 1) / n


def _labels(x: Array, name: str) -> np.ndarray:
    """Codes 0..m-1 of an integer vector, with the mend for everything else."""
    if hasattr(x, "shape") and not is_discrete(x):
        shape = tuple(x.shape)
        mend = (
            f"number the distinct rows with numpy.unique({name}, axis=0, return_inverse=True)[1]"
            if len(shape) > 1
            else f"name the cells with {name}.astype(int) if the values are codes"
        )
        raise TypeError(
            f"{name} has shape {shape} and dtype {getattr(x, 'dtype', '?')}, and counting takes an integer vector (n,) of "
            f"labels; {mend}, or cut continuous samples into cells with Binned()"
        )
    if not hasattr(x, "shape"):
        raise TypeError(
            f"{name} must be a numpy array or a torch tensor of integers (n,), got {type(x).__name__}; "
            f"convert it with numpy.asarray({name})"
        )
    if x.shape[0] < _MIN_N:
        raise ValueError(
            f"{name} has shape {tuple(x.shape)}: this estimator needs at least n = {_MIN_N} samples"
        )
    return as_labels(x, name, min_classes=1)


class _Table(NamedTuple):
    """Counts of x, of y and of the occupied joint cells, and the codes of x and y in each such cell."""

    x: np.ndarray
    y: np.ndarray
    joint: np.ndarray
    row: np.ndarray
    column: np.ndarray


def _table(a: np.ndarray, b: np.ndarray) -> _Table:
    of_x, of_y = np.bincount(a), np.bincount(b)
    code = a * len(of_y) + b
    if len(of_x) * len(of_y) <= 4 * len(a):  # linear, but only where the full table is of the order of n
        full = np.bincount(code)
        cells = np.flatnonzero(full)
        joint = full[cells]
    else:
        cells, joint = np.unique(code, return_counts=True)
    return _Table(of_x, of_y, joint, *np.divmod(cells, len(of_y)))


def _entropy_error(counts: np.ndarray) -> float:
    """Standard error of the plug-in entropy, to second order in 1 / n."""
    p = counts / counts.sum()
    spread = float(np.sum(p * (np.log(p) - np.sum(p * np.log(p))) ** 2))
    return _second_order(spread, len(counts) - 1, int(counts.sum()))


def _information_error(t: _Table) -> float:
    """Standard error of the plug-in mutual information, to second order in 1 / n.

    The second-order variance is half the squared norm of the quadratic form of I: m_xy - m_x - m_y + 1 + 2 phi^2, with
    phi^2 the summed squared correlations of the table. That is (m_x - 1)(m_y - 1) at independence, m - 1 where x is y.
    """
    n = int(t.x.sum())
    p = t.joint / n
    ratio = p / (t.x[t.row] / n) / (t.y[t.column] / n)
    local = np.log(ratio)
    spread = float(np.sum(p * (local - np.sum(p * local)) ** 2))
    association = float(np.sum(p * ratio)) - 1
    return _second_order(spread, len(t.joint) - len(t.x) - len(t.y) + 1 + 2 * association, n)


def _second_order(spread: float, freedom: float, n: int) -> float:
    """sqrt of spread / n + freedom / 2n^2, less what `spread` owes to chance alone: freedom / n."""
    return math.sqrt(max(spread - freedom / n, 0.0) / n + freedom / (2 * n**2))


def _flags(
    n: int,
    occupied: int,
    entropy: float,
    value: float,
    correction: float,
    sd: float | None,
    *,
    broken: bool,
    biased: bool = False,
) -> tuple[str, ...]:
    flags = {
        "small-sample": biased or n < _PER_CELL * occupied,
        "saturated": entropy >= math.log(n) - _SATURATED,
        "large-correction": abs(correction) > max(abs(value), 2 * (sd or 0.0)) + _ROUNDING,
        "violated-bound": broken,
    }
    return tuple(name for name, raised in flags.items() if raised)
