"""`ImageData`: a data set with its views, its evaluation input and its probe set."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor

from infossl.data.seeds import generator
from infossl.probe_set import Augment, ProbeSet

__all__ = ["ImageData", "identity"]

_CLEAN = 0xC1EA  # keeps the stream of evaluation inputs apart from all others


def identity(x: Tensor, generator: torch.Generator) -> Tensor:
    """The image itself: the evaluation input of data that need no rendering."""
    return x


@dataclass(frozen=True, eq=False)
class ImageData:
    """Images in memory, split once, with what a self-supervised run draws from them.

    Arguments:
        name: name of the data set.
        train_x: images to train on `(n, C, H, W)` in [0, 1]; `train_y`: their labels, used by probes alone.
        test_x: images that no training step sees; `test_y`: their labels.
        augment: `(batch, generator) -> view`; the two views of an image are two independent draws.
        clean: `(batch, generator) -> evaluation input`.
    """

    name: str
    train_x: Tensor
    train_y: Tensor
    test_x: Tensor
    test_y: Tensor
    augment: Augment
    clean: Augment = identity

    def __post_init__(self) -> None:
        for part in ("train", "test"):
            x, y = getattr(self, f"{part}_x"), getattr(self, f"{part}_y")
            if x.ndim != 4 or y.shape != x.shape[:1]:
                raise ValueError(
                    f"{part}_x has shape {tuple(x.shape)} and {part}_y {tuple(y.shape)}: "
                    "expected images (n, C, H, W) and labels (n,)"
                )

    @property
    def classes(self) -> int:
        """Number of classes."""
        return int(torch.cat([self.train_y, self.test_y]).max()) + 1

    @property
    def content_hash(self) -> str:
        """SHA-256 over images, labels, split and the settings of the views."""
        digest = hashlib.sha256(repr((self.name, self.augment, self.clean is identity)).encode())
        for tensor in (self.train_x, self.train_y, self.test_x, self.test_y):
            digest.update(str((tensor.dtype, tuple(tensor.shape))).encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    def evaluation(self, seed: int = 0) -> tuple[Tensor, Tensor]:
        """Evaluation inputs of the training and of the test images: fixed by the seed."""
        return (
            self.clean(self.train_x, generator(seed, _CLEAN, 0, device=self.train_x.device)),
            self.clean(self.test_x, generator(seed, _CLEAN, 1, device=self.test_x.device)),
        )

    def probe_set(self, q: int = 2, seed: int = 0, *, held_out: int | None = None) -> ProbeSet:
        """All images, training first and test held out: evaluation inputs and q fixed views of each.

        Arguments:
            q: views per image.
            held_out: take the first so many test images only; pairwise measures cost the square of it.
            seed: of the evaluation inputs; the views are drawn from seeds `seed, ..., seed + q - 1`.
        """
        n = len(self.train_x) + (len(self.test_x) if held_out is None else min(held_out, len(self.test_x)))
        images = torch.cat([self.train_x, self.test_x])[:n]
        seeds = tuple(range(seed, seed + q))
        draws = [self.augment(images, torch.Generator(images.device).manual_seed(s)) for s in seeds]
        return ProbeSet(
            x=torch.cat(self.evaluation(seed))[:n],
            y=torch.cat([self.train_y, self.test_y])[:n],
            views=torch.stack(draws, dim=1) if draws else None,
            view_seeds=seeds,
            held_out=torch.arange(n, device=images.device) >= len(self.train_x),
        )

    def __repr__(self) -> str:
        return (
            f"ImageData({self.name!r}, train={len(self.train_x)}, test={len(self.test_x)}, "
            f"images={tuple(self.train_x.shape[1:])}, classes={self.classes})"
        )
