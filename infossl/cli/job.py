"""The main job: train, measure, check, report, into one run folder."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from estimators import KSG, KozachenkoLeonenko
from infossl.bounds import BoundReport, Roles, Sample, check_bounds, write_bounds
from infossl.cli.train import Train
from infossl.data import ImageData
from infossl.distributed import World, barrier, initialised, on_rank_zero, rank_device
from infossl.monitor import Monitor, watch
from infossl.recording import log_spaced
from infossl.report import write_report
from infossl.training import FitResult, Recipe, fit, recipe
from infossl.training.checkpoint import last_good, list_checkpoints
from infossl.training.collapse import Collapse
from infossl.training.families import choose
from infossl.trajectory import Trajectory, atomic_write
from infossl.undisturbed import undisturbed

__all__ = ["outcome", "train"]

# Pairwise measures cost n^2: this keeps "light" within 5 % of the training time of the default run.
_HELD_OUT = {"light": 500, "full": None}


def train(config: Train | None = None, /, **settings: Any) -> Path:
    """Trains, measures, checks and reports; returns the run folder. The same from Python as from the command line.

    Arguments:
        config: a `Train`; or give its fields by name.

    Raises:
        ValueError: if neither or both of `out` and `resume` are given, `resume` comes with other settings, or a
            setting is wrong.
        FileExistsError: if `out` exists and `overwrite` is false.
        FileNotFoundError: if `resume` is no run folder.
        FloatingPointError: if the loss is not finite; the last checkpoint stands.
    """
    config = replace(config, **settings) if config is not None else Train(**settings)
    config.check()
    with initialised(device=config.device) as here:
        return _train(config, here)


def _train(config: Train, here: World) -> Path:
    folder, resume = Path(config.out or config.resume or ""), config.resume is not None
    if resume:
        config = _resumed(config, folder)
    device = rank_device(config.device)
    chosen = _recipe(config)
    data = chosen.load()
    method = chosen.build(data)
    chosen.check(data, method)  # what is wrong is said before anything is removed or written
    if not resume:
        on_rank_zero(lambda: _start(config, chosen, folder))
    method.to(device)
    monitor = _monitor(config, chosen, method, data, folder, resume) if here.main else None
    with _torch_threads(config.threads):
        result = fit(method, data, chosen.fit, out=folder, monitor=monitor, resume=resume)
        if here.main:
            method.cpu()
            write_bounds(folder / "bounds.jsonl", _bounds(method, data, result.steps, config.seed))
    if here.main:
        _describe(folder, chosen, config, data, monitor, result)
        write_report(folder)
    barrier("the end of the run")
    return folder


@contextmanager
def _torch_threads(threads: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _start(config: Train, chosen: Recipe, folder: Path) -> None:
    """Makes the run folder, with the settings and the recipe in full."""
    if folder.exists() and not folder.is_dir():
        raise FileExistsError(f"{folder} is a file: choose another --out")
    if folder.exists() and any(folder.iterdir()):
        if not config.overwrite:
            raise FileExistsError(
                f"{folder} exists: choose another --out, pass --overwrite, or go on with --resume {folder}"
            )
        if not (folder / "run.json").exists():
            raise FileExistsError(f"{folder} holds no run.json, so it is no run of ours and is not removed")
        # Renamed first: a kill while files are removed must not leave half a run under this name.
        old = folder.with_name(f".{folder.name}.removed-{os.getpid()}")
        folder.rename(old)
        shutil.rmtree(old)
    folder.mkdir(parents=True, exist_ok=True)
    settings = {k: v for k, v in asdict(config).items() if k not in {"out", "resume", "overwrite"}}
    settings["objective"] = chosen.objective
    about = {"run": folder.resolve().name, "config": settings, **_surroundings(), "recipe": _in_full(chosen)}
    _write_json(folder / "run.json", about)


def _in_full(chosen: Recipe) -> dict[str, Any]:
    """The recipe as plain values, defaults and settings of the method included."""
    objective, settings = choose(chosen.objective, chosen.method)
    return {**asdict(chosen), "objective": repr(objective), "method": repr(settings)}


def _resumed(config: Train, folder: Path) -> Train:
    path = folder / "run.json"
    if not path.exists():
        raise FileNotFoundError(f"{folder} is no run folder: it has no run.json")
    try:
        settings = json.loads(path.read_text())["config"]
        started = Train(out=folder, **settings)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} does not hold the settings of a run ({error}); start a new one with --out"
        ) from None
    return started


def _recipe(config: Train) -> Recipe:
    chosen = recipe(config.data, config.objective, config.seed, method=config.method)
    names = ("accumulate", "amp", "channels_last", "compile", "deterministic")
    changes: dict[str, Any] = {name: getattr(config, name) for name in names}
    if config.steps is not None:
        changes |= {"steps": config.steps, "warmup": min(chosen.fit.warmup, config.steps // 10)}
    for name in ("batch_size", "checkpoint_every", "lr", "optimizer", "warmup", "weight_decay"):
        if getattr(config, name) is not None:
            changes[name] = getattr(config, name)
    return replace(chosen, fit=replace(chosen.fit, **changes))


def _monitor(
    config: Train, chosen: Recipe, method: nn.Module, data: ImageData, folder: Path, resume: bool
) -> Monitor | None:
    if config.measure == "none":
        return None
    _compile_loops()
    return watch(
        method,
        probe=data.probe_set(held_out=_HELD_OUT[config.measure]),
        measure=config.measure,
        when=log_spaced(config.per_decade, last=chosen.fit.steps),
        out=folder,
        resume=_last_step(folder) if resume else False,
        seed=config.seed,
    )


def _compile_loops() -> None:
    """Compiles the neighbour search where no compiled copy is kept yet, so that it is not counted as measuring."""
    began = time.perf_counter()
    x = np.random.default_rng(1).standard_normal((64, 4))
    KozachenkoLeonenko()(x)
    KSG()(x, x[::-1])
    seconds = time.perf_counter() - began
    if seconds > 2:
        print(f"compiled the neighbour search in {seconds:.0f} s, once after installation", file=sys.stderr)


def _last_step(folder: Path) -> int:
    """The step that training will go on from; -1 where no checkpoint is there yet."""
    checkpoints = folder / "checkpoints"
    found = last_good(checkpoints) if list_checkpoints(checkpoints) else None
    return -1 if found is None else found.step


def _bounds(method: nn.Module, data: ImageData, step: int, seed: int) -> list[BoundReport]:
    """Bounds for the trained encoder: pool and labelled sample are the training images, errors are on the test images.

    How the test images were drawn stays undeclared, so that no bound is `certified`: they come from the same few
    writers as the training images, and the recipes were chosen with a look at them.
    """
    probe = data.probe_set()
    held_out = probe.held_out
    assert held_out is not None  # what ImageData.probe_set always gives
    assert probe.views is not None
    assert probe.y is not None
    with undisturbed(method):
        h = method(probe.x)["h"]
        first, second = (method(probe.views[~held_out, j])["h"] for j in range(2))
    trained = Sample.of(f"{data.name} train", data.train_x)
    roles = Roles(
        encoder=trained,
        probe=replace(trained, labels_used=True),
        pool=trained,
        evaluation=Sample.of(f"{data.name} test", data.test_x),
    )
    return check_bounds(
        h[~held_out],
        probe.y[~held_out],
        h[held_out],
        probe.y[held_out],
        views=(first, second),
        view_labels=probe.y[~held_out],
        roles=roles,
        step=step,
        seed=seed,
    )


def _describe(
    folder: Path,
    chosen: Recipe,
    config: Train,
    data: ImageData,
    monitor: Monitor | None,
    result: FitResult,
) -> None:
    path = folder / "run.json"
    about = json.loads(path.read_text())
    about["recipe"] = _in_full(chosen)
    about["collapse"] = [asdict(collapse) for collapse in result.collapse]
    about["refused"] = list(result.refused)
    about["measure"] = config.measure
    about["data"] = {
        "name": data.name,
        "hash": data.content_hash,
        "train": len(data.train_x),
        "test": len(data.test_x),
    }
    about["timing"] = {"train_seconds": result.seconds_training, "measure_seconds": result.seconds_monitor}
    if monitor is not None:
        about["probe"] = {"set": repr(monitor.probe), "hash": monitor.probe.content_hash}
        about["timing"]["by_quantity"] = dict(monitor.overhead().by_quantity)
        about["timing"]["forward_seconds"] = monitor.overhead().forward_seconds
        about["timing"]["measurements"] = monitor.overhead().measurements
    _write_json(path, about)


def _surroundings() -> dict[str, Any]:
    return {
        "versions": {"python": platform.python_version()}
        | {name: _version(name) for name in ("infossl", "torch", "numpy", "scipy", "numba", "scikit-learn")},
        "machine": {"platform": platform.platform(), "threads": torch.get_num_threads()},
        "commit": _commit(),
    }


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _commit() -> str | None:
    """The commit of this code where it runs from a checkout."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists() or shutil.which("git") is None:
        return None
    asked = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12"]
    answer = subprocess.run(asked, capture_output=True, text=True, check=False)
    return answer.stdout.strip() or None


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    atomic_write(path, (json.dumps(content, indent=2, default=str) + "\n").encode())


def outcome(folder: Path) -> str:
    """What a reader wants to know first, from the files alone."""
    lines = []
    trajectory = Trajectory.load(folder) if (folder / "trajectory.jsonl").exists() else Trajectory()
    accuracies = trajectory.select(lambda r: r.value is not None, quantity="accuracy(linear)")
    of_h = sorted(accuracies.select(role="h"), key=lambda r: r.step)
    pixels = accuracies.select(role="x").rows
    if of_h and pixels:
        lines.append(
            f"linear probe on h: {of_h[-1].value:.1%}  (raw pixels {pixels[0].value:.1%}, untrained encoder "
            f"{of_h[0].value:.1%}; {of_h[-1].n} held-out images)"
        )
    about = json.loads((folder / "run.json").read_text())
    lines += [str(Collapse(**found)) for found in about.get("collapse", ())]
    timing = about["timing"]
    training, measuring = timing["train_seconds"], timing["measure_seconds"]
    share = f", {measuring / training:.0%} of training" if training > 0 else ""
    lines.append(f"training {training:.1f} s, estimators {measuring:.1f} s{share}")
    lines.append(f"report: {(folder / 'report.html').resolve()}")
    return "\n".join(lines)
