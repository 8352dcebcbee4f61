"""Settings that change over a run, as pure functions `(step, steps) -> value`.

`step` counts from 0 in the first of `steps` optimizer steps. The end is the value at `step = steps`, which the last step,
steps - 1, does not quite reach.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["RAMPS", "CosineRamp", "LinearRamp", "Ramp"]

Ramp = Callable[[int, int], float]


@dataclass(frozen=True)
class LinearRamp:
    r""":math:`a + (b - a) k / K` at step k of K; constant for a = b. I-JEPA's momentum is `LinearRamp(0.996, 1.0)`.

    References:
        Assran et al., 2023, *Self-Supervised Learning from Images with a Joint-Embedding Predictive Architecture*.

    Example:
        >>> [round(LinearRamp(0.996, 1.0)(step, 100), 4) for step in (0, 50, 100)]
        [0.996, 0.998, 1.0]
    """

    start: float
    end: float

    def __call__(self, step: int, steps: int) -> float:
        return self.start + (self.end - self.start) * _share(step, steps)


@dataclass(frozen=True)
class CosineRamp:
    r""":math:`b - (b - a) (1 + \cos \pi k / K) / 2` at step k of K. BYOL's momentum is `CosineRamp(0.996, 1.0)`.

    References:
        Grill et al., 2020, *Bootstrap Your Own Latent*, section 3.3.

    Example:
        >>> [round(CosineRamp(0.996, 1.0)(step, 100), 4) for step in (0, 25, 50, 100)]
        [0.996, 0.9966, 0.998, 1.0]
    """

    start: float
    end: float

    def __call__(self, step: int, steps: int) -> float:
        return self.end - (self.end - self.start) * (1 + math.cos(math.pi * _share(step, steps))) / 2


def _share(step: int, steps: int) -> float:
    if steps < 1 or not 0 <= step <= steps:
        raise ValueError(f"step = {step} must be between 0 and steps = {steps}, and steps at least 1")
    return step / steps


RAMPS = {"LinearRamp": LinearRamp, "CosineRamp": CosineRamp}
"""Names for `estimators.parse(text, RAMPS)`."""
