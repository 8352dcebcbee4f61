"""Content and style: do two views that share the digit and redraw everything else teach a network to keep the one
and drop the other?

Trains each objective over several seeds through the toolkit's main job, then reads class (content) and position
(style) from h, before and after. Writes results.md and figure.png beside this file, and one run folder each.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean, stdev

import torch
import tyro
from torch import Tensor

import infossl
from infossl.data import ImageData
from infossl.methods import JointEmbedding
from infossl.readouts import ridge_accuracy, ridge_weights
from infossl.report import curves
from infossl.training import recipe
from infossl.training.checkpoint import last_good
from infossl.trajectory import Trajectory
from infossl.undisturbed import undisturbed

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Study:
    """Settings of the study; the defaults are those of results.md."""

    objectives: tuple[str, ...] = ("VICReg()", "SimCLR()")
    seeds: tuple[int, ...] = (0, 1, 2)
    steps: int | None = None
    """Optimizer steps; by default the recipe's."""
    runs: Path = Path("runs/content_and_style")
    """Where the run folders go. A run that is already complete is not repeated."""
    out: Path = HERE
    """Where results.md and figure.png go."""


@dataclass(frozen=True)
class Reading:
    """What a ridge read-out finds in one representation of the held-out images."""

    content: float
    """Share of digits named correctly."""
    style: float
    """Share of the variance of the digit's position that is explained, mean of the two axes."""


def read(z: Tensor, fit_z: Tensor, data: ImageData, position: Tensor, fit_position: Tensor) -> Reading:
    """Both read-outs are fitted on the training images and scored on the test images."""
    weights, offset = ridge_weights(fit_z.double(), fit_position.double(), l2=1e-3)
    residual = position - (z.double() @ weights + offset)
    explained = 1 - residual.square().sum(0) / (position - position.mean(0)).square().sum(0)
    return Reading(ridge_accuracy(fit_z, data.train_y, z, data.test_y), float(explained.mean()))


def positions(data: ImageData) -> tuple[Tensor, Tensor]:
    """Where the digit lies in the evaluation inputs, training and test: their style is drawn again from the same seeds."""
    drawn: list[Tensor] = []
    placed = data.clean

    def spy(x: Tensor, generator: torch.Generator) -> Tensor:
        drawn.append(placed.style(x, generator).shift)  # type: ignore[attr-defined]
        return x

    replace(data, clean=spy).evaluation()
    return drawn[0].double(), drawn[1].double()


def readings(method: JointEmbedding | None, data: ImageData) -> Reading:
    """Of h; of the raw pixels when there is no method."""
    train_x, test_x = data.evaluation()
    if method is None:
        train_z, test_z = train_x.flatten(1), test_x.flatten(1)
    else:
        with undisturbed(method):
            train_z, test_z = method(train_x)["h"], method(test_x)["h"]
    fit_position, position = positions(data)
    return read(test_z, train_z, data, position, fit_position)


def trained(study: Study, objective: str, seed: int) -> Path:
    """The run folder of one objective and seed, trained now or found complete."""
    folder = study.runs / f"{objective.split('(')[0].lower()}-seed{seed}"
    about = folder / "run.json"
    if about.exists() and "timing" in json.loads(about.read_text()):
        return folder
    if about.exists():
        return infossl.train(resume=folder)
    return infossl.train(
        out=folder, data="cluttered-digits", objective=objective, seed=seed, steps=study.steps
    )


def main(study: Study) -> str:
    """Runs the study and returns the table."""
    data = recipe("cluttered-digits").load()
    pixels = readings(None, data)
    lines = [
        "| objective | read-out | raw pixels | untrained h | trained h | gain, every seed |",
        "|---|---|---|---|---|---|",
    ]
    runs: dict[str, list[Trajectory]] = {}
    for objective in study.objectives:
        before, after = [], []
        for seed in study.seeds:
            folder = trained(study, objective, seed)
            runs.setdefault(objective, []).append(Trajectory.load(folder))
            method = recipe("cluttered-digits", objective, seed).build()
            before.append(readings(method, data))
            found = last_good(folder / "checkpoints")
            assert found is not None
            method.load_state_dict(found.state["method"])
            after.append(readings(method, data))
        for name, words in (("content", "class, accuracy %"), ("style", "position, R² %")):
            first, last = ([100 * getattr(r, name) for r in found] for found in (before, after))
            gains = ", ".join(f"{b - a:+.1f}" for a, b in zip(first, last, strict=True))
            raw = 100 * getattr(pixels, name)
            lines.append(
                f"| {objective} | {words} | {raw:.1f} | {_spread(first)} | {_spread(last)} | {gains} |"
            )
    table = "\n".join(lines)
    study.out.mkdir(parents=True, exist_ok=True)
    (study.out / "results.md").write_text(table + "\n")
    _figure(runs, study.out / "figure.png")
    return table


def _spread(values: list[float]) -> str:
    return f"{mean(values):.1f} ± {stdev(values):.1f}" if len(values) > 1 else f"{values[0]:.1f}"


def _figure(runs: dict[str, list[Trajectory]], path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2 * len(runs), 4.8), layout="constrained")
    FigureCanvasAgg(figure)
    for part, (objective, trajectories) in zip(
        figure.subfigures(1, len(runs), squeeze=False)[0], runs.items(), strict=True
    ):
        part.suptitle(f"{objective} on cluttered digits", fontweight="bold")
        curves(trajectories, "I(Z;Y)", ax=part.subplots())
    figure.savefig(path, dpi=120, metadata={"Software": None})


if __name__ == "__main__":
    print(main(tyro.cli(Study)))
