"""The predictor of self-distillation: the head that only the branch that learns has."""

from __future__ import annotations

from torch import nn

from infossl.models.projector import projector

__all__ = ["predictor"]


def predictor(dim: int, hidden: int) -> nn.Sequential:
    """A multilayer perceptron `dim -> hidden -> dim` with batch normalisation and ReLU in between.

    References:
        Grill et al., 2020, *Bootstrap Your Own Latent* (dim 256, hidden 4096).
        Chen & He, 2021, *Exploring Simple Siamese Representation Learning* (dim 2048, hidden 512).

    Example:
        >>> sum(p.numel() for p in predictor(4, 8).parameters())
        84
    """
    return projector((dim, hidden, dim))
