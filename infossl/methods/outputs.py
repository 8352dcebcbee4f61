"""What every method gives and offers."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

from infossl.objectives import Loss

__all__ = ["Outputs", "Taps", "block_taps", "dim_of"]

Taps = tuple[tuple[str, str, str], ...]
"""`(module name, role, pool)` of what a recorder should see, from the input up."""


class Outputs(NamedTuple):
    """What one training step gives: the loss, and h of both views `(2N, d)` for an online probe."""

    loss: Loss
    h: Tensor


def block_taps(encoder: nn.Module, name: str = "encoder") -> Taps:
    """The blocks of an encoder, where it has a sequence of them in `blocks`.

    Where h is nothing but the pooled output of the last block (`encoder.h_is_last_block`), that block is left out. The pool
    `"auto"` is the mean over space for maps and the mean over tokens for tokens.
    """
    blocks = getattr(encoder, "blocks", ())
    named = [(f"{name}.blocks.{i}", f"block{i + 1}", "auto") for i in range(len(blocks))]
    if named and getattr(encoder, "h_is_last_block", False):
        named.pop()
    return tuple(named)


def dim_of(encoder: nn.Module) -> int:
    """The dimension of what an encoder returns, its attribute `dim`.

    Raises:
        TypeError: if it has none.
    """
    dim = getattr(encoder, "dim", None)
    if not isinstance(dim, int):
        raise TypeError(
            f"encoder {type(encoder).__name__} has no integer attribute dim: set encoder.dim to the dimension of h, "
            "or build the heads yourself and call the method's class"
        )
    return dim
