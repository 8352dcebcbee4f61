"""VICReg: variance, invariance and covariance regularisation."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from infossl.objectives import terms
from infossl.objectives.loss import Loss

__all__ = ["VICReg"]


@dataclass(frozen=True)
class VICReg:
    r"""VICReg with the normalisation of the authors' code.

    .. math:: L = \lambda \, \frac{1}{NK} \sum_{nk} (z_{nk} - z'_{nk})^2
       + \mu \, \frac{v(Z) + v(Z')}{2} + \nu \, (c(Z) + c(Z'))

    .. math:: v(Z) = \frac{1}{K} \sum_k \max(0, \gamma - \sqrt{\mathrm{Var}_k(Z) + \epsilon}) \qquad
       c(Z) = \frac{1}{K} \sum_{i \ne j} C(Z)_{ij}^2

    with variance and covariance unbiased (1 / (N - 1)). The paper prints \(v(Z) + v(Z')\), twice as much; the
    authors' code halves it, and the weights 25, 25, 1 belong to that. In full precision whatever the
    autocast.

    Values: \(\mu (\gamma - \sqrt{\epsilon})\) = 24.75 at collapse (all embeddings equal). For independent
    standard normal views the expected terms are: invariance 2, covariance 2 (K - 1) / (N - 1), and a
    variance term that falls with N; at N = 256, K = 64 the loss is about 50.8.

    Arguments:
        invariance: weight \(\lambda\).
        variance: weight \(\mu\).
        covariance: weight \(\nu\).
        gamma: target standard deviation of every dimension.
        eps: added to the variance under the root.

    Shapes:
        `z1`, `z2`: `(N, K)`, N >= 2; row i of both from one image.

    Raises:
        TypeError: if an argument of the call is not a floating point tensor.
        ValueError: for shapes that differ or N < 2, and for negative weights.
        FloatingPointError: if a term is not finite; it is named.

    References:
        Bardes, Ponce & LeCun, 2022, *VICReg: Variance-Invariance-Covariance Regularization for
        Self-Supervised Learning*.

    Example:
        >>> import torch
        >>> loss = VICReg()(torch.ones(8, 4), torch.ones(8, 4))
        >>> round(float(loss.total), 4), sorted(loss.terms)
        (24.75, ['covariance', 'invariance', 'variance'])
    """

    invariance: float = 25.0
    variance: float = 25.0
    covariance: float = 1.0
    gamma: float = 1.0
    eps: float = 1e-4

    def __post_init__(self) -> None:
        for name in ("invariance", "variance", "covariance", "eps"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} = {getattr(self, name)} must not be negative")
        if not self.gamma > 0:
            raise ValueError(f"gamma = {self.gamma} must be positive: it is the target standard deviation")

    def __call__(self, z1: Tensor, z2: Tensor) -> Loss:
        terms.check_pair(z1, z2)
        with torch.autocast(z1.device.type, enabled=False):
            z1, z2 = terms.in_full_precision(z1), terms.in_full_precision(z2)
            invariance = terms.invariance(z1, z2)
            hinges = [terms.variance_hinge(z, self.gamma, self.eps) for z in (z1, z2)]
            variance = (hinges[0] + hinges[1]) / 2
            covariance = terms.covariance(z1) + terms.covariance(z2)
            total = self.invariance * invariance + self.variance * variance + self.covariance * covariance
        return terms.check_finite(
            Loss(total, {"invariance": invariance, "variance": variance, "covariance": covariance})
        )
