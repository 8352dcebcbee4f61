"""`watch`: recording + quantities + schedule -> trajectory, beside any training loop."""

from __future__ import annotations

import hashlib
import logging
import os
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from threadpoolctl import ThreadpoolController
from torch import Tensor, nn

from estimators import Estimate, parse
from infossl.activations import Activations
from infossl.probe_set import ProbeSet
from infossl.quantities import Measure, measures_named, with_disagreement
from infossl.recording import SCHEDULES, Layers, Recording, Schedule, Tap, log_spaced, record, taps_of
from infossl.trajectory import Row, Trajectory
from infossl.undisturbed import same_random_streams, undisturbed

__all__ = ["Monitor", "Overhead", "watch"]

log = logging.getLogger(__name__)

Scalar = float | Tensor | Estimate

_SMALL = 2**19  # numbers in a layer's activations below which linear algebra runs on one thread


@dataclass(frozen=True)
class Overhead:
    """What monitoring cost: seconds in all, in the probe passes, per quantity, and of the whole watch."""

    seconds: float
    forward_seconds: float
    by_quantity: Mapping[str, float]
    measurements: int
    watched_seconds: float

    @property
    def share(self) -> float:
        """Monitoring time over the time that was left for training."""
        training = self.watched_seconds - self.seconds
        return self.seconds / training if training > 0 else float("inf")

    def __str__(self) -> str:
        return f"{self.seconds:.2f} s in {self.measurements} measurements, {self.share:.1%} of training time"


def watch(
    model: nn.Module,
    *,
    probe: Any,
    layers: Layers = "auto",
    measure: str | Measure | Iterable[Measure] = "light",
    when: Schedule | str | None = None,
    out: str | os.PathLike[str] | None = None,
    resume: bool | int = False,
    run: str = "",
    seed: int = 0,
    batch_size: int = 512,
) -> Monitor:
    """Measures a model on fixed inputs while it trains, and leaves the training bit-identical.

    Call `step()` after every optimizer step: it measures on schedule and returns at once otherwise. In a `with`
    block the untrained model and the last step are measured too. Each measurement is one pass in eval mode
    over the probe set; parameters, buffers, training flags and random streams stay as they were. A measure that
    raises becomes an error row, and training goes on.

    Arguments:
        model: any module; `torch.compile`d and data-parallel wrappers are looked through.
        probe: a `ProbeSet`, or what `ProbeSet.of` takes: arrays, a data set or a loader.
        layers: `"auto"`, names, globs, `Tap`s, or a mapping from role to name; see `infossl.recording.taps_of`.
        measure: `"light"`, `"full"`, or a list of quantities, their texts such as `"RankMe()"`, and functions
            `(Activations) -> float | Estimate`.
        when: `(step) -> bool`, or text such as `"every(100)"`; by default `log_spaced()`.
        out: run folder; rows are appended to its `trajectory.jsonl`. `None` keeps them in memory.
        resume: go on with the rows already in `out`: with the step of the checkpoint that training continues from,
            which drops the rows past it, or `True` to keep all. Without it an existing file is refused.
        run: name of the run in every row; by default the folder's name.
        seed: for measures that draw random numbers.
        batch_size: of the probe passes.

    Raises:
        ValueError: for a layer that matches nothing (near matches are listed), or measures that need views or
            labels which the probe set lacks.
        RuntimeError, TypeError: if a trial pass with two samples fails: a layer never fires, is called twice, or
            returns no tensor, or the model does not take such inputs.
        FileExistsError: if `out` holds a trajectory already and `resume` is false.

    Example:
        >>> import torch
        >>> model = torch.nn.Linear(4, 3)
        >>> with watch(model, probe=torch.randn(32, 4), measure=lambda a: a.z.std(), when=lambda s: True) as monitor:
        ...     monitor.step()
        >>> len(monitor.trajectory)
        2
    """
    probe = ProbeSet.of(probe)
    model = _eager(model)
    named = isinstance(measure, str) and "(" not in measure
    measures = _feasible(measures_named(measure), probe, named=named)
    path = None if out is None else Path(out) / "trajectory.jsonl"
    trajectory = Trajectory(path)
    if path is not None and path.exists():
        if resume is False:
            raise FileExistsError(f"{path} exists: choose another folder, or go on with it by resume=step")
        trajectory = Trajectory.load(path)
        last = max((row.step for row in trajectory), default=0)
        if resume is not True:
            trajectory.cut(resume)
        elif trajectory.torn:  # the last step was not written whole: it is measured again
            trajectory.cut(last - 1)
    if not run and path is not None:
        run = path.parent.name
    return Monitor(
        model=model,
        probe=probe,
        layers=layers,
        measures=measures,
        when=parse(when, SCHEDULES) if isinstance(when, str) else when or log_spaced(),
        trajectory=trajectory,
        run=run,
        seed=seed,
        batch_size=batch_size,
    )


def _eager(model: nn.Module) -> nn.Module:
    """The module inside compile and data-parallel wrappers, on which hooks fire."""
    if isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
        model = model.module
    return getattr(model, "_orig_mod", model)


def _feasible(measures: Iterable[Measure], probe: ProbeSet, *, named: bool) -> tuple[Measure, ...]:
    """Drops from a preset what the probe set cannot serve; refuses it when the user asked for it by name."""
    views = probe.views is not None and probe.views.shape[1] >= 2
    offered = {"views": views, "labels": probe.y is not None}
    mend = {"views": "augment=..., q=2", "labels": "y=..."}
    kept = []
    for measure in measures:
        missing = [need for need in getattr(measure, "needs", ()) if not offered[need]]
        if not missing:
            kept.append(measure)
        elif named:
            log.info("%r is left out: the probe set has no %s", measure, " and no ".join(missing))
        else:
            hint = ", ".join(mend[need] for need in missing)
            raise ValueError(
                f"{measure!r} needs {' and '.join(missing)}: give them with ProbeSet.of(source, {hint})"
            )
    if not kept:
        raise ValueError("no measure is left: the probe set has neither views nor labels that these need")
    return tuple(kept)


def _with_tensors(model: nn.Module, taps: tuple[Tap, ...], x: Tensor) -> tuple[Tap, ...]:
    """The taps whose layers return one tensor row per sample; what `"auto"` found without knowing the outputs."""
    modules, seen = dict(model.named_modules()), set()
    handles = []
    try:
        for tap in taps:

            def note(_module: nn.Module, _inputs: Any, output: Any, layer: str = tap.layer) -> None:
                if isinstance(output, Tensor) and output.ndim >= 1 and len(output) == len(x):
                    seen.add(layer)

            handles.append(modules[tap.layer].register_forward_hook(note))
        with undisturbed(model):
            model(x)
    finally:
        for handle in handles:
            handle.remove()
    if not seen:
        raise ValueError(
            f"layers='auto' found no layer of {type(model).__name__} that returns one tensor row per sample; "
            "name them: layers={'h': 'backbone', ...}, with Tap(layer, select=...) for tuples and dicts"
        )
    return tuple(tap for tap in taps if tap.layer in seen)


class Monitor:
    """What `watch` returns: `step()`, `trajectory`, `overhead()`."""

    def __init__(
        self,
        *,
        model: nn.Module,
        probe: ProbeSet,
        layers: Layers,
        measures: Iterable[Measure],
        when: Schedule,
        trajectory: Trajectory,
        run: str = "",
        seed: int = 0,
        batch_size: int = 512,
    ) -> None:
        self.model = model
        self.probe = probe
        self.taps = taps_of(model, layers)
        if layers == "auto" and not callable(getattr(model, "taps", None)):
            self.taps = _with_tensors(model, self.taps, self._ready(probe.x[:2]))
        self.measures = tuple(measures)
        self.when = when
        self.trajectory = trajectory
        self.run = run
        self.seed = seed
        self.batch_size = batch_size
        self._step = max((row.step for row in trajectory), default=0)
        self._measured = {row.step for row in trajectory}
        self._seconds = self._forward = 0.0
        self._by_quantity: dict[str, float] = defaultdict(float)
        self._measurements = 0
        self._started = time.perf_counter()
        self._watched_before = 0.0
        self._failed: set[tuple[str, str]] = set()
        self._blas = ThreadpoolController()
        self._run(probe.x[:2])  # what cannot be recorded is said now, not after hours of training

    # -- when ------------------------------------------------------------------------------------------------

    def due(self, step: int) -> bool:
        """Whether `step` is on the schedule and not yet measured."""
        return step not in self._measured and bool(self.when(step))

    def step(
        self,
        global_step: int | None = None,
        scalars: Mapping[str, Scalar] | None = None,
        epoch: float | None = None,
    ) -> None:
        """Says that one more optimizer step was done; measures if that is due.

        Arguments:
            global_step: optimizer steps done so far; by default one more than at the last call.
            scalars: numbers of the training step itself, such as loss terms, kept as rows when it is due.
            epoch: passes over the training data so far, for the rows.
        """
        self._step = self._step + 1 if global_step is None else int(global_step)
        if self.due(self._step):
            self.measure(self._step, scalars, epoch)

    def __enter__(self) -> Monitor:
        if self.due(self._step):
            self.measure(self._step)
        return self

    def __exit__(self, kind: Any, *_: Any) -> None:
        if kind is None and self._step not in self._measured:
            self.measure(self._step)

    # -- what ------------------------------------------------------------------------------------------------

    def measure(
        self, step: int, scalars: Mapping[str, Scalar] | None = None, epoch: float | None = None
    ) -> None:
        """Measures now and appends the rows of this step in one write."""
        began = time.perf_counter()
        rows = [self._scalar(step, name, value) for name, value in (scalars or {}).items()]
        try:
            all_activations = self._activations(step)
        except Exception as error:  # out of memory, a broken module: training goes on
            log.warning("step %d: the probe pass failed: %s", step, error)
            rows.append(
                Row(
                    run=self.run, step=step, layer="", quantity="probe pass", seed=self.seed, error=str(error)
                )
            )
            all_activations = []
        self._forward += time.perf_counter() - began
        for activations in all_activations:
            found: list[Row] = []
            # Small matrices are slower on many threads, and far slower when data loaders hold the other cores.
            threads = 1 if activations.z.size <= _SMALL else None
            with same_random_streams(self.model), self._blas.limit(limits=threads):
                for measure in self.measures:
                    if activations.role == "x" and "labels" not in getattr(measure, "needs", ()):
                        continue  # raw inputs are the baseline of read-outs; the rest speaks of representations
                    found.append(self._row(measure, activations))
            rows += with_disagreement(found)
        self.trajectory.append(replace(row, epoch=epoch) for row in rows)
        self._measured.add(step)
        self._measurements += 1
        self._seconds += time.perf_counter() - began

    def _scalar(self, step: int, name: str, value: Scalar) -> Row:
        if isinstance(value, Estimate):
            where = {"layer": "training", "role": "online", "view": "clean", "split": "held-out"}
            return Row.of(value, run=self.run, step=step, seed=self.seed, **where)
        loss = name.startswith("loss/")
        return Row(
            run=self.run,
            step=step,
            layer="loss" if loss else "training",
            role="" if loss else "online",
            view="training batch" if loss else "clean",
            split="train" if loss else "held-out",
            quantity=name,
            unit="1",
            value=float(value),
            method="training loop",
            seed=self.seed,
        )

    def _row(self, measure: Measure, activations: Activations) -> Row:
        began = time.perf_counter()
        name = getattr(measure, "__name__", None)
        if name == "<lambda>":  # each its own row
            name = f"measure {self.measures.index(measure)}"
        quantity = getattr(measure, "quantity", name or repr(measure))
        where: dict[str, Any] = {
            "run": self.run,
            "step": activations.step,
            "layer": activations.layer,
            "role": activations.role,
            "pool": activations.pool,
            "view": getattr(measure, "view", "clean"),
            "split": "all" if self.probe.held_out is None else "held-out",
            "channel": str(getattr(measure, "channel", "")),
            "seed": self.seed,
        }
        try:
            estimate = measure(activations)
            if not isinstance(estimate, Estimate):
                estimate = Estimate(
                    value=float(estimate), quantity=name or repr(measure), unit="1", n=activations.n,
                    method=name or repr(measure),
                )  # fmt: skip
            row = Row.of(estimate, **where)
        except Exception as error:  # a failed measurement must not end the training run
            place = (activations.layer, repr(measure))
            level = logging.DEBUG if place in self._failed else logging.WARNING  # said once; every row has it
            self._failed.add(place)
            log.log(level, "step %d, layer %s: %s failed: %s", activations.step, *place, error)
            message = f"{type(error).__name__}: {error}"
            row = Row(
                quantity=quantity,
                method=name or repr(measure),
                n=activations.n,
                error=message,
                **where,
            )
        seconds = time.perf_counter() - began
        self._by_quantity[row.quantity] += seconds
        return replace(row, seconds=seconds)

    def _activations(self, step: int) -> list[Activations]:
        probe, held = self.probe, self.probe.held_out
        views = any(
            "views" in getattr(measure, "needs", ()) or not hasattr(measure, "needs")
            for measure in self.measures
        )
        clean, pools = self._run(probe.x)
        augmented: dict[str, list[np.ndarray]] = {tap.layer: [] for tap in self.taps}
        if probe.views is not None and views:
            shown = probe.views if held is None else probe.views[held]
            for j in range(shown.shape[1]):
                for layer, z in self._run(shown[:, j])[0].items():
                    augmented[layer].append(z)
        measured = np.ones(len(probe), bool) if held is None else held.numpy()
        y = None if probe.y is None else probe.y.numpy()

        def of(layer: str, role: str, pool: str, z: np.ndarray, q: list[np.ndarray]) -> Activations:
            fitted = (
                {} if held is None else {"fit_z": z[~measured], "fit_y": None if y is None else y[~measured]}
            )
            digest = hashlib.sha256(f"{self.seed}/{step}/{layer}".encode()).digest()
            return Activations(
                layer=layer, role=role, pool=pool, step=step, seed=int.from_bytes(digest[:4], "little"),
                z=z[measured], views=np.stack(q, axis=1) if q else None, y=None if y is None else y[measured], **fitted,
            )  # fmt: skip

        found = [
            of(tap.layer, tap.role, pools[tap.layer], clean[tap.layer], augmented[tap.layer])
            for tap in self.taps
        ]
        if step == 0 and y is not None:  # the baseline that every read-out is judged by; inputs do not change
            found.append(of("input", "x", "flatten", probe.x.flatten(1).double().numpy(), []))
        return found

    def _run(self, x: Tensor) -> tuple[dict[str, np.ndarray], dict[str, str]]:
        parts: dict[str, list[Tensor]] = {tap.layer: [] for tap in self.taps}
        recording: Recording
        with undisturbed(self.model), record(self.model, self.taps) as recording:
            for batch in x.split(self.batch_size):
                self.model(self._ready(batch))
                for layer, calls in recording.items():
                    if len(calls) != 1 or len(calls[0]) != len(batch):
                        raise RuntimeError(
                            f"layer {layer!r} was called {len(calls)} times with outputs {[tuple(c.shape) for c in calls]} "
                            f"for one batch of {len(batch)}; a tap needs one call with one row per sample"
                        )
                    parts[layer].append(calls[0])
                recording.clear()
        return {k: torch.cat(v).double().cpu().numpy() for k, v in parts.items()}, dict(recording.pools)

    def _ready(self, x: Tensor) -> Tensor:
        """On the model's device, and in its precision where both are floating."""
        parameter = next(iter(self.model.parameters()), None)
        if parameter is None:
            return x
        same_kind = x.is_floating_point() and parameter.is_floating_point()
        return x.to(parameter.device, parameter.dtype if same_kind else x.dtype)

    # -- cost and state --------------------------------------------------------------------------------------

    def overhead(self) -> Overhead:
        """What monitoring has cost so far."""
        return Overhead(
            seconds=self._seconds,
            forward_seconds=self._forward,
            by_quantity=dict(self._by_quantity),
            measurements=self._measurements,
            watched_seconds=self._watched_before + time.perf_counter() - self._started,
        )

    def cut(self, step: int) -> None:
        """Drops the rows past `step`, as a resume from that step's checkpoint does."""
        self.trajectory.cut(step)
        self._measured = {row.step for row in self.trajectory}
        self._step = step

    def state_dict(self) -> dict[str, Any]:
        """Costs so far, so that a resumed run reports all of them. The rows are on disk."""
        cost = self.overhead()
        return {
            "seconds": cost.seconds,
            "forward": cost.forward_seconds,
            "by_quantity": dict(cost.by_quantity),
            "measurements": cost.measurements,
            "watched": cost.watched_seconds,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self._seconds, self._forward = state["seconds"], state["forward"]
        self._by_quantity = defaultdict(float, state["by_quantity"])
        self._measurements = state["measurements"]
        self._watched_before = state["watched"]
        self._started = time.perf_counter()

    def close(self) -> None:
        """Measures the last step if it was not; for loops without a `with` block."""
        self.__exit__(None)

    def __repr__(self) -> str:
        return f"Monitor({len(self.taps)} layers, {len(self.measures)} measures, {self.trajectory!r})"
