"""The process group of a job, from torchrun's environment."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist

from infossl.distributed.world import World, world

__all__ = ["initialised", "rank_device"]

_PATIENCE = 5.0  # seconds: torchrun looks after its processes ten times a second


@contextmanager
def initialised(
    *,
    device: str | None = None,
    timeout: float = 600.0,
    init_method: str = "env://",
    rank: int | None = None,
    size: int | None = None,
) -> Iterator[World]:
    """The process group inside: gloo for CPU tensors, and NCCL besides on GPUs, each rank with its own.

    Rank and size are those of torchrun (`RANK`, `WORLD_SIZE`) where they are not given. With one process there is no group,
    and inside a group that exists already, that one is used and left.

    An error inside goes on to end the process; torchrun is told its traceback, ends the other ranks and fails. A collective
    that another rank does not come to raises after the timeout. The report is of the error that came first: a rank whose
    peer is gone waits a few seconds for torchrun before it fails too.

    Arguments:
        device: `"cpu"` or `"cuda"`; by default CUDA where there is one.
        timeout: seconds that a collective may wait, which must be longer than anything that one rank does alone.
        init_method: `"env://"`, or a file that all ranks see and that does not exist yet, as `"file:///shared/init"`.
        rank: of this process; `size`: number of processes.

    Raises:
        ValueError: if rank or size are missing or do not fit, or there are fewer GPUs than ranks on this machine.

    Example:
        >>> with initialised() as here:
        ...     here
        World(rank=0, size=1)
    """
    if dist.is_available() and dist.is_initialized():
        yield world()
        return
    rank = _environment("RANK") if rank is None else rank
    size = _environment("WORLD_SIZE") if size is None else size
    if (rank is None) != (size is None):
        raise ValueError(
            f"rank = {rank} and size = {size}: give both, or start with torchrun, which sets RANK and WORLD_SIZE"
        )
    if rank is None or size is None or size == 1:
        yield World()
        return
    if not 0 <= rank < size or not timeout > 0:
        raise ValueError(f"rank = {rank} must be in [0, {size}) and timeout = {timeout} positive")
    place = rank_device(device)
    if place.type == "cuda":
        torch.cuda.set_device(place)
    dist.init_process_group(
        "cpu:gloo,cuda:nccl" if place.type == "cuda" else "gloo",
        init_method=init_method,
        rank=rank,
        world_size=size,
        timeout=timedelta(seconds=timeout),
    )
    try:
        yield world()
    except BaseException as error:
        _tell_torchrun(error)
        # NCCL would wait here for ranks that wait for this one; the end of the process ends the group.
        if place.type != "cuda":
            dist.destroy_process_group()
        raise
    dist.destroy_process_group()


def rank_device(device: str | None = None) -> torch.device:
    """The device of this rank: the CPU, or the GPU with the number of `LOCAL_RANK`.

    Arguments:
        device: `"cpu"` or `"cuda"`; by default CUDA where there is one.

    Raises:
        ValueError: for another device, or if this machine has fewer GPUs than ranks.

    Example:
        >>> rank_device("cpu")
        device(type='cpu')
    """
    if device not in (None, "cpu", "cuda"):
        raise ValueError(
            f"device = {device!r} must be 'cpu' or 'cuda': the number of the GPU follows from LOCAL_RANK"
        )
    if device == "cpu" or (device is None and not torch.cuda.is_available()):
        return torch.device("cpu")
    local, count = _environment("LOCAL_RANK") or 0, torch.cuda.device_count()
    if local >= count:
        raise ValueError(
            f"LOCAL_RANK = {local}, and this machine has {count} CUDA devices: start with --nproc-per-node {count}, "
            "or use device='cpu'"
        )
    return torch.device("cuda", local)


def _environment(name: str) -> int | None:
    text = os.environ.get(name)
    if text is None:
        return None
    try:
        return int(text)
    except ValueError:
        raise ValueError(
            f"the environment has {name} = {text!r}: expected an integer, which torchrun sets"
        ) from None


def _tell_torchrun(error: BaseException) -> None:
    """Writes the error where torchrun looks for the one that came first, by seconds of the clock and then by rank."""
    if isinstance(error, Exception) and "TORCHELASTIC_ERROR_FILE" in os.environ:
        if _of_a_peer(error):
            time.sleep(_PATIENCE)
        from torch.distributed.elastic.multiprocessing.errors import get_error_handler

        get_error_handler().record_exception(error)


def _of_a_peer(error: BaseException | None) -> bool:
    """Whether an error, or one that it came from, is that of a connection to another rank."""
    if error is None:
        return False
    # gloo raises plain RuntimeErrors, known by the name of its source file.
    lost = isinstance(error, dist.DistError) or (isinstance(error, RuntimeError) and "gloo" in str(error))
    return lost or _of_a_peer(error.__cause__ or error.__context__)
