"""Who is here, and messages that carry no gradient."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

__all__ = ["World", "barrier", "broadcast_object", "control_device", "on_rank_zero", "share", "world"]

T = TypeVar("T")


@dataclass(frozen=True)
class World:
    """This process among those of the job.

    Arguments:
        rank: 0, ..., size - 1.
        size: number of processes W.

    Example:
        >>> world()
        World(rank=0, size=1)
    """

    rank: int = 0
    size: int = 1

    @property
    def main(self) -> bool:
        """Whether this is rank 0, which writes files and talks to the user."""
        return self.rank == 0


def world() -> World:
    """Rank and size of the process group; one process where there is none."""
    if not (dist.is_available() and dist.is_initialized()):
        return World()
    return World(dist.get_rank(), dist.get_world_size())


def control_device() -> torch.device:
    """Where small messages travel: the CPU if the process group serves it, so that no GPU has to wait."""
    on_cpu = "cpu" in dist.get_backend_config()
    return torch.device("cpu") if on_cpu else torch.device("cuda", torch.cuda.current_device())


def share(x: Tensor) -> Tensor:
    """The rows of this rank: the batch in W equal parts, in the order of ranks.

    `gather(share(x))` is x. The parts are consecutive rows, so that sub-batches stay together.

    Raises:
        ValueError: if W does not divide the number of rows.

    Example:
        >>> share(torch.arange(4))
        tensor([0, 1, 2, 3])
    """
    here = world()
    rows, rest = divmod(len(x), here.size)
    if rest:
        raise ValueError(
            f"x has shape {tuple(x.shape)}: its rows cannot be dealt equally to {here.size} ranks; "
            f"use a batch_size that {here.size} divides"
        )
    return x[here.rank * rows : (here.rank + 1) * rows]


def broadcast_object(value: T, source: int = 0) -> T:
    """The value of rank `source` on all ranks; it is pickled. The values of other ranks are not looked at.

    Example:
        >>> broadcast_object({"step": 3})
        {'step': 3}
    """
    if world().size == 1:
        return value
    box: list[Any] = [value]
    dist.broadcast_object_list(box, src=source, device=control_device())
    received: T = box[0]
    return received


def on_rank_zero(function: Callable[[], T]) -> T:
    """Calls a function on rank 0 and returns its result on all ranks; its error is raised on all of them too.

    All ranks must come here. They wait for rank 0 no longer than the timeout of `initialised`.

    Arguments:
        function: without arguments and without collectives inside; its result must be one that can be pickled.

    Raises:
        RuntimeError: on the other ranks, if the function raised on rank 0.

    Example:
        >>> on_rank_zero(lambda: 2 + 3)
        5
    """
    here = world()
    if here.size == 1:
        return function()
    result, error = None, None
    if here.main:
        try:
            result = function()
        except Exception as raised:
            error = raised
    result, failure = broadcast_object(
        (result, None if error is None else f"{type(error).__name__}: {error}")
    )
    if error is not None:
        raise error
    if failure is not None:
        raise RuntimeError(f"rank 0 raised {failure}")
    return result  # type: ignore[return-value]


def barrier(name: str = "barrier", timeout: float | None = None) -> None:
    """Waits until all ranks have come here.

    Arguments:
        name: of the place, for the message.
        timeout: seconds; by default those of `initialised`. After a timeout the process group is of no more use.

    Raises:
        TimeoutError: if another rank did not come in time.
    """
    here = world()
    if here.size == 1:
        return
    work = dist.all_reduce(torch.zeros(1, device=control_device()), async_op=True)
    try:
        work.wait() if timeout is None else work.wait(timedelta(seconds=timeout))
    except RuntimeError as error:
        waited = "the timeout" if timeout is None else f"{timeout:g} s"
        raise TimeoutError(
            f"rank {here.rank} of {here.size} waited {waited} at {name!r} and another rank did not come: it has "
            "died, or it went another way; all ranks must come to the same collectives in the same order"
        ) from error
