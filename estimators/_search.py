"""Exact neighbours and counts on the CPU: which search is the fastest, and how threads share it.

* `line`: sorted values, for counts in one dimension.
* `tree`: a k-d tree, in few dimensions.
* `filter`: all pairs, by approximate distances of known error, and by exact ones where those do not decide.
* `brute`: all pairs, exact distances only; takes over where points lie too close together for the filter.

Distances are the larger of those over the columns `[0, split)` and `[split, d)`; Euclidean ones are squared.
All searches round alike, so the result depends neither on the choice nor on the number of threads.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController

__all__ = ["count", "fastest", "nearest", "nearest_and_counts"]

Path = Literal["line", "tree", "filter", "brute"]

_LEAF = 64  # most points in a leaf of the tree
_ROWS = 64, 256  # fewest and most rows of a table of distances: memory stays O(n d)
_CELLS = 1 << 21  # of a table, between these
_CACHED = 1 << 15  # numbers that are worked on together
_STEPS = 32_000  # of the grid, so that a difference fits into 16 bits
_UNDECIDED = 1 / 16  # share of the pairs above which exact distances alone are faster
_ROUNDING = 2.0**-24  # relative, of float32
_UNDERFLOW = 1e-30  # absolute, of a sum of float32 products, with room to spare


def fastest(n: int, d: int) -> Path:
    """Trees stop pruning as the dimension grows, later when points are many: measured where the two draw."""
    return "tree" if d <= 4 or math.log2(n) > d + 5 else "filter"


def nearest(
    z: np.ndarray, k: int, split: int, euclidean: bool, workers: int = 1, path: Path | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Distances and indices `(n, k)` of the nearest other points, ascending."""
    n, d = z.shape
    path = path or fastest(n, d)
    if path != "tree":
        return _over_all_pairs(z, k, split, euclidean, 0, workers, path == "brute")[:2]
    from estimators._kernels import tree

    distance, index = np.empty((n, k)), np.empty((n, k), np.int64)
    parts = _tree(z, workers)
    _shared(
        lambda i, j: tree.nearest(*parts, i, j, split, euclidean, distance, index), 1 << parts[-1], workers
    )
    return distance, index


def count(
    z: np.ndarray, radius: np.ndarray, euclidean: bool, workers: int = 1, path: Path | None = None
) -> np.ndarray:
    """Number of other points strictly closer than `radius: (n,)`."""
    n, d = z.shape
    counts = np.empty(n, np.int64)
    radius = np.ascontiguousarray(radius)
    path = path or ("line" if d == 1 and not euclidean else fastest(n, d))
    if path == "line":
        from estimators._kernels import line

        order = np.argsort(z[:, 0])
        values = z[order, 0]
        _shared(lambda i, j: line.count(values, order, i, j, radius, counts), n, workers)
    elif path == "tree":
        from estimators._kernels import tree

        parts = _tree(z, workers)
        _shared(lambda i, j: tree.count(*parts, i, j, euclidean, radius, counts), 1 << parts[-1], workers)
    else:

        def step(measure: _Tables, first: int, last: int, tables: list[np.ndarray]) -> int:
            measure.fill(0, first, last, tables[0])
            return measure.count(0, first, last, tables[0], radius, counts)

        _in_blocks(step, z, [(0, d)], euclidean, workers, path == "brute")
    return counts - (radius > 0)  # the point itself lies at distance zero exactly


def nearest_and_counts(
    z: np.ndarray,
    k: int,
    split: int,
    euclidean: bool,
    algorithm: int,
    workers: int = 1,
    path: Path | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distances `(n, k)` of the nearest points, and the counts `(n,)` in both marginals.

    Algorithm 1 counts the points strictly closer than the k-th neighbour, algorithm 2 those of the closed balls
    that hold the k neighbours.
    """
    n, d = z.shape
    path = path or fastest(n, d)
    if path != "tree":
        distance, _, near_x, near_y = _over_all_pairs(
            z, k, split, euclidean, algorithm, workers, path == "brute"
        )
        return distance, near_x, near_y
    distance, index = nearest(z, k, split, euclidean, workers, path)
    radius_x, radius_y = _marginal_radii(z, 0, distance, index, split, euclidean, algorithm)
    near_x = count(z[:, :split], radius_x, euclidean, workers)
    return distance, near_x, count(z[:, split:], radius_y, euclidean, workers)


def _marginal_radii(
    z: np.ndarray,
    first: int,
    distance: np.ndarray,
    index: np.ndarray,
    split: int,
    euclidean: bool,
    algorithm: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Open radii around the points from `first` on, in both marginals."""
    if algorithm == 1:
        return distance[:, -1], distance[:, -1]
    radii = []
    for columns in (z[:, :split], z[:, split:]):
        far = np.zeros(index.shape)
        for column in columns.T:
            gap = column[index] - column[first : first + len(index), None]
            far = far + gap * gap if euclidean else np.maximum(far, np.abs(gap))
        # A closed ball is the open one of the next larger number: distances are rounded alike.
        radii.append(np.nextafter(far.max(axis=1), np.inf))
    return radii[0], radii[1]


def _tree(z: np.ndarray, workers: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, int]:
    from estimators._kernels import tree

    n, d = z.shape
    depth = max(0, math.ceil(math.log2(n / _LEAF)))
    points, order = np.array(z.T, order="C"), np.arange(n)
    low, high = np.empty((2 << depth, d)), np.empty((2 << depth, d))
    # Each level splits in two what the threads may then build apart.
    top = min(depth, math.ceil(math.log2(workers)))
    tree.build(points, order, low, high, depth, 1, 0, top + 1)
    if top < depth:

        def subtrees(first: int, last: int) -> None:
            for node in range(first, last):
                tree.build(points, order, low, high, depth, (2 << top) + node, top + 1, depth + 1)

        _shared(subtrees, 2 << top, workers)
    return points, order, low, high, depth


def _column_groups(n: int, first: int, last: int) -> Iterator[slice]:
    """Columns of n numbers a few at a time, so that they stay in cache while they are worked on."""
    step = max(1, _CACHED // n)
    return (slice(start, min(start + step, last)) for start in range(first, last, step))


def _shared(work: Callable[[int, int], object], total: int, workers: int, least: int = 1) -> None:
    """Calls `work(first, last)` over the whole range, in blocks of at least about `least`.

    There are more blocks than threads where that allows it, so that none waits long.
    """
    if workers == 1:
        work(0, total)
        return
    workers = min(workers, total)
    blocks = workers * min(max(total // (least * workers), 1), 8)
    turns = itertools.count()

    def take_turns() -> None:
        for turn in turns:
            if turn >= blocks:
                return
            work(total * turn // blocks, total * (turn + 1) // blocks)

    with ThreadPoolExecutor(workers) as pool:
        others = [pool.submit(take_turns) for _ in range(workers - 1)]
        take_turns()
        for other in others:
            other.result()


@dataclass(frozen=True, eq=False)
class _Tables:
    """Distances of a block of rows to all points, for each group of columns, with what bounds their error.

    In units of the table, the distance of i and j is above `table - below` and at most
    `table + slack[i] + slack[j]`.
    """

    fill: Callable[[int, int, int, np.ndarray], object]
    rows: np.ndarray
    groups: list[tuple[int, int]]
    euclidean: bool
    slack: np.ndarray
    tally: np.ndarray
    below: float = 0.0
    unit: float = 1.0

    def empty(self) -> list[np.ndarray]:
        n = len(self.rows)
        rows = min(max(_CELLS // n, _ROWS[0]), _ROWS[1], n)
        return [np.empty((rows, n), self.slack.dtype) for _ in self.groups]

    @property
    def _top(self) -> float:
        return np.inf if self.slack.dtype.kind == "f" else float(np.iinfo(self.slack.dtype).max)

    def nearest(
        self,
        first: int,
        last: int,
        tables: list[np.ndarray],
        distance: np.ndarray,
        index: np.ndarray,
    ) -> int:
        from estimators._kernels import pairs

        settings = (self.slack, self.below, self._top, self.tally, distance, index)
        return pairs.nearest(
            tables[0], tables[-1], first, last, self.rows, self.groups[0][1], self.euclidean, *settings
        )

    def count(
        self, group: int, first: int, last: int, table: np.ndarray, radius: np.ndarray, counts: np.ndarray
    ) -> int:
        from estimators._kernels import pairs

        whole = self.slack.dtype.kind != "f"
        settings = (self.slack, self.below, self._top, self.tally, self.unit, whole, radius, counts)
        return pairs.count(table, first, last, self.rows, *self.groups[group], self.euclidean, *settings)


def _grid(z: np.ndarray, groups: list[tuple[int, int]], workers: int = 1) -> _Tables:
    """Largest-coordinate distances on a grid: each coordinate moves by half a step, a distance by one."""
    from estimators._kernels import pairs

    low, high = z.min(axis=0), z.max(axis=0)
    step = max(float((high - low).max()) / _STEPS, 1e-300)
    points = np.empty(z.shape[::-1], np.int16)

    def work(first: int, last: int) -> None:
        for columns in _column_groups(len(z), first, last):
            steps = (z.T[columns] - low[columns, None]) / step
            points[columns] = np.rint(steps, out=steps)

    _shared(work, z.shape[1], workers)
    return _Tables(
        lambda g, first, last, table: pairs.largest(points, first, last, *groups[g], table),
        np.ascontiguousarray(z),
        groups,
        False,
        np.ones(len(z), np.int16),
        np.empty(0, np.int16),
        below=1 + 1e-6,  # rounding while the grid is made
        unit=step,
    )


def _products(z: np.ndarray, groups: list[tuple[int, int]]) -> _Tables:
    r"""Squared distances from one product of float32 matrices each, \(|a|^2 + |b|^2 - 2ab\).

    A sum of m products of rounded factors errs by at most \((m + 4) u / (1 - mu)\) times the sum of their
    magnitudes (Higham, 2002, *Accuracy and Stability of Numerical Algorithms*, eq. 3.5), here
    \(2 (|a|^2 + |b|^2)\). Norms lowered by that share give a lower bound of the distance.
    """
    factors = []
    slack = np.zeros(len(z))
    for first, last in groups:
        part, m = z.T[first:last], last - first
        norm = np.einsum("ji,ji->i", part, part)
        share = 2.02 * (m + 10) * _ROUNDING
        lowered = (1 - share) * norm - _UNDERFLOW
        columns = np.empty((m + 2, len(z)), np.float32)
        columns[:m], columns[m], columns[m + 1] = part, lowered, 1
        factors.append(columns)
        slack = np.maximum(slack, 2 * share * norm + 3 * _UNDERFLOW)

    def fill(g: int, first: int, last: int, table: np.ndarray) -> None:
        left = -2 * factors[g][:, first:last]
        left[-2], left[-1] = 1, factors[g][-2, first:last]
        np.matmul(left.T, factors[g], out=table[: last - first])

    return _Tables(
        fill,
        np.ascontiguousarray(z),
        groups,
        True,
        np.nextafter(slack.astype(np.float32), np.float32(np.inf)),
        np.empty(0, np.int32),
    )


def _exactly(z: np.ndarray, groups: list[tuple[int, int]], euclidean: bool) -> _Tables:
    from estimators._kernels import pairs

    points = np.ascontiguousarray(z.T)
    kernel = pairs.squared if euclidean else pairs.largest
    return _Tables(
        lambda g, first, last, table: kernel(points, first, last, *groups[g], table),
        np.ascontiguousarray(z),
        groups,
        euclidean,
        np.zeros(len(z)),
        np.empty(0, np.int64),
    )


@cache
def _blas() -> ThreadpoolController:
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()  # asks for all loaded libraries, which takes longer than small products


def _in_blocks(
    step: Callable[[_Tables, int, int, list[np.ndarray]], int],
    z: np.ndarray,
    groups: list[tuple[int, int]],
    euclidean: bool,
    workers: int,
    brute: bool,
) -> None:
    """Calls `step` for blocks of rows. It returns how many distances its tables left undecided."""
    n = len(z)
    quick = None if brute else _products(z, groups) if euclidean else _grid(z, groups, workers)

    idle: list[list[np.ndarray]] = []  # tables that no thread uses at the moment

    def work(first: int, last: int) -> None:
        measure = quick or _exactly(z, groups, euclidean)
        tables = idle.pop() if quick and idle else measure.empty()
        start = first
        while start < last:
            stop = min(start + len(tables[0]), last)
            undecided = step(measure, start, stop, tables)
            if measure is quick and undecided > _UNDECIDED * n * (stop - start):
                measure = _exactly(z, groups, euclidean)
                tables = measure.empty()
            start = stop
        if measure is quick:
            idle.append(tables)

    if brute or not euclidean:
        _shared(work, n, workers, _ROWS[1])
        return
    with _blas().limit(limits=1, user_api="blas"):  # the threads are those of `workers`
        _shared(work, n, workers, _ROWS[1])


def _over_all_pairs(
    z: np.ndarray, k: int, split: int, euclidean: bool, algorithm: int, workers: int, brute: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Neighbours and, unless `algorithm` is 0, the counts in the marginals, from the same tables."""
    n, d = z.shape
    groups = [(0, split), (split, d)] if split < d else [(0, d)]
    distance, index = np.empty((n, k)), np.empty((n, k), np.int64)
    counts, radii = np.empty((2, n), np.int64), np.empty((2, n))

    def step(measure: _Tables, first: int, last: int, tables: list[np.ndarray]) -> int:
        for g, table in enumerate(tables):
            measure.fill(g, first, last, table)
        undecided = measure.nearest(first, last, tables, distance, index)
        if algorithm:
            block = slice(first, last)
            radii[:, block] = _marginal_radii(
                z, first, distance[block], index[block], split, euclidean, algorithm
            )
            for g, table in enumerate(tables):
                found = measure.count(g, first, last, table, radii[g], counts[g])
                undecided = max(undecided, found)
        return undecided

    _in_blocks(step, z, groups, euclidean, workers, brute)
    if algorithm:
        counts -= radii > 0  # the point itself lies at distance zero exactly
    return distance, index, counts[0], counts[1]
