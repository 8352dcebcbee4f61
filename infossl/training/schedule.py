"""Learning-rate schedules as pure functions of the step."""

from __future__ import annotations

import math

__all__ = ["warmup_cosine"]


def warmup_cosine(step: int, *, steps: int, warmup: int, final: float = 0.0) -> float:
    r"""Factor of the largest learning rate at a step in [0, steps].

    .. math:: \frac{s + 1}{w} \quad (s < w), \qquad
       f + \frac{1 - f}{2} \left( 1 + \cos \pi \frac{s - w}{S - w} \right) \quad (s \ge w)

    with s the step, w the warm-up, S all steps and f the final factor.

    References:
        Loshchilov & Hutter, 2017, *SGDR: Stochastic Gradient Descent with Warm Restarts*.

    Example:
        >>> [round(warmup_cosine(s, steps=10, warmup=2), 3) for s in (0, 1, 2, 6, 10)]
        [0.5, 1.0, 1.0, 0.5, 0.0]
    """
    if step < warmup:
        return (step + 1) / warmup
    progress = min(1.0, (step - warmup) / max(1, steps - warmup))
    return final + (1 - final) * (1 + math.cos(math.pi * progress)) / 2
