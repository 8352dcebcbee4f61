"""Sample propagation and leave-one-out bounds: quadrature, coverage with recorded scatter, twins, degenerate input."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from reference_mixture import leave_one_out
from scipy.integrate import quad
from scipy.stats import norm, ortho_group

from estimators import KolchinskyTracey, LeaveOneOut, SamplePropagation, _pairs
from estimators.leave_one_out import leave_one_out_bound
from estimators.mixture_covariances import LowRank, log_densities
from estimators.score_bounds import infonce_bound

UNIT = 0.5 * math.log(2 * math.pi * math.e)
BOTH = (SamplePropagation(0.5), LeaveOneOut(0.5), LeaveOneOut(0.5, side="lower"))


def cloud(n: int = 40, d: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, d))


def mixture_entropy(means: np.ndarray, variances: np.ndarray) -> float:
    def integrand(t: float) -> float:
        p = norm.pdf(t, means, np.sqrt(variances)).mean()
        return -p * math.log(p + 1e-300)

    reach = 12 * math.sqrt(variances.max())
    ends = means.min() - reach, means.max() + reach
    return quad(integrand, *ends, points=np.unique(means), limit=500, epsabs=1e-11)[0]


MEANS = np.array([-2.0, -0.5, 0.0, 0.3, 1.0, 3.0])
VARIANCES = np.array([0.1, 1.0, 2.0, 0.2, 0.5, 1.0])


# -- sample propagation: truth -------------------------------------------------------------------------------


# Recorded: truth 0.3369 by quadrature (1.7558 - 1.4189), stderr 0.0039, z = 2.0
def test_the_published_entropy():
    """Two unit Gaussians at distance 2, each twice, since n must be at least 4: entropy 1.7558."""
    e = SamplePropagation(1.0, draws=5000)(np.array([[0.0], [2.0], [0.0], [2.0]]))
    truth = mixture_entropy(np.array([0.0, 2.0]), np.ones(2))
    assert truth == pytest.approx(1.7558, abs=6e-5)
    assert abs(e.value - (truth - UNIT)) < 4 * e.stderr
    assert abs(e.diagnostics["entropy"] - truth) < 4 * e.stderr
    assert 0.003 < e.stderr < 0.005


@pytest.mark.parametrize("labelled", [False, True])
def test_coverage(labelled):
    """100 seeds against quadrature, components of six variances: bias, and the standard error against the scatter."""
    variances = VARIANCES + 0.25
    y = np.array([0, 1, 1, 0, 1, 0])
    x, covariances = MEANS[:, None], VARIANCES[:, None]
    noise = np.mean(UNIT + 0.5 * np.log(variances))
    total = mixture_entropy(MEANS, variances)
    truth = total - noise
    if labelled:
        truth = total - sum(mixture_entropy(MEANS[y == c], variances[y == c]) for c in (0, 1)) / 2
    labels = (y,) if labelled else ()
    found = [
        SamplePropagation(0.5, draws=20, seed=s)(x, *labels, covariances=covariances) for s in range(100)
    ]
    values, errors = (np.array([getattr(e, name) for e in found]) for name in ("value", "stderr"))
    assert abs(values.mean() - truth) < 4 * values.std(ddof=1) / 10
    assert np.mean(errors) == pytest.approx(values.std(ddof=1), rel=4 / math.sqrt(2 * 99))
    entropies = np.array([e.diagnostics["entropy"] for e in found])
    assert abs(entropies.mean() - total) < 4 * entropies.std(ddof=1) / 10


def test_plug_in_is_too_low_for_the_law_of_the_inputs():
    """n = 20 from N(0, 1), sigma = 0.5: truth 0.5 log 5 = 0.805; recorded mean over 100 samples 0.709, sd 0.133."""
    values = [SamplePropagation(0.5, seed=s)(cloud(20, 1, s)).value for s in range(100)]
    z = (np.mean(values) - 0.5 * math.log(5)) / (np.std(values, ddof=1) / 10)
    assert z < -4


@pytest.mark.parametrize("form", ["none", "diagonal", "full", "low-rank"])
def test_between_the_certain_sides(form):
    rng, x = np.random.default_rng(1), cloud()
    factors = rng.standard_normal((40, 3, 1))
    covariances = {
        "none": None,
        "diagonal": rng.uniform(0, 1, (40, 3)),
        "full": factors @ factors.transpose(0, 2, 1),
        "low-rank": LowRank(factors),
    }[form]
    sides = KolchinskyTracey(0.5)(x, covariances=covariances)
    e = SamplePropagation(0.5)(x, covariances=covariances)
    assert sides.value + 4 * e.stderr < e.value < sides.diagnostics["kl_upper"] - 4 * e.stderr
    assert (
        e.value < sides.diagnostics["gaussian_upper"] + 4 * e.stderr
    )  # tight where the law is nearly Gaussian
    if form == "low-rank":  # the same law by another form and another noise
        other = SamplePropagation(0.5, seed=1)(x, covariances=factors @ factors.transpose(0, 2, 1))
        assert abs(e.value - other.value) < 4 * math.hypot(e.stderr, other.stderr)


# -- leave one out: truth ------------------------------------------------------------------------------------


def test_bounds_hold_in_expectation():
    """N(0, I) in 3 dimensions, sigma = 0.5, K = 100: 100 samples, recorded gaps 0.14 and -0.19, sd 0.19 and 0.15.

    Both gaps are more than 4 standard errors of the mean.
    """
    truth = 1.5 * math.log(5)
    for side, sign in (("upper", 1), ("lower", -1)):
        found = [LeaveOneOut(0.5, side, seed=s)(cloud(100, 3, s)) for s in range(100)]
        values = np.array([e.value for e in found])
        spread = values.std(ddof=1)
        assert sign * (values.mean() - truth) > 4 * spread / 10
        assert np.mean([e.stderr for e in found]) == pytest.approx(spread, rel=4 / math.sqrt(2 * 99))
        assert found[0].bound == side


def test_many_near_inputs_close_the_gap():
    """K = 2000 in one dimension, I = 0.5 log 2; recorded z 0.54 and 0.57."""
    low, high = (LeaveOneOut(1.0, side)(cloud(2000, 1)) for side in ("lower", "upper"))
    for e in (low, high):
        assert abs(e.value - 0.5 * math.log(2)) < 4 * e.stderr < 0.1
    assert 0 < high.value - low.value < 0.002


@pytest.mark.parametrize("numbers", [1, 100, 1 << 20])
def test_twin(numbers, monkeypatch):
    monkeypatch.setattr(_pairs, "_NUMBERS", numbers)
    means = cloud(12, 2)
    logs = log_densities(means + 0.5 * cloud(12, 2, 1), means, 0.25)
    low, high = leave_one_out(logs)
    assert leave_one_out_bound(logs) == pytest.approx(high, abs=1e-12)
    assert infonce_bound(logs) == pytest.approx(low, abs=1e-12)
    assert float(leave_one_out_bound(torch.as_tensor(logs))) == pytest.approx(high, abs=1e-12)
    sides = LeaveOneOut(0.5)(means).diagnostics
    monkeypatch.undo()
    whole = LeaveOneOut(0.5)(means).diagnostics
    assert sides == pytest.approx(dict(whole), abs=1e-12)


def test_pure_bound_is_the_estimator_and_has_gradients():
    means = torch.as_tensor(cloud(6, 2)).requires_grad_()
    white = torch.as_tensor(cloud(6, 2, 1))

    def bound(m, s):
        return leave_one_out_bound(log_densities(m + s**0.5 * white, m, s))

    assert torch.autograd.gradcheck(
        bound, (means, torch.tensor(0.4, dtype=torch.float64, requires_grad=True))
    )
    for shape in ((3, 2), (1, 1), (3,)):
        with pytest.raises(ValueError, match=r"\(K, K\)"):
            leave_one_out_bound(np.zeros(shape))


# -- both ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("estimator", BOTH, ids=repr)
def test_equal_inputs_carry_nothing(estimator):
    collapsed = estimator(np.full((10, 3), 0.1))
    assert collapsed.value == pytest.approx(0, abs=1e-12)
    assert "collapsed" in collapsed.flags
    equal = estimator(np.zeros((10, 3)), covariances=np.full((10, 3), 2.0))
    assert equal.value == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("estimator", BOTH, ids=repr)
def test_distant_inputs_reach_the_ceiling(estimator):
    e = estimator(np.arange(10.0)[:, None] * 1e5)
    assert "saturated" in e.flags
    if e.bound == "upper":
        assert e.ceiling is None
        assert e.value > 1e8, "the upper side grows with the distances"
        assert "low-effective-sample" in e.flags
    else:
        assert e.value == pytest.approx(math.log(10), abs=1e-12)
        assert e.ceiling == math.log(10)


def test_separated_labels_reach_the_label_entropy():
    y = np.repeat([3, 8], [10, 30])
    e = SamplePropagation(0.5)(cloud() + 1e3 * y[:, None], y)
    p = np.array([0.25, 0.75])
    assert e.value == pytest.approx(-np.sum(p * np.log(p)), abs=1e-12)
    assert e.ceiling == pytest.approx(e.value, abs=1e-12)
    assert e.quantity == "I(T;Y)"


@pytest.mark.parametrize("estimator", BOTH, ids=repr)
def test_scale_and_shift_change_nothing(estimator):
    import dataclasses

    x = cloud()
    scaled = dataclasses.replace(estimator, sigma=0.5 * 8)(x * 8 + 3)
    assert scaled.value == pytest.approx(estimator(x).value, abs=1e-10)
    turned = estimator(x @ ortho_group.rvs(3, random_state=0))
    assert abs(turned.value - estimator(x).value) < 4 * math.sqrt(2) * max(turned.stderr, estimator(x).stderr)
    constant = estimator(np.hstack([x, np.ones((40, 1))]))
    assert constant.flags == ("constant-columns",)
    assert constant.value == pytest.approx(estimator(x).value, abs=1e-12)


def test_entropy_shifts_with_the_scale():
    a, b = SamplePropagation(0.5)(cloud()), SamplePropagation(1.5)(3 * cloud())
    assert b.diagnostics["entropy"] == pytest.approx(a.diagnostics["entropy"] + 3 * math.log(3), abs=1e-10)


@pytest.mark.parametrize("estimator", BOTH, ids=repr)
def test_numpy_and_torch_agree(estimator):
    x, factors = cloud(), cloud(120, 2).reshape(40, 3, 2)
    channels = {
        "none": (None, None),
        "diagonal": (factors[:, :, 0] ** 2, torch.as_tensor(factors[:, :, 0] ** 2)),
        "low-rank": (LowRank(factors), LowRank(torch.as_tensor(factors))),
    }
    for ours, theirs in channels.values():
        a, b = estimator(x, covariances=ours), estimator(torch.as_tensor(x), covariances=theirs)
        assert b.value == pytest.approx(a.value, abs=1e-10)
        assert b.stderr == pytest.approx(a.stderr, abs=1e-10)


def test_seeds_differ_and_blocks_do_not(monkeypatch):
    assert SamplePropagation(0.5)(cloud()).value != SamplePropagation(0.5, seed=1)(cloud()).value
    assert LeaveOneOut(0.5)(cloud()).value != LeaveOneOut(0.5, seed=1)(cloud()).value
    y = np.arange(40) % 3
    whole = SamplePropagation(0.5)(cloud(), y)
    monkeypatch.setattr(_pairs, "_NUMBERS", 100)
    parts = SamplePropagation(0.5)(cloud(), y)
    assert (parts.value, parts.stderr) == pytest.approx((whole.value, whole.stderr), abs=1e-12)


# -- bad input -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", [SamplePropagation, LeaveOneOut])
def test_bad_settings(cls):
    for sigma in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(ValueError, match=r"infinite I\(X;Z\)"):
            cls(sigma)
    with pytest.raises(TypeError, match="sigma"):
        cls()
    with pytest.raises(ValueError, match="side"):
        LeaveOneOut(1.0, side="both")
    with pytest.raises(ValueError, match="draws"):
        SamplePropagation(1.0, draws=1)


@pytest.mark.parametrize("estimator", BOTH, ids=repr)
def test_bad_covariances(estimator):
    for bad, message in [
        (-np.ones((40, 3)), "negative variance"),
        (np.ones((39, 3)), "do not fit"),
        (-9 * np.stack([np.eye(3)] * 40), "not positive definite"),
        (LowRank(np.ones((40, 2, 1))), "factors of shape"),
    ]:
        with pytest.raises(ValueError, match=message):
            estimator(cloud(), covariances=bad)
