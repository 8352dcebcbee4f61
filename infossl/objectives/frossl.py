"""FroSSL: invariance, and the matrix entropy of the covariance of each view."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from estimators.kernel import matrix_entropy
from infossl.objectives.checks import check_finite, check_pair, check_settings, in_full_precision
from infossl.objectives.inputs import TWO_EMBEDDINGS
from infossl.objectives.loss import Loss

__all__ = ["FroSSL"]


@dataclass(frozen=True)
class FroSSL:
    r"""Log squared Frobenius norm of the trace-normalised second moment: a matrix entropy of order 2.

    .. math:: L = \lambda \, \frac{1}{2N} \|\hat Z - \hat Z'\|_F^2 - S_2(\hat Z) - S_2(\hat Z') \qquad
       S_2(\hat Z) = -\log \frac{\|\hat Z^\top \hat Z\|_F^2}{(\mathrm{tr}\, \hat Z^\top \hat Z)^2}

    where every column of Z is scaled to length 1 over the batch, without centring. The first is the authors'
    V K times the mean squared distance from the mean of V = 2 views. \(S_2\) in nats, between 0 and
    log min(N, K); the term `entropy` is the mean of the two. In full precision whatever the autocast.

    Values: 0 at collapse. For independent normal views entropy is log K - log(1 + (K - 1) / N) to first
    order, and invariance K / N.

    Arguments:
        invariance: weight \(\lambda\).

    Shapes:
        `z1`, `z2`: `(N, K)`, N >= 2; row i of both from one image. Columns are normalised inside.

    Raises:
        TypeError: if an argument of the call is not a floating point tensor.
        ValueError: for shapes that differ or N < 2, and for a negative weight.
        FloatingPointError: if a term is not finite; it is named.

    References:
        Skean, Dhakal, Jacobs & Sanchez Giraldo, 2024, *FroSSL: Frobenius Norm Minimization for Efficient
        Multiview Self-Supervised Learning*, arXiv:2310.02903. Sanchez Giraldo, Rao & Principe, 2015, *Measures
        of entropy from data using infinitely divisible kernels*, IEEE Trans. Inf. Theory 61, 535-548.

    Example:
        >>> import torch
        >>> loss = FroSSL()(torch.eye(4), torch.eye(4))
        >>> round(float(loss.total), 4)  # -2 log 4
        -2.7726
    """

    inputs: ClassVar[str] = TWO_EMBEDDINGS
    scale_free: ClassVar[bool] = True

    invariance: float = 1.0

    def __post_init__(self) -> None:
        check_settings(self, nonnegative=("invariance",))

    def __call__(self, z1: Tensor, z2: Tensor) -> Loss:
        check_pair(z1, z2)
        with torch.autocast(z1.device.type, enabled=False):
            z1, z2 = (F.normalize(in_full_precision(z), dim=0) for z in (z1, z2))
            invariance = (z1 - z2).square().sum() / (2 * z1.shape[0])
            entropy = (_entropy(z1) + _entropy(z2)) / 2
            total = self.invariance * invariance - 2 * entropy
        return check_finite(Loss(total, {"invariance": invariance, "entropy": entropy}))


def _entropy(z: Tensor) -> Tensor:
    n, k = z.shape
    gram = z.T @ z if k <= n else z @ z.T  # the two have the same norm and trace
    if not bool(gram.trace() > 0):  # NaN, or all columns zero: there is no spectrum
        return gram.sum() * torch.nan
    return matrix_entropy(gram, alpha=2.0).to(z.dtype)
