"""Run a model, or a user's function, and leave training flags and random streams as they were."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn

__all__ = ["same_random_streams", "undisturbed"]


@contextmanager
def same_random_streams(model: nn.Module | None = None) -> Iterator[None]:
    """Restores the global random streams of torch (on the model's devices too), numpy and Python."""
    parameters = () if model is None else model.parameters()
    devices = sorted({p.device.index for p in parameters if p.device.type == "cuda"})
    state, numpy_state = random.getstate(), np.random.get_state()  # noqa: NPY002 - saved so that it stays untouched
    try:
        with torch.random.fork_rng(devices=devices):
            yield
    finally:
        random.setstate(state)
        np.random.set_state(numpy_state)  # noqa: NPY002


@contextmanager
def undisturbed(model: nn.Module) -> Iterator[None]:
    """Eval mode without gradients or autocast inside; training flags, buffers and random streams restored after.

    Every module's own flag is restored, so a frozen batch norm inside a training model stays frozen. Eval mode
    keeps running statistics as they are, but observers and counters may move in a forward pass all the same, so
    every buffer is put back.
    """
    flags = [(module, module.training) for module in model.modules()]
    buffers = [
        (module, name, buffer, buffer.clone())
        for module in model.modules()
        for name, buffer in module._buffers.items()
        if buffer is not None
    ]
    device_type = next((p.device.type for p in model.parameters()), "cpu")
    try:
        with same_random_streams(model), torch.no_grad(), torch.autocast(device_type, enabled=False):
            model.eval()
            yield
    finally:
        for module, training in flags:
            module.training = training
        for module, name, buffer, before in buffers:
            module._buffers[name] = buffer
            if not torch.equal(buffer, before):
                buffer.copy_(before)
