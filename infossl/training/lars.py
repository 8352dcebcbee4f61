"""LARS: a learning rate for every layer, in proportion to its weights over its gradient. torch has none."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

__all__ = ["LARS"]


class LARS(Optimizer):
    r"""Stochastic gradient descent with momentum and layer-wise adaptive rates.

    .. math:: \lambda = \eta \, \frac{\|w\|}{\|g\| + \beta \|w\|}, \qquad
       v \leftarrow m v + \gamma \lambda (g + \beta w), \qquad w \leftarrow w - v

    for each parameter tensor w with gradient g. Where w or g is all zero, and in groups with `adapt=False`, as is usual for
    biases and normalisation, :math:`\lambda = 1`. The norms are computed in float32 at least. The code that VICReg and
    Barlow Twins were published with divides by the norm of g + beta w instead and multiplies by the learning rate
    outside the momentum: not the same in warm-up, nor where decay and gradient are of one size.

    Arguments:
        params: parameters, or groups of them; a group may set `lr`, `momentum`, `weight_decay`, `trust` and `adapt`.
        lr: learning rate gamma.
        momentum: m, in [0, 1).
        weight_decay: beta.
        trust: eta.
        adapt: whether rates are layer-wise.

    Raises:
        ValueError: for a setting out of its range.

    References:
        You, Gitman & Ginsburg, 2017, *Large Batch Training of Convolutional Networks*, algorithm 1.

    Example:
        >>> w = torch.nn.Parameter(torch.tensor([[3.0, 4.0]]))
        >>> w.grad = torch.tensor([[0.0, 2.0]])
        >>> LARS([w], lr=1.0, trust=0.1).step()  # a step of 0.1 of the norm of w, 5
        >>> w.data
        tensor([[3.0000, 3.5000]])
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        *,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        trust: float = 1e-3,
        adapt: bool = True,
    ) -> None:
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum = {momentum} must be in [0, 1)")
        for name, value in (("lr", lr), ("weight_decay", weight_decay)):
            if not value >= 0:
                raise ValueError(f"{name} = {value} must not be negative")
        if not trust > 0:
            raise ValueError(f"trust = {trust} must be positive")
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "weight_decay": weight_decay,
            "trust": trust,
            "adapt": adapt,
        }
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One step on the gradients that are there; parameters without one stay."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    self._move(p, p.grad, group)
        return loss

    def _move(self, w: Tensor, g: Tensor, group: dict[str, Any]) -> None:
        decay = group["weight_decay"]
        rate: Tensor | float = group["lr"]
        if group["adapt"]:
            dtype = torch.promote_types(w.dtype, torch.float32)
            of_w, of_g = (torch.linalg.vector_norm(t, dtype=dtype) for t in (w, g))
            scaled = group["trust"] * of_w / (of_g + decay * of_w)
            rate = rate * torch.where((of_w > 0) & (of_g > 0), scaled, torch.ones_like(scaled)).to(w.dtype)
        state = self.state[w]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(w)
        v = state["momentum"].mul_(group["momentum"]).add_(g.add(w, alpha=decay) * rate)
        w.sub_(v)
