"""`FitConfig`: everything that decides how a run trains."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["FitConfig"]


@dataclass(frozen=True, kw_only=True)
class FitConfig:
    """Settings of `fit`. With the data and the method's initial weights they determine a run.

    Arguments:
        steps: optimizer steps.
        batch_size: images per step (two views of each).
        lr: largest learning rate of AdamW, reached after the warm-up.
        weight_decay: of the weights; biases and normalisation parameters have none.
        warmup: steps of linear warm-up; a cosine to `final_lr` follows.
        final_lr: learning rate at the end, as a share of `lr`.
        seed: of batches, views, online probe and dropout.
        amp: autocast to bfloat16 in the forward pass; losses stay in full precision.
        checkpoint_every: steps between checkpoints; the end always has one.
        online_probe: train a linear probe along.
    """

    steps: int = 1000
    batch_size: int = 250
    lr: float = 2e-3
    weight_decay: float = 1e-4
    warmup: int = 50
    final_lr: float = 0.01
    seed: int = 0
    amp: bool = False
    checkpoint_every: int = 250
    online_probe: bool = True

    def __post_init__(self) -> None:
        for name, least in (
            ("steps", 0),
            ("batch_size", 2),
            ("warmup", 0),
            ("seed", 0),
            ("checkpoint_every", 1),
        ):
            if getattr(self, name) < least:
                raise ValueError(f"{name} = {getattr(self, name)} must be at least {least}")
        if not self.lr > 0:
            raise ValueError(f"lr = {self.lr} must be positive")
        if not self.weight_decay >= 0:
            raise ValueError(f"weight_decay = {self.weight_decay} must not be negative")
        if not 0 <= self.final_lr <= 1:
            raise ValueError(f"final_lr = {self.final_lr} must be in [0, 1]: it is a share of lr")
