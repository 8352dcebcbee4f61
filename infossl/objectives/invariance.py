"""Invariance alone: the part that the entropy objectives add an entropy to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from infossl.objectives import terms
from infossl.objectives.checks import check_finite, check_pair, check_settings, in_full_precision
from infossl.objectives.inputs import TWO_EMBEDDINGS
from infossl.objectives.loss import Loss

__all__ = ["Invariance"]


@dataclass(frozen=True)
class Invariance:
    r"""The invariance term of VICReg and nothing against collapse.

    .. math:: L = \lambda \, \frac{1}{NK} \sum_{nk} (z_{nk} - z'_{nk})^2

    In full precision whatever the autocast.

    Values: 0 at collapse, which is its minimum; \(2 \lambda\) in expectation for independent standard normal
    views. Use it inside `LogDet`, `PairDist` or `KDE`, or alone to watch a collapse.

    Arguments:
        weight: \(\lambda\).

    Shapes:
        `z1`, `z2`: `(N, K)`, N >= 2; row i of both from one image.

    Raises:
        TypeError: if an argument of the call is not a floating point tensor.
        ValueError: for shapes that differ or N < 2, and for a negative weight.
        FloatingPointError: if a term is not finite; it is named.

    References:
        Bardes, Ponce & LeCun, 2022, *VICReg: Variance-Invariance-Covariance Regularization for
        Self-Supervised Learning*.

    Example:
        >>> import torch
        >>> float(Invariance()(torch.zeros(4, 2), torch.ones(4, 2)).total)
        25.0
    """

    inputs: ClassVar[str] = TWO_EMBEDDINGS
    scale_free: ClassVar[bool] = False

    weight: float = 25.0

    def __post_init__(self) -> None:
        check_settings(self, nonnegative=("weight",))

    def __call__(self, z1: Tensor, z2: Tensor) -> Loss:
        check_pair(z1, z2)
        with torch.autocast(z1.device.type, enabled=False):
            invariance = terms.invariance(in_full_precision(z1), in_full_precision(z2))
        return check_finite(Loss(self.weight * invariance, {"invariance": invariance}))
