"""`Loss`: what every objective returns."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

__all__ = ["Loss"]


class Loss(NamedTuple):
    """A total to differentiate and its terms, unweighted and still tensors."""

    total: Tensor
    terms: dict[str, Tensor]
