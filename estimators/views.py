"""Wrappers that change what the estimator sees: fewer dimensions, slices, rank-Gaussian margins, three entropies.

Each takes an estimator and is an estimator. What they measure may be another quantity than I(X;Y), and then the name of the
estimate says so.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np
from array_api_compat import array_namespace, device

from estimators._covariance import merged
from estimators._normality import beyond_normal
from estimators._result import Estimate
from estimators._samples import as_samples, drop_constant_columns, is_discrete, paired, stream
from estimators._settings import settings
from estimators.copula import normal_scores, rank_flags
from estimators.gaussian import information_and_error
from estimators.protocols import Array, Entropy, MutualInformation

__all__ = ["Copula", "Projected", "Sliced", "ThreeEntropies"]

_ROWS_PER_COMPONENT = 8  # samples for each component that a normal law sees beside the projection
_LEFT_OUT = 0.1  # nats ...
_ERRORS = 4.0  # ... and standard errors, from which dependence is left out for sure


@settings
class Projected:
    r"""Measures after projection on the leading principal components of each continuous argument.

    .. math:: P x = V_k^\top (x - \bar x), \qquad V_k = \text{top-}k\ \text{eigenvectors of}\ \mathrm{Cov}(x)

    By data processing I(PX; PY) <= I(X;Y), so what the estimator sees can only be less than what is there. An
    entropy is that of the projected variable, H(PX), another quantity than H(X). Orthonormal directions keep
    the scale. Directions are rounded to a fixed sign, so that equal data give equal projections.

    What is left out may carry most: the leading components are those of much variance, not of much information. So for
    continuous x and y `left_out` is by how much more a normal law reads from n / 8 components of each than from those that
    are kept, and above 0.1 nats and 4 standard errors the flag `left-out` is raised. On curved manifolds a normal
    law over-states, and the flag may be a false alarm.

    Arguments:
        inner: any estimator.
        dims: components kept of each argument; arguments with fewer columns keep all.

    Raises:
        ValueError: if `dims` < 1, and as the inner estimator does.

    References:
        Cover & Thomas, *Elements of Information Theory*, theorem 2.8.1.

    Example:
        >>> import numpy as np
        >>> from estimators import Gaussian, Projected
        >>> x = np.random.default_rng(0).standard_normal((500, 40))
        >>> Projected(Gaussian(), dims=3)(x).quantity
        'H(PX)'
    """

    inner: Callable[..., Estimate]
    dims: int = 4

    def __post_init__(self) -> None:
        if self.dims < 1:
            raise ValueError(f"dims = {self.dims}: at least one component must be kept")

    def __call__(self, *samples: Array) -> Estimate:
        shares, reduced, wide = [], [], []
        for name, x in zip("xyz", samples, strict=False):
            if hasattr(x, "shape") and hasattr(samples[0], "shape"):
                paired(
                    samples[0], x, ("x", name)
                )  # before projecting, so that the message has the caller's shapes
            if is_discrete(x):
                reduced.append(x)
                continue
            x = as_samples(x, name)
            projected, share, wider = _principal(x, self.dims, x.shape[0] // _ROWS_PER_COMPONENT)
            reduced.append(projected)
            shares.append(share)
            wide.append(wider)
        inner = self.inner(*reduced)
        flags, left = inner.flags, _left_out(wide, reduced) if len(wide) == len(samples) == 2 else {}
        if left and left["left_out"] > max(_LEFT_OUT, _ERRORS * left["left_out_error"]):
            flags = merged(flags, ("left-out",))
        quantity = "H(PX)" if inner.quantity == "H(X)" else inner.quantity
        kept = {f"kept_variance_{name}": share for name, share in zip("xyz", shares, strict=False)}
        # A bound on I(PX;PY) from below also bounds I(X;Y); one from above does not.
        bound = "none" if inner.bound == "upper" and len(samples) > 1 else inner.bound
        return dataclasses.replace(
            inner,
            method=repr(self),
            quantity=quantity,
            bound=bound,
            flags=flags,
            diagnostics={**inner.diagnostics, **kept, **left},
        )


def _left_out(wide: list[Array], reduced: list[Array]) -> dict[str, float]:
    """How much more a normal law sees in many components than in those that are kept, and its error."""
    if all(a.shape[1] <= b.shape[1] for a, b in zip(wide, reduced, strict=True)):
        return {}
    try:
        (more, error), (kept, _) = information_and_error(*wide), information_and_error(*reduced)
    except (
        ValueError
    ):  # too few samples, or nothing but constants: what the inner estimator says stands alone
        return {}
    if not (math.isfinite(more) and math.isfinite(kept)):
        return {}
    return {"left_out": more - kept, "left_out_error": error}


def _principal(x: Array, dims: int, most: int) -> tuple[Array, float, Array]:
    """The leading `dims` components, their share of the variance, and the leading `most` of them, or all columns."""
    xp = array_namespace(x)
    if x.shape[1] <= dims:
        return x, 1.0, x
    x = x - xp.mean(x, axis=0)
    top = xp.max(xp.abs(x))
    if float(top) == 0:
        return x[:, :dims], 1.0, x[:, :dims]
    cov = (x / top).T @ (x / top)
    values, vectors = xp.linalg.eigh(cov)
    most = min(max(most, dims), x.shape[1])
    vectors = xp.flip(vectors[:, -most:], axis=(1,))
    largest = xp.argmax(xp.abs(vectors[:, :dims]), axis=0)
    sign = xp.stack([xp.sign(vectors[int(largest[j]), j]) for j in range(dims)])
    wide = x if most == x.shape[1] else x @ vectors
    return x @ (vectors[:, :dims] * sign), float(xp.sum(values[-dims:]) / xp.sum(values)), wide


@settings
class Sliced:
    r"""Sliced mutual information: the mean of the inner estimate over random k-dimensional views of both samples.

    .. math:: SI_k(X; Y) = E_{A, B} \, I(A^\top X; B^\top Y)

    with A and B independent and uniform over k-frames. It is a quantity of its own, in nats: zero exactly when X and Y
    are independent, but not I(X;Y), and maps that are no slices may raise it. Its error at a given n does not
    grow with the dimension.

    Arguments:
        inner: an estimator of mutual information.
        slices: random pairs of frames.
        dims: k.
        seed: of the frames.

    Raises:
        ValueError: if `slices` < 2 or `dims` < 1, and as the inner estimator does.

    References:
        Goldfeld & Greenewald, 2021, *Sliced mutual information*, arXiv 2110.05279.
        Goldfeld, Greenewald, Nuradha & Reeves, 2022, *k-Sliced mutual information*, arXiv 2206.08526.

    Example:
        >>> import numpy as np
        >>> from estimators import Gaussian, Sliced
        >>> x = np.random.default_rng(0).standard_normal((500, 10))
        >>> Sliced(Gaussian(), slices=20)(x, x + 1.0 * x[::-1]).quantity
        'SI_1(X;Y)'
    """

    inner: MutualInformation
    slices: int = 100
    dims: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        if self.slices < 2:
            raise ValueError(f"slices = {self.slices}: at least 2 are needed for a mean and its error")
        if self.dims < 1:
            raise ValueError(f"dims = {self.dims}: a slice has at least one dimension")

    def __call__(self, x: Array, y: Array, /) -> Estimate:
        x, y = as_samples(x), as_samples(y, "y")
        paired(x, y)
        rng = stream(self.seed, "slices")
        found = [self.inner(_slice(x, self.dims, rng), _slice(y, self.dims, rng)) for _ in range(self.slices)]
        values = np.array([e.value for e in found])
        return Estimate(
            value=float(values.mean()),
            quantity=f"SI_{self.dims}(X;Y)",
            n=found[0].n,
            method=repr(self),
            stderr=float(values.std(ddof=1) / math.sqrt(self.slices)),
            flags=merged(*(e.flags for e in found)),
            diagnostics={"slices": self.slices, "largest_slice": float(values.max())},
        )


def _slice(x: Array, dims: int, rng: np.random.Generator) -> Array:
    xp = array_namespace(x)
    if x.shape[1] <= dims:
        return x
    frame = np.linalg.qr(rng.standard_normal((x.shape[1], dims)))[0]
    return x @ xp.asarray(frame, device=device(x))


@settings
class Copula:
    r"""Measures after every column was mapped to a standard normal margin through its ranks.

    .. math:: u_{ij} = \Phi^{-1}\left( \frac{\mathrm{rank}_i(x_{ij})}{n + 1} \right)

    I(X;Y) in nats does not change under monotone maps of columns, so heavy tails and skew are taken away without loss.
    Ranks bend linear subspaces, however: on a low-rank embedding a Gaussian estimator behind this wrapper over-states.
    `Copula(Gaussian())` is the Gaussian-copula mutual information. Tied values share their average rank, and `ties` is
    raised; `saturated` where a correlation of normal laws is closer to 1 than ranks resolve, as for `GaussianCopula`.

    Arguments:
        inner: an estimator of mutual information.

    Raises:
        TypeError: if it is called with one argument: an entropy is not invariant to maps of its columns.
        ValueError: as the inner estimator does.

    References:
        Ince et al., 2017, *A statistical framework for neuroimaging data analysis based on mutual information
        estimated via a Gaussian copula*, Human Brain Mapping 38, 1541-1573.

    Example:
        >>> import numpy as np
        >>> from estimators import Copula, Gaussian
        >>> x = np.random.default_rng(0).standard_normal((400, 1))
        >>> y = x + np.random.default_rng(1).standard_normal((400, 1))
        >>> Copula(Gaussian())(x**9, np.exp(y)).value == Copula(Gaussian())(x, y).value
        True
    """

    inner: Callable[..., Estimate]

    def __call__(self, *samples: Array) -> Estimate:
        if len(samples) < 2:
            raise TypeError("Copula takes two samples (x, y) or more: an entropy changes with the margins")
        named = list(zip("xyz", samples, strict=False))
        kept = [
            (x, 0) if is_discrete(x) else drop_constant_columns(as_samples(x, name), name)
            for name, x in named
        ]
        for (name, _), (x, _) in zip(named, kept, strict=True):
            paired(kept[0][0], x, ("x", name))
        pairs = [(x, 0) if is_discrete(x) else normal_scores(x) for x, _ in kept]
        found = self.inner(*(x for x, _ in pairs))
        dropped, ties = (sum(count for _, count in counted) for counted in (kept, pairs))
        return dataclasses.replace(
            found,
            method=repr(self),
            flags=merged(found.flags, rank_flags(ties, found), ("constant-columns",) if dropped else ()),
            diagnostics={**found.diagnostics, "dropped": dropped, "ties": ties},
        )


@settings
class ThreeEntropies:
    r"""Mutual information in nats from an estimator of entropy.

    .. math:: I(X;Y) = H(X) + H(Y) - H(X,Y)

    The three biases do not cancel in general: for neighbour entropies `KSG` exists because of that. Flags of the three
    are joined. The direction of a bound is lost, and with it what a normal law says of other data: `non-gaussian` is
    raised where the joint samples depart from one, as for `Gaussian`.

    Arguments:
        inner: an estimator of entropy.

    Raises:
        ValueError: as the inner estimator does, and for unequal n.

    References:
        Cover & Thomas, *Elements of Information Theory*, equation 2.45.

    Example:
        >>> import numpy as np
        >>> from estimators import Gaussian, ThreeEntropies
        >>> x, y = np.random.default_rng(0).standard_normal((2, 500, 2))
        >>> abs(ThreeEntropies(Gaussian())(x, y).value - Gaussian()(x, y).value) < 1e-9
        True
    """

    inner: Entropy

    def __call__(self, x: Array, y: Array, /) -> Estimate:
        x, y = as_samples(x), as_samples(y, "y")
        paired(x, y)
        xp = array_namespace(x)
        hx, hy, hxy = self.inner(x), self.inner(y), self.inner(xp.concat([x, y], axis=1))
        # A difference of upper bounds is none: what leaves an entropy of a normal law a bound takes its sense from here.
        joint = {key: v for key, v in hxy.diagnostics.items() if key.startswith("departure")}
        return Estimate(
            value=hx.value + hy.value - hxy.value,
            quantity="I(X;Y)",
            n=hxy.n,
            method=repr(self),
            flags=merged(hx.flags, hy.flags, hxy.flags, ("non-gaussian",) if beyond_normal(joint) else ()),
            diagnostics={"entropy_x": hx.value, "entropy_y": hy.value, "entropy_xy": hxy.value, **joint},
        )
