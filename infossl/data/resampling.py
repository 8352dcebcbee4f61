"""Separable linear maps of images: every sample has its own matrix along rows and along columns."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["blur_matrix", "check_images", "moved", "resize_matrix", "separable"]


def check_images(x: Any) -> None:
    """Refuses what is no batch of floating point images `(N, C, H, W)`."""
    if not isinstance(x, Tensor) or x.ndim != 4 or not x.is_floating_point():
        shape, dtype = tuple(getattr(x, "shape", ())), getattr(x, "dtype", type(x).__name__)
        mend = "; put ToFloat() first" if dtype == torch.uint8 else ""
        raise ValueError(
            f"batch must be floating point images (N, C, H, W), got {dtype} of shape {shape}{mend}"
        )


def moved(value: Tensor, device: torch.device, dtype: torch.dtype | None = None) -> Tensor:
    """A few parameters on the device of the images, without waiting for what is under way there."""
    return value.to(dtype or value.dtype).to(device, non_blocking=True)


def separable(x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """`rows @ x @ columns^T` for every sample and channel.

    Shapes:
        `x`: `(N, C, H, W)`; `rows`: `(N, h, H)`; `columns`: `(N, w, W)`; result `(N, C, h, w)`.
    """
    return rows[:, None] @ (x @ columns[:, None].transpose(-1, -2))


def resize_matrix(start: Tensor, length: Tensor, size: int, out: int) -> Tensor:
    """Bilinear resampling of the window [start, start + length) to `out` pixels, with antialiasing.

    Output pixel o weighs input pixel j by max(0, 1 - |j + 1/2 - start - s (o + 1/2)| / max(s, 1)) with s = length / out,
    normalised over the pixels of the window: the triangle filter of PIL's `resize`, and of torch's with `antialias=True`.

    Shapes:
        `start`, `length`: `(N,)`, in pixels of an axis of `size`; result `(N, out, size)`.
    """
    scale = (length / out)[:, None, None]
    pixel = torch.arange(size, device=start.device, dtype=start.dtype) + 0.5 - start[:, None, None]
    centre = scale * (torch.arange(out, device=start.device, dtype=start.dtype) + 0.5)[:, None]
    weight = (1 - (pixel - centre).abs() / scale.clamp(min=1)).clamp(min=0)
    weight = weight * ((pixel > 0) & (pixel < length[:, None, None]))
    return weight / weight.sum(2, keepdim=True)


def blur_matrix(sigma: Tensor, kernel: int, size: int) -> Tensor:
    """Convolution with a Gaussian cut to `kernel` pixels and normalised; borders are reflected.

    Raises:
        ValueError: if half the kernel does not fit into the image, so that it could not be reflected.

    Shapes:
        `sigma`: `(N,)`, in pixels; result `(N, size, size)`.
    """
    half = kernel // 2
    if half >= size:
        raise ValueError(
            f"kernel = {kernel} is too large for images of {size} pixels: at most {2 * size - 1}"
        )
    offset = torch.arange(-half, half + 1, device=sigma.device, dtype=sigma.dtype)
    weight = torch.exp(-0.5 * (offset / sigma[:, None]).square())
    weight = weight / weight.sum(1, keepdim=True)
    at = torch.arange(size, device=sigma.device)[:, None] + torch.arange(-half, half + 1, device=sigma.device)
    at = at.abs()  # reflected at pixel 0, then at the last one
    at = (size - 1) - ((size - 1) - at).abs()
    matrix = sigma.new_zeros(len(sigma), size, size)
    return matrix.scatter_add_(2, at.expand(len(sigma), -1, -1), weight[:, None].expand(-1, size, -1))
