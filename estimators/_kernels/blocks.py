"""Neighbours and counts in the largest of several Euclidean distances, one per block of columns, over all pairs.

Squares are summed in the order of the columns, as in `tree` and `pairs`, so all searches round alike. Points are
`(d, n)`, and block b has the columns `edges[b]` to `edges[b + 1]`.
"""

from __future__ import annotations

import numpy as np
from numba import njit

__all__ = ["count", "kth"]

_TILE = 1024  # distances that stay in cache while the columns pass


@njit(nogil=True, cache=True)
def _squared(points, edges, i, start, stop, total, far):
    """Fills `far` with the largest squared distance of i to the points `start` to `stop` over the blocks."""
    far[:] = 0.0
    for b in range(edges.size - 1):
        total[:] = 0.0
        for c in range(edges[b], edges[b + 1]):
            row = points[c, start:stop]
            x = points[c, i]
            for j in range(row.size):
                gap = row[j] - x
                total[j] += gap * gap
        for j in range(far.size):
            far[j] = total[j] if total[j] > far[j] else far[j]


@njit(nogil=True, cache=True)
def kth(points, edges, first, last, k, radius):
    """Fills `radius: (n,)` with the squared distance to the k-th other point."""
    n = points.shape[1]
    best, buffers = np.empty(k), np.empty((2, _TILE))
    for i in range(first, last):
        best[:] = np.inf
        for start in range(0, n, _TILE):
            stop = min(start + _TILE, n)
            far = buffers[1, : stop - start]
            _squared(points, edges, i, start, stop, buffers[0, : stop - start], far)
            if start <= i < stop:
                far[i - start] = np.inf  # removed by index: a repeated row is a neighbour
            for found in far:
                if found < best[k - 1]:
                    place = k - 1
                    while place > 0 and best[place - 1] > found:
                        best[place] = best[place - 1]
                        place -= 1
                    best[place] = found
        radius[i] = best[k - 1]


@njit(nogil=True, cache=True)
def count(points, edges, first, last, radius, counts):
    """Fills `counts: (n,)` with the number of other points strictly closer than the squared `radius: (n,)`."""
    n = points.shape[1]
    buffers = np.empty((2, _TILE))
    for i in range(first, last):
        near = -1 if radius[i] > 0.0 else 0  # the point itself lies at distance zero exactly
        for start in range(0, n, _TILE):
            stop = min(start + _TILE, n)
            far = buffers[1, : stop - start]
            _squared(points, edges, i, start, stop, buffers[0, : stop - start], far)
            near += np.sum(far < radius[i])
        counts[i] = near
