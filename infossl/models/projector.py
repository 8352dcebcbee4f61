"""The projector: the head on which the loss is computed and which is thrown away after."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import nn

__all__ = ["projector"]


def projector(dims: Sequence[int], *, norm: bool = True, last_norm: bool = False) -> nn.Sequential:
    """A multilayer perceptron `dims[0] -> ... -> dims[-1]`, with batch normalisation and ReLU in between.

    Arguments:
        dims: dimensions from the input to the output.
        norm: normalise the hidden layers; DINO's heads do not.
        last_norm: normalise the output too, without a learned scale and shift, as SimSiam does.

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
        # A normalisation that follows would remove any bias.
        layers.append(nn.Linear(inputs, outputs, bias=not norm))
        layers += [nn.BatchNorm1d(outputs), nn.ReLU()] if norm else [nn.ReLU()]
    layers.append(nn.Linear(dims[-2], dims[-1], bias=not last_norm))
    if last_norm:
        layers.append(nn.BatchNorm1d(dims[-1], affine=False))
    return nn.Sequential(*layers)
