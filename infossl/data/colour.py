"""Colour, blur and solarisation: values stay in [0, 1], as those of the reference implementations do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from infossl.data.crop import Chosen, check_range, check_share
from infossl.data.resampling import blur_matrix, check_images, moved, separable
from infossl.data.sample_generator import Generator, per_sample

__all__ = [
    "Blur",
    "Blurred",
    "ColorJitter",
    "Grayscale",
    "Jitter",
    "Normalise",
    "Solarise",
    "ToFloat",
    "brightness",
    "contrast",
    "gray",
    "hue",
    "saturation",
]


def _column(value: Tensor, x: Tensor) -> Tensor:
    return moved(value, x.device, x.dtype)[:, None, None, None]


def gray(x: Tensor) -> Tensor:
    """Luma 0.2989 R + 0.587 G + 0.114 B (ITU-R BT.601), `(N, 1, H, W)`; images of one channel as they are."""
    if x.shape[1] == 1:
        return x
    if x.shape[1] != 3:
        raise ValueError(f"x has shape {tuple(x.shape)}: colours need 1 or 3 channels")
    red, green, blue = x.unbind(1)
    return (0.2989 * red + 0.587 * green + 0.114 * blue)[:, None]


def brightness(x: Tensor, factor: Tensor) -> Tensor:
    """f x, cut to [0, 1]; `factor`: `(N,)`."""
    return (x * _column(factor, x)).clamp(0, 1)


def contrast(x: Tensor, factor: Tensor) -> Tensor:
    """f x + (1 - f) m with m the mean luma of the image, cut to [0, 1]; `factor`: `(N,)`."""
    return torch.lerp(gray(x).mean((1, 2, 3), keepdim=True).expand_as(x), x, _column(factor, x)).clamp(0, 1)


def saturation(x: Tensor, factor: Tensor) -> Tensor:
    """f x + (1 - f) gray(x), cut to [0, 1]; `factor`: `(N,)`."""
    return torch.lerp(gray(x).expand_as(x), x, _column(factor, x)).clamp(0, 1)


def hue(x: Tensor, shift: Tensor) -> Tensor:
    """Turns the hue by a share of the colour circle, at the same saturation and value; `shift`: `(N,)`.

    References:
        Smith, 1978, *Color gamut transform pairs*.
    """
    if x.shape[1] == 1:
        return x
    value, low = x.amax(1), x.amin(1)
    chroma = value - low
    safe = torch.where(chroma > 0, chroma, 1)
    red, green, blue = x.unbind(1)
    sector = torch.where(
        value == red,
        (green - blue) / safe,
        torch.where(value == green, 2 + (blue - red) / safe, 4 + (red - green) / safe),
    )
    sector = sector + 6 * _column(shift, x)[:, 0]
    # Each channel is the value less the chroma times a trapezoid of the angle, moved by a third of the circle.
    angle = torch.stack([5 + sector, 3 + sector, 1 + sector], 1).remainder(6)
    ramp = torch.minimum(angle, 4 - angle).clamp(0, 1)
    return value[:, None] - chroma[:, None] * ramp


class Jitter(NamedTuple):
    """Factors `(n,)`, the hue's shift `(n,)`, the order of the four operations `(n, 4)`, and who is changed `(n,)`."""

    brightness: Tensor
    contrast: Tensor
    saturation: Tensor
    hue: Tensor
    order: Tensor
    chosen: Tensor


@dataclass(frozen=True)
class ColorJitter:
    """Brightness, contrast, saturation and hue change with probability `p`, in an order that each image draws.

    Factors are uniform in [max(0, 1 - s), 1 + s] for a strength s, the hue's shift in [-hue, hue].

    References:
        Chen et al., 2020, *A simple framework for contrastive learning of visual representations*, appendix A.

    Example:
        >>> jitter = ColorJitter(0.4, 0.4, 0.2, 0.1)
        >>> jitter(torch.rand(4, 3, 8, 8), torch.Generator().manual_seed(0)).shape
        torch.Size([4, 3, 8, 8])
    """

    brightness: float = 0.4
    contrast: float = 0.4
    saturation: float = 0.2
    hue: float = 0.1
    p: float = 0.8

    def __post_init__(self) -> None:
        check_share("p", self.p)
        for name in ("brightness", "contrast", "saturation"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} = {getattr(self, name)} must not be negative")
        if not 0 <= self.hue <= 0.5:
            raise ValueError(f"hue = {self.hue} must be in [0, 0.5], a share of the colour circle")

    def __call__(self, x: Tensor, generator: Generator) -> Tensor:
        check_images(x)
        return self.apply(x, self.parameters(len(x), generator))

    def parameters(self, n: int, generator: Generator) -> Jitter:
        """What n images draw."""
        u = per_sample(generator, n).uniform((9,))

        def factor(column: int, strength: float) -> Tensor:
            low = max(0.0, 1 - strength)
            return low + (1 + strength - low) * u[:, column]

        return Jitter(
            factor(0, self.brightness),
            factor(1, self.contrast),
            factor(2, self.saturation),
            self.hue * (2 * u[:, 3] - 1),
            u[:, 4:8].argsort(1),
            u[:, 8] < self.p,
        )

    def apply(self, x: Tensor, parameters: Jitter) -> Tensor:
        """The images with the given changes, in the given orders."""
        operations = (
            (brightness, parameters.brightness, self.brightness),
            (contrast, parameters.contrast, self.contrast),
            (saturation, parameters.saturation, self.saturation),
            (hue, parameters.hue, self.hue),
        )
        out = x.clone()
        for place in range(4):
            for k, (operation, value, strength) in enumerate(operations):
                if strength == 0:
                    continue
                # The parameters are on the CPU: the rows are known without waiting for the accelerator.
                rows = ((parameters.order[:, place] == k) & parameters.chosen).nonzero()[:, 0]
                if len(rows):
                    at = moved(rows, x.device)
                    out[at] = operation(out[at], value[rows])
        return out


@dataclass(frozen=True)
class Grayscale:
    """Replaces each image by its luma in every channel, with probability `p`."""

    p: float = 0.2

    def __post_init__(self) -> None:
        check_share("p", self.p)

    def __call__(self, x: Tensor, generator: Generator) -> Tensor:
        check_images(x)
        return self.apply(x, self.parameters(len(x), generator))

    def parameters(self, n: int, generator: Generator) -> Chosen:
        """Which of n images lose their colour."""
        return Chosen(per_sample(generator, n).uniform() < self.p)

    def apply(self, x: Tensor, parameters: Chosen) -> Tensor:
        """The images, the chosen ones gray."""
        return torch.where(moved(parameters.chosen, x.device)[:, None, None, None], gray(x).expand_as(x), x)


@dataclass(frozen=True)
class Solarise:
    """Inverts the values from `threshold` on, x -> 1 - x, with probability `p` for each image."""

    p: float = 0.2
    threshold: float = 0.5

    def __post_init__(self) -> None:
        check_share("p", self.p)

    def __call__(self, x: Tensor, generator: Generator) -> Tensor:
        check_images(x)
        return self.apply(x, self.parameters(len(x), generator))

    def parameters(self, n: int, generator: Generator) -> Chosen:
        """Which of n images are solarised."""
        return Chosen(per_sample(generator, n).uniform() < self.p)

    def apply(self, x: Tensor, parameters: Chosen) -> Tensor:
        """The images, the chosen ones solarised."""
        chosen = moved(parameters.chosen, x.device)[:, None, None, None]
        return torch.where(chosen & (x >= self.threshold), 1 - x, x)


class Blurred(NamedTuple):
    """Standard deviations in pixels and who is blurred, both `(n,)`."""

    sigma: Tensor
    chosen: Tensor


@dataclass(frozen=True)
class Blur:
    """Gaussian blur with a standard deviation uniform in `sigma` pixels, with probability `p`.

    A true Gaussian cut to `kernel` pixels, with reflected borders. (PIL's filter, which some published code uses, is a
    box filter applied three times, with repeated borders.)

    Arguments:
        kernel: odd width in pixels; by default a tenth of the shorter side, made odd, and at least 3.

    References:
        Chen et al., 2020, *A simple framework for contrastive learning of visual representations*, appendix A.
    """

    p: float = 0.5
    sigma: tuple[float, float] = (0.1, 2.0)
    kernel: int | None = None

    def __post_init__(self) -> None:
        check_share("p", self.p)
        check_range("sigma", self.sigma)
        if self.kernel is not None and (self.kernel < 1 or self.kernel % 2 == 0):
            raise ValueError(f"kernel = {self.kernel} must be odd and positive")

    def __call__(self, x: Tensor, generator: Generator) -> Tensor:
        check_images(x)
        return self.apply(x, self.parameters(len(x), generator))

    def parameters(self, n: int, generator: Generator) -> Blurred:
        """What n images draw."""
        u = per_sample(generator, n).uniform((2,))
        return Blurred(self.sigma[0] + (self.sigma[1] - self.sigma[0]) * u[:, 0], u[:, 1] < self.p)

    def apply(self, x: Tensor, parameters: Blurred) -> Tensor:
        """The images, the chosen ones blurred."""
        rows = parameters.chosen.nonzero()[:, 0]
        if not len(rows):
            return x
        kernel = self.kernel or max(3, min(x.shape[2:]) // 10 // 2 * 2 + 1)
        dtype = x.dtype if x.dtype == torch.float64 else torch.float32
        sigma, at = moved(parameters.sigma[rows], x.device, dtype), moved(rows, x.device)
        along = [blur_matrix(sigma, kernel, size).to(x.dtype) for size in x.shape[2:]]
        return x.index_copy(0, at, separable(x[at], along[0], along[1]))


@dataclass(frozen=True)
class ToFloat:
    """Images of bytes to floating point in [0, 1]; others are left as they are."""

    def __call__(self, x: Tensor, generator: Generator | None = None) -> Tensor:
        return x.float() / 255 if x.dtype == torch.uint8 else x


@dataclass(frozen=True)
class Normalise:
    """(x - mean) / std for each channel."""

    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)

    def __post_init__(self) -> None:
        if len(self.mean) != len(self.std) or min(self.std, default=0) <= 0:
            raise ValueError(
                f"mean = {self.mean} and std = {self.std} must give each channel a mean and a positive std"
            )

    def __call__(self, x: Tensor, generator: Generator | None = None) -> Tensor:
        check_images(x)
        if x.shape[1] != len(self.mean):
            raise ValueError(
                f"x has shape {tuple(x.shape)} and mean {len(self.mean)} channels: both need the same C"
            )
        mean, std = (
            moved(torch.tensor(v, dtype=x.dtype), x.device)[:, None, None] for v in (self.mean, self.std)
        )
        return (x - mean) / std
