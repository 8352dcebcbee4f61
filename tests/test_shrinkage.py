"""Shrunk covariances: weights against their formulas, limits of the weight, n <= d, and what shrinkage hides."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal
from sklearn.covariance import ledoit_wolf

from estimators import Gaussian, ShrunkGaussian
from estimators import gaussian as G
from estimators._folds import folds
from estimators._samples import standardised
from estimators.shrinkage import held_out_weight, ledoit_wolf_weight, oas_weight

RULES = ("ledoit-wolf", "oas", "held-out")


def mixed(n: int, d: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return standardised(
        rng.standard_normal((n, d)) @ (np.eye(d) + 0.3 * rng.standard_normal((d, d)) / math.sqrt(d))
    )


# -- the weights ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "d"), [(50, 3), (200, 40), (30, 60)])
def test_ledoit_wolf_is_its_formula_and_that_of_scikit_learn(n, d):
    z = mixed(n, d, 0)
    r = z.T @ z / n
    noise = sum(np.sum((np.outer(row, row) - r) ** 2) for row in z) / n**2
    assert ledoit_wolf_weight(z) == pytest.approx(min(1, noise / np.sum((r - np.eye(d)) ** 2)), abs=1e-10)
    assert ledoit_wolf_weight(z) == pytest.approx(ledoit_wolf(z, assume_centered=True)[1], abs=1e-10)


@pytest.mark.parametrize(("n", "d"), [(50, 3), (30, 60)])
def test_oas_is_its_formula(n, d):
    z = mixed(n, d, 1)
    r = z.T @ z / n
    square, trace = np.trace(r @ r), np.trace(r)
    top = (1 - 2 / d) * square + trace**2
    assert oas_weight(z) == pytest.approx(
        min(1, top / ((n + 1 - 2 / d) * (square - trace**2 / d))), abs=1e-12
    )


@pytest.mark.parametrize(("n", "d"), [(60, 4), (40, 50)])
def test_held_out_weight_maximises_the_likelihood_of_scipy(n, d):
    """The slow twin: a Gaussian density per fold and weight; no weight of a fine grid beats the chosen one."""
    z = mixed(n, d, 2)

    def score(w: float) -> float:
        total = 0.0
        for train, test in folds(n, 5, 0):
            mean = z[train].mean(axis=0)
            cov = (1 - w) * (z[train] - mean).T @ (z[train] - mean) / len(train) + w * np.eye(d)
            total += multivariate_normal(mean, cov).logpdf(z[test]).sum()
        return total / n

    weight, gain = held_out_weight(z)
    best = score(weight)
    assert gain == pytest.approx(best - score(1.0), abs=1e-9)
    assert best >= max(score(w) for w in np.linspace(0.005, 1, 60)) - 1e-3
    assert 0 < weight < 1


@pytest.mark.parametrize("rule", RULES)
def test_the_weight_falls_with_n_and_rises_to_one_without_signal(rule):
    weights = [ShrunkGaussian(rule)(mixed(n, 20, 3)).diagnostics["weight"] for n in (40, 400, 4000)]
    assert weights[0] > weights[1] > weights[2] > 0
    white = np.random.default_rng(4).standard_normal((400, 20))
    assert ShrunkGaussian(rule)(white).diagnostics["weight"] > 0.9


# -- the values ----------------------------------------------------------------------------------------------


def test_weight_zero_is_the_plug_in_and_weight_one_is_independence(rng):
    x, y, z = rng.standard_normal((3, 100, 3)) + rng.standard_normal((100, 1))
    plain = Gaussian(corrected=False)
    for given in ((x,), (x, y), (x, y, z)):
        assert ShrunkGaussian(0.0)(*given).value == pytest.approx(plain(*given).value, abs=1e-10)
        assert ShrunkGaussian(0.0)(*given).quantity == plain(*given).quantity
    assert ShrunkGaussian(1.0)(x, y).value == 0
    assert ShrunkGaussian(1.0)(x).value == pytest.approx(
        sum(plain(x[:, [j]]).value for j in range(3)), abs=1e-10
    )


@pytest.mark.parametrize("weight", [0.2, 0.7])
def test_values_are_those_of_the_shrunk_covariance(weight, rng):
    s = rng.standard_normal((50, 7)) @ rng.standard_normal((7, 7))
    x, y, z = s[:, :2], s[:, 2:4], s[:, 4:]
    cov = np.cov(s.T)
    shrunk = (1 - weight) * cov + weight * np.diag(np.diag(cov))
    e = ShrunkGaussian(weight)
    assert e(s).value == pytest.approx(G.entropy(shrunk), abs=1e-10)
    assert e(s[:, :3], s[:, 3:]).value == pytest.approx(G.mutual_information(shrunk, 3), abs=1e-10)
    assert e(x, y, z).value == pytest.approx(G.conditional_mutual_information(shrunk, 2, 2), abs=1e-10)


def test_chain_rule_at_a_fixed_weight(rng):
    x, y, z = rng.standard_normal((3, 60, 3)) + rng.standard_normal((60, 1))
    e = ShrunkGaussian(0.3)
    assert e(x, np.column_stack([y, z])).value == pytest.approx(e(x, z).value + e(x, y, z).value, abs=1e-10)


@pytest.mark.parametrize("rule", RULES)
def test_fewer_samples_than_dimensions(rule):
    """One strong shared direction in 60 + 60 columns, 50 rows: found, finite, and marked as unchecked."""
    rng = np.random.default_rng(5)
    t = rng.standard_normal((50, 1))
    x, y = rng.standard_normal((2, 50, 60))
    shared = ShrunkGaussian(rule)(x + t, y + t)
    apart = ShrunkGaussian(rule)(x, y)
    assert shared.value > 1
    assert abs(apart.value) < 0.1
    assert "small-sample" in shared.flags
    assert "corrected" not in shared.diagnostics


@pytest.mark.parametrize("rule", RULES)
def test_units_order_and_library_do_not_matter(rule, rng):
    x, y = rng.standard_normal((2, 80, 3)) + rng.standard_normal((80, 1))
    e = ShrunkGaussian(rule)
    value = e(x, y).value
    assert e((x + 5) * np.array([1e-9, -1, 1e9]), y).value == pytest.approx(value, abs=1e-8)
    assert e(y, x).value == pytest.approx(value, abs=1e-9)
    assert e(torch.as_tensor(x), torch.as_tensor(y)).value == pytest.approx(value, abs=1e-10)


# -- what it hides -------------------------------------------------------------------------------------------


def weak_channels(d: int, total: float, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    rho = math.sqrt(-math.expm1(-2 * total / d))
    x, noise = rng.standard_normal((2, n, d))
    return x, rho * x + math.sqrt(1 - rho**2) * noise


@pytest.mark.parametrize("rule", RULES)
def test_spread_out_signal_is_hidden_and_the_flag_says_so(rule):
    e = ShrunkGaussian(rule)(*weak_channels(128, 2.0, 2000, 0))
    assert e.value < 0.4
    assert abs(e.diagnostics["corrected"] - 2.0) <= 4 * 0.083  # recorded sd of the corrected value, 8 seeds
    assert "disagreement" in e.flags


@pytest.mark.parametrize("rule", RULES)
def test_no_flag_where_nothing_is_hidden(rule, rng):
    x, noise = rng.standard_normal((2, 2000, 2))
    assert ShrunkGaussian(rule)(x, x + noise).flags == ()
    assert ShrunkGaussian(rule)(x, noise).flags == ()


def test_degenerate_input(rng):
    x, y = rng.standard_normal((2, 100, 2))
    doubled = ShrunkGaussian()(np.column_stack([x, x]), y)
    assert math.isfinite(doubled.value)
    assert "rank-deficient" in doubled.flags
    assert math.isfinite(ShrunkGaussian()(x, x).value)
    with pytest.raises(ValueError, match="leaves the 4-dimensional covariance singular"):
        ShrunkGaussian(0.0)(x, x)
    assert "constant-columns" in ShrunkGaussian()(np.column_stack([x, np.ones(100)])).flags
    assert "heavy-tails" in ShrunkGaussian()(x, y**9).flags
    with pytest.raises(ValueError, match="at least n = 10 samples"):
        ShrunkGaussian("held-out")(x[:9], y[:9])
    with pytest.raises(TypeError, match="z was given without y"):
        ShrunkGaussian()(x, None, y)


@pytest.mark.parametrize(
    "bad", [{"shrinkage": "ridge"}, {"shrinkage": 1.5}, {"shrinkage": math.nan}, {"folds": 1}]
)
def test_settings_out_of_range(bad):
    with pytest.raises(ValueError, match=f"{next(iter(bad))} = "):
        ShrunkGaussian(**bad)
