"""Pre-norm transformer blocks and their initial weights."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["Attention", "Block", "initialise"]


class Attention(nn.Module):
    r"""Multi-head self-attention, \(\mathrm{softmax}(Q K^\top / \sqrt{d_h})\, V\) in every head.

    Shapes:
        `(N, T, width)` to the same.

    Raises:
        ValueError: if `heads` does not divide `width`.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"heads = {heads} must divide width = {width}")
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class Block(nn.Module):
    """x + attention(norm(x)), then x + MLP(norm(x)) with GELU.

    References:
        Dosovitskiy et al., 2021, *An Image is Worth 16x16 Words*, equations 2 and 3.
    """

    def __init__(self, width: int, heads: int, mlp_ratio: float = 4.0) -> None:
        super().__init__()
        hidden = round(width * mlp_ratio)
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attention = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.expand = nn.Linear(width, hidden)
        self.project = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.project(F.gelu(self.expand(self.norm2(x))))


def initialise(model: nn.Module) -> None:
    r"""Normal weights of standard deviation 0.02 and zero biases.

    The two maps of block l = 1, 2, ... that write into the residual stream are divided by \(\sqrt{2 l}\) after that, so
    that the stream does not grow with depth. Convolutions that embed patches have the standard deviation
    \(1 / \sqrt{\text{fan-in}}\), 0.036 for 16x16 patches in colour: patches of any size then weigh as much against their
    positions, whose numbers are of order 1.

    References:
        LeCun, Bottou, Orr & Müller, 1998, *Efficient BackProp*, section 4.6.
        Bao, Dong, Piao & Wei, 2022, *BEiT: BERT Pre-Training of Image Transformers*, section 2.5.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.normal_(module.weight, std=module.weight[0].numel() ** -0.5)
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.02)
        if isinstance(module, (nn.Conv2d, nn.Linear)) and module.bias is not None:
            nn.init.zeros_(module.bias)
    blocks = [module for module in model.modules() if isinstance(module, Block)]
    with torch.no_grad():
        for depth, block in enumerate(blocks, start=1):
            block.attention.out.weight.div_(math.sqrt(2 * depth))
            block.project.weight.div_(math.sqrt(2 * depth))
