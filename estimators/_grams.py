"""Gram matrices of samples: Gaussian, linear and cosine kernels, and the same-label kernel of a discrete variable."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from array_api_compat import array_namespace, device, is_torch_array

from estimators._samples import as_samples, drop_constant_columns, is_discrete, paired
from estimators.protocols import Array

__all__ = ["Kernel", "Side", "check_kernel", "cosine_rows", "gaussian_gram", "median_distance", "sides"]

Kernel = Literal["gaussian", "linear", "cosine"]

_REACH = (
    1e6  # squared radius over squared width above which the product form of a distance loses the ninth digit
)
_MIN_N = 4  # unbiased HSIC is defined from n = 4


def gaussian_gram(x: Array, width: float | Array) -> Array:
    r"""Gaussian Gram matrix \(K_{ij} = \exp(-\|x_i - x_j\|^2 / 2 w^2)\), with ones on the diagonal.

    Differentiable for torch tensors, in `x` and in a tensor `width`. Needs n^2 numbers of memory.

    Arguments:
        x: samples `(n, d)`, numpy or torch; measured in float64.
        width: the absolute kernel width w > 0, in the units of `x`.

    Raises:
        ValueError: if `x` is not `(n, d)` or `width` is not positive and finite.

    Example:
        >>> import numpy as np
        >>> print(gaussian_gram(np.array([[0.0], [2.0]]), 2.0).round(4))
        [[1.     0.6065]
         [0.6065 1.    ]]
    """
    if not (width > 0 and width < math.inf):
        raise ValueError(f"width must be positive and finite, got {width}")
    centred = _centred(x)
    xp = array_namespace(x)
    near = bool(xp.max(xp.sum(centred * centred, axis=1)) <= _REACH * width**2)
    squared = _product_distances(centred) if near else _column_distances(x)
    return xp.exp(squared / (-2 * width**2))


def median_distance(x: Array) -> float:
    """Median Euclidean distance between two rows of `x: (n, d)`, over the n (n - 1) / 2 pairs; a plain number.

    Raises:
        ValueError: if `x` is not `(n, d)` with n >= 2.

    Example:
        >>> import numpy as np
        >>> median_distance(np.array([[0.0], [1.0], [3.0]]))
        2.0
    """
    x = x.detach() if is_torch_array(x) else x
    centred = _centred(x)
    if x.shape[0] < 2:
        raise ValueError(f"x has shape {tuple(x.shape)}: a distance needs at least n = 2 rows")
    xp = array_namespace(x)
    radius = float(xp.max(xp.sum(centred * centred, axis=1)))
    median = _median(_product_distances(centred))
    return median if radius <= _REACH * median**2 else _median(_column_distances(x))


def cosine_rows(x: Array) -> Array:
    """Rows of unit length; their products are the cosine kernel. Differentiable; a row of zeros gives NaN."""
    xp = array_namespace(x)
    return x / xp.sqrt(xp.sum(x * x, axis=1))[:, None]


def _centred(x: Array) -> Array:
    if getattr(x, "ndim", None) != 2 or 0 in x.shape:
        raise ValueError(f"x must have shape (n, d) with n, d >= 1, got {tuple(getattr(x, 'shape', ()))}")
    xp = array_namespace(x)
    x = xp.astype(x, xp.float64)
    return x - xp.mean(x, axis=0)


def _product_distances(centred: Array) -> Array:
    """Squared distances of all rows through one matrix product; exact where they are not small beside the radius."""
    xp = array_namespace(centred)
    product = centred @ centred.T
    squares = xp.linalg.diagonal(product)  # of the same product, so that the diagonal comes out exactly 0
    return xp.clip(squares[:, None] + squares[None, :] - 2 * product, 0.0, None)


def _column_distances(x: Array) -> Array:
    """Squared distances of all rows from differences, column by column: nothing cancels, and d times slower."""
    xp = array_namespace(x)
    x = xp.astype(x, xp.float64)
    total = None
    for k in range(x.shape[1]):
        difference = x[:, k, None] - x[None, :, k]
        total = difference * difference if total is None else total + difference * difference
    return total


def _median(squared: Array) -> float:
    xp = array_namespace(squared)
    index = xp.arange(squared.shape[0], device=device(squared))
    pairs = squared[index[:, None] < index[None, :]]
    low, high = (pairs.shape[0] - 1) // 2, pairs.shape[0] // 2
    if is_torch_array(pairs):
        middle = [float(pairs.kthvalue(k + 1).values) for k in (low, high)]
    else:
        middle = [float(np.partition(pairs, (low, high))[k]) for k in (low, high)]
    return (math.sqrt(middle[0]) + math.sqrt(middle[1])) / 2


def check_kernel(kernel: str, width: float) -> None:
    """Raises `ValueError` for an unknown kernel or a width that is not positive and finite."""
    if kernel not in ("gaussian", "linear", "cosine"):
        raise ValueError(f"kernel must be 'gaussian', 'linear' or 'cosine', got {kernel!r}")
    if not 0 < width < math.inf:
        raise ValueError(f"width = {width} must be positive and finite")


@dataclass(frozen=True)
class Side:
    """One argument as its kernel sees it: feature rows whose products are the kernel, or a Gram matrix.

    `features` were divided by `scale`, so a kernel value is `scale**2` times their product.
    """

    features: Array | None
    dense: Array | None
    d: int
    scale: float = 1.0
    width: float | None = None
    unit_diagonal: bool = True

    @property
    def gram(self) -> Array:
        return self.dense if self.features is None else self.features @ self.features.T


def sides(
    samples: Sequence[Array], kernel: Kernel, width: float, relative: bool, *, centred: bool
) -> tuple[list[Side], int, tuple[str, ...], dict[str, float]]:
    """Checks the arguments and prepares each for its kernel; also n, the flags, and what was left out.

    An integer vector is taken with the same-label kernel. `centred` says that the caller centres the kernel:
    linear features are then centred here, and constant columns, which no longer count, are dropped.
    """
    names = "xy"[: len(samples)]
    if len(samples) == 2 and all(is_torch_array(x) for x in samples):
        _same_place(*samples)
    arrays = [
        _one_hot(x, name) if is_discrete(x) else as_samples(x, name, min_n=_MIN_N)
        for name, x in zip(names, samples, strict=True)
    ]
    labels = [is_discrete(x) for x in samples]
    if len(arrays) == 2:
        _same_place(*arrays)
        paired(*arrays)
    arrays, dead = _live_rows(arrays, labels) if kernel == "cosine" else (arrays, 0)
    prepared, dropped = [], 0
    for name, x, label in zip(names, arrays, labels, strict=True):
        kept, constant = drop_constant_columns(x, name)
        if label:
            prepared.append(Side(_centred(x) if centred else x, None, x.shape[1]))
        elif kernel == "gaussian":
            dropped += constant
            prepared.append(_gaussian(kept, name, width, relative))
        elif kernel == "linear":
            if centred:
                dropped, x = dropped + constant, _centred(kept)
            scale = float(array_namespace(x).max(array_namespace(x).abs(x)))
            prepared.append(Side(x / scale, None, x.shape[1], scale=scale, unit_diagonal=False))
        else:
            rows = cosine_rows(x / array_namespace(x).max(array_namespace(x).abs(x), axis=1)[:, None])
            prepared.append(Side(_centred(rows) if centred else rows, None, x.shape[1]))
    flags = (("constant-columns",) if dropped else ()) + (("dead-rows",) if dead else ())
    details: dict[str, float] = {"dropped": float(dropped)} | ({"dead_rows": float(dead)} if dead else {})
    for name, side in zip(names, prepared, strict=True):
        details[f"d{name}"] = float(side.d)
        if side.width is not None:
            details[f"width_{name}"] = side.width
    return prepared, int(arrays[0].shape[0]), flags, details


def _gaussian(x: Array, name: str, width: float, relative: bool) -> Side:
    xp = array_namespace(x)
    reach = float(xp.max(xp.abs(x - xp.mean(x, axis=0))))
    scale = math.ldexp(0.5, math.frexp(reach)[1])  # a power of 2, so that dividing rounds nothing off, and
    z = x / scale  # then squares neither overflow nor vanish
    centred = _centred(z)
    radius = float(xp.max(xp.sum(centred * centred, axis=1)))
    squared = _product_distances(centred)
    unit = _median(squared) if relative else 1.0 / scale
    if radius > _REACH * (width * unit) ** 2 or (relative and radius > _REACH * unit**2):
        squared = _column_distances(z)
        unit = _median(squared) if relative else unit
    if unit == 0.0:
        raise ValueError(
            f"{name} of shape {tuple(x.shape)}: at least half of all pairs of rows are equal, so the median distance "
            "is 0 and sets no width; pass an absolute width with relative=False"
        )
    gram = xp.exp(squared / (-2 * (width * unit) ** 2))
    return Side(None, gram, x.shape[1], width=width * unit * scale)


def _one_hot(y: Array, name: str) -> Array:
    xp = array_namespace(y)
    values, codes = xp.unique_inverse(y)
    if y.shape[0] < _MIN_N or values.shape[0] < 2:
        raise ValueError(
            f"{name} of shape {tuple(y.shape)} has {values.shape[0]} distinct value(s) in n = {y.shape[0]} labels: "
            f"it is constant or too short; at least 2 values and n = {_MIN_N} are needed"
        )
    hot = codes[:, None] == xp.arange(values.shape[0], device=device(y))[None, :]
    return xp.astype(hot, xp.float64)


def _same_place(x: Array, y: Array) -> None:
    if is_torch_array(x) != is_torch_array(y):
        raise TypeError(
            f"x is a {type(x).__name__} and y a {type(y).__name__}: pass both as numpy arrays or both as tensors"
        )
    if device(x) != device(y):
        raise TypeError(
            f"x is on device {str(device(x))!r} and y on {str(device(y))!r}; move y with y.to(x.device)"
        )


def _live_rows(arrays: list[Array], labels: list[bool]) -> tuple[list[Array], int]:
    """Leaves out the rows that are zero in a continuous argument: they have no direction."""
    xp = array_namespace(arrays[0])
    n = arrays[0].shape[0]
    live = xp.ones(n, dtype=xp.bool, device=device(arrays[0]))
    for x, label in zip(arrays, labels, strict=True):
        live = live if label else live & xp.any(x != 0, axis=1)
    count = int(xp.sum(xp.astype(live, xp.int64)))
    if count < _MIN_N:
        raise ValueError(
            f"x has {n - count} rows of zeros out of n = {n}: constant at zero they have no direction, "
            f"and a cosine kernel needs at least {_MIN_N} others; use kernel='gaussian' or 'linear'"
        )
    return ([x[live, :] for x in arrays], n - count) if count < n else (arrays, 0)
