r"""Gaussian entropy and mutual information from a covariance shrunk towards its diagonal.

On standardised columns with sample correlation \(R\), every weight of the module gives the convex combination
\(R_w = (1 - w) R + w I\), which is positive definite for any n as soon as w > 0.
"""

from __future__ import annotations

import math

import numpy as np
from array_api_compat import array_namespace, device

from estimators._covariance import (
    common_flags,
    log_volume,
    merged,
    participation_ratio,
    prepared,
    variable_name,
)
from estimators._folds import folds, rows
from estimators._result import Estimate
from estimators._settings import settings
from estimators.gaussian import Gaussian
from estimators.protocols import Array

__all__ = ["ShrunkGaussian", "held_out_weight", "ledoit_wolf_weight", "oas_weight"]

_RULES = ("ledoit-wolf", "oas", "held-out")
_GRID = tuple(np.concatenate([np.logspace(-6, -1, 11), np.linspace(0.15, 1, 18)]).tolist())
_CHECKED = ("small-sample", "non-gaussian")  # flags of the plain estimate that shrinkage does not mend
_DISAGREE = 3.0  # standard errors between the shrunk and the corrected value that chance does not explain


def _square_norm(z: Array) -> float:
    """||z'z / n||_F^2, through whichever of z'z and zz' is smaller."""
    xp, (n, d) = array_namespace(z), z.shape
    gram = (z.T @ z if n >= d else z @ z.T) / n
    return float(xp.sum(gram * gram))


def ledoit_wolf_weight(z: Array) -> float:
    r"""Ledoit-Wolf weight towards the identity for standardised columns.

    .. math:: w = \min\left(1, \frac{\frac{1}{n^2} \sum_i \|z_i z_i^\top - R\|_F^2}{\|R - I\|_F^2}\right)

    Arguments:
        z: columns with mean 0 and variance 1, `(n, d)`, numpy or torch.

    References:
        Ledoit & Wolf, 2004, *A well-conditioned estimator for large-dimensional covariance matrices*,
        J. Multivariate Anal. 88, 365-411.

    Example:
        >>> import numpy as np
        >>> ledoit_wolf_weight(np.array([[1.0, 1.0], [-1.0, -1.0]] * 50))  # one direction, no noise to remove
        0.0
    """
    xp, (n, d) = array_namespace(z), z.shape
    square = _square_norm(z)
    lengths = xp.sum(z * z, axis=1)
    noise = (float(xp.sum(lengths * lengths)) / n - square) / n
    spread = square - d
    return 1.0 if spread <= 0 else min(1.0, max(0.0, noise / spread))


def oas_weight(z: Array) -> float:
    r"""Oracle-approximating weight towards the identity for standardised columns.

    .. math:: w = \min\left(1, \frac{(1 - 2/d) \|R\|_F^2 + d^2}{(n + 1 - 2/d) (\|R\|_F^2 - d)}\right)

    Arguments:
        z: columns with mean 0 and variance 1, `(n, d)`, numpy or torch.

    References:
        Chen, Wiesel, Eldar & Hero, 2010, *Shrinkage algorithms for MMSE covariance estimation*, IEEE Trans. Signal
        Process. 58, 5016-5029, equation 23.

    Example:
        >>> import numpy as np
        >>> round(oas_weight(np.array([[1.0, 1.0], [-1.0, -1.0]] * 50)), 6)  # 4 / (2 n)
        0.02
    """
    n, d = z.shape
    square = _square_norm(z)
    spread = square - d
    return 1.0 if spread <= 0 else min(1.0, ((1 - 2 / d) * square + d * d) / ((n + 1 - 2 / d) * spread))


def held_out_weight(z: Array, parts: int = 5, seed: int = 0) -> tuple[float, float]:
    r"""Weight with the highest cross-validated Gaussian log-likelihood, and its gain per sample over w = 1.

    .. math:: w = \arg\max_w \sum_i \log N\left(z_i;\, \bar z_{(-i)},\, (1 - w) R_{(-i)} + w I\right)

    with mean and correlation from the other folds. One eigendecomposition per fold serves all weights.

    Arguments:
        z: columns with mean 0 and variance 1, `(n, d)`, numpy or torch.
        parts: number of folds.
        seed: of the random folds.

    References:
        Friedman, 1989, *Regularized discriminant analysis*, J. Am. Stat. Assoc. 84, 165-175.

    Example:
        >>> import numpy as np
        >>> held_out_weight(np.array([[1.0, 1.0], [-1.0, -1.0]] * 50))[0] < 1e-3
        True
    """
    xp, (n, d) = array_namespace(z), z.shape
    spectra = []
    for train, test in folds(n, parts, seed):
        inside, outside = rows(z, train), rows(z, test)
        mean = xp.mean(inside, axis=0)
        inside, outside = inside - mean, outside - mean
        energy = float(xp.sum(outside * outside)) / len(test)
        if len(train) >= d:
            values, vectors = xp.linalg.eigh(inside.T @ inside / len(train))
        else:  # the other d - n eigenvalues are 0, and only their joint energy counts
            values, left = xp.linalg.eigh(inside @ inside.T / len(train))
            solid = values > 1e-12 * values[-1]
            values = values[solid]
            vectors = inside.T @ left[:, solid] / xp.sqrt(values * len(train))
        power = xp.mean((outside @ vectors) ** 2, axis=0)
        null = (d - values.shape[0], max(0.0, energy - float(xp.sum(power))))
        spectra.append((len(test) / n, xp.clip(values, 0.0, None), power, null))

    def loss(weights: list[float]) -> np.ndarray:
        """Twice the mean negative log-likelihood, less d log 2 pi, at every weight."""
        total = np.zeros(len(weights))
        for share, values, power, (count, energy) in spectra:
            w = xp.asarray(weights, dtype=values.dtype, device=device(values))[:, None]
            shrunk = (1 - w) * values + w
            terms = (
                xp.sum(xp.log(shrunk) + power / shrunk, axis=1) + count * xp.log(w[:, 0]) + energy / w[:, 0]
            )
            total += share * np.asarray(terms.tolist())
        return total

    coarse = loss(list(_GRID))
    best = int(coarse.argmin())
    fine = np.linspace(_GRID[max(best - 1, 0)], _GRID[min(best + 1, len(_GRID) - 1)], 33).tolist()
    scores = loss(fine)
    return float(fine[int(scores.argmin())]), float(coarse[-1] - scores.min()) / 2


@settings
class ShrunkGaussian:
    r"""Gaussian entropy, information or conditional information of a covariance shrunk towards its diagonal, in nats.

    .. math:: R_w = (1 - w) R + w I, \qquad \hat H = \tfrac{1}{2} \log |2 \pi e R_w| + \sum_j \log s_j, \qquad
       \hat I = \tfrac{1}{2} \left( \log|R_{w,x}| + \log|R_{w,y}| - \log|R_w| \right)

    with \(R\) the correlation of all arguments together and \(s_j\) the column deviations. It works for n <= d,
    where a sample covariance is singular.

    **Shrinkage hides spread-out signal.** A weight that suits a few strong directions erases many weak ones: 128
    independent channels that carry 2.0 nats together read 0.2 at n = 2000. So wherever n allows, the value without
    shrinkage but with the exact correction is in the diagnostics (`corrected`) and the flag "disagreement" is raised
    when the two are more than 3 of its standard errors apart. With fewer than 10 samples beyond d + 1 little checks the
    value, and "small-sample" is raised; "non-gaussian" as for `Gaussian`. The value bounds nothing in either
    direction, and no standard error is given: wrap it as `Subsampled(ShrunkGaussian())`, and mind that the weight falls as
    n grows.

    Arguments:
        shrinkage: `"ledoit-wolf"` or `"oas"` (closed forms for the squared error of the covariance), `"held-out"`
            (cross-validated Gaussian likelihood), or a weight in [0, 1]. The likelihood also weighs directions of
            tiny variance: on a low-rank embedding it keeps them, and with them the bias of the plug-in value.
        folds: of the held-out likelihood.
        seed: of these folds.

    Shapes:
        `x`: `(n, d)`, `y`: `(n, dy)`, `z`: `(n, dz)` with n >= 4, and n >= 2 folds for `"held-out"`. Numpy or torch.

    Raises:
        TypeError: for a discrete variable or an array that holds no real numbers.
        ValueError: for an unknown rule, a weight outside [0, 1], NaN, wrong shapes, unequal n, n too small, all
            columns constant, or a weight so small that the covariance stays singular.

    References:
        Ledoit & Wolf, 2004, J. Multivariate Anal. 88, 365-411. Chen, Wiesel, Eldar & Hero, 2010, IEEE Trans. Signal
        Process. 58, 5016-5029. Friedman, 1989, J. Am. Stat. Assoc. 84, 165-175.

    Example:
        >>> import numpy as np
        >>> x = np.random.default_rng(0).standard_normal((100, 300))
        >>> e = ShrunkGaussian(shrinkage="oas")(x[:, :150], x[:, 150:])
        >>> abs(e.value) < 0.01, e.flags
        (True, ('small-sample',))
    """

    shrinkage: str | float = "ledoit-wolf"
    folds: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        if isinstance(self.shrinkage, str):
            if self.shrinkage not in _RULES:
                raise ValueError(
                    f"shrinkage = {self.shrinkage!r} must be one of {_RULES} or a weight in [0, 1]"
                )
        elif not 0 <= self.shrinkage <= 1:
            raise ValueError(f"shrinkage = {self.shrinkage} must be a weight in [0, 1]")
        if self.folds < 2:
            raise ValueError(f"folds = {self.folds}: at least 2 are needed to hold rows out")

    def __call__(self, x: Array, y: Array | None = None, z: Array | None = None, /) -> Estimate:
        if y is None and z is not None:
            raise TypeError("ShrunkGaussian takes (x), (x, y) or (x, y, z): z was given without y")
        given = [s for s in (x, y, z) if s is not None]
        min_n = 2 * self.folds if self.shrinkage == "held-out" else 4
        parts, scales, dropped = prepared(*given, min_n=min_n)
        xp = array_namespace(parts[0])
        joint = xp.concat(parts, axis=1)
        n, d = joint.shape
        weight, numbers = self._weight(joint)
        cov = (1 - weight) * (joint.T @ joint) / n
        cov = cov + weight * xp.eye(d, dtype=cov.dtype, device=device(cov))
        dims = [s.shape[1] for s in parts]
        numbers |= {f"d{variable_name(i)}" if y is not None else "d": k for i, k in enumerate(dims)}
        if y is None:
            log_scales = float(xp.sum(xp.log(scales[0]))) + d / 2 * math.log(n / (n - 1))
            value = d / 2 * math.log(2 * math.pi * math.e) + self._half_log_det(cov) + log_scales
            quantity = "H(X)"
        else:
            dx, dy = dims[:2]
            xz = [*range(dx), *range(dx + dy, d)]
            value = self._half_log_det(cov[dx:, dx:]) - self._half_log_det(cov)
            value += self._half_log_det(cov[:dx, :dx] if z is None else cov[xz][:, xz])
            value -= 0.0 if z is None else self._half_log_det(cov[dx + dy :, dx + dy :])
            quantity = "I(X;Y)" if z is None else "I(X;Y|Z)"
            for i, part in enumerate(parts[:2]):
                numbers[f"effective_rank_{variable_name(i)}"] = participation_ratio(part)
        flags = merged(common_flags(parts[0], dropped), *(common_flags(s, 0) for s in parts[1:]))
        if n <= d + 1:
            flags = (*flags, "small-sample")
        elif not log_volume(joint)[1]:
            flags = (*flags, "rank-deficient")
        else:
            plain = Gaussian()(*given)
            numbers["corrected"] = plain.value
            numbers |= {key: v for key, v in plain.diagnostics.items() if key.startswith("departure")}
            flags = merged(flags, tuple(flag for flag in plain.flags if flag in _CHECKED))
            if plain.stderr is not None and abs(plain.value - value) > _DISAGREE * plain.stderr:
                flags = (*flags, "disagreement")
        return Estimate(
            value=value,
            quantity=quantity,
            n=n,
            method=repr(self),
            flags=flags,
            diagnostics={"dropped": dropped, **numbers},
        )

    def _weight(self, z: Array) -> tuple[float, dict[str, float]]:
        if not isinstance(self.shrinkage, str):
            return float(self.shrinkage), {"weight": self.shrinkage}
        if self.shrinkage == "held-out":
            weight, gain = held_out_weight(z, self.folds, self.seed)
            return weight, {"weight": weight, "held_out_gain": gain}
        weight = ledoit_wolf_weight(z) if self.shrinkage == "ledoit-wolf" else oas_weight(z)
        return weight, {"weight": weight}

    def _half_log_det(self, cov: Array) -> float:
        xp = array_namespace(cov)
        try:
            factor = xp.linalg.cholesky(cov)
        except (ValueError, RuntimeError):  # the LinAlgError of numpy and of torch
            raise ValueError(
                f"shrinkage = {self.shrinkage!r} leaves the {cov.shape[0]}-dimensional covariance singular; "
                "give a larger weight, or drop columns that are functions of others"
            ) from None
        return float(xp.sum(xp.log(xp.linalg.diagonal(factor))))
