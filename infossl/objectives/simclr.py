"""SimCLR: the normalised temperature-scaled cross-entropy (NT-Xent)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from infossl.objectives import terms
from infossl.objectives.checks import check_finite, check_pair, check_settings, in_full_precision
from infossl.objectives.inputs import TWO_EMBEDDINGS
from infossl.objectives.loss import Loss

__all__ = ["SimCLR"]


@dataclass(frozen=True)
class SimCLR:
    r"""NT-Xent over the 2N views of a batch.

    .. math:: L = \frac{1}{2N} \sum_{i=1}^{2N} -\log
       \frac{\exp(\cos(z_i, z_{p(i)}) / \tau)}{\sum_{k \ne i} \exp(\cos(z_i, z_k) / \tau)}

    with p(i) the other view of the same image. An anchor is no candidate for itself; its positive is one of
    the 2N - 1. The terms are the two halves, L = attraction + repulsion: the mean of -cos(z_i, z_p(i)) / tau
    and the mean log-sum-exp. In full precision whatever the autocast.

    Values: log(2N - 1) at collapse, 6.2364 for N = 256. For N pairs of equal views, orthonormal across
    images: log(exp(1 / tau) + 2N - 2) - 1 / tau. For independent normal views in K dimensions, as K grows,
    log(2N - 1) as at collapse, with the two terms 0 and log(2N - 1).

    Arguments:
        temperature: \(\tau\), positive.

    Shapes:
        `z1`, `z2`: `(N, K)`, N >= 2; row i of both from one image. Normalised inside.

    Raises:
        TypeError: if an argument of the call is not a floating point tensor.
        ValueError: for shapes that differ or N < 2, and for a temperature that is not positive.
        FloatingPointError: if a term is not finite; it is named.

    References:
        Chen, Kornblith, Norouzi & Hinton, 2020, *A Simple Framework for Contrastive Learning of Visual
        Representations*.

    Example:
        >>> import torch
        >>> loss = SimCLR()(torch.ones(256, 4), torch.ones(256, 4))
        >>> round(float(loss.total), 4)
        6.2364
    """

    inputs: ClassVar[str] = TWO_EMBEDDINGS
    scale_free: ClassVar[bool] = True

    temperature: float = 0.2

    def __post_init__(self) -> None:
        check_settings(self, positive=("temperature",))

    def __call__(self, z1: Tensor, z2: Tensor) -> Loss:
        check_pair(z1, z2)
        with torch.autocast(z1.device.type, enabled=False):
            z1, z2 = in_full_precision(z1), in_full_precision(z2)
            logits, positive = terms.nt_xent_logits(z1, z2, self.temperature)
            attraction = -logits.gather(1, positive[:, None]).mean()
            repulsion = logits.logsumexp(dim=1).mean()
        return check_finite(Loss(attraction + repulsion, {"attraction": attraction, "repulsion": repulsion}))
