"""Splits of the rows into folds, and rows by index, in the library and on the device of the array."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from array_api_compat import array_namespace, device

from estimators._samples import stream
from estimators.protocols import Array

__all__ = ["folds", "rows"]


def folds(n: int, parts: int, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields (training, held-out) row numbers; every row is held out once. Shuffled, since rows may come sorted."""
    labels = stream(seed, "folds").permutation(n) * parts // n
    for part in range(parts):
        yield np.flatnonzero(labels != part), np.flatnonzero(labels == part)


def rows(x: Array, index: np.ndarray) -> Array:
    """Rows of a numpy array or torch tensor."""
    xp = array_namespace(x)
    return xp.take(x, xp.asarray(index, device=device(x)), axis=0)
