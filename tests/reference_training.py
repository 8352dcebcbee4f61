"""Slow, readable twin of the optimizer of our own."""

from __future__ import annotations

import math
from collections.abc import Sequence


def lars(
    w: Sequence[float],
    gradients: Sequence[Sequence[float]],
    rates: Sequence[float],
    *,
    momentum: float,
    decay: float,
    trust: float,
    adapt: bool = True,
) -> list[float]:
    """You, Gitman & Ginsburg, 2017, algorithm 1, for one parameter tensor as a list of numbers."""
    w = list(w)
    v = [0.0] * len(w)
    for g, rate in zip(gradients, rates, strict=True):
        of_w = math.sqrt(sum(x * x for x in w))
        of_g = math.sqrt(sum(x * x for x in g))
        local = trust * of_w / (of_g + decay * of_w) if adapt and of_w > 0 and of_g > 0 else 1.0
        for i in range(len(w)):
            v[i] = momentum * v[i] + rate * local * (g[i] + decay * w[i])
            w[i] = w[i] - v[i]
    return w
