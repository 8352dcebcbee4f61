"""Collapse is reproduced, and named within the run; healthy runs are not named."""

from __future__ import annotations

import logging
import math
from dataclasses import replace

import pytest

from infossl import watch
from infossl.data import DATA
from infossl.recording import at
from infossl.training import fit, recipe
from infossl.training.collapse import (
    COMPLETE,
    DIMENSIONAL,
    UNALIGNED,
    Collapse,
    collapse_at,
    collapses,
)
from infossl.trajectory import Row

GEOMETRY = ("RankMe()", "Uniformity()", "Alignment()", "LogTraceCovariance()")


def run(objective: str, method: str | None = None, *, steps: int = 100, batch_size: int = 64, **settings):
    """A short run on digits whose geometry is measured half way and at the end."""
    chosen = recipe("digits", objective, method=method)
    data = DATA["digits"]()
    built = chosen.build(data)
    probe = data.probe_set(held_out=300)
    monitor = watch(built, probe=probe, measure=list(GEOMETRY), when=at((0, steps // 2, steps)))
    config = replace(
        chosen.fit, steps=steps, warmup=10, batch_size=batch_size, online_probe=False, **settings
    )
    return fit(built, data, config, monitor=monitor, progress=False)


def named(result) -> dict[str, str]:
    return {found.role: found.name for found in result.collapse}


# -- reproduced -----------------------------------------------------------------------------------------------


def test_simsiam_without_predictor_collapses_and_says_so_while_it_runs(caplog) -> None:
    with caplog.at_level(logging.WARNING, logger="infossl.training.loop"):
        result = run("SimSiam()", "SelfDistillation(predictor_hidden=None)", lr=1e-2)
    assert named(result) == {"z": COMPLETE}
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 1  # once, not at every measurement
    assert said[0].startswith("step 50: complete collapse of z: uniformity -0.0")


def test_simsiam_without_stop_gradient_collapses() -> None:
    # The squared distance on the sphere is SimSiam's loss times 2 plus 2, with gradient through both branches.
    result = run("AlignUniform(uniformity=0.0)", "SelfDistillation(stop_gradient=False)", lr=1e-2)
    assert named(result)["z"] == COMPLETE


def test_vicreg_with_invariance_alone_collapses() -> None:
    result = run("VICReg(variance=0.0, covariance=0.0)")
    assert named(result)["z"] == COMPLETE
    assert result.last["loss/invariance"] < 0.01  # what it was asked to do


def test_vicreg_with_weights_1_100_100_keeps_no_invariance() -> None:
    """In the normalisation of `eb_jepa`: nothing shrinks and no dimension is lost, but views no longer agree."""
    result = run("VICReg(variance=100.0, covariance=100.0, preset='eb_jepa')")
    assert named(result) == {"z": UNALIGNED}
    assert result.last["loss/invariance"] > 1.0


@pytest.mark.parametrize("objective", ["VICReg()", "SimSiam()"])
def test_the_healthy_counterparts_are_not_named(objective: str) -> None:
    assert run(objective).collapse == ()


@pytest.mark.slow
@pytest.mark.parametrize(
    "objective",
    ["VICReg()", "VICReg(preset='eb_jepa')", "SimCLR()", "BarlowTwins()", "BYOL()", "SimSiam()", "SwAV()", "DINO()", "SIGReg()"],
)  # fmt: skip
def test_no_recipe_on_digits_is_named(objective: str) -> None:
    assert run(objective, steps=300, batch_size=250).collapse == ()


# -- from rows ------------------------------------------------------------------------------------------------


def rows(step: int = 100, role: str = "z", d: int = 64, n: int = 300, **values: float) -> list[Row]:
    """Rows of a healthy embedding, but for the values that are given."""
    healthy = {"uniformity": -2.0, "RankMe": 20.0, "alignment": 0.4, "log tr Cov": math.log(d)}
    extra = {
        "RankMe": {"ceiling": float(min(n, d)), "diagnostics": {"d": float(d)}},
        "alignment": {"diagnostics": {"null_mean": 2.0}},
    }
    place = {"step": step, "layer": "projector", "role": role, "unit": "1"}
    return [
        Row(**place, quantity=name, value=value, **extra.get(name, {}))
        for name, value in (healthy | {k.replace("_", " "): v for k, v in values.items()}).items()
    ]


@pytest.mark.parametrize(
    ("values", "scale_free", "name"),
    [
        ({}, False, None),
        ({"uniformity": -0.03}, True, COMPLETE),
        ({"uniformity": -0.05}, True, None),
        ({"log_tr_Cov": math.log(64 * 0.04**2)}, False, COMPLETE),
        ({"log_tr_Cov": math.log(64 * 0.04**2)}, True, None),  # scale means nothing to this objective
        ({"log_tr_Cov": math.log(64 * 0.06**2)}, False, None),
        ({"RankMe": 1 + 0.039 * 63}, True, DIMENSIONAL),
        ({"RankMe": 1 + 0.041 * 63}, True, None),
        ({"alignment": 1.41}, True, UNALIGNED),
        ({"alignment": 1.39}, True, None),
        ({"alignment": 1.5, "uniformity": -0.01, "RankMe": 1.0}, True, COMPLETE),  # the gravest is named
    ],
)
def test_limits(values: dict[str, float], scale_free: bool, name: str | None) -> None:
    found = collapse_at(rows(**values), 100, scale_free=scale_free)
    assert {role: verdict for role, (verdict, _) in found.items()} == ({} if name is None else {"z": name})


def test_a_tenth_of_the_uniform_spread_is_the_limit_of_uniformity(rng) -> None:
    """Unit vectors whose root mean square standard deviation is 0.1 / sqrt(d) have uniformity -0.04."""
    from infossl.quantities.geometry import uniformity

    d = 64
    z = rng.standard_normal((400, d)) * 0.1 / math.sqrt(d)
    z[:, 0] += math.sqrt(1 - 0.1**2)
    unit = z / ((z**2).sum(1, keepdims=True)) ** 0.5
    assert math.sqrt(unit.var(0).mean()) == pytest.approx(0.1 / math.sqrt(d), rel=0.03)
    assert uniformity(z) == pytest.approx(-0.04, rel=0.03)


def test_constant_outputs_are_a_complete_collapse_even_where_nothing_else_can_be_measured() -> None:
    row = Row(
        step=100, layer="projector", role="h", quantity="log tr Cov", value=-math.inf, flags=("collapsed",)
    )
    broken = Row(step=100, layer="projector", role="h", quantity="uniformity", error="no direction")
    assert collapse_at([row, broken], 100) == {"h": (COMPLETE, "it is constant to working precision")}


def test_young_runs_and_other_roles_are_not_judged() -> None:
    assert collapse_at(rows(step=29, uniformity=0.0), 29) == {}
    assert collapse_at(rows(step=99, alignment=2.0), 99) == {}
    assert collapse_at(rows(role="h", alignment=2.0), 100) == {}  # h need not be invariant
    assert collapse_at(rows(role="prediction", uniformity=0.0), 100) == {}
    assert collapse_at([], 100) == {}


def test_pooled_tokens_that_agree_from_the_start_are_no_collapse() -> None:
    start = rows(0, role="h", uniformity=-0.016, RankMe=1.8)
    assert collapse_at([*start, *rows(100, role="h", uniformity=-0.013, RankMe=1.7)], 100) == {}
    fallen = [*start, *rows(100, role="h", uniformity=-0.003, RankMe=1.7)]
    assert collapse_at(fallen, 100)["h"][0] == COMPLETE
    flat = [*start, *rows(100, role="h", uniformity=-1.0, RankMe=1.1)]
    assert collapse_at(flat, 100)["h"][0] == DIMENSIONAL
    spread = [*rows(50, role="h"), *rows(100, role="h", uniformity=-0.03)]
    assert collapse_at(spread, 100)["h"][0] == COMPLETE


def test_i_jepa_without_stop_gradient_collapses() -> None:
    """The published method, but for the stop-gradient, the average and the normalisation of targets."""
    bare = "IJEPA(depth=1, width=16, momentum=None, stop_gradient=False, normalise=False)"
    result = run("SmoothL1()", bare, steps=60, batch_size=32, lr=3e-3)
    assert named(result) == {"h": COMPLETE}


def test_the_verdict_of_a_run_is_that_of_its_end_and_knows_since_when() -> None:
    path = [*rows(30, uniformity=-0.01), *rows(100), *rows(300, RankMe=1.5), *rows(1000, uniformity=-0.01)]
    assert collapses(path) == (
        Collapse(
            role="z", name=COMPLETE, step=1000, since=300, evidence="uniformity -0.0100 > -0.04: all directions agree"
        ),
    )  # fmt: skip
    assert collapses([*path, *rows(3000)]) == ()
    assert collapses([]) == ()
