"""A run small enough for tests, with a monitor that writes rows and a model that draws random numbers.

As a script, `python tiny_run.py FOLDER`, it trains slowly enough to be killed.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from infossl.data import ImageData, generator
from infossl.data.augment import Compose, Gain, Noise
from infossl.methods import JointEmbedding
from infossl.models import ConvEncoder, projector
from infossl.objectives import VICReg
from infossl.training import FitConfig, FitResult, fit
from infossl.trajectory import Row, Trajectory

CONFIG = FitConfig(steps=24, batch_size=16, warmup=4, checkpoint_every=5, lr=5e-3)


def tiny_data() -> ImageData:
    x = torch.rand(60, 1, 8, 8, generator=generator(7))
    y = torch.arange(60) % 3
    return ImageData("tiny", x[:40], y[:40], x[40:], y[40:], Compose((Gain(0.2), Noise(0.1))))


def tiny_method(seed: int = 0, dropout: float = 0.2) -> JointEmbedding:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = nn.Sequential(nn.Dropout(dropout), projector((8, 8, 8)))
        return JointEmbedding(ConvEncoder(channels=(4, 8)), head, VICReg())


class TinyMonitor:
    """Writes one row per scalar and the norm of the weights on every third step."""

    def __init__(self, method: nn.Module, path: Path | None = None, pause: float = 0.0) -> None:
        exists = path is not None and path.exists()
        self.method, self.trajectory = method, Trajectory.load(path) if exists else Trajectory(path)
        self.pause, self.measured = pause, 0

    def due(self, step: int) -> bool:
        return step % 3 == 0

    def step(
        self, global_step: int, scalars: Mapping[str, Any] | None = None, epoch: float | None = None
    ) -> None:
        self.measured += 1
        size = sum(float(p.detach().square().sum()) for p in self.method.parameters())
        numbers = {"size": size, "measured": float(self.measured)} | {
            k: float(getattr(v, "value", v)) for k, v in (scalars or {}).items()
        }
        self.trajectory.append(
            [Row(step=global_step, layer="loss", quantity=k, value=v) for k, v in numbers.items()]
        )
        time.sleep(self.pause)

    def cut(self, step: int) -> None:
        self.trajectory.cut(step)

    def state_dict(self) -> dict[str, Any]:
        return {"measured": self.measured}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.measured = state["measured"]


def run(
    folder: Path | None, *, resume: bool = False, pause: float = 0.0
) -> tuple[JointEmbedding, TinyMonitor, FitResult]:
    method = tiny_method()
    monitor = TinyMonitor(method, None if folder is None else folder / "trajectory.jsonl", pause)
    result = fit(method, tiny_data(), CONFIG, out=folder, monitor=monitor, resume=resume, progress=False)
    return method, monitor, result


if __name__ == "__main__":
    torch.set_num_threads(1)
    run(Path(sys.argv[1]), pause=0.05)
