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

from estimators import Estimate, parse
from infossl.data import ImageData, generator
from infossl.distributed import (
    average_gradients,
    broadcast_object,
    broadcast_weights,
    gather,
    share,
    synchronised,
    world,
)
from infossl.methods import Outputs
from infossl.objectives import check_finite
from infossl.readouts import OnlineProbe
from infossl.training import checkpoint
from infossl.training.accumulation import require_mean_over_images
from infossl.training.collapse import Collapse, collapse_at, collapses
from infossl.training.config import FitConfig
from infossl.training.determinism import deterministic_algorithms, require_workspace
from infossl.training.optimizers import OPTIMIZERS, parameter_groups
from infossl.training.rng import isolated_rng, rng_state, set_rng_state
from infossl.training.schedule import cosine, warmup_cosine
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
    """What the loop needs of a method besides being an `nn.Module`.

    Where there is an `after_step(step, steps)`, it is called after every optimizer step.
    """

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
        collapse: the collapses that the run ended in, by name; empty where none was seen or nothing was measured.
        last: the last values of the total (`"loss/total"`), its terms, and the online probe.
    """

    steps: int
    epochs: float
    seconds_training: float
    seconds_monitor: float
    resumed_from: Path | None = None
    refused: tuple[str, ...] = ()
    collapse: tuple[Collapse, ...] = ()
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
    """The two views of images, drawn for their places in the batch of a step."""
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

    In a process group of W ranks each gets 1 / W of every batch, and losses, batch statistics and gradients are those of the
    whole batch: the run is that of one process, up to the order of sums and what dropout draws. Rank 0 measures and
    writes. A collapse that the monitor's rows show is logged as a warning when it is first seen, and is in the result.

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
        ValueError: if no checkpoint is intact, or the checkpoint belongs to other settings or data; for a batch that the data
            or the ranks do not allow, `accumulate` with an objective of batch statistics, or `deterministic` without what it
            needs.
    """
    if not callable(getattr(method, "training_step", None)):
        raise TypeError(f"method must have training_step(v1, v2) -> Outputs, got {type(method).__name__}")
    folder = None if out is None else Path(out) / "checkpoints"
    if resume and folder is None:
        raise ValueError("resume=True needs out, the run folder with its checkpoints")
    if folder is not None and not resume and checkpoint.list_checkpoints(folder):
        raise FileExistsError(f"{folder} already has checkpoints; pass resume=True or another out")
    device = next(method.parameters()).device
    if config.deterministic:
        require_workspace(device)
    if config.accumulate > 1:
        require_mean_over_images(method)
    with isolated_rng(config.seed), deterministic_algorithms(config.deterministic):
        return _Run(method, data, config, folder, monitor if world().main else None).train(resume, progress)


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
        if config.batch_size % (config.accumulate * world().size):
            raise ValueError(
                f"batch_size = {config.batch_size} must be a multiple of accumulate * ranks = "
                f"{config.accumulate} * {world().size}"
            )
        self.test_x = data.evaluation()[1].to(self.device)
        self.test_y = data.test_y.to(self.device)
        self.memory_format = torch.channels_last if config.channels_last else torch.preserve_format
        if config.channels_last:
            method.to(memory_format=torch.channels_last)
        broadcast_weights(synchronised(method))
        # Compiled beside the module, not instead of it: its hooks, names and state stay what they are.
        self.training_step = torch.compile(method.training_step) if config.compile else method.training_step
        groups = parameter_groups(method, config.weight_decay)
        self.optimizer = parse(config.optimizer, OPTIMIZERS)(groups, config.lr)
        self.probe: OnlineProbe | None = None
        if config.online_probe:
            dim = _representation(method, self.test_x[:2]).shape[1]
            self.probe = OnlineProbe(dim, data.classes, seed=config.seed).to(self.device)
        self.step, self.seconds_training, self.seconds_monitor = 0, 0.0, 0.0
        self.scale_free = bool(getattr(getattr(method, "objective", None), "scale_free", True))
        self.warned: set[tuple[str, str]] = set()

    def train(self, resume: bool, progress: bool) -> FitResult:
        config, monitor = self.config, self.monitor
        found = self.last_good() if resume else None
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
            disable=None if progress and world().main else True,
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
            collapse=collapses(getattr(monitor, "trajectory", ()), scale_free=self.scale_free),
            last=last,
        )

    def update(self) -> dict[str, Tensor]:
        """One optimizer step."""
        config = self.config
        self.set_rates()
        chosen = batch_indices(self.step, n=len(self.x), batch_size=config.batch_size, seed=config.seed)
        chosen = chosen.to(self.device)
        v1, v2 = (view.to(memory_format=self.memory_format) for view in self.views(chosen))
        self.optimizer.zero_grad(set_to_none=True)
        losses, h, y = [], [], []
        for part in torch.arange(len(chosen), device=self.device).chunk(config.accumulate):
            mine = share(part)
            outputs = self.forward(v1, v2) if len(mine) == len(v1) else self.forward(v1[mine], v2[mine])
            (outputs.loss.total / config.accumulate).backward()
            losses.append(outputs.loss)
            h.append(gather(outputs.h.detach()))
            y.append(gather(self.y[chosen[mine]].repeat(2)))
        average_gradients(self.method)
        self.optimizer.step()
        self.step += 1
        after = getattr(self.method, "after_step", None)
        if after is not None:
            after(self.step, config.steps)
        scalars = {"loss/total": _mean([loss.total for loss in losses])}
        scalars |= {f"loss/{name}": _mean([loss.terms[name] for loss in losses]) for name in losses[0].terms}
        if self.probe is not None:
            scalars["loss/online-probe"] = self.probe.update(torch.cat(h), torch.cat(y))
        return scalars

    def views(self, chosen: Tensor) -> tuple[Tensor, Tensor]:
        """The two views of the images of the step."""
        if not self.data.keyed:
            return views(self.data, self.x[chosen], self.step, self.config.seed)
        epoch, seed, x = (
            self.step // (len(self.x) // self.config.batch_size),
            self.config.seed,
            self.x[chosen],
        )
        v1, v2 = (self.data.view(chosen, epoch=epoch, view=view, seed=seed, x=x) for view in (0, 1))
        return v1, v2

    def set_rates(self) -> None:
        """Learning rate and weight decay of the step."""
        config = self.config
        factor = warmup_cosine(self.step, steps=config.steps, warmup=config.warmup, final=config.final_lr)
        for group in self.optimizer.param_groups:
            group["lr"] = config.lr * factor
        if config.final_weight_decay is not None:
            self.optimizer.param_groups[0]["weight_decay"] = cosine(
                self.step, config.weight_decay, config.final_weight_decay, steps=config.steps
            )

    def forward(self, v1: Tensor, v2: Tensor) -> Outputs:
        """Loss and representations of one part of a batch."""
        try:
            with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.config.amp):
                outputs: Outputs = self.training_step(v1, v2)
            check_finite(outputs.loss)
        except FloatingPointError as error:
            kept = (
                "no checkpoint was written yet"
                if self.folder is None
                else f"the last checkpoint is in {self.folder}"
            )
            raise FloatingPointError(f"step {self.step + 1}: {error}; {kept}") from None
        return outputs

    def measure(self, scalars: Mapping[str, Tensor | Estimate] | None) -> None:
        """Hands over to the monitor, on the clock of the monitor."""
        assert self.monitor is not None
        start = time.perf_counter()
        if scalars is not None and self.probe is not None:
            scalars = {**scalars, "accuracy(online-linear)": self.online_estimate(self.probe)}
        epoch = self.step * self.config.batch_size / len(self.x)
        self.monitor.step(self.step, scalars, epoch=epoch)
        self.warn_of_collapse()
        self.seconds_monitor += time.perf_counter() - start

    def warn_of_collapse(self) -> None:
        """Says once when a role is first seen in a collapse, while there is time to stop the run."""
        rows = getattr(self.monitor, "trajectory", ())
        for role, (name, evidence) in collapse_at(rows, self.step, scale_free=self.scale_free).items():
            if (role, name) not in self.warned:
                self.warned.add((role, name))
                log.warning("step %d: %s of %s: %s", self.step, name, role, evidence)

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

    def last_good(self) -> checkpoint.Checkpoint | None:
        """The newest intact checkpoint, the same one on all ranks."""
        assert self.folder is not None
        found = checkpoint.last_good(self.folder, map_location=self.device)
        steps = [None if found is None else found.step, broadcast_object(found and found.step)]
        if steps[0] != steps[1]:
            raise ValueError(
                f"rank {world().rank} finds the checkpoint of step {steps[0]} in {self.folder} and rank 0 that of step "
                f"{steps[1]}: all ranks must see the same folder"
            )
        return found

    def save(self) -> None:
        if self.folder is not None and world().main:
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
        # A setting that came later than the checkpoint was at its default then.
        mine, theirs = asdict(self.config), asdict(FitConfig()) | state["config"]
        differing = sorted(k for k in mine.keys() | theirs.keys() if mine.get(k) != theirs.get(k))
        if differing:
            changes = ", ".join(f"{k} was {theirs.get(k)!r} and is {mine.get(k)!r}" for k in differing)
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


def _mean(values: list[Tensor]) -> Tensor:
    return values[0].detach() if len(values) == 1 else torch.stack(values).detach().mean()


def _representation(method: Any, x: Tensor) -> Tensor:
    """h in evaluation mode; training flags and random streams are put back."""
    with undisturbed(method):
        return method(x)["h"]
