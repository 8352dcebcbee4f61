"""Probe information: truth by quadrature, a bound that holds, invariance, a second solver, bad input."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.optimize import minimize
from scipy.stats import norm

from estimators import ProbeInformation, parse, probe


def two_gaussians(n: int, mu: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """X | y ~ N(+-mu, 1): the posterior is logistic in x, so the probe can be exact."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, n)
    return (mu * (2 * y - 1) + rng.standard_normal(n))[:, None], y


def information_of_two_gaussians(mu: float) -> float:
    def integrand(t: float) -> float:
        p = 0.5 * (norm.pdf(t - mu) + norm.pdf(t + mu))
        return -p * math.log(p)

    h = quad(integrand, -12 - mu, 12 + mu, points=[-mu, 0, mu], limit=400, epsabs=1e-12)[0]
    return h - 0.5 * math.log(2 * math.pi * math.e)


def blobs(
    n: int = 300, d: int = 5, classes: int = 3, scale: float = 0.7, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, classes, n)
    return scale * rng.standard_normal((classes, d))[y] + rng.standard_normal((n, d)), y


# -- truth ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mu", [0.25, 1.0, 2.0])
def test_two_gaussians(mu):
    """At n = 4000 a probe of two parameters loses about 2 / 2n = 0.0003 nats: the value is the truth within its error."""
    e = ProbeInformation()(*two_gaussians(4000, mu, seed=int(10 * mu)))
    truth = information_of_two_gaussians(mu)
    assert abs(e.value - truth) <= 4 * e.stderr
    assert 0.001 < e.stderr < 0.01


def test_stderr_is_the_scatter_over_data_sets():
    """The reported error is that of 120 fresh data sets, whose own standard deviation is known to 1 / sqrt(240)."""
    found = [ProbeInformation()(*two_gaussians(300, 1.0, seed=s)) for s in range(120)]
    values, errors = np.array([e.value for e in found]), np.array([e.stderr for e in found])
    assert abs(math.log(values.std(ddof=1) / errors.mean())) <= 4 / math.sqrt(240)
    assert values.mean() <= information_of_two_gaussians(1.0) + 4 * values.std() / math.sqrt(120)


def test_a_nonlinear_dependence_is_only_bounded():
    rng = np.random.default_rng(3)
    x = rng.standard_normal((2000, 1))
    e = ProbeInformation()(x, (np.abs(x[:, 0]) > 0.6745).astype(int))
    assert e.bound == "lower"
    assert abs(e.value) < 0.02, "a linear probe sees nothing of log 2 nats"


@pytest.mark.parametrize("classes", [2, 10])
def test_independent_labels_give_at_most_zero(classes):
    rng = np.random.default_rng(classes)
    found = [
        ProbeInformation()(rng.standard_normal((400, 32)), rng.integers(0, classes, 400)) for _ in range(5)
    ]
    assert all(e.value <= 4 * e.stderr for e in found)
    assert np.mean([e.value for e in found]) > -0.1, "over-confidence is bounded by the chosen penalty"


def test_an_unpenalised_probe_is_overconfident_and_the_choice_mends_it():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((200, 60)), rng.integers(0, 2, 200)
    assert ProbeInformation(l2=1e-6)(x, y).value < -0.5
    assert ProbeInformation()(x, y).value > -0.1


def test_perfect_labels_come_near_the_label_entropy():
    x, y = blobs(400, 8, 4, scale=0.0)
    e = ProbeInformation()(np.eye(4)[y] + 0.01 * x[:, :4], y)
    assert e.ceiling - 0.02 < e.value <= e.ceiling
    assert e.diagnostics["accuracy"] == 1.0
    assert "not-converged" not in e.flags


def test_never_above_the_label_entropy():
    y = np.arange(40) % 4
    for l2 in (None, 0.0, 1e-9):
        e = ProbeInformation(l2=l2)(np.eye(4)[y] * 1e6, y)
        assert e.value <= e.ceiling == pytest.approx(math.log(4))


def test_diagnostics_add_up():
    x, y = blobs()
    e = ProbeInformation()(x, y)
    p = np.bincount(y) / len(y)
    assert e.ceiling == pytest.approx(-np.sum(p * np.log(p)), abs=1e-12)
    assert e.value == pytest.approx(
        e.diagnostics["label_entropy"] - e.diagnostics["cross_entropy"], abs=1e-12
    )
    assert e.ceiling <= math.log(3)


# -- the fit -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(200, 5), (40, 90)])
@pytest.mark.parametrize("l2", [1e-3, 1.0])
@pytest.mark.parametrize(("tolerance", "error"), [(None, 3e-2), (1e-7, 1e-5)])
def test_against_a_second_solver(shape, l2, tolerance, error, monkeypatch):
    """The same objective in the original coordinates, by scipy; rows of fewer samples than columns included."""
    if tolerance is not None:
        monkeypatch.setattr(probe, "_GRADIENT", tolerance)
    x, y = blobs(*shape, classes=3)
    test, _ = blobs(30, shape[1], seed=1)
    z, t = (x - x.mean(0)) / x.std(0), (test - x.mean(0)) / x.std(0)

    def objective(w):
        w = w.reshape(-1, 3)
        logits = z @ w[:-1] + w[-1]
        shifted = np.exp(logits - logits.max(1, keepdims=True))
        p = shifted / shifted.sum(1, keepdims=True)
        residual = (p - np.eye(3)[y]) / len(y)
        loss = -np.log(p[np.arange(len(y)), y]).mean() + l2 / 2 * np.sum(w[:-1] ** 2)
        return loss, np.concatenate([z.T @ residual + l2 * w[:-1], residual.sum(0)[None]]).ravel()

    options = {"gtol": 1e-10, "ftol": 1e-15, "maxiter": 5000}
    w = minimize(
        objective, np.zeros((shape[1] + 1) * 3), jac=True, method="L-BFGS-B", options=options
    ).x.reshape(-1, 3)
    logits = t @ w[:-1] + w[-1]
    expected = np.exp(logits - logits.max(1, keepdims=True))
    expected /= expected.sum(1, keepdims=True)
    uniform = 1 / (len(x) + 3)
    log_q, (used, settled) = probe._log_predictive(x, y, test, 3, l2, 0)
    assert settled
    assert used == l2
    np.testing.assert_allclose(np.exp(log_q), (1 - uniform) * expected + uniform / 3, atol=error)
    np.testing.assert_allclose(np.exp(log_q).sum(1), 1, atol=1e-12)


def test_a_fit_cut_short_is_flagged(monkeypatch):
    monkeypatch.setattr(probe, "_ITERATIONS", 2)
    assert "not-converged" in ProbeInformation()(*blobs()).flags


def test_folds_are_balanced_within_every_class():
    y = np.random.default_rng(0).integers(0, 4, 203)
    fold = probe._stratified(y, 5, seed=0)
    counts = np.array([np.bincount(fold[y == c], minlength=5) for c in range(4)])
    assert np.all(np.ptp(counts, axis=1) <= 1)
    assert np.ptp(np.bincount(fold)) <= 1
    assert not np.array_equal(fold, probe._stratified(y, 5, seed=1))


# -- the explicit split --------------------------------------------------------------------------------------


def test_explicit_split():
    x, y = two_gaussians(6000, 1.0, seed=5)
    value = ProbeInformation().held_out(x[:3000], y[:3000], x[3000:], y[3000:]).value
    # recorded over 200 pairs of data sets: mean 0.33698, standard deviation 0.0094
    assert abs(value - information_of_two_gaussians(1.0)) <= 4 * 0.0094
    split = (x[:3000], y[:3000], x[3000:], y[3000:])
    assert ProbeInformation().held_out(*(torch.as_tensor(v) for v in split)).value == value


def test_a_class_without_training_samples_costs_a_finite_loss():
    x, y = blobs(200, 3, 2)
    test_y = np.array([0, 1, 7])
    value = ProbeInformation(l2=0.1).held_out(x, y, x[:3], test_y).value
    unseen = -math.log(1 / (200 + 3) / 3)  # the uniform share is all it gets
    seen = probe._log_predictive(x, y, x[:3], 3, 0.1, 0)[0]
    expected = math.log(3) - (unseen - seen[0, 0] - seen[1, 1]) / 3
    assert value == pytest.approx(expected, abs=1e-9)


def test_bad_splits():
    x, y = blobs()
    with pytest.raises(ValueError, match="same number of columns"):
        ProbeInformation().held_out(x, y, x[:, :2], y)
    with pytest.raises(ValueError, match="same n"):
        ProbeInformation().held_out(x, y, x, y[:-1])
    with pytest.raises(ValueError, match="distinct"):
        ProbeInformation().held_out(x, y * 0, x, y)
    with pytest.raises(ValueError, match="l2"):
        ProbeInformation(l2=-1.0)


# -- invariance ----------------------------------------------------------------------------------------------


def test_scale_and_offset_of_columns_change_nothing():
    x, y = blobs()
    scale = np.array([1e-9, 1.0, -1e6, 3.0, 1e12])
    assert ProbeInformation()(x * scale + 5 * scale, y).value == pytest.approx(
        ProbeInformation()(x, y).value, abs=1e-6
    )


def test_linear_maps_change_little():
    """The penalty is not invariant, its choice nearly is: 0.006 is a third of the standard error here."""
    x, y = blobs(1000)
    before = ProbeInformation()(x, y)
    after = ProbeInformation()(x @ np.random.default_rng(1).standard_normal((5, 5)), y)
    assert after.value == pytest.approx(before.value, abs=0.006)
    assert before.stderr > 0.015


def test_names_of_labels_do_not_matter():
    x, y = blobs()
    assert ProbeInformation()(x, 7 * y - 100) == ProbeInformation()(x, y)


def test_numpy_and_torch_agree():
    x, y = blobs()
    assert ProbeInformation()(torch.as_tensor(x), torch.as_tensor(y)) == ProbeInformation()(x, y)


def test_the_seed_decides():
    x, y = blobs()
    assert ProbeInformation(seed=1)(x, y) == ProbeInformation(seed=1)(x, y)
    assert ProbeInformation(seed=1)(x, y).value != ProbeInformation(seed=2)(x, y).value


def test_names_survive():
    for e in (ProbeInformation(), ProbeInformation(folds=3, l2=0.01, seed=4)):
        assert parse(repr(e)) == e == pickle.loads(pickle.dumps(e))
        assert hash(parse(repr(e))) == hash(e)


# -- degenerate and bad input --------------------------------------------------------------------------------


def test_constant_columns_are_dropped_and_flagged():
    x, y = blobs()
    e = ProbeInformation()(np.concatenate([x, np.full((300, 2), 0.1)], axis=1), y)
    assert "constant-columns" in e.flags
    assert e.value == ProbeInformation()(x, y).value
    with pytest.raises(ValueError, match="constant"):
        ProbeInformation()(np.ones((300, 2)), y)


def test_a_column_that_is_constant_in_one_training_part():
    x, y = blobs()
    spike = np.zeros((300, 1))
    spike[17] = 1.0
    e = ProbeInformation()(np.concatenate([x, spike], axis=1), y)
    assert e.value == pytest.approx(ProbeInformation()(x, y).value, abs=0.02)


def test_rare_classes_are_flagged_and_finite():
    x, y = blobs()
    y[0] = 9
    e = ProbeInformation()(x, y)
    assert "small-sample" in e.flags
    assert math.isfinite(e.value)
    assert "small-sample" not in ProbeInformation()(*blobs()).flags


def test_more_columns_than_rows():
    x, y = blobs(60, 200, 2, scale=1.0)
    e = ProbeInformation()(x, y)
    assert 0.5 < e.value <= e.ceiling


def test_repeated_columns():
    x, y = blobs()
    assert ProbeInformation(l2=1e-5)(np.concatenate([x, x], axis=1), y).value == pytest.approx(
        ProbeInformation(l2=5e-6)(x, y).value, abs=1e-3
    )


def test_bad_arguments():
    x, y = blobs()
    estimator = ProbeInformation()
    with pytest.raises(TypeError, match="integer vector"):
        estimator(x, y.astype(float))
    with pytest.raises(TypeError, match="integer vector"):
        estimator(x, y[:, None])
    with pytest.raises(ValueError, match="distinct"):
        estimator(x, np.zeros(300, dtype=int))
    with pytest.raises(ValueError, match="NaN"):
        estimator(np.where(x > 2, np.nan, x), y)
    with pytest.raises(ValueError, match="same n"):
        estimator(x, y[:-1])
    with pytest.raises(ValueError, match="n = 10"):
        estimator(x[:9], y[:9])
    with pytest.raises(TypeError, match="CPU"):
        estimator(torch.zeros(300, 2, device="meta"), y)


@pytest.mark.parametrize("settings", [{"folds": 1}, {"l2": -1.0}, {"l2": math.inf}, {"l2": math.nan}])
def test_bad_settings(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        ProbeInformation(**settings)


def test_repeated_rows_are_flagged_because_folds_share_them():
    """Independent labels, each row ten times: the probe scores what it has seen."""
    rng = np.random.default_rng(0)
    x, y = np.repeat(rng.standard_normal((40, 20)), 10, axis=0), np.repeat(rng.integers(0, 2, 40), 10)
    e = ProbeInformation()(x, y)
    assert "duplicates" in e.flags
    assert e.diagnostics["repeats"] == 360
    assert "duplicates" not in ProbeInformation()(*blobs()).flags
