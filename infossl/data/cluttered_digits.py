"""Cluttered digits: content and style are known variables.

The content is the image of a digit. Two views share it and redraw everything else, so that what a
representation should keep (class, instance) and what it should forget (position, rotation, size, clutter,
gain) are both at hand for measuring.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from infossl.data.augment import affine
from infossl.data.digits import digits
from infossl.data.image_data import ImageData
from infossl.data.sample_generator import Generator, uniform

__all__ = ["Clutter", "Style", "cluttered_digits"]


class Style(NamedTuple):
    """Everything about n views that is not the digit itself.

    Shapes:
        `shift`: `(n, 2)`, centre of the digit, x first, in half-widths of the canvas.
        `rotation`: `(n,)`, clockwise, in radians; `scale`: `(n,)`, enlargement of the digit.
        `donor`: `(n, p)`, the row of the batch that each piece was cut from.
        `source`, `target`: `(n, p, 2)`, upper left corner (row, column) of each piece there and on the canvas.
        `gain`: `(n,)`; `noise`: `(n, 1, canvas, canvas)`.
    """

    shift: Tensor
    rotation: Tensor
    scale: Tensor
    donor: Tensor
    source: Tensor
    target: Tensor
    gain: Tensor
    noise: Tensor


@dataclass(frozen=True)
class Clutter:
    """Places digits `(n, 1, s, s)` on a larger canvas `(n, 1, canvas, canvas)` among pieces of other digits.

    Arguments:
        canvas: side of the canvas, in pixels.
        shift: largest displacement along each axis, in half-widths of the canvas.
        rotation: largest angle, in radians.
        scale: the digit is enlarged by a factor uniform in (1 - scale, 1 + scale).
        patches: pieces of other digits of the batch; each is blended by the maximum.
        patch: side of a piece, in pixels.
        faint: brightness of the pieces.
        gain: brightness of the view is multiplied by a factor uniform in (1 - gain, 1 + gain).
        noise: standard deviation of the pixel noise.

    Raises:
        ValueError: if the batch holds fewer than two digits (pieces come from the others).
        TypeError: with a `SampleGenerator`: what a digit draws depends on the batch.

    Example:
        >>> import torch
        >>> Clutter()(torch.rand(4, 1, 16, 16), torch.Generator().manual_seed(0)).shape
        torch.Size([4, 1, 24, 24])
    """

    canvas: int = 24
    shift: float = 0.55
    rotation: float = 0.25
    scale: float = 0.15
    patches: int = 4
    patch: int = 6
    faint: float = 0.8
    gain: float = 0.3
    noise: float = 0.05

    def __call__(self, x: Tensor, generator: Generator) -> Tensor:
        return self.render(x, self.style(x, generator))

    def style(self, x: Tensor, generator: Generator) -> Style:
        """Draws the style of one view of each digit in `x`."""
        if not isinstance(generator, torch.Generator):
            raise TypeError(
                "Clutter cuts its pieces from the other digits of the batch, so that no generator makes its views "
                "independent of it; pass a torch.Generator"
            )
        n, side = len(x), x.shape[-1]
        if x.ndim != 4 or x.shape[1] != 1 or n < 2:
            raise ValueError(f"x has shape {tuple(x.shape)}: expected at least two digits (n, 1, s, s)")
        p, device = self.patches, x.device

        def corners(positions: int) -> Tensor:
            return torch.randint(positions, (n, p, 2), generator=generator, device=device)

        others = torch.randint(1, n, (n, p), generator=generator, device=device)
        return Style(
            shift=uniform((n, 2), -self.shift, self.shift, x, generator),
            rotation=uniform((n,), -self.rotation, self.rotation, x, generator),
            scale=uniform((n,), 1 - self.scale, 1 + self.scale, x, generator),
            donor=(torch.arange(n, device=device)[:, None] + others) % n,
            source=corners(side - self.patch + 1),
            target=corners(self.canvas - self.patch + 1),
            gain=uniform((n,), 1 - self.gain, 1 + self.gain, x, generator),
            noise=self.noise
            * torch.randn(
                (n, 1, self.canvas, self.canvas), generator=generator, device=device, dtype=x.dtype
            ),
        )

    def render(self, x: Tensor, style: Style) -> Tensor:
        """The views of the digits `x` in the given style."""
        n, side, c = len(x), x.shape[-1], self.canvas
        # `affine` asks where each output pixel comes from: undo the shift, then the rotation and the size.
        size = style.scale * side / c
        cos, sin = torch.cos(style.rotation) / size, torch.sin(style.rotation) / size
        matrix = torch.stack([torch.stack([cos, sin], 1), torch.stack([-sin, cos], 1)], 1)
        shift = -(matrix @ style.shift[:, :, None])[:, :, 0]
        view = affine(x, matrix, shift, size=(c, c))[:, 0].reshape(n, -1)

        offset = torch.arange(self.patch, device=x.device)

        def pixels(corner: Tensor, width: int) -> Tensor:
            rows, columns = corner[:, 0, None] + offset, corner[:, 1, None] + offset
            return (rows[:, :, None] * width + columns[:, None, :]).reshape(n, -1)

        flat = x.reshape(n, -1)
        for k in range(self.patches):
            piece = flat[style.donor[:, k]].gather(1, pixels(style.source[:, k], side))
            where = pixels(style.target[:, k], c)
            view = view.scatter(1, where, torch.maximum(view.gather(1, where), self.faint * piece))
        return view.reshape(n, 1, c, c) * style.gain[:, None, None, None] + style.noise


def cluttered_digits(train: int = 1000, split_seed: int = 0) -> ImageData:
    """scikit-learn's digits, resampled to 16x16, as the content of cluttered 24x24 views.

    The evaluation input is a view as well: an image without clutter would be of another kind than what is
    trained on.

    Example:
        >>> cluttered_digits()
        ImageData('cluttered-digits', train=1000, test=797, images=(1, 16, 16), classes=10)
    """
    plain = digits(train, split_seed)

    def enlarged(x: Tensor) -> Tensor:
        return F.interpolate(x, size=(16, 16), mode="bilinear", align_corners=False)

    clutter = Clutter()
    return ImageData(
        "cluttered-digits",
        enlarged(plain.train_x),
        plain.train_y,
        enlarged(plain.test_x),
        plain.test_y,
        clutter,
        clutter,
    )
