"""Kernel density entropies: closed forms of the smoothed law, twin, bandwidth rules, labels, gradients, bad input."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from reference_mixture import kernel_log_density
from scipy.stats import gaussian_kde, norm, ortho_group

from estimators import KDE, Permuted, _pairs
from estimators.kde import kde_entropy
from estimators.mixture import entropy_bounds

LOG_2PI = math.log(2 * math.pi)


def cloud(n: int = 60, d: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, d))


def correlated(n: int, rho: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    x, noise = np.random.default_rng(seed).standard_normal((2, n, 1))
    return x, rho * x + math.sqrt(1 - rho**2) * noise


# -- closed forms --------------------------------------------------------------------------------------------


def test_two_points():
    """Left out, each point is the other's only kernel; kept, the mean of both."""
    z, h = np.array([[0.0], [3.0]]), 0.7
    kernel = norm.pdf([0.0, 3.0], scale=h)
    assert kde_entropy(z, h) == pytest.approx(-math.log(kernel[1]), abs=1e-12)
    assert kde_entropy(z, h, leave_one_out=False) == pytest.approx(-math.log(kernel.mean()), abs=1e-12)


@pytest.mark.parametrize("h", [0.3, 1.0])
def test_cross_entropy_with_the_smoothed_law(h):
    """At fixed h the estimate tends to -E log N(X; 0, 1 + h^2), which is above H(X); recorded z: 0.1 and 0.0."""
    e = KDE(bandwidth=h)(cloud(2000, 1))
    limit = 0.5 * (LOG_2PI + math.log(1 + h**2) + 1 / (1 + h**2))
    assert abs(e.value - limit) < 4 * e.stderr < 0.08
    assert e.bound == "upper"


@pytest.mark.parametrize("rho", [0.0, 0.8])
def test_information_of_the_smoothed_law(rho):
    """At fixed h the estimate tends to E log q(x, y) / q(x) q(y), q the law smoothed by h, here Gaussian."""
    h = 0.3
    e = KDE(bandwidth=h)(*correlated(2000, rho))
    c = np.array([[1, rho], [rho, 1]])
    q = c + h**2 * np.eye(2)
    joint = -0.5 * (np.linalg.slogdet(q)[1] + np.trace(np.linalg.solve(q, c)))
    limit = joint + math.log(1 + h**2) + 1 / (1 + h**2)
    assert abs(e.value - limit) < 4 * e.stderr < 0.1
    assert e.bound == "none"


# 60 samples of n = 100; recorded sd and mean standard error of the estimates: 0.086 and 0.074 (scott), 0.086 and 0.071
@pytest.mark.parametrize("bandwidth", ["scott", "likelihood"])
def test_standard_error_covers(bandwidth):
    found = [KDE(bandwidth)(cloud(100, 1, seed)) for seed in range(60)]
    spread = np.std([e.value for e in found], ddof=1)
    assert np.mean([e.stderr for e in found]) == pytest.approx(spread, rel=4 / math.sqrt(2 * 59))
    truth = 0.5 * (LOG_2PI + 1)
    assert np.mean([abs(e.value - truth) < 2 * e.stderr for e in found]) > 0.85


def test_left_out_is_an_upper_bound_in_expectation_and_kept_is_not():
    """H(N(0, I)) in 2 dimensions at h = 0.3 and n = 50: recorded z of the means of 100 samples: 11 and -42."""
    truth = 1 + LOG_2PI
    values = {
        kept: np.array([kde_entropy(cloud(50, 2, s), 0.3, leave_one_out=not kept) for s in range(100)])
        for kept in (False, True)
    }
    z = {kept: (v.mean() - truth) / (v.std(ddof=1) / 10) for kept, v in values.items()}
    assert z[False] > 4
    assert z[True] < -4


def test_narrow_kernels_kept_see_only_themselves():
    z, h = np.arange(7.0)[:, None] * 10, 0.01
    assert kde_entropy(z, h, leave_one_out=False) == pytest.approx(math.log(7 * h) + 0.5 * LOG_2PI, abs=1e-12)


# -- relations -----------------------------------------------------------------------------------------------


def test_resubstitution_is_the_mixture_bound_less_half_a_nat_per_dimension():
    h = 0.4
    upper = entropy_bounds(cloud(), h**2)[1]
    assert kde_entropy(cloud(), h, leave_one_out=False) == pytest.approx(upper - 1.5, abs=1e-10)


def test_uniformity_loss_bounds_it():
    z = cloud() / np.linalg.norm(cloud(), axis=1, keepdims=True)
    for t in (0.5, 2.0, 8.0):
        squares = ((z[:, None] - z[None]) ** 2).sum(-1)[~np.eye(60, dtype=bool)]
        uniformity = math.log(np.mean(np.exp(-t * squares)))
        h = math.sqrt(1 / (2 * t))
        assert kde_entropy(z, h) >= -uniformity + 1.5 * math.log(2 * math.pi * h**2)


@pytest.mark.parametrize("numbers", [1, 200, 1 << 20])
@pytest.mark.parametrize("leave_one_out", [True, False])
def test_twin(leave_one_out, numbers, monkeypatch):
    monkeypatch.setattr(_pairs, "_NUMBERS", numbers)
    x, y, h = cloud(20, 2), cloud(20, 1, seed=1), 0.6
    logs = {
        name: np.mean([kernel_log_density(v, np.full(v.shape[1], h), i, leave_one_out) for i in range(20)])
        for name, v in {"x": x, "y": y, "xy": np.hstack([x, y])}.items()
    }
    estimator = KDE(h, leave_one_out)
    assert estimator(x).value == pytest.approx(-logs["x"], abs=1e-11)
    assert estimator(x, y).value == pytest.approx(logs["xy"] - logs["x"] - logs["y"], abs=1e-11)
    widths = np.array([0.3, 1.2])
    expected = -np.mean([kernel_log_density(x, widths, i, leave_one_out) for i in range(20)])
    assert kde_entropy(x, widths, leave_one_out) == pytest.approx(expected, abs=1e-11)


@pytest.mark.parametrize("rule", ["scott", "silverman"])
def test_rules_are_those_of_scipy(rule):
    x = cloud(50, 1)
    theirs = gaussian_kde(x[:, 0], bw_method=rule)
    e = KDE(rule)(x)
    assert e.diagnostics["bandwidth"] == pytest.approx(theirs.factor, abs=1e-12)
    assert e.value == pytest.approx(kde_entropy(x, theirs.factor * x.std()), abs=1e-12)
    wide = KDE(rule)(cloud(50, 4)).diagnostics["bandwidth"]
    assert wide == pytest.approx(gaussian_kde(cloud(50, 4).T, bw_method=rule).factor, abs=1e-12)


def test_likelihood_finds_the_minimum_and_suits_narrow_modes():
    x = np.concatenate([cloud(150, 1) * 0.05 - 3, cloud(150, 1, seed=1) * 0.05 + 3])
    truth = math.log(2) + 0.5 * (LOG_2PI + 1) + math.log(0.05)
    found = {rule: KDE(rule)(x) for rule in ("scott", "likelihood")}
    assert found["scott"].value - truth > 0.5
    assert abs(found["likelihood"].value - truth) < 4 * found["likelihood"].stderr
    h = found["likelihood"].diagnostics["bandwidth"] * x.std()
    grid = [kde_entropy(x, h * factor) for factor in np.geomspace(0.5, 2, 9)]
    assert min(grid) == pytest.approx(found["likelihood"].value, abs=1e-6)
    assert found["likelihood"].flags == ()


# -- labels --------------------------------------------------------------------------------------------------


def test_labels():
    y = np.repeat([7, 2], [40, 20])
    apart = KDE(0.5)(cloud(60, 2) + 100 * y[:, None], y)
    expected = -(40 * math.log(39 / 59) + 20 * math.log(19 / 59)) / 60
    assert apart.value == pytest.approx(expected, abs=1e-12)
    assert apart.ceiling == pytest.approx(expected, abs=1e-12)
    kept = KDE(0.5, leave_one_out=False)(cloud(60, 2) + 100 * y[:, None], y)
    assert kept.value == pytest.approx(-(2 / 3) * math.log(2 / 3) - math.log(1 / 3) / 3, abs=1e-12)
    codes = torch.as_tensor(y)
    assert KDE(0.5)(torch.as_tensor(cloud()), codes).value == pytest.approx(
        KDE(0.5)(cloud(), y).value, abs=1e-12
    )
    independent = KDE()(cloud(600, 1), np.arange(600) % 3)
    assert abs(independent.value) < 4 * independent.stderr


def test_a_single_label_cannot_be_left_out():
    y = np.array([0] * 59 + [1])
    with pytest.raises(ValueError, match="occurs once"):
        KDE()(cloud(), y)
    assert math.isfinite(KDE(leave_one_out=False)(cloud(), y).value)


# -- invariance ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", ["scott", "silverman", "likelihood"])
def test_units_of_columns_shift_the_entropy_and_keep_the_information(rule):
    x, y, scales = cloud(60, 2), cloud(60, 2, 1) + cloud(60, 2), np.array([1e-6, 1e3])
    moved = KDE(rule)(x * scales + 5 * scales)
    assert moved.value == pytest.approx(KDE(rule)(x).value + np.log(scales).sum(), abs=1e-8)
    assert KDE(rule)(x * scales, y * 7 - 1e3).value == pytest.approx(KDE(rule)(x, y).value, abs=1e-8)


def test_rotation_and_order_change_nothing_at_a_fixed_bandwidth():
    x = cloud()
    turned = (x @ ortho_group.rvs(3, random_state=0) + 10)[::-1].copy()
    assert KDE(0.5)(turned).value == pytest.approx(KDE(0.5)(x).value, abs=1e-10)
    assert kde_entropy(x * 9, 0.5 * 9) == pytest.approx(kde_entropy(x, 0.5) + 3 * math.log(9), abs=1e-10)


@pytest.mark.parametrize("rule", ["scott", "likelihood", 0.5])
def test_numpy_and_torch_agree(rule):
    x, y = cloud(), cloud(seed=1)
    for samples in ((x,), (x, y)):
        ours, theirs = KDE(rule)(*samples), KDE(rule)(*(torch.as_tensor(v) for v in samples))
        assert theirs.value == pytest.approx(ours.value, abs=1e-10)
        assert theirs.diagnostics == pytest.approx(dict(ours.diagnostics), abs=1e-7)


def test_information_is_symmetric():
    x, y = correlated(100, 0.5)
    assert KDE()(x, y).value == pytest.approx(KDE()(y, x).value, abs=1e-12)
    assert Permuted(KDE(), times=5)(x, y).value == pytest.approx(KDE()(x, y).value, abs=0.2)


@pytest.mark.parametrize("leave_one_out", [True, False])
@pytest.mark.parametrize("bandwidth", [0.6, [0.4, 0.9]])
def test_gradients(bandwidth, leave_one_out):
    z = torch.as_tensor(cloud(6, 2)).requires_grad_()
    h = torch.tensor(bandwidth, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda z, h: kde_entropy(z, h, leave_one_out), (z, h))
    equal = torch.zeros(4, 2, dtype=torch.float64, requires_grad=True)
    kde_entropy(equal, 1.0, leave_one_out).backward()
    assert torch.all(equal.grad == 0)


# -- what the estimate says ----------------------------------------------------------------------------------


def test_flags():
    assert KDE()(cloud(300)).flags == ()
    assert "high-dimension" in KDE()(cloud(100, 20)).flags
    twice = KDE("likelihood")(np.repeat(cloud(), 2, axis=0))
    assert set(twice.flags) >= {"duplicates", "not-converged"}, "the likelihood has no maximum"
    assert twice.diagnostics["repeated_rows"] == 60
    assert KDE()(torch.as_tensor(np.repeat(cloud(), 2, axis=0))).diagnostics["repeated_rows"] == 60
    constant = KDE()(np.hstack([cloud(), np.ones((60, 1))]))
    assert constant.flags == ("constant-columns",)
    assert constant.value == pytest.approx(KDE()(cloud()).value, abs=1e-12)
    assert "heavy-tails" in KDE()(np.random.default_rng(0).standard_cauchy((300, 1))).flags


def test_far_points_stay_finite():
    assert math.isfinite(KDE(1e-6)(cloud()).value)
    assert math.isfinite(KDE()(np.concatenate([cloud(), [[1e6, 0, 0]]])).value)


# -- bad input -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bandwidth", [0.0, -1.0, math.inf, math.nan, "best"])
def test_bad_bandwidth(bandwidth):
    with pytest.raises(ValueError, match="bandwidth"):
        KDE(bandwidth)
    if not isinstance(bandwidth, str):
        with pytest.raises(ValueError, match="positive and finite"):
            kde_entropy(cloud(), bandwidth)


@pytest.mark.parametrize("bandwidth", [None, True, (1.0, 2.0)])
def test_bandwidth_of_the_wrong_type(bandwidth):
    with pytest.raises(TypeError, match="bandwidth"):
        KDE(bandwidth)


@pytest.mark.parametrize("z", [np.zeros(3), np.zeros((1, 2)), np.zeros((3, 0)), [[1.0], [2.0]]])
def test_bad_points(z):
    with pytest.raises(ValueError, match=r"\(n, d\)"):
        kde_entropy(z, 1.0)


def test_bad_pairs():
    with pytest.raises(ValueError, match=r"\(3,\)"):
        kde_entropy(cloud(), np.ones(2))
    with pytest.raises(TypeError, match="tensor"):
        kde_entropy(cloud(), torch.tensor(1.0))
    with pytest.raises(ValueError, match="same n"):
        KDE()(cloud(), cloud(59))
    with pytest.raises(TypeError, match="both as"):
        KDE()(cloud(), torch.as_tensor(cloud()))
    with pytest.raises(ValueError, match="constant"):
        KDE()(cloud(), np.ones((60, 2)))
