"""Exact neighbours and counts in a balanced k-d tree without pointers.

Node `v` on level `l` (root 1, children `2v` and `2v + 1`) holds the points `i n >> l` to `(i + 1) n >> l`
with `i = v - 2**l`, so the tree is a permutation of the points and one bounding box per node. Points are
stored by dimension, `(d, n)`. Distances are largest-coordinate distances, or squared Euclidean ones with
`euclidean`; with two groups of columns, `[0, split)` and `[split, d)`, the larger of the two groups counts.
A bound on a box is computed by the same rounded operations as a distance, all of them monotone, so
pruning never decides against a point that the slow loop would have taken.
"""

from __future__ import annotations

import numpy as np
from numba import njit

__all__ = ["build", "count", "nearest"]


@njit(nogil=True, cache=True)
def build(points, order, low, high, depth, root, first, last):
    """Permutes `points: (d, n)` and `order: (n,)` into leaf order; fills the boxes `(2**(depth + 1), d)`.

    Does so on the levels `first` (that of node `root`) to `last`, excluded, of the subtree below `root`.
    """
    d, n = points.shape
    for level in range(first, last):
        for node in range(root << (level - first), (root + 1) << (level - first)):
            i = node - (1 << level)
            start = (i * n) >> level
            stop = ((i + 1) * n) >> level
            widest = 0
            width = -1.0
            for a in range(d):
                row = points[a, start:stop]
                least = row[0]
                most = row[0]
                for j in range(row.size):
                    least = row[j] if row[j] < least else least
                    most = row[j] if row[j] > most else most
                low[node, a] = least
                high[node, a] = most
                if most - least > width:
                    width = most - least
                    widest = a
            if level == depth:
                continue
            middle = ((2 * i + 1) * n) >> (level + 1)
            key = points[widest]
            left = start
            right = stop - 1
            while left < right:
                pivot = key[(left + right) >> 1]
                p = left
                q = right
                while p <= q:
                    while key[p] < pivot:
                        p += 1
                    while key[q] > pivot:
                        q -= 1
                    if p <= q:
                        for a in range(d):
                            held = points[a, p]
                            points[a, p] = points[a, q]
                            points[a, q] = held
                        kept = order[p]
                        order[p] = order[q]
                        order[q] = kept
                        p += 1
                        q -= 1
                if middle <= q:
                    right = q
                elif middle >= p:
                    left = p
                else:
                    break


@njit(nogil=True, cache=True, forceinline=True)
def _combine(gap, a, split, euclidean, first, second):
    if euclidean:
        if a < split:
            return first + gap * gap, second
        return first, second + gap * gap
    return (gap if gap > first else first), second


@njit(nogil=True, cache=True, forceinline=True)
def _point_gap(point, low, high, w, split, euclidean):
    """Smallest distance between `point` and a point of box `w`."""
    first = 0.0
    second = 0.0
    for a in range(point.size):
        gap = max(low[w, a] - point[a], point[a] - high[w, a])
        if gap > 0.0:
            first, second = _combine(gap, a, split, euclidean, first, second)
    return max(first, second)


@njit(nogil=True, cache=True, forceinline=True)
def _largest(point, points, start, stop, out):
    """Largest-coordinate distances from `point` to the points `start` to `stop`."""
    d = point.size
    into = out[: stop - start]
    row0 = points[0, start:stop]
    x0 = point[0]
    row1 = points[d - 1, start:stop]
    x1 = point[d - 1]
    for j in range(into.size):
        g0 = abs(row0[j] - x0)
        g1 = abs(row1[j] - x1)
        into[j] = g0 if g0 > g1 else g1
    for a in range(1, d - 1):
        row0 = points[a, start:stop]
        x0 = point[a]
        for j in range(into.size):
            g0 = abs(row0[j] - x0)
            into[j] = g0 if g0 > into[j] else into[j]


@njit(nogil=True, cache=True, forceinline=True)
def _squared(point, points, start, stop, begin, end, out):
    """Squared Euclidean distances over the columns `begin` to `end`."""
    into = out[: stop - start]
    for j in range(into.size):
        into[j] = 0.0
    for a in range(begin, end):
        row = points[a, start:stop]
        x = point[a]
        for j in range(into.size):
            into[j] += (row[j] - x) * (row[j] - x)


@njit(nogil=True, cache=True, forceinline=True)
def _insert(best, who, distance, j):
    """Sorted insertion into the k smallest; the caller has tested that `distance` is below the last."""
    place = best.size - 1
    while place > 0 and best[place - 1] > distance:
        best[place] = best[place - 1]
        who[place] = who[place - 1]
        place -= 1
    best[place] = distance
    who[place] = j


@njit(nogil=True, cache=True)
def nearest(points, order, low, high, depth, first_leaf, last_leaf, split, euclidean, distance, index):
    """Fills `distance` and `index`, both `(n, k)` in the original order: the nearest other points, ascending.

    Every query starts in its own leaf and climbs, so that near neighbours already judge the boxes it meets.
    """
    d, n = points.shape
    k = distance.shape[1]
    leaves = 1 << depth
    best = np.empty(k)
    who = np.empty(k, np.int64)
    query = np.empty(d)
    buffer = np.empty((n >> depth) + 1)
    spare = np.empty((n >> depth) + 1)
    stack = np.empty(depth + 2, np.int64)
    bounds = np.empty(depth + 2)
    for leaf in range(first_leaf, last_leaf):
        home = leaves + leaf
        begin = (leaf * n) >> depth
        for position in range(begin, ((leaf + 1) * n) >> depth):
            for a in range(d):
                query[a] = points[a, position]
            for c in range(k):
                best[c] = np.inf
                who[c] = -1
            limit = np.inf
            node = home
            stack[0] = home
            bounds[0] = 0.0
            held = 1
            while True:
                while held > 0:
                    held -= 1
                    v = stack[held]
                    if bounds[held] >= limit:
                        continue
                    if v < leaves:
                        left = _point_gap(query, low, high, 2 * v, split, euclidean)
                        right = _point_gap(query, low, high, 2 * v + 1, split, euclidean)
                        far = 1 if left <= right else 0
                        if max(left, right) < limit:
                            stack[held] = 2 * v + far
                            bounds[held] = max(left, right)
                            held += 1
                        if min(left, right) < limit:
                            stack[held] = 2 * v + 1 - far
                            bounds[held] = min(left, right)
                            held += 1
                        continue
                    start = ((v - leaves) * n) >> depth
                    stop = ((v - leaves + 1) * n) >> depth
                    if not euclidean:
                        _largest(query, points, start, stop, buffer)
                    else:
                        _squared(query, points, start, stop, 0, split, buffer)
                        _squared(query, points, start, stop, split, d, spare)
                        for j in range(stop - start):
                            buffer[j] = max(buffer[j], spare[j])
                    if v == home:
                        buffer[position - begin] = np.inf
                    for j in range(stop - start):
                        if buffer[j] < limit:
                            _insert(best, who, buffer[j], start + j)
                            limit = best[k - 1]
                if node == 1:
                    break
                stack[0] = node ^ 1
                bounds[0] = _point_gap(query, low, high, node ^ 1, split, euclidean)
                held = 1
                node >>= 1
            i = order[position]
            for c in range(k):
                distance[i, c] = best[c]
                index[i, c] = order[who[c]]


@njit(nogil=True, cache=True)
def count(points, order, low, high, depth, first_leaf, last_leaf, euclidean, radius, counts):
    """Fills `counts: (n,)` with the number of points, self included, strictly closer than `radius: (n,)`."""
    d, n = points.shape
    leaves = 1 << depth
    query = np.empty(d)
    buffer = np.empty((n >> depth) + 1)
    stack = np.empty(depth + 2, np.int64)
    for position in range((first_leaf * n) >> depth, (last_leaf * n) >> depth):
        i = order[position]
        r = radius[i]
        for a in range(d):
            query[a] = points[a, position]
        total = 0
        stack[0] = 1
        held = 1
        while held > 0:
            held -= 1
            v = stack[held]
            least = 0.0
            most = 0.0
            for a in range(d):
                above = high[v, a] - query[a]
                below = query[a] - low[v, a]
                gap = max(-above, -below, 0.0)
                reach = max(above, below)
                if euclidean:
                    least += gap * gap
                    most += reach * reach
                else:
                    least = gap if gap > least else least
                    most = reach if reach > most else most
            if least >= r:
                continue
            if most < r:
                level = 0
                while (2 << level) <= v:
                    level += 1
                i0 = v - (1 << level)
                total += (((i0 + 1) * n) >> level) - ((i0 * n) >> level)
            elif v < leaves:
                stack[held] = 2 * v
                stack[held + 1] = 2 * v + 1
                held += 2
            else:
                start = ((v - leaves) * n) >> depth
                stop = ((v - leaves + 1) * n) >> depth
                if euclidean:
                    _squared(query, points, start, stop, 0, d, buffer)
                else:
                    _largest(query, points, start, stop, buffer)
                within = 0.0  # the array's own type, so that the sum vectorises
                for j in range(stop - start):
                    within += 1.0 if buffer[j] < r else 0.0
                total += int(within)
        counts[i] = total
