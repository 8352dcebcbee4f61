"""Objectives and the theory behind them: the closed-form optimum of the spectral form, and entropies as objectives."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from reference_objectives import given
from scipy.linalg import hadamard
from torch import Tensor

from estimators.kde import kde_entropy
from estimators.log_det import log_det_entropy
from estimators.mixture import entropy_bounds
from infossl.objectives import (
    BYOL,
    KDE,
    AlignUniform,
    Invariance,
    LogDet,
    PairDist,
    SimCLR,
    SpectralContrastive,
    VICReg,
)

# -- arXiv:2302.02774 -------------------------------------------------------------------------------------------


def bit_flips(d: int, p: float) -> tuple[Tensor, Tensor]:
    """Eigenvalues and eigenvectors of T on the hypercube: (1 - 2p)^(2 |S|) for the parity of the bits in S."""
    sizes = np.array([bin(i).count("1") for i in range(2**d)])
    vectors = torch.from_numpy(hadamard(2**d).astype(float)) / 2 ** (d / 2)
    return torch.from_numpy((1 - 2 * p) ** (2.0 * sizes)), vectors


def optimum(values: Tensor, beta: float, k: int) -> float:
    mu = (1 - beta + beta * values.sort(descending=True).values[:k]).clamp(min=0)
    return float((1 - mu.square()).sum())


@pytest.mark.parametrize(
    ("beta", "k", "value"), [(1.0, 9, 4.7232), (0.5, 9, 2.6208), (1.0, 5, 2.3616), (2.0, 12, 10.3728)]
)
def test_gradient_descent_meets_the_closed_form_optimum(beta: float, k: int, value: float) -> None:
    values, vectors = bit_flips(8, 0.1)
    assert optimum(values, beta, k) == pytest.approx(value, abs=5e-5)
    # A batch of 512 whose moments are those of the population: with R^2 = I - T^2 the map [[T, -R], [R, T]] is
    # orthogonal, so that the second views keep the second moment, and their inner products with the first are T's.
    t, r = ((vectors * f) @ vectors.T for f in (values, (1 - values.square()).clamp(min=0).sqrt()))
    z = 0.1 * torch.randn(256, k, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    z.requires_grad_()
    objective = SpectralContrastive(beta)
    optimizer = torch.optim.LBFGS([z], max_iter=500, line_search_fn="strong_wolfe", tolerance_change=1e-12)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = objective(torch.cat([z, z]), torch.cat([t @ z - r @ z, r @ z + t @ z])).total
        loss.backward()
        return loss

    optimizer.step(closure)
    assert float(closure().detach()) == pytest.approx(value, abs=1e-4)
    # The span is that of the leading eigenvectors, up to the eigenvalues that tie or are given up.
    used = 1 - beta + beta * values > 1e-3
    outside = torch.linalg.vector_norm(vectors[:, ~used].T @ z.detach()) / torch.linalg.vector_norm(
        z.detach()
    )
    assert float(outside) < 1e-2


def test_the_spectral_contrastive_loss_is_the_case_beta_1() -> None:
    z1, z2 = given(SpectralContrastive(), 7, 3)
    both = torch.cat([z1, z2])
    contrastive = 3 - 2 * (z1 * z2).sum(dim=1).mean() + (both @ both.T).square().mean()
    torch.testing.assert_close(SpectralContrastive()(z1, z2).total, contrastive, rtol=1e-12, atol=1e-12)


# -- arXiv:2303.00633 -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("delta", "lower", "upper"),
    [(0.0, 1.4189, 1.4189), (2.0, 1.6380, 1.9852), (4.0, 1.9852, 2.1118), (10.0, 2.1121, 2.1121)],
)
def test_two_points_in_noise(delta: float, lower: float, upper: float) -> None:
    z = torch.tensor([[0.0], [delta]], dtype=torch.float64)
    found = [float(PairDist(variance=1.0, side=s)(z, z).terms["pair_dist"]) for s in ("lower", "upper")]
    assert found == pytest.approx([lower, upper], abs=5e-5)
    closed = [
        math.log(2) - math.log1p(math.exp(-(delta**2) / c)) + 0.5 * math.log(2 * math.pi * math.e)
        for c in (8, 2)
    ]
    assert found == pytest.approx(closed, abs=1e-12)


@pytest.mark.parametrize("beta", [0.5, 4.0])
def test_log_det_of_an_exact_covariance(beta: float) -> None:
    q = torch.linalg.qr(given(VICReg(), 64, 8)[0] - given(VICReg(), 64, 8)[0].mean(0))[0] * 8 + 5
    found = LogDet(beta=beta)(q, q).terms["log_det"]
    assert float(found) == pytest.approx(4 * math.log(1 + beta), abs=1e-10)


def test_equal_far_rows_reach_the_ceilings() -> None:
    z = 100 * torch.eye(6, dtype=torch.float64)
    noise = 3 * math.log(2 * math.pi * math.e * 0.6)
    for side in ("lower", "upper"):
        assert float(PairDist(side=side)(z, z).terms["pair_dist"]) == pytest.approx(
            noise + math.log(6), abs=1e-10
        )
    # Directions at right angles: every other row at exponent 1 / v.
    found = float(KDE(variance=0.2)(z, z).terms["kde"])
    assert found == pytest.approx(3 * math.log(2 * math.pi * 1.2) + 5, abs=1e-10)


def test_the_entropies_are_those_of_the_estimators() -> None:
    z1, z2 = given(VICReg(), 10, 4)
    covs = [(z - z.mean(0)).T @ (z - z.mean(0)) / 10 for z in (z1, z2)]
    expected = sum(log_det_entropy((c + c.T) / 2, 2.0) for c in covs) / 2
    torch.testing.assert_close(LogDet(beta=2.0)(z1, z2).terms["log_det"], expected, rtol=1e-12, atol=0)
    lower = (entropy_bounds(z1, 0.4)[0] + entropy_bounds(z2, 0.4)[0]) / 2
    torch.testing.assert_close(PairDist()(z1, z2).terms["pair_dist"], lower, rtol=1e-12, atol=0)
    kept = KDE(Invariance(), leave_one_out=False)
    plain = (kde_entropy(z1, 0.8**0.5, False) + kde_entropy(z2, 0.8**0.5, False)) / 2
    torch.testing.assert_close(kept(z1, z2).terms["kde"], plain, rtol=1e-12, atol=0)
    # With the point in its own density it is the upper pairwise bound less K / 2.
    upper = PairDist(variance=0.2, side="upper")(z1, z2).terms["pair_dist"]
    torch.testing.assert_close(plain, upper - 2, rtol=1e-12, atol=0)


def test_simclr_is_alignment_less_a_kernel_entropy_but_for_the_positive() -> None:
    # With all 2N views in one density, and the positive in it, repulsion is -H up to constants.
    tau, (z1, z2) = 0.5, given(SimCLR(), 9, 4)
    both = torch.cat([z1, z2])
    entropy = KDE(BYOL(), variance=tau)(both, both).terms["kde"]
    constant = 2 * math.log(2 * math.pi * 4 * tau) + math.log(17) + 1 / tau
    repulsion = SimCLR(tau)(z1, z2).terms["repulsion"]
    torch.testing.assert_close(repulsion, constant - entropy, rtol=1e-12, atol=1e-12)


def test_scale_is_no_way_out_where_the_inner_objective_does_not_see_it() -> None:
    z1, z2 = given(VICReg(), 10, 4)
    for objective in (LogDet(SimCLR()), PairDist(BYOL()), KDE()):
        torch.testing.assert_close(
            objective(50 * z1, 50 * z2).total, objective(z1, z2).total, rtol=1e-10, atol=1e-10
        )
    grown = LogDet()(50 * z1, 50 * z2).terms["log_det"] - LogDet()(z1, z2).terms["log_det"]
    assert float(grown) > 2 * math.log(50)  # and here it is seen, and paid for by invariance


@pytest.mark.parametrize(
    "objective",
    [LogDet(), PairDist(), PairDist(side="upper"), KDE(), LogDet(BYOL()), PairDist(SimCLR())],
    ids=repr,
)
def test_the_entropy_drives_a_near_collapse_apart(objective) -> None:
    z = 1 + 1e-2 * given(VICReg(), 16, 4)[0]
    start = z.clone()
    spread = []
    for _ in range(60):
        z.requires_grad_()
        (gradient,) = torch.autograd.grad(objective(z, z).total, z)
        z = (z - 0.5 * gradient).detach()
        directions = torch.nn.functional.normalize(z, dim=1) if objective.scale_free else z
        spread.append(float(directions.var(dim=0).sum()))
    assert spread[-1] > 10 * spread[0]
    inner = Invariance() if not objective.scale_free else AlignUniform(uniformity=0.0)
    (gradient,) = torch.autograd.grad(inner(start.requires_grad_(), start).total, start)
    assert float(gradient.abs().max()) < 1e-12  # invariance alone does nothing


def test_a_backward_pass_through_many_rows() -> None:
    z1, z2 = (z.float() for z in given(VICReg(), 200, 32, seed=5))
    for objective in (LogDet(), PairDist(), KDE()):
        a = z1.clone().requires_grad_()
        loss = objective(a, z2)
        loss.total.backward()
        assert loss.total.dtype == torch.float32
        assert a.grad is not None
        assert bool(torch.isfinite(a.grad).all())
        exact = objective(z1.double(), z2.double()).total
        assert float(loss.total.detach()) == pytest.approx(float(exact), rel=1e-5)
