"""Deterministic mode: the same bits on the same machine, or an error where an operation has no such version."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["deterministic_algorithms", "require_workspace"]

_WORKSPACES = (":4096:8", ":16:8")


def require_workspace(device: torch.device) -> None:
    """Refuses deterministic mode on a GPU whose matrix library was not told so before the process began.

    Raises:
        ValueError: with the setting that mends it.
    """
    found = os.environ.get("CUBLAS_WORKSPACE_CONFIG")
    if device.type == "cuda" and found not in _WORKSPACES:
        raise ValueError(
            f"deterministic=True on {device} needs the environment variable CUBLAS_WORKSPACE_CONFIG, which is {found!r}: "
            f"start the process with CUBLAS_WORKSPACE_CONFIG={_WORKSPACES[0]}"
        )


@contextmanager
def deterministic_algorithms(enabled: bool) -> Iterator[None]:
    """Lets torch use deterministic algorithms only inside, and leaves its settings as they were; nothing if not enabled."""
    if not enabled:
        yield
        return
    before = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    benchmark = torch.backends.cudnn.benchmark
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warn_only)
        torch.backends.cudnn.benchmark = benchmark
