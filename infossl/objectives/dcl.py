"""Decoupled contrastive learning: NT-Xent without the positive among the candidates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from infossl.objectives import terms
from infossl.objectives.checks import check_finite, check_pair, check_settings, in_full_precision
from infossl.objectives.inputs import TWO_EMBEDDINGS
from infossl.objectives.loss import Loss

__all__ = ["DCL"]


@dataclass(frozen=True)
class DCL:
    r"""Decoupled contrastive loss over the 2N views of a batch.

    .. math:: L = \frac{1}{2N} \sum_{i=1}^{2N} \left[ -\cos(z_i, z_{p(i)}) / \tau
       + \log \sum_{k \ne i, p(i)} \exp(\cos(z_i, z_k) / \tau) \right]

    with p(i) the other view of the same image: the 2N - 2 views of other images are the candidates. Without
    the positive among them, the gradient of a pair does not fade as the pair is told apart, and small batches
    lose less. L = attraction + repulsion, as for `SimCLR`. In full precision whatever the autocast.

    Values: log(2N - 2) - 1 / tau + 1 / tau = log(2N - 2) at collapse, 6.2344 for N = 256. For N pairs of
    equal views, orthonormal across images: log(2N - 2) - 1 / tau. For independent normal views, as K grows,
    log(2N - 2) with the terms 0 and log(2N - 2).

    Arguments:
        temperature: \(\tau\), positive.

    Shapes:
        `z1`, `z2`: `(N, K)`, N >= 2; row i of both from one image. Normalised inside.

    Raises:
        TypeError: if an argument of the call is not a floating point tensor.
        ValueError: for shapes that differ or N < 2, and for a temperature that is not positive.
        FloatingPointError: if a term is not finite; it is named.

    References:
        Yeh, Hong, Hsu, Liu, Chen & LeCun, 2022, *Decoupled Contrastive Learning*.

    Example:
        >>> import torch
        >>> loss = DCL()(torch.ones(256, 4), torch.ones(256, 4))
        >>> round(float(loss.total), 4)
        6.2344
    """

    inputs: ClassVar[str] = TWO_EMBEDDINGS
    scale_free: ClassVar[bool] = True

    temperature: float = 0.1

    def __post_init__(self) -> None:
        check_settings(self, positive=("temperature",))

    def __call__(self, z1: Tensor, z2: Tensor) -> Loss:
        check_pair(z1, z2)
        with torch.autocast(z1.device.type, enabled=False):
            z1, z2 = in_full_precision(z1), in_full_precision(z2)
            logits, positive = terms.nt_xent_logits(z1, z2, self.temperature)
            attraction = -logits.gather(1, positive[:, None]).mean()
            others = logits.masked_fill(terms.same_image(z1.shape[0], z1.device), -torch.inf)
            repulsion = others.logsumexp(dim=1).mean()
        return check_finite(Loss(attraction + repulsion, {"attraction": attraction, "repulsion": repulsion}))
