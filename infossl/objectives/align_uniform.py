"""Alignment and uniformity on the sphere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from infossl.objectives import terms
from infossl.objectives.checks import check_finite, check_pair, check_settings, in_full_precision
from infossl.objectives.inputs import TWO_EMBEDDINGS
from infossl.objectives.loss import Loss

__all__ = ["AlignUniform"]


@dataclass(frozen=True)
class AlignUniform:
    r"""Alignment of the views and uniformity of each view on the unit sphere.

    .. math:: L = a \, \frac{1}{N} \sum_n \|\hat z_n - \hat z'_n\|^2 + u \, \frac{U(Z) + U(Z')}{2} \qquad
       U(Z) = \log \frac{2}{N (N - 1)} \sum_{i < j} e^{-t \|\hat z_i - \hat z_j\|^2}

    with \(\hat z = z / \|z\|\). -U is a kernel estimate of an entropy (the quadratic one of Renyi, up to a
    constant), so this is invariance and entropy on the sphere. In full precision whatever the autocast.

    Values: 0 at collapse. For independent normal views alignment is 2 in expectation, and uniformity at t = 2
    tends to -1.58, -3.08 and -3.94 in K = 2, 8 and 128 dimensions; its infimum is near -2 t.

    Arguments:
        alignment: weight a.
        uniformity: weight u.
        t: sharpness of the kernel, positive.

    Shapes:
        `z1`, `z2`: `(N, K)`, N >= 2; row i of both from one image. Normalised inside.

    Raises:
        TypeError: if an argument of the call is not a floating point tensor.
        ValueError: for shapes that differ or N < 2, and for negative weights or t.
        FloatingPointError: if a term is not finite; it is named.

    References:
        Wang & Isola, 2020, *Understanding Contrastive Representation Learning through Alignment and Uniformity
        on the Hypersphere*.

    Example:
        >>> import torch
        >>> loss = AlignUniform()(torch.eye(4), torch.eye(4))  # all squared distances 2
        >>> round(float(loss.total), 4)
        -4.0
    """

    inputs: ClassVar[str] = TWO_EMBEDDINGS
    scale_free: ClassVar[bool] = True

    alignment: float = 1.0
    uniformity: float = 1.0
    t: float = 2.0

    def __post_init__(self) -> None:
        check_settings(self, positive=("t",), nonnegative=("alignment", "uniformity"))

    def __call__(self, z1: Tensor, z2: Tensor) -> Loss:
        check_pair(z1, z2)
        with torch.autocast(z1.device.type, enabled=False):
            z1, z2 = in_full_precision(z1), in_full_precision(z2)
            alignment = terms.cosine_distance(z1, z2)
            uniformity = (terms.uniformity(z1, self.t) + terms.uniformity(z2, self.t)) / 2
            total = self.alignment * alignment + self.uniformity * uniformity
        return check_finite(Loss(total, {"alignment": alignment, "uniformity": uniformity}))
