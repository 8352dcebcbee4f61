"""Where estimates of one quantity part by more than their errors, each of them is flagged."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace

from infossl.trajectory import Row

__all__ = ["with_disagreement"]

_LEAST = 1.0  # nats: estimators of opposite bias part by less than this in any healthy case


def with_disagreement(rows: Iterable[Row]) -> list[Row]:
    """Raises `disagreement` on the rows of one layer that name the same information and contradict each other.

    Two estimates that bound nothing contradict each other when they differ by more than 1 nat and 4 joint standard
    errors; an estimate contradicts a lower bound by lying that far below it. A lower bound below the others is no
    contradiction. Where it is raised, quote neither number alone.
    """
    rows = list(rows)
    flagged = set()
    for i, a in enumerate(rows):
        for j, b in enumerate(rows):
            if i < j and _contradict(a, b):
                flagged |= {i, j}
    return [
        replace(row, flags=(*row.flags, "disagreement")) if i in flagged else row
        for i, row in enumerate(rows)
    ]


def _contradict(a: Row, b: Row) -> bool:
    if (
        a.value is None
        or b.value is None
        or a.quantity != b.quantity
        or a.unit != "nats"
        or a.method == b.method
    ):
        return False
    if not a.quantity.startswith("I("):
        return False
    gap = a.value - b.value
    if not abs(gap) > max(_LEAST, 4 * math.hypot(a.stderr or 0.0, b.stderr or 0.0)):
        return False
    lower = a if gap < 0 else b
    return lower.bound == "none" or (lower.bound == "upper")
