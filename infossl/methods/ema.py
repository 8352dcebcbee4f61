"""Target networks: copies that follow a network as an exponential moving average."""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from torch import nn

__all__ = ["ema_update", "target_of"]

M = TypeVar("M", bound=nn.Module)


def target_of(online: M) -> M:
    """A copy with the same weights that no gradient reaches."""
    return copy.deepcopy(online).requires_grad_(False)


@torch.no_grad()
def ema_update(target: nn.Module, online: nn.Module, momentum: float) -> None:
    r"""Moves the parameters of the target, \(\bar\theta \leftarrow m \bar\theta + (1 - m)\, \theta\).

    Exact at m = 0 and m = 1. Buffers are left alone: running statistics of a normalisation belong to the target's own
    forward passes, and an average of variances of two networks is the variance of neither.

    Raises:
        ValueError: if the momentum is not in [0, 1], or the two modules have other parameters.

    Example:
        >>> online, target = nn.Linear(1, 1), nn.Linear(1, 1)
        >>> _ = [nn.init.constant_(p, v) for m, v in ((online, 1.0), (target, 0.0)) for p in m.parameters()]
        >>> ema_update(target, online, 0.75)
        >>> target.bias.item()
        0.25
    """
    if not 0 <= momentum <= 1:
        raise ValueError(f"momentum = {momentum} must be in [0, 1]")
    followed, leading = dict(target.named_parameters()), dict(online.named_parameters())
    if followed.keys() != leading.keys():
        raise ValueError(
            f"target and online differ in the parameters {sorted(followed.keys() ^ leading.keys())}: "
            "make the target with target_of(online)"
        )
    for name, parameter in followed.items():
        parameter.lerp_(leading[name].to(parameter.dtype), 1 - momentum)
