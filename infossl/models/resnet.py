"""Residual networks, with a stem for large and a stem for small images."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from infossl.models.seeded import seeded

__all__ = ["ResNet", "resnet18", "resnet50"]

log = logging.getLogger(__name__)

_SMALL = 64  # pixels: below, the stem for large images leaves no more than 2x2 places to the last stage


def _conv(inputs: int, outputs: int, size: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, size, stride=stride, padding=size // 2, bias=False)


class _Residual(nn.Module):
    """relu(shortcut(x) + branch(x))."""

    def __init__(self, branch: nn.Sequential, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.branch = branch
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(_conv(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.shortcut(x) + self.branch(x))


def _basic(inputs: int, width: int, stride: int) -> _Residual:
    """Two 3x3 convolutions."""
    branch = nn.Sequential(
        _conv(inputs, width, 3, stride),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        _conv(width, width, 3),
        nn.BatchNorm2d(width),
    )
    return _Residual(branch, inputs, width, stride)


def _bottleneck(inputs: int, width: int, stride: int) -> _Residual:
    """1x1, 3x3 and 1x1 convolutions; the stride is in the 3x3 one, as in all common implementations."""
    branch = nn.Sequential(
        _conv(inputs, width, 1),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        _conv(width, width, 3, stride),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        _conv(width, 4 * width, 1),
        nn.BatchNorm2d(4 * width),
    )
    return _Residual(branch, inputs, 4 * width, stride)


class ResNet(nn.Module):
    """Stem, four stages of residual blocks; h is the mean over space of the last stage.

    Arguments:
        layers: residual blocks in each of the four stages.
        kind: `"basic"` or `"bottleneck"` blocks.
        stem: `"imagenet"` is a 7x7 convolution of stride 2 and max-pooling, which shrink images four times; `"cifar"` is a
            3x3 convolution of stride 1. Images smaller than 64 pixels in front of the first are logged as a warning, once.
        in_channels: channels of the images.
        width: channels of the first stage.

    Shapes:
        `(N, in_channels, H, W)` to h `(N, dim)`, with dim = 8 width, or 32 width for bottlenecks. `blocks` are the stages.

    Raises:
        ValueError: for an unknown kind or stem, or another number of stages.

    References:
        He, Zhang, Ren & Sun, 2016, *Deep Residual Learning for Image Recognition*.
        Chen, Kornblith, Norouzi & Hinton, 2020, *A Simple Framework for Contrastive Learning of Visual Representations*,
        appendix B.9 (the stem for CIFAR-10).

    Example:
        >>> model = ResNet((1, 1, 1, 1), "basic", stem="cifar", in_channels=1, width=4)
        >>> model(torch.zeros(2, 1, 16, 16)).shape
        torch.Size([2, 32])
    """

    h_is_last_block = True  # for recorders: the last stage, pooled, is h itself

    def __init__(
        self,
        layers: Sequence[int],
        kind: Literal["basic", "bottleneck"],
        *,
        stem: Literal["imagenet", "cifar"] = "imagenet",
        in_channels: int = 3,
        width: int = 64,
    ) -> None:
        super().__init__()
        if kind not in ("basic", "bottleneck"):
            raise ValueError(f"kind = {kind!r} must be 'basic' or 'bottleneck'")
        if stem not in ("imagenet", "cifar"):
            raise ValueError(f"stem = {stem!r} must be 'imagenet' or 'cifar'")
        if len(layers) != 4:
            raise ValueError(f"layers = {tuple(layers)} must give the blocks of four stages")
        self.stem_kind = stem
        first = _conv(in_channels, width, 7, 2) if stem == "imagenet" else _conv(in_channels, width, 3)
        parts: list[nn.Module] = [first, nn.BatchNorm2d(width), nn.ReLU()]
        if stem == "imagenet":
            parts.append(nn.MaxPool2d(3, stride=2, padding=1))
        self.stem = nn.Sequential(*parts)
        block, expansion = (_basic, 1) if kind == "basic" else (_bottleneck, 4)
        stages, inputs = [], width
        for stage, count in enumerate(layers):
            inner, residuals = width * 2**stage, []
            for i in range(count):
                residuals.append(block(inputs, inner, 2 if stage > 0 and i == 0 else 1))
                inputs = inner * expansion
            stages.append(nn.Sequential(*residuals))
        self.blocks = nn.Sequential(*stages)
        self.dim = inputs
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        self._said = False

    def forward(self, x: Tensor) -> Tensor:
        if self.stem_kind == "imagenet" and not self._said and not torch.compiler.is_compiling():
            self._check(x)
        return self.blocks(self.stem(x)).mean(dim=(2, 3))

    def _check(self, x: Tensor) -> None:
        if min(x.shape[2:]) < _SMALL:
            self._said = True
            log.warning(
                "images of %dx%d pixels meet stem='imagenet', which leaves %dx%d places to the last stage; "
                "stem='cifar' is made for images of this size",
                *x.shape[2:],
                *(-(-side // 32) for side in x.shape[2:]),
            )


def resnet18(
    *,
    stem: Literal["imagenet", "cifar"] = "imagenet",
    in_channels: int = 3,
    width: int = 64,
    seed: int = 0,
) -> ResNet:
    """ResNet-18 without its classifier, initialised from the seed alone: 11,176,512 parameters, h of 512 dimensions.

    Example:
        >>> sum(p.numel() for p in resnet18().parameters())
        11176512
    """
    with seeded(seed):
        return ResNet((2, 2, 2, 2), "basic", stem=stem, in_channels=in_channels, width=width)


def resnet50(
    *,
    stem: Literal["imagenet", "cifar"] = "imagenet",
    in_channels: int = 3,
    width: int = 64,
    seed: int = 0,
) -> ResNet:
    """ResNet-50 without its classifier, initialised from the seed alone: 23,508,032 parameters, h of 2048 dimensions.

    Example:
        >>> with torch.device("meta"):
        ...     model = resnet50()
        >>> sum(p.numel() for p in model.parameters())
        23508032
    """
    with seeded(seed):
        return ResNet((3, 4, 6, 3), "bottleneck", stem=stem, in_channels=in_channels, width=width)
