"""Shape of a representation: RankMe, alignment, uniformity, spread. Pure numbers, no information in nats."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.special import hyp0f1, xlogy

from estimators import Estimate
from infossl.activations import Activations
from infossl.channels import Augmentation

__all__ = [
    "Alignment",
    "LogTraceCovariance",
    "RankMe",
    "Uniformity",
    "alignment",
    "rank_me",
    "uniformity",
]


def rank_me(z: Float[np.ndarray, "n d"]) -> float:
    r"""Effective rank \(\exp(-\sum_k p_k \log p_k)\), \(p_k = s_k / \sum_j s_j\), of the singular values of z.

    Not centred, as in the paper, so a large common mean pulls it towards 1. The paper adds 1e-7 to p against
    log 0; here 0 log 0 = 0, its limit, so that the value lies in [1, min(n, d)].

    Raises:
        ValueError: if z is all zero: it has no spectrum.
    """
    singular = np.linalg.svd(z, compute_uv=False)
    total = singular.sum()
    if total == 0:
        raise ValueError(
            f"z of shape {z.shape} is all zero: the representation has collapsed and has no rank"
        )
    p = singular / total
    return float(np.exp(-xlogy(p, p).sum()))


def alignment(z: Float[np.ndarray, "n d"], other: Float[np.ndarray, "n d"]) -> Float[np.ndarray, " n"]:
    r"""\(\|\bar z_i - \bar z'_i\|^2\) per pair, of vectors scaled to unit length; in [0, 4]. NaN where one is zero."""
    return np.sum((_unit(z) - _unit(other)) ** 2, axis=1)


def uniformity(z: Float[np.ndarray, "n d"], t: float = 2.0) -> float:
    r"""\(\log \frac{2}{n(n-1)} \sum_{i<j} \exp(-t \|\bar z_i - \bar z_j\|^2)\) of unit vectors; in [-4t, 0], 0 at collapse.

    Raises:
        ValueError: if a row is zero, which has no direction, or there are fewer than 2 rows.
    """
    unit = _unit(z)
    n = len(unit)
    if n < 2 or np.isnan(unit).any():
        raise ValueError(
            f"z of shape {z.shape} needs at least 2 rows and none of them zero: zero has no direction"
        )
    cosine = unit @ unit.T
    kernel = np.exp(2 * t * (np.minimum(cosine, 1.0) - 1))
    return float(np.log((kernel.sum() - np.trace(kernel)) / (n * (n - 1))))


def _unit(z: np.ndarray) -> np.ndarray:
    norm = np.linalg.norm(z, axis=1, keepdims=True)
    return z / np.where(norm > 0, norm, np.nan)


def _alive(n: int, kept: int, layer: str) -> tuple[tuple[str, ...], dict[str, float]]:
    """Flags and diagnostics for rows without direction; an error when nothing is left to measure."""
    if kept < 2:
        raise ValueError(
            f"layer {layer!r}: {n - kept} of {n} rows are zero and have no direction: the layer is dead"
        )
    return (("dead-rows",) if kept < n else ()), {"dead_rows": float(n - kept)}


@dataclass(frozen=True)
class RankMe:
    r"""Effective rank of the outputs: \(\exp H(s / \|s\|_1)\) of the uncentred singular values.

    Ceiling min(n, d). With n < 4 d the value is visibly below that of the population and is flagged.

    References:
        Garrido, Balestriero, Najman & LeCun, 2023, *RankMe: assessing the downstream performance of pretrained
        self-supervised representations by their rank*, arXiv 2210.02885, equation 1.
    """

    quantity = "RankMe"
    needs = ()
    channel = ""
    view = "clean"

    def __call__(self, activations: Activations) -> Estimate:
        n, d = activations.z.shape
        return Estimate(
            value=rank_me(activations.z),
            quantity="RankMe",
            unit="1",
            n=n,
            method=repr(self),
            ceiling=float(min(n, d)),
            flags=("small-sample",) if n < 4 * d else (),
            diagnostics={"d": float(d)},
        )


@dataclass(frozen=True)
class Alignment:
    r"""Mean squared distance of positive pairs on the unit sphere, \(E \|\bar z - \bar z'\|^2\).

    The null pairs each view with the next image's: for directions uniform on the sphere it is 2.

    References:
        Wang & Isola, 2020, *Understanding contrastive representation learning through alignment and uniformity
        on the hypersphere*, arXiv 2005.10242.
    """

    quantity = "alignment"
    needs = ("views",)
    channel = repr(Augmentation())
    view = "augmented"

    def __call__(self, activations: Activations) -> Estimate:
        z, other = activations.pair()
        each = alignment(z, other)
        each = each[~np.isnan(each)]
        flags, diagnostics = _alive(len(z), len(each), activations.layer)
        null = float(np.nanmean(alignment(z, np.roll(other, 1, axis=0))))
        return Estimate(
            value=float(each.mean()),
            quantity="alignment",
            unit="1",
            n=len(each),
            method=repr(self),
            stderr=float(each.std(ddof=1) / math.sqrt(len(each))),
            ceiling=4.0,
            flags=flags,
            diagnostics={**diagnostics, "null_mean": null},
        )


@dataclass(frozen=True)
class Uniformity:
    r"""Log of the mean Gaussian potential of unit vectors, \(\log E \exp(-t \|\bar z_i - \bar z_j\|^2)\), i != j.

    0 when all directions agree (collapse). The null are directions uniform on the sphere in d dimensions,
    \(-2t + \log {}_0F_1(; d/2; t^2)\): at t = 2 it is -1.58, -3.08, -3.94 for d = 2, 8, 128.

    References:
        Wang & Isola, 2020, arXiv 2005.10242.
    """

    t: float = 2.0

    quantity = "uniformity"
    needs = ()
    channel = ""
    view = "clean"

    def __call__(self, activations: Activations) -> Estimate:
        z = activations.z[np.any(activations.z != 0, axis=1)]
        flags, diagnostics = _alive(activations.n, len(z), activations.layer)
        diagnostics["null_mean"] = -2 * self.t + float(np.log(hyp0f1(z.shape[1] / 2, self.t**2)))
        return Estimate(
            value=uniformity(z, self.t),
            quantity="uniformity",
            unit="1",
            n=len(z),
            method=repr(self),
            ceiling=0.0,
            flags=flags,
            diagnostics=diagnostics,
        )


@dataclass(frozen=True)
class LogTraceCovariance:
    """log tr Cov(z): the scale of the representation, to be read beside every entropy.

    A constant representation gives -inf and the flag `collapsed`.
    """

    quantity = "log tr Cov"
    needs = ()
    channel = ""
    view = "clean"

    def __call__(self, activations: Activations) -> Estimate:
        trace = float(np.sum(np.var(activations.z, axis=0, ddof=1)))
        size = float(np.max(np.abs(activations.z)))
        collapsed = trace <= (1e-7 * size) ** 2  # float32 outputs carry no more than this
        return Estimate(
            value=math.log(trace) if trace > 0 else -math.inf,
            quantity="log tr Cov",
            unit="1",
            n=activations.n,
            method=repr(self),
            flags=("collapsed",) if collapsed else (),
        )
