"""Second moments of standardised columns: factors, ranks, canonical correlations, and the flags they raise.

Shared by the Gaussian family. Every function takes columns with mean zero and stays in their library, on their device.
"""

from __future__ import annotations

import math

from array_api_compat import array_namespace

from estimators._samples import as_samples, drop_constant_columns, paired, standardised
from estimators.protocols import Array

__all__ = [
    "canonical",
    "checked",
    "cholesky",
    "common_flags",
    "kurtosis_ratio",
    "log_det",
    "log_volume",
    "merged",
    "orthonormal",
    "participation_ratio",
    "prepared",
    "range_basis",
    "require",
    "residual",
    "spectrum_ratio",
    "variable_name",
]

_PIVOT = 1e-3  # smallest Cholesky pivot of a correlation matrix at which squaring loses no digit that matters
_RANK_TOL = 1e-10  # singular values below this share of the largest are null directions
_HEAVY = 6.0  # excess kurtosis above which second moments converge slowly (a Laplace law has 3)


def log_det(cov: Array, name: str) -> Array:
    """Log-determinant of a covariance, checked for shape, symmetry and sign; differentiable."""
    if getattr(cov, "ndim", None) != 2 or cov.shape[0] != cov.shape[1]:
        raise ValueError(
            f"{name} must be a square (d, d) matrix, got shape {tuple(getattr(cov, 'shape', ()))}"
        )
    xp = array_namespace(cov)
    # Checked on values: a matrix that is not symmetric would give a number without meaning.
    if not bool(xp.all(xp.abs(cov - cov.T) <= 1e-8 * xp.max(xp.abs(cov)))):
        raise ValueError(f"{name} of shape {tuple(cov.shape)} is not symmetric; pass (C + C.T) / 2")
    sign, value = xp.linalg.slogdet(cov)
    if bool((sign < 0) | (value != value)):
        raise ValueError(
            f"{name} of shape {tuple(cov.shape)} is not positive semidefinite: it is no covariance"
        )
    return value


def variable_name(position: int) -> str:
    """Name of the argument at this position in messages: x, y, z, x4, x5, ..."""
    return "xyz"[position] if position < 3 else f"x{position + 1}"


def checked(*samples: Array, min_n: int = 2) -> tuple[list[Array], int]:
    """Checked and paired samples without their constant columns, and how many of these were dropped."""
    valid = [as_samples(s, variable_name(i), min_n=min_n) for i, s in enumerate(samples)]
    for i, s in enumerate(valid[1:], start=1):
        paired(valid[0], s, ("x", variable_name(i)))
    kept = [drop_constant_columns(s, variable_name(i)) for i, s in enumerate(valid)]
    return [s for s, _ in kept], sum(dropped for _, dropped in kept)


def prepared(*samples: Array, min_n: int = 2) -> tuple[list[Array], list[Array], int]:
    """As `checked`, standardised; with the scales of the columns."""
    kept, dropped = checked(*samples, min_n=min_n)
    pairs = [standardised(s, with_scale=True) for s in kept]
    return [z for z, _ in pairs], [scale for _, scale in pairs], dropped


def require(n: int, d: int, what: str) -> None:
    """Raises `ValueError` unless a covariance of d dimensions can be of full rank."""
    if n <= d + 1:
        raise ValueError(
            f"{what}: a Gaussian fit in {d} dimensions needs n > {d + 1} samples; "
            "use more samples or wrap the estimator as Projected(Gaussian(), dims=...)"
        )


def common_flags(z: Array, dropped: int) -> tuple[str, ...]:
    """Flags of standardised columns, whose kurtosis is their mean fourth power."""
    xp = array_namespace(z)
    square = z * z
    flags = ("constant-columns",) if dropped else ()
    heavy = float(xp.max(xp.mean(square * square, axis=0))) - 3 > _HEAVY
    return (*flags, "heavy-tails") if heavy else flags


def merged(*groups: tuple[str, ...]) -> tuple[str, ...]:
    """Flags of several parts, each once, in order of appearance."""
    return tuple(dict.fromkeys(flag for group in groups for flag in group))


def cholesky(z: Array) -> Array | None:
    """Factor of z'z / n where squaring the condition number does no harm; `None` elsewhere."""
    xp = array_namespace(z)
    try:
        factor = xp.linalg.cholesky(z.T @ z / z.shape[0])
    except (ValueError, RuntimeError):  # the LinAlgError of numpy and of torch: not positive definite
        return None
    return factor if float(xp.min(xp.linalg.diagonal(factor))) >= _PIVOT else None


def log_volume(z: Array) -> tuple[float, bool]:
    """Half the log-determinant of z'z / n for standardised columns, and whether the rank is full."""
    xp = array_namespace(z)
    factor = cholesky(z)
    if factor is not None:
        return float(xp.sum(xp.log(xp.linalg.diagonal(factor)))), True
    singular = xp.linalg.svdvals(z / z.shape[0] ** 0.5)
    if float(singular[-1]) <= _RANK_TOL * float(singular[0]):
        return -math.inf, False
    return float(xp.sum(xp.log(singular))), True


def range_basis(z: Array) -> tuple[Array, int]:
    """Orthonormal basis of the columns: (n, rank). Mutual information only depends on this range.

    Ranks are judged against columns of unit variance, so that a residual at rounding level has rank 0.
    """
    xp = array_namespace(z)
    u, s, _ = xp.linalg.svd(z, full_matrices=False)
    reach = max(float(s[0]), z.shape[0] ** 0.5)
    rank = int(xp.sum(xp.astype(s > _RANK_TOL * reach, xp.int64)))
    return u[:, :rank], rank


def orthonormal(z: Array) -> tuple[Array, int]:
    """As `range_basis`, by a Cholesky factor where the columns are well conditioned."""
    xp = array_namespace(z)
    factor = cholesky(z)
    if factor is None:
        return range_basis(z)
    return xp.linalg.solve(factor, z.T).T / z.shape[0] ** 0.5, z.shape[1]


def canonical(x: Array, y: Array) -> tuple[int, int, Array]:
    """Ranks of the standardised x and y, and their squared canonical correlations."""
    xp = array_namespace(x)
    lx, ly = cholesky(x), cholesky(y)
    if lx is not None and ly is not None:
        cross = xp.linalg.solve(ly, xp.linalg.solve(lx, x.T @ y / x.shape[0]).T)
        dx, dy = x.shape[1], y.shape[1]
    else:
        (ux, dx), (uy, dy) = range_basis(x), range_basis(y)
        cross = ux.T @ uy
    if not dx or not dy:
        return dx, dy, cross.reshape(-1)
    return dx, dy, xp.clip(xp.linalg.svdvals(cross), 0.0, 1.0) ** 2


def residual(x: Array, basis: Array) -> Array:
    """x less its least-squares fit on an orthonormal basis; done twice, which restores orthogonality."""
    for _ in range(2):
        x = x - basis @ (basis.T @ x)
    return x


def kurtosis_ratio(z: Array) -> float:
    """Mardia's multivariate kurtosis of centred columns over its expectation for Gaussian data of this n and rank."""
    xp, n = array_namespace(z), z.shape[0]
    basis, d = orthonormal(z)
    if not d:
        return 1.0
    lengths = xp.sum(basis * basis, axis=1) * n
    return float(xp.mean(lengths * lengths)) / (d * (d + 2) * (n - 1) / (n + 1))


def spectrum_ratio(values: Array) -> float:
    r"""Participation ratio \((\sum \lambda)^2 / \sum \lambda^2\) of a spectrum: how many values carry it."""
    xp = array_namespace(values)
    energy = float(xp.sum(values * values))
    return float(xp.sum(values)) ** 2 / energy if energy > 0 else 0.0


def participation_ratio(z: Array) -> float:
    """Participation ratio of the covariance spectrum of centred columns, without decomposing it."""
    xp = array_namespace(z)
    gram = z.T @ z if z.shape[0] >= z.shape[1] else z @ z.T
    energy = float(xp.sum(gram * gram))
    return float(xp.sum(xp.linalg.diagonal(gram))) ** 2 / energy if energy > 0 else 0.0
