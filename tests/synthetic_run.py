"""A run folder with the shape and the magnitudes of a real one, from formulas instead of training."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np

from infossl.bounds.result import Assumption, BoundReport
from infossl.trajectory import Row, Trajectory

STEPS = (0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 1600)
ROLES = {
    "x": ("input", 64),
    "block1": ("encoder.blocks.0", 16),
    "block2": ("encoder.blocks.1", 32),
    "block3": ("encoder.blocks.2", 64),
    "h": ("encoder", 64),
    "z": ("projector", 32),
}
N, CLASSES, CRITIC_BATCH = 449, 10, 128
KSG = "Permuted(Projected(KSG(k=3, algorithm=1, standardise=True), dims=4, seed=0), times=20, seed=0)"
CHANNEL = "GaussianChannel(sigma=0.1, relative=True)"


def synthetic_rows(seed: int = 0, steps: tuple[int, ...] = STEPS, run: str = "digits-vicreg") -> list[Row]:
    """The rows of one seed: every layer, quantity and estimator that the default run measures."""
    rng = np.random.default_rng(seed)
    rows: list[Row] = []
    for step in steps:
        t = math.log1p(step) / math.log1p(STEPS[-1])
        for depth, (role, (layer, d)) in enumerate(ROLES.items()):
            if role == "x" and step != steps[0]:
                continue
            rows += _layer(run, seed, step, t, depth, role, layer, d, rng)
        for name, value in (
            ("total", 42 - 24 * t),
            ("invariance", 0.9 - 0.55 * t),
            ("variance", 0.8 - 0.62 * t),
            ("covariance", 0.02 + 0.5 * t * (1 - 0.6 * t)),
        ):
            value += 0.02 * rng.standard_normal() * value
            rows.append(
                Row(
                    run=run,
                    seed=seed,
                    step=step,
                    layer="loss",
                    quantity=f"loss/{name}",
                    unit="1",
                    n=256,
                    value=value,
                )
            )
    return rows


def _layer(run, seed, step, t, depth, role, layer, d, rng):
    def row(quantity, value, **fields):
        fields = {"n": N, "split": "held-out", "view": "clean", "seconds": 0.01} | fields
        return Row(
            run=run,
            seed=seed,
            step=step,
            layer=layer,
            role=role,
            pool="gap",
            quantity=quantity,
            value=value,
            **fields,
        )

    wobble = 0.02 * rng.standard_normal(12)
    share = depth / 5
    label = (
        min(
            2.24,
            1.45 + 0.1 * depth + (0.62 - 0.1 * depth * (1 - t)) * t * (0.4 + share) - 0.5 * share * (1 - t),
        )
        + wobble[0]
    )
    kept = 5.6 - 0.5 * share - 1.5 * share * t + 0.9 * t * (1 - share) + wobble[1]
    views = 1.1 + 2.6 * t * (0.35 + 0.65 * share) + wobble[2]
    out = [
        row(
            "H(Z)",
            d * (0.6 - 0.5 * share + 0.4 * t),
            method="Gaussian(corrected=True)",
            bound="upper",
            stderr=0.35,
        ),
        row(
            "H(PZ)",
            4.2 - 2 * share + 1.6 * t + wobble[3],
            method="Projected(KozachenkoLeonenko(k=3), dims=4, seed=0)",
            stderr=0.09,
            seconds=0.02,
        ),
        row(
            "I(X;Z)",
            kept,
            method="KolchinskyTracey(sigma=0.1, relative=True)",
            bound="lower",
            interval=(kept, min(math.log(N), kept + 0.35)),
            ceiling=math.log(N),
            channel=CHANNEL,
            flags=("saturated",) if kept > math.log(N) - 0.25 else (),
            seconds=0.03,
        ),
        row(
            "I(Z;Y)",
            label,
            method="ProbeInformation(folds=5, seed=0)",
            bound="lower",
            stderr=0.035,
            ceiling=math.log(CLASSES),
            channel="Label()",
            seconds=0.05,
        ),
        row(
            "RankMe",
            1 + (d - 1) * (0.2 + 0.45 * t * (1 - 0.3 * share)),
            unit="1",
            method="RankMe()",
            ceiling=float(min(N, d)),
        ),
        row("log tr Cov", math.log(d) - 2 + 2.5 * t * share + wobble[4], unit="1", method="LogTrCov()"),
        *(
            row(
                f"accuracy({name})",
                min(0.985, base + gain * t * (0.3 + 0.7 * share)) + 0.2 * wobble[i],
                unit="1",
                method=f"{name}()",
                stderr=0.009,
                ceiling=1.0,
                diagnostics={"null_mean": 1 / CLASSES},
            )
            for i, (name, base, gain) in enumerate(
                (("linear", 0.9 - 0.06 * share, 0.12), ("kNN", 0.93 - 0.1 * share, 0.13)), 5
            )
        ),
    ]
    if role == "x":
        return out
    methods = (
        (
            "Gaussian(corrected=True)",
            views + 1.6 + share,
            {"stderr": 0.06, "diagnostics": {"correction": -0.4}},
        ),
        (
            "InfoNCE(steps=300, batch=128, seed=0)",
            min(views, math.log(CRITIC_BATCH) - 0.08 + 0.3 * wobble[5]),
            {
                "bound": "lower",
                "stderr": 0.05,
                "ceiling": math.log(CRITIC_BATCH),
                "flags": ("saturated",) if views > math.log(CRITIC_BATCH) - 0.3 else (),
                "diagnostics": {"null_mean": -0.02, "null_sd": 0.03, "null_q95": 0.03, "p_value": 0.048},
                "seconds": 0.6,
            },
        ),
        (
            KSG,
            0.55 * views + wobble[6],
            {
                "stderr": 0.07,
                "diagnostics": {"null_mean": 0.004, "null_sd": 0.03, "null_q95": 0.05, "p_value": 0.048},
                "seconds": 0.2,
            },
        ),
    )
    for method, value, fields in methods:
        out.append(row("I(Z;Z')", value, method=method, view="augmented", channel="Augmentation()", **fields))
    out.append(row("alignment", 1.1 - 0.7 * t * share, unit="1", method="Alignment()", view="augmented"))
    out.append(row("uniformity", -1.5 - 1.6 * t * share, unit="1", method="Uniformity()"))
    if role == "h":
        out.append(
            row("accuracy(online-linear)", 0.1 + 0.84 * t, unit="1", method="OnlineLinear()", ceiling=1.0)
        )
    if role == "block2" and step == 16:
        out.append(
            row(
                "I(Z;Y)",
                None,
                method="ProbeInformation(folds=5, seed=0)",
                error="ValueError: probe did not converge",
            )
        )
    return out


def synthetic_bounds() -> list[BoundReport]:
    """One bound of every class."""

    def bound(name, lhs, rhs, status, **fields):
        return BoundReport(
            name=name,
            statement=fields.pop("statement", "error <= terms"),
            source="constants derived here",
            kind="high-probability",
            object="zero-one error of the linear read-out on h, in [0, 1]",
            lhs=lhs,
            lhs_how="one minus the held-out accuracy",
            rhs=rhs,
            trivial=0.9,
            delta=0.05,
            assumptions=(Assumption("test samples are independent and were used once", status),),
            roles={"probe": "fit", "test": "error"},
            step=STEPS[-1],
            **fields,
        )

    return [
        bound("test-set bound, kl inversion", 0.029, 0.048, "holds by construction", rhs_exact=True,
              statement="kl(err_S || err) <= log(1/delta)/n", terms={"log(1/delta)/n": 0.0067}),
        bound("VICReg bound, class pairs", 0.029, 0.41, "assumed", terms={"invariance": 0.2, "w-gap": 0.21},
              left_out=("optimisation error",)),
        bound("VICReg bound, augmentation pairs", 0.029, 7.3, "tested", terms={"invariance": 4.1, "w-gap": 3.2}),
        bound("conditional entropy bound", 0.029, 0.021, "assumed"),
        bound("PAC-Bayes, stochastic read-out", 0.029, 0.2, "violated"),
    ]  # fmt: skip


def write_synthetic_run(folder: Path, seed: int = 0, steps: tuple[int, ...] = STEPS) -> Path:
    """Writes `run.json`, `trajectory.jsonl` and `bounds.jsonl` as a run leaves them."""
    folder.mkdir(parents=True, exist_ok=True)
    meta = {
        "run": "digits-vicreg",
        "config": {
            "objective": {"name": "VICReg", "sim": 25.0, "std": 25.0, "cov": 1.0},
            "steps": 1600,
            "seed": seed,
        },
        "versions": {"infossl": "0.1.0", "torch": "2.13.0", "numpy": "2.4.6"},
        "commit": "0123456789abcdef",
        "data": {"name": "digits", "hash": "sha256:3f2a"},
        "probe": {"n": N, "views": 2},
        "timing": {"train_seconds": 41.0, "measure_seconds": 17.5},
        "measure": "full",
    }
    (folder / "run.json").write_text(json.dumps(meta))
    Trajectory(folder / "trajectory.jsonl").append(synthetic_rows(seed, steps))
    (folder / "bounds.jsonl").write_text("".join(b.to_json() + "\n" for b in synthetic_bounds()))
    return folder
