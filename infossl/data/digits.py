"""Handwritten digits that ship with scikit-learn: 1,797 real images, no download."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from infossl.data.augment import Compose, Gain, Noise, RandomAffine
from infossl.data.image_data import ImageData

__all__ = ["DIGITS_VIEWS", "digits", "digits_images", "stratified_split"]

DIGITS_VIEWS = Compose(
    (RandomAffine(rotation=0.25, translation=0.25, zoom=0.15, shear=0.15), Gain(0.3), Noise(0.05))
)
"""The default views of the digits."""


def stratified_split(y: np.ndarray, train: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices of `train` training samples and of the rest; every class keeps its share to within one sample.

    Raises:
        ValueError: if `train` is not between 1 and n - 1.
    """
    if not 0 < train < len(y):
        raise ValueError(f"train = {train} must be between 1 and {len(y) - 1}")
    order = np.random.default_rng(seed).permutation(len(y))
    # The rank of each sample within its class, as a share of the class, orders the classes into one another.
    share = np.empty(len(y))
    for label in np.unique(y):
        members = order[y[order] == label]
        share[members] = (np.arange(len(members)) + 0.5) / len(members)
    chosen = np.argsort(share, kind="stable")
    return np.sort(chosen[:train]), np.sort(chosen[train:])


def digits_images() -> tuple[Tensor, Tensor]:
    """Images `(1797, 1, 8, 8)` in [0, 1] and labels `(1797,)`.

    References:
        Alpaydin & Kaynak, 1998, *Optical Recognition of Handwritten Digits*, UCI Machine Learning Repository.
    """
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    return torch.from_numpy(x / 16).float().reshape(-1, 1, 8, 8), torch.from_numpy(y).long()


def digits(train: int = 1000, split_seed: int = 0) -> ImageData:
    """The digits with a fixed stratified split: 1,000 to train on and 797 to test.

    Example:
        >>> digits()
        ImageData('digits', train=1000, test=797, images=(1, 8, 8), classes=10)
    """
    x, y = digits_images()
    fit, test = (torch.from_numpy(part) for part in stratified_split(y.numpy(), train, split_seed))
    return ImageData("digits", x[fit], y[fit], x[test], y[test], DIGITS_VIEWS)
