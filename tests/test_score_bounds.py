"""Bounds on a matrix of critic scores: closed forms with optimal critics, loops, invariances, gradients."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from estimators.score_bounds import dv_bound, flo_bound, infonce_bound, jsd_bound, nwj_bound, smile_bound


def gaussian(n: int, d: int, rho: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """d independent pairs of correlation rho: I = -d/2 log(1 - rho^2)."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, d))
    return x, rho * x + math.sqrt(1 - rho**2) * rng.standard_normal((n, d))


def exact_scores(x: np.ndarray, y: np.ndarray, rho: float) -> np.ndarray:
    """log p(y|x) / p(y) of all pairs."""
    s = 1 - rho**2
    squares = (y[None] - rho * x[:, None]) ** 2 / s - y[None] ** 2
    return -0.5 * squares.sum(-1) - 0.5 * x.shape[1] * math.log(s)


# (rho, K): mean and standard deviation of one batch, d = 20, recorded over 400 (K = 64) and 40 batches (K = 512).
# The published table has InfoNCE .94 (.3, 512), 3.27 (.6, 64), 4.12 (.8, 64), 4.04 (.6, 512).
RECORDED = {
    (0.3, 64): ((0.914, 0.153), (0.954, 0.167)),
    (0.6, 64): ((3.275, 0.165), (4.561, 0.480)),
    (0.8, 64): ((4.128, 0.031), (11.690, 1.306)),
    (0.3, 512): ((0.951, 0.056), (0.956, 0.057)),
    (0.6, 512): ((4.039, 0.083), (4.488, 0.129)),
}


@pytest.mark.parametrize(("rho", "k"), RECORDED)
def test_exact_critic(rho, k):
    batches, seen = (100 if k == 64 else 5), (400 if k == 64 else 40)
    scores = [exact_scores(*gaussian(k, 20, rho, seed=s + 1), rho) for s in range(batches)]
    for bound, (mean, deviation) in zip((infonce_bound, dv_bound), RECORDED[rho, k], strict=True):
        error = deviation * math.sqrt(1 / batches + 1 / seen)
        assert abs(np.mean([bound(f) for f in scores]) - mean) <= 4 * error
    assert np.mean([infonce_bound(f) for f in scores]) <= min(
        math.log(k), -10 * math.log(1 - rho**2) + 4 * deviation
    )


def loops(scores: np.ndarray) -> tuple[float, float]:
    """Both bounds, one pair after the other."""
    k = len(scores)
    nce = sum(
        scores[i, i] - math.log(sum(math.exp(scores[i, j]) for j in range(k))) for i in range(k)
    ) / k + math.log(k)
    others = [math.exp(scores[i, j]) for i in range(k) for j in range(k) if i != j]
    return nce, sum(scores[i, i] for i in range(k)) / k - math.log(sum(others) / len(others))


@pytest.mark.parametrize("make", [np.asarray, torch.as_tensor])
def test_bounds_against_loops(make):
    scores = np.random.default_rng(0).standard_normal((7, 7))
    nce, dv = loops(scores)
    assert float(infonce_bound(make(scores))) == pytest.approx(nce, abs=1e-12)
    assert float(dv_bound(make(scores))) == pytest.approx(dv, abs=1e-12)


@pytest.mark.parametrize("make", [np.asarray, torch.as_tensor])
def test_invariances_of_the_bounds(make):
    rng = np.random.default_rng(1)
    scores, of_x = rng.standard_normal((6, 6)), rng.standard_normal((6, 1))
    assert float(infonce_bound(make(scores + of_x))) == pytest.approx(
        float(infonce_bound(make(scores))), abs=1e-12
    )
    assert float(dv_bound(make(scores + 1e3))) == pytest.approx(float(dv_bound(make(scores))), abs=1e-9)
    assert float(dv_bound(make(scores + of_x))) != pytest.approx(float(dv_bound(make(scores))), abs=1e-3)
    assert float(infonce_bound(make(1e6 * np.eye(6)))) == math.log(6)


def test_bounds_are_differentiable():
    generator = torch.Generator().manual_seed(0)
    scores = 3 * torch.randn(5, 5, generator=generator, dtype=torch.float64)
    u = torch.randn(5, generator=generator, dtype=torch.float64)
    for bound in (infonce_bound, dv_bound, nwj_bound, jsd_bound, lambda f: smile_bound(f, 2.0)):
        assert torch.autograd.gradcheck(bound, scores.clone().requires_grad_())
    assert torch.autograd.gradcheck(flo_bound, (scores.clone().requires_grad_(), u.requires_grad_()))


@pytest.mark.parametrize("shape", [(3,), (3, 4), (1, 1), (2, 3, 3)])
@pytest.mark.parametrize(
    "bound",
    [infonce_bound, dv_bound, nwj_bound, jsd_bound, lambda f: smile_bound(f, 1.0), lambda f: flo_bound(f, f)],
)
def test_bounds_need_a_square(bound, shape):
    with pytest.raises(ValueError, match=r"\(K, K\)"):
        bound(np.zeros(shape))


# -- optimal critics -----------------------------------------------------------------------------------------

RHO = 0.6
TRUTH = -0.5 * math.log(1 - RHO**2)


def quadrature(function, rho: float = RHO) -> float:
    """E of a function of the log-ratio over independent standard normals x and y."""
    x = np.linspace(-8, 8, 801)
    w = np.exp(-(x**2) / 2)
    ratio = exact_scores(x[:, None], x[:, None], rho)
    return float(w @ function(ratio) @ w / w.sum() ** 2)


def smile_limit(tau: float, rho: float = RHO) -> float:
    return -0.5 * math.log(1 - rho**2) - math.log(quadrature(lambda f: np.exp(np.clip(f, -tau, tau)), rho))


def js_divergence() -> float:
    def terms(f):
        return 0.5 * np.exp(f) * (f - np.logaddexp(f, 0)) - 0.5 * np.logaddexp(f, 0)

    return math.log(2) + quadrature(terms)


def flo_with_best_u(scores: np.ndarray) -> float:
    """A function of x added to the critic moves the best u by the same: log E e^f(x, y') - f(x, y)."""
    of_x = np.sin(np.arange(len(scores)))
    return flo_bound(scores + of_x[:, None], -np.diag(scores))


@pytest.mark.parametrize(
    ("bound", "truth"),
    [
        (dv_bound, TRUTH),
        (nwj_bound, TRUTH),
        (flo_with_best_u, TRUTH),
        (lambda f: smile_bound(f, math.inf), TRUTH),
        (lambda f: smile_bound(f, 0.5), smile_limit(0.5)),
        (jsd_bound, js_divergence()),
    ],
    ids=["dv", "nwj", "flo", "smile-inf", "smile", "jsd"],
)
def test_optimal_critic_gives_the_truth(bound, truth):
    """Bivariate normal: 60 batches of 200; the bias of the logarithm, var / 2 K^2, is below a tenth of the error."""
    values = [bound(exact_scores(*gaussian(200, 1, RHO, seed=s), RHO)) for s in range(60)]
    error = np.std(values, ddof=1) / math.sqrt(60)
    assert abs(np.mean(values) - truth) <= 4 * error
    assert error < 0.02


def test_a_clipped_value_is_off_in_both_directions():
    assert smile_limit(0.5) < TRUTH - 0.02
    assert smile_limit(1.0, 0.99) > -0.5 * math.log(1 - 0.99**2) + 0.3


def test_the_divergence_is_below_log_two_and_half_the_information():
    assert 0 < js_divergence() < 0.5 * TRUTH < math.log(2)


def test_order_and_identities():
    rng = np.random.default_rng(2)
    scores, u = rng.standard_normal((9, 9)), rng.standard_normal(9)
    off = scores[~np.eye(9, dtype=bool)]
    z = np.exp(off).mean()
    assert nwj_bound(scores) == pytest.approx(np.diag(scores).mean() + 1 - z, abs=1e-12)
    assert nwj_bound(scores) < dv_bound(scores)
    assert nwj_bound(scores - math.log(z)) == pytest.approx(dv_bound(scores), abs=1e-12)
    losses = np.log1p(np.exp(-np.diag(scores))).mean() + np.log1p(np.exp(off)).mean()
    assert jsd_bound(scores) == pytest.approx(math.log(2) - losses / 2, abs=1e-12)
    assert smile_bound(scores, 100.0) == pytest.approx(dv_bound(scores), abs=1e-12)
    rows = np.array([np.delete(np.exp(scores[i]), i).mean() for i in range(9)])
    contrast = rows / np.exp(np.diag(scores))
    assert flo_bound(scores, u) == pytest.approx(1 - (u + np.exp(-u) * contrast).mean(), abs=1e-12)
    assert flo_bound(scores, u) < flo_bound(scores, np.log(contrast))
    # One constant for all: the contrast of FLO without a normaliser of its own for each x is NWJ.
    assert flo_bound(scores, -np.diag(scores)) == pytest.approx(nwj_bound(scores), abs=1e-12)


def test_scores_far_away_stay_finite_with_their_gradients():
    scores = torch.full((4, 4), -800.0, dtype=torch.float64).fill_diagonal_(800.0).requires_grad_()
    for bound in (dv_bound, nwj_bound, jsd_bound, infonce_bound, lambda f: smile_bound(f, 5.0)):
        value = bound(scores)
        (gradient,) = torch.autograd.grad(value, scores)
        assert torch.isfinite(value)
        assert torch.isfinite(gradient).all()


def test_bad_tau_and_u():
    with pytest.raises(ValueError, match="tau = 0"):
        smile_bound(np.zeros((3, 3)), 0.0)
    with pytest.raises(ValueError, match=r"u must have shape \(3,\)"):
        flo_bound(np.zeros((3, 3)), np.zeros(4))
