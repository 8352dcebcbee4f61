"""Schedules: when to measure. A schedule is any `(step) -> bool`."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["SCHEDULES", "Schedule", "at", "every", "log_spaced"]

Schedule = Callable[[int], bool]


@dataclass(frozen=True)
class every:
    """At step 0 and at every `k`-th step.

    Raises:
        ValueError: if `k` < 1.

    Example:
        >>> [s for s in range(7) if every(3)(s)]
        [0, 3, 6]
    """

    k: int

    def __post_init__(self) -> None:
        if self.k < 1:
            raise ValueError(f"k = {self.k} must be at least 1")

    def __call__(self, step: int) -> bool:
        return step % self.k == 0


@dataclass(frozen=True)
class at:
    """At the steps that are listed.

    Example:
        >>> [s for s in range(10) if at((0, 4))(s)]
        [0, 4]
    """

    steps: tuple[int, ...]

    def __call__(self, step: int) -> bool:
        return step in self.steps


@dataclass(frozen=True)
class log_spaced:
    """At step 0 and at round(10^(k / per_decade)), k = 0, 1, ...: early steps densely, late ones sparsely.

    Representations change by factors, not by sums: most of the path in the information plane is over after a
    small share of the steps.

    Arguments:
        per_decade: measurements while the step grows tenfold.
        last: the last step of the run, which is measured too; points within a tenth of it are left out.

    Raises:
        ValueError: if `per_decade` < 1 or `last` < 0.

    Example:
        >>> [s for s in range(101) if log_spaced(2, last=100)(s)]
        [0, 1, 3, 10, 32, 100]
    """

    per_decade: int = 4
    last: int | None = None

    def __post_init__(self) -> None:
        if self.per_decade < 1:
            raise ValueError(f"per_decade = {self.per_decade} must be at least 1")
        if self.last is not None and self.last < 0:
            raise ValueError(f"last = {self.last} must not be negative")

    def __call__(self, step: int) -> bool:
        if step == 0 or step == self.last:
            return True
        if self.last is not None and (step > self.last or step > 0.9 * self.last):
            return False
        k = round(math.log10(step) * self.per_decade)
        return any(round(10 ** (j / self.per_decade)) == step for j in (k - 1, k, k + 1))


SCHEDULES = {"every": every, "at": at, "log_spaced": log_spaced}
