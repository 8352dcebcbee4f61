"""All pairs of rows, a block at a time: distances, block sizes, and means of exponentials with their weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

from array_api_compat import array_namespace, is_torch_array

from estimators.protocols import Array

__all__ = ["GEMM_REACH", "beyond_reach", "log_sum_exp", "row_blocks", "squared_distances", "tiles"]

_NUMBERS = 1 << 20  # numbers held at once for a block of pairs: 8 MB
GEMM_REACH = 4e7  # beyond this squared radius (in noise units) the matrix product cancels at the 1e-8 level


def row_blocks(n: int, per_row: int) -> Iterator[slice]:
    """Slices of 0..n-1 that keep `per_row` numbers for each row within the budget of a block."""
    step = max(1, _NUMBERS // max(1, per_row))
    for start in range(0, n, step):
        yield slice(start, min(start + step, n))


def tiles(
    function: Callable[[slice, slice], tuple[Array, ...]], n: int, per_pair: int, tracked: bool
) -> Iterator[tuple[slice, tuple[Array, ...]]]:
    """Yields blocks of rows i and what `function(i, j)` gives for them, joined over all columns j.

    `per_pair` numbers are needed for each pair. With `tracked` (a backward pass will come) each block is computed
    anew in the backward pass instead of being kept.
    """
    side = max(1, math.isqrt(_NUMBERS // max(1, per_pair)))
    rows = side if side < n else max(1, _NUMBERS // (n * max(1, per_pair)))
    if tracked:
        function = _recomputed(function)
    for start in range(0, n, rows):
        i = slice(start, min(start + rows, n))
        parts = [function(i, slice(at, min(at + side, n))) for at in range(0, n, side)]
        xp = array_namespace(parts[0][0])
        yield i, tuple(xp.concat(list(part), axis=1) for part in zip(*parts, strict=True))


def _recomputed(function: Callable[..., Any]) -> Callable[..., Any]:
    from torch.utils.checkpoint import checkpoint

    def run(i: slice, j: slice) -> Any:
        return checkpoint(function, i, j, use_reentrant=False, preserve_rng_state=False)

    return run


def beyond_reach(z: Array) -> bool:
    """Whether centred rows, in noise units, are too far out for distances by a matrix product."""
    xp = array_namespace(z)
    return bool(xp.max(xp.sum(z * z, axis=1)) > GEMM_REACH)


def squared_distances(a: Array, b: Array, exact: bool) -> Array:
    """Squared distances `(len(a), len(b))` of centred rows; `exact` where a matrix product would cancel."""
    xp = array_namespace(a)
    if not exact:
        distance = xp.sum(a * a, axis=1)[:, None] + xp.sum(b * b, axis=1)[None, :] - 2 * (a @ b.T)
        return xp.maximum(distance, a[:1, 0] * 0.0)
    total = 0.0
    for k in range(a.shape[1]):  # one column at a time, so memory stays that of the result
        difference = a[:, k, None] - b[None, :, k]
        total = total + difference * difference
    return total


def log_sum_exp(x: Array) -> Array:
    """Logarithm of the sum of exponentials of every row; differentiable."""
    if is_torch_array(x):
        return x.logsumexp(-1)
    from scipy.special import logsumexp

    return logsumexp(x, axis=-1)
