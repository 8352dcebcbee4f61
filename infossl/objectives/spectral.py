"""VICReg with a hard second moment: spectral contrastive learning at beta = 1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from infossl.objectives import terms
from infossl.objectives.checks import check_finite, check_pair, check_settings, in_full_precision
from infossl.objectives.inputs import TWO_EMBEDDINGS
from infossl.objectives.loss import Loss

__all__ = ["SpectralContrastive"]


@dataclass(frozen=True)
class SpectralContrastive:
    r"""VICReg as theory has it: a hard second moment in place of the hinge, and no centring.

    .. math:: L = \beta \, \frac{1}{N} \sum_n \|z_n - z'_n\|^2 + \|M - I\|_F^2 \qquad
       M = \frac{1}{2N} \sum_n (z_n z_n^\top + z'_n z_n'^\top)

    Sums over dimensions, not means. At \(\beta = 1\) it is, for the population, the spectral contrastive loss
    \(K - 2\, \mathbb E\, \psi(\xi)^\top \psi(\xi') + \mathbb E\, (\psi(\xi)^\top \psi(\eta))^2\), with
    \(\eta\) an independent view. In full precision whatever the autocast.

    **Optimum.** With \(\lambda_i\) the largest eigenvalues of the operator T of the augmentations,
    \(\langle f, T g \rangle = \mathbb E\, f(\xi) g(\xi')\), the embedding whose coordinates are
    \(\sqrt{\mu_i} f_i\), up to a rotation, with \(\mu_i = \max(0, 1 - \beta + \beta \lambda_i)\), attains

    .. math:: L^* = \sum_{i=1}^{K} (1 - \mu_i^2).

    Dimensions with \(\lambda_i \le 1 - 1 / \beta\) collapse. On a batch M is that of the sample, so that
    the expectation exceeds the population loss by the variance of M, of order \(K^2 / 2N\) for normal rows.

    Values: K at the collapse to 0, which is a critical point; K - 1 at the collapse to one unit vector. For
    independent standard normal views: invariance 2 K, second moment K (K + 1) / 2N in expectation.

    Arguments:
        beta: weight of the invariance.

    Shapes:
        `z1`, `z2`: `(N, K)`, N >= 2; row i of both from one image.

    Raises:
        TypeError: if an argument of the call is not a floating point tensor.
        ValueError: for shapes that differ or N < 2, and for a negative beta.
        FloatingPointError: if a term is not finite; it is named.

    References:
        Cabannes, Kiani, Balestriero, LeCun & Bietti, 2023, *The SSL Interplay: Augmentations, Inductive Bias, and
        Generalization*, arXiv:2302.02774. HaoChen, Wei, Gaidon & Ma, 2021, *Provable Guarantees for
        Self-Supervised Deep Learning with Spectral Contrastive Loss*.

    Example:
        >>> import torch
        >>> z = 2 * torch.eye(4)  # z z' has mean I
        >>> float(SpectralContrastive()(z, z).total)
        0.0
    """

    inputs: ClassVar[str] = TWO_EMBEDDINGS
    scale_free: ClassVar[bool] = False

    beta: float = 1.0

    def __post_init__(self) -> None:
        check_settings(self, nonnegative=("beta",))

    def __call__(self, z1: Tensor, z2: Tensor) -> Loss:
        check_pair(z1, z2)
        with torch.autocast(z1.device.type, enabled=False):
            z1, z2 = in_full_precision(z1), in_full_precision(z2)
            invariance = z1.shape[1] * terms.invariance(z1, z2)
            identity = torch.eye(z1.shape[1], dtype=z1.dtype, device=z1.device)
            second_moment = (terms.second_moment(z1, z2) - identity).square().sum()
            total = self.beta * invariance + second_moment
        return check_finite(Loss(total, {"invariance": invariance, "second_moment": second_moment}))
