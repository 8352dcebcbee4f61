"""`FitConfig`: everything that decides how a run trains."""

from __future__ import annotations

from dataclasses import dataclass

from estimators import parse
from infossl.training.optimizers import OPTIMIZERS

__all__ = ["FitConfig"]


@dataclass(frozen=True, kw_only=True)
class FitConfig:
    r"""Settings of `fit`. With the data and the method's initial weights they determine a run.

    Arguments:
        steps: optimizer steps.
        batch_size: images per step (two views of each).
        lr: largest learning rate, reached after the warm-up.
        weight_decay: of the weights; biases and normalisation parameters have none.
        final_weight_decay: weight decay at the end, on half a cosine from `weight_decay`; `None` keeps it constant.
        warmup: steps of linear warm-up; a cosine to `final_lr` follows.
        final_lr: learning rate at the end, as a share of `lr`.
        optimizer: `"AdamW()"`, `"SGD()"` or `"LARS()"` with their settings.
        accumulate: parts that a batch is cut into, one forward and backward pass each, the gradient their mean:

            .. math:: g = \frac{1}{A} \sum_{a=1}^{A} \nabla L(\text{part}_a)

            This is the gradient of the whole batch where the loss is a mean over images; other objectives are refused.
            Batch normalisation takes its statistics from each part and moves its running statistics A times, as it
            would with batches of that size; I-JEPA gives every part the same masks. All else, views included, is that
            of the whole batch.
        seed: of batches, views, online probe and dropout.
        amp: autocast to bfloat16 in the forward pass; losses, weights and the optimizer's state stay in full
            precision. The exponents of bfloat16 are those of float32: no loss scaling is needed, and there is none.
        channels_last: images and weights of convolutions in channels-last memory order: faster on some devices, with
            sums in another order and so other last digits.
        compile: `torch.compile` the training step; the monitor sees the same module as without.
        deterministic: deterministic algorithms only, and an error from torch where an operation has none.
        checkpoint_every: steps between checkpoints; the end always has one.
        online_probe: train a linear probe along.
    """

    steps: int = 1000
    batch_size: int = 250
    lr: float = 2e-3
    weight_decay: float = 1e-4
    final_weight_decay: float | None = None
    warmup: int = 50
    final_lr: float = 0.01
    optimizer: str = "AdamW()"
    accumulate: int = 1
    seed: int = 0
    amp: bool = False
    channels_last: bool = False
    compile: bool = False
    deterministic: bool = False
    checkpoint_every: int = 250
    online_probe: bool = True

    def __post_init__(self) -> None:
        for name, least in (
            ("steps", 0),
            ("batch_size", 2),
            ("warmup", 0),
            ("accumulate", 1),
            ("seed", 0),
            ("checkpoint_every", 1),
        ):
            if getattr(self, name) < least:
                raise ValueError(f"{name} = {getattr(self, name)} must be at least {least}")
        if not self.lr > 0:
            raise ValueError(f"lr = {self.lr} must be positive")
        for name in ("weight_decay", "final_weight_decay"):
            value = getattr(self, name)
            if value is not None and not value >= 0:
                raise ValueError(f"{name} = {value} must not be negative")
        if not 0 <= self.final_lr <= 1:
            raise ValueError(f"final_lr = {self.final_lr} must be in [0, 1]: it is a share of lr")
        if self.batch_size % self.accumulate or self.batch_size // self.accumulate < 2:
            raise ValueError(
                f"accumulate = {self.accumulate} must divide batch_size = {self.batch_size} into equal parts of at least "
                "2 images"
            )
        if not callable(parse(self.optimizer, OPTIMIZERS)):
            raise ValueError(
                f"optimizer = {self.optimizer!r} is no optimizer; known: {', '.join(OPTIMIZERS)}"
            )
