"""Batches for a device: bytes travel, the next batches are read while this one is used."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from infossl.data.seeds import generator

__all__ = ["Batch", "Loader", "epoch_order"]

_BATCHES = 0  # the stream of the training loop: the same seed gives the same batches


class Batch(NamedTuple):
    """Images `(n, C, H, W)` as they are stored and labels `(n,)` on the device, and indices into the data set on the CPU."""

    x: Tensor
    y: Tensor
    ids: Tensor


def epoch_order(n: int, seed: int, epoch: int) -> Tensor:
    """The order of n samples in an epoch: a function of seed and epoch, equal on every rank."""
    return torch.randperm(n, generator=generator(seed, _BATCHES, epoch))


class Loader:
    """Batches of a map-style data set or of images in memory, in an order that is a function of seed and epoch.

    Threads read `prefetch` batches ahead. For a CUDA device they are put into pinned memory and copied while the device
    works; images of bytes stay bytes, to be made floating point there (`ToFloat`). On the CPU both are no-ops.

    With `world` ranks, each global batch of `batch_size` samples is dealt out: rank r gets those at r, r + world, ... So
    the ranks together see the batches of a single process, and with `SampleGenerator(seed, batch.ids, ...)` its views.

    Arguments:
        source: map-style data set of `(image, class number)`, or a pair of tensors `(x, y)` on the CPU.
        batch_size: samples in a batch of all ranks together; what is left over at the end of an epoch is dropped.
        seed: of the order.
        device: where batches are wanted.
        workers: threads that read items; decoders of images run in parallel in them.
        prefetch: batches that are read ahead.
        shuffle: `False` keeps the order of the data set, and the rest that fills no batch; for one process alone.
        rank, world: which of how many processes this is.

    Raises:
        TypeError: if the source is none of these.
        ValueError: for settings that do not fit.

    Example:
        >>> x, y = torch.zeros(6, 3, 8, 8, dtype=torch.uint8), torch.arange(6)
        >>> loader = Loader((x, y), batch_size=3)
        >>> [tuple(batch.x.shape) for batch in loader.epoch(0)]
        [(3, 3, 8, 8), (3, 3, 8, 8)]
    """

    def __init__(
        self,
        source: Any,
        batch_size: int,
        *,
        seed: int = 0,
        device: torch.device | str = "cpu",
        workers: int = 4,
        prefetch: int = 2,
        shuffle: bool = True,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        if isinstance(source, (tuple, list)):
            if len(source) != 2 or not all(isinstance(part, Tensor) for part in source):
                raise TypeError("source must be a pair of tensors (x, y) or a map-style data set")
            if len(source[0]) != len(source[1]):
                raise ValueError(
                    f"x has shape {tuple(source[0].shape)} and y {tuple(source[1].shape)}: both need the same n"
                )
            if any(part.device.type != "cpu" for part in source):
                raise ValueError(
                    f"x is on {source[0].device}: a Loader is for data on the CPU; index x[ids] there"
                )
            self.n = len(source[0])
        elif hasattr(source, "__len__") and hasattr(source, "__getitem__"):
            self.n = len(source)
        else:
            raise TypeError(
                f"source must be a map-style data set, with len and [i], or tensors (x, y), got {type(source).__name__}"
            )
        for name, value in (("workers", workers), ("prefetch", prefetch), ("world", world)):
            if value < 1:
                raise ValueError(f"{name} = {value} must be at least 1")
        if not 0 <= rank < world:
            raise ValueError(f"rank = {rank} must be in 0, ..., {world - 1}")
        if batch_size < 1 or batch_size % world:
            raise ValueError(f"batch_size = {batch_size} must be a multiple of world = {world}")
        if not shuffle and world > 1:
            raise ValueError("shuffle=False is for world = 1: the last batch could not be dealt out evenly")
        if shuffle and batch_size > self.n:
            raise ValueError(f"batch_size = {batch_size} is larger than the {self.n} samples")
        self.source, self.batch_size, self.seed, self.device = source, batch_size, seed, torch.device(device)
        if (
            self.device.type == "cuda" and self.device.index is None
        ):  # other threads have a current device of their own
            self.device = torch.device("cuda", torch.cuda.current_device())
        self.workers, self.prefetch, self.shuffle, self.rank, self.world = (
            workers,
            prefetch,
            shuffle,
            rank,
            world,
        )

    def __len__(self) -> int:
        """Batches in an epoch."""
        return self.n // self.batch_size if self.shuffle else -(-self.n // self.batch_size)

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """The batches of an epoch."""
        order = epoch_order(self.n, self.seed, epoch) if self.shuffle else torch.arange(self.n)
        chunks = order.split(self.batch_size)[: len(self)]
        mine = [chunk[self.rank :: self.world] for chunk in chunks]
        return self._batches(mine)

    def _batches(self, chunks: list[Tensor]) -> Iterator[Batch]:
        stream = torch.cuda.Stream(self.device) if self.device.type == "cuda" else None
        ahead: deque[Future[Batch]] = deque()
        # Batches are put together by one thread each, their items by others: one pool alone would wait for itself.
        items, batches = ThreadPoolExecutor(self.workers), ThreadPoolExecutor(self.prefetch)
        try:
            left = iter(chunks)
            for first in islice(left, self.prefetch):
                ahead.append(batches.submit(self._read, first, items))
            moved: deque[tuple[Batch, Any]] = deque()
            while ahead or moved:
                # The copy of the next batch, if it is read, is under way while this one is used.
                while ahead and (not moved or (len(moved) < 2 and ahead[0].done())):
                    moved.append(self._to_device(ahead.popleft().result(), stream))
                    ahead.extend(batches.submit(self._read, ids, items) for ids in islice(left, 1))
                batch, done = moved.popleft()
                if done is not None:
                    torch.cuda.current_stream(self.device).wait_event(done)
                    for tensor in (batch.x, batch.y):
                        tensor.record_stream(torch.cuda.current_stream(self.device))
                yield batch
        finally:
            for future in ahead:
                future.cancel()
            batches.shutdown(wait=True, cancel_futures=True)
            items.shutdown(wait=True, cancel_futures=True)

    def _read(self, ids: Tensor, pool: ThreadPoolExecutor) -> Batch:
        if isinstance(self.source, (tuple, list)):
            x, y = (part[ids] for part in self.source)
        else:
            pairs = list(pool.map(self._item, ids.tolist()))
            shapes = sorted({tuple(x.shape) for x, _ in pairs})
            if len(shapes) > 1:
                raise ValueError(f"images of a batch have shapes {shapes[:4]}: give the data set one size")
            x, y = torch.stack([x for x, _ in pairs]), torch.tensor([y for _, y in pairs])
        if self.device.type == "cuda":
            with torch.cuda.device(self.device):
                x, y = x.pin_memory(), y.pin_memory()
        return Batch(x, y, ids)

    def _item(self, i: int) -> tuple[Tensor, int]:
        item = self.source[i]
        if not isinstance(item, (tuple, list)) or len(item) < 2:
            raise TypeError(f"item {i} is a {type(item).__name__}: expected (image, class number)")
        x = item[0] if isinstance(item[0], Tensor) else torch.from_numpy(np.array(item[0]))
        return x, int(item[1])

    def _to_device(self, batch: Batch, stream: Any) -> tuple[Batch, Any]:
        if stream is None:
            return batch._replace(x=batch.x.to(self.device), y=batch.y.to(self.device)), None
        with torch.cuda.stream(stream):
            x, y = (part.to(self.device, non_blocking=True) for part in (batch.x, batch.y))
            done = torch.cuda.Event()
            done.record(stream)
        return Batch(x, y, batch.ids), done
