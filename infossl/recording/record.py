"""`record`: temporary hooks that copy layer outputs while the model runs, and leave nothing behind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from infossl.recording.pools import POOLS, pool_named
from infossl.recording.taps import Layers, Tap, taps_of

__all__ = ["Recording", "record"]


class Recording(Mapping[str, list[Tensor]]):
    """What was recorded: layer name to a list with one pooled tensor `(n, d)` per call, in order of the calls."""

    def __init__(self, taps: tuple[Tap, ...]) -> None:
        self.taps = taps
        self.pools: dict[str, str] = {}
        self._calls: dict[str, list[Tensor]] = {tap.layer: [] for tap in taps}

    def __getitem__(self, layer: str) -> list[Tensor]:
        return self._calls[layer]

    def __iter__(self) -> Iterator[str]:
        return iter(self._calls)

    def __len__(self) -> int:
        return len(self._calls)

    def clear(self) -> None:
        """Forgets the calls so far; the hooks stay."""
        for calls in self._calls.values():
            calls.clear()

    def _add(self, tap: Tap, output: Any) -> None:
        output = _selected(tap, output)
        with torch.no_grad():
            if callable(tap.pool):
                name = getattr(tap.pool, "__name__", repr(tap.pool))
                pooled = tap.pool(output.detach())
            else:
                name = pool_named(tap.pool, output)
                pooled = POOLS[name](output.detach())
        if pooled.ndim != 2 or pooled.shape[0] != output.shape[0]:
            raise ValueError(
                f"pool {name!r} made {tuple(pooled.shape)} of the output {tuple(output.shape)} of layer {tap.layer!r}; "
                "a pool must give one row per sample, (n, d)"
            )
        # A copy: the next module may change this memory in place (an in-place ReLU does).
        self._calls[tap.layer].append(pooled.clone())
        self.pools[tap.layer] = name


def _selected(tap: Tap, output: Any) -> Tensor:
    if tap.select is not None:
        output = tap.select(output) if callable(tap.select) else output[tap.select]
    if not isinstance(output, Tensor):
        kind = f"a {type(output).__name__}"
        if isinstance(output, Mapping):
            kind += f" with keys {sorted(map(str, output))}"
        elif isinstance(output, (tuple, list)):
            kind += f" of {len(output)}"
        raise TypeError(
            f"layer {tap.layer!r} returned {kind}, not a tensor; say which part with Tap({tap.layer!r}, select=...)"
        )
    if output.ndim == 0:
        raise ValueError(f"layer {tap.layer!r} returned a scalar; a tap needs one row per sample")
    return output


@contextmanager
def record(model: nn.Module, layers: Layers = "auto") -> Iterator[Recording]:
    """Records layer outputs while the `with` block runs the model.

    Hooks exist inside the block only and are removed whatever happens in it. Each call of a layer adds one
    pooled, detached copy to that layer's list, so two views give two entries and nothing is overwritten.
    Hooks fire on `module(x)`, not on `module.forward(x)`, and not inside a model that was compiled before:
    record the eager module then.

    Arguments:
        model: any module.
        layers: see `taps_of`.

    Raises:
        ValueError: before the block, for a layer that matches nothing (near matches are listed).
        RuntimeError: after the block, for a layer that never fired.

    Example:
        >>> import torch
        >>> model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU())
        >>> with record(model, {"h": "0"}) as activations:
        ...     _ = model(torch.ones(5, 4))
        >>> tuple(activations["0"][0].shape)
        (5, 3)
    """
    taps = taps_of(model, layers)
    modules = dict(model.named_modules())
    recording = Recording(taps)
    handles = []
    try:
        for tap in taps:

            def hook(_module: nn.Module, _inputs: Any, output: Any, tap: Tap = tap) -> None:
                recording._add(tap, output)

            handles.append(modules[tap.layer].register_forward_hook(hook))
        yield recording
    finally:
        for handle in handles:
            handle.remove()
    silent = [tap.layer for tap in taps if not recording[tap.layer] and tap.layer not in recording.pools]
    if silent:
        raise RuntimeError(
            f"layers {silent} never fired: the model was not run in the block, these modules are not part of its "
            "forward pass, were called as module.forward(x), or run inside a compiled model (record the eager one)"
        )
