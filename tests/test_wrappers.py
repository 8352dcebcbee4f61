"""Wrappers: calibrated errors, valid nulls, projections that only lose information."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from scipy.stats import kstest

from estimators import Gaussian, Permuted, Projected, Subsampled


def pairs(rho: float, n: int, seed: int, d: int = 1) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x, e = rng.standard_normal((2, n, d))
    return x, rho * x + math.sqrt(1 - rho**2) * e


# -- Subsampled ----------------------------------------------------------------------------------------------


def test_subsampled_error_matches_the_scatter_over_fresh_samples():
    estimates = [Subsampled(Gaussian(), parts=10)(*pairs(0.6, 1000, s)) for s in range(120)]
    seen = np.std([e.value for e in estimates], ddof=1)
    variances = np.array([e.stderr**2 for e in estimates])
    # E SE^2 against Var: each has its own error; together |z| <= 4.
    error = math.hypot(variances.std(ddof=1) / math.sqrt(120), seen**2 * math.sqrt(2 / 119))
    assert abs(variances.mean() - seen**2) <= 4 * error


def test_subsampled_keeps_the_value_and_says_what_it_did():
    x, y = pairs(0.6, 300, 0)
    e = Subsampled(Gaussian(), parts=3)(x, y)
    assert e.value == Gaussian()(x, y).value
    assert e.diagnostics["part_size"] == 100
    assert e.method == repr(Subsampled(Gaussian(), parts=3))


def test_nested_wrappers_add_their_cost_and_do_not_multiply_it():
    calls = []

    @dataclasses.dataclass(frozen=True)
    class Counted:
        def __call__(self, x, y):
            calls.append(len(x))
            return Gaussian()(x, y)

    e = Subsampled(Permuted(Counted(), times=4), parts=3)(*pairs(0.5, 90, 0))
    assert sorted(calls) == [30] * 3 + [90] * 5
    assert {"null_mean", "part_mean"} <= set(e.diagnostics)
    calls.clear()
    swapped = Permuted(Subsampled(Counted(), parts=3), times=4)(*pairs(0.5, 90, 0))
    assert sorted(calls) == [30] * 3 + [90] * 5
    assert (swapped.value, swapped.stderr, swapped.diagnostics) == (e.value, e.stderr, e.diagnostics)


def test_subsampled_parts_are_disjoint_and_cover():
    seen = []

    @dataclasses.dataclass(frozen=True)
    class Spy:
        def __call__(self, x):
            seen.append(x)
            return Gaussian()(x)

    Subsampled(Spy(), parts=4)(np.arange(40.0))
    assert sorted(np.concatenate(seen[1:]).tolist()) == list(range(40))


def test_subsampled_bad_settings():
    with pytest.raises(ValueError, match="at least 2"):
        Subsampled(Gaussian(), parts=1)
    with pytest.raises(ValueError, match=r"leaves 2 of n = 20 rows a part.*fewer parts"):
        Subsampled(Gaussian(), parts=10)(*pairs(0.5, 20, 0))


# -- Permuted ------------------------------------------------------------------------------------------------


def test_p_values_are_uniform_under_the_null():
    p = [
        Permuted(Gaussian(), times=19, seed=s)(*pairs(0.0, 60, s)).diagnostics["p_value"] for s in range(150)
    ]
    # On a grid of 1/20: adding uniform noise of that width makes the exact null law continuous.
    smooth = np.array(p) - np.random.default_rng(0).uniform(0, 1 / 20, len(p))
    assert kstest(smooth, "uniform").pvalue > 1e-4


def test_permuted_sees_dependence_and_shows_the_plug_in_bias():
    x, y = pairs(0.8, 200, 0)
    e = Permuted(Gaussian(), times=50)(x, y)
    assert e.value == Gaussian()(x, y).value
    assert e.diagnostics["p_value"] == pytest.approx(1 / 51)
    wide = np.random.default_rng(0).standard_normal((2, 100, 20))
    null = Permuted(Gaussian(corrected=False), times=20)(*wide).diagnostics
    assert null["null_mean"] > 1.5  # 20 * 20 / 200 = 2 nats of pure bias
    assert null["p_value"] > 0.01


def test_permuted_refuses_entropies_and_four_samples():
    x, y = pairs(0.5, 50, 0)
    with pytest.raises(TypeError, match="got 1"):
        Permuted(Gaussian())(x)
    with pytest.raises(TypeError, match="got 4"):
        Permuted(Gaussian())(x, y, y, y)
    with pytest.raises(ValueError, match="at least 1"):
        Permuted(Gaussian(), times=0)


# -- Projected -----------------------------------------------------------------------------------------------


def test_projection_keeps_a_low_rank_signal(rng):
    latent = rng.standard_normal((2000, 2))
    lift = np.linalg.qr(rng.standard_normal((50, 2)))[0].T
    x = latent @ lift + 1e-3 * rng.standard_normal((2000, 50))
    e = Projected(Gaussian(), dims=2)(x)
    assert e.quantity == "H(PX)"
    assert e.diagnostics["kept_variance_x"] > 0.999
    assert e.value == pytest.approx(Gaussian()(latent).value, abs=1e-3)


def test_projection_loses_information_never_gains(rng):
    x = rng.standard_normal((3000, 4)) * np.array([4, 3, 2, 1])
    y = x + rng.standard_normal((3000, 4))
    values = [Projected(Gaussian(), dims=k)(x, y).value for k in (1, 2, 3, 4)]
    assert values == sorted(values)
    assert values[-1] == Gaussian()(x, y).value


def test_an_upper_bound_on_the_projected_information_bounds_nothing():
    @dataclasses.dataclass(frozen=True)
    class Upper:
        def __call__(self, x, y):
            return dataclasses.replace(Gaussian()(x, y), bound="upper")

    assert Projected(Upper(), dims=1)(*pairs(0.5, 50, 0, d=3)).bound == "none"


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e9])
def test_projection_at_any_scale(scale, rng):
    x, y = rng.standard_normal((2, 300, 6))
    y = y + x
    assert Projected(Gaussian(), dims=3)(x * scale, y).value == pytest.approx(
        Projected(Gaussian(), dims=3)(x, y).value, abs=1e-8
    )


def test_wrappers_nest_on_torch(rng):
    x, y = rng.standard_normal((2, 300, 6))
    nested = Permuted(Subsampled(Projected(Gaussian(), dims=3), parts=3), times=4)
    a, b = nested(x, y), nested(torch.as_tensor(x), torch.as_tensor(y))
    assert a.value == pytest.approx(b.value, abs=1e-10)
    assert a.stderr == pytest.approx(b.stderr, abs=1e-10)
    assert a.diagnostics["null_mean"] == pytest.approx(b.diagnostics["null_mean"], abs=1e-10)


def test_projected_bad_settings():
    with pytest.raises(ValueError, match="at least one component"):
        Projected(Gaussian(), dims=0)


def test_our_random_numbers_are_not_the_callers():
    """Data drawn from default_rng(0) and shuffled by the same numbers would correlate with their own shuffle."""
    from estimators._samples import stream

    ours, theirs = stream(0, "permutations").random(1000), np.random.default_rng(0).random(1000)
    assert abs(np.corrcoef(ours, theirs)[0, 1]) < 4 / math.sqrt(1000)
    assert not np.isin(ours, theirs).any()
    assert not np.array_equal(ours, stream(0, "parts").random(1000))
    assert np.array_equal(ours, stream(0, "permutations").random(1000))
