"""Cross-fitted canonical correlations: directions learned on one part of the sample, measured on another."""

from __future__ import annotations

import math

import numpy as np
from array_api_compat import array_namespace, device

from estimators._covariance import merged, participation_ratio, prepared
from estimators._folds import folds, rows
from estimators._result import Estimate
from estimators._settings import settings
from estimators.gaussian import Gaussian
from estimators.protocols import Array

__all__ = ["CrossFittedCCA", "canonical_directions"]

_RIDGES = (
    1e-3,
    1e-2,
    1e-1,
    1.0,
    10.0,
)  # variances added to columns of variance 1; the last is nearly the plain covariance
_OVERFIT = 2.0  # training value above this multiple of the held-out one, and by more than 4 standard errors


def canonical_directions(x: Array, y: Array, components: int, ridge: float) -> tuple[Array, Array]:
    r"""Leading canonical directions of the regularised cross-covariance.

    .. math:: (C_x + \rho I)^{-1/2}\, C_{xy}\, (C_y + \rho I)^{-1/2} = U S V^\top, \qquad
       A = (C_x + \rho I)^{-1/2} U_k, \quad B = (C_y + \rho I)^{-1/2} V_k

    Arguments:
        x: samples `(n, dx)`, numpy or torch.
        y: samples `(n, dy)`.
        components: k, at most min(dx, dy).
        ridge: \(\rho\), in squared units of the columns.

    Shapes:
        Returns A `(dx, k)` and B `(dy, k)`.

    Raises:
        ValueError: if a covariance is singular and `ridge` does not mend it.

    References:
        Vinod, 1976, *Canonical ridge and econometrics of joint production*, J. Econometrics 4, 147-166.

    Example:
        >>> import numpy as np
        >>> x = np.random.default_rng(0).standard_normal((200, 3))
        >>> a, b = canonical_directions(x, x[:, ::-1], 3, 0.0)
        >>> bool(np.allclose(x @ a, x[:, ::-1] @ b))
        True
    """
    xp = array_namespace(x)
    x, y = x - xp.mean(x, axis=0), y - xp.mean(y, axis=0)
    lx, ly = _factor(x, ridge), _factor(y, ridge)
    cross = xp.linalg.solve(ly, xp.linalg.solve(lx, x.T @ y / x.shape[0]).T).T
    try:
        u, _, vt = xp.linalg.svd(cross, full_matrices=False)
    except (ValueError, RuntimeError):  # the factor passed, but the ridge is lost in its rounding
        raise _singular(x, ridge) from None
    return xp.linalg.solve(lx.T, u[:, :components]), xp.linalg.solve(ly.T, vt[:components, :].T)


def _factor(z: Array, ridge: float) -> Array:
    xp = array_namespace(z)
    cov = z.T @ z / z.shape[0]
    cov = cov + ridge * xp.eye(z.shape[1], dtype=z.dtype, device=device(z))
    try:
        return xp.linalg.cholesky(cov)
    except (ValueError, RuntimeError):  # the LinAlgError of numpy and of torch
        raise _singular(z, ridge) from None


def _singular(z: Array, ridge: float) -> ValueError:
    n, d = z.shape
    return ValueError(
        f"ridge = {ridge} leaves a covariance of shape {(d, d)} from {n} samples singular; "
        "give a larger ridge, or ridge=None to have it chosen"
    )


@settings
class CrossFittedCCA:
    r"""Mutual information along canonical directions that were learned on other samples, in nats.

    .. math:: \hat I = \frac{1}{F} \sum_{f=1}^{F} \Big( -\tfrac{1}{2} \sum_{i=1}^{k} \log(1 - r_{f,i}^2) - \text{bias} \Big)

    with \(r_{f,i}\) the canonical correlations, on fold f, of the k + k projections \(A_f^\top x, B_f^\top y\) whose
    directions come from the other folds, and the exact Wishart bias in k + k dimensions. What the directions have
    over-fitted is lost on fold f, so independent data read 0 at any dimension, n <= d included.

    For jointly Gaussian variables the expectation is at most I(X;Y), by data processing; what is spread over many
    more than k directions, or over directions too weak to be learned from n samples, is missed: 128 weak channels of
    2.0 nats together read 0.06 at n = 2000. The flag "overfit" is raised when the directions carry more than twice as
    much on the samples they were learned from. **It may over-state on embeddings that are not Gaussian**, such as a curved
    manifold, so it is not labelled a lower bound; `kurtosis` (Mardia's, over its Gaussian expectation) of the projections
    should be near 1.

    The standard error combines the analytic errors of the folds, which measure on disjoint samples.

    Arguments:
        components: k, the directions kept; at most min(dx, dy) are used.
        ridge: added to the variances of the standardised columns; `None` chooses it inside each training part, by
            the value of directions from one half of it on the other half.
        folds: F, at least 2.
        seed: of the random folds.

    Shapes:
        `x`: `(n, dx)`, `y`: `(n, dy)`; each part must have more than 2 k + 1 samples. Numpy or torch.

    Raises:
        TypeError: for a discrete variable or an array that holds no real numbers.
        ValueError: for settings out of range, NaN, wrong shapes, unequal n, n too small, all columns constant, or a
            ridge that leaves a covariance singular.

    References:
        Vinod, 1976, J. Econometrics 4, 147-166. Chernozhukov et al., 2018, *Double/debiased machine learning*,
        Econom. J. 21, C1-C68 (cross-fitting). Cover & Thomas, *Elements of Information Theory*, theorem 2.8.1.

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> shared, (x, y) = rng.standard_normal((120, 1)), rng.standard_normal((2, 120, 150))  # n < d
        >>> e = CrossFittedCCA(components=1)(x + shared, y + shared)  # one direction, 0.5 log(151^2 / 301) = 2.16 nats
        >>> abs(e.value - 2.16) < 4 * e.stderr
        True
    """

    components: int = 8
    ridge: float | None = None
    folds: int = 2
    seed: int = 0

    def __post_init__(self) -> None:
        if self.components < 1:
            raise ValueError(f"components = {self.components}: at least one direction must be kept")
        if self.ridge is not None and not 0 <= self.ridge < math.inf:
            raise ValueError(f"ridge = {self.ridge} must be a finite number >= 0, or None to have it chosen")
        if self.folds < 2:
            raise ValueError(f"folds = {self.folds}: at least 2 are needed to measure on other samples")

    def __call__(self, x: Array, y: Array, /) -> Estimate:
        # Scales come from all rows: they depend on x and on y alone and so carry nothing of their dependence.
        (x, y), _, dropped = prepared(x, y)
        n = x.shape[0]
        k = min(self.components, x.shape[1], y.shape[1])
        smallest = n // self.folds if self.ridge is not None else n // self.folds * (self.folds - 1) // 2
        smallest = min(smallest, n // self.folds)
        if smallest <= 2 * k + 1:
            raise ValueError(
                f"x and y of shapes {tuple(x.shape)} and {tuple(y.shape)}: {self!r} measures {k} + {k} directions on "
                f"parts of {smallest} samples and needs more than {2 * k + 1}; use fewer components or more samples"
            )
        held_out, training, ridges = [], [], []
        for train, test in folds(n, self.folds, self.seed):
            inside = rows(x, train), rows(y, train)
            ridge = self.chosen_ridge(*inside)
            a, b = canonical_directions(*inside, k, ridge)
            held_out.append(_measured(rows(x, test) @ a, rows(y, test) @ b))
            training.append(_measured(inside[0] @ a, inside[1] @ b).value)
            ridges.append(ridge)
        value = float(np.mean([e.value for e in held_out]))
        stderr = math.sqrt(sum((e.stderr or 0.0) ** 2 for e in held_out)) / self.folds
        flags = merged(("constant-columns",) if dropped else (), *(e.flags for e in held_out))
        inside_value = float(np.mean(training))
        if inside_value > _OVERFIT * max(value, 0.0) and inside_value - value > 4 * stderr:
            flags = (*flags, "overfit")
        numbers = {f"ridge_{i}": ridge for i, ridge in enumerate(ridges)}
        return Estimate(
            value=value,
            quantity="I(X;Y)",
            n=n,
            method=repr(self),
            stderr=stderr or None,
            flags=flags,
            diagnostics={
                "dx": x.shape[1],
                "dy": y.shape[1],
                "dropped": dropped,
                "components": k,
                **numbers,
                "training": inside_value,
                "max_canonical_correlation": max(
                    e.diagnostics["max_canonical_correlation"] for e in held_out
                ),
                "kurtosis": float(
                    np.mean([e.diagnostics[key] for e in held_out for key in ("kurtosis_x", "kurtosis_y")])
                ),
                "shared_directions": float(np.mean([e.diagnostics["shared_directions"] for e in held_out])),
                "effective_rank_x": participation_ratio(x),
                "effective_rank_y": participation_ratio(y),
            },
        )

    def chosen_ridge(self, x: Array, y: Array) -> float:
        """The ridge for standardised training samples: `ridge`, or the one of most value on their other half."""
        if self.ridge is not None:
            return self.ridge
        k = min(self.components, x.shape[1], y.shape[1])
        first, second = next(iter(folds(x.shape[0], 2, self.seed + 1)))
        scores = []
        for ridge in _RIDGES:
            try:
                a, b = canonical_directions(rows(x, first), rows(y, first), k, ridge)
            except ValueError:  # too small a ridge for these samples
                scores.append(-math.inf)
                continue
            scores.append(_measured(rows(x, second) @ a, rows(y, second) @ b).value)
        return _RIDGES[int(np.argmax(scores))]


def _measured(u: Array, v: Array) -> Estimate:
    return Gaussian()(u, v)
