"""Neighbours and counts on the device of a torch tensor: all pairs, a block of rows at a time, in float64.

The numbers are those of `estimators._search`: distances are sums and maxima in the order of the columns.
"""

from __future__ import annotations

import numpy as np
import torch

from estimators._samples import stream

__all__ = ["nearest", "nearest_and_counts", "scaled", "some_columns", "standardised", "tails", "untied"]

_CELLS = 1 << 25  # of one table of distances: 256 MiB


def standardised(*variables: torch.Tensor, workers: int = 1) -> tuple[torch.Tensor, np.ndarray]:
    """The columns of all variables, of mean 0 and standard deviation 1, and the logarithms of the deviations."""
    x = torch.cat(variables, dim=1)
    x = x - x.mean(0)
    x = x - x.mean(0)  # the first mean of a column with a large offset is rounded
    size = x.abs().amax(0)
    x = x / size  # first, so that squares neither overflow nor vanish
    spread = (x * x).mean(0).sqrt()
    return x / spread, (size.log() + spread.log()).cpu().numpy()


def untied(z: torch.Tensor, jitter: float, seed: int) -> tuple[torch.Tensor, int, int]:
    """Breaks ties by the noise that the CPU adds; also returns most repeats in a column and repeated rows."""
    ordered = z.sort(dim=0).values
    repeats = (ordered[1:] == ordered[:-1]).sum(0)
    tied = repeats > 0
    if not bool(tied.any()):
        return z, 0, 0
    duplicates = len(z) - len(torch.unique(z, dim=0)) if bool(tied.all()) else 0
    noise = stream(seed, "jitter").uniform(-jitter, jitter, size=(len(z), int(tied.sum())))
    z = z.clone()
    z[:, tied] += torch.as_tensor(noise, device=z.device)
    return z, int(repeats.max()), duplicates


def scaled(z: torch.Tensor, factors: np.ndarray) -> torch.Tensor:
    """Columns times factors."""
    return z * torch.as_tensor(factors, device=z.device)


def some_columns(z: torch.Tensor, rows: np.ndarray) -> np.ndarray:
    """The samples `rows` of all columns, `(d, m)`."""
    return z[torch.as_tensor(rows, device=z.device)].T.cpu().numpy()


def tails(unit: torch.Tensor) -> float:
    """The largest fourth moment of the standardised columns."""
    return float(unit.pow(4).mean(0).amax())


def _distances(columns: torch.Tensor, first: int, last: int, euclidean: bool) -> torch.Tensor:
    """From the points `first` to `last` to all, `columns: (d, n)`; squared if Euclidean."""
    table = columns.new_zeros(last - first, columns.shape[1])
    for column in columns:
        gap = column[first:last, None] - column
        # Multiplied and added apart: fused, the sum would be rounded otherwise than on the CPU.
        table = table.add_(gap.mul_(gap)) if euclidean else torch.maximum(table, gap.abs_(), out=table)
    return table


def nearest(
    z: torch.Tensor, k: int, split: int, euclidean: bool, workers: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Distances and indices `(n, k)` of the nearest other points, ascending; `workers` have no part in it."""
    return _search(z, k, split, euclidean, 0)[:2]


def nearest_and_counts(
    z: torch.Tensor, k: int, split: int, euclidean: bool, algorithm: int, workers: int = 1
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distances `(n, k)` of the nearest points, and the counts `(n,)` in both marginals."""
    distance, _, counts = _search(z, k, split, euclidean, algorithm)
    return distance, counts[0], counts[1]


def _search(
    z: torch.Tensor, k: int, split: int, euclidean: bool, algorithm: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    n, d = z.shape
    columns = z.T.contiguous()
    distance = z.new_empty(n, k)
    where = torch.zeros(n, k, dtype=torch.int64, device=z.device)
    counts = torch.zeros(2, n, dtype=torch.int64, device=z.device)
    rows = max(1, _CELLS // n)
    for first in range(0, n, rows):
        last = min(first + rows, n)
        groups = [_distances(columns[:split], first, last, euclidean)]
        if split < d:
            groups.append(_distances(columns[split:], first, last, euclidean))
        joint = torch.maximum(groups[0], groups[-1])
        here = torch.arange(last - first, device=z.device)
        joint[here, here + first] = torch.inf  # no point is its own neighbour
        found, index = joint.topk(k, dim=1, largest=False)
        distance[first:last], where[first:last] = found, index
        for g, table in enumerate(groups if algorithm else ()):
            radius = found[:, -1]
            if algorithm == 2:
                # A closed ball is the open one of the next larger number.
                radius = table.gather(1, index).amax(1)
                radius = torch.nextafter(radius, torch.full_like(radius, torch.inf))
            near = (table < radius[:, None]).sum(1)
            counts[g, first:last] = near - (radius > 0).to(near.dtype)  # the point itself
    return distance.cpu().numpy(), where.cpu().numpy(), counts.cpu().numpy()
