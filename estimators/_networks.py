"""ReLU networks in torch whose parameters are rows of one flat matrix `(S, P)`, for S trainings at once."""

from __future__ import annotations

import math
from collections.abc import Collection
from itertools import pairwise

import torch
from torch import Tensor

__all__ = ["initial", "layer_shapes", "mlp", "skip", "unpack"]


def layer_shapes(sizes: list[int]) -> list[tuple[int, ...]]:
    """Weights `(in, out)` and biases `(out,)` of the layers between these widths."""
    return [shape for a, b in pairwise(sizes) for shape in ((a, b), (b,))]


def initial(shapes: list[tuple[int, ...]], seeds: list[int], small: Collection[int]) -> Tensor:
    """He-normal weights and zero biases `(S, P)`; the weights numbered in `small` start at 0.3 of that."""
    chosen = {k % len(shapes) for k in small}
    rows = []
    for seed in seeds:
        generator = torch.Generator("cpu").manual_seed(seed)
        parts = []
        for k, shape in enumerate(shapes):
            if len(shape) == 1:
                parts.append(torch.zeros(shape, dtype=torch.float32, device="cpu"))
                continue
            weights = torch.randn(shape, generator=generator, dtype=torch.float32, device="cpu")
            weights = weights * math.sqrt(2 / shape[0])
            parts.append(weights * 0.3 if k in chosen else weights)
        rows.append(torch.cat([part.reshape(-1) for part in parts]))
    return torch.stack(rows)


def unpack(flat: Tensor, shapes: list[tuple[int, ...]]) -> list[Tensor]:
    """The parameters one by one: weights `(S, in, out)` and biases `(S, 1, out)`."""
    parts = flat.split([math.prod(shape) for shape in shapes], dim=1)
    return [part.reshape(len(flat), -1, shape[-1]) for part, shape in zip(parts, shapes, strict=True)]


def mlp(x: Tensor, parts: list[Tensor]) -> Tensor:
    """Layers with ReLU between them: `(S, n, in)` to `(S, n, out)`."""
    for k in range(0, len(parts), 2):
        x = torch.baddbmm(parts[k + 1], x if k == 0 else x.relu(), parts[k])
    return x


def skip(x: Tensor, parts: list[Tensor]) -> Tensor:
    """A linear path beside the hidden layers: linear dependence, the easiest to learn, is learnt first."""
    return x @ parts[0] + mlp(x, parts[1:])
