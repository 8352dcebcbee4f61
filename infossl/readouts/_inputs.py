"""Checks shared by the readouts."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = ["checked"]


def checked(train_z: Any, train_y: Any, test_z: Any, test_y: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Features as float64 `(n, d)` and labels as int64 `(n,)`, on the device of the features.

    Raises:
        TypeError: if labels are not integers.
        ValueError: for shapes that do not belong together, NaN or inf.
    """
    train_z, train_y = _pair(train_z, train_y, "train")
    test_z, test_y = _pair(test_z, test_y, "test")
    if train_z.shape[1] != test_z.shape[1]:
        raise ValueError(
            f"train_z has shape {tuple(train_z.shape)} and test_z {tuple(test_z.shape)}: both need the same d"
        )
    return train_z, train_y, test_z, test_y


def _pair(z: Any, y: Any, part: str) -> tuple[Tensor, Tensor]:
    # Copies of arrays: torch cannot share memory that is read-only.
    z = torch.as_tensor(np.array(z)) if not isinstance(z, Tensor) else z.detach()
    y = torch.as_tensor(np.array(y) if not isinstance(y, Tensor) else y.detach(), device=z.device)
    if z.ndim != 2 or y.shape != z.shape[:1] or len(z) < 2:
        raise ValueError(
            f"{part}_z has shape {tuple(z.shape)} and {part}_y {tuple(y.shape)}: "
            "expected (n, d) and (n,) with n >= 2"
        )
    if y.is_floating_point() or y.is_complex():
        raise TypeError(f"{part}_y must be integers (n,), got {y.dtype}; pass {part}_y.long()")
    z = z.to(torch.float64)
    if not bool(torch.isfinite(z).all()):
        raise ValueError(f"{part}_z of shape {tuple(z.shape)} has NaN or inf; the encoder has diverged")
    return z, y.long()
