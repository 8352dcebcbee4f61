"""Slow, readable twins of the objectives: one sample and one dimension at a time."""

from __future__ import annotations

import torch
from torch import Tensor


def vicreg(z1: Tensor, z2: Tensor, weights: tuple[float, float, float], gamma: float, eps: float) -> Tensor:
    """25 inv + 25 (v1 + v2) / 2 + (c1 + c2), written out by index."""
    n, k = z1.shape
    inv = sum((z1[i, j] - z2[i, j]) ** 2 for i in range(n) for j in range(k)) / (n * k)
    var, cov = torch.zeros((), dtype=z1.dtype), torch.zeros((), dtype=z1.dtype)
    for z in (z1, z2):
        mean = [sum(z[i, j] for i in range(n)) / n for j in range(k)]
        c = [
            [sum((z[i, a] - mean[a]) * (z[i, b] - mean[b]) for i in range(n)) / (n - 1) for b in range(k)]
            for a in range(k)
        ]
        for a in range(k):
            missing = gamma - (c[a][a] + eps) ** 0.5
            if missing > 0:
                var = var + missing / k / 2
            for b in range(k):
                if a != b:
                    cov = cov + c[a][b] ** 2 / k
    return weights[0] * inv + weights[1] * var + weights[2] * cov


def nt_xent(z1: Tensor, z2: Tensor, temperature: float) -> Tensor:
    """Mean over 2N anchors of -log(positive / sum over all others)."""
    z = [row / row.square().sum().sqrt() for row in torch.cat([z1, z2])]
    total = torch.zeros((), dtype=z1.dtype)
    for i in range(len(z)):
        positive = (i + len(z1)) % len(z)
        weight = [torch.exp((z[i] * z[k]).sum() / temperature) for k in range(len(z))]
        total = total - torch.log(weight[positive] / sum(w for k, w in enumerate(weight) if k != i))
    return total / len(z)
