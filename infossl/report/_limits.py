"""How far an axis reaches: all data with their bars, and ceilings and nulls where they are near.

A level far from the data would flatten them; it is left off the axis and told in words.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from infossl.report._table import Point

__all__ = ["NEAR", "null_level", "reach", "seen", "spread"]

NEAR = 0.5  # of the range of the data


def seen(points: Iterable[Point], *, ceilings: bool = False) -> list[float]:
    """All heights at which something of these points is drawn."""
    values = [v for p in points for v in (p.value, p.low, p.high) if v is not None]
    return values + [p.ceiling for p in points if ceilings and p.ceiling is not None]


def reach(values: Sequence[float], levels: Iterable[float]) -> tuple[float, float]:
    """The range of `values`, widened by those `levels` that lie within `NEAR` of it.

    Example:
        >>> reach([1.0, 3.0], [4.0, 0.5, -9.0])
        (0.5, 4.0)
    """
    low, high = min(values), max(values)
    room = NEAR * ((high - low) or max(abs(high), 1.0))
    near = [v for v in levels if low - room <= v <= high + room]
    return min([low, *near]), max([high, *near])


def null_level(points: Sequence[Point]) -> tuple[float, str] | None:
    """The highest null of the points, and what it is."""
    floor = [p for p in points if p.null is not None]
    if not floor:
        return None
    worst = max(floor, key=lambda p: p.null or 0.0)
    if worst.row.quantity.startswith("accuracy"):
        return worst.null or 0.0, "chance"
    return (
        worst.null or 0.0,
        "null (95th percentile)" if "null_q95" in worst.row.diagnostics else "null (mean)",
    )


def spread(targets: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """The places nearest to sorted `targets` (least squares) that keep `gap` apart within `[low, high]`.

    Example:
        >>> spread([1.0, 1.0, 9.0], 2.0, 0.0, 10.0)
        [0.0, 2.0, 9.0]
    """
    pools: list[tuple[float, int]] = []  # isotonic regression of the targets less their share of the gaps
    for i, target in enumerate(targets):
        total, count = target - i * gap, 1
        while pools and pools[-1][0] / pools[-1][1] > total / count:
            before, size = pools.pop()
            total, count = total + before, count + size
        pools.append((total, count))
    free = [total / count for total, count in pools for _ in range(count)]
    last = high - (len(targets) - 1) * gap
    return [max(min(v, last), low) + i * gap for i, v in enumerate(free)]
