r"""Log-determinant quantities with a floor: log-determinant mutual information and coding-rate entropy.

Both are defined for singular covariances, where Shannon's entropy and information of a Gaussian are infinite. They
are other quantities than these, and carry their own names.
"""

from __future__ import annotations

import math

from array_api_compat import array_namespace, device

from estimators._covariance import log_det
from estimators._result import Estimate
from estimators._samples import as_samples, drop_constant_columns, paired
from estimators._settings import settings
from estimators.protocols import Array

__all__ = ["LDMI", "LogDetEntropy", "ldmi", "log_det_entropy"]


def log_det_entropy(cov: Array, beta: float = 1.0) -> Array:
    r"""\(\frac{1}{2} \log |I + \beta C|\) in nats: information of a Gaussian with its copy in noise of variance \(1/\beta\).

    Differentiable for torch tensors, also at singular covariances, and never negative. From centred samples
    Z `(n, d)` the `(n, n)` matrix \(I + \frac{\beta}{n} Z Z^\top\) has the same determinant.

    Arguments:
        cov: covariance matrix `(d, d)`, numpy or torch.
        beta: inverse variance of the noise, positive.

    Raises:
        ValueError: if `cov` is not square, symmetric and positive semidefinite, or `beta` is not positive.

    References:
        Zhouyin & Liu, 2021, *Understanding neural networks with logarithm determinant entropy estimator*,
        arXiv:2105.03705. Ma, Derksen, Hong & Wright, 2007, IEEE Trans. Pattern Anal. Mach. Intell. 29, 1546-1562.

    Example:
        >>> import numpy as np
        >>> round(float(log_det_entropy(np.eye(2), beta=3.0)), 6)  # log 4
        1.386294
    """
    if not 0 < beta < math.inf:
        raise ValueError(f"beta = {beta} must be a finite positive number")
    return 0.5 * log_det(_identity_plus(beta * cov, 1.0), "I + beta cov")


def ldmi(cov: Array, dx: int, eps: float = 1e-6) -> Array:
    r"""Log-determinant mutual information in nats: \(\frac{1}{2} \log|C_x + \epsilon I| - \frac{1}{2} \log|C_e + \epsilon I|\).

    \(C_e = C_x - C_{xy} (C_y + \epsilon I)^{-1} C_{yx}\) is the error covariance of the regularised linear prediction
    of x from y. By Schur's complement it equals
    \(\frac{1}{2} (\log|C_x + \epsilon I| + \log|C_y + \epsilon I| - \log|C + \epsilon I|)\), which is how it is computed:
    the mutual information of a Gaussian (X, Y) after independent noise of variance \(\epsilon\) on every coordinate.
    Symmetric and differentiable for torch tensors.

    Arguments:
        cov: joint covariance `(dx + dy, dx + dy)`, numpy or torch, X first.
        dx: dimension of X, with 0 < dx < dx + dy.
        eps: variance of the noise, positive, in squared units of the data.

    Raises:
        ValueError: if `cov` is no covariance, `dx` does not split it, or `eps` is not positive.

    References:
        Erdogan, 2022, *An information maximization based blind source separation approach for dependent and
        independent sources*, ICASSP. Ozsoy et al., 2022, *Self-supervised learning with an information maximization
        criterion*, NeurIPS 35.

    Example:
        >>> import numpy as np
        >>> round(float(ldmi(np.array([[1.0, 0.5], [0.5, 1.0]]), 1, eps=1e-12)), 6)
        0.143841
    """
    if not 0 < eps < math.inf:
        raise ValueError(f"eps = {eps} must be a finite positive number")
    if not 0 < dx < cov.shape[0]:
        raise ValueError(
            f"dx = {dx} must split a covariance of shape {tuple(cov.shape)} in two: 0 < dx < {cov.shape[0]}"
        )
    noisy = _identity_plus(cov, eps)
    x, y = log_det(noisy[:dx, :dx], "cov[:dx, :dx]"), log_det(noisy[dx:, dx:], "cov[dx:, dx:]")
    return 0.5 * (x + y - log_det(noisy, "cov"))


def _identity_plus(cov: Array, scale: float) -> Array:
    xp = array_namespace(cov)
    return cov + scale * xp.eye(cov.shape[0], dtype=cov.dtype, device=device(cov))


def _centred(x: Array, name: str) -> tuple[Array, int]:
    x, dropped = drop_constant_columns(as_samples(x, name, min_n=4), name)
    return x - array_namespace(x).mean(x, axis=0), dropped


@settings
class LogDetEntropy:
    r"""Coding-rate entropy "LogDet H" of the sample covariance, in nats; it is not Shannon's entropy.

    .. math:: \hat H_\beta = \tfrac{1}{2} \log \left| I + \beta\, \tfrac{1}{n} Z^\top Z \right|

    with Z centred. It is never negative, finite for any n and any rank, and depends on the units of x: where
    \(\beta \lambda \gg 1\) in all directions it is the Gaussian entropy up to \(\frac{d}{2} \log(\beta / 2 \pi e)\).

    The value is the plug-in, as in the literature. The standard error is asymptotic for Gaussian data,
    \(\sqrt{\frac{1}{2 n} \sum_i (\beta \lambda_i / (1 + \beta \lambda_i))^2}\) (delta method).

    Arguments:
        beta: inverse variance of the noise, in inverse squared units of x; positive.

    Shapes:
        `x`: `(n, d)` with n >= 4. Numpy or torch. For n <= d the flag "small-sample" is raised.

    Raises:
        TypeError: for a discrete variable or an array that holds no real numbers.
        ValueError: for a `beta` that is not positive, NaN, wrong shapes, n too small, or all columns constant.

    References:
        Zhouyin & Liu, 2021, arXiv:2105.03705. Ma, Derksen, Hong & Wright, 2007, *Segmentation of multivariate mixed
        data via lossy data coding and compression*, IEEE Trans. Pattern Anal. Mach. Intell. 29, 1546-1562.

    Example:
        >>> import numpy as np
        >>> x = np.random.default_rng(0).standard_normal((5000, 4))
        >>> e = LogDetEntropy(beta=1.0)(x)  # 2 log 2 = 1.386 for N(0, I) in 4 dimensions
        >>> e.quantity, bool(abs(e.value - 2 * np.log(2)) < 3 * e.stderr)
        ('LogDet H', True)
    """

    beta: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.beta < math.inf:
            raise ValueError(f"beta = {self.beta} must be a finite positive number")

    def __call__(self, x: Array, /) -> Estimate:
        z, dropped = _centred(x, "x")
        xp, (n, d) = array_namespace(z), z.shape
        gram = (z.T @ z if n >= d else z @ z.T) / n
        rates = self.beta * xp.clip(xp.linalg.eigvalsh(gram), 0.0, None)
        share = rates / (1 + rates)
        flags = ("constant-columns",) if dropped else ()
        return Estimate(
            value=0.5 * float(xp.sum(xp.log1p(rates))),
            quantity="LogDet H",
            n=n,
            method=repr(self),
            stderr=math.sqrt(float(xp.sum(share * share)) / (2 * n)) or None,
            flags=(*flags, "small-sample") if n <= d else flags,
            diagnostics={"d": d, "dropped": dropped, "resolved_dimensions": float(xp.sum(share))},
        )


@settings
class LDMI:
    r"""Log-determinant mutual information "LDMI" of sample covariances, in nats; it is not Shannon's information.

    .. math:: \hat I_\epsilon = \tfrac{1}{2} \log|C_x + \epsilon I| - \tfrac{1}{2} \log|C_e + \epsilon I|, \qquad
       C_e = C_x - C_{xy} (C_y + \epsilon I)^{-1} C_{yx}

    It measures linear dependence only and is finite for any n and any rank. For jointly Gaussian variables it is at
    most I(X;Y), at the true covariance, and tends to it as eps falls. It depends on the units of the data: eps is a
    variance beside theirs, so standardise first to compare layers.

    The value is the plug-in, as in the literature; independent data read about `chance` =
    \(\frac{1}{2 n} \sum_i \frac{\lambda_i}{\lambda_i + \epsilon} \sum_j \frac{\mu_j}{\mu_j + \epsilon}\)
    (\(\lambda, \mu\) the spectra of \(C_x, C_y\)). The flag "small-sample" is raised when that is more than what
    remains of the value without it, or when n <= dx + dy. No standard error is given; use `Subsampled`.

    Arguments:
        eps: variance of the noise, in squared units of the data; positive.

    Shapes:
        `x`: `(n, dx)`, `y`: `(n, dy)` with n >= 4. Numpy or torch.

    Raises:
        TypeError: for a discrete variable or an array that holds no real numbers.
        ValueError: for an `eps` that is not positive, NaN, wrong shapes, unequal n, n too small, or all columns constant.

    References:
        Erdogan, 2022, *An information maximization based blind source separation approach for dependent and
        independent sources*, ICASSP. Ozsoy et al., 2022, *Self-supervised learning with an information maximization
        criterion*, NeurIPS 35.

    Example:
        >>> import numpy as np
        >>> x, noise = np.random.default_rng(0).standard_normal((2, 5000, 1))
        >>> e = LDMI(eps=1e-6)(x, x + noise)  # 0.5 log 2 = 0.347
        >>> e.quantity, abs(e.value - 0.347) < 0.03
        ('LDMI', True)
    """

    eps: float = 1e-6

    def __post_init__(self) -> None:
        if not 0 < self.eps < math.inf:
            raise ValueError(f"eps = {self.eps} must be a finite positive number")

    def __call__(self, x: Array, y: Array, /) -> Estimate:
        (x, dropped_x), (y, dropped_y) = _centred(x, "x"), _centred(y, "y")
        paired(x, y)
        xp, n = array_namespace(x), x.shape[0]
        dx, dy = x.shape[1], y.shape[1]
        joint = xp.concat([x, y], axis=1)
        value = float(ldmi(joint.T @ joint / n, dx, self.eps))
        share_x, share_y = _resolved(x, self.eps), _resolved(y, self.eps)
        chance = share_x * share_y / (2 * n)
        scatter = math.sqrt(share_x * share_y / 2) / n  # of the plug-in at independence
        flags = ("constant-columns",) if dropped_x + dropped_y else ()
        if n <= dx + dy or chance > max(abs(value - chance), 2 * scatter):
            flags = (*flags, "small-sample")
        return Estimate(
            value=value,
            quantity="LDMI",
            n=n,
            method=repr(self),
            flags=flags,
            diagnostics={"dx": dx, "dy": dy, "dropped": dropped_x + dropped_y, "chance": chance},
        )


def _resolved(z: Array, eps: float) -> float:
    """How many directions stand out of the noise: the sum of lambda / (lambda + eps)."""
    xp = array_namespace(z)
    values = xp.clip(
        xp.linalg.eigvalsh((z.T @ z if z.shape[0] >= z.shape[1] else z @ z.T) / z.shape[0]), 0.0, None
    )
    return float(xp.sum(values / (values + eps)))
