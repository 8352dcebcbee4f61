"""MMCR: the nuclear norm of the centroids of the views."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from infossl.objectives.checks import check_finite, check_pair, check_settings, in_full_precision
from infossl.objectives.inputs import TWO_EMBEDDINGS
from infossl.objectives.loss import Loss

__all__ = ["MMCR"]


@dataclass(frozen=True)
class MMCR:
    r"""Maximum manifold capacity: wide centroids, and, where weighted, small manifolds.

    .. math:: L = -\|C\|_* + \lambda \, \frac{1}{N} \sum_n \left\| \begin{pmatrix} \hat z_n \\ \hat z'_n
       \end{pmatrix} \right\|_* \qquad C_n = \frac{\hat z_n + \hat z'_n}{2}

    with nuclear norms and \(\hat z = z / \|z\|\). The norm of the two views of an image is
    \((\|\hat z - \hat z'\| + \|\hat z + \hat z'\|) / \sqrt 2\), between \(\sqrt 2\) (equal) and 2
    (orthogonal). The terms are the two norms. In full precision whatever the autocast.

    Values: \(\lambda \sqrt 2 - \sqrt N\) at collapse. The minimum at \(\lambda = 0\) is \(-\sqrt{N \min(N, K)}\),
    with equal views and C of equal singular values. For independent normal views, as N grows beyond K,
    \(\|C\|_*\) tends to \(\sqrt{N K / 2}\).

    Arguments:
        local: weight \(\lambda\); the paper finds 0 enough.

    Shapes:
        `z1`, `z2`: `(N, K)`, N >= 2; row i of both from one image. Normalised inside.

    Raises:
        TypeError: if an argument of the call is not a floating point tensor.
        ValueError: for shapes that differ or N < 2, and for a negative weight.
        FloatingPointError: if a term is not finite; it is named.

    References:
        Yerxa, Kuang, Simoncelli & Chung, 2023, *Learning Efficient Coding of Natural Images with Maximum Manifold
        Capacity Representations*, arXiv:2303.03307.

    Example:
        >>> import torch
        >>> round(float(MMCR()(torch.ones(16, 4), torch.ones(16, 4)).total), 4)
        -4.0
    """

    inputs: ClassVar[str] = TWO_EMBEDDINGS
    scale_free: ClassVar[bool] = True

    local: float = 0.0

    def __post_init__(self) -> None:
        check_settings(self, nonnegative=("local",))

    def __call__(self, z1: Tensor, z2: Tensor) -> Loss:
        check_pair(z1, z2)
        with torch.autocast(z1.device.type, enabled=False):
            z1, z2 = (F.normalize(in_full_precision(z), dim=1) for z in (z1, z2))
            centroids = (z1 + z2) / 2
            # The singular value decomposition refuses NaN with a message about convergence; the guard names it.
            known = bool(torch.isfinite(centroids.detach()).all())
            capacity = torch.linalg.svdvals(centroids).sum() if known else centroids.sum()
            # vector_norm has the subgradient 0 at 0, where the views are equal.
            norms = torch.linalg.vector_norm(z1 - z2, dim=1) + torch.linalg.vector_norm(z1 + z2, dim=1)
            local = norms.mean() / math.sqrt(2)
            total = self.local * local - capacity
        return check_finite(Loss(total, {"capacity": capacity, "local": local}))
