r"""Exact neighbours and counts over all pairs, from a table of approximate distances.

A block of rows meets all points; row `b` of a table belongs to point `first + b`. Tables hold one of

* 16-bit integers: largest-coordinate distances of points on a grid, in grid steps;
* float32: squared Euclidean distances from a matrix product, lowered by a bound of its rounding errors;
* float64: the distances themselves, should the points be too close together for the others.

In units of the table, the exact distance of i and j is above `table - below` and at most
`table + slack[i] + slack[j]`. Where that does not decide, the distance is computed from the float64 points
as in `tree`: by the same rounded operations in the order of the columns. So the results are exact.
"""

from __future__ import annotations

import numpy as np
from numba import njit

__all__ = ["count", "largest", "nearest", "squared"]

_TILE = 1024  # columns of the table that stay in cache while the dimensions pass
_STRIP = 128  # entries that one vectorised test covers


@njit(nogil=True, cache=True)
def largest(points, first, last, begin, end, table):
    """Largest-coordinate distances over the dimensions `begin` to `end` of `points: (d, n)`, in its dtype.

    Two rows and four dimensions a pass. The casts keep integers in 16 bits: numba widens them otherwise.
    """
    n = points.shape[1]
    kind = table.dtype.type
    for start in range(0, n, _TILE):
        stop = min(start + _TILE, n)
        for i in range(first, last, 2):
            other = min(i + 1, last - 1)
            # Slices, not start + j: wrap-around indexing would keep the compiler from vectorising.
            one = table[i - first, start:stop]
            two = table[other - first, start:stop]
            one[:] = 0
            two[:] = 0
            a = begin
            while a + 4 <= end:
                row0 = points[a, start:stop]
                row1 = points[a + 1, start:stop]
                row2 = points[a + 2, start:stop]
                row3 = points[a + 3, start:stop]
                x0, x1, x2, x3 = points[a, i], points[a + 1, i], points[a + 2, i], points[a + 3, i]
                y0, y1 = points[a, other], points[a + 1, other]
                y2, y3 = points[a + 2, other], points[a + 3, other]
                for j in range(one.size):
                    g0 = kind(abs(kind(row0[j] - x0)))
                    g1 = kind(abs(kind(row1[j] - x1)))
                    g2 = kind(abs(kind(row2[j] - x2)))
                    g3 = kind(abs(kind(row3[j] - x3)))
                    g0 = g0 if g0 > g1 else g1
                    g2 = g2 if g2 > g3 else g3
                    g0 = g0 if g0 > g2 else g2
                    one[j] = g0 if g0 > one[j] else one[j]
                    g0 = kind(abs(kind(row0[j] - y0)))
                    g1 = kind(abs(kind(row1[j] - y1)))
                    g2 = kind(abs(kind(row2[j] - y2)))
                    g3 = kind(abs(kind(row3[j] - y3)))
                    g0 = g0 if g0 > g1 else g1
                    g2 = g2 if g2 > g3 else g3
                    g0 = g0 if g0 > g2 else g2
                    two[j] = g0 if g0 > two[j] else two[j]
                a += 4
            while a < end:
                row0 = points[a, start:stop]
                x0 = points[a, i]
                y0 = points[a, other]
                for j in range(one.size):
                    g0 = kind(abs(kind(row0[j] - x0)))
                    one[j] = g0 if g0 > one[j] else one[j]
                    g0 = kind(abs(kind(row0[j] - y0)))
                    two[j] = g0 if g0 > two[j] else two[j]
                a += 1


@njit(nogil=True, cache=True)
def squared(points, first, last, begin, end, table):
    """Squared Euclidean distances over the dimensions `begin` to `end` of `points: (d, n)`, float64."""
    n = points.shape[1]
    for start in range(0, n, _TILE):
        stop = min(start + _TILE, n)
        for i in range(first, last):
            one = table[i - first, start:stop]
            one[:] = 0.0
            for a in range(begin, end):
                row = points[a, start:stop]
                x = points[a, i]
                for j in range(one.size):
                    one[j] += (row[j] - x) * (row[j] - x)


@njit(nogil=True, cache=True)
def _exact(rows, i, who, held, begin, end, euclidean, exact):
    """Fills `exact[:held]` with the distances of row i of `rows: (n, d)` to the rows `who[:held]`.

    Four rows side by side: the terms of one distance are added in order, each waiting for the one before.
    """
    x = rows[i, begin:end]
    for c in range(0, held, 4):
        last = held - 1
        y0 = rows[who[c], begin:end]
        y1 = rows[who[min(c + 1, last)], begin:end]
        y2 = rows[who[min(c + 2, last)], begin:end]
        y3 = rows[who[min(c + 3, last)], begin:end]
        t0 = t1 = t2 = t3 = 0.0
        if euclidean:
            for a in range(x.size):
                t0 += (y0[a] - x[a]) * (y0[a] - x[a])
                t1 += (y1[a] - x[a]) * (y1[a] - x[a])
                t2 += (y2[a] - x[a]) * (y2[a] - x[a])
                t3 += (y3[a] - x[a]) * (y3[a] - x[a])
        else:
            for a in range(x.size):
                t0 = max(t0, abs(y0[a] - x[a]))
                t1 = max(t1, abs(y1[a] - x[a]))
                t2 = max(t2, abs(y2[a] - x[a]))
                t3 = max(t3, abs(y3[a] - x[a]))
        exact[min(c + 3, last)] = t3
        exact[min(c + 2, last)] = t2
        exact[min(c + 1, last)] = t1
        exact[c] = t0


@njit(nogil=True, cache=True)
def nearest(table_x, table_y, first, last, rows, split, euclidean, slack, below, top, tally, distance, index):
    """Fills `distance` and `index`, `(n, k)`, for the rows `first` to `last`: nearest other points, ascending.

    The larger of the two tables counts. `top` is the largest number of their type, `tally` an empty array of
    integers of the same size, so that tests vectorise. Returns how many distances had to be computed.
    """
    n, d = rows.shape
    k = distance.shape[1]
    kind = table_x.dtype.type
    integer = tally.dtype.type
    upper = np.empty(k)
    exact_x = np.empty(n)
    exact_y = np.empty(n)
    who = np.empty(n, np.int64)
    checked = 0
    for i in range(first, last):
        all_x = table_x[i - first]
        all_y = table_y[i - first]
        upper[:] = np.inf
        edge = kind(top)
        held = 0
        for start in range(0, n, _STRIP):
            x = all_x[start : start + _STRIP]
            y = all_y[start : start + _STRIP]
            some = integer(0)
            for j in range(x.size):
                some = integer(some + integer((x[j] <= edge) & (y[j] <= edge)))
            if some == 0:
                continue
            for j in range(x.size):
                seen = x[j] if x[j] > y[j] else y[j]
                if seen <= edge and start + j != i:
                    who[held] = start + j
                    held += 1
                    bound = float(seen) + float(slack[i]) + float(slack[start + j])
                    if bound < upper[k - 1]:
                        place = k - 1
                        while place > 0 and upper[place - 1] > bound:
                            upper[place] = upper[place - 1]
                            place -= 1
                        upper[place] = bound
                        # The k nearest lie no farther; the factor covers the rounding of the cast.
                        edge = kind(min((upper[k - 1] + below) * (1 + 1e-6), top))
        kept = 0
        for c in range(held):
            j = who[c]
            if all_x[j] <= edge and all_y[j] <= edge:
                who[kept] = j
                kept += 1
        checked += kept
        _exact(rows, i, who, kept, 0, split, euclidean, exact_x)
        _exact(rows, i, who, kept, split, d, euclidean, exact_y)
        best = distance[i]
        found = index[i]
        best[:] = np.inf
        found[:] = -1
        for c in range(kept):
            exact = max(exact_x[c], exact_y[c])
            if exact < best[k - 1]:
                place = k - 1
                while place > 0 and best[place - 1] > exact:
                    best[place] = best[place - 1]
                    found[place] = found[place - 1]
                    place -= 1
                best[place] = exact
                found[place] = who[c]
    return checked


@njit(nogil=True, cache=True)
def count(
    table, first, last, rows, begin, end, euclidean, slack, below, top, tally, unit, whole, radius, counts
):
    """Fills `counts[first:last]`: the points, self included, strictly closer than `radius: (n,)`.

    `unit` is the size of one unit of the table and `whole` says that its numbers are integers. Returns how
    many distances had to be computed.
    """
    n = rows.shape[0]
    most = np.empty((n + _STRIP - 1) // _STRIP, slack.dtype)
    for strip in range(most.size):
        most[strip] = slack[strip * _STRIP : (strip + 1) * _STRIP].max()
    who = np.empty(n, np.int64)
    exact = np.empty(n)
    kind = table.dtype.type
    integer = tally.dtype.type
    checked = 0
    for i in range(first, last):
        near = table[i - first]
        r = radius[i]
        maybe = r / unit + below
        sure = r / unit - float(slack[i])
        # Rounded so that the two tests stay on the safe side in the table's own type.
        maybe = np.ceil(maybe) if whole else maybe * (1 + 1e-6)
        outside = kind(min(maybe, top))
        total = 0
        held = 0
        for start in range(0, n, _STRIP):
            part = near[start : start + _STRIP]
            # One bound for the strip: the largest slack of its points.
            edge = sure - float(most[start // _STRIP])
            edge = np.ceil(edge) if whole else edge - abs(edge) * 1e-6
            inside = kind(max(min(edge, top), -top))
            some = integer(0)
            clear = integer(0)
            for j in range(part.size):
                some = integer(some + integer(part[j] < outside))
                clear = integer(clear + integer(part[j] < inside))
            total += clear
            if some == clear:
                continue
            for j in range(part.size):
                if part[j] < outside and part[j] >= inside:
                    who[held] = start + j
                    held += 1
        checked += held
        _exact(rows, i, who, held, begin, end, euclidean, exact)
        for c in range(held):
            total += 1 if exact[c] < r else 0
        counts[i] = total
    return checked
