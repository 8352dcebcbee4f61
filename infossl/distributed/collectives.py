"""Collectives through which gradients flow, each with the transpose of its forward pass as backward pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import once_differentiable

from infossl.distributed.world import control_device, world

__all__ = ["all_pieces", "averaged", "gather", "gathered", "reduce_mean", "require_equal", "summed"]

_DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.uint8)
_SLOTS = 10


def gather(z: Tensor) -> Tensor:
    r"""The rows of all ranks, in the order of ranks, with gradients.

    .. math:: Z = (z_1, \dots, z_W) \qquad
       \frac{\partial}{\partial z_r} \sum_s L_s = \sum_s \left( \frac{\partial L_s}{\partial Z} \right)_r

    The sum over ranks in the backward pass, in float32 for half precision, is what makes averaged gradients of
    parameters right.

    Arguments:
        z: rows of this rank; of any memory layout, also integers such as labels.

    Shapes:
        `(n, ...)` to `(W n, ...)`; the same n on all ranks.

    Raises:
        ValueError: on all ranks alike, if shapes or types differ between them; if z has no rows.

    References:
        Li et al., 2020, *PyTorch Distributed: Experiences on Accelerating Data Parallel Training*.

    Example:
        >>> gather(torch.arange(3))
        tensor([0, 1, 2])
    """
    if world().size == 1:
        return z
    require_equal("z has shape and type", (*z.shape,), z.dtype)
    if z.ndim == 0 or len(z) == 0:
        raise ValueError(f"z has shape {tuple(z.shape)}: there must be at least one row on each rank")
    gathered_rows: Tensor = _Gather.apply(z)
    return gathered_rows


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor) -> Tensor:
        return all_pieces(z).flatten(0, 1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        here = world()
        return summed(grad).unflatten(0, (here.size, -1))[here.rank].to(grad.dtype)


def reduce_mean(x: Tensor) -> Tensor:
    r"""Mean over ranks, on all of them, with gradients.

    .. math:: \bar x = \frac{1}{W} \sum_r x_r \qquad
       \frac{\partial}{\partial x_r} \sum_s L_s = \frac{1}{W} \sum_s \frac{\partial L_s}{\partial \bar x}

    Arguments:
        x: a floating point tensor, of the same shape on all ranks.

    Raises:
        TypeError: if x is not floating point.
        ValueError: on all ranks alike, if shapes or types differ between them.

    Example:
        >>> reduce_mean(torch.tensor(2.0))
        tensor(2.)
    """
    if not x.is_floating_point():
        raise TypeError(f"x must be a floating point tensor, got {x.dtype}: use x.float()")
    if world().size == 1:
        return x
    require_equal("x has shape and type", (*x.shape,), x.dtype)
    mean: Tensor = _Mean.apply(x)
    return mean


class _Mean(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return (summed(x) / world().size).to(x.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return (summed(grad) / world().size).to(grad.dtype)


def gathered(objective: Callable[..., Any]) -> Callable[..., Any]:
    """The objective on the global batch: its first two arguments are gathered, the others are equal on all ranks.

    The first two are rows of images in all protocols of objectives; what may follow is a centre or directions. In one
    process this is the objective itself.

    Arguments:
        objective: `(a, b, *others) -> Loss`.

    Example:
        >>> gathered(max) is max
        True
    """
    if world().size == 1:
        return objective

    def on_all_rows(a: Tensor, b: Tensor, *others: Tensor) -> Any:
        return objective(gather(a), gather(b), *others)

    return on_all_rows


def averaged(objective: Callable[..., Any]) -> Callable[..., Any]:
    """The objective on the rows of this rank, then its mean over ranks: for objectives that are means over images.

    It gives what `gathered` gives, and sends one number for each term instead of the rows. In one process this is the
    objective itself.

    Arguments:
        objective: `(*rows) -> Loss`.
    """
    if world().size == 1:
        return objective

    def mean_of_ranks(*rows: Tensor) -> Any:
        loss = objective(*rows)
        # One message; a term may be the total itself.
        total, *terms = reduce_mean(torch.stack([loss.total, *loss.terms.values()])).unbind()
        return loss._replace(total=total, terms=dict(zip(loss.terms, terms, strict=True)))

    return mean_of_ranks


def all_pieces(x: Tensor) -> Tensor:
    """What each rank has, `(W, ...)`, without gradient. Shapes must be equal."""
    # The result is laid out anew and x made contiguous: backends copy memory, whatever the strides say.
    pieces = torch.empty((world().size, *x.shape), dtype=x.dtype, device=x.device)
    dist.all_gather(list(pieces.unbind()), x.detach().contiguous())
    return pieces


def summed(x: Tensor) -> Tensor:
    """Sum over ranks without gradient, in float32 at least; x is left as it is."""
    wide = torch.float32 if x.dtype in (torch.float16, torch.bfloat16) else x.dtype
    total = x.detach().to(wide, copy=True, memory_format=torch.contiguous_format)
    dist.all_reduce(total)
    return total


def require_equal(what: str, numbers: tuple[int, ...], dtype: torch.dtype | None = None) -> None:
    """Raises on all ranks if numbers or types differ between them, where a collective would hang or mix up memory."""
    kind = -1 if dtype is None else _DTYPES.index(dtype) if dtype in _DTYPES else len(_DTYPES)
    # Of fixed length, so that this exchange cannot itself be of unequal sizes.
    own = [kind, len(numbers), *numbers][:_SLOTS]
    message = torch.tensor(own + [0] * (_SLOTS - len(own)), device=control_device())
    pieces = all_pieces(message).tolist()
    if any(piece != pieces[0] for piece in pieces):
        named = [
            f"{tuple(numbers[:count])}{f' {_DTYPES[kind]}' if 0 <= kind < len(_DTYPES) else ''} on rank {rank}"
            for rank, (kind, count, *numbers) in enumerate(pieces)
        ]
        raise ValueError(
            f"{what} {', '.join(named)}: they must be equal; deal a global batch with share(batch)"
        )
