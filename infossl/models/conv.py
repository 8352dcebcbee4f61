"""A small convolutional encoder for small images."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

__all__ = ["ConvEncoder", "conv_block"]


def conv_block(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """3x3 convolution, batch normalisation, ReLU: `(N, inputs, H, W)` to `(N, outputs, H/s, W/s)` at stride s."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


class ConvEncoder(nn.Module):
    """Blocks of convolution, normalisation and ReLU; h is the mean over space of the last one.

    Arguments:
        channels: outputs of each block; the last is the dimension of h.
        in_channels: channels of the images.
        strides: stride of each block; by default 1 for the first and 2 after.

    Shapes:
        `(N, in_channels, H, W)` to h `(N, channels[-1])`.

    Raises:
        ValueError: if there is no block, or `strides` has another length than `channels`.

    Example:
        >>> import torch
        >>> ConvEncoder(channels=(8, 16))(torch.zeros(2, 1, 8, 8)).shape
        torch.Size([2, 16])
    """

    h_is_last_block = True  # for recorders: the last block, pooled, is h itself

    def __init__(
        self,
        channels: Sequence[int] = (32, 64, 128),
        in_channels: int = 1,
        strides: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        if not channels:
            raise ValueError("channels is empty: an encoder needs at least one block")
        strides = tuple(strides) if strides is not None else (1,) + (2,) * (len(channels) - 1)
        if len(strides) != len(channels):
            raise ValueError(f"strides {strides} and channels {tuple(channels)} must have the same length")
        inputs = (in_channels, *channels[:-1])
        self.blocks = nn.Sequential(*map(conv_block, inputs, channels, strides))
        self.dim = channels[-1]

    def forward(self, x: Tensor) -> Tensor:
        return self.blocks(x).mean(dim=(2, 3))
