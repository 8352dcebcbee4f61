"""Schedules as pure functions of the step, so that a resumed run needs no state of theirs.

`tests/test_training_settings.py` holds them to torch's schedulers.
"""

from __future__ import annotations

import math

__all__ = ["cosine", "warmup_cosine"]


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


def cosine(step: int, start: float, end: float, *, steps: int) -> float:
    r"""Half a cosine, :math:`b - (b - a) (1 + \cos \pi s / S) / 2`, from a at step 0 to b at step S.

    DINO's and I-JEPA's weight decay rises on it.

    References:
        Caron et al., 2021, *Emerging Properties in Self-Supervised Vision Transformers*.

    Example:
        >>> [round(cosine(s, 0.04, 0.4, steps=10), 3) for s in (0, 5, 10)]
        [0.04, 0.22, 0.4]
    """
    return end - (end - start) * (1 + math.cos(math.pi * step / steps)) / 2
