"""Fixed two-dimensional positions of patches."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["sincos_positions"]


def sincos_positions(rows: int, columns: int, width: int, *, base: float = 10000.0) -> Tensor:
    r"""Sine-cosine embeddings of a grid of patches, in raster order.

    With q = width / 4 and frequencies \(\omega_k = \mathrm{base}^{-k / q}\), k = 0, ..., q - 1, the patch in row r
    and column c has

    .. math:: [\sin c\omega, \cos c\omega, \sin r\omega, \cos r\omega],

    so that the first half tells the column and the second half the row, and every row has the norm
    \(\sqrt{\mathrm{width} / 2}\).

    Shapes:
        Returns `(rows * columns, width)`.

    Raises:
        ValueError: if `width` is not a multiple of 4.

    References:
        Vaswani et al., 2017, *Attention Is All You Need*, section 3.5.
        Chen, Xie & He, 2021, *An Empirical Study of Training Self-Supervised Vision Transformers*.

    Example:
        >>> sincos_positions(1, 2, 4)
        tensor([[0.0000, 1.0000, 0.0000, 1.0000],
                [0.8415, 0.5403, 0.0000, 1.0000]])
    """
    if width % 4 or width < 4:
        raise ValueError(
            f"width = {width} must be a positive multiple of 4: sine and cosine of row and column"
        )
    quarter = width // 4
    # In double precision, so that large grids lose nothing; always computed on the CPU, whatever the default device.
    k = torch.arange(quarter, dtype=torch.float64, device="cpu")
    frequency = base ** (-k / quarter)
    place = torch.arange(rows * columns, dtype=torch.float64, device="cpu")
    column, row = (place % columns)[:, None] * frequency, (place // columns)[:, None] * frequency
    return torch.cat([column.sin(), column.cos(), row.sin(), row.cos()], dim=1).float()
