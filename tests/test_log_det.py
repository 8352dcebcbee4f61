"""LDMI and LogDet entropy: closed forms, limits, gradients, names, and what the plug-in reads by chance."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import wishart

from estimators import LDMI, Gaussian, LogDetEntropy
from estimators import gaussian as G
from estimators.log_det import ldmi, log_det_entropy


@pytest.mark.parametrize("make", [np.asarray, torch.as_tensor])
@pytest.mark.parametrize("beta", [0.1, 1.0, 50.0])
def test_log_det_entropy_is_a_sum_over_eigenvalues(make, beta):
    cov = np.diag([0.0, 0.5, 2.0, 9.0])
    q, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((4, 4)))
    exact = 0.5 * np.log1p(beta * np.diag(cov)).sum()
    mixed = q @ cov @ q.T
    assert float(log_det_entropy(make((mixed + mixed.T) / 2), beta)) == pytest.approx(exact, abs=1e-12)


def test_log_det_entropy_tends_to_the_gaussian_entropy():
    cov, beta = wishart(df=9, scale=np.eye(5), seed=1).rvs(), 1e9
    shift = 5 / 2 * math.log(beta / (2 * math.pi * math.e))
    assert log_det_entropy(cov, beta) - shift == pytest.approx(G.entropy(cov), abs=1e-6)


@pytest.mark.parametrize("eps", [1e-6, 0.1, 10.0])
def test_ldmi_is_its_definition_by_the_error_covariance(eps):
    """The slow twin: the regularised linear prediction of x from y, and of y from x."""
    cov = wishart(df=9, scale=np.eye(5), seed=2).rvs()

    def by_errors(c: np.ndarray, dx: int) -> float:
        x, y, cross = c[:dx, :dx], c[dx:, dx:], c[:dx, dx:]
        error = x - cross @ np.linalg.solve(y + eps * np.eye(len(y)), cross.T)
        floor = eps * np.eye(dx)
        return 0.5 * (np.linalg.slogdet(x + floor)[1] - np.linalg.slogdet(error + floor)[1])

    assert ldmi(cov, 2, eps) == pytest.approx(by_errors(cov, 2), abs=1e-9)
    swapped = [2, 3, 4, 0, 1]
    assert ldmi(cov, 2, eps) == pytest.approx(by_errors(cov[np.ix_(swapped, swapped)], 3), abs=1e-9)


def test_ldmi_is_the_information_after_noise_and_falls_with_it():
    cov = wishart(df=9, scale=np.eye(5), seed=3).rvs()
    values = [ldmi(cov, 2, eps) for eps in (1e-9, 1e-3, 0.1, 1.0)]
    assert values == sorted(values, reverse=True)
    assert values[0] == pytest.approx(G.mutual_information(cov, 2), abs=1e-6)
    assert values[2] == pytest.approx(G.mutual_information(cov + 0.1 * np.eye(5), 2), abs=1e-12)


def test_gradients():
    cov = torch.as_tensor(wishart(df=9, scale=np.eye(4), seed=4).rvs()).requires_grad_()
    assert torch.autograd.gradcheck(lambda c: ldmi((c + c.T) / 2, 2, 0.1), cov, eps=1e-5, atol=1e-6)
    assert torch.autograd.gradcheck(lambda c: log_det_entropy((c + c.T) / 2, 2.0), cov, eps=1e-5, atol=1e-6)
    z = torch.randn(3, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    log_det_entropy(z.T @ z / 3, 1.0).backward()  # fewer samples than dimensions: still finite
    assert bool(torch.isfinite(z.grad).all())


@pytest.mark.parametrize(
    "call", [lambda v: ldmi(np.eye(2), 1, v), lambda v: log_det_entropy(np.eye(2), v), LDMI, LogDetEntropy]
)
@pytest.mark.parametrize("bad", [0.0, -1.0, math.inf, math.nan])
def test_the_floor_must_be_positive(call, bad):
    with pytest.raises(ValueError, match="must be a finite positive number"):
        call(bad)


def test_what_is_no_covariance_is_refused():
    with pytest.raises(ValueError, match="not symmetric"):
        ldmi(np.array([[1.0, 0.5], [0.0, 1.0]]), 1)
    with pytest.raises(ValueError, match="dx = 2 must split"):
        ldmi(np.eye(2), 2)
    with pytest.raises(ValueError, match="positive semidefinite"):
        log_det_entropy(np.diag([1.0, -9.0]))


# -- the estimators ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [5, 200])
def test_estimates_are_the_functions_of_the_sample_covariance(n, rng):
    x, y = rng.standard_normal((2, n, 4))
    joint = np.cov(np.column_stack([x, y]).T, bias=True)
    assert LDMI(0.1)(x, y).value == pytest.approx(ldmi(joint, 4, 0.1), abs=1e-10)
    assert LogDetEntropy(3.0)(x).value == pytest.approx(log_det_entropy(joint[:4, :4], 3.0), abs=1e-10)
    wide = rng.standard_normal((n, 30))
    cov = np.cov(wide.T, bias=True)
    assert LogDetEntropy(3.0)(wide).value == pytest.approx(log_det_entropy(cov, 3.0), abs=1e-10)


def test_names_say_which_quantity_it_is(rng):
    x, y = rng.standard_normal((2, 100, 2))
    assert LDMI()(x, y).quantity == "LDMI"
    assert LogDetEntropy()(x).quantity == "LogDet H"
    assert LDMI()(x, y).bound == LogDetEntropy()(x).bound == "none"


@pytest.mark.parametrize("beta", [0.5, 20.0])
def test_the_error_of_the_log_det_entropy_is_its_scatter(beta):
    rng = np.random.default_rng(5)
    made = [LogDetEntropy(beta)(rng.standard_normal((200, 4)) * [0.1, 0.5, 1, 3]) for _ in range(200)]
    assert np.mean([e.stderr for e in made]) == pytest.approx(np.std([e.value for e in made]), rel=0.25)


def test_invariances(rng):
    x, y = rng.standard_normal((2, 100, 3)) + rng.standard_normal((100, 1))
    q, _ = np.linalg.qr(rng.standard_normal((3, 3)))
    e, h = LDMI(0.01), LogDetEntropy(2.0)
    assert e(x @ q + 5, y).value == pytest.approx(e(x, y).value, abs=1e-9)
    assert e(y, x).value == pytest.approx(e(x, y).value, abs=1e-12)
    assert h(x @ q + 5).value == pytest.approx(h(x).value, abs=1e-9)
    # Units matter, and both say how: a variance beside those of the data.
    assert LDMI(0.01 * 4)(2 * x, 2 * y).value == pytest.approx(e(x, y).value, abs=1e-9)
    assert LogDetEntropy(2.0 / 4)(2 * x).value == pytest.approx(h(x).value, abs=1e-9)
    assert e(2 * x, 2 * y).value != pytest.approx(e(x, y).value, abs=1e-4)
    assert e(torch.as_tensor(x), torch.as_tensor(y)).value == pytest.approx(e(x, y).value, abs=1e-12)


def test_wide_independent_data_are_flagged(rng):
    x, y = rng.standard_normal((2, 2000, 64))
    e = LDMI()(x, y)
    assert "small-sample" in e.flags
    assert e.diagnostics["chance"] == pytest.approx(64 * 64 / 4000, rel=1e-5)
    assert (
        abs(e.value - e.diagnostics["chance"]) < 0.15
    )  # the next order is chance (dx + dy) / 2n, 0.03 of 1.02
    assert LDMI()(x[:, :2], x[:, :2] + y[:, :2]).flags == ()
    assert LDMI()(x[:, :1], y[:, :1]).flags == ()


def test_ldmi_and_the_gaussian_estimate_agree_on_wide_gaussian_data():
    """20 + 20 dimensions, rho = 0.5, n = 2000: the truth is 2.877 and the plug-in adds about 20 * 20 / 4000 = 0.1 or more."""
    rng = np.random.default_rng(6)
    x, noise = rng.standard_normal((2, 2000, 20))
    y = 0.5 * x + math.sqrt(0.75) * noise
    truth = -10 * math.log(0.75)
    gauss, plug_in = Gaussian()(x, y), LDMI()(x, y)
    assert abs(gauss.value - truth) <= 4 * gauss.stderr
    assert plug_in.value == pytest.approx(gauss.value - gauss.diagnostics["correction"], abs=1e-4)


def test_degenerate_input(rng):
    x, y = rng.standard_normal((2, 100, 2))
    assert math.isfinite(LDMI()(x, x).value)
    assert "constant-columns" in LDMI()(np.column_stack([x, np.ones(100)]), y).flags
    assert "constant-columns" in LogDetEntropy()(np.column_stack([x, np.ones(100)])).flags
    assert "small-sample" in LogDetEntropy()(x[:4, [0, 1]].repeat(3, axis=1)).flags
    with pytest.raises(ValueError, match="at least n = 4"):
        LDMI()(x[:3], y[:3])
