"""Neighbour total correlation and the local non-uniformity correction: closed forms, twins, flags, refusals."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from reference_neighbors_mixed import local_non_uniformity, total_correlation
from scipy.special import psi
from truths_neighbors import covariance, gaussian_tc, normal

from estimators.neighbors import KSG
from estimators.neighbors_local import LocalNonUniformity, threshold
from estimators.neighbors_total import TotalCorrelation

SEEDS = 10


def noisy_copy(noise: float, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    x, e = np.random.default_rng(seed).standard_normal((2, n, 1))
    return x, x + noise * e


# ---------------------------------------------------------------- total correlation


def test_gaussian_columns() -> None:
    cov = covariance(3, 5)
    values = [TotalCorrelation()(normal(cov, 1000, seed)).value for seed in range(SEEDS)]
    # Standard deviation over 100 other seeds; the mean error is below 0.2 of it.
    assert abs(np.mean(values) - gaussian_tc(cov)) <= 4 * 0.0361 / math.sqrt(SEEDS)


def test_gaussian_groups() -> None:
    cov = covariance(4, 7)
    truth = gaussian_tc(cov) - gaussian_tc(cov[:2, :2])
    draws = (normal(cov, 1000, seed) for seed in range(SEEDS))
    values = [TotalCorrelation()(w[:, :2], w[:, 2:3], w[:, 3:]).value for w in draws]
    assert abs(np.mean(values) - truth) <= 4 * 0.0308 / math.sqrt(SEEDS)


@pytest.mark.parametrize("norm", ["max", "euclidean"])
@pytest.mark.parametrize("k", [1, 4])
@pytest.mark.parametrize("widths", [(1, 1, 1), (2, 1, 3), (2, 3), (1, 1, 1, 1, 1), (7, 7, 4)])
def test_total_correlation_twin(k: int, widths: tuple[int, ...], norm: str) -> None:
    rng = np.random.default_rng(len(widths))
    common = rng.standard_normal((250, 1))
    parts = [rng.standard_normal((250, w)) * 3 + common for w in widths]
    expected = total_correlation(parts, k, norm)
    assert TotalCorrelation(k=k, norm=norm)(*parts).value == pytest.approx(expected, abs=1e-11)
    if set(widths) == {1}:
        assert TotalCorrelation(k=k, norm=norm)(np.hstack(parts)).value == pytest.approx(expected, abs=1e-11)


def test_two_variables_are_ksg() -> None:
    x, y = normal(covariance(3, 1), 500, 0)[:, :2], normal(covariance(3, 1), 500, 0)[:, 2:]
    for norm in ("max", "euclidean"):
        expected = KSG(k=4, norm=norm)(x, y).value
        assert TotalCorrelation(k=4, norm=norm)(x, y).value == pytest.approx(expected, abs=1e-12)


def test_the_euclidean_form_ignores_rotations_within_a_variable() -> None:
    rng = np.random.default_rng(1)
    x = rng.standard_normal((400, 2))
    parts = [x, x + rng.standard_normal((400, 2)), x + rng.standard_normal((400, 2))]
    turned = [v @ np.linalg.qr(rng.standard_normal((2, 2)))[0] for v in parts]
    estimator, largest = (TotalCorrelation(norm=norm, standardise=False) for norm in ("euclidean", "max"))
    assert estimator(*turned).value == pytest.approx(estimator(*parts).value, abs=1e-9)
    assert abs(largest(*turned).value - largest(*parts).value) > 1e-4
    workers = TotalCorrelation(norm="euclidean", standardise=False, workers=2)
    assert workers(*parts) == estimator(*parts)


def test_total_correlation_ignores_scale_and_order() -> None:
    x = normal(covariance(3, 5), 500, 0)
    value = TotalCorrelation()(x).value
    for scale in (1e-12, 1e-6, -3.0, 1e6, 1e12):
        assert TotalCorrelation()(x * np.array([scale, 1, 1 / scale])).value == pytest.approx(value, abs=1e-9)
        raw = TotalCorrelation(standardise=False)
        assert raw(x * scale).value == pytest.approx(raw(x).value, abs=1e-9)
    assert TotalCorrelation()(x[::-1, [2, 0, 1]]).value == pytest.approx(value, abs=1e-12)
    assert TotalCorrelation(workers=2)(x) == TotalCorrelation()(torch.from_numpy(x)) == TotalCorrelation()(x)


def test_total_correlation_reports() -> None:
    x = normal(covariance(3, 5), 500, 0)
    e = TotalCorrelation()(x)
    assert e.quantity == "TC(X1;...;X3)"
    assert e.ceiling == pytest.approx(2 * (psi(500) - psi(3)))
    assert e.flags == ()
    copies = TotalCorrelation()(x[:, [0, 0, 0]])
    assert copies.value == pytest.approx(copies.ceiling, abs=1e-9)
    assert {"saturated", "rank-deficient"} <= set(copies.flags)
    # One copied column makes the truth infinite, and the estimate only half of its ceiling.
    half = TotalCorrelation()(x[:, [0, 0, 2]])
    assert half.value < 0.7 * half.ceiling
    assert "rank-deficient" in half.flags
    # Within one variable a copy carries nothing new.
    assert TotalCorrelation()(x[:, [0, 0]], x[:, 1:]).flags == ()
    constant = TotalCorrelation()(np.column_stack([x, np.ones(500)]))
    assert constant.value == e.value
    assert constant.quantity == "TC(X1;...;X4)"
    assert (constant.flags, constant.diagnostics["dropped"]) == (("constant-columns",), 1)
    assert "ties" in TotalCorrelation()(np.column_stack([x[:, :2], np.round(x[:, 2], 1)])).flags
    assert "duplicates" in TotalCorrelation()(np.vstack([x, x[:20]])).flags


def test_total_correlation_refusals() -> None:
    x = normal(covariance(3, 5), 50, 0)
    with pytest.raises(ValueError, match=r"\(50, 1\) is one variable"):
        TotalCorrelation()(x[:, :1])
    with pytest.raises(ValueError, match="all columns but one are constant"):
        TotalCorrelation()(np.column_stack([x[:, 0], np.ones(50)]))
    with pytest.raises(ValueError, match="all columns are constant"):
        TotalCorrelation()(np.ones((50, 3)))
    with pytest.raises(ValueError, match=r"z of shape .* all columns are constant"):
        TotalCorrelation()(x, x[:, :1], np.ones((50, 1)))
    with pytest.raises(ValueError, match=r"\(50, 3\) and y has shape \(49, 3\)"):
        TotalCorrelation()(x, x[1:])
    with pytest.raises(ValueError, match="k = 50"):
        TotalCorrelation(k=50)(x)
    with pytest.raises(ValueError, match="NaN or inf"):
        TotalCorrelation()(np.where(x == x[3], np.nan, x))


# ---------------------------------------------------------------- local non-uniformity


# Standard deviation and mean error over 100 other seeds at n = 1000.
@pytest.mark.parametrize(
    ("noise", "std", "bias"), [(1.0, 0.0315, 0.0113), (1e-2, 0.0281, -0.1314), (1e-4, 0.0337, 0.0130)]
)
def test_strong_dependence(noise: float, std: float, bias: float) -> None:
    truth = 0.5 * math.log1p(noise**-2)
    values = [LocalNonUniformity()(*noisy_copy(noise, 1000, seed)).value for seed in range(SEEDS)]
    assert abs(np.mean(values) - truth - bias) <= 4 * std / math.sqrt(SEEDS)


def test_it_sees_what_ksg_cannot() -> None:
    x, y = noisy_copy(1e-4, 1000, 0)
    truth = 0.5 * math.log1p(1e8)
    plain, corrected = KSG()(x, y), LocalNonUniformity()(x, y)
    assert plain.value < truth - 3
    assert abs(corrected.value - truth) <= 4 * 0.0337
    assert corrected.diagnostics["corrected"] > 0.9
    assert corrected.flags == ("large-correction",)
    assert LocalNonUniformity()(*noisy_copy(1.0, 1000, 0)).flags == ()


@pytest.mark.parametrize(("dx", "dy", "k"), [(1, 1, 5), (1, 2, 6), (2, 2, 9)])
@pytest.mark.parametrize("noise", [0.01, 1.0])
def test_local_twin(dx: int, dy: int, k: int, noise: float) -> None:
    rng = np.random.default_rng(dx)
    x = rng.standard_normal((200, dx)) * 4
    y = x[:, :1] + noise * rng.standard_normal((200, dy))
    found = LocalNonUniformity(k=k, alpha=0.3)(x, y)
    assert found.value == pytest.approx(local_non_uniformity(x, y, k, 0.3), abs=1e-9)


def test_without_a_thin_neighbourhood_it_is_the_second_algorithm() -> None:
    x, y = noisy_copy(1.0, 500, 0)
    e = LocalNonUniformity(k=5, alpha=1e-6)(x, y)
    assert (e.diagnostics["corrected"], e.diagnostics["correction"]) == (0, 0)
    assert e.value == pytest.approx(KSG(k=5, algorithm=2)(x, y).value, abs=1e-12)


@pytest.mark.parametrize(("k", "d"), [(5, 2), (10, 3)])
def test_threshold_is_the_stated_quantile(k: int, d: int) -> None:
    """On other uniform neighbourhoods, 0.5 % fall below it."""
    alpha, below, draws = threshold(k, d), 0, 20_000
    for gaps in np.random.default_rng(7).uniform(-1, 1, (draws, k, d)):
        axes = np.linalg.eigh(gaps.T @ gaps)[1]
        below += np.prod(np.abs(gaps @ axes).max(axis=0)) < alpha * np.prod(np.abs(gaps).max(axis=0))
    # Binomial scatter of this sample and, five times smaller in variance, of the 100,000 draws.
    assert abs(below / draws - 0.005) <= 4 * math.sqrt(0.005 / draws * 1.2)


def test_local_invariances() -> None:
    x, y = noisy_copy(0.01, 500, 1)
    e = LocalNonUniformity()(x, y)
    for scale in (1e-12, 1e-6, -3.0, 1e6, 1e12):
        assert LocalNonUniformity()(x * scale, y).value == pytest.approx(e.value, abs=1e-6)
        raw = LocalNonUniformity(standardise=False)
        assert raw(x * scale, y * scale).value == pytest.approx(raw(x, y).value, abs=1e-6)
    assert LocalNonUniformity()(y, x).value == pytest.approx(e.value, abs=1e-9)
    assert LocalNonUniformity()(x[::-1], y[::-1]).value == pytest.approx(e.value, abs=1e-9)
    assert (
        LocalNonUniformity(workers=2)(x, y)
        == LocalNonUniformity()(torch.from_numpy(x), torch.from_numpy(y))
        == e
    )


def test_deterministic_relations_are_flagged() -> None:
    x = np.random.default_rng(0).standard_normal((1000, 1))
    for y in (x, 2 * x + 3):
        e = LocalNonUniformity()(x, y)
        assert {"saturated", "large-correction"} <= set(e.flags)
        assert math.isfinite(e.value)
    assert "large-correction" in LocalNonUniformity()(x, np.tanh(x)).flags


def test_local_reports_and_refusals() -> None:
    x, y = noisy_copy(0.5, 300, 0)
    assert LocalNonUniformity(alpha=0.2)(x, y).diagnostics["alpha"] == 0.2
    assert LocalNonUniformity()(x, y).diagnostics["alpha"] == pytest.approx(threshold(5, 2))
    assert {"ties", "duplicates"} <= set(LocalNonUniformity()(np.round(x, 1), np.round(y, 1)).flags)
    with pytest.raises(ValueError, match="give k > 5"):
        LocalNonUniformity()(np.repeat(x, 4, axis=1) + np.arange(4), y)
    with pytest.raises(ValueError, match=r"alpha must lie in \(0, 1\]"):
        LocalNonUniformity(alpha=0.0)
    with pytest.raises(TypeError, match="discrete variable"):
        LocalNonUniformity()(x, np.arange(300))
    with pytest.raises(ValueError, match="all columns are constant"):
        LocalNonUniformity()(x, np.ones((300, 1)))
    with pytest.raises(ValueError, match="NaN or inf"):
        LocalNonUniformity()(x, np.where(y == y[3], np.inf, y))
