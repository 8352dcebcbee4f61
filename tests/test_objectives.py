from __future__ import annotations

import math

import numpy as np
import pytest
import reference_objectives as reference
import torch
from scipy import integrate, stats
from torch import Tensor

from estimators import parse
from infossl.objectives import OBJECTIVES, Loss, SimCLR, VICReg, check_finite, terms

OBJECTS = [VICReg(), VICReg(10.0, 5.0, 2.0, gamma=0.5, eps=1e-3), SimCLR(), SimCLR(temperature=0.5)]


def pair(n: int, k: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    z1, z2 = (torch.randn(n, k, generator=generator, dtype=torch.float64).to(dtype) for _ in range(2))
    return z1, z2


def rotation(k: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(stats.ortho_group.rvs(k, random_state=np.random.default_rng(seed)))


# -- closed forms ---------------------------------------------------------------------------------------------


def test_vicreg_at_collapse_is_the_hinge_at_zero_variance() -> None:
    loss = VICReg()(torch.ones(8, 4), torch.ones(8, 4))
    assert float(loss.total) == pytest.approx(25 * (1 - math.sqrt(1e-4)), abs=1e-5)  # 24.75
    assert float(loss.terms["invariance"]) == float(loss.terms["covariance"]) == 0


@pytest.mark.parametrize("n", [2, 16, 256])
def test_nt_xent_at_collapse_is_log_of_the_candidates(n: int) -> None:
    z = torch.ones(n, 3, dtype=torch.float64)
    assert float(SimCLR(temperature=0.07)(z, z).total) == pytest.approx(math.log(2 * n - 1), abs=1e-10)


@pytest.mark.parametrize(("n", "tau"), [(256, 0.5), (16, 0.2)])
def test_nt_xent_of_perfect_orthonormal_pairs(n: int, tau: float) -> None:
    z = torch.eye(n, dtype=torch.float64)
    expected = math.log(math.exp(1 / tau) + 2 * n - 2) - 1 / tau
    assert float(SimCLR(tau)(z, z).total) == pytest.approx(expected, abs=1e-10)
    if (n, tau) == (256, 0.5):
        assert expected == pytest.approx(4.2488, abs=5e-5)


def test_vicreg_of_whitened_equal_views_is_zero() -> None:
    z = torch.linalg.qr(pair(64, 8)[0] - pair(64, 8)[0].mean(0))[0] * math.sqrt(63) * 1.001
    assert float(VICReg()(z, z).total) == pytest.approx(0, abs=1e-10)


def test_vicreg_terms_of_independent_normal_views() -> None:
    n, k = 256, 64
    # Var ~ chi2(N-1) / (N-1), so that the expected hinge is one integral.
    law = stats.chi2(n - 1, scale=1 / (n - 1))
    hinge = integrate.quad(lambda v: max(0.0, 1 - math.sqrt(v + 1e-4)) * law.pdf(v), 0.3, 1 - 1e-4)[0]
    expected = {"invariance": 2.0, "variance": hinge, "covariance": 2 * (k - 1) / (n - 1)}
    # Standard deviations over 2,000 draws from one other seed.
    sd = {"invariance": 0.0222, "variance": 0.0023, "covariance": 0.0134}
    for seed in range(3):
        found = VICReg()(*pair(n, k, seed)).terms
        for name, value in expected.items():
            assert abs(float(found[name]) - value) <= 4 * sd[name], name
    assert 25 * (2 + hinge) + expected["covariance"] == pytest.approx(50.95, abs=0.05)


# -- against the twins ----------------------------------------------------------------------------------------


def value_and_gradients(f, z1: Tensor, z2: Tensor) -> list[Tensor]:
    z1, z2 = z1.clone().requires_grad_(), z2.clone().requires_grad_()
    value = f(z1, z2)
    return [value.detach(), *torch.autograd.grad(value, (z1, z2))]


@pytest.mark.parametrize("objective", OBJECTS, ids=repr)
@pytest.mark.parametrize("shape", [(2, 3), (6, 4)])
def test_value_and_gradient_equal_the_formula_written_out(objective, shape: tuple[int, int]) -> None:
    z1, z2 = pair(*shape, seed=1)

    def slow(a: Tensor, b: Tensor) -> Tensor:
        if isinstance(objective, SimCLR):
            return reference.nt_xent(a, b, objective.temperature)
        weights = (objective.invariance, objective.variance, objective.covariance)
        return reference.vicreg(a, b, weights, objective.gamma, objective.eps)

    fast = value_and_gradients(lambda a, b: objective(a, b).total, z1, z2)
    for mine, theirs in zip(fast, value_and_gradients(slow, z1, z2), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-10)


def test_totals_are_the_weighted_terms() -> None:
    z1, z2 = pair(16, 5)
    total, t = VICReg(3.0, 4.0, 5.0)(z1, z2)
    expected = 3 * t["invariance"] + 4 * t["variance"] + 5 * t["covariance"]
    torch.testing.assert_close(total, expected, rtol=1e-12, atol=0)
    total, t = SimCLR()(z1, z2)
    assert float(total) == pytest.approx(float(sum(t.values())), rel=1e-12)
    assert set(t) == {"attraction", "repulsion"}


# -- invariances ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("objective", OBJECTS, ids=repr)
def test_batch_order_and_views_may_be_exchanged(objective) -> None:
    z1, z2 = pair(16, 5)
    order = torch.randperm(16, generator=torch.Generator().manual_seed(0))
    base = objective(z1, z2).total
    torch.testing.assert_close(objective(z1[order], z2[order]).total, base, rtol=1e-12, atol=0)
    torch.testing.assert_close(objective(z2, z1).total, base, rtol=1e-12, atol=0)
    assert abs(float(objective(z1[order], z2).total - base)) > 1e-3  # pairs matter


def test_simclr_ignores_rotations_and_lengths() -> None:
    z1, z2 = pair(16, 5)
    q, lengths = (
        rotation(5),
        torch.rand(16, 1, generator=torch.Generator().manual_seed(1), dtype=torch.float64) + 0.1,
    )
    torch.testing.assert_close(
        SimCLR()(z1 @ q, 1e3 * lengths * z2 @ q).total, SimCLR()(z1, z2).total, rtol=1e-10, atol=0
    )
    assert abs(float(SimCLR()(z1 + 1, z2 + 1).total - SimCLR()(z1, z2).total)) > 1e-3  # but not shifts


def test_vicreg_ignores_shifts_signs_and_order_of_dimensions() -> None:
    z1, z2 = pair(16, 5)
    signs = torch.tensor([1.0, -1.0, 1.0, -1.0, -1.0], dtype=torch.float64)
    change = lambda z: (z * signs + 7)[:, [3, 1, 4, 0, 2]]  # noqa: E731
    torch.testing.assert_close(
        VICReg()(change(z1), change(z2)).total, VICReg()(z1, z2).total, rtol=1e-10, atol=0
    )
    q = rotation(5)
    rotated = VICReg()(z1 @ q, z2 @ q).terms
    torch.testing.assert_close(
        rotated["invariance"], VICReg()(z1, z2).terms["invariance"], rtol=1e-12, atol=0
    )
    assert (
        abs(float(rotated["covariance"] - VICReg()(z1, z2).terms["covariance"])) > 1e-3
    )  # its basis matters


# -- precision ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("objective", [VICReg(), SimCLR()], ids=repr)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_autocast_changes_nothing(objective, dtype: torch.dtype) -> None:
    z1, z2 = pair(64, 16, dtype=dtype)
    plain = objective(z1.float(), z2.float())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = objective(z1, z2)
        assert (z1.float() @ z1.float().T).dtype == torch.bfloat16  # autocast was on
    assert mixed.total.dtype == torch.float32
    assert torch.equal(mixed.total, plain.total)
    assert all(torch.equal(mixed.terms[name], term) for name, term in plain.terms.items())


def test_float64_stays() -> None:
    assert all(o(*pair(4, 3)).total.dtype == torch.float64 for o in OBJECTS)


@pytest.mark.parametrize("objective", OBJECTS, ids=repr)
def test_gradients_are_finite_at_collapse(objective) -> None:
    for z in (torch.ones(8, 4), torch.zeros(8, 4)):
        assert all(
            bool(torch.isfinite(g).all())
            for g in value_and_gradients(lambda a, b: objective(a, b).total, z, z)
        )


# -- guards ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize(
    ("objective", "term"), [(VICReg(), "invariance"), (SimCLR(), "attraction")], ids=["v", "s"]
)
def test_a_term_that_is_not_finite_is_named(objective, term: str, bad: float) -> None:
    z1, z2 = pair(8, 4)
    z1[3, 2] = bad
    with pytest.raises(FloatingPointError, match=rf"{term} = .*learning rate"):
        objective(z1, z2)


def test_only_the_terms_at_fault_are_named() -> None:
    z = torch.tensor([[1e12, 0.0], [-1e12, 1e12]])
    with pytest.raises(FloatingPointError, match="covariance = inf") as error:
        VICReg()(z, z)
    assert "invariance" not in str(error.value)
    loss = Loss(torch.tensor(1.0), {"a": torch.tensor(1.0)})
    assert check_finite(loss) is loss
    with pytest.raises(FloatingPointError, match="total = nan"):
        check_finite(Loss(torch.tensor(float("nan")), {"a": torch.tensor(1.0)}))


@pytest.mark.parametrize("objective", [VICReg(), SimCLR()], ids=repr)
def test_wrong_batches_are_refused_with_the_shapes(objective) -> None:
    z = torch.ones(4, 3)
    with pytest.raises(ValueError, match=r"\(1, 3\).*N >= 2.*batch_size"):
        objective(z[:1], z[:1])
    with pytest.raises(ValueError, match=r"\(4, 3\).*\(3, 3\).*same image"):
        objective(z, z[:3])
    with pytest.raises(ValueError, match=r"\(4, 3, 1\).*pool"):
        objective(z[:, :, None], z[:, :, None])
    with pytest.raises(TypeError, match="floating point"):
        objective(z.long(), z.long())


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="temperature"):
        SimCLR(temperature=0.0)
    with pytest.raises(ValueError, match="covariance"):
        VICReg(covariance=-1.0)
    with pytest.raises(ValueError, match="gamma"):
        VICReg(gamma=0.0)


@pytest.mark.parametrize("objective", OBJECTS, ids=repr)
def test_the_repr_rebuilds(objective) -> None:
    assert parse(repr(objective), OBJECTIVES) == objective


def test_logits_leave_out_self_and_point_to_the_other_view() -> None:
    z1, z2 = pair(5, 3)
    logits, positive = terms.nt_xent_logits(z1, z2, 1.0)
    assert bool(torch.isinf(logits.diagonal()).all())
    assert positive.tolist() == [5, 6, 7, 8, 9, 0, 1, 2, 3, 4]
