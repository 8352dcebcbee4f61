"""One training loop. Every draw is a function of (seed, step), so that a resumed run is the unbroken one."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from estimators import Estimate
from infossl.data import ImageData, generator
from infossl.methods import Outputs
from infossl.objectives import Loss, check_finite
from infossl.readouts import OnlineProbe
from infossl.training import checkpoint
from infossl.training.config import FitConfig
from infossl.training.rng import isolated_rng, rng_state, set_rng_state
from infossl.training.schedule import warmup_cosine
from infossl.undisturbed import undisturbed

__all__ = ["FitResult", "Method", "Monitor", "batch_indices", "fit", "views"]

log = logging.getLogger(__name__)

_BATCHES, _VIEWS = 0, 1  # streams of randomness under one seed


class Monitor(Protocol):
    """What the loop needs of a monitor."""

    def due(self, step: int, /) -> bool:
        """Whether this step is measured."""
        ...

    def step(
        self,
        global_step: int,
        scalars: Mapping[str, Tensor | Estimate] | None = None,
        epoch: float | None = None,
    ) -> None:
        """Measures, and writes the rows before it returns."""
        ...

    def cut(self, step: int, /) -> None:
        """Drops rows past a step."""
        ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any], /) -> None: ...


class Method(Protocol):
    """What the loop needs of a method besides being an `nn.Module`."""

    def training_step(self, v1: Tensor, v2: Tensor, /) -> Outputs: ...


@dataclass(frozen=True, kw_only=True)
class FitResult:
    """What a run did.

    Arguments:
        steps: optimizer steps done in all.
        epochs: passes over the training images.
        seconds_training: time spent in training steps, over all sittings of the run; `seconds_monitor`
            likewise.
        resumed_from: the checkpoint that the run continued from.
        refused: newer checkpoints that were not intact, with the reasons.
        last: the last values of the total (`"loss/total"`), its terms, and the online probe.
    """

    steps: int
    epochs: float
    seconds_training: float
    seconds_monitor: float
    resumed_from: Path | None = None
    refused: tuple[str, ...] = ()
    last: Mapping[str, float]


def batch_indices(step: int, *, n: int, batch_size: int, seed: int) -> Tensor:
    """Indices of the images of a step: each epoch is one permutation, its incomplete last batch left out.

    Raises:
        ValueError: if a batch is larger than the data.
    """
    if batch_size > n:
        raise ValueError(f"batch_size = {batch_size} is larger than the {n} training images")
    epoch, position = divmod(step, n // batch_size)
    order = torch.randperm(n, generator=generator(seed, _BATCHES, epoch))
    return order[position * batch_size : (position + 1) * batch_size]


def views(data: ImageData, x: Tensor, step: int, seed: int) -> tuple[Tensor, Tensor]:
    """The two views of the images of a step."""
    v1, v2 = (data.augment(x, generator(seed, _VIEWS, step, view, device=x.device)) for view in (0, 1))
    return v1, v2


def fit(
    method: nn.Module,
    data: ImageData,
    config: FitConfig,
    *,
    out: Path | str | None = None,
    monitor: Monitor | None = None,
    resume: bool = False,
    progress: bool = True,
) -> FitResult:
    """Trains a method in place.

    The run is a function of the method's weights, the data and the config: the random state of the process
    neither enters nor changes. It runs where the method's parameters are.

    Arguments:
        method: an `nn.Module` with `training_step(v1, v2) -> Outputs`, such as `JointEmbedding`.
        data: images and their views.
        config: settings.
        out: run folder; checkpoints go into `out/checkpoints`. Without one nothing is written.
        monitor: measured before the first step and after every step that is `due`.
        resume: continue from the last intact checkpoint in `out`, from the start if there is none. Rows past
            the checkpoint are cut first.
        progress: show a progress bar on a terminal.

    Raises:
        FileExistsError: if `out` already has checkpoints and `resume` is false.
        FloatingPointError: if the loss is not finite; names the step and the term. The last checkpoint
            stands.
        TypeError: if the method has no `training_step`.
        ValueError: if no checkpoint is intact, or the checkpoint belongs to other settings or data.
    """
    if not callable(getattr(method, "training_step", None)):
        raise TypeError(f"method must have training_step(v1, v2) -> Outputs, got {type(method).__name__}")
    folder = None if out is None else Path(out) / "checkpoints"
    if resume and folder is None:
        raise ValueError("resume=True needs out, the run folder with its checkpoints")
    if folder is not None and not resume and checkpoint.list_checkpoints(folder):
        raise FileExistsError(f"{folder} already has checkpoints; pass resume=True or another out")
    with isolated_rng(config.seed):
        return _Run(method, data, config, folder, monitor).train(resume, progress)


class _Run:
    """The state of one run: what a checkpoint holds."""

    def __init__(
        self, method: Any, data: ImageData, config: FitConfig, folder: Path | None, monitor: Monitor | None
    ) -> None:
        self.method, self.config, self.folder, self.monitor = method, config, folder, monitor
        self.device = next(method.parameters()).device
        self.data = data
        self.x, self.y = data.train_x.to(self.device), data.train_y.to(self.device)
        batch_indices(
            0, n=len(self.x), batch_size=config.batch_size, seed=config.seed
        )  # fail before any work
        self.test_x = data.evaluation()[1].to(self.device)
        self.test_y = data.test_y.to(self.device)
        self.optimizer = torch.optim.AdamW(_groups(method, config.weight_decay), lr=config.lr)
        self.probe: OnlineProbe | None = None
        if config.online_probe:
            dim = _representation(method, self.test_x[:2]).shape[1]
            self.probe = OnlineProbe(dim, data.classes, seed=config.seed).to(self.device)
        self.step, self.seconds_training, self.seconds_monitor = 0, 0.0, 0.0

    def train(self, resume: bool, progress: bool) -> FitResult:
        config, monitor = self.config, self.monitor
        found = (
            checkpoint.last_good(self.folder, map_location=self.device) if resume and self.folder else None
        )
        if found is not None:
            self.load_state_dict(found.state)
            for reason in found.refused:
                log.warning("%s", reason)
        elif monitor is not None:
            if resume:
                monitor.cut(-1)
            if monitor.due(0):
                self.measure(None)
        self.method.train()
        scalars: dict[str, Tensor] = {}
        bar = tqdm(
            total=config.steps,
            initial=self.step,
            desc="train",
            unit="step",
            disable=None if progress else True,
        )
        with bar:
            while self.step < config.steps:
                start = time.perf_counter()
                scalars = self.update()
                self.seconds_training += time.perf_counter() - start
                if monitor is not None and monitor.due(self.step):
                    self.measure(scalars)
                # After the rows of this step: a checkpoint never promises rows that are not there.
                if self.step % config.checkpoint_every == 0 or self.step == config.steps:
                    self.save()
                if not bar.disable:
                    if self.step % 20 == 0 or self.step == config.steps:
                        bar.set_postfix(loss=f"{float(scalars['loss/total']):.3f}", refresh=False)
                    bar.update()
        last = {name: float(value) for name, value in scalars.items()}
        if self.probe is not None:
            last["accuracy(online-linear)"] = self.online_accuracy(self.probe)
        return FitResult(
            steps=self.step,
            epochs=self.step * config.batch_size / len(self.x),
            seconds_training=self.seconds_training,
            seconds_monitor=self.seconds_monitor,
            resumed_from=found.path if found else None,
            refused=found.refused if found else (),
            last=last,
        )

    def update(self) -> dict[str, Tensor]:
        """One optimizer step."""
        config, method = self.config, self.method
        factor = warmup_cosine(self.step, steps=config.steps, warmup=config.warmup, final=config.final_lr)
        for group in self.optimizer.param_groups:
            group["lr"] = config.lr * factor
        chosen = batch_indices(self.step, n=len(self.x), batch_size=config.batch_size, seed=config.seed)
        chosen = chosen.to(self.device)
        v1, v2 = views(self.data, self.x[chosen], self.step, config.seed)
        try:
            with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=config.amp):
                outputs = method.training_step(v1, v2)
            loss: Loss = check_finite(outputs.loss)
        except FloatingPointError as error:
            kept = (
                "no checkpoint was written yet"
                if self.folder is None
                else f"the last checkpoint is in {self.folder}"
            )
            raise FloatingPointError(f"step {self.step + 1}: {error}; {kept}") from None
        self.optimizer.zero_grad(set_to_none=True)
        loss.total.backward()
        self.optimizer.step()
        self.step += 1
        scalars = {"loss/total": loss.total.detach()}
        scalars |= {f"loss/{name}": term.detach() for name, term in loss.terms.items()}
        if self.probe is not None:
            y = self.y[chosen]
            scalars["loss/online-probe"] = self.probe.update(outputs.h, torch.cat([y, y]))
        return scalars

    def measure(self, scalars: Mapping[str, Tensor | Estimate] | None) -> None:
        """Hands over to the monitor, on the clock of the monitor."""
        assert self.monitor is not None
        start = time.perf_counter()
        if scalars is not None and self.probe is not None:
            scalars = {**scalars, "accuracy(online-linear)": self.online_estimate(self.probe)}
        epoch = self.step * self.config.batch_size / len(self.x)
        self.monitor.step(self.step, scalars, epoch=epoch)
        self.seconds_monitor += time.perf_counter() - start

    def online_accuracy(self, probe: OnlineProbe) -> float:
        """Accuracy of the online probe on the evaluation inputs of the test images."""
        return probe.accuracy(_representation(self.method, self.test_x), self.test_y)

    def online_estimate(self, probe: OnlineProbe) -> Estimate:
        """The same with what a reader needs beside it; the null is the share of the commonest class."""
        value, n = self.online_accuracy(probe), len(self.test_y)
        return Estimate(
            value=value,
            quantity="accuracy(online-linear)",
            unit="1",
            n=n,
            method="OnlineProbe()",
            stderr=math.sqrt(value * (1 - value) / n),
            ceiling=1.0,
            diagnostics={"null_mean": float(self.test_y.bincount().max()) / n},
        )

    def save(self) -> None:
        if self.folder is not None:
            checkpoint.save(self.folder, self.step, self.state_dict())

    def state_dict(self) -> dict[str, Any]:
        state = {
            "format": 1,
            "step": self.step,
            "method": self.method.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "config": asdict(self.config),
            "data": self.data.content_hash,
            "rng": rng_state(),
            "seconds": [self.seconds_training, self.seconds_monitor],
        }
        if self.probe is not None:
            state["probe"] = {
                "model": self.probe.state_dict(),
                "optimizer": self.probe.optimizer.state_dict(),
            }
        if self.monitor is not None:
            state["monitor"] = self.monitor.state_dict()
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        mine = asdict(self.config)
        differing = sorted(
            k for k in mine.keys() | state["config"].keys() if mine.get(k) != state["config"].get(k)
        )
        if differing:
            changes = ", ".join(
                f"{k} was {state['config'].get(k)!r} and is {mine.get(k)!r}" for k in differing
            )
            raise ValueError(f"the checkpoint of step {state['step']} belongs to other settings: {changes}")
        if state["data"] != self.data.content_hash:
            raise ValueError(
                f"the checkpoint of step {state['step']} belongs to other data than {self.data!r}"
            )
        self.method.load_state_dict(state["method"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.probe is not None:
            self.probe.load_state_dict(state["probe"]["model"])
            self.probe.optimizer.load_state_dict(state["probe"]["optimizer"])
        self.step = state["step"]
        self.seconds_training, self.seconds_monitor = state["seconds"]
        if self.monitor is not None:
            self.monitor.cut(self.step)
            if "monitor" in state:
                self.monitor.load_state_dict(state["monitor"])
        set_rng_state({k: _on_cpu(v) for k, v in state["rng"].items()})


def _on_cpu(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.cpu()
    return type(value)(_on_cpu(v) for v in value) if isinstance(value, (tuple, list)) else value


def _groups(method: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    trained = [p for p in method.parameters() if p.requires_grad]
    return [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]


def _representation(method: Any, x: Tensor) -> Tensor:
    """h in evaluation mode; training flags and random streams are put back."""
    with undisturbed(method):
        return method(x)["h"]
