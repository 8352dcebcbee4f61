"""Optimizers by name: `parse("LARS(trust=0.01)", OPTIMIZERS)(groups, lr)`; AdamW and SGD are torch's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from infossl.training import lars

__all__ = ["LARS", "OPTIMIZERS", "SGD", "AdamW", "parameter_groups"]


@dataclass(frozen=True, kw_only=True)
class AdamW:
    """Adam with decoupled weight decay; each step moves a weight by about the learning rate.

    References:
        Loshchilov & Hutter, 2019, *Decoupled Weight Decay Regularization*.
    """

    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8

    def __call__(self, groups: list[dict[str, Any]], lr: float) -> Optimizer:
        return torch.optim.AdamW(groups, lr=lr, betas=self.betas, eps=self.eps)


@dataclass(frozen=True, kw_only=True)
class SGD:
    """Stochastic gradient descent with momentum; weight decay is added to the gradient."""

    momentum: float = 0.9
    nesterov: bool = False

    def __call__(self, groups: list[dict[str, Any]], lr: float) -> Optimizer:
        return torch.optim.SGD(groups, lr=lr, momentum=self.momentum, nesterov=self.nesterov)


@dataclass(frozen=True, kw_only=True)
class LARS:
    """Momentum with a rate for every layer, in proportion to its weights over its gradient; for large batches.

    References:
        You, Gitman & Ginsburg, 2017, *Large Batch Training of Convolutional Networks*.
    """

    momentum: float = 0.9
    trust: float = 1e-3

    def __call__(self, groups: list[dict[str, Any]], lr: float) -> Optimizer:
        adapting, plain = groups
        chosen = [{**adapting, "adapt": True}, {**plain, "adapt": False}]
        return lars.LARS(chosen, lr, momentum=self.momentum, trust=self.trust)


OPTIMIZERS: dict[str, Callable[..., Any]] = {"AdamW": AdamW, "SGD": SGD, "LARS": LARS}
"""Names for `estimators.parse(text, OPTIMIZERS)`."""


def parameter_groups(method: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """What is trained in two groups: weights, which decay; biases and normalisation, which do not."""
    trained = [p for p in method.parameters() if p.requires_grad]
    return [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
