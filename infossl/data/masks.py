"""Multi-block masks: which patches an encoder sees and which ones are to be predicted."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

__all__ = ["Masks", "MultiBlock"]

_TRIES, _ROUNDS = (
    20,
    100,
)  # places tried for a context before its targets are drawn anew, and how often that happens


class Masks(NamedTuple):
    """Indices of patches in raster order.

    Arguments:
        context: patches that are seen, `(N, K)`, increasing in each row.
        targets: patches of the M target blocks, `(N, M, T)`.
    """

    context: Tensor
    targets: Tensor


@dataclass(frozen=True, kw_only=True)
class MultiBlock:
    """Target blocks and one large context block that leaves them out.

    For a batch one number u, uniform in [0, 1), sets both the scale s and the aspect ratio a of all target blocks, each at
    the share u of its range; another one sets the context's. With n = floor(s rows columns), a block has round(sqrt(n a))
    rows and round(sqrt(n / a)) columns, but always less than the grid. Each image draws its corners uniformly: targets may
    overlap each other. What the context block shares with a target is taken out of it. All contexts are then cut to the
    size of the smallest in the batch, so a larger batch sees less.

    A context that keeps `min_keep` patches or fewer is drawn again, after 20 times with new targets, so that context and
    targets never overlap. (The published code gives up the exclusion of single targets instead; on a 14x14 grid neither
    happens.) `inclusive=False, truncate="raster"` is what the published code does: there no block ever covers the last
    row or column, and the smallest contexts keep the top of the image.

    Arguments:
        grid: rows and columns of patches.
        targets: target blocks in each image.
        target_scale: share of the patches that a target block covers.
        target_aspect: rows over columns of a target block.
        context_scale: share of the patches that the context block covers; its aspect ratio is 1.
        min_keep: see above.
        inclusive: blocks may touch the last row and column.
        truncate: `"random"` cuts random patches of the context, `"raster"` the last ones in raster order.

    Shapes:
        A number of images and a generator to `Masks`.

    Raises:
        ValueError: for a setting out of its range, or when no context of more than `min_keep` patches is found.

    References:
        Assran et al., 2023, *Self-Supervised Learning from Images with a Joint-Embedding Predictive Architecture*,
        section 3 and appendix A.

    Example:
        >>> masks = MultiBlock(grid=(14, 14))(8, torch.Generator().manual_seed(0))
        >>> masks.targets.shape[:2], set(masks.context[0].tolist()) & set(masks.targets[0].flatten().tolist())
        (torch.Size([8, 4]), set())
    """

    grid: tuple[int, int]
    targets: int = 4
    target_scale: tuple[float, float] = (0.15, 0.2)
    target_aspect: tuple[float, float] = (0.75, 1.5)
    context_scale: tuple[float, float] = (0.85, 1.0)
    min_keep: int = 10
    inclusive: bool = True
    truncate: Literal["random", "raster"] = "random"

    def __post_init__(self) -> None:
        if min(self.grid) < 2:
            raise ValueError(f"grid = {self.grid}: a block needs at least two rows and two columns around it")
        if self.targets < 1:
            raise ValueError(f"targets = {self.targets} must be at least 1")
        if self.min_keep < 0:
            raise ValueError(f"min_keep = {self.min_keep} must not be negative")
        for name in ("target_scale", "target_aspect", "context_scale"):
            low, high = getattr(self, name)
            if not 0 < low <= high or (name != "target_aspect" and high > 1):
                raise ValueError(
                    f"{name} = {(low, high)} must be (low, high) with 0 < low <= high, shares at most 1"
                )
        if self.truncate not in ("random", "raster"):
            raise ValueError(f"truncate = {self.truncate!r} must be 'random' or 'raster'")

    def __call__(self, n: int, generator: torch.Generator) -> Masks:
        """Masks of `n` images; a function of the state of the generator alone."""
        context, targets = self.blocks(n, generator)
        return Masks(self._cut(context, generator), targets)

    def blocks(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Contexts before they are cut to one size, as booleans `(n, rows, columns)`, and targets as indices."""
        u = torch.rand(2, generator=generator).tolist()
        target = self._size(u[0], self.target_scale, self.target_aspect)
        seen = self._size(u[1], self.context_scale, (1.0, 1.0))
        corners = self._corners((n, self.targets), target, generator)
        context = torch.zeros(n, *self.grid, dtype=torch.bool)
        pending = torch.arange(n)
        for attempt in range(_TRIES * _ROUNDS):
            if attempt and attempt % _TRIES == 0:
                corners[pending] = self._corners((len(pending), self.targets), target, generator)
            hidden = self._cover(corners[pending], target).any(dim=1)
            kept = self._cover(self._corners((len(pending),), seen, generator), seen) & ~hidden
            context[pending] = kept
            pending = pending[kept.flatten(1).sum(1) <= self.min_keep]
            if not len(pending):
                break
        else:
            raise ValueError(
                f"no context of more than {self.min_keep} patches was found outside {self.targets} targets of "
                f"{target[0]}x{target[1]} on a grid of {self.grid[0]}x{self.grid[1]}; lower min_keep, targets or "
                "target_scale, or use smaller patches"
            )
        rows = corners[..., 0, None, None] + torch.arange(target[0])[:, None]
        columns = corners[..., 1, None, None] + torch.arange(target[1])
        return context, (rows * self.grid[1] + columns).flatten(2)

    def _size(self, u: float, scale: tuple[float, float], aspect: tuple[float, float]) -> tuple[int, int]:
        """Rows and columns of a block at the share u of the ranges."""
        rows, columns = self.grid
        n = int(rows * columns * (scale[0] + u * (scale[1] - scale[0])))
        a = aspect[0] + u * (aspect[1] - aspect[0])
        height, width = round(math.sqrt(n * a)), round(math.sqrt(n / a))
        return max(1, min(height, rows - 1)), max(1, min(width, columns - 1))

    def _corners(self, shape: tuple[int, ...], size: tuple[int, int], generator: torch.Generator) -> Tensor:
        """Uniform top left corners `(*shape, 2)`."""
        limits = (side - block + int(self.inclusive) for side, block in zip(self.grid, size, strict=True))
        return torch.stack([torch.randint(limit, shape, generator=generator) for limit in limits], dim=-1)

    def _cover(self, corners: Tensor, size: tuple[int, int]) -> Tensor:
        """The blocks at these corners, as booleans `(*, rows, columns)`."""
        inside = []
        for axis in (0, 1):
            offset = torch.arange(self.grid[axis]) - corners[..., axis, None]
            inside.append((offset >= 0) & (offset < size[axis]))
        return inside[0][..., :, None] & inside[1][..., None, :]

    def _cut(self, context: Tensor, generator: torch.Generator) -> Tensor:
        """Indices of the context patches `(n, K)`, K the size of the smallest context."""
        flat = context.flatten(1)
        smallest = int(flat.sum(1).min())
        priority = torch.rand(flat.shape, generator=generator)
        if self.truncate == "raster":
            priority = torch.arange(flat.shape[1]).expand(flat.shape) / flat.shape[1]
        chosen = torch.where(flat, priority, 2.0).argsort(dim=1)[:, :smallest]
        return chosen.sort(dim=1).values
