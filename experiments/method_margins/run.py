"""Does training help? Linear-probe accuracy of every method against its own untrained encoder.

Trains each method over several seeds with the toolkit's own loop, on digits and on cluttered digits, and reads the class from h
before and after. Writes results.md and figure.png beside this file, and one line per run into a table of runs, so that a
study that was stopped goes on where it was.
"""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
import torch
import tyro
from torch import Tensor, nn
from tqdm.auto import tqdm

from estimators import parse
from infossl.data import DATA, ImageData
from infossl.data.masks import MultiBlock
from infossl.methods import IJEPA, RAMPS, Ramp, build, ijepa
from infossl.objectives import OBJECTIVES
from infossl.readouts import KNNReadout, RidgeReadout
from infossl.training import FitConfig, fit
from infossl.undisturbed import undisturbed

HERE = Path(__file__).parent

ENCODERS: Mapping[str, Mapping[str, Any]] = {
    "digits": {"channels": (16, 32, 64), "strides": (1, 2, 2)},
    "cluttered-digits": {"channels": (16, 32, 64, 128), "strides": (2, 2, 2, 1)},
}
SIDES = {"digits": 8, "cluttered-digits": 24}
STEPS = {"digits": 300, "cluttered-digits": 200}


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One method, as plain values."""

    objective: str
    lr: float = 4e-3
    hidden: tuple[int, ...] = (128, 128)
    batch_size: int = 128
    steps: float = 1.0
    """Optimizer steps, in units of those of the data set."""
    momentum: str | None = None
    """Of the target; by default the method's."""
    more: Mapping[str, Any] = field(default_factory=dict)
    """Further arguments of `build`."""


METHODS: Mapping[str, Setting] = {
    "VICReg": Setting(objective="VICReg()"),
    "SimCLR": Setting(objective="SimCLR()"),
    "DCL": Setting(objective="DCL()"),
    "Barlow Twins": Setting(objective="BarlowTwins()"),
    "W-MSE": Setting(objective="WMSE()", hidden=(128, 32)),
    "Align-Uniform": Setting(objective="AlignUniform()"),
    "Spectral": Setting(objective="SpectralContrastive()"),
    "FroSSL": Setting(objective="FroSSL()"),
    "MMCR": Setting(objective="MMCR()"),
    "SIGReg": Setting(objective="SIGReg()"),
    "LogDet": Setting(objective="LogDet()"),
    "PairDist": Setting(objective="PairDist(weight=30.0)"),
    "KDE": Setting(objective="KDE()"),
    "BYOL": Setting(objective="BYOL()", momentum="CosineRamp(0.97, 1.0)"),
    "SimSiam": Setting(objective="SimSiam()"),
    "SwAV": Setting(objective="SwAV()"),
    "DINO": Setting(objective="DINO()", momentum="CosineRamp(0.97, 1.0)"),
    "I-JEPA": Setting(
        objective="SmoothL1()",
        momentum="LinearRamp(0.998, 1.0)",
        batch_size=32,
        steps=2.0,
        more={"patch": 2, "weight_decay": 0.04},
    ),
}


CHANGED: Mapping[tuple[str, str], Setting] = {
    ("cluttered-digits", "Spectral"): Setting(objective="SpectralContrastive()", hidden=(128, 32)),
    ("cluttered-digits", "MMCR"): Setting(objective="MMCR()", hidden=(128, 32)),
    ("cluttered-digits", "FroSSL"): Setting(objective="FroSSL(invariance=8.0)", hidden=(128, 64)),
    ("cluttered-digits", "BYOL"): Setting(objective="BYOL()", momentum="CosineRamp(0.9, 1.0)", steps=2.5),
    ("cluttered-digits", "SimSiam"): Setting(objective="SimSiam()", steps=2.5),
    ("cluttered-digits", "SwAV"): Setting(
        objective="SwAV(eps=0.03)", lr=2e-3, steps=2.0, more={"prototypes": 64}
    ),
    ("cluttered-digits", "I-JEPA"): replace(
        METHODS["I-JEPA"], steps=3.0, more={"patch": 6, "weight_decay": 0.04}
    ),
}
"""Settings of single data sets, where those above are not good there."""


@dataclass(frozen=True)
class Study:
    """Settings of the study; the defaults are those of results.md."""

    data: tuple[str, ...] = tuple(ENCODERS)
    methods: tuple[str, ...] = tuple(METHODS)
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    small: bool = False
    """Two steps of each run, to see that everything works."""
    finished: bool = False
    """Train nothing: write the tables of the runs that are finished."""
    runs: Path = Path("runs/method_margins")
    """Where the table of runs goes. A run that is in it is not repeated."""
    out: Path = HERE
    """Where results.md and figure.png go."""


def setting_of(data: str, name: str) -> Setting:
    """The settings of a method on a data set."""
    return CHANGED.get((data, name), METHODS[name])


def small_ijepa(side: int, *, patch: int, momentum: Ramp, seed: int) -> IJEPA:
    """An I-JEPA on a grid of 4x4 patches, whose tokens say as much of the image as those of the paper do at the start.

    A patch of 16x16 pixels on three channels enters with sqrt(768) times the standard deviation of the weights; a patch of a few
    pixels would be lost beside positions of amplitude 1. Contexts keep more than 6 patches: with the published blocks, those of
    a batch would be cut to 2.
    """
    masks = MultiBlock(grid=(4, 4), targets=2, target_scale=(0.13, 0.2), min_keep=6)
    method = ijepa(side, patch=patch, masks=masks, momentum=momentum, seed=seed)
    with torch.no_grad():
        for encoder in (method.encoder, method.target_encoder):
            encoder.embed.weight.mul_(math.sqrt(768) / patch)  # type: ignore[union-attr, operator]
    return method


def method_of(setting: Setting, data: str, seed: int) -> nn.Module:
    """The untrained method, a function of the seed."""
    more: dict[str, Any] = dict(setting.more)
    if setting.momentum is not None:
        more["momentum"] = parse(setting.momentum, RAMPS)
    more.pop("weight_decay", None)
    if "patch" in more:
        return small_ijepa(SIDES[data], seed=seed, **more)
    objective = parse(setting.objective, OBJECTIVES)
    return build(objective, **ENCODERS[data], hidden=setting.hidden, seed=seed, **more)


def readings(method: nn.Module, data: ImageData) -> tuple[dict[str, float], dict[str, str]]:
    """What is read from h, and how: fitted on the training images and scored once on the test images. `fitting` is by 5-fold
    cross-fitting on the training images alone, which is what settings were chosen by."""
    with undisturbed(method):
        train_z, test_z = (method(x)["h"] for x in data.evaluation())
    y = data.train_y
    fold = torch.from_numpy(np.random.default_rng(0).permutation(len(y)) % 5)
    parts = [(fold != j, fold == j) for j in range(5)]
    crossed = [RidgeReadout()(train_z[f], y[f], train_z[t], y[t]).value for f, t in parts]
    linear = RidgeReadout()(train_z, y, test_z, data.test_y)
    knn = KNNReadout()(train_z, y, test_z, data.test_y)
    numbers = {
        "linear": linear.value,
        "knn": knn.value,
        "fitting": mean(crossed),
        "rank": effective_rank(test_z),
    }
    # The penalty differs from run to run; what chose it does not.
    rule = f"{RidgeReadout().rule}, fitted on train (n={len(y)}), scored once on test (n={linear.n})"
    return numbers, {"Linear probe": rule, "kNN": knn.protocol}


def with_statistics(method: nn.Module, data: ImageData) -> nn.Module:
    """A copy with the same weights whose batch normalisations know mean and variance of the training images.

    A network as it is built normalises by 0 and 1. Any forward pass in training mode mends that, so that this part of a margin
    owes nothing to an objective.
    """
    method = copy.deepcopy(method)
    for module in method.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None  # the plain average
    with torch.no_grad():
        method.train()
        method.encoder(data.evaluation()[0])  # type: ignore[operator]
    return method


def effective_rank(z: Tensor) -> float:
    """exp of the entropy of the normalised singular values of the centred representation."""
    s = torch.linalg.svdvals((z - z.mean(0)).double())
    p = s / s.sum().clamp(min=1e-300)
    return math.exp(float(torch.special.entr(p).sum()))


def one_run(name: str, data_name: str, data: ImageData, seed: int, steps: int) -> dict[str, Any]:
    """Readings before and after training."""
    setting = setting_of(data_name, name)
    method = method_of(setting, data_name, seed)
    config = FitConfig(
        steps=steps,
        batch_size=setting.batch_size,
        lr=setting.lr,
        warmup=steps // 10,
        weight_decay=setting.more.get("weight_decay", 1e-4),
        seed=seed,
        online_probe=False,
    )
    before, _ = readings(method, data)
    normalised, _ = readings(with_statistics(method, data), data)
    began = time.process_time()
    result = fit(method, data, config, progress=False)
    seconds = time.process_time() - began
    after, protocols = readings(method, data)
    last = dict(result.last)
    return {
        "before": before,
        "normalised": normalised,
        "after": after,
        "last": last,
        "seconds": seconds,
        "protocols": protocols,
    }


def table_of(path: Path) -> dict[str, dict[str, Any]]:
    """The runs that are done, by key; a last line that was cut off counts as not done."""
    found = {}
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            continue
        found[row["key"]] = row
    return found


def key_of(data: str, name: str, seed: int, steps: int) -> str:
    """What identifies a run: a run with other settings is another run."""
    return json.dumps([data, name, seed, steps, asdict(setting_of(data, name))], default=list)


def run_all(study: Study) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """All runs, seed by seed, so that a study that was stopped has all methods at the first seeds."""
    path = study.runs / "runs.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and not path.read_text().endswith(
        "\n"
    ):  # a line that was cut off must not swallow the next
        path.write_text(path.read_text() + "\n")
    done, loaded = table_of(path), {name: DATA[name]() for name in study.data}
    wanted = [(seed, data, name) for seed in study.seeds for data in study.data for name in study.methods]
    runs: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for seed, data, name in (bar := tqdm(wanted, unit="run")):
        bar.set_postfix_str(f"{data} {name} seed {seed}")
        setting = setting_of(data, name)
        steps = 2 if study.small else round(setting.steps * STEPS[data])
        key = key_of(data, name, seed, steps)
        if key not in done and study.finished:
            continue
        if key not in done:
            row = one_run(name, data, loaded[data], seed, steps)
            done[key] = {"key": key, "data": data, "name": name, "seed": seed, "steps": steps, **row}
            with path.open("a") as file:
                file.write(json.dumps(done[key]) + "\n")
        runs.setdefault((data, name), []).append(done[key])
    return runs


def margins(
    rows: Sequence[Mapping[str, Any]], readout: str = "linear", before: str = "before"
) -> list[float]:
    """Trained less untrained, in points, of every seed."""
    return [100 * (row["after"][readout] - row[before][readout]) for row in rows]


def main(study: Study) -> str:
    """Runs the study and returns the tables."""
    runs = run_all(study)
    parts = []
    for data in study.data:
        lines = [
            f"### {data}",
            "",
            "| method | steps | seeds | untrained h % | normalised % | trained h % | margin | "
            "margin of every seed | to normalised | kNN margin | rank of h | CPU s |",
            "|---|---|---|---|---|---|---|---|---|---|---|---|",
        ]
        for name in study.methods:
            rows = runs.get((data, name), [])
            if not rows:
                lines.append(f"| {name} | not run |" + " |" * 10)
                continue
            values = [
                [100 * row[when]["linear"] for row in rows] for when in ("before", "normalised", "after")
            ]
            each = ", ".join(f"{gain:+.1f}" for gain in margins(rows))
            ranks = [mean(row[when]["rank"] for row in rows) for when in ("before", "after")]
            lines.append(
                f"| {name} | {rows[0]['steps']} | {len(rows)} | {' | '.join(map(_spread, values))} | "
                f"{_spread(margins(rows), '+')} | {each} | "
                f"{_spread(margins(rows, before='normalised'), '+')} | {_spread(margins(rows, 'knn'), '+')} | "
                f"{ranks[0]:.0f} to {ranks[1]:.0f} | {mean(row['seconds'] for row in rows):.0f} |"
            )
        parts.append("\n".join(lines))
    text = "\n\n".join([*parts, _protocols(runs)])
    study.out.mkdir(parents=True, exist_ok=True)
    (study.out / "results.md").write_text(text + "\n")
    _figure(study, runs, study.out / "figure.png")
    return text


def _protocols(runs: Mapping[tuple[str, str], Sequence[Mapping[str, Any]]]) -> str:
    found = next(iter(runs.values()))[0]["protocols"]
    return "\n".join(f"{name}: {text}." for name, text in found.items())


def _spread(values: Sequence[float], sign: str = "") -> str:
    return f"{mean(values):{sign}.1f} ± {stdev(values):.1f}" if len(values) > 1 else f"{values[0]:{sign}.1f}"


def _figure(study: Study, runs: Mapping[tuple[str, str], Sequence[Mapping[str, Any]]], path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(
        figsize=(5.4 * len(study.data) + 1.2, 0.3 * len(study.methods) + 1.6), layout="constrained"
    )
    FigureCanvasAgg(figure)
    grid = figure.subplots(1, len(study.data), squeeze=False, sharey=True)[0]
    for axes, data in zip(grid, study.data, strict=True):
        for row, name in enumerate(study.methods):
            done = runs.get((data, name), [])
            if not done:
                continue
            before, after = ([100 * r[when]["linear"] for r in done] for when in ("before", "after"))
            axes.plot([mean(before), mean(after)], [row, row], color="0.8", zorder=1)
            axes.scatter(
                before, [row] * len(done), s=14, color="0.6", zorder=2, label="untrained" if not row else None
            )
            axes.scatter(
                after, [row] * len(done), s=14, color="C0", zorder=3, label="trained" if not row else None
            )
        axes.set(title=data, xlabel="linear probe of h on test images, %")
        axes.set_yticks(range(len(study.methods)), study.methods)
        axes.grid(axis="x", color="0.92")
        axes.spines[["top", "right"]].set_visible(False)
    grid[0].invert_yaxis()
    grid[0].legend(loc="lower left", frameon=False)
    figure.savefig(path, dpi=120, metadata={"Software": None})


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(main(tyro.cli(Study)))
