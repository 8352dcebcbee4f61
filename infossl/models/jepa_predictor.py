"""The predictor of I-JEPA: from tokens that were seen to tokens at places that were not."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from infossl.models.positions import sincos_positions
from infossl.models.transformer import Block, initialise

__all__ = ["TokenPredictor"]


class TokenPredictor(nn.Module):
    """A narrow transformer over context tokens and mask tokens; each target block is predicted by itself.

    A mask token is one learned vector plus the position of what it stands for. The M target blocks of an image do not see
    each other: they are M sequences with the same context.

    Arguments:
        dim: width of the encoder's tokens, in and out.
        grid: rows and columns of patches.
        width: of the predictor, a multiple of 4.
        depth: blocks.
        heads: attention heads.

    Shapes:
        Tokens `(N, K, dim)` with their places `(N, K)`, and places to predict `(N, M, T)`, to predictions `(N, M T, dim)`,
        block after block.

    References:
        Assran et al., 2023, *Self-Supervised Learning from Images with a Joint-Embedding Predictive Architecture*.

    Example:
        >>> model = TokenPredictor(8, (4, 4), width=8, depth=1, heads=2)
        >>> context = torch.arange(3).expand(2, 3)
        >>> model(torch.zeros(2, 3, 8), context, torch.zeros(2, 4, 5, dtype=torch.int64)).shape
        torch.Size([2, 20, 8])
    """

    positions: Tensor

    def __init__(
        self, dim: int, grid: tuple[int, int], *, width: int = 384, depth: int = 6, heads: int = 12
    ) -> None:
        super().__init__()
        self.dim = dim
        self.embed = nn.Linear(dim, width)
        self.mask_token = nn.Parameter(torch.zeros(width))
        positions = sincos_positions(*grid, width).to(self.embed.weight.device)
        self.register_buffer("positions", positions, persistent=False)
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.out = nn.Linear(width, dim)
        initialise(self)
        nn.init.normal_(self.mask_token, std=0.02)

    def forward(self, tokens: Tensor, context: Tensor, targets: Tensor) -> Tensor:
        seen = self.embed(tokens)
        positions = self.positions.to(seen.dtype)
        seen = seen + positions[context]
        asked = self.mask_token.to(seen.dtype) + positions[targets.flatten(0, 1)]
        blocks = targets.shape[1]
        sequence = torch.cat([seen.repeat_interleave(blocks, dim=0), asked], dim=1)
        predicted = self.norm(self.blocks(sequence))[:, -targets.shape[2] :]
        return self.out(predicted).unflatten(0, (-1, blocks)).flatten(1, 2)
