"""SwAV: codes of one view predicted from the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from infossl.objectives import terms
from infossl.objectives.checks import check_finite, check_pair, check_settings, in_full_precision
from infossl.objectives.inputs import TWO_SCORES
from infossl.objectives.loss import Loss

__all__ = ["SwAV"]


@dataclass(frozen=True)
class SwAV:
    r"""Swapped prediction of soft assignments to prototypes.

    .. math:: L = \frac{1}{2N} \sum_n H(q_n, p'_n) + H(q'_n, p_n) \qquad p_n = \mathrm{softmax}(s_n / \tau)

    with cross-entropies H in nats, scores \(s_{nk} = \cos(z_n, c_k)\) to K prototypes, and codes q from a few
    Sinkhorn-Knopp iterations on \(e^{s / \epsilon}\) over the whole batch, which share the samples out evenly.
    No gradient flows to the codes. The prototypes belong to the method. In full precision whatever the
    autocast.

    Values: log K where the scores of a sample are equal for all prototypes, which is chance, and also where
    both views collapse. It is never below the entropy of the codes.

    Arguments:
        temperature: \(\tau\) of the prediction, positive.
        eps: \(\epsilon\), the softness of the codes, positive.
        iterations: of Sinkhorn-Knopp.

    Shapes:
        `scores1`, `scores2`: `(N, K)`, N >= 2; row i of both from one image.

    Raises:
        TypeError: if an argument of the call is not a floating point tensor.
        ValueError: for shapes that differ or N < 2, and for settings that are not positive.
        FloatingPointError: if a term is not finite; it is named.

    References:
        Caron, Misra, Mairal, Goyal, Bojanowski & Joulin, 2020, *Unsupervised Learning of Visual Features by
        Contrasting Cluster Assignments*. Cuturi, 2013, *Sinkhorn Distances*.

    Example:
        >>> import torch
        >>> loss = SwAV()(torch.zeros(8, 3000), torch.zeros(8, 3000))
        >>> round(float(loss.total), 4)  # log 3000
        8.0064
    """

    inputs: ClassVar[str] = TWO_SCORES

    temperature: float = 0.1
    eps: float = 0.05
    iterations: int = 3

    def __post_init__(self) -> None:
        check_settings(self, positive=("temperature", "eps"), counts=("iterations",))

    def __call__(self, scores1: Tensor, scores2: Tensor) -> Loss:
        check_pair(scores1, scores2, ("scores1", "scores2"))
        with torch.autocast(scores1.device.type, enabled=False):
            s1, s2 = in_full_precision(scores1), in_full_precision(scores2)
            q1, q2 = (terms.sinkhorn(s.detach(), self.eps, self.iterations) for s in (s1, s2))
            swapped = (
                terms.cross_entropy(q1, s2 / self.temperature)
                + terms.cross_entropy(q2, s1 / self.temperature)
            ) / 2
        return check_finite(Loss(swapped, {"cross_entropy": swapped}))
