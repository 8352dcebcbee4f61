"""The weights of all ranks kept equal: broadcast once, and gradients averaged at every step."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.distributed as dist
from torch import Tensor, nn

from infossl.distributed.collectives import require_equal, summed
from infossl.distributed.world import world

__all__ = ["average_gradients", "broadcast_weights"]

_BUCKET = 2**25  # bytes: large enough that latency is nothing, small beside the gradients themselves


@torch.no_grad()
def average_gradients(module: nn.Module) -> None:
    r"""Replaces gradients by their mean over ranks, \(\frac{1}{W} \sum_r g_r\).

    Called after `backward` and before the optimizer or a clipping of gradients. Parameters without a gradient keep none. It
    asks nothing of how the loss was computed: several forward passes, parameters frozen for some steps and methods other
    than `forward` are all one to it, which is why DistributedDataParallel is not used; what is given up is its overlap of
    communication with the backward pass.

    Arguments:
        module: with the same parameters on all ranks, and gradients of the same of them.

    Raises:
        TypeError: for sharded parameters, whose gradients FSDP2 averages itself.
        ValueError: on all ranks alike, if another number of gradients exists on some.
    """
    here = world()
    if here.size == 1:
        return
    gradients = [p.grad for p in module.parameters() if p.grad is not None]
    if any(hasattr(g, "device_mesh") for g in gradients):
        raise TypeError(
            "the parameters are sharded: fully_shard averages their gradients; leave average_gradients out"
        )
    require_equal("module has gradients and elements", (len(gradients), sum(g.numel() for g in gradients)))
    for bucket in _buckets(gradients):
        flat = summed(torch.cat([g.reshape(-1) for g in bucket])) / here.size
        for g, mean in zip(bucket, flat.split([g.numel() for g in bucket]), strict=True):
            g.copy_(mean.view(g.shape))


@torch.no_grad()
def broadcast_weights(module: nn.Module) -> None:
    """Gives all ranks the parameters and buffers of rank 0.

    Raises:
        ValueError: on all ranks alike, if another number of them exists on some.
    """
    if world().size == 1:
        return
    tensors = [*module.parameters(), *module.buffers()]
    require_equal("module has tensors and elements", (len(tensors), sum(t.numel() for t in tensors)))
    for tensor in tensors:
        message = tensor.detach().clone(memory_format=torch.contiguous_format)
        dist.broadcast(message, src=0)
        tensor.copy_(message)


def _buckets(tensors: list[Tensor]) -> Iterator[list[Tensor]]:
    """Tensors of one type and device together, in the order given, in lists of about `_BUCKET` bytes."""
    kinds: dict[tuple[torch.dtype, torch.device], list[Tensor]] = {}
    for tensor in tensors:
        kinds.setdefault((tensor.dtype, tensor.device), []).append(tensor)
    for alike in kinds.values():
        bucket: list[Tensor] = []
        for tensor in alike:
            bucket.append(tensor)
            if sum(t.numel() * t.element_size() for t in bucket) >= _BUCKET:
                yield bucket
                bucket = []
        if bucket:
            yield bucket
