"""What the estimators of a channel T = f(X) + Gaussian noise share: checks of noise, constants, labels, covariances."""

from __future__ import annotations

import math
from typing import Any

from array_api_compat import array_namespace, device, is_torch_array

from estimators._components import LowRank, Mixture, identity, like, normal_form
from estimators._samples import as_labels, drop_constant_columns, is_discrete, paired
from estimators.protocols import Array

__all__ = [
    "MIN_N",
    "SATURATION",
    "channel",
    "check_sigma",
    "label_codes",
    "label_entropy",
    "noisy",
    "take",
    "without_constant_columns",
]

MIN_N = 4  # the bounds hold at any n, but log n leaves nothing to see below
SATURATION = 0.9  # share of log n above which the number says little but n


def check_sigma(sigma: float) -> None:
    """Raises `ValueError` unless the noise is declared."""
    if not 0 < sigma < math.inf:
        raise ValueError(
            f"sigma = {sigma} must be a positive, finite noise standard deviation: without noise a "
            "deterministic encoder of a continuous input has infinite I(X;Z), and any number would be false"
        )


def noisy(x: Array, covariances: Any, sigma: float) -> Any:
    """Covariances of T given each row of checked samples `x`, in units of the noise: theirs plus the unit matrix."""
    if covariances is None:
        return 1.0
    if isinstance(covariances, LowRank):
        variance = covariances.variance
        if not 0 <= variance < math.inf:
            raise ValueError(f"variance of LowRank must be finite and not negative, got {float(variance)}")
        factors = _detached(covariances.factors, x, "factors")
        return LowRank(factors / sigma, float(variance) / sigma**2 + 1.0)
    cov = _detached(covariances, x, "covariances") / sigma / sigma
    if cov.ndim == 3 and cov.shape[1:] == (x.shape[1], x.shape[1]):
        return cov + identity(cov, x.shape[1])
    if cov.ndim == 2 and not bool(array_namespace(cov).all(cov >= 0)):
        raise ValueError(f"covariances of shape {tuple(cov.shape)} hold a negative variance")
    return cov + 1.0


def _detached(values: Array, x: Array, name: str) -> Array:
    return like(values.detach() if is_torch_array(values) else values, x, name)


def take(covariances: Any, rows: Array) -> Any:
    """The covariances of some rows; what all rows share stays."""
    if isinstance(covariances, LowRank):
        return LowRank(take(covariances.factors, rows), covariances.variance)
    shared = isinstance(covariances, float) or covariances.shape[0] == 1
    return covariances if shared else covariances[rows]


def channel(x: Array, covariances: Any, sigma: float) -> tuple[Mixture, int, tuple[str, ...]]:
    """The mixture of T from checked samples, the number of constant columns dropped, and flags."""
    dropped, flags = 0, tuple[str, ...]()
    if covariances is None:  # with covariances of its own even a constant column may carry information
        x, dropped, flags = without_constant_columns(x)
    return normal_form(x / sigma, noisy(x, covariances, sigma)), dropped, flags


def label_entropy(codes: Array) -> float:
    """Entropy of the labels 0..C-1 in nats."""
    n, classes = codes.shape[0], int(array_namespace(codes).max(codes)) + 1
    shares = [int((codes == label).sum()) / n for label in range(classes)]
    return -sum(share * math.log(share) for share in shares)


def without_constant_columns(x: Array) -> tuple[Array, int, tuple[str, ...]]:
    """As `drop_constant_columns`, but a wholly constant `x` stays: it carries exactly zero information."""
    xp = array_namespace(x)
    spread = xp.max(x, axis=0) - xp.min(x, axis=0)
    if bool(xp.all(spread <= xp.max(xp.abs(x), axis=0) * 2.0**-44)):
        return x[:, :1] * 0.0, int(x.shape[1]), ("constant-columns", "collapsed")
    x, dropped = drop_constant_columns(x, "x")
    return x, dropped, ("constant-columns",) if dropped else ()


def label_codes(x: Array, y: Array) -> Array:
    """Labels as 0..C-1, on the device of `x`."""
    if is_torch_array(x) and is_torch_array(y) and is_discrete(y):
        if y.device != x.device:
            raise TypeError(
                f"x is on device {str(x.device)!r} and y on {str(y.device)!r}; move y with y.to(x.device)"
            )
        paired(x, y, ("x", "y"))
        values, codes = array_namespace(y).unique_inverse(y)
        if values.shape[0] < 2:
            raise ValueError(f"y of shape {tuple(y.shape)} has 1 distinct value; at least 2 are needed")
        return codes
    codes = as_labels(y)
    paired(x, codes, ("x", "y"))
    return array_namespace(x).asarray(codes, device=device(x))
