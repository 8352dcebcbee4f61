"""W-MSE: the distance of whitened embeddings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from infossl.objectives import terms
from infossl.objectives.checks import check_finite, check_pair, check_settings, in_full_precision
from infossl.objectives.inputs import TWO_EMBEDDINGS
from infossl.objectives.loss import Loss

__all__ = ["WMSE"]


@dataclass(frozen=True)
class WMSE:
    r"""Squared distance of the directions of whitened embeddings.

    .. math:: L = \frac{1}{N} \sum_n 2 - 2 \cos(w_n, w'_n) \qquad w_n = L_b^{-1} (z_n - \bar z_b)
       \qquad L_b L_b^\top = (1 - \epsilon) C_b + \epsilon I

    where mean and unbiased covariance \(C_b\) are those of one view in the sub-batch b of row n, and \(L_b\) is
    a Cholesky factor. Sub-batches are `size` consecutive rows: shuffle the batch, as data loaders do. In
    full precision whatever the autocast.

    Values: in [0, 4]; 0 for equal views, 2 in expectation for independent ones. There is no value at collapse:
    the covariance is singular, and FloatingPointError names the term, unless eps > 0, which gives 2.

    Arguments:
        size: rows of a sub-batch, at least K + 1 where eps = 0, and better 2 K; None for the whole batch.
        eps: share of the identity in the covariance, in [0, 1).

    Shapes:
        `z1`, `z2`: `(N, K)`, N a multiple of `size`; row i of both from one image.

    Raises:
        TypeError: if an argument of the call is not a floating point tensor.
        ValueError: for shapes that differ or N < 2, and for sub-batches that do not divide N or are too small for K.
        FloatingPointError: if a term is not finite; it is named.

    References:
        Ermolov, Siarohin, Sangineto & Sebe, 2021, *Whitening for Self-Supervised Representation Learning*.

    Example:
        >>> import torch
        >>> z = torch.tensor([[1.0], [3.0], [4.0], [9.0]])
        >>> float(WMSE()(z, 5 - 2 * z).total), float(WMSE(size=2)(z, z).total)
        (4.0, 0.0)
    """

    inputs: ClassVar[str] = TWO_EMBEDDINGS
    scale_free: ClassVar[bool] = True

    size: int | None = None
    eps: float = 0.0

    def __post_init__(self) -> None:
        if self.size is not None:
            check_settings(self, counts=("size",))
        check_settings(self, nonnegative=("eps",))
        if self.eps >= 1:
            raise ValueError(f"eps = {self.eps} must be below 1: it is the share of the identity")

    def __call__(self, z1: Tensor, z2: Tensor) -> Loss:
        check_pair(z1, z2)
        n, k = z1.shape
        size = n if self.size is None else self.size
        if n % size or size < 2:
            raise ValueError(f"z1 has shape {(n, k)}: N must be a multiple of size = {size}, with size >= 2")
        if self.eps == 0 and size <= k:
            raise ValueError(
                f"z1 has shape {(n, k)}: the covariance of {size} rows is singular in {k} dimensions; use "
                f"sub-batches of size >= {2 * k}, fewer dimensions, or eps > 0"
            )
        with torch.autocast(z1.device.type, enabled=False):
            w1, w2 = (
                terms.whitened(in_full_precision(z).reshape(-1, size, k), self.eps).reshape(n, k)
                for z in (z1, z2)
            )
            distance = terms.cosine_distance(w1, w2)
        return check_finite(Loss(distance, {"distance": distance}))
