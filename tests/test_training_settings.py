"""Optimizers, schedules, accumulation, memory order, compilation, deterministic mode."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import tiny_run
import torch
from reference_training import lars as slow_lars
from tiny_run import CONFIG, tiny_data, tiny_method
from torch import nn

from estimators import parse
from infossl.data.augment import Compose, Gain, Noise
from infossl.methods import SelfDistillation, ijepa
from infossl.objectives import Invariance, VICReg
from infossl.training import FitConfig, fit, warmup_cosine
from infossl.training.accumulation import require_mean_over_images
from infossl.training.determinism import deterministic_algorithms, require_workspace
from infossl.training.lars import LARS
from infossl.training.optimizers import OPTIMIZERS, parameter_groups
from infossl.training.schedule import cosine


def weights(method: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in method.state_dict().items()}


def trained(method: nn.Module | None = None, data=None, **settings) -> dict[str, torch.Tensor]:
    method = tiny_method() if method is None else method
    config = replace(CONFIG, **{"steps": 6, "online_probe": False, **settings})
    fit(method, tiny_data() if data is None else data, config, progress=False)
    return weights(method)


def same(one, other) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


# -- optimizers -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("adapt", [True, False])
def test_lars_is_its_slow_twin(adapt: bool) -> None:
    draws = torch.Generator().manual_seed(0)
    start = torch.randn(3, 4, generator=draws, dtype=torch.float64)
    gradients = torch.randn(5, 3, 4, generator=draws, dtype=torch.float64)
    rates = [0.5, 1.0, 2.0, 1.0, 0.1]  # a schedule: the rate is inside the momentum
    settings = {"momentum": 0.8, "trust": 0.05}
    w = nn.Parameter(start.clone())
    optimizer = LARS([w], lr=1.0, weight_decay=0.3, adapt=adapt, **settings)
    for gradient, rate in zip(gradients, rates, strict=True):
        optimizer.param_groups[0]["lr"] = rate
        w.grad = gradient.clone()
        optimizer.step()
    slow = slow_lars(
        start.flatten().tolist(),
        gradients.flatten(1).tolist(),
        rates,
        decay=0.3,
        adapt=adapt,
        **settings,
    )
    torch.testing.assert_close(w.detach().flatten(), torch.tensor(slow, dtype=torch.float64))
    # The comparison can fail: without decay it is another path.
    other = slow_lars(start.flatten().tolist(), gradients.flatten(1).tolist(), rates, decay=0.0, **settings)
    assert not torch.allclose(w.detach().flatten(), torch.tensor(other, dtype=torch.float64))


def test_a_lars_step_does_not_depend_on_the_scale_of_the_gradient() -> None:
    steps = []
    for scale in (1.0, 1e-12, 1e12):
        w = nn.Parameter(torch.tensor([[3.0, 4.0]]))
        w.grad = scale * torch.tensor([[1.0, -2.0]])
        LARS([w], lr=1.0, trust=0.1).step()
        steps.append(w.detach() - torch.tensor([[3.0, 4.0]]))
    torch.testing.assert_close(steps[1], steps[0])
    torch.testing.assert_close(steps[2], steps[0])
    assert float(steps[0].norm()) == pytest.approx(0.5)  # trust times the norm of w


def test_lars_moves_weights_that_are_zero_and_leaves_those_without_gradient() -> None:
    zero, idle = nn.Parameter(torch.zeros(2, 2)), nn.Parameter(torch.ones(2, 2))
    zero.grad = torch.ones(2, 2)
    LARS([zero, idle], lr=0.5).step()
    torch.testing.assert_close(zero.detach(), torch.full((2, 2), -0.5))
    assert torch.equal(idle.detach(), torch.ones(2, 2))
    still = nn.Parameter(torch.ones(2, 2))
    still.grad = torch.zeros(2, 2)
    LARS([still], lr=0.5).step()
    assert torch.equal(still.detach(), torch.ones(2, 2))
    for bad in ({"momentum": 1.0}, {"trust": 0.0}, {"weight_decay": -1.0}, {"lr": -1.0}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            LARS([still], **{"lr": 1.0, **bad})


@pytest.mark.parametrize(
    ("text", "kind", "lr"),
    [("AdamW()", torch.optim.AdamW, 5e-3), ("SGD()", torch.optim.SGD, 1e-2), ("LARS(trust=0.02)", LARS, 0.5)],
)
def test_every_optimizer_trains_and_resumes_exactly(text: str, kind: type, lr: float, tmp_path: Path) -> None:
    assert type(parse(text, OPTIMIZERS)(parameter_groups(tiny_method(), 0.1), 0.1)) is kind
    config = replace(CONFIG, optimizer=text, lr=lr, steps=10, checkpoint_every=4)
    unbroken, resumed = tiny_method(), tiny_method()
    result = fit(unbroken, tiny_data(), config, out=tmp_path, progress=False)
    first = fit(tiny_method(), tiny_data(), replace(config, steps=1), progress=False)
    assert result.last["loss/total"] < first.last["loss/total"]
    for suffix in ("pt", "sha256"):
        (tmp_path / "checkpoints" / f"step-00000010.{suffix}").unlink()
    assert fit(resumed, tiny_data(), config, out=tmp_path, resume=True, progress=False).resumed_from
    assert same(weights(resumed), weights(unbroken))


def test_lars_adapts_weights_and_not_biases() -> None:
    optimizer = parse("LARS()", OPTIMIZERS)(parameter_groups(tiny_method(), 0.1), 0.1)
    assert [group["adapt"] for group in optimizer.param_groups] == [True, False]
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.1, 0.0]
    assert all((p.ndim > 1) == group["adapt"] for group in optimizer.param_groups for p in group["params"])


# -- schedules ------------------------------------------------------------------------------------------------


def test_the_schedule_is_torchs() -> None:
    steps, warmup, final = 50, 10, 0.1
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    up = torch.optim.lr_scheduler.LinearLR(optimizer, 1 / warmup, 1.0, total_iters=warmup - 1)
    down = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps - warmup, eta_min=final)
    both = torch.optim.lr_scheduler.SequentialLR(optimizer, [up, down], milestones=[warmup])
    for step in range(steps):
        expected = warmup_cosine(step, steps=steps, warmup=warmup, final=final)
        assert optimizer.param_groups[0]["lr"] == pytest.approx(expected, abs=1e-12), step
        optimizer.step()
        both.step()


def test_weight_decay_follows_its_cosine() -> None:
    settings = {"steps": 2, "lr": 1e-6, "weight_decay": 1e5, "warmup": 0, "final_lr": 1.0}
    before = weights(tiny_method())
    after = trained(**settings, final_weight_decay=0.0)
    # A step of decay multiplies by 1 - lr * decay: 0.1 in the first step, and half of it half way down the cosine.
    assert cosine(1, 1e5, 0.0, steps=2) == pytest.approx(5e4)
    name = "encoder.blocks.0.0.weight"
    torch.testing.assert_close(after[name], 0.9 * 0.95 * before[name], rtol=0, atol=4e-6)
    constant = trained(**settings)
    torch.testing.assert_close(constant[name], 0.9 * 0.9 * before[name], rtol=0, atol=4e-6)


# -- accumulation ---------------------------------------------------------------------------------------------


class Flat(nn.Module):
    """An encoder without batch statistics."""

    dim = 5

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(64, self.dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(x.flatten(1)).tanh()


def plain_student() -> SelfDistillation:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return SelfDistillation(Flat(), nn.Linear(5, 4), nn.Linear(4, 4), Invariance(1.0))


def test_accumulation_is_the_whole_batch_where_the_loss_is_a_mean_over_images() -> None:
    # SGD: Adam would divide by gradients near zero and make differences of the last digit large.
    settings = {"optimizer": "SGD()", "lr": 0.1}
    whole = trained(plain_student(), **settings)
    parts = trained(plain_student(), **settings, accumulate=4)
    for name, value in whole.items():
        torch.testing.assert_close(parts[name], value, rtol=1e-5, atol=1e-6)
    other = trained(plain_student(), **settings, batch_size=4)
    assert not torch.allclose(other["encoder.linear.weight"], whole["encoder.linear.weight"], atol=1e-4)


def test_losses_and_the_online_probe_are_those_of_all_parts() -> None:
    results = []
    for parts in (1, 2):
        config = replace(CONFIG, steps=1, accumulate=parts)
        results.append(fit(plain_student(), tiny_data(), config, progress=False).last)
    assert results[0].keys() == results[1].keys()
    assert results[1] == pytest.approx(results[0], rel=1e-5)


def test_accumulation_is_refused_where_it_would_be_another_loss() -> None:
    z1, z2 = torch.randn(2, 8, 3, generator=torch.Generator().manual_seed(0))
    halves = (VICReg()(z1[:4], z2[:4]).total + VICReg()(z1[4:], z2[4:]).total) / 2
    assert abs(float(halves - VICReg()(z1, z2).total)) > 0.1
    with pytest.raises(ValueError, match=r"accumulate > 1 with VICReg.*use accumulate=1.*BYOL"):
        trained(accumulate=2)
    require_mean_over_images(ijepa(8, patch=2, depth=1))

    class Own:
        mean_over_images = True

    method = tiny_method()
    method.objective = Own()
    require_mean_over_images(method)
    for bad in (3, 16):
        with pytest.raises(ValueError, match=f"accumulate = {bad} must divide batch_size = 16"):
            replace(CONFIG, accumulate=bad)


# -- precision, memory order, compilation, determinism --------------------------------------------------------


def test_channels_last_is_another_order_of_the_same_numbers() -> None:
    method = tiny_method(dropout=0.0)
    seen = []
    method.encoder.register_forward_hook(lambda _m, inputs, _o: seen.append(inputs[0]))
    settings = {"optimizer": "SGD()", "lr": 1e-3, "steps": 2}
    after = trained(method, **settings, channels_last=True)
    assert method.encoder.blocks[1][0].weight.is_contiguous(memory_format=torch.channels_last)
    assert seen[-1].is_contiguous(memory_format=torch.channels_last)
    for name, value in trained(tiny_method(dropout=0.0), **settings).items():
        torch.testing.assert_close(after[name], value, rtol=1e-3, atol=1e-5)


def test_amp_and_channels_last_resume_exactly(tmp_path: Path) -> None:
    config = replace(CONFIG, steps=6, checkpoint_every=4, amp=True, channels_last=True)
    unbroken, resumed = tiny_method(), tiny_method()
    fit(unbroken, tiny_data(), config, out=tmp_path, progress=False)
    (tmp_path / "checkpoints/step-00000006.pt").unlink()
    fit(resumed, tiny_data(), config, out=tmp_path, resume=True, progress=False)
    assert same(weights(resumed), weights(unbroken))
    assert not same(weights(resumed), trained(steps=6))


def test_the_training_step_is_what_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = []

    def spy(function):
        compiled.append(function)
        return function

    monkeypatch.setattr(torch, "compile", spy)
    method = tiny_method()
    assert same(trained(method, compile=True), trained())
    assert compiled == [method.training_step]


def assert_compiled_is_eager(make) -> None:
    settings = {"optimizer": "SGD()", "lr": 1e-3, "steps": 3}
    compiled, eager = trained(make(), **settings, compile=True), trained(make(), **settings)
    for name, value in eager.items():
        torch.testing.assert_close(compiled[name], value, rtol=1e-3, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("make", ["tiny_method(dropout=0.0)", "ijepa(8, patch=2, depth=1, width=16)"])
def test_a_compiled_run_is_the_eager_one_up_to_rounding(make: str) -> None:
    # In a process of its own: the shape checks of the tests cannot be traced, and the compiler warns of itself.
    code = f"import test_training_settings as t; t.assert_compiled_is_eager(lambda: t.{make})"
    folder = Path(__file__).parent
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (folder, folder.parent)))}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)


def test_deterministic_mode_is_on_inside_and_off_outside() -> None:
    method = tiny_method()
    seen = []
    method.register_forward_hook(lambda *_: seen.append(torch.are_deterministic_algorithms_enabled()))
    one, other = trained(method, deterministic=True), trained(deterministic=True)
    assert set(seen) == {True}
    assert not torch.are_deterministic_algorithms_enabled()
    assert same(one, other)
    with pytest.raises(RuntimeError, match="stop"), deterministic_algorithms(True):
        raise RuntimeError("stop")
    assert not torch.are_deterministic_algorithms_enabled()


def test_deterministic_mode_on_a_gpu_needs_its_workspace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    require_workspace(torch.device("cpu"))
    with pytest.raises(ValueError, match=r"start the process with CUBLAS_WORKSPACE_CONFIG=:4096:8"):
        require_workspace(torch.device("cuda"))
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    require_workspace(torch.device("cuda"))


def test_keyed_views_do_not_depend_on_the_batch(tmp_path: Path) -> None:
    data = replace(tiny_data(), augment=Compose((Gain(0.2), Noise(0.1))), keyed=True)
    config = replace(CONFIG, steps=8, checkpoint_every=5)
    unbroken, resumed = tiny_method(), tiny_method()
    fit(unbroken, data, config, out=tmp_path, progress=False)
    (tmp_path / "checkpoints/step-00000008.pt").unlink()
    fit(resumed, data, config, out=tmp_path, resume=True, progress=False)
    assert same(weights(resumed), weights(unbroken))
    other = tiny_method()
    fit(other, tiny_data(), config, progress=False)
    assert not same(weights(other), weights(unbroken))


def test_wrong_settings_are_refused_when_they_are_written() -> None:
    for bad, message in (
        ({"optimizer": "Adam()"}, "did you mean AdamW"),
        ({"optimizer": "5"}, "optimizer = '5' is no optimizer; known: AdamW, SGD, LARS"),
        ({"weight_decay": -1.0}, "weight_decay = -1.0 must not be negative"),
        ({"final_weight_decay": -1.0}, "final_weight_decay"),
        ({"accumulate": 0}, "accumulate = 0 must be at least 1"),
    ):
        with pytest.raises(ValueError, match=message):
            FitConfig(**bad)
    with pytest.raises(TypeError, match="cannot build LARS"):
        FitConfig(optimizer="LARS(eta=1)")


def test_a_checkpoint_from_before_a_setting_had_it_at_its_default(tmp_path: Path) -> None:
    from infossl.training import checkpoint

    tiny_run.run(tmp_path)
    folder = tmp_path / "checkpoints"
    state = checkpoint.load(checkpoint.checkpoint_path(folder, 24))
    del state["config"]["accumulate"], state["config"]["optimizer"]
    checkpoint.save(folder, 24, state)
    method, _, _ = tiny_run.run(tmp_path, resume=True)
    assert torch.equal(method.encoder.blocks[0][0].weight, state["method"]["encoder.blocks.0.0.weight"])
