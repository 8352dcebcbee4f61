"""DoE and CLUB: densities against slow copies, closed forms with exact densities, known truths, guards."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
import torch
from scipy import stats

from estimators import CLUB, DoE, parse
from estimators import _density_fit as F
from estimators._densities import Categories, GaussianMixture
from estimators._training import shared

QUICK = {"seeds": 1, "steps": 20, "batch": 32}


def gaussian(n: int, d: int, rho: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """d independent pairs of correlation rho: I = -d/2 log(1 - rho^2), and CLUB has d rho^2 / (1 - rho^2)."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, d))
    return x, rho * x + math.sqrt(1 - rho**2) * rng.standard_normal((n, d))


# -- densities -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("components", "full"), [(1, False), (1, True), (3, False), (3, True)])
def test_log_density_is_that_of_the_mixture_of_normals(components, full):
    density = GaussianMixture(2, 3, hidden=8, layers=2, components=components, full=full)
    generator = torch.Generator().manual_seed(0)
    flat = density.initial([1, 2]).double()
    flat = flat + 0.3 * torch.randn(flat.shape, generator=generator, dtype=torch.float64)
    x, y = (torch.randn(6, d, generator=generator, dtype=torch.float64) for d in (2, 3))
    matrix = density.matrix(flat, *shared(flat, x, y)).numpy()
    mean, log_variance, log_weight, factor = density._parameters(flat, x.expand(2, -1, -1))
    for s in range(2):
        for i in range(6):
            for j in range(6):
                terms = []
                for c in range(components):
                    inverse = np.eye(3) if factor is None else np.linalg.inv(factor[s, c].numpy())
                    law = stats.multivariate_normal(
                        inverse @ mean[s, c, i].numpy(),
                        inverse @ np.diag(np.exp(log_variance[s, c, i].numpy())) @ inverse.T,
                    )
                    terms.append(log_weight[s, c, i].item() + law.logpdf(y[j].numpy()))
                assert matrix[s, i, j] == pytest.approx(np.logaddexp.reduce(terms), abs=1e-9)
    matched = density.log_density(flat, *shared(flat, x, y)).numpy()
    np.testing.assert_allclose(matched, matrix.diagonal(axis1=1, axis2=2), atol=1e-10)
    assert (factor is None) == (not full)


def test_label_density_sums_to_one():
    density = Categories(2, classes=4, hidden=8, layers=1)
    flat = density.initial([1, 2])
    x, y = torch.randn(5, 2, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 3, 2, 1, 3])
    every = torch.stack([density.log_density(flat, *shared(flat, x, torch.full((5,), k))) for k in range(4)])
    torch.testing.assert_close(every.exp().sum(0), torch.ones(2, 5))
    matrix = density.matrix(flat, *shared(flat, x, y))
    torch.testing.assert_close(
        matrix.diagonal(dim1=1, dim2=2), density.log_density(flat, *shared(flat, x, y))
    )
    torch.testing.assert_close(matrix[:, :, 1], every[3])


def test_log_variance_is_limited_and_says_so():
    density = GaussianMixture(1, 2, hidden=4, layers=1, components=1, full=False)
    flat = torch.zeros(2, density.initial([0]).shape[1])
    flat[1, -3:-1] = -200.0  # biases of the two log-variances; the last is a weight
    x = torch.zeros(1, 3, 1).expand(2, -1, -1)
    assert density.at_limit(flat, x).tolist() == [0.0, 1.0]
    assert torch.isfinite(density.log_density(flat, x, torch.ones(2, 3, 2))).all()


# -- exact densities -----------------------------------------------------------------------------------------


class Exact:
    """q(y | x) = p(y | x) of a bivariate normal law."""

    def __init__(self, rho: float) -> None:
        self.rho = rho

    def log_density(self, flat, x, y):
        s = 1 - self.rho**2
        return -0.5 * ((y - self.rho * x) ** 2 / s + math.log(2 * math.pi * s)).sum(-1)

    def matrix(self, flat, x, y):
        return self.log_density(flat, x[:, :, None], y[:, None])


def test_club_with_the_exact_density():
    """Its expectation is rho^2 / (1 - rho^2), above the information; the terms give the scatter over samples."""
    rho, n = 0.6, 300
    values, errors = [], []
    for seed in range(200):
        x, y = (torch.as_tensor(v) for v in gaussian(n, 1, rho, seed))
        terms = F.contrast(Exact(rho), torch.zeros(1, 1), x, y)[0]
        matrix = Exact(rho).matrix(None, x[None], y[None])[0].numpy()
        unmatched = matrix[~np.eye(n, dtype=bool)].mean()
        assert terms.mean().item() == pytest.approx(np.diag(matrix).mean() - unmatched, abs=1e-9)
        values.append(terms.mean().item())
        errors.append(terms.std().item() / math.sqrt(n))
    truth = rho**2 / (1 - rho**2)
    assert truth > -0.5 * math.log(1 - rho**2)
    assert abs(np.mean(values) - truth) <= 4 * np.std(values) / math.sqrt(200)
    assert abs(math.log(np.std(values) / np.mean(errors))) <= 4 / math.sqrt(400) + 0.05


def test_pairs_in_blocks_give_the_same(monkeypatch):
    x, y = (torch.as_tensor(v) for v in gaussian(40, 2, 0.6, 0))
    whole = F.contrast(Exact(0.6), torch.zeros(1, 1), x, y)
    monkeypatch.setattr(F, "_PAIRS", 120)
    torch.testing.assert_close(F.contrast(Exact(0.6), torch.zeros(1, 1), x, y), whole)


def test_marginal_is_the_full_gaussian_of_the_training_part():
    rng = np.random.default_rng(0)
    y = rng.standard_normal((200, 3)) @ rng.standard_normal((3, 3)) * [1e-6, 1.0, 1e6] + [0, 5, 7]
    rows = np.arange(120)
    marginal = F.gaussian_marginal(torch.as_tensor(y), rows)
    law = stats.multivariate_normal(np.zeros(3), np.eye(3))
    scale = y[rows].std(0)
    part = y / scale  # scipy refuses columns of such different sizes
    law = stats.multivariate_normal(part[rows].mean(0), np.cov(part[rows].T, bias=True))
    expected = law.logpdf(part) - np.log(scale).sum()
    np.testing.assert_allclose(marginal.log_density.numpy() - marginal.volume, expected, atol=1e-6)
    again = F.gaussian_marginal(torch.as_tensor(np.concatenate([y, y[:, :1]], 1)), rows)
    assert again.flags == ("rank-deficient",)
    assert again.y.shape == (200, 3)


# -- estimates -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("estimator", "mean", "deviation"),
    [(DoE(seeds=1), 0.9669, 0.0918), (CLUB(seeds=1), 4.2177, 0.5916)],
)
def test_small_samples(estimator, mean, deviation):
    """Recorded over 20 data sets: 2+2, rho .8, n = 800; the truths are 1.0217, and 3.5556 for CLUB."""
    e = estimator(*gaussian(800, 2, 0.8, seed=7))
    assert abs(e.value - mean) <= 4 * deviation * math.sqrt(1 + 1 / 20)
    assert e.bound == "none"
    assert e.ceiling is None


@pytest.mark.parametrize("covariance", ["full", "diagonal"])
def test_one_column_and_both_entropies(covariance):
    """H(Y) and H(Y|X) in the units of y, here 10 times those of a standard normal law."""
    x, y = gaussian(4000, 1, 0.9, seed=1)
    e = DoE(seeds=1, covariance=covariance)(x, 10 * y)
    assert abs(e.value - -0.5 * math.log(1 - 0.81)) <= 4 * e.stderr
    entropy = 0.5 * math.log(2 * math.pi * math.e) + math.log(10)
    # The scatter of a mean of (y^2 - 1) / 2 over 1000 samples
    assert abs(e.diagnostics["entropy"] - entropy) <= 4 * math.sqrt(0.5 / 1000)
    difference = e.diagnostics["entropy"] - e.diagnostics["conditional_entropy"]
    assert difference == pytest.approx(e.value, abs=1e-9)


def test_shared_noise_needs_the_full_covariance():
    """y = x + noise with one source in both columns: a diagonal density cannot see that y1 - y2 is known better."""
    rng = np.random.default_rng(0)
    x, own = rng.standard_normal((2, 1500, 2))
    y = x + rng.standard_normal((1500, 1)) + 0.3 * own
    cov = np.ones((2, 2)) + 0.09 * np.eye(2)
    truth = 0.5 * (np.linalg.slogdet(cov + np.eye(2))[1] - np.linalg.slogdet(cov)[1])
    full, diagonal = (DoE(seeds=1, covariance=kind, steps=400)(x, y) for kind in ("full", "diagonal"))
    assert abs(full.value - truth) <= 4 * full.stderr
    assert diagonal.value < truth - 0.3


def test_components_see_two_branches():
    """y = +-2 + noise, the noise shared with x: one Gaussian is far too wide to see x, two are the truth."""
    rng = np.random.default_rng(0)
    sign = rng.choice([-2.0, 2.0], (1500, 1))
    x = rng.standard_normal((1500, 1))
    y = sign + 0.3 * (0.8 * x + 0.6 * rng.standard_normal((1500, 1)))
    truth = -math.log(0.6)
    e = DoE(seeds=1, components=2, steps=600)(x, y)
    assert abs(e.value - truth) <= 4 * e.stderr
    assert DoE(seeds=1, steps=300)(x, y).value < 0.1 < truth - 0.3


def test_labels():
    """I(X;Y) = log 3 for separated classes of equal size; the codes have no order."""
    rng = np.random.default_rng(0)
    y = rng.permutation(np.arange(600) % 3)
    x = 5 * rng.standard_normal((3, 4))[y] + rng.standard_normal((600, 4))
    estimator = DoE(seeds=1, steps=300)
    e = estimator(x, y)
    assert e.value == pytest.approx(math.log(3), abs=0.05)
    assert e.value <= e.ceiling == e.diagnostics["entropy"]
    assert estimator(x, 7 * y - 5) == e
    # The other way round one Gaussian is far too wide for x, which raises the value; three are the truth.
    mixture = DoE(seeds=1, components=3, steps=600)(y, x)
    assert abs(mixture.value - math.log(3)) <= 4 * mixture.stderr < 0.3
    assert estimator(y, x).value > 2
    assert CLUB(seeds=1, steps=300)(x, y).value > math.log(3)


@pytest.mark.parametrize("estimator", [DoE(seeds=2), DoE(seeds=2, components=2), CLUB(seeds=2)])
def test_independent_samples_show_nothing(estimator):
    e = estimator(*gaussian(800, 6, 0.0, seed=3))
    assert abs(e.value) <= 4 * e.stderr + 0.05
    assert e.diagnostics["spread"] >= 0


# -- guards --------------------------------------------------------------------------------------------------


def test_a_function_of_x_is_flagged():
    x, _ = gaussian(800, 1, 0.0, seed=0)
    assert "saturated" in DoE(seeds=1, layers=1, penalty=0.0, patience=100, steps=1500)(x, 3 - 2 * x).flags
    assert "saturated" not in DoE(seeds=1)(*gaussian(800, 1, 0.9, seed=0)).flags


def test_overfit_duplicates_and_constant_columns():
    x, y = gaussian(300, 40, 0.5, seed=0)
    assert "overfit" in DoE(seeds=1, penalty=0.0)(x, y).flags
    repeated = np.repeat(np.random.default_rng(0).standard_normal((2, 60, 2)), 5, axis=1)
    assert "duplicates" in DoE(**QUICK)(*repeated).flags
    e = DoE(**QUICK)(x[:, :2], np.concatenate([y[:, :2], np.ones((300, 1))], axis=1))
    assert "constant-columns" in e.flags
    assert e.value == DoE(**QUICK)(x[:, :2], y[:, :2]).value


def test_redundant_columns_of_y_change_nothing():
    x, y = gaussian(400, 2, 0.8, seed=0)
    e = DoE(seeds=1)(x, np.concatenate([y, y @ [[1.0], [2.0]]], axis=1))
    assert "rank-deficient" in e.flags
    assert "entropy" not in e.diagnostics  # a law on a plane has none
    assert abs(e.value - -math.log(1 - 0.64)) <= 4 * e.stderr + 0.1


@pytest.mark.parametrize("estimator", [DoE, CLUB])
def test_bad_input_and_settings(estimator):
    x, y = gaussian(200, 2, 0.8, seed=0)
    with pytest.raises(ValueError, match=r"150 columns and 120 training samples"):
        estimator(**QUICK)(x, np.random.default_rng(0).standard_normal((200, 150)))
    with pytest.raises(ValueError, match="smaller lr"):
        estimator(seeds=2, lr=1e30, steps=40)(x, y)
    for settings in (
        {"covariance": "low-rank"},
        {"components": 0},
        {"hidden": 0},
        {"test": 0.0},
        {"batch": 1},
    ):
        with pytest.raises(ValueError, match=next(iter(settings))):
            estimator(**settings)


@pytest.mark.parametrize("estimator", [DoE(components=2, **QUICK), CLUB(covariance="diagonal", **QUICK)])
def test_names_contexts_and_global_state(estimator):
    assert parse(repr(estimator)) == estimator == pickle.loads(pickle.dumps(estimator))
    x, y = gaussian(200, 2, 0.8, seed=0)
    expected = estimator(x, y)
    before = torch.get_rng_state()
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        assert estimator(torch.as_tensor(x) * 1.0, torch.as_tensor(y) * 1.0) == expected
    try:
        torch.set_default_dtype(torch.float64)
        torch.set_default_device("meta")
        assert estimator(x, y) == expected
    finally:
        torch.set_default_device(None)
        torch.set_default_dtype(torch.float32)
    assert torch.equal(torch.get_rng_state(), before)
