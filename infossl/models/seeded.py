"""Initial weights from a seed alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["seeded"]


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Modules built inside have weights that are a function of the seed; the random state outside is not touched.

    Example:
        >>> def weight() -> float:
        ...     with seeded(3):
        ...         return torch.nn.Linear(1, 1).weight.item()
        >>> weight() == weight()
        True
    """
    with torch.random.fork_rng(devices=[]):
        # Not `torch.manual_seed`, which also seeds the streams of every GPU, and these would not be restored.
        torch.default_generator.manual_seed(seed)
        yield
