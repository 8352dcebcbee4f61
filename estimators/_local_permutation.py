"""Permutations of samples among neighbours in Z: what makes X and Y independent given Z and leaves both laws given Z."""

from __future__ import annotations

import numpy as np

from estimators._samples import as_labels, as_numpy, drop_constant_columns, standardised, stream
from estimators.protocols import Array

__all__ = ["contrast", "neighbourhoods", "permutation"]


def neighbourhoods(z: Array, size: int) -> np.ndarray:
    """Each sample and its `size` - 1 nearest others in standardised z, in the largest-coordinate norm: `(n, size)`."""
    from estimators._search import nearest

    unit = _unit(z)
    n = len(unit)
    if n < size:
        raise ValueError(
            f"z of shape {tuple(z.shape)}: neighbors = {size} need n >= {size} samples, got n = {n}; give fewer neighbors"
        )
    others = nearest(unit, size - 1, unit.shape[1], False)[1]
    return np.column_stack([np.arange(n), others])


def contrast(z: Array, near: np.ndarray) -> float:
    """Median distance to the last of `near` over the median distance of random pairs; 1 says that none is near."""
    unit = _unit(z)
    rows = stream(0, "sample").permutation(len(unit))[:2000]
    reach = np.abs(unit - unit[near[:, -1]]).max(axis=1)
    pair = np.abs(unit[rows] - unit[np.roll(rows, 1)]).max(axis=1)
    return float(np.median(reach) / max(np.median(pair), np.finfo(float).tiny))


def permutation(z: Array, near: np.ndarray | None, rng: np.random.Generator) -> np.ndarray:
    """An index `(n,)` that takes each sample to one of its neighbourhood, each used once as far as possible.

    Samples take turns in random order, each the first of its neighbourhood, in random order, that nobody has; the
    last one, if all are taken (Runge, 2018, algorithm 1). Labels are permuted within their class.
    """
    if near is None:
        codes = as_labels(z, "z", min_classes=1)
        order = np.argsort(codes, kind="stable")
        index = np.empty_like(order)
        for rows in np.split(order, np.cumsum(np.bincount(codes))[:-1]):
            index[rows] = rng.permutation(rows)
        return index
    candidates = rng.permuted(near, axis=1)
    n = len(candidates)
    used = np.zeros(n, bool)
    index = np.empty(n, np.int64)
    for i in rng.permutation(n).tolist():
        for chosen in candidates[i].tolist():
            if not used[chosen]:
                break
        used[chosen] = True
        index[i] = chosen
    return index


def _unit(z: Array) -> np.ndarray:
    return np.asfortranarray(standardised(drop_constant_columns(as_numpy(z, "z"), "z")[0]))
