"""Barlow Twins: the cross-correlation of two views made the identity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from infossl.objectives import terms
from infossl.objectives.checks import check_finite, check_pair, check_settings, in_full_precision
from infossl.objectives.inputs import TWO_EMBEDDINGS
from infossl.objectives.loss import Loss

__all__ = ["BarlowTwins"]


@dataclass(frozen=True)
class BarlowTwins:
    r"""Barlow Twins with the normalisation of the paper.

    .. math:: L = \sum_i (1 - C_{ii})^2 + \lambda \sum_{i \ne j} C_{ij}^2 \qquad
       C_{ij} = \frac{1}{N} \sum_n \frac{(z_{ni} - \bar z_i)(z'_{nj} - \bar z'_j)}
       {\sqrt{(\mathrm{Var}_i + \epsilon)(\mathrm{Var}'_j + \epsilon)}}

    with biased variances (1 / N), as batch normalisation has them. Sums over the dimensions: the loss grows
    with K, and solo-learn multiplies it by 0.025. The terms are the two sums. In full precision whatever the
    autocast.

    Values: K at collapse. For independent normal views the expected sums are K (1 + 1 / (N - 1)) and
    K (K - 1) / (N - 1); for equal normal views 0 and K (K - 1) / (N - 1), 63.7 for N = 256, K = 128.

    Arguments:
        redundancy: weight \(\lambda\) of the off-diagonal.
        eps: added to the variances.

    Shapes:
        `z1`, `z2`: `(N, K)`, N >= 2; row i of both from one image.

    Raises:
        TypeError: if an argument of the call is not a floating point tensor.
        ValueError: for shapes that differ or N < 2, and for a negative weight or eps.
        FloatingPointError: if a term is not finite; it is named.

    References:
        Zbontar, Jing, Misra, LeCun & Deny, 2021, *Barlow Twins: Self-Supervised Learning via Redundancy
        Reduction*.

    Example:
        >>> import torch
        >>> loss = BarlowTwins()(torch.ones(8, 4), torch.ones(8, 4))
        >>> float(loss.total), sorted(loss.terms)
        (4.0, ['invariance', 'redundancy'])
    """

    inputs: ClassVar[str] = TWO_EMBEDDINGS
    scale_free: ClassVar[bool] = True

    redundancy: float = 0.0051
    eps: float = 1e-5

    def __post_init__(self) -> None:
        check_settings(self, positive=("eps",), nonnegative=("redundancy",))

    def __call__(self, z1: Tensor, z2: Tensor) -> Loss:
        check_pair(z1, z2)
        with torch.autocast(z1.device.type, enabled=False):
            c = terms.cross_correlation(in_full_precision(z1), in_full_precision(z2), self.eps)
            invariance = (1 - c.diagonal()).square().sum()
            redundancy = terms.off_diagonal_squares(c)
            total = invariance + self.redundancy * redundancy
        return check_finite(Loss(total, {"invariance": invariance, "redundancy": redundancy}))
