"""Critic networks f(x, y) in torch, for several independent trainings at once."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from estimators._networks import initial, layer_shapes, mlp, skip, unpack

__all__ = ["Critic"]


@dataclass(frozen=True)
class Critic:
    """A function f(x, y): `separable`, g(x) . h(y), `joint`, one network of both, or `bilinear`, (x, 1) W (y, 1).

    The parameters are not kept here but passed as one flat matrix `(S, P)`.
    """

    kind: str
    dx: int
    dy: int
    hidden: int
    layers: int
    embed: int

    def shapes(self) -> list[tuple[int, ...]]:
        """Weights `(in, out)` and biases `(out,)`, in the order of the flat matrix."""
        hidden = [self.hidden] * self.layers
        if self.kind == "bilinear":
            return [(self.dx + 1, self.dy + 1)]
        if self.kind == "joint":
            # The first layer of a network of (x, y) is a sum, so it is computed per sample and not per pair.
            return [
                (self.dx, self.hidden),
                (self.dy, self.hidden),
                (self.hidden,),
                *layer_shapes([*hidden, 1]),
            ]
        return [
            shape
            for d in (self.dx, self.dy)
            for shape in [(d, self.embed), *layer_shapes([d, *hidden, self.embed])]
        ]

    def initial(self, seeds: list[int]) -> Tensor:
        """First weights `(S, P)`; output layers start small, and with them the scores."""
        shapes = self.shapes()
        half = len(shapes) // 2
        last = {"joint": [-2], "bilinear": [0], "separable": [0, half - 2, half, -2]}[self.kind]
        return initial(shapes, seeds, last)

    def embeddings(self, flat: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """What depends on one sample only: `(S, n, e)` for x and for y."""
        parts = unpack(flat, self.shapes())
        if self.kind == "bilinear":
            return _with_one(x) @ parts[0], _with_one(y)
        if self.kind == "joint":
            return torch.baddbmm(parts[2], x, parts[0]), y @ parts[1]
        half = len(parts) // 2
        return skip(x, parts[:half]) / math.sqrt(self.embed), skip(y, parts[half:])

    def matrix(self, flat: Tensor, a: Tensor, b: Tensor) -> Tensor:
        """Scores of all pairs `(S, m, n)` from embeddings `(S, m, e)` and `(S, n, e)`."""
        if self.kind != "joint":
            return a @ b.mT
        return self._head(flat, a[:, :, None, :] + b[:, None, :, :])

    def matched(self, flat: Tensor, a: Tensor, b: Tensor) -> Tensor:
        """Scores of the pairs as they are, `(S, n)`."""
        return self._head(flat, a + b) if self.kind == "joint" else (a * b).sum(-1)

    def pairs(self, flat: Tensor, a: Tensor, b: Tensor, shifts: int) -> tuple[Tensor, Tensor, int]:
        """Scores of matched pairs `(S, n)`, of others `(S, ..., n)`, and how many others each sample has.

        `others[:, ..., i]` are scores of x_i. A joint critic takes circular shifts of y against x; the others
        all unmatched pairs, with -inf on the diagonal.
        """
        n = a.shape[-2]
        if self.kind != "joint":
            scores = self.matrix(flat, a, b)
            matched = scores.diagonal(dim1=-2, dim2=-1)
            others = torch.diagonal_scatter(scores, torch.full_like(matched, -math.inf), dim1=-2, dim2=-1)
            return matched, others.mT, n - 1
        shifts = min(shifts, n - 1)
        rolled = torch.stack([b.roll(-shift, dims=1) for shift in range(shifts + 1)], dim=1)
        scores = self._head(flat, a[:, None] + rolled)
        return scores[:, 0], scores[:, 1:], shifts

    def _head(self, flat: Tensor, first: Tensor) -> Tensor:
        hidden = mlp(first.relu().flatten(1, -2), unpack(flat, self.shapes())[3:])
        return hidden.reshape(first.shape[:-1])


def _with_one(x: Tensor) -> Tensor:
    return torch.cat([x, torch.ones_like(x[..., :1])], dim=-1)
