"""Vision transformers, which can be shown a part of the patches only."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from infossl.models.positions import sincos_positions
from infossl.models.seeded import seeded
from infossl.models.transformer import Block, initialise

__all__ = ["VIT_SIZES", "VisionTransformer", "gather_tokens", "vit"]

VIT_SIZES: dict[str, tuple[int, int, int]] = {
    "tiny": (192, 12, 3),
    "small": (384, 12, 6),
    "base": (768, 12, 12),
    "large": (1024, 24, 16),
    "huge": (1280, 32, 16),
}
"""Width, depth and heads by name (Dosovitskiy et al., 2021, table 1; Touvron et al., 2021, table 1)."""


def gather_tokens(tokens: Tensor, index: Tensor) -> Tensor:
    """The tokens of each image at its own places: `(N, T, d)` and `(N, K)` to `(N, K, d)`."""
    return tokens.gather(1, index[:, :, None].expand(-1, -1, tokens.shape[2]))


class VisionTransformer(nn.Module):
    """Patches to tokens: a convolution, fixed sine-cosine positions, pre-norm blocks and a last normalisation.

    There is no class token. `keep` shows the encoder a part of the patches: they are chosen after the positions are added
    and before the first block, so that what is hidden costs nothing and cannot be attended to.

    Arguments:
        image_size: height and width of the images, or one number for both.
        patch: side of the square patches.
        width: dimension of the tokens, a multiple of 4.
        depth: blocks.
        heads: attention heads.
        in_channels: channels of the images.
        mlp_ratio: hidden over outer width in the blocks.
        pool: `"mean"` returns h, the mean over tokens; `"none"` the tokens.

    Shapes:
        `(N, in_channels, H, W)` to h `(N, width)`, or to tokens `(N, T, width)` in raster order, T = (H / patch)(W / patch)
        or, with `keep` of shape `(N, K)`, T = K.

    Raises:
        ValueError: if the patches do not tile the image, an image has another size, or `pool` is unknown.

    References:
        Dosovitskiy et al., 2021, *An Image is Worth 16x16 Words: Transformers for Image Recognition at Scale*.

    Example:
        >>> import torch
        >>> model = VisionTransformer(8, patch=2, width=16, depth=1, heads=2, in_channels=1, pool="none")
        >>> model(torch.zeros(5, 1, 8, 8)).shape, model(torch.zeros(5, 1, 8, 8), torch.tensor([[0, 3]] * 5)).shape
        (torch.Size([5, 16, 16]), torch.Size([5, 2, 16]))
    """

    positions: Tensor

    def __init__(
        self,
        image_size: int | tuple[int, int] = 224,
        *,
        patch: int = 16,
        width: int = 192,
        depth: int = 12,
        heads: int = 3,
        in_channels: int = 3,
        mlp_ratio: float = 4.0,
        pool: Literal["mean", "none"] = "mean",
    ) -> None:
        super().__init__()
        self.image_size = (image_size, image_size) if isinstance(image_size, int) else tuple(image_size)
        if any(side % patch or side < patch for side in self.image_size):
            raise ValueError(
                f"patch = {patch} does not tile images of {self.image_size[0]}x{self.image_size[1]}"
            )
        if pool not in ("mean", "none"):
            raise ValueError(f"pool = {pool!r} must be 'mean' or 'none'")
        self.grid = (self.image_size[0] // patch, self.image_size[1] // patch)
        self.dim, self.pool = width, pool
        self.embed = nn.Conv2d(in_channels, width, patch, stride=patch)
        # A constant of the architecture: no part of the state, so that weights can be read at another resolution.
        positions = sincos_positions(*self.grid, width).to(self.embed.weight.device)
        self.register_buffer("positions", positions, persistent=False)
        self.blocks = nn.Sequential(*(Block(width, heads, mlp_ratio) for _ in range(depth)))
        self.norm = nn.LayerNorm(width, eps=1e-6)
        initialise(self)

    def forward(self, x: Tensor, keep: Tensor | None = None) -> Tensor:
        if x.shape[2:] != self.image_size:
            raise ValueError(
                f"x has shape {tuple(x.shape)}: this model takes images (N, C, {self.image_size[0]}, {self.image_size[1]}); "
                "build it with the image_size of the data"
            )
        tokens = self.embed(x).flatten(2).transpose(1, 2)
        tokens = tokens + self.positions.to(tokens.dtype)
        if keep is not None:
            tokens = gather_tokens(tokens, keep)
        tokens = self.norm(self.blocks(tokens))
        return tokens.mean(dim=1) if self.pool == "mean" else tokens


def vit(
    size: str = "tiny",
    image_size: int | tuple[int, int] = 224,
    *,
    patch: int = 16,
    in_channels: int = 3,
    pool: Literal["mean", "none"] = "mean",
    seed: int = 0,
) -> VisionTransformer:
    """A `VisionTransformer` of a published size, initialised from the seed alone.

    Parameters at patch 16 (huge: 14) on three channels: 5.5, 21.6, 85.6, 303.1 and 630.4 million for tiny, small, base, large
    and huge. The published counts also have a class token and learned positions, (T + 2) x width numbers more.

    Raises:
        ValueError: if the size is unknown.

    Example:
        >>> sum(p.numel() for p in vit("tiny", 32, patch=4).parameters())
        5348160
    """
    if size not in VIT_SIZES:
        raise ValueError(f"unknown size {size!r}; known sizes: {', '.join(VIT_SIZES)}")
    width, depth, heads = VIT_SIZES[size]
    with seeded(seed):
        return VisionTransformer(
            image_size, patch=patch, width=width, depth=depth, heads=heads, in_channels=in_channels, pool=pool
        )
