"""Pools: how one layer's output becomes one row per sample. Never implicit: every row says which."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

__all__ = ["POOLS", "cls", "flatten", "gap", "mean_tokens", "pool_named"]


def flatten(output: Tensor) -> Tensor:
    """`(n, ...)` to `(n, d)`, all values kept."""
    return output.flatten(1) if output.ndim > 1 else output[:, None]


def gap(output: Tensor) -> Tensor:
    """Global average pool: `(n, c, ...)` to `(n, c)`, the mean over space."""
    if output.ndim < 3:
        raise ValueError(
            f"pool 'gap' needs an output (n, c, ...) with space, got {tuple(output.shape)}; use 'flatten'"
        )
    return output.flatten(2).mean(2)


def mean_tokens(output: Tensor) -> Tensor:
    """`(n, t, d)` to `(n, d)`: the mean over all tokens, a class token included."""
    if output.ndim != 3:
        raise ValueError(
            f"pool 'mean_tokens' needs tokens (n, t, d), got {tuple(output.shape)}; use 'gap' or 'flatten'"
        )
    return output.mean(1)


def cls(output: Tensor) -> Tensor:
    """`(n, t, d)` to `(n, d)`: the first token."""
    if output.ndim != 3:
        raise ValueError(
            f"pool 'cls' needs tokens (n, t, d), got {tuple(output.shape)}; use 'gap' or 'flatten'"
        )
    return output[:, 0]


POOLS: dict[str, Callable[[Tensor], Tensor]] = {
    "flatten": flatten,
    "gap": gap,
    "mean_tokens": mean_tokens,
    "cls": cls,
}


def pool_named(name: str, output: Tensor) -> str:
    """The name of the pool to use: `"auto"` becomes `gap` for 4-D, `mean_tokens` for 3-D, `flatten` otherwise.

    Raises:
        ValueError: for an unknown name.
    """
    if name == "auto":
        return {4: "gap", 3: "mean_tokens"}.get(output.ndim, "flatten")
    if name not in POOLS:
        raise ValueError(f"unknown pool {name!r}; known pools: auto, {', '.join(POOLS)}")
    return name
