"""Views of the samples: slices, rank-Gaussian margins, three entropies. (`Projected` is tested in test_wrappers.py.)"""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import psi

from estimators import KSG, Copula, Gaussian, KozachenkoLeonenko, Sliced, ThreeEntropies
from estimators.copula import normal_scores


@pytest.mark.parametrize("d", [2, 3, 10])
def test_sliced_information_of_a_normal_vector_with_itself(d):
    """E of -1/2 log(1 - c^2) over the cosine of two random directions: -1/2 (psi((d-1)/2) - psi(d/2))."""
    exact = -0.5 * (psi((d - 1) / 2) - psi(d / 2))
    x = np.random.default_rng(0).standard_normal((20_000, d))
    e = Sliced(Gaussian(), slices=400, seed=1)(x, x)
    assert abs(e.value - exact) <= 4 * e.stderr
    assert e.quantity == "SI_1(X;Y)"


def test_slices_of_independent_samples_are_zero_and_the_name_is_its_own(rng):
    x, y = rng.standard_normal((2, 500, 30))
    e = Sliced(KSG(k=5), slices=30, dims=2)(x, y)
    assert abs(e.value) <= 4 * e.stderr + 0.02  # neighbour estimates of slices share the samples
    assert e.quantity == "SI_2(X;Y)"
    assert Sliced(Gaussian(), slices=10)(x, y) == Sliced(Gaussian(), slices=10)(x, y)
    assert Sliced(Gaussian(), slices=10, seed=1)(x, y).value != Sliced(Gaussian(), slices=10)(x, y).value


def test_slices_of_one_column_are_the_inner_estimate(rng):
    x, y = rng.standard_normal((2, 200, 1))
    assert Sliced(Gaussian(), slices=2)(x, y + x).value == pytest.approx(
        Gaussian()(x, y + x).value, abs=1e-12
    )


def test_rank_gaussian_margins_are_normal_and_share_ranks_at_ties():
    z = normal_scores(np.random.default_rng(0).exponential(size=(999, 2)))[0]
    np.testing.assert_allclose(z.mean(0), 0, atol=1e-12)
    np.testing.assert_allclose(z.std(0), 1, atol=0.01)
    tied = normal_scores(np.array([[1.0], [1.0], [2.0]]))[0][:, 0]
    assert tied[0] == tied[1] < tied[2]


@pytest.mark.parametrize("warp", [lambda x: x**9, np.exp, lambda x: 1e-9 * x - 1e-3, np.arctan])
def test_copula_is_exactly_invariant_to_monotone_maps(warp, rng):
    x, y = rng.standard_normal((2, 300, 2))
    y = y + x
    for inner in (Gaussian(), KSG(k=3)):
        assert Copula(inner)(warp(x), y).value == Copula(inner)(x, y).value


def test_copula_recovers_the_information_that_heavy_tails_hide():
    """The odd power 9 of a Gaussian pair with rho = 0.8: the truth stays 0.511. Recorded over 60 samples: sd 0.0185."""
    rng = np.random.default_rng(3)
    x, e = rng.standard_normal((2, 1500, 1))
    y = 0.8 * x + 0.6 * e
    truth = -0.5 * math.log(1 - 0.64)
    assert abs(Copula(Gaussian())(x**9, y**9).value - truth) <= 4 * 0.0185
    assert Gaussian()(x**9, y**9).value < truth - 0.1


def test_copula_refuses_an_entropy_and_unequal_samples(rng):
    with pytest.raises(TypeError, match="two samples"):
        Copula(Gaussian())(rng.standard_normal((20, 2)))
    with pytest.raises(ValueError, match=r"\(20, 2\).*\(19, 2\)"):
        Copula(Gaussian())(rng.standard_normal((20, 2)), rng.standard_normal((19, 2)))


def test_three_entropies_is_the_gaussian_identity_and_joins_flags(rng):
    x, y = rng.standard_normal((2, 400, 2))
    y = y + x
    e = ThreeEntropies(Gaussian())(x, y)
    assert e.value == pytest.approx(Gaussian()(x, y).value, abs=1e-9)
    assert e.value == e.diagnostics["entropy_x"] + e.diagnostics["entropy_y"] - e.diagnostics["entropy_xy"]
    assert e.bound == "none"
    assert "heavy-tails" in ThreeEntropies(Gaussian())(x**9, y).flags


def test_three_neighbour_entropies_see_dependence(rng):
    """Recorded over 60 samples at rho = 0.9, n = 1000: mean 0.84, sd 0.046; the truth is 0.830."""
    x, e = rng.standard_normal((2, 1000, 1))
    value = ThreeEntropies(KozachenkoLeonenko(k=3))(x, 0.9 * x + math.sqrt(0.19) * e).value
    assert abs(value - 0.830) <= 4 * 0.046 + 0.02


def test_bad_settings():
    with pytest.raises(ValueError, match="at least 2"):
        Sliced(Gaussian(), slices=1)
    with pytest.raises(ValueError, match="at least one"):
        Sliced(Gaussian(), dims=0)
