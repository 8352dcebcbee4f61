"""Gaussian entropy and mutual information: closed forms, exact correction, invariance, bad input."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal, wishart

from estimators import Gaussian, _covariance
from estimators import gaussian as G


def equicorrelated(d: int, rho: float) -> np.ndarray:
    """I and rho J: its determinant is (1 - rho)^(d-1) (1 + (d - 1) rho)."""
    return (1 - rho) * np.eye(d) + rho * np.ones((d, d))


def sample(cov: np.ndarray, n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).multivariate_normal(np.zeros(len(cov)), cov, size=n, method="cholesky")


# -- closed forms --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [np.asarray, torch.as_tensor])
@pytest.mark.parametrize("d", [1, 2, 5, 40])
@pytest.mark.parametrize("rho", [0.0, 0.3, 0.95])
def test_entropy_of_an_equicorrelated_covariance(make, d, rho):
    exact = 0.5 * (
        d * math.log(2 * math.pi * math.e) + (d - 1) * math.log(1 - rho) + math.log(1 + (d - 1) * rho)
    )
    assert float(G.entropy(make(equicorrelated(d, rho)))) == pytest.approx(exact, abs=1e-10)


def test_entropy_agrees_with_scipy():
    cov = wishart(df=9, scale=np.eye(4), seed=1).rvs()
    assert G.entropy(cov) == pytest.approx(multivariate_normal(cov=cov).entropy(), abs=1e-10)


@pytest.mark.parametrize("rho", [0.0, 0.5, -0.9, 0.999])
def test_mutual_information_of_two_variables(rho):
    assert G.mutual_information(np.array([[1, rho], [rho, 1]]), 1) == pytest.approx(
        -0.5 * math.log1p(-(rho**2)), abs=1e-10
    )


def test_mutual_information_is_the_sum_over_canonical_correlations():
    rho = np.array([0.9, 0.4, 0.1])
    cov = np.block([[np.eye(3), np.diag(rho)], [np.diag(rho), np.eye(3)]])
    mix = np.zeros((6, 6))
    mix[:3, :3], mix[3:, 3:] = np.random.default_rng(0).standard_normal((2, 3, 3))
    assert G.mutual_information(mix @ cov @ mix.T, 3) == pytest.approx(
        -0.5 * np.log1p(-(rho**2)).sum(), abs=1e-10
    )


def test_two_views_of_a_gaussian_source():
    """X ~ N(0, diag s), V_i = X + N(0, v): rho_i = s_i / (s_i + v)."""
    s, v = np.linspace(2, 0.2, 10), 0.25
    cov = np.block([[np.diag(s + v), np.diag(s)], [np.diag(s), np.diag(s + v)]])
    assert G.mutual_information(cov, 10) == pytest.approx(5.0585, abs=5e-5)


def test_gradient_of_entropy_is_half_the_inverse():
    cov = torch.tensor(equicorrelated(4, 0.4), requires_grad=True)
    G.entropy(cov).backward()
    torch.testing.assert_close(cov.grad, 0.5 * torch.linalg.inv(cov.detach()), atol=1e-10, rtol=0)


def test_singular_covariances():
    assert G.entropy(np.zeros((2, 2))) == -math.inf
    assert G.mutual_information(np.ones((2, 2)), 1) == math.inf


@pytest.mark.parametrize(
    ("cov", "message"),
    [
        (np.zeros((2, 3)), "square"),
        (np.array([[1.0, 0.5], [0.0, 1.0]]), "not symmetric"),
        (np.array([[1.0, 2.0], [2.0, 1.0]]), "positive semidefinite"),
    ],
)
def test_what_is_no_covariance_is_refused(cov, message):
    with pytest.raises(ValueError, match=message):
        G.entropy(cov)


def test_a_split_outside_the_matrix_is_refused():
    with pytest.raises(ValueError, match="dx = 2 must split"):
        G.mutual_information(np.eye(2), 2)


# -- the small-sample correction -----------------------------------------------------------------------------


@pytest.mark.parametrize(("d", "nu"), [(1, 4), (3, 8), (10, 15)])
def test_bias_and_variance_of_the_log_determinant(d, nu):
    """Against 4,000 Wishart matrices; the errors of mean and variance follow from the same sample."""
    log_det = np.linalg.slogdet(wishart(df=nu, scale=np.eye(d), seed=2).rvs(4000).reshape(-1, d, d) / nu)[1]
    mean, sd = log_det.mean(), log_det.std(ddof=1)
    assert abs(mean - G.log_det_bias(nu, d)) <= 4 * sd / math.sqrt(4000)
    spread = ((log_det - mean) ** 2).std(ddof=1) / math.sqrt(4000)
    assert abs(sd**2 - G.log_det_variance(nu, d)) <= 4 * spread


@pytest.mark.parametrize(
    ("dx", "dy", "n", "rho"), [(1, 1, 40, 0.0), (1, 1, 40, 0.8), (8, 6, 60, 0.0), (8, 6, 60, 0.6)]
)
def test_corrected_mutual_information_is_unbiased(dx, dy, n, rho):
    cov = np.eye(dx + dy)
    for i in range(min(dx, dy)):
        cov[i, dx + i] = cov[dx + i, i] = rho
    truth = G.mutual_information(cov, dx)
    estimates = [Gaussian()(x[:, :dx], x[:, dx:]) for x in (sample(cov, n, seed) for seed in range(200))]
    values = np.array([e.value for e in estimates])
    assert abs(values.mean() - truth) <= 4 * values.std(ddof=1) / math.sqrt(200)
    # The analytic error against the seen one: 200 draws know a standard deviation to 5 %, the delta method adds some.
    assert np.mean([e.stderr for e in estimates]) == pytest.approx(values.std(ddof=1), rel=0.25)


def test_without_the_correction_the_bias_shows():
    """The guard above can fail: the plug-in value on independent data is off by about dx dy / 2n."""
    values = [
        Gaussian(corrected=False)(*np.split(sample(np.eye(16), 60, s), 2, axis=1)).value for s in range(50)
    ]
    assert np.mean(values) - 4 * np.std(values) / math.sqrt(50) > 0.3


def test_independent_128_dimensional_layers_read_zero():
    x = sample(np.eye(256), 2000, 0)
    e = Gaussian()(x[:, :128], x[:, 128:])
    assert abs(e.value) <= 3 * e.stderr
    assert "large-correction" in e.flags
    assert Gaussian(corrected=False)(x[:, :128], x[:, 128:]).value > 4


@pytest.mark.parametrize("d", [1, 5])
def test_corrected_entropy_is_unbiased(d):
    cov = equicorrelated(d, 0.5)
    estimates = [Gaussian()(sample(cov, 30, seed)) for seed in range(200)]
    values = np.array([e.value for e in estimates])
    assert abs(values.mean() - G.entropy(cov)) <= 4 * values.std(ddof=1) / math.sqrt(200)
    assert estimates[0].stderr == pytest.approx(values.std(ddof=1), rel=0.2)


def test_the_entropy_is_an_upper_bound_for_a_uniform_law():
    e = Gaussian()(np.random.default_rng(0).uniform(size=(5000, 2)))
    assert e.bound == "upper"
    assert e.value > 0  # the truth: log 1


# -- invariance ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [1e-12, 1e-6, 1e6, 1e12])
def test_mutual_information_does_not_depend_on_the_units_of_x(scale, rng):
    x, y = rng.standard_normal((2, 200, 3))
    y = y + x
    assert Gaussian()(x * scale + scale, y).value == pytest.approx(Gaussian()(x, y).value, abs=1e-9)


def test_mutual_information_is_invariant_to_invertible_maps_and_symmetric(rng):
    x, y = rng.standard_normal((2, 200, 3))
    y = y + x
    a, b = rng.standard_normal((2, 3, 3))
    value = Gaussian()(x, y).value
    assert Gaussian()(x @ a, y @ b).value == pytest.approx(value, abs=1e-9)
    assert Gaussian()(y, x).value == pytest.approx(value, abs=1e-12)


@pytest.mark.parametrize("scale", [1e-9, 1e9])
def test_entropy_shifts_by_d_log_scale(scale, rng):
    x = rng.standard_normal((200, 3))
    assert Gaussian()(x * scale).value == pytest.approx(Gaussian()(x).value + 3 * math.log(scale), abs=1e-9)


def test_the_fast_factor_and_the_decomposition_agree(rng, monkeypatch):
    """Where columns are well conditioned a Cholesky factor replaces the singular values."""
    x = rng.standard_normal((300, 12)) @ rng.standard_normal((12, 12))
    y = x[:, :5] + rng.standard_normal((300, 5))
    fast = (Gaussian()(x).value, Gaussian()(x, y).value)
    taken = []
    monkeypatch.setattr(_covariance, "cholesky", lambda z: taken.append(z))
    assert fast == pytest.approx((Gaussian()(x).value, Gaussian()(x, y).value), abs=1e-9)
    # One for the entropy; two for the correlations, two for the kurtosis; two for each departure from normality.
    assert len(taken) == 9


@pytest.mark.parametrize("noise", [1e-2, 1e-4, 1e-6])
def test_nearly_dependent_columns_keep_their_digits(noise, rng):
    """H of (a, a + noise b) is H(a) + H(b) + log noise."""
    a, b = rng.standard_normal((2, 5000, 1))
    pair = np.column_stack([a, a + noise * b])
    assert Gaussian()(pair).value == pytest.approx(
        Gaussian()(np.column_stack([a, b])).value + math.log(noise), abs=1e-8
    )


# -- degenerate input ----------------------------------------------------------------------------------------


def test_constant_columns_are_dropped_and_flagged(rng):
    x, y = rng.standard_normal((2, 100, 2))
    padded = np.column_stack([x, np.ones(100)])
    assert Gaussian()(padded, y).value == pytest.approx(Gaussian()(x, y).value, abs=1e-12)
    assert "constant-columns" in Gaussian()(padded, y).flags
    assert Gaussian()(padded).diagnostics["dropped"] == 1


def test_repeated_columns_change_nothing_but_the_flag(rng):
    x, y = rng.standard_normal((2, 100, 2))
    doubled = np.column_stack([x, x])
    e = Gaussian()(doubled, y)
    assert e.value == pytest.approx(Gaussian()(x, y).value, abs=1e-9)
    assert "rank-deficient" in e.flags
    assert Gaussian()(doubled).value == -math.inf


def test_a_linear_function_shares_infinite_information(rng):
    x = rng.standard_normal((100, 2))
    e = Gaussian()(x, x @ np.array([[1.0, 2.0], [3.0, 5.0]]))
    assert e.value == math.inf
    assert "saturated" in e.flags


def test_heavy_tails_are_flagged(rng):
    x = rng.standard_normal((500, 1)) ** 9
    assert "heavy-tails" in Gaussian()(x).flags
    assert "heavy-tails" in Gaussian()(rng.standard_normal((500, 1)), x).flags
    assert "heavy-tails" not in Gaussian()(rng.standard_normal((500, 1))).flags


def test_too_few_samples_name_the_mend(rng):
    with pytest.raises(ValueError, match=r"needs n > 9 samples.*Projected"):
        Gaussian()(rng.standard_normal((9, 4)), rng.standard_normal((9, 4)))
    with pytest.raises(ValueError, match=r"\(5, 5\)"):
        Gaussian()(rng.standard_normal((5, 5)))


# -- conditional mutual information --------------------------------------------------------------------------


def random_covariance(d: int, seed: int) -> np.ndarray:
    return wishart(df=d + 3, scale=np.eye(d), seed=seed).rvs()


@pytest.mark.parametrize("make", [np.asarray, torch.as_tensor])
@pytest.mark.parametrize("rho", [0.0, 0.4, -0.8])
def test_conditional_information_of_a_trivariate_normal(make, rho):
    """-1/2 log(1 - partial correlation^2): X = Z + U, Y = Z + V with corr(U, V) = rho."""
    cov = np.array([[2.0, 1 + rho, 1.0], [1 + rho, 2.0, 1.0], [1.0, 1.0, 1.0]])
    assert float(G.conditional_mutual_information(make(cov), 1, 1)) == pytest.approx(
        -0.5 * math.log1p(-(rho**2)), abs=1e-12
    )


def test_chain_rule_of_covariances():
    cov = random_covariance(9, 4)  # X: 2, Y: 3, Z: 4
    order = [0, 1, 5, 6, 7, 8]
    xz = cov[np.ix_(order, order)]
    left = G.mutual_information(cov, 2)
    right = G.mutual_information(xz, 2) + G.conditional_mutual_information(cov, 2, 3)
    assert left == pytest.approx(right, abs=1e-12)


def test_gradient_of_conditional_information():
    cov = torch.as_tensor(random_covariance(4, 5)).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda c: G.conditional_mutual_information((c + c.T) / 2, 1, 2), cov, eps=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("split", [(0, 1), (1, 0), (2, 1), (1, 2)])
def test_a_split_in_three_must_leave_something_for_each(split):
    with pytest.raises(ValueError, match="in three"):
        G.conditional_mutual_information(np.eye(3), *split)


@pytest.mark.parametrize("corrected", [True, False])
@pytest.mark.parametrize("dims", [(1, 1, 1), (3, 2, 5)])
def test_chain_rule_of_estimates_is_exact(corrected, dims):
    """I(X; Y,Z) = I(X;Z) + I(X;Y|Z), and the corrections obey it as well."""
    dx, dy, _ = dims
    s = sample(random_covariance(sum(dims), 6), 60, 6)
    x, y, z = np.split(s, [dx, dx + dy], axis=1)
    g = Gaussian(corrected)
    joint = g(x, np.column_stack([y, z])).value
    assert joint == pytest.approx(g(x, z).value + g(x, y, z).value, abs=1e-10)


def test_plug_in_conditional_information_is_that_of_the_sample_covariance(rng):
    s = rng.standard_normal((80, 7)) @ rng.standard_normal((7, 7))
    plug_in = Gaussian(corrected=False)(s[:, :2], s[:, 2:4], s[:, 4:]).value
    assert plug_in == pytest.approx(G.conditional_mutual_information(np.cov(s.T), 2, 2), abs=1e-9)


@pytest.mark.parametrize(("dx", "dy", "dz", "n"), [(1, 1, 1, 30), (4, 3, 12, 60)])
@pytest.mark.parametrize("rho", [0.0, 0.6])
def test_corrected_conditional_information_is_unbiased(dx, dy, dz, n, rho):
    """X and Y share Z, and beside it `rho` in every pair of coordinates."""
    rng = np.random.default_rng(7)
    estimates = []
    for _ in range(200):
        z = rng.standard_normal((n, dz))
        u, v = rng.standard_normal((n, dx)), rng.standard_normal((n, dy))
        k = min(dx, dy)
        v[:, :k] = rho * u[:, :k] + math.sqrt(1 - rho**2) * v[:, :k]
        common = z.sum(axis=1, keepdims=True)
        estimates.append(Gaussian()(u + common, v - common, z))
    values = np.array([e.value for e in estimates])
    truth = -0.5 * min(dx, dy) * math.log1p(-(rho**2))
    assert abs(values.mean() - truth) <= 4 * values.std(ddof=1) / math.sqrt(200)
    assert np.mean([e.stderr for e in estimates]) == pytest.approx(values.std(ddof=1), rel=0.25)
    assert estimates[0].quantity == "I(X;Y|Z)"


def test_conditional_information_is_invariant_and_symmetric(rng):
    x, y, z = rng.standard_normal((3, 200, 3))
    x, y = x + z, y + z
    a, b, c = rng.standard_normal((3, 3, 3))
    value = Gaussian()(x, y, z).value
    assert Gaussian()(y, x, z).value == pytest.approx(value, abs=1e-12)
    assert Gaussian()(x @ a, y @ b, z @ c).value == pytest.approx(value, abs=1e-9)
    assert Gaussian()(x + z @ a, y * 1e9, z * 1e-9).value == pytest.approx(value, abs=1e-7)
    tensors = (torch.as_tensor(s) for s in (x, y, z))
    assert Gaussian()(*tensors).value == pytest.approx(value, abs=1e-12)


def test_what_z_determines_shares_nothing_given_z(rng):
    z, y = rng.standard_normal((2, 100, 2))
    e = Gaussian()(z @ np.array([[1.0, 2.0], [0.5, -1.0]]), y + z, z)
    assert e.value == 0
    assert e.stderr is None
    assert "rank-deficient" in e.flags


def test_conditional_degenerate_input(rng):
    x, y, z = rng.standard_normal((3, 100, 2))
    assert Gaussian()(x, x, z).value == math.inf
    assert "saturated" in Gaussian()(x, x + z, z).flags
    doubled = Gaussian()(x, y, np.column_stack([z, z]))
    assert doubled.value == pytest.approx(Gaussian()(x, y, z).value, abs=1e-9)
    assert "rank-deficient" in doubled.flags
    assert "heavy-tails" in Gaussian()(x, y, rng.standard_normal((100, 1)) ** 9).flags
    with pytest.raises(ValueError, match=r"x, y and z of shapes \(7, 2\), \(7, 2\), \(7, 2\)"):
        Gaussian()(x[:7], y[:7], z[:7])
    with pytest.raises(ValueError, match=r"z of shape .* all columns are constant"):
        Gaussian()(x, y, np.ones((100, 2)))
    with pytest.raises(ValueError, match=r"x has shape \(100, 2\) and z has shape \(99, 2\)"):
        Gaussian()(x, y, z[1:])
    with pytest.raises(TypeError, match="z was given without y"):
        Gaussian()(x, None, z)


# -- what the diagnostics say --------------------------------------------------------------------------------


def test_effective_ranks_count_directions(rng):
    """k equal eigenvalues have a participation ratio of k; the sample adds noise of order d / n."""
    t = rng.standard_normal((5000, 4))
    q, _ = np.linalg.qr(rng.standard_normal((16, 16)))
    hadamard = (
        np.kron(np.kron([[1, 1], [1, -1]], [[1, 1], [1, -1]]), [[1, 1], [1, -1]])[:4] / 2
    )  # equal column sizes
    x, y = t @ hadamard + 1e-3 * rng.standard_normal((5000, 8)), rng.standard_normal((5000, 16)) @ q
    y[:, :4] += t
    e = Gaussian()(x, y)
    assert e.diagnostics["effective_rank_x"] == pytest.approx(4, rel=0.02)
    assert e.diagnostics["effective_rank_y"] == pytest.approx(16, rel=0.02)
    assert e.diagnostics["effective_rank_xy"] == pytest.approx(4, rel=0.05)
    assert e.diagnostics["shared_directions"] == 4


def test_independent_data_share_no_direction_above_chance(rng):
    """The largest of 20 correlations fluctuates about the edge, so that one is above it in fewer than every other draw."""
    counts = [
        Gaussian()(*rng.standard_normal((2, 600, 20))).diagnostics["shared_directions"] for _ in range(20)
    ]
    assert max(counts) <= 1
    assert np.mean(counts) < 0.5


def test_multivariate_kurtosis_is_one_for_gaussian_data_only(rng):
    n, d = 2000, 6
    x, y = rng.standard_normal((2, n, d))
    e = Gaussian()(x @ rng.standard_normal((d, d)), y)
    sd = math.sqrt(8 / (n * d * (d + 2)))
    assert abs(e.diagnostics["kurtosis_x"] - 1) <= 4 * sd
    t = x[:, :2]
    bent = Gaussian()(np.column_stack([t, t**2, np.sin(t)]) + 0.01 * y, y)
    assert bent.diagnostics["kurtosis_x"] - 1 > 20 * sd


def test_the_plug_in_value_is_flagged_where_it_is_mostly_bias(rng):
    x, y = rng.standard_normal((2, 2000, 64))
    assert "large-correction" in Gaussian(corrected=False)(x, y).flags
    assert "large-correction" not in Gaussian(corrected=False)(x[:, :1], x[:, :1] + y[:, :1]).flags
