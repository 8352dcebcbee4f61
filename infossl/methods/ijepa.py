"""I-JEPA: from a part of an image, predict what a slowly moving encoder says of other parts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from infossl.data import generator
from infossl.data.masks import Masks, MultiBlock
from infossl.distributed import averaged, share, world
from infossl.methods.ema import ema_update, target_of
from infossl.methods.outputs import Outputs, Taps, block_taps, dim_of
from infossl.methods.ramps import LinearRamp, Ramp
from infossl.models import TokenPredictor, VisionTransformer, gather_tokens, seeded
from infossl.objectives import Loss
from infossl.objectives.checks import in_full_precision

__all__ = ["IJEPA", "BlockL2", "SmoothL1", "ijepa"]

_TRAINING, _PROBE = 0x1A5C, 0x1A5D  # streams of masks under one seed


class MaskSampler(Protocol):
    """`(number of images, generator) -> Masks`; a frozen one makes runs a function of (seed, step)."""

    def __call__(self, n: int, generator: torch.Generator, /) -> Masks: ...


@dataclass(frozen=True)
class SmoothL1:
    r"""Huber's loss of all coordinates of all target patches, their mean.

    .. math:: \ell(e) = e^2 / (2 \beta) \ \text{for}\ |e| < \beta, \qquad |e| - \beta / 2 \ \text{otherwise}

    Arguments:
        beta: where the square ends, positive.

    Shapes:
        `prediction`, `target`: `(N, M, T, d)`, of any equal shape.

    Example:
        >>> SmoothL1()(torch.tensor([0.5, 3.0]), torch.zeros(2)).total
        tensor(1.3125)
    """

    beta: float = 1.0

    def __post_init__(self) -> None:
        if not self.beta > 0:
            raise ValueError(f"beta = {self.beta} must be positive")

    def __call__(self, prediction: Tensor, target: Tensor) -> Loss:
        loss = F.smooth_l1_loss(in_full_precision(prediction), in_full_precision(target), beta=self.beta)
        return Loss(loss, {"prediction": loss})


@dataclass(frozen=True)
class BlockL2:
    r"""Squared distance of predictions and targets, summed over the T patches of a block and averaged over blocks and images.

    .. math:: \frac{1}{N M} \sum_{n = 1}^N \sum_{i = 1}^M \sum_{j \in B_i} |\hat s_{nij} - s_{nij}|^2

    Shapes:
        `prediction`, `target`: `(N, M, T, d)`.

    References:
        Assran et al., 2023, *Self-Supervised Learning from Images with a Joint-Embedding Predictive Architecture*,
        section 3.

    Example:
        >>> BlockL2()(torch.ones(2, 4, 5, 3), torch.zeros(2, 4, 5, 3)).total
        tensor(15.)
    """

    def __call__(self, prediction: Tensor, target: Tensor) -> Loss:
        loss = (in_full_precision(prediction) - in_full_precision(target)).square().sum(dim=(2, 3)).mean()
        return Loss(loss, {"prediction": loss})


class IJEPA(nn.Module):
    r"""Context encoder f, predictor q and target encoder \(\bar f\), an exponential moving average of f.

    The target encoder sees the whole image; its tokens at the places of M target blocks, each normalised to mean 0 and
    variance 1 over features, are the targets. f sees the context patches alone. q predicts each target block from f's tokens
    and the places of the block.

    The two views of a batch are 2N images: each is masked and predicted by itself, and no view is compared with another.
    The masks of a step are a function of the seed and of the number of steps done, which is kept in the buffer `step`, so
    that a state dict continues them exactly. `after_step` moves the target and counts; it must be called after every
    optimizer step.

    The call of the method, which monitors use, shows every image the same masks, a function of the seed.

    Arguments:
        encoder: `(images, keep=None) -> tokens (N, T, d)`, such as a `VisionTransformer` with `pool="none"`.
        predictor: `(tokens, their places, places to predict) -> (N, M T, d)`, such as a `TokenPredictor`.
        masks: `(n, generator) -> Masks`, such as a `MultiBlock` of the encoder's grid.
        objective: `(prediction, target) -> Loss` on tensors `(N, M, T, d)`, `SmoothL1()` or `BlockL2()`; a mean over images
            where these are spread over ranks.
        momentum: `(step, steps) -> m`; `None` makes the encoder its own target.
        normalise: normalise targets over features.
        stop_gradient: targets are constants of the loss. `False` needs `momentum=None`; it is for experiments on collapse.
        seed: of the masks.

    Raises:
        ValueError: for `stop_gradient=False` with a momentum, or a grid of masks that is not the encoder's.

    References:
        Assran et al., 2023, *Self-Supervised Learning from Images with a Joint-Embedding Predictive Architecture*.
    """

    step: Tensor

    def __init__(
        self,
        encoder: nn.Module,
        predictor: nn.Module,
        masks: MaskSampler,
        objective: Callable[[Tensor, Tensor], Loss] | None = None,
        *,
        momentum: Ramp | None = LinearRamp(0.996, 1.0),  # noqa: B008 - frozen
        normalise: bool = True,
        stop_gradient: bool = True,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if not stop_gradient and momentum is not None:
            raise ValueError(
                "stop_gradient=False needs momentum=None: the average of the encoder passes no gradient on to it"
            )
        grids = [getattr(part, "grid", None) for part in (encoder, masks)]
        if None not in grids and grids[0] != grids[1]:
            raise ValueError(f"the masks are for a grid of {grids[1]} and the encoder has {grids[0]}")
        if getattr(encoder, "pool", "none") != "none":
            raise ValueError("encoder must return tokens: build it with pool='none'")
        self.encoder = encoder
        self.predictor = predictor
        self.target_encoder = None if momentum is None else target_of(encoder)
        # Modules of their own, so that a recorder finds what they return.
        self.representation = _MeanTokens()
        dim = dim_of(encoder)
        self.targets = nn.LayerNorm(dim, elementwise_affine=False) if normalise else nn.Identity()
        self.masks = masks
        self.objective = SmoothL1() if objective is None else objective
        self.momentum = momentum
        self.stop_gradient = stop_gradient
        self.seed = seed
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """h, the target encoder's mean token, and prediction and target `(N, M T, d)` at fixed places."""
        masks = self.masks(1, generator(self.seed, _PROBE))
        return self._embed(x, Masks(*(part.expand(len(x), *part.shape[1:]) for part in masks)))

    def _embed(self, x: Tensor, masks: Masks) -> dict[str, Tensor]:
        context, targets = (part.to(x.device) for part in masks)
        prediction = self.predictor(self.encoder(x, context), context, targets)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.stop_gradient):
            tokens = (self.encoder if self.target_encoder is None else self.target_encoder)(x)
            target = self.targets(gather_tokens(tokens, targets.flatten(1)))
            h = self.representation(tokens)
        return {"h": h, "prediction": prediction, "target": target}

    def training_step(self, v1: Tensor, v2: Tensor) -> Outputs:
        """The loss of both views as images of one batch, with the target encoder's h of both."""
        x = torch.cat([v1, v2])
        # Drawn for the images of all ranks, first views before second ones: contexts are cut to the smallest of them all.
        masks = self.masks(world().size * len(x), generator(self.seed, _TRAINING, int(self.step)))
        masks = Masks(*(torch.cat([share(view) for view in part.chunk(2)]) for part in masks))
        out = self._embed(x, masks)
        shape = masks.targets.shape[1:]
        loss = averaged(self.objective)(
            out["prediction"].unflatten(1, shape), out["target"].unflatten(1, shape)
        )
        return Outputs(loss, out["h"])

    def after_step(self, step: int, steps: int) -> None:
        """Moves the target after optimizer step `step` (1, 2, ...) of `steps`, with the momentum of index step - 1."""
        if self.momentum is not None and self.target_encoder is not None:
            ema_update(self.target_encoder, self.encoder, self.momentum(step - 1, steps))
        self.step.fill_(step)

    def taps(self) -> Taps:
        """Blocks and h of the target encoder, tokens of the context encoder, targets and predictions.

        Without a separate target encoder the one encoder runs twice in a call, and its own layers are left out.
        """
        ends = (("predictor", "prediction", "mean_tokens"), ("targets", "target", "mean_tokens"))
        h = ("representation", "h", "auto")
        if self.target_encoder is None:
            return (h, *ends)
        blocks = block_taps(self.target_encoder, "target_encoder")
        return (*blocks, h, ("encoder", "context", "mean_tokens"), *ends)


class _MeanTokens(nn.Module):
    def forward(self, tokens: Tensor) -> Tensor:
        return tokens.mean(dim=1)


def ijepa(
    image_size: int | tuple[int, int] = 24,
    *,
    patch: int = 3,
    in_channels: int = 1,
    width: int = 64,
    depth: int = 3,
    heads: int = 4,
    predictor_width: int = 48,
    predictor_depth: int = 2,
    masks: MaskSampler | None = None,
    objective: Callable[[Tensor, Tensor], Loss] | None = None,
    momentum: Ramp | None = LinearRamp(0.996, 1.0),  # noqa: B008 - frozen
    normalise: bool = True,
    stop_gradient: bool = True,
    seed: int = 0,
) -> IJEPA:
    """An `IJEPA` of a `VisionTransformer` and a `TokenPredictor`, initialised from the seed alone.

    The defaults are for small images on a CPU. The paper's ViT-B/16 has width 768, depth 12, 12 heads, a predictor of width
    384 and depth 6, and patches of 16 in images of 224 pixels.

    Arguments:
        image_size: of the images, with `patch` and `in_channels`.
        width: of the encoder, with `depth` and `heads`; the predictor has as many heads.
        masks: by default a `MultiBlock`, whose contexts keep more than 10 patches, or a sixteenth of a small grid.
        seed: of the initial weights and of the masks.

    Example:
        >>> [role for _, role, _ in ijepa().taps()]
        ['block1', 'block2', 'block3', 'h', 'context', 'prediction', 'target']
    """
    with seeded(seed):
        encoder = VisionTransformer(
            image_size,
            patch=patch,
            width=width,
            depth=depth,
            heads=heads,
            in_channels=in_channels,
            pool="none",
        )
        predictor = TokenPredictor(
            width, encoder.grid, width=predictor_width, depth=predictor_depth, heads=heads
        )
    if masks is None:
        rows, columns = encoder.grid
        masks = MultiBlock(grid=encoder.grid, min_keep=min(10, rows * columns // 16))
    return IJEPA(
        encoder,
        predictor,
        masks,
        objective,
        momentum=momentum,
        normalise=normalise,
        stop_gradient=stop_gradient,
        seed=seed,
    )
