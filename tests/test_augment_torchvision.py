"""Augmentations against torchvision on given parameters, where it can be imported."""

from __future__ import annotations

import importlib.util
import itertools

import pytest
import torch
from torch import Tensor

from infossl.data import generator
from infossl.data.augment import Blur, ColorJitter, RandomResizedCrop, Solarise
from infossl.data.colour import Blurred, Jitter, brightness, contrast, gray, hue, saturation

if importlib.util.find_spec("torchvision") is None:
    pytest.skip("torchvision is not installed", allow_module_level=True)

# A wheel of torchvision without its compiled operators for this torch asks for their schemas when it is imported.
_schemas = torch.library.Library("torchvision", "FRAGMENT")
for _schema in (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
):
    if not hasattr(torch.ops.torchvision, _schema.split("(")[0]):
        _schemas.define(_schema)
transforms = pytest.importorskip("torchvision.transforms", exc_type=ImportError)
TF = transforms.functional


def images(n: int = 24, side: int = 24, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.rand(n, 3, side, side, generator=generator(0), dtype=dtype)


def each(operation, x: Tensor, *values: Tensor) -> Tensor:
    return torch.stack([operation(x[i], *(float(v[i]) for v in values)) for i in range(len(x))])


def test_crops() -> None:
    x = images()
    for size in (9, 24, 40):
        crop = RandomResizedCrop((0.08, 1.0), size=size)
        windows = crop.parameters(len(x), (24, 24), generator(1))
        at = torch.stack(list(windows), 1).int().tolist()
        twin = torch.stack(
            [TF.resized_crop(x[i], *at[i], [size, size], antialias=True) for i in range(len(x))]
        )
        torch.testing.assert_close(crop.apply(x, windows), twin, rtol=0, atol=2e-6)


def test_colours() -> None:
    x, f = images(), torch.linspace(0, 2, 24)
    for mine, theirs in (
        (brightness, TF.adjust_brightness),
        (contrast, TF.adjust_contrast),
        (saturation, TF.adjust_saturation),
    ):
        torch.testing.assert_close(mine(x, f), each(theirs, x, f), rtol=0, atol=2e-6)
    torch.testing.assert_close(hue(x, f / 2 - 0.5), each(TF.adjust_hue, x, f / 2 - 0.5), rtol=0, atol=5e-6)
    torch.testing.assert_close(gray(x).expand_as(x), TF.rgb_to_grayscale(x, 3), rtol=0, atol=1e-6)
    torch.testing.assert_close(
        Solarise(1.0)(x, generator(0)), torch.stack([TF.solarize(v, 0.5) for v in x]), rtol=0, atol=0
    )


def test_jitter_in_every_order() -> None:
    x, orders = images(), torch.tensor(list(itertools.permutations(range(4))))
    u = torch.rand(4, 24, generator=generator(1))
    drawn = Jitter(
        0.6 + 0.8 * u[0], 0.6 + 0.8 * u[1], 0.6 + 0.8 * u[2], u[3] - 0.5, orders, torch.ones(24).bool()
    )
    out = ColorJitter(0.4, 0.4, 0.4, 0.5).apply(x, drawn)
    theirs = (TF.adjust_brightness, TF.adjust_contrast, TF.adjust_saturation, TF.adjust_hue)
    for i in range(24):
        twin = x[i]
        for k in orders[i].tolist():
            twin = theirs[k](twin, float(drawn[k][i]))
        torch.testing.assert_close(out[i], twin, rtol=0, atol=2e-5)


@pytest.mark.parametrize("kernel", [3, 23])
def test_blur(kernel: int) -> None:
    x, sigma = images(), torch.linspace(0.1, 2.0, 24)
    out = Blur(kernel=kernel).apply(x, Blurred(sigma, torch.ones(24).bool()))
    twin = torch.stack([TF.gaussian_blur(x[i], [kernel, kernel], [float(sigma[i])] * 2) for i in range(24)])
    torch.testing.assert_close(out, twin, rtol=0, atol=2e-6)
