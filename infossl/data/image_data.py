"""`ImageData`: a data set with its views, its evaluation input and its probe set."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor

from infossl.data.sample_generator import Generator, SampleGenerator
from infossl.data.seeds import generator
from infossl.probe_set import Augment, ProbeSet

__all__ = ["ImageData", "identity"]

_CLEAN = 0xC1EA  # keeps the stream of evaluation inputs apart from all others
_CHUNK = 2048  # images that are augmented at once for a probe set


def identity(x: Tensor, generator: Generator) -> Tensor:
    """The image itself: the evaluation input of data that need no rendering."""
    return x


@dataclass(frozen=True, eq=False)
class ImageData:
    """Images in memory, split once, with what a self-supervised run draws from them.

    Arguments:
        name: name of the data set.
        train_x: images to train on `(n, C, H, W)`, in [0, 1] or, where `augment` and `clean` start with `ToFloat()`,
            bytes; `train_y`: their labels, used by probes alone.
        test_x: images that no training step sees; `test_y`: their labels.
        augment: `(batch, generator) -> view`; the two views of an image are two independent draws.
        clean: `(batch, generator) -> evaluation input`.
        keyed: views draw from a `SampleGenerator`, so that they are a function of seed, epoch, image and view, whatever
            the batch and the rank.
        probe_train, probe_test: at most so many images, the first ones, are in a probe set.
    """

    name: str
    train_x: Tensor
    train_y: Tensor
    test_x: Tensor
    test_y: Tensor
    augment: Augment
    clean: Augment = identity
    keyed: bool = False
    probe_train: int | None = None
    probe_test: int | None = None

    def __post_init__(self) -> None:
        for part in ("train", "test"):
            x, y = getattr(self, f"{part}_x"), getattr(self, f"{part}_y")
            if x.ndim != 4 or y.shape != x.shape[:1]:
                raise ValueError(
                    f"{part}_x has shape {tuple(x.shape)} and {part}_y {tuple(y.shape)}: "
                    "expected images (n, C, H, W) and labels (n,)"
                )
        for name in ("probe_train", "probe_test"):
            limit = getattr(self, name)
            if limit is not None and limit < 1:
                raise ValueError(f"{name} = {limit} must be at least 1")

    @property
    def classes(self) -> int:
        """Number of classes."""
        return int(torch.cat([self.train_y, self.test_y]).max()) + 1

    @property
    def content_hash(self) -> str:
        """SHA-256 over images, labels, split and the settings of the views."""
        about: tuple[object, ...] = (self.name, self.augment, self.clean is identity)
        if self.keyed:  # hashes of data that were there before these settings stay what they were
            about = (*about, self.clean is not identity and self.clean, self.probe_train, self.probe_test)
        digest = hashlib.sha256(repr(about).encode())
        for tensor in (self.train_x, self.train_y, self.test_x, self.test_y):
            digest.update(str((tensor.dtype, tuple(tensor.shape))).encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    def evaluation(self, seed: int = 0) -> tuple[Tensor, Tensor]:
        """Evaluation inputs of the training and of the test images: fixed by the seed."""
        return self._clean(self.train_x, seed, 0), self._clean(self.test_x, seed, 1)

    def view(self, ids: Tensor, *, epoch: int, view: int, seed: int, x: Tensor | None = None) -> Tensor:
        """One view of the training images `ids`: a function of (seed, epoch, image, view), whatever else is in the batch.

        Arguments:
            ids: indices into the training images.
            x: these images where they are on another device already.
        """
        images = self.train_x[ids] if x is None else x
        return self.augment(images, SampleGenerator(seed, ids.cpu(), epoch=epoch, view=view))

    def probe_set(self, q: int = 2, seed: int = 0, *, held_out: int | None = None) -> ProbeSet:
        """Training images first and test images held out: evaluation inputs and q fixed views of each.

        All of them, unless `probe_train` and `probe_test` say otherwise.

        Arguments:
            q: views per image.
            held_out: take the first so many test images only; pairwise measures cost the square of it.
            seed: of the evaluation inputs; the views are drawn from seeds `seed, ..., seed + q - 1`.
        """
        trained = _at_most(len(self.train_x), self.probe_train)
        tested = _at_most(len(self.test_x), self.probe_test, held_out)
        n = trained + tested
        images = torch.cat([self.train_x[:trained], self.test_x[:tested]])
        seeds = tuple(range(seed, seed + q))
        return ProbeSet(
            x=torch.cat([self._clean(self.train_x[:trained], seed, 0), self._clean(self.test_x, seed, 1)])[
                :n
            ],
            y=torch.cat([self.train_y[:trained], self.test_y])[:n],
            views=torch.stack([self._probe_view(images, s, s - seed) for s in seeds], 1) if q else None,
            view_seeds=seeds,
            held_out=torch.arange(n, device=images.device) >= trained,
        )

    def _probe_view(self, images: Tensor, seed: int, view: int) -> Tensor:
        if not self.keyed:
            return self.augment(images, torch.Generator(images.device).manual_seed(seed))
        rows = torch.arange(len(images)).split(_CHUNK)
        return torch.cat([self.augment(images[r], SampleGenerator(seed, r, view=view)) for r in rows])

    def _clean(self, x: Tensor, seed: int, part: int) -> Tensor:
        return self.clean(x, generator(seed, _CLEAN, part, device=x.device))

    def __repr__(self) -> str:
        return (
            f"ImageData({self.name!r}, train={len(self.train_x)}, test={len(self.test_x)}, "
            f"images={tuple(self.train_x.shape[1:])}, classes={self.classes})"
        )


def _at_most(n: int, *limits: int | None) -> int:
    return min([n, *(limit for limit in limits if limit is not None)])
