"""Kolchinsky-Tracey bounds: truth by quadrature and Monte Carlo, twin, invariance, degenerate input."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
import torch
from reference_mixture import gaussian_information, monte_carlo_information, pairwise_entropy
from scipy.integrate import quad
from scipy.stats import norm, ortho_group

from estimators import KolchinskyTracey, mixture, parse
from estimators.mixture import entropy_bounds, information_bounds

UNIT = 0.5 * math.log(2 * math.pi * math.e)


def two_gaussians(delta: float) -> np.ndarray:
    return np.array([[0.0], [delta]])


def entropy_by_quadrature(delta: float) -> float:
    def integrand(t: float) -> float:
        p = 0.5 * (norm.pdf(t) + norm.pdf(t - delta))
        return -p * math.log(p)

    return quad(integrand, -12, 12 + delta, points=[0, delta / 2, delta], limit=400, epsabs=1e-12)[0]


def cloud(n: int = 40, d: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, d))


# -- closed forms --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("delta", [0.0, 0.5, 2.0, 4.0, 10.0])
def test_two_gaussians_are_bracketed_and_the_bounds_have_a_closed_form(delta):
    low, high = entropy_bounds(two_gaussians(delta), 1.0)
    truth = entropy_by_quadrature(delta)
    assert low - 1e-10 <= truth <= high + 1e-10
    for side, c in ((low, 8), (high, 2)):
        assert side == pytest.approx(UNIT - math.log((1 + math.exp(-(delta**2) / c)) / 2), abs=1e-12)


def test_the_published_sandwich():
    """Printed digits of the table; the truth is quadrature."""
    for delta, low, truth, high in [(2, 1.6380, 1.7558, 1.9852), (4, 1.9852, 2.0517, 2.1118)]:
        assert [float(v) for v in entropy_bounds(two_gaussians(delta), 1.0)] == pytest.approx(
            [low, high], abs=6e-5
        )
        assert entropy_by_quadrature(delta) == pytest.approx(truth, abs=6e-5)


def test_equal_means_are_one_gaussian_and_distant_means_reach_log_n():
    for low_high in (entropy_bounds(np.zeros((7, 3)), 2.0), entropy_bounds(np.full((7, 3), 1e6 / 3), 2.0)):
        assert low_high == pytest.approx((3 * (UNIT + 0.5 * math.log(2)),) * 2, abs=1e-12)
    far = np.arange(11.0)[:, None] * 1e5
    assert information_bounds(far, 1.0) == pytest.approx((math.log(11),) * 2, abs=1e-12)


# recorded standard errors of the 4000 draws: 0.0102 (d = 1), 0.0187 (d = 3), 0.0231 (d = 10)
@pytest.mark.parametrize(("d", "sigma"), [(1, 1.0), (3, 0.5), (10, 1.0)])
def test_monte_carlo_truth_of_the_mixture_lies_between(d, sigma):
    h = cloud(60, d)
    e = KolchinskyTracey(sigma)(h)
    truth, stderr = monte_carlo_information(h, sigma, 4000, seed=1)
    low, high = e.interval
    assert low - 4 * stderr <= truth <= high + 4 * stderr
    assert d == 1 or low < truth < high  # above d = 1 the bracket is far wider than the error
    assert stderr < 0.03


# -- the slow twin -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("block", [1, 7, 512])
@pytest.mark.parametrize("reach", [0.0, math.inf])
def test_twin(block, reach, monkeypatch):
    """Every block size, and both ways of computing distances."""
    monkeypatch.setattr(mixture, "_BLOCK", block)
    monkeypatch.setattr(mixture, "_GEMM_REACH", reach)
    h = cloud(23, 4)
    low, high = entropy_bounds(h, 0.7)
    assert low == pytest.approx(pairwise_entropy(h, 0.7, "bhattacharyya"), abs=1e-11)
    assert high == pytest.approx(pairwise_entropy(h, 0.7, "kl"), abs=1e-11)


def test_small_distances_far_from_the_centre_survive(monkeypatch):
    """Two tight clusters 1e9 noise units apart: a plain matrix product does not resolve them."""
    h = np.concatenate([cloud(10, 2), cloud(10, 2, seed=1) + 1e9])
    halves = [
        np.mean(sides)
        for sides in zip(*(information_bounds(part, 1.0) for part in (h[:10], h[10:])), strict=True)
    ]
    expected = pytest.approx(np.array(halves) + math.log(2), abs=1e-6)
    assert np.array(information_bounds(h, 1.0)) == expected
    monkeypatch.setattr(mixture, "_GEMM_REACH", math.inf)
    assert np.array(information_bounds(h, 1.0)) != expected


def test_gaussian_upper_bound_is_used_where_it_is_tighter():
    h = cloud(200, 10)
    e = KolchinskyTracey(1.0)(h)
    assert e.diagnostics["gaussian_upper"] == pytest.approx(gaussian_information(h, 1.0), abs=1e-10)
    assert e.diagnostics["kl_upper"] > e.diagnostics["gaussian_upper"] == e.interval[1]
    wide = cloud(8, 30)  # more columns than rows
    assert KolchinskyTracey(3.0)(wide).diagnostics["gaussian_upper"] == pytest.approx(
        gaussian_information(wide, 3.0), abs=1e-10
    )
    assert e.diagnostics["log_tr_cov"] == pytest.approx(math.log(np.trace(np.cov(h.T, bias=True))), abs=1e-12)


# -- labels --------------------------------------------------------------------------------------------------


def test_information_about_labels_is_certified():
    """I(T;Y) = I(T;X) - sum_y p_y I(T;X|y), each term by Monte Carlo."""
    h = np.concatenate([cloud(30, 2), cloud(20, 2, seed=1) + 2.0])
    y = np.repeat([5, -3], [30, 20])
    low, high = KolchinskyTracey(1.0)(h, y).interval
    parts = [monte_carlo_information(part, 1.0, 3000, seed=s) for s, part in enumerate((h, h[:30], h[30:]))]
    truth = parts[0][0] - 0.6 * parts[1][0] - 0.4 * parts[2][0]
    stderr = math.sqrt(parts[0][1] ** 2 + (0.6 * parts[1][1]) ** 2 + (0.4 * parts[2][1]) ** 2)
    assert low - 4 * stderr <= truth <= high + 4 * stderr


def test_label_interval_is_the_crossed_difference():
    h, y = cloud(50, 2), np.random.default_rng(2).integers(0, 3, 50)
    whole = KolchinskyTracey(0.8)(h).interval
    parts = [(np.mean(y == c), KolchinskyTracey(0.8)(h[y == c]).interval) for c in range(3)]
    e = KolchinskyTracey(0.8)(h, y)
    assert e.quantity == "I(T;Y)"
    assert e.interval[0] == pytest.approx(whole[0] - sum(p * i[1] for p, i in parts), abs=1e-12)
    assert e.interval[1] == pytest.approx(whole[1] - sum(p * i[0] for p, i in parts), abs=1e-12)
    assert e.interval[0] < 0, "the sides are not clipped"


def test_separated_classes_reach_the_label_entropy():
    y = np.repeat([0, 1, 2], [10, 20, 30])
    e = KolchinskyTracey(0.1)(np.stack([y * 50.0, cloud(60, 1)[:, 0] * 1e-9], axis=1), y)
    p = np.array([1, 2, 3]) / 6
    assert e.interval == pytest.approx((-np.sum(p * np.log(p)),) * 2, abs=1e-9)
    assert e.ceiling == pytest.approx(e.diagnostics["label_entropy"]) == pytest.approx(-np.sum(p * np.log(p)))


# -- invariance ----------------------------------------------------------------------------------------------


def test_orthogonal_maps_and_shifts_change_nothing():
    h = cloud(40, 5)
    turned = h @ ortho_group.rvs(5, random_state=3) + 1e5 * np.arange(5)
    assert KolchinskyTracey(0.5)(turned).interval == pytest.approx(
        KolchinskyTracey(0.5)(h).interval, abs=1e-8
    )


@pytest.mark.parametrize("power", [-200, -20, 20, 200])
def test_scaling_data_and_noise_together_changes_nothing(power):
    h = cloud()
    assert KolchinskyTracey(2.0**power)(h * 2.0**power).interval == KolchinskyTracey(1.0)(h).interval


def test_more_noise_means_less_information():
    sides = np.array([KolchinskyTracey(s)(cloud()).interval for s in np.geomspace(1e-3, 1e3, 25)])
    assert np.all(np.diff(sides, axis=0) <= 1e-12)
    assert sides[0] == pytest.approx([math.log(40)] * 2, abs=1e-9)
    assert sides[-1] == pytest.approx([0, 0], abs=1e-5)


def test_repeating_every_row_changes_nothing():
    h = cloud()
    doubled = KolchinskyTracey(0.5)(np.repeat(h, 2, axis=0))
    assert doubled.interval == pytest.approx(KolchinskyTracey(0.5)(h).interval, abs=1e-12)


def test_numpy_and_torch_agree():
    h, y = cloud(), np.arange(40) % 3
    for arguments in ((h,), (h, y)):
        a = KolchinskyTracey(0.5)(*arguments)
        b = KolchinskyTracey(0.5)(*(torch.as_tensor(v) for v in arguments))
        assert a.interval == pytest.approx(b.interval, abs=1e-12)
        assert a.diagnostics == pytest.approx(dict(b.diagnostics), abs=1e-12)
    mixed = KolchinskyTracey(0.5)(torch.as_tensor(h), y)
    assert mixed.interval == pytest.approx(KolchinskyTracey(0.5)(h, y).interval, abs=1e-12)


def test_gradients(monkeypatch):
    monkeypatch.setattr(mixture, "_BLOCK", 2)
    means = torch.as_tensor(cloud(5, 2)).requires_grad_()
    variance = torch.tensor(0.6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(entropy_bounds, (means, variance))
    equal = torch.zeros(4, 2, dtype=torch.float64, requires_grad=True)
    sum(entropy_bounds(equal, 1.0)).backward()
    assert torch.all(equal.grad == 0)


# -- what the estimate says ----------------------------------------------------------------------------------


def test_sides():
    low, high = KolchinskyTracey(0.5)(cloud()), KolchinskyTracey(0.5, side="upper")(cloud())
    assert (low.bound, high.bound) == ("lower", "upper")
    assert low.interval == high.interval == (low.value, high.value)
    assert low.level is None
    assert low.stderr is None
    assert low.ceiling == math.log(40)


def test_saturation_is_flagged():
    assert "saturated" in KolchinskyTracey(1e-3)(cloud()).flags
    assert "saturated" not in KolchinskyTracey(1.0)(cloud()).flags
    assert KolchinskyTracey(1e-3)(cloud()).value <= math.log(40)


def test_constant_columns_and_collapse():
    h = cloud()
    e = KolchinskyTracey(0.5)(np.concatenate([h, np.full((40, 2), 1e6)], axis=1))
    assert e.flags == ("constant-columns",)
    assert e.diagnostics["dropped"] == 2
    assert e.interval == KolchinskyTracey(0.5)(h).interval
    collapsed = KolchinskyTracey(0.5)(np.full((40, 3), 0.1))
    assert "collapsed" in collapsed.flags
    assert collapsed.interval == (0.0, 0.0)
    assert collapsed.diagnostics["log_tr_cov"] == -math.inf


def test_names_survive():
    e = KolchinskyTracey(sigma=0.25, side="upper")
    assert parse(repr(e)) == e == pickle.loads(pickle.dumps(e))
    assert hash(parse(repr(e))) == hash(e)
    assert e(cloud()).method == repr(e)


# -- bad input -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sigma", [0.0, -1.0, math.inf, math.nan])
def test_noise_must_be_declared(sigma):
    with pytest.raises(ValueError, match=r"infinite I\(X;Z\)"):
        KolchinskyTracey(sigma)


def test_there_is_no_default_noise():
    with pytest.raises(TypeError, match="sigma"):
        KolchinskyTracey()
    with pytest.raises(ValueError, match="side"):
        KolchinskyTracey(1.0, side="both")


@pytest.mark.parametrize("variance", [0.0, -1.0, math.inf, math.nan])
def test_bad_variance(variance):
    with pytest.raises(ValueError, match="variance"):
        entropy_bounds(cloud(), variance)


@pytest.mark.parametrize("means", [np.zeros(3), np.zeros((0, 2)), np.zeros((2, 0)), np.zeros((2, 2, 2))])
def test_bad_means(means):
    with pytest.raises(ValueError, match=r"\(n, d\)"):
        entropy_bounds(means, 1.0)


def test_bad_samples():
    estimator, h = KolchinskyTracey(1.0), cloud()
    with pytest.raises(ValueError, match="NaN"):
        estimator(np.where(h > 2, np.nan, h))
    with pytest.raises(ValueError, match="same n"):
        estimator(h, np.arange(39) % 2)
    with pytest.raises(TypeError, match="integer vector"):
        estimator(h, np.zeros(40))
    with pytest.raises(ValueError, match="distinct"):
        estimator(h, np.zeros(40, dtype=int))
    with pytest.raises(ValueError, match="distinct"):
        estimator(torch.as_tensor(h), torch.zeros(40, dtype=torch.int64))
    with pytest.raises(ValueError, match="same n"):
        estimator(torch.as_tensor(h), torch.arange(39) % 2)
    with pytest.raises(TypeError, match=r"on device"):
        estimator(torch.as_tensor(h), torch.zeros(40, dtype=torch.int64, device="meta"))
