"""Random windows and mirror images."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from infossl.data.resampling import check_images, moved, resize_matrix, separable
from infossl.data.sample_generator import Generator, per_sample

__all__ = ["Chosen", "Flip", "RandomResizedCrop", "Windows", "check_range", "check_share"]

_TRIES = 10


def check_range(name: str, value: tuple[float, float]) -> None:
    """Refuses what is no range of positive numbers."""
    if not 0 < value[0] <= value[1]:
        raise ValueError(f"{name} = {value} must be (low, high) with 0 < low <= high")


def check_share(name: str, value: float) -> None:
    """Refuses what is no probability."""
    if not 0 <= value <= 1:
        raise ValueError(f"{name} = {value} must be a probability")


class Windows(NamedTuple):
    """One window per sample, in pixels; all `(n,)`, float64 with integer values."""

    top: Tensor
    left: Tensor
    height: Tensor
    width: Tensor


class Chosen(NamedTuple):
    """Which samples an operation is applied to, boolean `(n,)`."""

    chosen: Tensor


@dataclass(frozen=True)
class RandomResizedCrop:
    """A random window, resampled to one size.

    Area share a uniform in `scale` and aspect ratio r log-uniform in `ratio` give a window of round(sqrt(a r H W)) by
    round(sqrt(a H W / r)) pixels. The first of ten draws that fits is placed uniformly; if none fits, the largest central
    window with an aspect ratio in `ratio` is taken. Resampling is bilinear with antialiasing.

    The law of the windows and the filter are those of torchvision's `RandomResizedCrop(antialias=True)`, whose values on
    uint8 images are rounded where these are not. The batch is resampled as a whole, so its images share a size.

    Arguments:
        scale: share of the area that the window covers.
        ratio: aspect ratio, width over height.
        size: side of the result in pixels, or its height and width; by default that of the input.

    References:
        Szegedy et al., 2015, *Going deeper with convolutions*, section 6.

    Example:
        >>> crop = RandomResizedCrop(scale=(0.08, 1.0), size=16)
        >>> crop(torch.rand(4, 3, 32, 32), torch.Generator().manual_seed(0)).shape
        torch.Size([4, 3, 16, 16])
    """

    scale: tuple[float, float] = (0.5, 1.0)
    ratio: tuple[float, float] = (0.75, 4 / 3)
    size: int | tuple[int, int] | None = None

    def __post_init__(self) -> None:
        check_range("scale", self.scale)
        check_range("ratio", self.ratio)
        size = self.size if isinstance(self.size, tuple) else (self.size or 1,)
        if self.size == 0 or min(size) < 1:
            raise ValueError(f"size = {self.size} must be at least one pixel")

    def __call__(self, x: Tensor, generator: Generator) -> Tensor:
        check_images(x)
        return self.apply(x, self.parameters(len(x), (x.shape[2], x.shape[3]), generator))

    def parameters(self, n: int, shape: tuple[int, int], generator: Generator) -> Windows:
        """Windows in n images of the given height and width."""
        stream, (rows, columns) = per_sample(generator, n), shape
        u = stream.uniform((2 * _TRIES + 2,))
        area = rows * columns * (self.scale[0] + (self.scale[1] - self.scale[0]) * u[:, :_TRIES])
        low, high = math.log(self.ratio[0]), math.log(self.ratio[1])
        ratio = torch.exp(low + (high - low) * u[:, _TRIES : 2 * _TRIES])
        width, height = (area * ratio).sqrt().round(), (area / ratio).sqrt().round()
        fits = (width > 0) & (width <= columns) & (height > 0) & (height <= rows)
        first = fits.to(torch.uint8).argmax(1, keepdim=True)
        found = fits.any(1)
        full_height, full_width = self._fallback(rows, columns)
        height = torch.where(found, height.gather(1, first)[:, 0], float(full_height))
        width = torch.where(found, width.gather(1, first)[:, 0], float(full_width))
        top = torch.where(found, (u[:, -2] * (rows - height + 1)).floor(), ((rows - height) / 2).floor())
        left = torch.where(found, (u[:, -1] * (columns - width + 1)).floor(), ((columns - width) / 2).floor())
        return Windows(top, left, height, width)

    def _fallback(self, rows: int, columns: int) -> tuple[int, int]:
        if columns / rows < self.ratio[0]:
            return min(round(columns / self.ratio[0]), rows), columns
        if columns / rows > self.ratio[1]:
            return rows, min(round(rows * self.ratio[1]), columns)
        return rows, columns

    def apply(self, x: Tensor, windows: Windows) -> Tensor:
        """The given windows of the images, resampled."""
        height, width = self.size if isinstance(self.size, tuple) else (self.size, self.size)
        # In float32 at least: half precision could not tell the pixels of a large image apart.
        dtype = x.dtype if x.dtype == torch.float64 else torch.float32
        top, left, tall, wide = (moved(value, x.device, dtype) for value in windows)
        rows = resize_matrix(top, tall, x.shape[2], height or x.shape[2])
        columns = resize_matrix(left, wide, x.shape[3], width or x.shape[3])
        return separable(x, rows.to(x.dtype), columns.to(x.dtype))


@dataclass(frozen=True)
class Flip:
    """Mirrors each image left to right with probability `p`."""

    p: float = 0.5

    def __post_init__(self) -> None:
        check_share("p", self.p)

    def __call__(self, x: Tensor, generator: Generator) -> Tensor:
        check_images(x)
        return self.apply(x, self.parameters(len(x), generator))

    def parameters(self, n: int, generator: Generator) -> Chosen:
        """Which of n images are mirrored."""
        return Chosen(per_sample(generator, n).uniform() < self.p)

    def apply(self, x: Tensor, parameters: Chosen) -> Tensor:
        """The images, the chosen ones mirrored."""
        return torch.where(moved(parameters.chosen, x.device)[:, None, None, None], x.flip(3), x)
