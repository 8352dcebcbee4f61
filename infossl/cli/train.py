"""`infossl train --out RUN`: the settings of the main job. What it does is in `job.py`, loaded when it runs."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

__all__ = ["Train"]


@dataclass(frozen=True, kw_only=True)
class Train:
    """Train a self-supervised model with estimators attached, check bounds, and write a report.

    Leaves a run folder: run.json, trajectory.jsonl, bounds.jsonl, checkpoints/, figures/ and report.html. A run
    that was interrupted goes on with --resume RUN and ends with the same weights and rows.
    """

    out: Path | None = None
    """The run folder, which must not exist yet."""

    resume: Path | None = None
    """Go on with this run folder; its own settings are used."""

    overwrite: bool = False
    """Remove a run folder that exists at --out first."""

    data: str = "digits"
    """digits: 1,797 real 8x8 images. cluttered-digits: the same on a cluttered 24x24 canvas. Or another data set with its
    settings, such as "CIFAR10(root='data')"."""

    objective: str | None = None
    """The objective with its settings: "VICReg()", "VICReg(covariance=2.0)", "SimCLR(temperature=0.5)", "BYOL()", ...;
    by default that of the method, and VICReg() without one."""

    method: str | None = None
    """The method with its settings: "SelfDistillation(predictor_hidden=64)", "IJEPA(patch=2)", ...; by default the one that
    the objective asks for, with the recipe's settings."""

    measure: Literal["light", "full", "none"] = "light"
    """light: closed forms, neighbours and probes on 500 held-out images. full: on all of them, with trained critics,
    standard errors and permutation nulls."""

    per_decade: int = 2
    """Measurements while the step count grows tenfold."""

    seed: int = 0
    """Of initial weights, batches, views and measures."""

    steps: int | None = None
    """Optimizer steps; by default the recipe's."""

    checkpoint_every: int | None = None
    """Steps between checkpoints; by default the recipe's."""

    threads: int = 1
    """Threads of torch; for images this small one is as fast as two, and leaves the other cores alone."""

    batch_size: int | None = None
    """Images per step; by default the recipe's, as are the next five."""

    lr: float | None = None
    """Largest learning rate."""

    weight_decay: float | None = None
    """Of the weights, at the start."""

    warmup: int | None = None
    """Steps of linear warm-up."""

    optimizer: str | None = None
    """ "AdamW()", "SGD()" or "LARS()" with their settings."""

    accumulate: int = 1
    """Parts that each batch is cut into, to need less memory; for objectives that are means over images."""

    amp: bool = False
    """Autocast the forward pass to bfloat16."""

    channels_last: bool = False
    """Channels-last memory order of images and convolutions."""

    compile: bool = False
    """torch.compile the training step."""

    deterministic: bool = False
    """Deterministic algorithms only; an error where there is none."""

    device: Literal["cpu", "cuda"] = "cpu"
    """Where the model trains; with torchrun each rank has its own GPU."""

    def check(self) -> None:
        """Raises `ValueError` for settings that cannot be meant; called before anything is written."""
        for name, least in (
            ("per_decade", 1),
            ("threads", 1),
            ("seed", 0),
            ("steps", 1),
            ("checkpoint_every", 1),
        ):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f"{name} = {value} must be at least {least}")
        if (self.out is None) == (self.resume is None):
            raise ValueError("give either --out RUN for a new run or --resume RUN to go on with one")
        if self.resume is not None:
            given = [
                f.name for f in fields(self) if f.name != "resume" and getattr(self, f.name) != f.default
            ]
            if given:
                raise ValueError(
                    f"--resume goes on with the settings of {self.resume}; leave out {', '.join(given)}, or start a new run"
                )

    def run(self) -> Path:
        """Runs the job, prints what came out and where the report is, and returns the run folder."""
        from infossl.cli.job import outcome, train

        folder = train(self)
        if os.environ.get("RANK", "0") == "0":  # of the ranks that torchrun starts, one talks
            print(outcome(folder))
        return folder
