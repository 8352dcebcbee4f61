"""Batched augmentations: each sample draws its own parameters, from an explicit generator.

Each is a frozen callable `(batch, generator) -> batch` on images `(N, C, H, W)` with values in [0, 1], on the device of
the batch. Those of this file may leave that range: nothing is clipped. With a `SampleGenerator` what an image draws
depends on its index, the epoch and the view alone; with a `torch.Generator`, on its place in the batch.

Crops, flips, colours and blur (`crop.py`, `colour.py`) draw their parameters first, as one small typed batch on the CPU,
`parameters(...)`, and then apply them, `apply(x, parameters)`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from infossl.data.colour import Blur, ColorJitter, Grayscale, Normalise, Solarise, ToFloat
from infossl.data.crop import Flip, RandomResizedCrop
from infossl.data.resampling import check_images as _check
from infossl.data.sample_generator import Generator, normal, uniform
from infossl.probe_set import Augment

__all__ = [
    "AUGMENTATIONS",
    "Blur",
    "Brightness",
    "ColorJitter",
    "Compose",
    "Erasing",
    "Flip",
    "Gain",
    "Grayscale",
    "Noise",
    "Normalise",
    "PerView",
    "RandomAffine",
    "RandomResizedCrop",
    "Solarise",
    "ToFloat",
    "affine",
    "uniform",
]


def affine(
    x: Tensor, matrix: Tensor, shift: Tensor, size: tuple[int, int] | None = None, padding: str = "zeros"
) -> Tensor:
    """Resamples images bilinearly: output pixel p shows the input at `matrix p + shift`.

    Coordinates run from -1 to 1 over each image, x first.

    Shapes:
        `x`: `(N, C, H, W)`; `matrix`: `(N, 2, 2)`; `shift`: `(N, 2)`; `size`: output height and width.
    """
    theta = torch.cat([matrix, shift[:, :, None]], dim=2)
    grid = F.affine_grid(theta, [*x.shape[:2], *(size or x.shape[2:])], align_corners=False)
    return F.grid_sample(x, grid, mode="bilinear", padding_mode=padding, align_corners=False)


@dataclass(frozen=True)
class Compose:
    """Applies augmentations one after the other.

    Example:
        >>> import torch
        >>> augment = Compose((Gain(0.2), Noise(0.05)))
        >>> augment(torch.ones(4, 1, 8, 8), torch.Generator().manual_seed(0)).shape
        torch.Size([4, 1, 8, 8])
    """

    steps: tuple[Augment, ...] = ()

    def __call__(self, x: Tensor, generator: Generator) -> Tensor:
        for step in self.steps:
            x = step(x, generator)
        return x


@dataclass(frozen=True)
class PerView:
    """Another augmentation for each view: view v gets number v, modulo how many there are.

    Raises:
        ValueError: with a `torch.Generator`, which does not say which view it draws.

    Example:
        >>> import torch
        >>> from infossl.data.sample_generator import SampleGenerator
        >>> augment = PerView((Compose(), Gain(0.2)))
        >>> x = torch.ones(3, 1, 2, 2)
        >>> [torch.equal(augment(x, SampleGenerator(0, torch.arange(3), view=v)), x) for v in (0, 1)]
        [True, False]
    """

    steps: tuple[Augment, ...]

    def __call__(self, x: Tensor, generator: Generator) -> Tensor:
        if isinstance(generator, torch.Generator):
            raise ValueError(
                "views that differ from each other need a SampleGenerator, which knows the number of the view; "
                "a torch.Generator does not: pass SampleGenerator(seed, ids, epoch=..., view=...)"
            )
        return self.steps[generator.view % len(self.steps)](x, generator)


@dataclass(frozen=True)
class RandomAffine:
    """Rotation, isotropic zoom and translation about the centre; what moves in from outside is black.

    Arguments:
        rotation: largest angle, in radians.
        translation: largest shift along each axis, in units of half the image.
        zoom: the content is enlarged by a factor uniform in (1 - zoom, 1 + zoom).
        shear: the horizontal shear is uniform in (-shear, shear).
    """

    rotation: float = 0.2
    translation: float = 0.15
    zoom: float = 0.1
    shear: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.zoom < 1:
            raise ValueError(f"zoom = {self.zoom} must be in [0, 1)")

    def __call__(self, x: Tensor, generator: Generator) -> Tensor:
        _check(x)
        n = len(x)
        angle = uniform((n,), -self.rotation, self.rotation, x, generator)
        size = uniform((n,), 1 - self.zoom, 1 + self.zoom, x, generator)
        shear = uniform((n,), -self.shear, self.shear, x, generator)
        shift = uniform((n, 2), -self.translation, self.translation, x, generator)
        cos, sin = torch.cos(angle) / size, torch.sin(angle) / size
        rows = [torch.stack([cos, -sin + shear], 1), torch.stack([sin, cos], 1)]
        return affine(x, torch.stack(rows, 1), shift)


@dataclass(frozen=True)
class Gain:
    """Multiplies each image by a factor uniform in (1 - spread, 1 + spread)."""

    spread: float = 0.3

    def __call__(self, x: Tensor, generator: Generator) -> Tensor:
        _check(x)
        return x * uniform((len(x), 1, 1, 1), 1 - self.spread, 1 + self.spread, x, generator)


@dataclass(frozen=True)
class Brightness:
    """Adds to each image an amount uniform in (-spread, spread)."""

    spread: float = 0.1

    def __call__(self, x: Tensor, generator: Generator) -> Tensor:
        _check(x)
        return x + uniform((len(x), 1, 1, 1), -self.spread, self.spread, x, generator)


@dataclass(frozen=True)
class Noise:
    """Adds independent Gaussian noise of standard deviation `sigma` to every pixel."""

    sigma: float = 0.05

    def __call__(self, x: Tensor, generator: Generator) -> Tensor:
        _check(x)
        return x + self.sigma * normal(tuple(x.shape), x, generator)


@dataclass(frozen=True)
class Erasing:
    """Blackens one square window of `size` pixels at a random place, with probability `p` for each image.

    References:
        Zhong et al., 2020, *Random erasing data augmentation*.
    """

    p: float = 0.5
    size: int = 2

    def __call__(self, x: Tensor, generator: Generator) -> Tensor:
        _check(x)
        n, _, height, width = x.shape
        if not 0 < self.size <= min(height, width):
            raise ValueError(f"size = {self.size} does not fit images of shape {tuple(x.shape)}")
        top = uniform((n, 1), 0, height - self.size + 1, x, generator).floor()
        left = uniform((n, 1), 0, width - self.size + 1, x, generator).floor()
        rows = torch.arange(height, device=x.device) - top
        columns = torch.arange(width, device=x.device) - left
        inside = ((rows >= 0) & (rows < self.size))[:, :, None] & ((columns >= 0) & (columns < self.size))[
            :, None, :
        ]
        chosen = uniform((n, 1, 1), 0, 1, x, generator) < self.p
        return x.masked_fill((inside & chosen)[:, None], 0)


AUGMENTATIONS = {
    "Blur": Blur,
    "Brightness": Brightness,
    "ColorJitter": ColorJitter,
    "Compose": Compose,
    "Erasing": Erasing,
    "Flip": Flip,
    "Gain": Gain,
    "Grayscale": Grayscale,
    "Noise": Noise,
    "Normalise": Normalise,
    "PerView": PerView,
    "RandomAffine": RandomAffine,
    "RandomResizedCrop": RandomResizedCrop,
    "Solarise": Solarise,
    "ToFloat": ToFloat,
}
"""Names for `estimators.parse(text, AUGMENTATIONS)`."""
