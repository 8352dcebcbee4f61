"""Prototypes: learned directions that embeddings are scored against."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["Prototypes"]


class Prototypes(nn.Module):
    r"""Cosine scores \(s_k = \langle z / |z|, c_k / |c_k| \rangle\) of embeddings against K directions.

    The directions are normalised where they are used, so nothing has to be projected back after an optimizer step.

    Shapes:
        `(N, dim)` to `(N, count)`, values in [-1, 1].

    References:
        Caron et al., 2020, *Unsupervised Learning of Visual Features by Contrasting Cluster Assignments*.

    Example:
        >>> Prototypes(4, 3)(torch.ones(2, 4)).shape
        torch.Size([2, 3])
    """

    def __init__(self, dim: int, count: int) -> None:
        super().__init__()
        if count < 2:
            raise ValueError(f"count = {count}: there must be at least two prototypes")
        self.dim = count
        self.weight = nn.Parameter(torch.randn(count, dim) / dim**0.5)

    def forward(self, z: Tensor) -> Tensor:
        return F.linear(F.normalize(z, dim=1), F.normalize(self.weight, dim=1))
