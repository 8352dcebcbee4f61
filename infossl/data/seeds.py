"""Generators by key: every random draw is a pure function of the numbers that name it."""

from __future__ import annotations

import numpy as np
import torch

__all__ = ["derived_seed", "generator"]


def derived_seed(*key: int) -> int:
    """A seed in [0, 2^63) from non-negative integers such as `(seed, step, view)`.

    Different keys give unrelated streams.

    Example:
        >>> derived_seed(0, 1) == derived_seed(0, 1), derived_seed(0, 1) == derived_seed(1, 0)
        (True, False)
    """
    return int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0] >> np.uint64(1))


def generator(*key: int, device: torch.device | str = "cpu") -> torch.Generator:
    """A torch generator seeded by `derived_seed(*key)`."""
    return torch.Generator(device=device).manual_seed(derived_seed(*key))
