r"""Data-parallel training whose loss and gradient are those of one process on the global batch.

Start it with `torchrun --nproc-per-node 4 -m infossl train ...`; without torchrun every function here is the identity of
one process. The convention is that of DDP and FSDP2, that gradients of parameters are averaged over the W ranks:

.. math:: g = \frac{1}{W} \sum_r \frac{\partial L_r}{\partial \theta}
   = \frac{\partial}{\partial \theta} \frac{1}{W} \sum_r L_r

`gather`, `reduce_mean` and batch normalisation pass gradients on as the transposes of what they do forwards, so that the
second equality holds for any losses of the ranks. Where each is that of the gathered batch, g is its gradient. A gather
whose transpose leaves out the sum over ranks gives g / W, and where only some terms are gathered, other relative weights of
the terms. A training step on a rank is

1. `share` of the global batch, in the order of ranks: the batch of one process is cut, not sampled anew;
2. the forward passes, with `synchronised` batch normalisation;
3. the objective on the gathered rows, `gathered(objective)(z1, z2)`; methods do this themselves;
4. `loss.backward()`, then `average_gradients(method)`, then the optimizer and `after_step`, alike on all ranks.

Every rank must come to the same collectives in the same order. So: monitors measure on every rank, as their models are the
same and in evaluation mode nothing is exchanged, and rank 0 alone writes; or one rank works and all get the result
(`on_rank_zero`). An error on one rank ends its process, and torchrun ends the others; where one never comes, the others
give up after the timeout of `initialised`.

Weights must start equal (`broadcast_weights`, or the seed of a builder). Draws that one process makes for the batch, such as
masks and directions, must be made for the global batch on all ranks from one seed, and draws for an image must be keyed by
the image. Dropout draws from the stream of its process and cannot be what one process would draw.

FSDP2, `torch.distributed.fsdp.fully_shard`, shards parameters and keeps this convention: its reduce-scatter averages. Under
it, call `fully_shard` on blocks and then on the method, whose `training_step` must be registered by
`register_fsdp_forward_method(method, "training_step")`, as hooks gather the shards only around a registered call; build the
optimizer after; leave out `average_gradients`; read and write state dicts by `torch.distributed.checkpoint.state_dict`, on
all ranks; measure on all ranks, as a forward pass gathers shards. Averages of weights work shard by shard where the target
is sharded like its network.
"""

from __future__ import annotations

from infossl.distributed.batch_norm import SyncBatchNorm, synchronised
from infossl.distributed.collectives import averaged, gather, gathered, reduce_mean
from infossl.distributed.start import initialised, rank_device
from infossl.distributed.weights import average_gradients, broadcast_weights
from infossl.distributed.world import World, barrier, broadcast_object, on_rank_zero, share, world

__all__ = [
    "SyncBatchNorm",
    "World",
    "average_gradients",
    "averaged",
    "barrier",
    "broadcast_object",
    "broadcast_weights",
    "gather",
    "gathered",
    "initialised",
    "on_rank_zero",
    "rank_device",
    "reduce_mean",
    "share",
    "synchronised",
    "world",
]
