"""Exact counts on a line: sorted values, and a gallop outwards from every point."""

from __future__ import annotations

from numba import njit

__all__ = ["count"]

_STEP = 16  # first stride of the gallop; shorter ones are left to the bisection


@njit(nogil=True, cache=True)
def count(values, order, first, last, radius, counts):
    """Fills `counts: (n,)` with the number of points, self included, strictly closer than `radius: (n,)`.

    `values` are sorted and `values[p]` is point `order[p]`. The test is made on the rounded difference, never
    on `value + radius`: only so does the boundary neighbour, whose difference is the radius, stay outside.
    """
    n = values.size
    for p in range(first, last):
        x = values[p]
        r = radius[order[p]]
        # Invariant of both searches: `inside` satisfies the test (or is p itself), `outside` does not.
        inside = p
        step = _STEP
        while inside + step < n and values[inside + step] - x < r:
            inside += step
            step += step
        outside = min(inside + step, n)
        while outside - inside > 1:
            middle = (inside + outside) >> 1
            if values[middle] - x < r:
                inside = middle
            else:
                outside = middle
        right = inside
        inside = p
        step = _STEP
        while inside - step >= 0 and x - values[inside - step] < r:
            inside -= step
            step += step
        outside = max(inside - step, -1)
        while inside - outside > 1:
            middle = (inside + outside) >> 1
            if x - values[middle] < r:
                inside = middle
            else:
                outside = middle
        counts[order[p]] = right - inside + 1 if r > 0.0 else 0
