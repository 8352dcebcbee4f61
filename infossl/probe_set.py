"""`ProbeSet`: the fixed inputs and fixed views on which a model is measured.

Materialised once, so that every number of a trajectory speaks about the same samples and augmentations: what
changes from step to step is the model alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from infossl.undisturbed import same_random_streams

__all__ = ["ProbeSet"]

_Choose = Literal["first", "even"]

Augment = Callable[[Tensor, Any], Tensor]
"""`(batch, generator) -> batch`; the generator is torch's, or one that keys its numbers by sample and view."""


@dataclass(frozen=True, eq=False)
class ProbeSet:
    """Fixed inputs with optional labels and q fixed augmented views of each.

    Arguments:
        x: inputs `(n, ...)`, clean.
        y: labels `(n,)` of integers, if any.
        ids: one integer per sample; samples with equal id are the same object.
        views: `(n, q, ...)`, q augmentations of each input, if any.
        view_seeds: the seed that each of the q views was drawn with.
        held_out: boolean `(n,)`. Probes are fitted where it is false and scored where it is true, and
            information is measured where it is true. `None` means that every sample is measured and that
            probes are cross-fitted.

    Raises:
        ValueError: if lengths differ; the message names the shapes.
    """

    x: Tensor
    y: Tensor | None = None
    ids: Tensor | None = None
    views: Tensor | None = None
    view_seeds: tuple[int, ...] = ()
    held_out: Tensor | None = None

    def __post_init__(self) -> None:
        n = self.x.shape[0]
        if n < 2:
            raise ValueError(f"x has shape {tuple(self.x.shape)}: a probe set needs at least 2 samples")
        if self.ids is None:
            object.__setattr__(self, "ids", torch.arange(n))
        for name in ("y", "ids", "views", "held_out"):
            value = getattr(self, name)
            if value is not None and value.shape[0] != n:
                raise ValueError(
                    f"{name} has shape {tuple(value.shape)} and x has shape {tuple(self.x.shape)}: both need the same n"
                )
        if self.views is not None and self.views.ndim != self.x.ndim + 1:
            raise ValueError(
                f"views has shape {tuple(self.views.shape)}: expected (n, q, ...) for x of shape {tuple(self.x.shape)}"
            )
        if self.y is not None and (self.y.ndim != 1 or self.y.is_floating_point()):
            raise ValueError(f"y must be integers (n,), got {self.y.dtype} of shape {tuple(self.y.shape)}")

    @classmethod
    def of(
        cls,
        source: Any,
        *,
        y: Any = None,
        augment: Augment | None = None,
        q: int = 2,
        seed: int = 0,
        limit: int = 2048,
        held_out: Any = None,
        choose: _Choose = "first",
    ) -> ProbeSet:
        """Materialises a probe set from arrays, a map-style data set or a loader.

        Arguments:
            source: a `ProbeSet` (returned as it is), an array or tensor `(n, ...)`, a map-style data set or
                an iterable of batches. Items and batches are `x` or `(x, y)`, as torch loaders give them.
            y: labels, when `source` is an array.
            augment: `(batch, generator) -> batch`; draws the q views, each from its own seed.
            q: views per sample.
            seed: the views are drawn from seeds `seed, seed + 1, ...`.
            limit: at most so many samples are taken.
            held_out: see the class.
            choose: if there are more, take the first ones, or samples at even distances: those of a data set that is sorted
                by class are then of all classes. A loader has its first ones alone.

        Raises:
            TypeError: if the source is none of these.
            ValueError: if it is empty or inconsistent.
        """
        if isinstance(source, cls):
            return source
        if choose not in get_args(_Choose):
            raise ValueError(f"choose = {choose!r} must be one of {get_args(_Choose)}")
        with same_random_streams():  # a shuffling loader draws from the global stream
            if isinstance(source, (np.ndarray, Tensor)):
                if isinstance(source, np.ma.MaskedArray):
                    raise TypeError(
                        "source is a masked array, whose mask would be lost; pass the rows without holes"
                    )
                x, labels = torch.as_tensor(source), y
            elif y is not None:
                raise ValueError(f"y is for arrays; a {type(source).__name__} gives its own labels as (x, y)")
            else:
                x, labels = _collect(source, limit, choose)
        # What `_collect` gives is chosen already: at most `limit` samples of a data set.
        rows = _rows(len(x), limit, choose)
        if labels is not None:
            labels = _integers(labels)
            if len(labels) != len(x):
                raise ValueError(
                    f"y has shape {tuple(labels.shape)} and x {tuple(x.shape)}: both need the same n"
                )
            labels = labels[rows]
        if held_out is not None:
            held_out = torch.as_tensor(np.asarray(held_out)).bool()
            if len(held_out) != len(x):
                raise ValueError(
                    f"held_out has shape {tuple(held_out.shape)} and x {tuple(x.shape)}: both need the same n"
                )
            held_out = held_out[rows]
        x = x[rows]
        views: Tensor | None = None
        seeds: tuple[int, ...] = ()
        if augment is not None:
            seeds = tuple(range(seed, seed + q))
            views = torch.stack([augment(x, torch.Generator().manual_seed(s)) for s in seeds], dim=1)
        return cls(x=x.clone(), y=labels, views=views, view_seeds=seeds, held_out=held_out)

    def __len__(self) -> int:
        return int(self.x.shape[0])

    @property
    def content_hash(self) -> str:
        """SHA-256 over inputs, labels and views: equal hashes mean the same measurement."""
        digest = hashlib.sha256()
        for tensor in (self.x, self.y, self.ids, self.views, self.held_out):
            if tensor is not None:
                digest.update(str((tensor.dtype, tuple(tensor.shape))).encode())
                digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    def __repr__(self) -> str:
        q = 0 if self.views is None else self.views.shape[1]
        held = "" if self.held_out is None else f", held out {int(self.held_out.sum())}"
        return (
            f"ProbeSet(n={len(self)}, x={tuple(self.x.shape[1:])}, q={q}, labels={self.y is not None}{held})"
        )


def _integers(labels: Any) -> Tensor:
    """Labels as int64; numbers that are no integers would lose what they say."""
    labels = torch.as_tensor(np.asarray(labels) if not isinstance(labels, Tensor) else labels)
    if labels.ndim != 1 or labels.is_floating_point() or labels.is_complex():
        raise TypeError(
            f"labels must be integers (n,), got {labels.dtype} of shape {tuple(labels.shape)}; a regression target is no "
            "class: leave it out, or bin it"
        )
    return labels.long()


def _rows(n: int, limit: int, choose: _Choose) -> Tensor | slice:
    """Which of n samples are taken."""
    if choose == "first" or n <= limit:
        return slice(limit)
    return torch.arange(limit) * n // limit


def _collect(source: Any, limit: int, choose: _Choose) -> tuple[Tensor, Tensor | None]:
    """Inputs and labels of the first `limit` samples of a data set or a loader."""
    indexed = (
        hasattr(source, "__getitem__") and hasattr(source, "__len__") and not hasattr(source, "batch_size")
    )
    if choose == "even" and not indexed:
        raise ValueError(
            f"choose='even' needs a data set with [i], and a {type(source).__name__} gives its first samples alone"
        )
    items: Iterable[Any] = source
    if indexed:
        rows = _rows(len(source), limit, choose)
        chosen = range(len(source))[rows] if isinstance(rows, slice) else rows.tolist()
        items = (source[i] for i in chosen)
    if not isinstance(items, Iterable):
        raise TypeError(
            f"probe must be a ProbeSet, an array (n, ...), a data set or a loader, got {type(source).__name__}"
        )
    xs: list[Tensor] = []
    ys: list[Tensor] = []
    count = 0
    for item in items:
        x, *rest = item if isinstance(item, (tuple, list)) else (item,)
        if not isinstance(x, (Tensor, np.ndarray)):
            kind = f"a {type(x).__name__}" + (
                f" with keys {sorted(map(str, x))}" if isinstance(x, Mapping) else ""
            )
            raise TypeError(
                f"probe gave {kind} as input; items and batches must be x or (x, y) with x an array: give the "
                "inputs as an array, or a loader that yields them"
            )
        x = torch.as_tensor(x)
        x = x[None] if indexed else x
        xs.append(x)
        if rest and rest[0] is not None:
            ys.append(torch.as_tensor(rest[0]).reshape(-1))
        count += len(x)
        if count >= limit:
            break
    if not xs:
        raise ValueError("probe is empty: it gave no sample")
    x = torch.cat(xs)
    y = torch.cat(ys) if ys else None
    if y is not None and len(y) != len(x):
        raise ValueError(f"probe gave {len(x)} inputs and {len(y)} labels: every item must be x or (x, y)")
    return x, y
