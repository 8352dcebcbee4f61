"""The process's random state: kept apart during a run, saved and restored with it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

__all__ = ["isolated_rng", "rng_state", "set_rng_state"]


def rng_state() -> dict[str, Any]:
    """State of the global generators of torch, numpy and Python, as tensors and plain numbers."""
    version, internal, gauss = random.getstate()
    name, keys, position, has_gauss, cached = np.random.get_state()  # noqa: NPY002
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "numpy": (
            name,
            torch.from_numpy(np.asarray(keys).astype(np.int64)),
            int(position),
            int(has_gauss),
            float(cached),
        ),
        "python": (version, internal, gauss),
    }


def set_rng_state(state: dict[str, Any]) -> None:
    """Restores what `rng_state` gave."""
    torch.set_rng_state(state["torch"])
    if state["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda"])
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))  # noqa: NPY002
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))


@contextmanager
def isolated_rng(seed: int) -> Iterator[None]:
    """Seeds the global generators inside, and leaves them outside as they were.

    A model's own dropout draws from them; so the run depends on its seed alone and disturbs nobody.
    """
    before = rng_state()
    try:
        torch.manual_seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002
        random.seed(seed)
        yield
    finally:
        set_rng_state(before)
