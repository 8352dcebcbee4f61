r"""Gaussian components \(N(\mu_i, \Sigma_i)\): what pairwise distances and densities need, by form of the covariance.

Each form offers the same calls for a block of pairs, rows i against columns j, so that no array of n^2 matrices
is ever held. All of it is differentiable for torch tensors.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from array_api_compat import array_namespace, device, is_numpy_array, is_torch_array

from estimators._pairs import row_blocks, squared_distances
from estimators.protocols import Array

__all__ = ["LowRank", "Mixture", "identity", "like", "log_density_rows", "normal_form"]

_SINGULAR = 2.0**-44  # share of a variance that the other coordinates leave open, at rounding level


@dataclass(frozen=True, eq=False)
class LowRank:
    r"""Covariances \(\Sigma_i = F_i F_i^\top + s^2 I\) of few directions each.

    A Gaussian input \(N(x_i, S_i)\) that a locally affine f with Jacobian \(J_i\) carries on arrives as
    \(N(f(x_i), J_i S_i J_i^\top)\); with noise of variance \(s^2\) added it has this form for
    \(F_i = J_i S_i^{1/2}\). Matrices of d x d are never built: Woodbury's identity and the determinant lemma leave
    r x r.

    Arguments:
        factors: \(F_i\), `(n, d, r)`, or `(1, d, r)` for all components.
        variance: \(s^2\), in squared units of the data; nats do not depend on them.

    Raises:
        ValueError: by the functions that take it, if `factors` is not `(n, d, r)` or the variance not positive.

    References:
        Shwartz-Ziv, Balestriero, Kawaguchi, Rudner & LeCun, 2023, *An information-theoretic perspective on
        variance-invariance-covariance regularization*, arXiv:2303.00633.

    Example:
        >>> import numpy as np
        >>> LowRank(np.ones((5, 3, 1)), variance=0.1).factors.shape
        (5, 3, 1)
    """

    factors: Array
    variance: float | Array = 0.0


class Diagonal(NamedTuple):
    """Covariances diag(v_i)."""

    variances: Array  # (n, d)

    @property
    def per_pair(self) -> int:
        return self.variances.shape[1]

    def log_dets(self) -> Array:
        xp = array_namespace(self.variances)
        return xp.sum(xp.log(self.variances), axis=1)

    def quadratic(self, delta: Array, j: slice) -> Array:
        """delta' S_j^-1 delta for differences `(a, b, d)`."""
        return _sum(delta * delta / self.variances[None, j, :], -1)

    def divergence(self, i: slice, j: slice) -> Array:
        """Kullback-Leibler divergence of component i from j as if their means were equal."""
        xp = array_namespace(self.variances)
        ratio = self.variances[i, None, :] / self.variances[None, j, :]
        return 0.5 * _sum(ratio - 1 - xp.log(ratio), -1)

    def blend(self, i: slice, j: slice, delta: Array, alpha: float) -> tuple[Array, Array]:
        """Squared length of delta in, and log-determinant of, (1 - alpha) S_i + alpha S_j."""
        xp = array_namespace(self.variances)
        mixed = (1 - alpha) * self.variances[i, None, :] + alpha * self.variances[None, j, :]
        return _sum(delta * delta / mixed, -1), _sum(xp.log(mixed), -1)

    def coloured(self, i: slice, white: Array) -> Array:
        """Noise of the components i from standard normal numbers `(len(i), d)`."""
        return self.variances[i, :] ** 0.5 * white

    def average(self) -> Array:
        """Mean covariance `(d, d)`."""
        xp = array_namespace(self.variances)
        mean = xp.mean(self.variances, axis=0)
        return mean[:, None] * identity(mean, mean.shape[0])


class Full(NamedTuple):
    """Covariances as matrices, with their Cholesky factors L_i and the inverses of these."""

    covariances: Array  # (n, d, d)
    factors: Array
    whiteners: Array

    @property
    def per_pair(self) -> int:
        return 2 * self.factors.shape[1] * (self.factors.shape[1] + 1)

    def log_dets(self) -> Array:
        return _log_det(self.factors)

    def quadratic(self, delta: Array, j: slice) -> Array:
        white = _by_column(delta, _t(self.whiteners[j, :, :]))
        return _sum(white * white, -1)

    def divergence(self, i: slice, j: slice) -> Array:
        xp = array_namespace(self.factors)
        left, right = self.whiteners[j, :, :], self.factors[i, :, :]
        (b, d, _), a = left.shape, right.shape[0]
        # |W_j L_i|^2 = tr(S_j^-1 S_i), a sum of squares: nothing cancels.
        product = xp.reshape(left, (b * d, d)) @ xp.reshape(xp.permute_dims(right, (1, 0, 2)), (d, a * d))
        trace = _sum(xp.reshape(product * product, (b, d, a, d)), (1, 3)).T
        log_dets = self.log_dets()
        return 0.5 * (trace - d + log_dets[None, j] - log_dets[i, None])

    def blend(self, i: slice, j: slice, delta: Array, alpha: float) -> tuple[Array, Array]:
        xp = array_namespace(self.factors)
        mixed = (1 - alpha) * self.covariances[i, None, :, :] + alpha * self.covariances[None, j, :, :]
        solved = xp.linalg.solve(mixed, delta[..., None])[..., 0]
        return _sum(delta * solved, -1), _log_det(xp.linalg.cholesky(mixed))

    def coloured(self, i: slice, white: Array) -> Array:
        return (self.factors[i, :, :] @ white[..., None])[..., 0]

    def average(self) -> Array:
        return array_namespace(self.covariances).mean(self.covariances, axis=0)


class FewDirections(NamedTuple):
    """Covariances F_i F_i' + I, with G_i = F_i'F_i, the Cholesky factors of I + G_i, and K_i = (I + G_i)^-1 F_i'."""

    factors: Array  # (n, d, r)
    grams: Array
    cholesky: Array
    solved: Array
    inverse_trace: Array  # tr (I + G_i)^-1

    @property
    def per_pair(self) -> int:
        d, r = self.factors.shape[1:]
        return 3 * (d + r) * (r + 1)

    def log_dets(self) -> Array:
        return _log_det(self.cholesky)

    def quadratic(self, delta: Array, j: slice) -> Array:
        # delta' S^-1 delta = min_b |delta - F b|^2 + |b|^2: sums of squares, where Woodbury's difference cancels.
        share = _by_column(delta, _t(self.solved[j, :, :]))
        rest = delta - _by_column(share, _t(self.factors[j, :, :]))
        return _sum(rest * rest, -1) + _sum(share * share, -1)

    def divergence(self, i: slice, j: slice) -> Array:
        xp = array_namespace(self.factors)
        left, right = self.factors[j, :, :], xp.permute_dims(self.factors[i, :, :], (1, 0, 2))
        (b, d, r), a = left.shape, right.shape[1]
        flat = xp.reshape(right, (d, a * r))
        share = xp.reshape(xp.reshape(self.solved[j, :, :], (b * r, d)) @ flat, (b, r, a * r))
        rest = flat[None, :, :] - left @ share
        # tr(S_j^-1 F_i F_i') as in `quadratic`, and tr(S_j^-1) = d - r + tr (I + G_j)^-1.
        trace = _sum(xp.reshape(rest * rest, (b, d, a, r)), (1, 3)) + _sum(
            xp.reshape(share * share, (b, r, a, r)), (1, 3)
        )
        log_dets = self.log_dets()
        return 0.5 * (trace.T + (self.inverse_trace - r + log_dets)[None, j] - log_dets[i, None])

    def blend(self, i: slice, j: slice, delta: Array, alpha: float) -> tuple[Array, Array]:
        xp = array_namespace(self.factors)
        left, right = (1 - alpha) ** 0.5 * self.factors[i, :, :], alpha**0.5 * self.factors[j, :, :]
        (a, d, r), b = left.shape, right.shape[0]
        inside = (1 - alpha) * self.grams[i, :, :] + identity(left, r)
        solved = xp.linalg.solve(inside, _t(left))
        # T_i v = (v - F b, b) with b as in `quadratic` has the length of v in N_i = F_i F_i' + I. Adding F_j F_j' is
        # the same step again for T_i F_j: the determinant of all 2r directions at once would cancel.
        flat = xp.reshape(xp.permute_dims(right, (1, 0, 2)), (d, b * r))
        share = solved @ flat
        seen = xp.reshape(xp.concat([flat[None, :, :] - left @ share, share], axis=1), (a, d + r, b, r))
        seen = xp.permute_dims(seen, (0, 2, 3, 1))
        share = delta @ _t(solved)
        moved = xp.concat([delta - share @ _t(left), share], axis=2)
        gram = seen @ _t(seen) + identity(seen, r)
        share = xp.linalg.solve(gram, seen @ moved[..., None])
        rest = moved - (_t(seen) @ share)[..., 0]
        length = _sum(rest * rest, -1) + _sum(share * share, (-2, -1))
        log_det = _log_det(xp.linalg.cholesky(inside))[:, None] + _log_det(xp.linalg.cholesky(gram))
        return length, log_det

    def coloured(self, i: slice, white: Array) -> Array:
        """As for `Diagonal`, from numbers `(len(i), d + r)`."""
        d = self.factors.shape[1]
        return white[:, :d] + (self.factors[i, :, :] @ white[:, d:, None])[..., 0]

    def average(self) -> Array:
        xp = array_namespace(self.factors)
        n, d, r = self.factors.shape
        flat = xp.reshape(xp.permute_dims(self.factors, (1, 0, 2)), (d, n * r))
        return flat @ flat.T / n + identity(flat, d)


class Mixture(NamedTuple):
    """Equally likely components, in units that make the form simple: `form` is `None` for unit covariances."""

    means: Array  # (n, d), in these units and centred
    form: Diagonal | Full | FewDirections | None
    log_scale: Array | float  # logarithm of the volume of these units
    place: Callable[[Array], Array]  # brings points into these units

    @property
    def noise_entropy(self) -> Array:
        """Mean entropy of a component, in the units given."""
        gaussian = 0.5 * self.means.shape[1] * math.log(2 * math.pi * math.e) + self.log_scale
        if self.form is None:
            return gaussian
        return gaussian + 0.5 * array_namespace(self.means).mean(self.form.log_dets())

    @property
    def white_dims(self) -> int:
        """Standard normal numbers that one draw needs."""
        d = self.means.shape[1]
        return d + (self.form.factors.shape[2] if isinstance(self.form, FewDirections) else 0)

    def draw(self, i: slice, white: Array) -> Array:
        """One sample of each component i from standard normal numbers `(len(i), white_dims)`."""
        return self.means[i, :] + (white if self.form is None else self.form.coloured(i, white))


def normal_form(means: Array, covariances: Any) -> Mixture:
    """Checks means and covariances and brings them to the simplest form; see `mixture_covariances.entropy_bounds`."""
    if not (is_numpy_array(means) or is_torch_array(means)) or means.ndim != 2 or 0 in means.shape:
        raise ValueError(
            f"means must have shape (n, d) with n, d >= 1, got {tuple(getattr(means, 'shape', ()))}"
        )
    _finite(means, "means")
    xp, (n, d) = array_namespace(means), means.shape
    shift = xp.mean(xp.astype(means, xp.float64), axis=0)

    def build(form: Any, log_scale: Any, unit: Any = 1.0, whitener: Any = None) -> Mixture:
        def place(points: Array) -> Array:
            z = (xp.astype(points, xp.float64) - shift) / unit
            return z if whitener is None else z @ whitener.T

        return Mixture(place(means), form, log_scale, place)

    if isinstance(covariances, LowRank):
        variance = _positive(covariances.variance, "variance of LowRank")
        factors = _factors(covariances.factors, means) / variance**0.5
        log_scale = 0.5 * d * _log(variance)
        if factors.shape[0] > 1:
            return build(_few_directions(factors), log_scale, variance**0.5)
        shared = _full(factors @ _t(factors) + identity(factors, d))
        return build(None, log_scale + 0.5 * shared.log_dets()[0], variance**0.5, shared.whiteners[0, :, :])
    if getattr(covariances, "ndim", 0) == 0:
        variance = _positive(covariances, "covariances, as one number,")
        return build(None, 0.5 * d * _log(variance), variance**0.5)
    shape = tuple(covariances.shape)
    if shape not in {(n, d), (1, d), (n, d, d), (1, d, d)}:
        raise ValueError(
            f"covariances of shape {shape} do not fit means of shape {(n, d)}: pass one variance, variances "
            f"{(n, d)}, matrices {(n, d, d)} or LowRank(factors of shape ({n}, {d}, r), variance); "
            "a leading 1 gives all components the same"
        )
    cov = like(covariances, means, "covariances")
    if cov.ndim == 2:
        if not bool(xp.all(cov > 0)):
            raise ValueError(
                f"covariances of shape {shape} hold a variance <= 0: a component without width has entropy "
                "-inf; add the variance of the noise"
            )
        diagonal = Diagonal(cov)
        shared_scale = 0.5 * diagonal.log_dets()[0]
        return build(None, shared_scale, cov**0.5) if shape[0] == 1 else build(diagonal, 0.0)
    form = _full(cov)
    if shape[0] == 1:
        return build(None, 0.5 * form.log_dets()[0], 1.0, form.whiteners[0, :, :])
    return build(form, 0.0)


def _full(cov: Array) -> Full:
    xp, shape = array_namespace(cov), tuple(cov.shape)
    largest = xp.max(xp.max(xp.abs(cov), axis=2), axis=1)
    if not bool(xp.all(xp.abs(cov - _t(cov)) <= 1e-8 * largest[:, None, None])):
        raise ValueError(f"covariances of shape {shape} are not symmetric; pass (C + C.T) / 2 of each")
    mend = "add the variance of the noise to the diagonals, or pass LowRank(factors, variance)"
    try:
        factors = xp.linalg.cholesky(cov)
    except (ValueError, RuntimeError):  # the LinAlgError of numpy and of torch
        raise ValueError(f"covariances of shape {shape}: a matrix is not positive definite; {mend}") from None
    pivots = xp.linalg.diagonal(factors)
    if not bool(xp.all(pivots * pivots > _SINGULAR * xp.linalg.diagonal(cov))):
        raise ValueError(f"covariances of shape {shape}: a matrix is singular to working precision; {mend}")
    return Full(cov, factors, xp.linalg.inv(factors))


def _few_directions(factors: Array) -> FewDirections:
    xp = array_namespace(factors)
    grams = _t(factors) @ factors
    inside = grams + identity(grams, factors.shape[2])
    inverse_trace = xp.sum(xp.linalg.diagonal(xp.linalg.inv(inside)), axis=-1)
    return FewDirections(
        factors, grams, xp.linalg.cholesky(inside), xp.linalg.solve(inside, _t(factors)), inverse_trace
    )


def _factors(factors: Array, means: Array) -> Array:
    (n, d), shape = means.shape, tuple(getattr(factors, "shape", ()))
    if len(shape) != 3 or shape[0] not in (1, n) or shape[1] != d or shape[2] < 1:
        raise ValueError(
            f"factors of shape {shape} do not fit means of shape {(n, d)}: pass ({n}, {d}, r) with r >= 1"
        )
    return like(factors, means, "factors")


def _log(variance: Any) -> Any:
    return array_namespace(variance).log(variance) if is_torch_array(variance) else math.log(variance)


def _positive(variance: Any, name: str) -> Any:
    if not (isinstance(variance, (int, float)) or getattr(variance, "ndim", None) == 0):
        raise ValueError(
            f"{name} must be one number, got {type(variance).__name__} of shape {getattr(variance, 'shape', ())}"
        )
    if not (variance > 0 and variance < math.inf):
        raise ValueError(f"{name} must be positive and finite, got {float(variance)}")
    return variance if is_torch_array(variance) else float(variance)


def like(values: Array, z: Array, name: str) -> Array:
    """Values as float64, checked to be finite and to be where z is."""
    if is_torch_array(values) != is_torch_array(z) or not (is_torch_array(values) or is_numpy_array(values)):
        raise TypeError(
            f"means are a {type(z).__name__} and {name} a {type(values).__name__}: pass both as numpy arrays "
            "or both as torch tensors"
        )
    if device(values) != device(z):
        raise TypeError(f"means are on device {device(z)} and {name} on {device(values)}; move one of them")
    xp = array_namespace(z)
    values = xp.astype(values, xp.float64)
    _finite(values, name)
    return values


def _finite(values: Array, name: str) -> None:
    xp = array_namespace(values)
    if not bool(xp.all(xp.isfinite(values))):
        raise ValueError(f"{name} of shape {tuple(values.shape)} hold NaN or inf; drop those rows first")


def log_density_rows(mixture: Mixture, t: Array, exact: bool) -> Array:
    """Log-densities `(m, n)` of every component at the rows of t, up to a constant common to all of them."""
    if mixture.form is None:
        return -0.5 * squared_distances(t, mixture.means, exact)
    form, log_dets = mixture.form, mixture.form.log_dets()
    columns = row_blocks(mixture.means.shape[0], t.shape[0] * form.per_pair)
    parts = [
        form.quadratic(t[:, None, :] - mixture.means[None, j, :], j) + log_dets[None, j] for j in columns
    ]
    return -0.5 * array_namespace(t).concat(parts, axis=1)


def _sum(x: Array, axis: Any = None) -> Array:
    return array_namespace(x).sum(x, axis=axis)


def _t(x: Array) -> Array:
    return array_namespace(x).matrix_transpose(x)


def identity(x: Array, d: int) -> Array:
    """Unit matrix `(d, d)` where x is."""
    return array_namespace(x).eye(d, dtype=x.dtype, device=device(x))


def _log_det(cholesky: Array) -> Array:
    xp = array_namespace(cholesky)
    return 2 * xp.sum(xp.log(xp.linalg.diagonal(cholesky)), axis=-1)


def _by_column(delta: Array, matrices: Array) -> Array:
    """`(a, b, d)` times the matrix `(d, k)` of each column b, as one product per column."""
    xp = array_namespace(delta)
    return xp.permute_dims(xp.permute_dims(delta, (1, 0, 2)) @ matrices, (1, 0, 2))
