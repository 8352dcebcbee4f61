"""Published settings of views, as data: SimCLR, BYOL, VICReg and DINO."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

from infossl.data.augment import (
    Blur,
    ColorJitter,
    Compose,
    Flip,
    Grayscale,
    Normalise,
    PerView,
    RandomResizedCrop,
    Solarise,
    ToFloat,
)
from infossl.data.sample_generator import Generator, per_sample
from infossl.probe_set import Augment

__all__ = ["VIEW_PRESETS", "MultiCrop", "ViewSettings", "multi_crop", "views_named"]


@dataclass(frozen=True, kw_only=True)
class ViewSettings:
    """How one view is drawn: crop, flip, colours, blur, solarisation and normalisation, in this order.

    Arguments:
        size: side of the crop in pixels; `scale`: share of the area that it covers.
        jitter: strengths of brightness, contrast, saturation and hue; `jitter_p`: probability of any change.
        flip, grayscale, blur, solarise: probabilities.
        kernel: width of the blur in pixels; by default a tenth of the size, made odd.

    Example:
        >>> import torch
        >>> augment = VIEW_PRESETS["SimCLR"][0].build(size=32)
        >>> augment(torch.rand(2, 3, 64, 64), torch.Generator().manual_seed(0)).shape
        torch.Size([2, 3, 32, 32])
    """

    size: int = 224
    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip: float = 0.5
    jitter: tuple[float, float, float, float] = (0.4, 0.4, 0.2, 0.1)
    jitter_p: float = 0.8
    grayscale: float = 0.2
    blur: float = 0.5
    sigma: tuple[float, float] = (0.1, 2.0)
    kernel: int | None = None
    solarise: float = 0.0

    def build(
        self,
        size: int | tuple[int, int] | None = None,
        mean: tuple[float, ...] | None = (0.485, 0.456, 0.406),
        std: tuple[float, ...] | None = (0.229, 0.224, 0.225),
    ) -> Compose:
        """The augmentation, for images of bytes or in [0, 1]; without `mean` and `std` its values stay in [0, 1].

        A blur too wide to be reflected in a small image is narrowed to it. Images of one channel get no saturation, hue
        or grayscale: these leave them as they are.
        """
        size = size or self.size
        side = min(size) if isinstance(size, tuple) else size
        steps: list[Augment] = [ToFloat(), RandomResizedCrop(self.scale, self.ratio, size)]
        if self.flip:
            steps.append(Flip(self.flip))
        if self.jitter_p:
            steps.append(ColorJitter(*self.jitter, p=self.jitter_p))
        if self.grayscale:
            steps.append(Grayscale(self.grayscale))
        if self.blur:
            kernel = None if self.kernel is None else min(self.kernel, 2 * side - 1)
            steps.append(Blur(self.blur, self.sigma, kernel))
        if self.solarise:
            steps.append(Solarise(self.solarise))
        if mean is not None and std is not None:
            steps.append(Normalise(mean, std))
        return Compose(tuple(steps))


_BYOL = ViewSettings(blur=1.0, kernel=23)
_DINO_GLOBAL = ViewSettings(scale=(0.4, 1.0), blur=1.0)

VIEW_PRESETS: dict[str, tuple[ViewSettings, ...]] = {
    "SimCLR": (ViewSettings(jitter=(0.8, 0.8, 0.8, 0.2)),),
    "SimCLR-CIFAR": (ViewSettings(size=32, jitter=(0.4, 0.4, 0.4, 0.1), blur=0.0),),
    "BYOL": (_BYOL, replace(_BYOL, blur=0.1, solarise=0.2)),
    "VICReg": (ViewSettings(blur=0.5, kernel=23, solarise=0.1),),
    "DINO": (
        _DINO_GLOBAL,
        replace(_DINO_GLOBAL, blur=0.1, solarise=0.2),
        *(ViewSettings(size=96, scale=(0.05, 0.4)),) * 8,
    ),
}
"""Settings of each view: one entry serves all views, several serve one view each.

SimCLR: Chen et al., 2020, appendices A and B.9. BYOL: Grill et al., 2020, table 6; its resampling was bicubic. VICReg:
Bardes et al., 2022, appendix C.1; the published code has BYOL's two views instead. DINO: Caron et al., 2021, with the
crops of its published code: two large ones, eight small ones. Blur of VICReg's and DINO's code is PIL's: see `Blur`.
"""


def views_named(
    name: str,
    *,
    size: int | tuple[int, int],
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
) -> Compose | PerView:
    """The augmentation of a preset for crops of one size.

    Of a preset with small crops, the large ones alone: `multi_crop` gives all.

    Raises:
        ValueError: if the preset is unknown.

    Example:
        >>> type(views_named("VICReg", size=32)).__name__, len(views_named("BYOL", size=32).steps)
        ('Compose', 2)
    """
    if name not in VIEW_PRESETS:
        raise ValueError(f"unknown views {name!r}; known names: {', '.join(sorted(VIEW_PRESETS))}")
    preset = VIEW_PRESETS[name]
    built = tuple(view.build(size, mean, std) for view in preset if view.size == preset[0].size)
    return built[0] if len(built) == 1 else PerView(built)


@dataclass(frozen=True)
class MultiCrop:
    """Several views of each image, which may differ in size and in settings: `(batch, generator) -> tuple of views`.

    References:
        Caron et al., 2020, *Unsupervised learning of visual features by contrasting cluster assignments*.

    Example:
        >>> import torch
        >>> views = multi_crop("DINO", size=32, small=12)(torch.rand(2, 3, 40, 40), torch.Generator().manual_seed(0))
        >>> [view.shape[-1] for view in views]
        [32, 32, 12, 12, 12, 12, 12, 12, 12, 12]
    """

    steps: tuple[Augment, ...]

    def __call__(self, x: Tensor, generator: Generator) -> tuple[Tensor, ...]:
        streams = per_sample(generator, len(x))
        return tuple(step(x, streams.for_view(view)) for view, step in enumerate(self.steps))


def multi_crop(
    name: str = "DINO",
    *,
    size: int = 224,
    small: int = 96,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
) -> MultiCrop:
    """All views of a preset, large ones of `size` and small ones of `small` pixels."""
    if name not in VIEW_PRESETS:
        raise ValueError(f"unknown views {name!r}; known names: {', '.join(sorted(VIEW_PRESETS))}")
    preset = VIEW_PRESETS[name]
    sizes = (size if view.size == preset[0].size else small for view in preset)
    return MultiCrop(tuple(v.build(s, mean, std) for v, s in zip(preset, sizes, strict=True)))
