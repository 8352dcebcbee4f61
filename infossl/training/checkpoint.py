"""Checkpoints: written whole or not at all, read only if intact.

`step-00000500.pt` is a plain `torch.save` file and `step-00000500.sha256` its digest, written before it:
where the file is, the digest is, and one without the other, or that does not match, was damaged and is
refused.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from infossl.trajectory import atomic_write

__all__ = ["Checkpoint", "checkpoint_path", "last_good", "list_checkpoints", "load", "save"]


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that was read, and the newer ones that were refused with the reason for each."""

    path: Path
    state: dict[str, Any]
    refused: tuple[str, ...] = ()

    @property
    def step(self) -> int:
        return int(self.state["step"])


def checkpoint_path(folder: Path, step: int) -> Path:
    """Where the checkpoint of a step lies."""
    return folder / f"step-{step:08d}.pt"


def list_checkpoints(folder: Path) -> list[Path]:
    """Checkpoint files, oldest first, intact or not."""
    return sorted(folder.glob("step-*.pt"))


def save(folder: Path, step: int, state: Mapping[str, Any], *, keep: int = 2) -> Path:
    """Writes `state` as the checkpoint of `step` and removes all but the newest `keep`.

    Raises:
        ValueError: if the state holds something that could not be read back (other than tensors and plain
            values).
    """
    folder.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    torch.save({**state, "step": step}, buffer)
    data = buffer.getvalue()
    try:
        torch.load(io.BytesIO(data), weights_only=True, map_location="cpu")
    except Exception as error:
        raise ValueError(
            f"the state of step {step} cannot be read back; use tensors and plain values only: {error}"
        ) from None
    path = checkpoint_path(folder, step)
    atomic_write(path.with_suffix(".sha256"), f"{hashlib.sha256(data).hexdigest()}  {path.name}\n".encode())
    atomic_write(path, data)
    others = [other for other in list_checkpoints(folder) if other != path]
    for old in others[: max(0, len(others) - keep + 1)]:
        old.unlink()
        old.with_suffix(".sha256").unlink(missing_ok=True)
    for unfinished in folder.glob(".step-*.tmp"):  # left by a process that was killed while it wrote
        unfinished.unlink()
    return path


def load(path: Path, *, map_location: torch.device | str = "cpu") -> dict[str, Any]:
    """Reads one checkpoint after checking its digest; no code in it is ever run.

    Raises:
        FileNotFoundError: if it is not there.
        ValueError: if its digest is missing or does not match: it is truncated or damaged.
    """
    data = path.read_bytes()
    sidecar = path.with_suffix(".sha256")
    if not sidecar.exists():
        raise ValueError(
            f"{path} has no {sidecar.name} beside it and cannot be checked; use an older checkpoint"
        )
    wanted, found = sidecar.read_text().split(" ")[0].strip(), hashlib.sha256(data).hexdigest()
    if wanted != found:
        raise ValueError(
            f"{path} ({len(data)} bytes) is truncated or damaged: its SHA-256 is {found[:12]}..., "
            f"{sidecar.name} says {wanted[:12]}...; use an older checkpoint"
        )
    return torch.load(io.BytesIO(data), weights_only=True, map_location=map_location)


def last_good(folder: Path, *, map_location: torch.device | str = "cpu") -> Checkpoint | None:
    """The newest intact checkpoint, `None` if there is not a single file.

    Raises:
        ValueError: if there are checkpoints but none is intact; each reason is given.
    """
    refused: list[str] = []
    for path in reversed(list_checkpoints(folder)):
        try:
            return Checkpoint(path, load(path, map_location=map_location), tuple(refused))
        except ValueError as error:
            refused.append(str(error))
    if refused:
        raise ValueError("no checkpoint is intact: " + "; ".join(refused))
    return None
