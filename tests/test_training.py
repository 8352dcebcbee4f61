from __future__ import annotations

import contextlib
import math
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import tiny_run
import torch
from tiny_run import CONFIG, TinyMonitor, tiny_data, tiny_method
from torch import nn

from infossl.data import DATA
from infossl.objectives import Loss
from infossl.readouts import ridge_accuracy
from infossl.training import RECIPES, FitConfig, Recipe, checkpoint, fit, recipe, warmup_cosine
from infossl.training.loop import batch_indices, views
from infossl.training.rng import isolated_rng, rng_state
from infossl.trajectory import Trajectory


def weights(method: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in method.state_dict().items()}


def assert_same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    different = [name for name in one if not torch.equal(one[name], other[name])]
    assert different == []


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory):
    """Weights, rows and result of a run from start to end, and the folder it left."""
    folder = tmp_path_factory.mktemp("unbroken")
    method, monitor, result = tiny_run.run(folder)
    return weights(method), monitor.trajectory.rows, result, folder


# -- schedule and draws ---------------------------------------------------------------------------------------


def test_the_schedule_is_linear_then_half_a_cosine() -> None:
    factor = [warmup_cosine(s, steps=110, warmup=10, final=0.1) for s in range(111)]
    assert factor[:10] == [(s + 1) / 10 for s in range(10)]
    assert factor[60] == pytest.approx(0.55)  # half way between 1 and 0.1
    assert factor[35] == pytest.approx(0.1 + 0.45 * (1 + math.cos(math.pi / 4)))
    assert factor[110] == pytest.approx(0.1)
    assert all(b <= a for a, b in pairwise(factor[9:]))
    assert warmup_cosine(0, steps=5, warmup=0) == 1.0


def test_an_epoch_shows_every_image_once() -> None:
    def drawn(epoch: int, seed: int = 0) -> list[int]:
        parts = [batch_indices(4 * epoch + j, n=40, batch_size=10, seed=seed) for j in range(4)]
        return torch.cat(parts).tolist()

    assert sorted(drawn(0)) == sorted(drawn(3)) == list(range(40))
    assert drawn(0) != drawn(1)
    assert drawn(0) == drawn(0) != drawn(0, seed=1)
    assert len(batch_indices(3, n=45, batch_size=10, seed=0)) == 10  # the incomplete batch is left out
    with pytest.raises(ValueError, match=r"batch_size = 50.*40"):
        batch_indices(0, n=40, batch_size=50, seed=0)


def test_views_are_a_function_of_seed_step_and_view() -> None:
    data = tiny_data()
    x = data.train_x[:4]
    v1, v2 = views(data, x, 3, 0)
    assert not torch.equal(v1, v2)
    assert all(torch.equal(a, b) for a, b in zip(views(data, x, 3, 0), (v1, v2), strict=True))
    assert not torch.equal(views(data, x, 4, 0)[0], v1)
    assert not torch.equal(views(data, x, 3, 1)[0], v1)


# -- the loop -------------------------------------------------------------------------------------------------


def test_training_lowers_the_loss_and_reports_what_it_did(unbroken) -> None:
    _, rows, result, folder = unbroken
    total = {row.step: row.value for row in rows if row.quantity == "loss/total"}
    assert sorted(total) == [3, 6, 9, 12, 15, 18, 21, 24]
    assert total[24] < total[3]
    assert {row.quantity for row in rows if row.step == 0} == {"size", "measured"}
    assert {row.quantity for row in rows if row.step == 3} == {
        *("size", "measured", "loss/total", "loss/variance", "loss/invariance", "loss/covariance"),
        *("loss/online-probe", "accuracy(online-linear)"),
    }
    assert (result.steps, result.epochs, result.resumed_from) == (24, 24 * 16 / 40, None)
    assert result.last["loss/total"] == total[24]
    assert 0 <= result.last["accuracy(online-linear)"] <= 1
    assert result.seconds_training > 0
    assert result.seconds_monitor > 0
    assert [p.name for p in checkpoint.list_checkpoints(folder / "checkpoints")] == [
        "step-00000020.pt",
        "step-00000024.pt",
    ]


def test_a_run_is_a_function_of_its_seed_and_disturbs_no_random_state(unbroken) -> None:
    torch.manual_seed(123)  # must not matter
    np.random.seed(5)  # noqa: NPY002
    random.seed(5)
    before = rng_state()
    method, _, _ = tiny_run.run(None)
    after = rng_state()
    assert torch.equal(before["torch"], after["torch"])
    assert torch.equal(before["numpy"][1], after["numpy"][1])
    assert before["python"] == after["python"]
    assert_same(weights(method), unbroken[0])
    other = tiny_method()
    fit(other, tiny_data(), replace(CONFIG, seed=1), progress=False)
    assert not torch.equal(other.encoder.blocks[0][0].weight, method.encoder.blocks[0][0].weight)


def test_monitor_and_online_probe_leave_training_bit_identical(unbroken) -> None:
    class Rude(TinyMonitor):
        def step(self, global_step, scalars=None, epoch=None) -> None:
            super().step(global_step, scalars, epoch)
            self.method.zero_grad()  # gradients are done with when the monitor comes

    plain, watched = tiny_method(), tiny_method()
    fit(plain, tiny_data(), replace(CONFIG, online_probe=False), progress=False)
    fit(watched, tiny_data(), CONFIG, monitor=Rude(watched), progress=False)
    assert_same(weights(plain), unbroken[0])
    assert_same(weights(watched), unbroken[0])
    assert all(module.training for module in watched.modules())


def test_amp_trains_in_bfloat16_and_keeps_losses_and_weights_in_float32() -> None:
    seen = []
    method = tiny_method()
    method.encoder.register_forward_hook(lambda _m, _i, out: seen.append(out.dtype))
    monitor = TinyMonitor(method)
    result = fit(method, tiny_data(), replace(CONFIG, amp=True), monitor=monitor, progress=False)
    assert torch.bfloat16 in seen
    assert all(math.isfinite(value) for value in result.last.values())
    assert all(p.dtype == torch.float32 for p in method.parameters())


def test_biases_and_normalisation_do_not_decay() -> None:
    config = FitConfig(steps=1, batch_size=16, lr=1e-6, weight_decay=1e5, warmup=0, online_probe=False)
    method = tiny_method()
    before = weights(method)
    fit(method, tiny_data(), config, progress=False)
    # One step of decay multiplies by 1 - lr * decay = 0.9; the Adam step itself moves each weight by at most lr.
    for name, p in method.named_parameters():
        factor = 0.9 if p.ndim > 1 else 1.0
        torch.testing.assert_close(p.detach(), factor * before[name], rtol=0, atol=2e-6)


def test_the_bar_is_silent_unless_on_a_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    fit(tiny_method(), tiny_data(), replace(CONFIG, steps=2), progress=True)
    assert capfd.readouterr() == ("", "")


class Diverging:
    """An objective that is fine until its third call."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, z1, z2) -> Loss:
        self.calls += 1
        value = (z1 - z2).square().mean() * (float("nan") if self.calls == 8 else 1.0)
        return Loss(value, {"pull": value})


def test_a_loss_that_is_not_finite_stops_and_loses_nothing(tmp_path: Path) -> None:
    method = tiny_method()
    method.objective = Diverging()
    monitor = TinyMonitor(method, tmp_path / "trajectory.jsonl")
    with pytest.raises(FloatingPointError, match=r"step 8: .*pull = nan.*checkpoints"):
        fit(method, tiny_data(), CONFIG, out=tmp_path, monitor=monitor, progress=False)
    assert all(bool(torch.isfinite(value).all()) for value in method.state_dict().values())
    found = checkpoint.last_good(tmp_path / "checkpoints")
    assert found is not None
    assert found.step == 5
    assert {row.step for row in Trajectory.load(tmp_path)} == {0, 3, 6}


def test_wrong_use_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="training_step"):
        fit(nn.Linear(2, 2), tiny_data(), CONFIG)
    with pytest.raises(ValueError, match="needs out"):
        fit(tiny_method(), tiny_data(), CONFIG, resume=True)
    with pytest.raises(ValueError, match=r"batch_size = 41.*40"):
        fit(tiny_method(), tiny_data(), replace(CONFIG, batch_size=41))
    for bad in ({"steps": -1}, {"batch_size": 1}, {"lr": 0.0}, {"final_lr": 2.0}, {"checkpoint_every": 0}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            FitConfig(**bad)


# -- resume ---------------------------------------------------------------------------------------------------


class Stop(Exception):
    pass


class Interrupted(TinyMonitor):
    """Ends the run right after the rows of a step, before its checkpoint."""

    at = 15

    def step(self, global_step, scalars=None, epoch=None) -> None:
        super().step(global_step, scalars, epoch)
        if global_step == self.at:
            raise Stop


def interrupted(folder: Path, at: int = 15) -> None:
    method = tiny_method()
    monitor = Interrupted(method, folder / "trajectory.jsonl")
    monitor.at = at
    with pytest.raises(Stop):
        fit(method, tiny_data(), CONFIG, out=folder, monitor=monitor, progress=False)


@pytest.mark.parametrize(("at", "resumed"), [(0, None), (3, None), (15, 10), (24, 20)])
def test_a_resumed_run_is_the_unbroken_one(tmp_path: Path, unbroken, at: int, resumed: int | None) -> None:
    interrupted(tmp_path, at)
    torch.manual_seed(99)  # whatever the new process has drawn
    method, monitor, result = tiny_run.run(tmp_path, resume=True)
    path = None if resumed is None else checkpoint.checkpoint_path(tmp_path / "checkpoints", resumed)
    assert result.resumed_from == path
    assert_same(weights(method), unbroken[0])
    assert monitor.trajectory.rows == unbroken[1]
    assert Trajectory.load(tmp_path).rows == unbroken[1]


def test_without_the_saved_random_state_it_would_not_be(tmp_path: Path, unbroken, monkeypatch) -> None:
    interrupted(tmp_path)
    monkeypatch.setattr("infossl.training.loop.set_rng_state", lambda state: None)
    method, _, _ = tiny_run.run(tmp_path, resume=True)
    assert not torch.equal(method.encoder.blocks[0][0].weight, unbroken[0]["encoder.blocks.0.0.weight"])


def test_a_finished_run_resumes_to_itself(tmp_path: Path, unbroken) -> None:
    tiny_run.run(tmp_path)
    method, monitor, result = tiny_run.run(tmp_path, resume=True)
    assert result.steps == 24
    assert_same(weights(method), unbroken[0])
    assert monitor.trajectory.rows == unbroken[1]
    with pytest.raises(FileExistsError, match="resume=True"):
        tiny_run.run(tmp_path)


def test_a_killed_process_resumes_to_the_unbroken_run(tmp_path: Path, unbroken) -> None:
    script = Path(tiny_run.__file__)
    root = script.parent.parent
    environment = os.environ | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([sys.executable, str(script), str(tmp_path)], env=environment, cwd=root)
    try:
        deadline = time.monotonic() + 60
        rows = tmp_path / "trajectory.jsonl"
        while not (rows.exists() and rows.stat().st_size) and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(random.SystemRandom().uniform(0, 0.5))  # anywhere in the 24 steps
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert len(Trajectory.load(tmp_path)) > 0  # it had begun, and the file is readable as it was left
    method, _, _ = tiny_run.run(tmp_path, resume=True)
    assert_same(weights(method), unbroken[0])
    assert Trajectory.load(tmp_path).rows == unbroken[1]
    assert not list((tmp_path / "checkpoints").glob(".*.tmp"))


def test_other_settings_or_data_are_refused(tmp_path: Path) -> None:
    tiny_run.run(tmp_path)
    with pytest.raises(ValueError, match=r"other settings: lr was 0.005 and is 0.1, steps was 24 and is 48"):
        fit(
            tiny_method(),
            tiny_data(),
            replace(CONFIG, lr=0.1, steps=48),
            out=tmp_path,
            resume=True,
            progress=False,
        )
    data = tiny_data()
    with pytest.raises(ValueError, match="other data"):
        fit(
            tiny_method(),
            replace(data, train_x=data.train_x + 1),
            CONFIG,
            out=tmp_path,
            resume=True,
            progress=False,
        )


# -- checkpoints ----------------------------------------------------------------------------------------------


def damage(path: Path, how: str) -> None:
    data = path.read_bytes()
    if how == "truncated":
        path.write_bytes(data[: len(data) // 2])
    elif how == "flipped":
        path.write_bytes(data[:1000] + bytes([data[1000] ^ 1]) + data[1001:])
    elif how == "empty":
        path.write_bytes(b"")
    else:
        path.with_suffix(".sha256").unlink()


@pytest.mark.parametrize("how", ["truncated", "flipped", "empty", "no digest"])
def test_a_damaged_checkpoint_is_refused_and_the_one_before_is_used(
    tmp_path: Path, unbroken, how: str
) -> None:
    interrupted(tmp_path)
    newest = checkpoint.checkpoint_path(tmp_path / "checkpoints", 10)
    checkpoint.load(newest)  # intact until now
    damage(newest, how)
    with pytest.raises(ValueError, match=r"step-00000010.*use an older checkpoint"):
        checkpoint.load(newest)
    method, _, result = tiny_run.run(tmp_path, resume=True)
    assert result.resumed_from == checkpoint.checkpoint_path(tmp_path / "checkpoints", 5)
    assert len(result.refused) == 1
    assert "step-00000010" in result.refused[0]
    assert_same(weights(method), unbroken[0])
    assert Trajectory.load(tmp_path).rows == unbroken[1]


def test_if_none_is_intact_all_reasons_are_given(tmp_path: Path) -> None:
    interrupted(tmp_path)
    for path in checkpoint.list_checkpoints(tmp_path / "checkpoints"):
        damage(path, "truncated")
    with pytest.raises(ValueError, match=r"no checkpoint is intact: .*00000010.*00000005"):
        tiny_run.run(tmp_path, resume=True)


def test_the_newest_two_are_kept_and_unfinished_writes_are_cleared(tmp_path: Path) -> None:
    assert checkpoint.last_good(tmp_path) is None
    (tmp_path / ".step-00000001.pt.123.tmp").write_bytes(b"half")
    for step in (1, 2, 30):
        checkpoint.save(tmp_path, step, {"x": torch.tensor([step])})
    names = sorted(p.name for p in tmp_path.iterdir())
    assert names == ["step-00000002.pt", "step-00000002.sha256", "step-00000030.pt", "step-00000030.sha256"]
    found = checkpoint.last_good(tmp_path)
    assert found is not None
    assert (found.step, found.state["x"].tolist(), found.refused) == (30, [30], ())
    checkpoint.save(tmp_path, 31, {}, keep=1)
    assert [p.name for p in checkpoint.list_checkpoints(tmp_path)] == ["step-00000031.pt"]


def test_states_that_could_not_be_read_back_are_refused_when_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="step 3 cannot be read back"):
        checkpoint.save(tmp_path, 3, {"module": nn.Linear(2, 2)})
    assert list(tmp_path.iterdir()) == []


def test_random_state_is_put_back_after_an_error() -> None:
    before = rng_state()

    with contextlib.suppress(Stop), isolated_rng(3):
        torch.rand(3), np.random.rand(3), random.random()  # noqa: NPY002
        raise Stop
    after = rng_state()
    assert torch.equal(before["torch"], after["torch"])
    assert torch.equal(before["numpy"][1], after["numpy"][1])
    assert before["numpy"][2:] == after["numpy"][2:]
    assert before["python"] == after["python"]


# -- recipes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(DATA))
@pytest.mark.parametrize("objective", ["VICReg()", "SimCLR(temperature=0.5)"])
def test_every_recipe_loads_builds_and_takes_a_step(name: str, objective: str) -> None:
    chosen = recipe(name, objective, seed=3)
    assert (chosen.data, chosen.objective, chosen.fit.seed) == (name, objective, 3)
    assert chosen.fit.steps == RECIPES[name].fit.steps
    method = chosen.build()
    start = weights(method)
    assert_same(start, weights(chosen.build()))
    result = fit(method, chosen.load(), replace(chosen.fit, steps=1), progress=False)
    assert result.steps == 1
    assert not torch.equal(method.encoder.blocks[0][0].weight, start["encoder.blocks.0.0.weight"])


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("objective", ["VICReg()", "SimCLR()"])
@pytest.mark.parametrize("name", sorted(DATA))
def test_recipes_learn_what_they_promise(name: str, objective: str, seed: int) -> None:
    chosen = recipe(name, objective, seed)
    data, method = chosen.load(), chosen.build()
    train_x, test_x = data.evaluation()

    def linear() -> float:
        method.eval()
        with torch.no_grad():
            return ridge_accuracy(method(train_x)["h"], data.train_y, method(test_x)["h"], data.test_y)

    untrained = linear()
    fit(method.train(), data, chosen.fit, progress=False)
    if name == "digits":
        assert linear() >= 0.95
    else:
        assert linear() >= untrained + 0.15


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ValueError, match="digits"):
        recipe("mnist")
    with pytest.raises(ValueError, match="VICReg"):
        recipe("digits", "VICRegg()")
    with pytest.raises(ValueError, match="cluttered-digits"):
        Recipe(data="mnist")
