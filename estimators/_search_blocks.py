"""Neighbours and counts of several variables, in either norm: distances are the largest over the variables.

With one column a variable, or in the largest-coordinate norm, the joint space has one norm and the searches of
`_search` serve; they also hold two Euclidean variables. Euclidean distances are squared. Memory is O(n d).
"""

from __future__ import annotations

import numpy as np

from estimators import _search

__all__ = ["count", "kth"]


def kth(z: np.ndarray, widths: tuple[int, ...], k: int, euclidean: bool, workers: int = 1) -> np.ndarray:
    """Distance `(n,)` to the k-th nearest other point; variable j has the next `widths[j]` columns of z."""
    if not euclidean or len(widths) <= 2:
        split = widths[0] if euclidean else z.shape[1]
        return _search.nearest(z, k, split, euclidean, workers)[0][:, -1]
    from estimators._kernels import blocks

    points, edges, radius = np.ascontiguousarray(z.T), _edges(widths), np.empty(len(z))
    _search._shared(lambda i, j: blocks.kth(points, edges, i, j, k, radius), len(z), workers)
    return radius


def count(
    z: np.ndarray, widths: tuple[int, ...], radius: np.ndarray, euclidean: bool, workers: int = 1
) -> np.ndarray:
    """Number of other points strictly closer than `radius: (n,)` in every variable."""
    if not euclidean or len(widths) == 1:
        return _search.count(z, radius, euclidean, workers)
    from estimators._kernels import blocks

    points, edges, counts = np.ascontiguousarray(z.T), _edges(widths), np.empty(len(z), np.int64)
    _search._shared(lambda i, j: blocks.count(points, edges, i, j, radius, counts), len(z), workers)
    return counts


def _edges(widths: tuple[int, ...]) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(widths)]).astype(np.int64)
