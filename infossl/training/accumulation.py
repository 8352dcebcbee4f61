"""Gradient accumulation: when the mean over parts of a batch is the loss of the batch, and a refusal when it is not."""

from __future__ import annotations

from torch import nn

__all__ = ["require_mean_over_images"]

# The loss of a batch is the mean over its images, whatever else is in it. DINO is not among them although its loss is one:
# its centre moves with every pass.
_MEANS_OVER_IMAGES = ("BYOL", "SimSiam", "Invariance", "SmoothL1", "BlockL2")


def require_mean_over_images(method: nn.Module) -> None:
    """Refuses to accumulate where the loss of a batch is no mean over images.

    Variances, covariances, negatives, assignments and sketches are statistics of the batch: their mean over A parts is another
    loss, that of batches of 1 / A the size. A user's own objective says by `mean_over_images = True` that it is one.

    Raises:
        ValueError: names the objective and what to do instead.
    """
    objective = getattr(method, "objective", None)
    name = type(objective).__name__
    if name not in _MEANS_OVER_IMAGES and not getattr(objective, "mean_over_images", False):
        raise ValueError(
            f"accumulate > 1 with {name}: its loss depends on statistics of the whole batch, and the mean over parts is another "
            "loss; use accumulate=1 with a smaller batch_size or more devices, an objective that is a mean over images "
            f"({', '.join(_MEANS_OVER_IMAGES)}), or set mean_over_images = True on an objective of your own that is one"
        )
