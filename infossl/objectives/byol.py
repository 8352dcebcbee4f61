"""BYOL: the distance of a prediction from a target without gradient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from infossl.objectives import terms
from infossl.objectives.checks import check_finite, check_pair, in_full_precision
from infossl.objectives.inputs import PREDICTION_AND_TARGET
from infossl.objectives.loss import Loss

__all__ = ["BYOL"]


@dataclass(frozen=True)
class BYOL:
    r"""Squared distance of the directions of prediction and target, in one direction.

    .. math:: L = \frac{1}{N} \sum_n \left\| \frac{p_n}{\|p_n\|} - \frac{t_n}{\|t_n\|} \right\|^2
       = \frac{1}{N} \sum_n 2 - 2 \cos(p_n, t_n)

    No gradient flows to the target. Both directions are `over_pairs(BYOL(), [(p1, t2), (p2, t1)])`, their
    mean; the paper adds them, which is twice as much. In full precision whatever the autocast.

    Values: in [0, 4]; 0 at collapse, which is its minimum, 2 in expectation for independent normal inputs. The
    loss alone tells nothing about collapse.

    Shapes:
        `prediction`, `target`: `(N, K)`, N >= 1; row i of both from one image. Normalised inside.

    Raises:
        TypeError: if an argument of the call is not a floating point tensor.
        ValueError: for shapes that differ.
        FloatingPointError: if a term is not finite; it is named.

    References:
        Grill et al., 2020, *Bootstrap Your Own Latent: A New Approach to Self-Supervised Learning*.

    Example:
        >>> import torch
        >>> float(BYOL()(torch.eye(2), torch.eye(2).flip(0)).total)
        2.0
    """

    inputs: ClassVar[str] = PREDICTION_AND_TARGET
    scale_free: ClassVar[bool] = True

    def __call__(self, prediction: Tensor, target: Tensor) -> Loss:
        check_pair(prediction, target, ("prediction", "target"), min_n=1)
        with torch.autocast(prediction.device.type, enabled=False):
            distance = terms.cosine_distance(
                in_full_precision(prediction), in_full_precision(target).detach()
            )
        return check_finite(Loss(distance, {"distance": distance}))
