"""Gaussian total correlation: closed forms, exact correction, groups, invariance, bad input."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import wishart

from estimators import Gaussian, GaussianTotalCorrelation
from estimators import gaussian as G
from estimators.total_correlation import total_correlation


@pytest.mark.parametrize("make", [np.asarray, torch.as_tensor])
@pytest.mark.parametrize(("d", "rho"), [(2, 0.5), (5, 0.3), (20, 0.9)])
def test_equicorrelated_coordinates(make, d, rho):
    """The correlation matrix has determinant (1 - rho)^(d-1) (1 + (d - 1) rho), at any scales."""
    scale = np.diag(np.arange(1.0, d + 1))
    cov = scale @ ((1 - rho) * np.eye(d) + rho) @ scale
    exact = -0.5 * ((d - 1) * math.log(1 - rho) + math.log(1 + (d - 1) * rho))
    assert float(total_correlation(make(cov))) == pytest.approx(exact, abs=1e-10)


def test_two_blocks_are_mutual_information_and_blocks_add_up():
    """T(1..d) = T(blocks) + sum of T within blocks."""
    cov = wishart(df=12, scale=np.eye(7), seed=0).rvs()
    assert total_correlation(cov, (3, 4)) == pytest.approx(G.mutual_information(cov, 3), abs=1e-12)
    within = total_correlation(cov[:3, :3]) + total_correlation(cov[3:, 3:])
    assert total_correlation(cov) == pytest.approx(total_correlation(cov, (3, 4)) + within, abs=1e-12)


def test_gradient():
    cov = torch.as_tensor(wishart(df=9, scale=np.eye(4), seed=1).rvs()).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda c: total_correlation((c + c.T) / 2, (1, 3)), cov, eps=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("sizes", [(3,), (1, 1), (4, -1), (), (3, 0)])
def test_sizes_must_cover_the_covariance(sizes):
    if sizes == (3,):  # one block is no error: it has no total correlation
        assert total_correlation(np.eye(3), sizes) == 0
        return
    with pytest.raises(ValueError, match="must be positive and add up to 3"):
        total_correlation(np.eye(3), sizes)


def correlated(n: int, d: int, rho: float, rng: np.random.Generator) -> np.ndarray:
    return math.sqrt(rho) * rng.standard_normal((n, 1)) + math.sqrt(1 - rho) * rng.standard_normal((n, d))


@pytest.mark.parametrize(("d", "n", "rho"), [(3, 20, 0.0), (3, 40, 0.5), (20, 60, 0.0), (20, 60, 0.3)])
def test_corrected_value_is_unbiased_and_its_error_is_right(d, n, rho):
    rng = np.random.default_rng(2)
    truth = -0.5 * ((d - 1) * math.log(1 - rho) + math.log(1 + (d - 1) * rho))
    estimates = [GaussianTotalCorrelation()(correlated(n, d, rho, rng)) for _ in range(200)]
    values = np.array([e.value for e in estimates])
    assert abs(values.mean() - truth) <= 4 * values.std(ddof=1) / math.sqrt(200)
    assert np.mean([e.stderr for e in estimates]) == pytest.approx(values.std(ddof=1), rel=0.25)


def test_without_the_correction_the_bias_shows():
    rng = np.random.default_rng(3)
    values = [
        GaussianTotalCorrelation(corrected=False)(rng.standard_normal((60, 20))).value for _ in range(50)
    ]
    assert np.mean(values) - 4 * np.std(values) / math.sqrt(50) > 1


@pytest.mark.parametrize("corrected", [True, False])
def test_groups_agree_with_mutual_information_and_chain(corrected, rng):
    """T(X;Y;Z) = I(X;Y) + I(X,Y; Z), with and without the correction."""
    x, y, z = rng.standard_normal((3, 100, 2)) + rng.standard_normal((100, 1))
    t, g = GaussianTotalCorrelation(corrected), Gaussian(corrected)
    assert t(x, y).value == pytest.approx(g(x, y).value, abs=1e-10)
    assert t(x, y).stderr == pytest.approx(g(x, y).stderr, rel=1e-9)
    chained = g(x, y).value + g(np.column_stack([x, y]), z).value
    assert t(x, y, z).value == pytest.approx(chained, abs=1e-10)
    assert t(x, y, z).quantity == "TC(X1;X2;X3)"
    assert t(x).quantity == "TC(X)"


def test_invariances(rng):
    x = correlated(200, 4, 0.5, rng)
    t = GaussianTotalCorrelation()
    assert t(x * np.array([1e-9, 1, -3, 1e9]) + 7).value == pytest.approx(t(x).value, abs=1e-6)
    assert t(x[:, ::-1].copy()).value == pytest.approx(t(x).value, abs=1e-12)
    a, b = rng.standard_normal((2, 2, 2))
    groups = t(x[:, :2] @ a, x[:, 2:] @ b).value
    assert groups == pytest.approx(t(x[:, :2], x[:, 2:]).value, abs=1e-9)
    assert t(*(torch.as_tensor(p) for p in (x[:, :2], x[:, 2:]))).value == pytest.approx(
        t(x[:, :2], x[:, 2:]).value, abs=1e-12
    )


def test_degenerate_input(rng):
    x = rng.standard_normal((100, 3))
    t = GaussianTotalCorrelation()
    repeated = t(np.column_stack([x, x[:, 0]]))
    assert repeated.value == math.inf
    assert "saturated" in repeated.flags
    inside = t(
        np.column_stack([x, x[:, 0]]), rng.standard_normal((100, 2))
    )  # a repeat within a group is harmless
    assert math.isfinite(inside.value)
    assert "rank-deficient" in inside.flags
    padded = t(np.column_stack([x, np.ones(100)]))
    assert padded.value == pytest.approx(t(x).value, abs=1e-12)
    assert "constant-columns" in padded.flags
    alone = t(np.column_stack([x[:, 0], np.ones(100)]))  # a constant is independent of anything
    assert alone.value == pytest.approx(0, abs=1e-12)
    assert alone.stderr is None
    with pytest.raises(ValueError, match="one variable and total correlation needs two"):
        t(x[:, :1])
    with pytest.raises(ValueError, match=r"x has shape \(100, 3\) and x4 has shape \(9, 3\)"):
        t(x, x, x, x[:9])
    with pytest.raises(ValueError, match=r"needs n > 4 samples"):
        t(x[:4])
