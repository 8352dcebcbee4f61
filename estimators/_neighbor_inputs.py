"""What the neighbour estimators of several variables do first: check settings, stack columns, scale them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from estimators._samples import as_numpy, drop_constant_columns, paired
from estimators.neighbors import _require, _standardised, _untied, _warnings, check_settings
from estimators.protocols import Array

__all__ = ["Stacked", "check_settings", "stacked", "warnings_of"]


@dataclass(frozen=True, eq=False)
class Stacked:
    """Variables side by side: `z` is measured, `unit` its standardised form, `widths` the columns of each.

    `log_scale` is the logarithm of what the columns of z were divided by, in the order of these.
    """

    z: np.ndarray
    unit: np.ndarray
    widths: tuple[int, ...]
    dropped: int
    ties: int
    duplicates: int
    log_scale: np.ndarray

    @property
    def n(self) -> int:
        return self.z.shape[0]

    def columns(self, first: int, last: int) -> np.ndarray:
        """The variables `first` to `last` (excluded)."""
        edges = np.concatenate([[0], np.cumsum(self.widths)])
        return self.z[:, edges[first] : edges[last]]


def stacked(arrays: Mapping[str, Array], k: int, *, standardise: bool = True, untie: bool = True) -> Stacked:
    """Checked paired samples without their constant columns, scaled to unit standard deviation.

    Without `standardise` only the relative units count. Without `untie` repeated values stay repeated, and are
    only counted.

    Raises:
        TypeError: for a discrete variable, an array without real numbers, or a tensor on another device.
        ValueError: for NaN, wrong shapes, unequal n, n <= k, or a variable whose columns are all constant.
    """
    samples = {name: as_numpy(array, name) for name, array in arrays.items()}
    first, *others = samples
    for other in others:
        paired(samples[first], samples[other], (first, other))
    shapes = " and ".join(f"{name} of shape {x.shape}" for name, x in samples.items())
    _require(samples[first].shape[0], k, shapes)
    parts, dropped = [], 0
    for name, x in samples.items():
        kept, removed = drop_constant_columns(x, name)
        parts.append(kept)
        dropped += removed
    unit, log_spread = _standardised(*parts)
    loosened, ties, duplicates = _untied(unit)
    if untie:
        unit = loosened
    common = np.full_like(log_spread, log_spread.max())
    z, log_scale = (unit, log_spread) if standardise else (unit * np.exp(log_spread - common), common)
    return Stacked(z, unit, tuple(x.shape[1] for x in parts), dropped, ties, duplicates, log_scale)


def warnings_of(
    s: Stacked, k: int, radius: np.ndarray, *, euclidean: bool = False
) -> tuple[tuple[str, ...], dict[str, float]]:
    """Flags and diagnostics of a search that found the k-th neighbours at `radius: (n,)`, not squared."""
    return _warnings(s.unit, s.z, k, s.dropped, s.ties, s.duplicates, radius, s.widths, euclidean)
