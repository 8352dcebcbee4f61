"""Exact neighbours and counts over all pairs, for dimensions in which no tree prunes.

Points are stored by dimension, `(d, n)`. A block of rows meets a tile of points while the tile is in cache,
two rows at a time; distances and groups of columns are those of `tree`, summed in the order of the columns.
"""

from __future__ import annotations

import numpy as np
from numba import njit

__all__ = ["count", "nearest"]

_TILE = 512
_ROWS = 32


@njit(nogil=True, cache=True)
def _largest(points, i, other, start, stop, out):
    """Largest-coordinate distances from two points to a range of points, four dimensions a pass."""
    d = points.shape[0]
    m = stop - start
    one = out[0, :m]
    two = out[1, :m]
    for j in range(m):
        one[j] = 0.0
        two[j] = 0.0
    a = 0
    # Slices, not start + j: wrap-around indexing would keep the compiler from vectorising.
    while a + 4 <= d:
        row0 = points[a, start:stop]
        row1 = points[a + 1, start:stop]
        row2 = points[a + 2, start:stop]
        row3 = points[a + 3, start:stop]
        x0, x1, x2, x3 = points[a, i], points[a + 1, i], points[a + 2, i], points[a + 3, i]
        y0, y1, y2, y3 = points[a, other], points[a + 1, other], points[a + 2, other], points[a + 3, other]
        for j in range(m):
            g0 = abs(row0[j] - x0)
            g1 = abs(row1[j] - x1)
            g2 = abs(row2[j] - x2)
            g3 = abs(row3[j] - x3)
            g0 = g0 if g0 > g1 else g1
            g2 = g2 if g2 > g3 else g3
            g0 = g0 if g0 > g2 else g2
            one[j] = g0 if g0 > one[j] else one[j]
            g0 = abs(row0[j] - y0)
            g1 = abs(row1[j] - y1)
            g2 = abs(row2[j] - y2)
            g3 = abs(row3[j] - y3)
            g0 = g0 if g0 > g1 else g1
            g2 = g2 if g2 > g3 else g3
            g0 = g0 if g0 > g2 else g2
            two[j] = g0 if g0 > two[j] else two[j]
        a += 4
    while a < d:
        row0 = points[a, start:stop]
        x0 = points[a, i]
        y0 = points[a, other]
        for j in range(m):
            g0 = abs(row0[j] - x0)
            one[j] = g0 if g0 > one[j] else one[j]
            g0 = abs(row0[j] - y0)
            two[j] = g0 if g0 > two[j] else two[j]
        a += 1


@njit(nogil=True, cache=True)
def _squared(points, i, other, start, stop, begin, end, out):
    """Squared Euclidean distances over the columns `begin` to `end`, two dimensions a pass."""
    m = stop - start
    one = out[0, :m]
    two = out[1, :m]
    for j in range(m):
        one[j] = 0.0
        two[j] = 0.0
    a = begin
    while a < end:
        row0 = points[a, start:stop]
        x0 = points[a, i]
        y0 = points[a, other]
        if a + 1 < end:
            row1 = points[a + 1, start:stop]
            x1 = points[a + 1, i]
            y1 = points[a + 1, other]
            for j in range(m):
                one[j] = (one[j] + (row0[j] - x0) * (row0[j] - x0)) + (row1[j] - x1) * (row1[j] - x1)
                two[j] = (two[j] + (row0[j] - y0) * (row0[j] - y0)) + (row1[j] - y1) * (row1[j] - y1)
        else:
            for j in range(m):
                one[j] = one[j] + (row0[j] - x0) * (row0[j] - x0)
                two[j] = two[j] + (row0[j] - y0) * (row0[j] - y0)
        a += 2


@njit(nogil=True, cache=True)
def _distances(points, i, other, start, stop, split, euclidean, out, spare):
    if not euclidean:
        _largest(points, i, other, start, stop, out)
        return
    d = points.shape[0]
    _squared(points, i, other, start, stop, 0, split, out)
    if split < d:
        _squared(points, i, other, start, stop, split, d, spare)
        for row in range(2):
            for j in range(stop - start):
                out[row, j] = spare[row, j] if spare[row, j] > out[row, j] else out[row, j]


@njit(nogil=True, cache=True)
def nearest(points, first, last, split, euclidean, distance, index):
    """Fills rows of `distance` and `index`, both `(n, k)`: the k nearest other points, ascending."""
    n = points.shape[1]
    k = distance.shape[1]
    out = np.empty((2, _TILE))
    spare = np.empty((2, _TILE))
    distance[first:last] = np.inf
    index[first:last] = -1
    for block in range(first, last, _ROWS):
        block_end = min(block + _ROWS, last)
        for start in range(0, n, _TILE):
            stop = min(start + _TILE, n)
            for pair in range(block, block_end, 2):
                _distances(
                    points, pair, min(pair + 1, block_end - 1), start, stop, split, euclidean, out, spare
                )
                for i in range(pair, min(pair + 2, block_end)):
                    row = out[i - pair, : stop - start]
                    if start <= i < stop:
                        row[i - start] = np.inf
                    best = distance[i]
                    who = index[i]
                    limit = best[k - 1]
                    near = 0.0  # the array's own type, so that the test of the whole tile vectorises
                    for j in range(row.size):
                        near += 1.0 if row[j] < limit else 0.0
                    if near == 0.0:
                        continue
                    for j in range(row.size):
                        if row[j] < limit:
                            place = k - 1
                            while place > 0 and best[place - 1] > row[j]:
                                best[place] = best[place - 1]
                                who[place] = who[place - 1]
                                place -= 1
                            best[place] = row[j]
                            who[place] = start + j
                            limit = best[k - 1]


@njit(nogil=True, cache=True)
def count(points, first, last, euclidean, radius, counts):
    """Fills `counts[first:last]`: the points, self included, strictly closer than `radius: (n,)`."""
    d, n = points.shape
    out = np.empty((2, _TILE))
    counts[first:last] = 0
    for block in range(first, last, _ROWS):
        block_end = min(block + _ROWS, last)
        for start in range(0, n, _TILE):
            stop = min(start + _TILE, n)
            for pair in range(block, block_end, 2):
                _distances(points, pair, min(pair + 1, block_end - 1), start, stop, d, euclidean, out, out)
                for i in range(pair, min(pair + 2, block_end)):
                    row = out[i - pair, : stop - start]
                    r = radius[i]
                    total = 0.0  # the array's own type, so that the sum vectorises
                    for j in range(row.size):
                        total += 1.0 if row[j] < r else 0.0
                    counts[i] += int(total)
