"""Every family of methods in the one loop: its recipe, its settings, and a resume that is the unbroken run."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from tiny_run import TinyMonitor
from torch import nn

from infossl import methods
from infossl.data import DATA
from infossl.training import RECIPES, Recipe, checkpoint, fit, recipe
from infossl.training.families import ALL_OBJECTIVES, METHODS, choose, inputs_of

FAMILIES = {
    "VICReg()": None,
    "SIGReg()": "SketchedEmbedding(directions=16)",
    "BYOL()": "SelfDistillation(predictor_hidden=8)",
    "SimSiam()": "SelfDistillation(predictor_hidden=8, last_norm=True)",
    "SwAV()": "Clustering(prototypes=12, freeze=4)",
    "DINO()": "CentredDistillation(prototypes=12, freeze=4)",
    "SmoothL1()": "IJEPA(patch=2, width=16, depth=2, heads=2, predictor_width=8, predictor_depth=1)",
}


def small(objective: str, **fit_settings) -> Recipe:
    """The recipe of the family at a size for tests."""
    base = recipe("digits", objective, method=FAMILIES[objective])
    settings = {"steps": 10, "warmup": 2, "batch_size": 40, "checkpoint_every": 4, **fit_settings}
    return replace(base, channels=(4, 8), strides=(2, 2), hidden=(12, 12), fit=replace(base.fit, **settings))


class Stop(Exception):
    pass


class Interrupted(TinyMonitor):
    def step(self, global_step, scalars=None, epoch=None) -> None:
        super().step(global_step, scalars, epoch)
        if global_step == 9:
            raise Stop


def weights(method: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in method.state_dict().items()}


def differing(one: nn.Module, other: nn.Module) -> list[str]:
    others = other.state_dict()
    assert one.state_dict().keys() == others.keys()
    return [name for name, value in one.state_dict().items() if not torch.equal(value, others[name])]


def run_in(folder: Path, chosen: Recipe, data, kind=TinyMonitor, **settings):
    method = chosen.build(data)
    monitor = kind(method, folder / "trajectory.jsonl")
    result = fit(method, data, chosen.fit, out=folder, monitor=monitor, progress=False, **settings)
    return method, monitor.trajectory.rows, result


@pytest.mark.parametrize("objective", FAMILIES)
def test_a_resumed_run_of_every_family_is_the_unbroken_one(objective: str, tmp_path: Path) -> None:
    chosen, data = small(objective), DATA["digits"]()
    method, rows, result = run_in(tmp_path / "unbroken", chosen, data)
    assert result.steps == 10
    with pytest.raises(Stop):
        run_in(tmp_path / "broken", chosen, data, Interrupted)
    torch.manual_seed(99)
    resumed, rows_again, result = run_in(tmp_path / "broken", chosen, data, resume=True)
    assert result.resumed_from == checkpoint.checkpoint_path(tmp_path / "broken/checkpoints", 8)
    assert differing(resumed, method) == []
    assert rows_again == rows
    assert {row.quantity for row in rows} >= {"loss/total", "loss/online-probe", "accuracy(online-linear)"}


def test_the_comparison_above_can_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A teacher that is not moved after a resume is another run."""
    chosen, data = small("BYOL()"), DATA["digits"]()
    method, _, _ = run_in(tmp_path / "unbroken", chosen, data)
    with pytest.raises(Stop):
        run_in(tmp_path / "broken", chosen, data, Interrupted)
    monkeypatch.setattr(methods.SelfDistillation, "after_step", lambda *_: None)
    resumed, _, _ = run_in(tmp_path / "broken", chosen, data, resume=True)
    assert any(name.startswith("target_") for name in differing(resumed, method))


def test_targets_follow_and_counters_count() -> None:
    for objective in ("BYOL()", "DINO()", "SmoothL1()"):
        chosen, data = small(objective, steps=2), DATA["digits"]()
        method, start = chosen.build(data), chosen.build(data)
        fit(method, data, chosen.fit, progress=False)
        moved = differing(method, start)
        assert any(name.startswith("target_encoder") for name in moved), objective
        if hasattr(method, "step"):
            assert int(method.step) == 2


def test_prototypes_stand_still_until_they_learn() -> None:
    chosen, data = small("SwAV()", steps=4), DATA["digits"]()
    method, start = chosen.build(data), chosen.build(data)
    fit(method, data, chosen.fit, progress=False)
    assert not [name for name in differing(method, start) if name.startswith("prototypes")]
    longer = chosen.build(data)
    fit(longer, data, replace(chosen.fit, steps=6), progress=False)
    assert [name for name in differing(longer, start) if name.startswith("prototypes")]


# -- settings and recipes -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ALL_OBJECTIVES)
def test_every_objective_finds_a_method_that_takes_a_step(name: str) -> None:
    objective = ALL_OBJECTIVES[name]()
    chosen, settings = choose(name)
    assert chosen == objective
    assert inputs_of(objective) == settings.inputs
    base = recipe("digits", name)
    small_one = replace(
        base, channels=(4, 8), strides=(2, 2), hidden=(12, 12), fit=replace(base.fit, steps=1, batch_size=50)
    )
    data = DATA["digits"]()
    method = small_one.build(data)
    assert type(method).__name__ == type(settings).__name__
    assert fit(method, data, small_one.fit, progress=False).steps == 1


@pytest.mark.parametrize("name", METHODS)
def test_every_method_has_a_recipe_on_both_data_sets_and_a_repr_that_reads_back(name: str) -> None:
    objective, settings = choose(method=name)
    assert choose(repr(objective), repr(settings)) == (objective, settings)
    for data in DATA:
        chosen = recipe(data, method=None, objective=repr(objective))
        assert type(chosen.settings).__name__ == name
        if name != "JointEmbedding":
            assert f"{data}/{name}" in RECIPES
            assert chosen.method is not None
        assert Recipe(**{**asdict(chosen), "fit": chosen.fit}) == chosen


def test_a_recipe_of_an_objective_goes_before_that_of_its_method() -> None:
    assert "CosineRamp(0.9" in str(recipe("cluttered-digits", "BYOL()").method)
    assert recipe("cluttered-digits", "SimSiam()").build().target_encoder is None
    assert (
        recipe("ClutteredDigits(train=900)", "BYOL()").method == recipe("cluttered-digits", "BYOL()").method
    )


@pytest.mark.parametrize("key", [key for key in RECIPES if "/" in key and key.startswith("cluttered")])
def test_recipes_of_cluttered_digits_take_a_step(key: str) -> None:
    chosen = replace(RECIPES[key], fit=replace(RECIPES[key].fit, steps=1, batch_size=20))
    data = chosen.load()
    assert fit(chosen.build(data), data, chosen.fit, progress=False).steps == 1


def test_the_settings_give_what_build_gives() -> None:
    """One way to a method from a recipe and one from Python, with the same initial weights."""
    for objective in ("VICReg()", "SIGReg()", "BYOL()", "SimSiam()", "SwAV()", "DINO()"):
        mine = Recipe(objective=objective, channels=(4, 8), strides=(1, 2), hidden=(8, 8)).build()
        other = methods.build(choose(objective)[0], channels=(4, 8), strides=(1, 2), hidden=(8, 8))
        assert type(mine) is type(other)
        assert differing(mine, other) == [], objective


@pytest.mark.parametrize(
    ("objective", "method", "message"),
    [
        ("DINO()", "JointEmbedding()", r"DINO takes student.*method CentredDistillation"),
        ("VICReg()", "IJEPA()", r"use one of SmoothL1, BlockL2 .*method JointEmbedding"),
        ("SmoothL1()", "Clustering()", r"use one of SwAV as the objective, or the method IJEPA"),
        ("SimSiam()", "SelfDistillation(stop_gradient=False)", r"gives it two embeddings; use one of VICReg"),
        ("VICReg()", "CosineRamp(0.9, 1.0)", r"is no method; known: JointEmbedding"),
        ("VICReg()", "BYOL()", r"unknown name 'BYOL'"),
        ("3", None, r"is no objective; known: VICReg"),
        ("BYOL()", "SelfDistillation(momentum='fast')", r"momentum = 'fast' must be None, 'auto' or a ramp"),
    ],
)
def test_wrong_combinations_are_refused_with_the_mend(objective, method, message) -> None:
    with pytest.raises(ValueError, match=message):
        recipe("digits", objective, method=method)


def test_what_does_not_fit_the_data_is_refused_with_the_mend() -> None:
    with pytest.raises(ValueError, match=r"patch = 3 does not divide views of 8x8; use 1 or 2 or 4"):
        recipe("digits", method="IJEPA(patch=3)").build()
    chosen = recipe("digits")
    large = replace(chosen, fit=replace(chosen.fit, batch_size=1001))
    with pytest.raises(ValueError, match=r"batch_size = 1001 .* use at most 1000"):
        large.check(large.load(), large.build())
    parts = replace(chosen, fit=replace(chosen.fit, accumulate=2))
    with pytest.raises(ValueError, match="accumulate > 1 with VICReg"):
        parts.check(parts.load(), parts.build())


def test_methods_without_what_keeps_them_from_collapsing_can_be_named() -> None:
    bare = recipe("digits", "SimSiam()", method="SelfDistillation(predictor_hidden=None)").build()
    assert isinstance(bare.predictor, nn.Identity)
    assert bare.target_encoder is None
    open_ended = recipe("digits", "Invariance()", method="SelfDistillation(stop_gradient=False)").build()
    assert not open_ended.stop_gradient
    assert open_ended.momentum is None
