"""SimSiam: the negative cosine of a prediction and a target without gradient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from infossl.objectives import terms
from infossl.objectives.checks import check_finite, check_pair, in_full_precision
from infossl.objectives.inputs import PREDICTION_AND_TARGET
from infossl.objectives.loss import Loss

__all__ = ["SimSiam"]


@dataclass(frozen=True)
class SimSiam:
    r"""Negative cosine similarity of prediction and target, in one direction.

    .. math:: L = -\frac{1}{N} \sum_n \cos(p_n, z_n)

    No gradient flows to the target. The loss of the paper is the mean of both directions,
    `over_pairs(SimSiam(), [(p1, z2), (p2, z1)])`. It is half of `BYOL`, less 1. In full precision whatever the
    autocast.

    Values: in [-1, 1]; -1 at collapse, which is its minimum, 0 in expectation for independent normal inputs.

    Shapes:
        `prediction`, `target`: `(N, K)`, N >= 1; row i of both from one image. Normalised inside.

    Raises:
        TypeError: if an argument of the call is not a floating point tensor.
        ValueError: for shapes that differ.
        FloatingPointError: if a term is not finite; it is named.

    References:
        Chen & He, 2021, *Exploring Simple Siamese Representation Learning*.

    Example:
        >>> import torch
        >>> float(SimSiam()(torch.ones(4, 2), 3 * torch.ones(4, 2)).total)
        -1.0
    """

    inputs: ClassVar[str] = PREDICTION_AND_TARGET
    scale_free: ClassVar[bool] = True

    def __call__(self, prediction: Tensor, target: Tensor) -> Loss:
        check_pair(prediction, target, ("prediction", "target"), min_n=1)
        with torch.autocast(prediction.device.type, enabled=False):
            distance = terms.cosine_distance(
                in_full_precision(prediction), in_full_precision(target).detach()
            )
            similarity = 1 - distance / 2
        return check_finite(Loss(-similarity, {"similarity": similarity}))
