r"""Kernel measures of dependence: the Hilbert-Schmidt independence criterion and centred kernel alignment.

With Gram matrices K and L of n pairs, \(\tilde K\) for K with zero diagonal and \(H = I - 11^\top / n\),

.. math:: \mathrm{HSIC}_b = \frac{\mathrm{tr}(K H L H)}{(n - 1)^2} \qquad
   \mathrm{HSIC}_u = \frac{1}{n (n - 3)} \left[ \mathrm{tr}(\tilde K \tilde L)
   + \frac{1^\top \tilde K 1 \; 1^\top \tilde L 1}{(n - 1)(n - 2)} - \frac{2}{n - 2} 1^\top \tilde K \tilde L 1 \right]

(Song et al., 2012, *Feature selection via dependence maximization*, JMLR 13, 1393-1434, equations 4 and 5).
"""

from __future__ import annotations

import math

from array_api_compat import array_namespace, device

from estimators._grams import Kernel, Side, check_kernel, sides
from estimators._result import Estimate
from estimators._settings import settings
from estimators.protocols import Array

__all__ = ["CKA", "HSIC", "cka", "hsic", "linear_hsic"]

_FLOOR = 0.1  # CKA that chance alone gives, above which the biased form measures n and d rather than likeness
_DEGENERATE = 2.0**-40  # spread of the kernel values, relative to their size, that is rounding alone


def hsic(gram_x: Array, gram_y: Array, unbiased: bool = True) -> Array:
    """HSIC of two Gram matrices, unbiased or biased (the module's formulas). A pure number; differentiable.

    Arguments:
        gram_x, gram_y: symmetric Gram matrices `(n, n)` of paired samples, numpy or torch; measured in float64.
        unbiased: take the unbiased form, n >= 4, which may be negative; `False` is never negative.

    Raises:
        ValueError: if the shapes differ, are not square, or n is too small.

    References:
        Gretton et al., 2005, *Measuring statistical dependence with Hilbert-Schmidt norms*. Song et al., 2012.

    Example:
        >>> import numpy as np
        >>> k = np.kron(np.eye(2), np.ones((2, 2)))
        >>> round(float(hsic(k, k, unbiased=False)), 4), round(float(hsic(k, k)), 4)
        (0.4444, 0.6667)
    """
    n = _square(gram_x, gram_y, unbiased)
    a, b = _centre(gram_x, unbiased), _centre(gram_y, unbiased)
    return array_namespace(a).sum(a * b) / (n * (n - 3) if unbiased else (n - 1) ** 2)


def linear_hsic(x: Array, y: Array, unbiased: bool = True) -> Array:
    r"""HSIC with linear kernels, from the samples, in O(n dx dy) time and without a Gram matrix. Differentiable.

    With centred x and y, \(k_i = \|x_i\|^2\) and \(l_i = \|y_i\|^2\), the unbiased form becomes

    .. math:: \frac{1}{n (n - 3)} \left[ \|X^\top Y\|_F^2 - \frac{n}{n - 2} \sum_i k_i l_i
       + \frac{\sum_i k_i \sum_i l_i}{(n - 1)(n - 2)} \right]

    and the biased one \(\|X^\top Y\|_F^2 / (n - 1)^2\), the squared Frobenius norm of the cross-covariance.

    Arguments:
        x, y: paired samples `(n, dx)` and `(n, dy)`, numpy or torch; measured in float64.
        unbiased: as in `hsic`.

    Raises:
        ValueError: if the shapes are not such, or n is too small.

    Example:
        >>> import numpy as np
        >>> x = np.array([[-1.0], [-1.0], [1.0], [1.0]])
        >>> round(float(linear_hsic(x, x)), 4) == round(float(hsic(x @ x.T, x @ x.T)), 4)
        True
    """
    shapes = [tuple(getattr(z, "shape", ())) for z in (x, y)]
    if any(len(shape) != 2 for shape in shapes) or shapes[0][0] != shapes[1][0]:
        raise ValueError(f"x and y must have shapes (n, dx) and (n, dy), got {shapes[0]} and {shapes[1]}")
    n = _enough(shapes[0][0], unbiased)
    xp = array_namespace(x, y)
    x, y = xp.astype(x, xp.float64), xp.astype(y, xp.float64)
    x, y = x - xp.mean(x, axis=0), y - xp.mean(y, axis=0)
    cross = x.T @ y
    total = xp.sum(cross * cross)
    if not unbiased:
        return total / (n - 1) ** 2
    k, l = xp.sum(x * x, axis=1), xp.sum(y * y, axis=1)
    total = total - n / (n - 2) * xp.sum(k * l) + xp.sum(k) * xp.sum(l) / ((n - 1) * (n - 2))
    return total / (n * (n - 3))


def cka(gram_x: Array, gram_y: Array, unbiased: bool = True) -> Array:
    r"""Centred kernel alignment of two Gram matrices.

    .. math:: \mathrm{CKA} = \mathrm{HSIC}(K, L) / \sqrt{\mathrm{HSIC}(K, K) \, \mathrm{HSIC}(L, L)}

    Between -1 and 1, and at least 0 when biased. A pure number; differentiable.

    Arguments:
        gram_x, gram_y: Gram matrices `(n, n)` of paired samples, numpy or torch; measured in float64.
        unbiased: take the debiased form; `False` is the original one.

    Raises:
        ValueError: as `hsic`, and if a Gram matrix is constant off its diagonal, where CKA is 0 / 0.

    References:
        Cortes, Mohri & Rostamizadeh, 2012, *Algorithms for learning kernels based on centered alignment*.
        Kornblith et al., 2019, *Similarity of neural network representations revisited*.

    Example:
        >>> import numpy as np
        >>> k = np.kron(np.eye(2), np.ones((3, 3)))
        >>> round(float(cka(k, 5 * k)), 6)
        1.0
    """
    _square(gram_x, gram_y, unbiased)
    a, b = _centre(gram_x, unbiased), _centre(gram_y, unbiased)
    xp = array_namespace(a)
    norms = []
    for name, gram, centred in (("gram_x", gram_x, a), ("gram_y", gram_y, b)):
        norm = xp.sqrt(xp.sum(centred * centred))
        if not bool(norm > _DEGENERATE * xp.max(xp.abs(gram)) * gram.shape[0]):
            raise ValueError(_no_spread(name))
        norms.append(norm)
    return xp.sum((a / norms[0]) * (b / norms[1]))


def _no_spread(name: str) -> str:
    return (
        f"{name} has equal kernel values for all pairs, so CKA is 0 / 0: the samples are all alike or all equally far "
        "apart at this kernel; change the width or the kernel"
    )


def _enough(n: int, unbiased: bool) -> int:
    least = 4 if unbiased else 2
    if n < least:
        raise ValueError(f"n = {n} samples: HSIC needs n >= {least}")
    return n


def _square(gram_x: Array, gram_y: Array, unbiased: bool) -> int:
    shapes = [tuple(getattr(k, "shape", ())) for k in (gram_x, gram_y)]
    if len(shapes[0]) != 2 or shapes[0][0] != shapes[0][1] or shapes[0] != shapes[1]:
        raise ValueError(f"gram_x and gram_y must both have shape (n, n), got {shapes[0]} and {shapes[1]}")
    return _enough(shapes[0][0], unbiased)


def _centre(gram: Array, unbiased: bool) -> Array:
    """H K H; or, unbiased, the U-centred matrix (Szekely & Rizzo, 2014), whose products give Song's form.

    Centring first keeps the digits that the differences of large sums in Song's formula would lose.
    """
    xp = array_namespace(gram)
    gram = xp.astype(gram, xp.float64)
    n = gram.shape[0]
    if not unbiased:
        mean = xp.mean(gram, axis=0)
        return gram - mean[:, None] - mean[None, :] + xp.mean(mean)
    off = 1.0 - xp.eye(n, dtype=xp.float64, device=device(gram))
    gram = gram * off
    row = xp.sum(gram, axis=0)
    return (gram - (row[:, None] + row[None, :]) / (n - 2) + xp.sum(row) / ((n - 1) * (n - 2))) * off


def _products(x: Side, y: Side, unbiased: bool) -> tuple[float, float, float, float]:
    """HSIC of (x, y), (x, x), (y, y), and what chance gives (x, y): the mean over all permutations of y."""
    if x.features is not None and y.features is not None and max(x.d, y.d) <= x.features.shape[0]:
        a, b, n = x.features, y.features, int(x.features.shape[0])
        xp = array_namespace(a)
        xy, xx, yy = (float(linear_hsic(p, q, unbiased)) for p, q in ((a, b), (a, a), (b, b)))
        traces = float(xp.sum(a * a)) * float(xp.sum(b * b))
    else:
        a, b = _centre(x.gram, unbiased), _centre(y.gram, unbiased)
        xp, n = array_namespace(a), int(a.shape[0])
        count = n * (n - 3) if unbiased else (n - 1) ** 2
        xy, xx, yy = (float(xp.sum(p * q)) / count for p, q in ((a, b), (a, a), (b, b)))
        traces = float(xp.linalg.trace(a)) * float(xp.linalg.trace(b))
    return xy, xx, yy, 0.0 if unbiased else traces / (n - 1) ** 3


@settings
class HSIC:
    r"""Hilbert-Schmidt independence criterion of paired samples: zero at independence. A pure number, not nats.

    .. math:: \mathrm{HSIC}_b = \frac{\mathrm{tr}(K H L H)}{(n - 1)^2} \qquad
       \mathrm{HSIC}_u = \frac{1}{n (n - 3)} \left[ \mathrm{tr}(\tilde K \tilde L)
       + \frac{1^\top \tilde K 1 \; 1^\top \tilde L 1}{(n - 1)(n - 2)} - \frac{2}{n - 2} 1^\top \tilde K \tilde L 1 \right]

    The unbiased form has mean zero at independence, at any n, and so may be negative. `Permuted(HSIC())` adds
    the permutation test. With a Gaussian kernel HSIC sees every dependence, with a linear one only
    correlations; then it is the squared norm of the cross-covariance and has the units of x and y squared.
    An integer vector is taken with the same-label kernel. The ceiling is
    \(\sqrt{\mathrm{HSIC}(x, x) \, \mathrm{HSIC}(y, y)}\), and `chance` the mean over permutations of y.

    Arguments:
        kernel: `"gaussian"`, `"linear"`, or `"cosine"`.
        width: width of the Gaussian \(\exp(-r^2 / 2 w^2)\); no other kernel has one.
        relative: `width` is in units of the median distance between rows; `False` takes it as it is.
        unbiased: the unbiased form (Song et al.); `False` is the original, never negative one.

    Shapes:
        `x`: `(n, dx)` or integers `(n,)`, n >= 4; `y` likewise. Numpy or torch, measured in float64 where they are.
        Linear and cosine kernels with at most n columns need O(n d) memory, all others O(n^2).

    Raises:
        TypeError: for arrays that hold no real numbers, or that are in different libraries or on different devices.
        ValueError: for NaN, wrong shapes, unequal n, all columns constant, or a median distance of 0.

    References:
        Gretton et al., 2005. Song et al., 2012.

    Example:
        >>> import numpy as np
        >>> from estimators import HSIC, Permuted
        >>> x = np.random.default_rng(0).uniform(-1, 1, (200, 1))
        >>> round(Permuted(HSIC(), times=19)(x, x**2).diagnostics["p_value"], 3)
        0.05
    """

    kernel: Kernel = "gaussian"
    width: float = 1.0
    relative: bool = True
    unbiased: bool = True

    def __post_init__(self) -> None:
        check_kernel(self.kernel, self.width)

    def __call__(self, x: Array, y: Array, /) -> Estimate:
        (a, b), n, flags, details = sides((x, y), self.kernel, self.width, self.relative, centred=True)
        xy, xx, yy, chance = _products(a, b, self.unbiased)
        ceiling = math.sqrt(max(xx, 0.0)) * math.sqrt(max(yy, 0.0))
        if ceiling > 0 and chance > _FLOOR * ceiling:
            flags = (*flags, "small-sample")
        units = a.scale**2 * b.scale**2
        return Estimate(
            value=xy * units,
            quantity="HSIC",
            unit="1",
            n=n,
            method=repr(self),
            ceiling=ceiling * units,
            flags=flags,
            diagnostics={**details, "chance": chance * units},
        )


@settings
class CKA:
    r"""Centred kernel alignment: how alike two representations of the same inputs are. A pure number, not nats.

    .. math:: \mathrm{CKA} = \frac{\mathrm{HSIC}(x, y)}{\sqrt{\mathrm{HSIC}(x, x) \, \mathrm{HSIC}(y, y)}}

    It is 1 for equal representations, also after a rotation, a shift, or one factor for all columns. The
    biased form (`unbiased=False`) grows towards 1 for unrelated representations when dimensions reach n: its
    mean over permutations of y is the diagnostic `chance`, and "small-sample" is raised where that exceeds 0.1.
    The debiased form has `chance` 0 and may be negative. CKA is insensitive to directions of small variance.

    Arguments:
        kernel: `"linear"`, `"gaussian"` (the RBF CKA), or `"cosine"`.
        width: width of the Gaussian \(\exp(-r^2 / 2 w^2)\); no other kernel has one.
        relative: `width` is in units of the median distance between rows; `False` takes it as it is.
        unbiased: debiased, from unbiased HSIC; `False` is the original form.

    Shapes:
        `x`: `(n, dx)` or integers `(n,)`, n >= 4; `y` likewise. Numpy or torch, measured in float64 where they are.
        Linear and cosine kernels with at most n columns need O(n d) memory, all others O(n^2).

    Raises:
        TypeError: for arrays that hold no real numbers, or that are in different libraries or on different devices.
        ValueError: for NaN, wrong shapes, unequal n, all columns constant, a median distance of 0, or samples all
            equally far apart.

    References:
        Kornblith et al., 2019, *Similarity of neural network representations revisited*.
        Nguyen, Raghu & Kornblith, 2021, *Do wide and deep networks learn the same things?* (unbiased HSIC).

    Example:
        >>> import numpy as np
        >>> from estimators import CKA
        >>> x = np.random.default_rng(0).standard_normal((100, 3))
        >>> print(CKA()(x, 2 * x + 1))
        CKA = 1.0000  [CKA(kernel='linear', width=1.0, relative=True, unbiased=True), n=100, ceiling 1.000]
    """

    kernel: Kernel = "linear"
    width: float = 1.0
    relative: bool = True
    unbiased: bool = True

    def __post_init__(self) -> None:
        check_kernel(self.kernel, self.width)

    def __call__(self, x: Array, y: Array, /) -> Estimate:
        (a, b), n, flags, details = sides((x, y), self.kernel, self.width, self.relative, centred=True)
        xy, xx, yy, chance = _products(a, b, self.unbiased)
        for name, side, own in (("x", a, xx), ("y", b, yy)):
            if not own > self._rounding(side):
                raise ValueError(_no_spread(name))
        norm = math.sqrt(xx) * math.sqrt(yy)
        if chance > _FLOOR * norm:
            flags = (*flags, "small-sample")
        return Estimate(
            value=xy / norm,
            quantity="CKA",
            unit="1",
            n=n,
            method=repr(self),
            ceiling=1.0,
            flags=flags,
            diagnostics={**details, "chance": chance / norm},
        )

    def _rounding(self, side: Side) -> float:
        """Size of HSIC(x, x) that is rounding alone: a difference of sums for features, a centred sum for Grams."""
        if side.features is None:
            return _DEGENERATE**2
        xp = array_namespace(side.features)
        return _DEGENERATE * float(xp.mean(xp.sum(side.features * side.features, axis=1))) ** 2
