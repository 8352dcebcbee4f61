"""Slow twins of the transformer models: loops and plain softmax, from the weights alone, in double precision."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def position(row: int, column: int, width: int) -> list[float]:
    """Sine-cosine position of one patch, number by number."""
    values = []
    for place in (column, row):
        for wave in (math.sin, math.cos):
            for k in range(width // 4):
                values.append(wave(place / 10000 ** (k / (width // 4))))
    return values


def layer_norm(
    x: Tensor, weight: Tensor | float = 1.0, bias: Tensor | float = 0.0, eps: float = 1e-6
) -> Tensor:
    mean = x.mean(-1, keepdim=True)
    variance = (x - mean).square().mean(-1, keepdim=True)
    return (x - mean) / (variance + eps).sqrt() * weight + bias


def blocks(
    x: Tensor, state: dict[str, Tensor], name: str, depth: int, heads: int, hidden: Tensor | None
) -> Tensor:
    """Pre-norm blocks; no token attends to those that are hidden `(N, T)`."""
    for i in range(depth):
        p = {k.removeprefix(f"{name}.{i}."): v for k, v in state.items() if k.startswith(f"{name}.{i}.")}
        y = layer_norm(x, p["norm1.weight"], p["norm1.bias"])
        q, k, v = (y @ p["attention.qkv.weight"].T + p["attention.qkv.bias"]).chunk(3, dim=2)
        size, out = x.shape[2] // heads, []
        for h in range(heads):
            part = slice(h * size, (h + 1) * size)
            logits = q[..., part] @ k[..., part].transpose(1, 2) / math.sqrt(size)
            if hidden is not None:
                logits = logits.masked_fill(hidden[:, None, :], -math.inf)
            out.append(logits.softmax(2) @ v[..., part])
        x = x + torch.cat(out, 2) @ p["attention.out.weight"].T + p["attention.out.bias"]
        y = layer_norm(x, p["norm2.weight"], p["norm2.bias"])
        y = F.gelu(y @ p["expand.weight"].T + p["expand.bias"])
        x = x + y @ p["project.weight"].T + p["project.bias"]
    return layer_norm(
        x, state[name.replace("blocks", "norm") + ".weight"], state[name.replace("blocks", "norm") + ".bias"]
    )


def tokens(model: nn.Module, x: Tensor, patch: int, heads: int, hidden: Tensor | None = None) -> Tensor:
    """All tokens of a `VisionTransformer`; with `hidden`, nothing attends to those patches."""
    state = {k: v.double() for k, v in model.state_dict().items()}
    kernel = state["embed.weight"].flatten(1)
    found = []
    for row in range(x.shape[2] // patch):
        for column in range(x.shape[3] // patch):
            at = x[:, :, row * patch : (row + 1) * patch, column * patch : (column + 1) * patch]
            embedded = at.double().flatten(1) @ kernel.T + state["embed.bias"]
            found.append(embedded + torch.tensor(position(row, column, kernel.shape[0])))
    depth = len(model.blocks)
    return blocks(torch.stack(found, 1), state, "blocks", depth, heads, hidden)


def predictions(
    model: nn.Module, seen: Tensor, context: Tensor, targets: Tensor, columns: int, heads: int
) -> Tensor:
    """What a `TokenPredictor` says, one target block after the other."""
    state = {k: v.double() for k, v in model.state_dict().items()}
    width = state["mask_token"].shape[0]

    def at(places: Tensor) -> Tensor:
        return torch.tensor([[position(*divmod(int(j), columns), width) for j in row] for row in places])

    base = seen.double() @ state["embed.weight"].T + state["embed.bias"] + at(context)
    found = []
    for i in range(targets.shape[1]):
        asked = state["mask_token"] + at(targets[:, i])
        y = blocks(torch.cat([base, asked], 1), state, "blocks", len(model.blocks), heads, None)
        found.append(y[:, context.shape[1] :] @ state["out.weight"].T + state["out.bias"])
    return torch.cat(found, 1)
