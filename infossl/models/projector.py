"""The projector: the head on which the loss is computed and which is thrown away after."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import nn

__all__ = ["projector"]


def projector(dims: Sequence[int]) -> nn.Sequential:
    """A multilayer perceptron `dims[0] -> ... -> dims[-1]`, with batch normalisation and ReLU in between.

    Raises:
        ValueError: if fewer than two dimensions are given.

    Example:
        >>> sum(p.numel() for p in projector((4, 8, 2)).parameters())
        66
    """
    if len(dims) < 2:
        raise ValueError(f"dims = {tuple(dims)}: a projector needs an input and an output dimension")
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(dims[:-1]):
        # The normalisation that follows removes any bias.
        layers += [nn.Linear(inputs, outputs, bias=False), nn.BatchNorm1d(outputs), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(dims[-2], dims[-1]))
