"""Pairwise bounds for components that differ in covariance: quadrature, twins, equality of the forms, gradients."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from reference_mixture import chernoff_gaussians, kl_gaussians, pairwise_bounds
from scipy.integrate import quad
from scipy.stats import multivariate_normal, norm, ortho_group

from estimators import KolchinskyTracey, SamplePropagation, _pairs, mixture
from estimators.mixture_covariances import (
    LowRank,
    entropy_bounds,
    gaussian_information,
    information_bounds,
    log_densities,
)

UNIT = 0.5 * math.log(2 * math.pi * math.e)
FORMS = ("diagonal", "full", "low-rank")


def components(form: str, n: int = 9, d: int = 4, seed: int = 0):
    """Means, covariances in the given form, and the same as matrices."""
    rng = np.random.default_rng(seed)
    means = rng.standard_normal((n, d))
    if form == "diagonal":
        v = rng.uniform(0.3, 2.0, (n, d))
        return means, v, np.stack([np.diag(row) for row in v])
    if form == "full":
        a = rng.standard_normal((n, d, d + 1)) / 2
        c = a @ a.transpose(0, 2, 1) + 0.1 * np.eye(d)
        return means, c, c
    f = rng.standard_normal((n, d, 2))
    return means, LowRank(f, 0.3), f @ f.transpose(0, 2, 1) + 0.3 * np.eye(d)


def to_torch(covariances):
    if isinstance(covariances, LowRank):
        return LowRank(torch.as_tensor(covariances.factors), covariances.variance)
    return torch.as_tensor(covariances)


def quadrature(m, v, integrand) -> float:
    """Integral over the densities of 1-D components, on a range that holds all but 1e-20 of them."""
    s = np.sqrt(v)
    ends = min(m - 12 * s), max(m + 12 * s)
    return quad(lambda t: integrand(norm.pdf(t, m, s)), *ends, points=list(m), limit=500, epsabs=1e-12)[0]


def mixture_entropy(m, v) -> float:
    return quadrature(m, v, lambda p: -p.mean() * math.log(p.mean() + 1e-300))


# -- truths --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "covariances",
    [
        1.0,
        np.ones((2, 1)),
        np.ones((1, 1)),
        np.ones((2, 1, 1)),
        np.ones((1, 1, 1)),
        LowRank(np.full((2, 1, 1), 0.6), 0.64),
        LowRank(np.full((1, 1, 1), 0.6), 0.64),
    ],
    ids=lambda c: f"{type(c).__name__}{getattr(c, 'shape', '')}",
)
def test_the_published_sandwich(covariances):
    """Two unit Gaussians at distance delta: lower <= quadrature <= upper, printed digits of the table."""
    for delta, low, truth, high in [(2, 1.6380, 1.7558, 1.9852), (4, 1.9852, 2.0517, 2.1118)]:
        found = entropy_bounds(np.array([[0.0], [delta]]), covariances)
        assert [float(v) for v in found] == pytest.approx([low, high], abs=6e-5)
        for side, c in zip(found, (8, 2), strict=True):
            closed = UNIT - math.log((1 + math.exp(-(delta**2) / c)) / 2)
            assert float(side) == pytest.approx(closed, abs=1e-12)
        assert mixture_entropy(np.array([0.0, delta]), np.ones(2)) == pytest.approx(truth, abs=6e-5)


@pytest.mark.parametrize("alpha", [0.2, 0.5, 0.8])
def test_unequal_components_are_bracketed(alpha):
    rng = np.random.default_rng(1)
    for _ in range(5):
        m, v = 2 * rng.standard_normal(4), rng.uniform(0.05, 3.0, 4)
        low, high = entropy_bounds(m[:, None], v[:, None], alpha)
        assert low < mixture_entropy(m, v) < high


@pytest.mark.parametrize("alpha", [0.2, 0.5, 0.8])
def test_the_divergences_are_the_integrals_they_stand_for(alpha):
    """The twin's formulas, from quadrature: what follows compares with the twin."""
    m, v = np.array([0.0, 1.5]), np.array([1.0, 0.2])
    args = (m[:1], v[:1, None], m[1:], v[1:, None])
    chernoff = -math.log(quadrature(m, v, lambda p: p[0] ** alpha * p[1] ** (1 - alpha)))
    assert chernoff_gaussians(*args, alpha) == pytest.approx(chernoff, abs=1e-9)
    kl = quadrature(m, v, lambda p: p[0] * (math.log(p[0] + 1e-300) - math.log(p[1] + 1e-300)))
    assert kl_gaussians(*args) == pytest.approx(kl, abs=1e-9)


def test_widths_alone_carry_information():
    """The same mean, variances 1 and 9: both divergences by hand, the truth by quadrature."""
    v = np.array([1.0, 9.0])
    low, high = information_bounds(np.zeros((2, 1)), v[:, None])
    assert low == pytest.approx(-math.log((1 + math.sqrt(3 / 5)) / 2), abs=1e-12)
    kl = (np.array([1 / 9, 9.0]) - 1 + np.array([1, -1]) * math.log(9)) / 2
    assert high == pytest.approx(-np.mean(np.log((1 + np.exp(-kl)) / 2)), abs=1e-12)
    truth = mixture_entropy(np.zeros(2), v) - UNIT - 0.25 * math.log(9)
    assert low < truth < high


@pytest.mark.parametrize("form", FORMS)
def test_sampled_information_lies_between(form):
    """sigma^2 = 1 on top of the covariances; recorded standard errors 0.0177, 0.0183 and 0.0191."""
    means, covariances, matrices = components(form, n=30)
    low, high = information_bounds(means, matrices + np.eye(4))
    e = SamplePropagation(1.0, draws=100)(means, covariances=covariances)
    assert e.stderr < 0.02
    assert low + 4 * e.stderr < e.value < high - 4 * e.stderr


def test_gaussian_information():
    h = np.random.default_rng(0).standard_normal((30, 3))
    closed = 0.5 * np.linalg.slogdet(np.eye(3) + np.cov(h.T, bias=True) / 0.5)[1]
    for covariances in (0.5, np.full((30, 3), 0.5), LowRank(np.zeros((30, 3, 2)), 0.5)):
        assert gaussian_information(h, covariances) == pytest.approx(closed, abs=1e-12)
    for form in FORMS:
        means, covariances, matrices = components(form)
        total = np.cov(means.T, bias=True) + matrices.mean(0)
        expected = 0.5 * (np.linalg.slogdet(total)[1] - np.mean(np.linalg.slogdet(matrices)[1]))
        assert gaussian_information(means, covariances) == pytest.approx(expected, abs=1e-12)
        assert information_bounds(means, covariances)[0] < expected


@pytest.mark.parametrize("form", FORMS)
def test_log_densities(form):
    means, covariances, matrices = components(form)
    z = np.random.default_rng(3).standard_normal((5, 4)) * 3
    truth = np.stack(
        [multivariate_normal(m, c).logpdf(z) for m, c in zip(means, matrices, strict=True)], axis=1
    )
    np.testing.assert_allclose(log_densities(z, means, covariances), truth, atol=1e-11)
    shared = np.stack([multivariate_normal(m, matrices[0]).logpdf(z) for m in means], axis=1)
    first = LowRank(covariances.factors[:1], 0.3) if form == "low-rank" else covariances[:1]
    np.testing.assert_allclose(log_densities(z, means, first), shared, atol=1e-11)
    with pytest.raises(ValueError, match=r"z of shape"):
        log_densities(z[:, :3], means, covariances)


# -- twins and the equality of the forms ---------------------------------------------------------------------


@pytest.mark.parametrize("alpha", [0.5, 0.3])
@pytest.mark.parametrize("numbers", [1, 300, 1 << 20])
@pytest.mark.parametrize("form", FORMS)
def test_twin(form, numbers, alpha, monkeypatch):
    """Every block size: single pairs, some pairs, all at once."""
    monkeypatch.setattr(_pairs, "_NUMBERS", numbers)
    means, covariances, matrices = components(form)
    found = entropy_bounds(means, covariances, alpha)
    assert found == pytest.approx(pairwise_bounds(means, matrices, alpha), abs=1e-10)


@pytest.mark.parametrize("form", ["diagonal", "low-rank"])
def test_short_forms_equal_the_full_one(form):
    for seed in range(5):
        means, covariances, matrices = components(form, n=20, d=6, seed=seed)
        assert entropy_bounds(means, covariances) == pytest.approx(entropy_bounds(means, matrices), abs=1e-10)


@pytest.mark.parametrize("form", FORMS)
def test_equal_covariances_equal_the_functions_of_one_variance(form):
    means, covariances, _ = components(form, n=12)
    ones = np.ones((12, 1, 1))
    if form == "low-rank":
        given = LowRank(covariances.factors[:1], 0.3), LowRank(covariances.factors[:1] * ones, 0.3)
    else:
        given = covariances[:1], np.repeat(covariances[:1], 12, axis=0)
    for alpha in (0.5, 0.3):
        shared, repeated = (entropy_bounds(means, c, alpha) for c in given)
        assert shared == pytest.approx(repeated, abs=1e-10)
    for covariances in (0.7, np.full((12, 4), 0.7), np.stack([0.7 * np.eye(4)] * 12)):
        assert entropy_bounds(means, covariances) == pytest.approx(
            mixture.entropy_bounds(means, 0.7), abs=1e-10
        )


def test_more_directions_than_dimensions_is_still_right():
    rng = np.random.default_rng(0)
    means, factors = rng.standard_normal((6, 2)), rng.standard_normal((6, 2, 5))
    full = factors @ factors.transpose(0, 2, 1) + 0.4 * np.eye(2)
    assert entropy_bounds(means, LowRank(factors, 0.4)) == pytest.approx(
        entropy_bounds(means, full), abs=1e-10
    )


def test_woodbury_does_not_cancel():
    """One covariance for all, 1e12 times wider along its direction than across: no information, exactly."""
    factors = np.repeat(np.random.default_rng(0).standard_normal((1, 5, 1)), 4, axis=0)
    bounds = information_bounds(np.zeros((4, 5)), LowRank(factors, 1e-12))
    assert bounds == pytest.approx((0.0, 0.0), abs=1e-8)


# -- invariance ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
def test_affine_maps_shift_the_entropy_and_keep_the_information(form):
    means, covariances, matrices = components(form)
    map_ = (
        ortho_group.rvs(4, random_state=1)
        @ np.diag([0.5, 1.0, 2.0, 5.0])
        @ ortho_group.rvs(4, random_state=2)
    )
    moved = means @ map_.T + 100.0
    if form == "low-rank":
        map_ = 3.0 * ortho_group.rvs(4, random_state=1)
        moved, carried = means @ map_.T - 7.0, LowRank(map_ @ covariances.factors, 9 * 0.3)
    else:
        carried = map_ @ matrices @ map_.T
    assert information_bounds(moved, carried) == pytest.approx(
        information_bounds(means, covariances), abs=1e-9
    )
    shift = np.linalg.slogdet(map_)[1]
    expected = np.array(entropy_bounds(means, covariances)) + shift
    assert entropy_bounds(moved, carried) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("form", FORMS)
def test_numpy_and_torch_agree(form):
    means, covariances, _ = components(form)
    other = torch.as_tensor(means), to_torch(covariances)
    for function in (entropy_bounds, information_bounds):
        assert [float(v) for v in function(*other)] == pytest.approx(function(means, covariances), abs=1e-12)
    assert float(gaussian_information(*other)) == pytest.approx(
        gaussian_information(means, covariances), abs=1e-12
    )


@pytest.mark.parametrize("form", FORMS)
def test_gradients(form, monkeypatch):
    monkeypatch.setattr(_pairs, "_NUMBERS", 60)
    means, covariances, matrices = components(form, n=3, d=2)
    free = covariances.factors if form == "low-rank" else covariances
    if form == "full":
        free = np.linalg.cholesky(matrices)  # a factor, as single entries of a symmetric matrix cannot move

    def bounds(m, c, s):
        cov = {
            "diagonal": lambda: c + s,
            "full": lambda: c @ c.mT + s * torch.eye(2).double(),
            "low-rank": lambda: LowRank(c, s),
        }
        return (*entropy_bounds(m, cov[form](), 0.4), gaussian_information(m, cov[form]()))

    inputs = [torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (means, free, 0.3)]
    assert torch.autograd.gradcheck(bounds, inputs)


def test_a_backward_pass_keeps_no_block(monkeypatch):
    """What autograd saves for n = 40, d = 6 matrices: far less than the n^2 d^2 numbers of all pairs."""
    monkeypatch.setattr(_pairs, "_NUMBERS", 1000)
    means, covariances, _ = components("full", n=40, d=6)
    m = torch.tensor(means, requires_grad=True)

    def numbers_saved() -> tuple[int, torch.Tensor]:
        saved = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t.numel()) or t, lambda t: t):
            value = entropy_bounds(m, torch.as_tensor(covariances))[0]
        return sum(saved), torch.autograd.grad(value, m)[0]

    lean, gradient = numbers_saved()
    monkeypatch.setattr(_pairs, "_recomputed", lambda function: function)
    kept, expected = numbers_saved()
    assert kept > 40**2 * 6**2 > 2 * lean
    torch.testing.assert_close(gradient, expected)


# -- degenerate input ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
def test_equal_components_carry_nothing_and_distant_ones_log_n(form):
    means, covariances, matrices = components(form)
    ones = np.ones((9, 1, 1))
    first = np.repeat(matrices[:1], 9, axis=0)
    same = {
        "diagonal": lambda: np.repeat(covariances[:1], 9, axis=0),
        "full": lambda: first,
        "low-rank": lambda: LowRank(covariances.factors[:1] * ones, 0.3),
    }[form]()
    assert information_bounds(means * 0 + 0.1, same) == pytest.approx((0, 0), abs=1e-12)
    entropy = multivariate_normal(np.zeros(4), matrices[0]).entropy()
    assert entropy_bounds(means * 0, same) == pytest.approx((entropy,) * 2, abs=1e-12)
    far = means + 1e6 * np.arange(9.0)[:, None]
    assert information_bounds(far, covariances) == pytest.approx((math.log(9),) * 2, abs=1e-12)


def test_one_component_is_one_gaussian():
    c = np.array([[[2.0, 0.5], [0.5, 1.0]]])
    assert entropy_bounds(np.ones((1, 2)), c) == pytest.approx(
        (multivariate_normal([0, 0], c[0]).entropy(),) * 2
    )


RANK_ONE = np.ones((5, 3, 1)) @ np.ones((5, 1, 3))


@pytest.mark.parametrize("library", [np.asarray, torch.as_tensor])
@pytest.mark.parametrize(
    ("covariances", "message"),
    [
        (RANK_ONE, "not positive definite|singular"),
        (RANK_ONE + 1e-15 * np.eye(3), "not positive definite|singular"),
        (-np.stack([np.eye(3)] * 5), "not positive definite"),
        (np.zeros((5, 3, 3)), "not positive definite|singular"),
        (np.triu(np.ones((5, 3, 3))), "not symmetric"),
        (np.zeros((5, 3)), "variance <= 0"),
        (np.full((5, 3), np.nan), "NaN"),
        (np.ones((4, 3)), r"do not fit means of shape \(5, 3\)"),
        (np.ones((5, 3, 2)), "LowRank"),
        (np.ones(5), "do not fit"),
    ],
)
def test_bad_covariances(library, covariances, message):
    with pytest.raises(ValueError, match=message):
        entropy_bounds(library(np.random.default_rng(0).standard_normal((5, 3))), library(covariances))


def test_bad_settings():
    means = np.random.default_rng(0).standard_normal((5, 3))
    for variance in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(ValueError, match="positive and finite"):
            entropy_bounds(means, LowRank(np.ones((5, 3, 1)), variance))
        with pytest.raises(ValueError, match="positive and finite"):
            entropy_bounds(means, variance)
    for factors in (np.ones((5, 3)), np.ones((5, 2, 1)), np.ones((4, 3, 1)), np.ones((5, 3, 0))):
        with pytest.raises(ValueError, match=r"factors of shape"):
            entropy_bounds(means, LowRank(factors, 1.0))
    for alpha in (0.0, 1.0, -1.0, math.nan):
        with pytest.raises(ValueError, match="alpha"):
            entropy_bounds(means, 1.0, alpha)
    with pytest.raises(ValueError, match="one number"):
        entropy_bounds(means, LowRank(np.ones((5, 3, 1)), np.ones(5)))
    with pytest.raises(TypeError, match="both as torch tensors"):
        entropy_bounds(torch.as_tensor(means), np.ones((5, 3)))
    with pytest.raises(ValueError, match="NaN"):
        entropy_bounds(means * np.nan, 1.0)
    with pytest.raises(ValueError, match=r"\(n, d\)"):
        entropy_bounds(means[0], 1.0)


# -- KolchinskyTracey with covariances -----------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
def test_estimator_adds_its_noise(form):
    means, covariances, matrices = components(form, n=20)
    e = KolchinskyTracey(0.5)(means, covariances=covariances)
    low, high = information_bounds(means, matrices + 0.25 * np.eye(4))
    gaussian = gaussian_information(means, matrices + 0.25 * np.eye(4))
    assert e.interval == pytest.approx((low, min(high, gaussian)), abs=1e-10)
    assert e.diagnostics["kl_upper"] == pytest.approx(high, abs=1e-10)
    other = KolchinskyTracey(0.5)(torch.as_tensor(means), covariances=to_torch(covariances))
    assert other.interval == pytest.approx(e.interval, abs=1e-12)


def test_no_covariance_is_the_plain_channel():
    means, _, _ = components("full", n=20)
    plain = KolchinskyTracey(0.5)(means).interval
    for nothing in (np.zeros((20, 4)), np.zeros((1, 4, 4)), LowRank(np.zeros((20, 4, 1)))):
        assert KolchinskyTracey(0.5)(means, covariances=nothing).interval == pytest.approx(plain, abs=1e-10)


@pytest.mark.parametrize("form", FORMS)
def test_labels_cross_the_sides(form):
    means, covariances, matrices = components(form, n=20)
    y = np.arange(20) % 3
    whole = KolchinskyTracey(0.5)(means, covariances=matrices).interval
    parts = [
        (np.mean(y == c), KolchinskyTracey(0.5)(means[y == c], covariances=matrices[y == c]).interval)
        for c in range(3)
    ]
    e = KolchinskyTracey(0.5)(means, y, covariances=covariances)
    assert e.interval[0] == pytest.approx(whole[0] - sum(p * i[1] for p, i in parts), abs=1e-10)
    assert e.interval[1] == pytest.approx(whole[1] - sum(p * i[0] for p, i in parts), abs=1e-10)


def test_a_constant_column_may_carry_information_by_its_width():
    widths = np.repeat([[0.0], [100.0]], 10, axis=0)
    e = KolchinskyTracey(1.0)(np.ones((20, 1)), covariances=widths)
    assert e.value > 0.1
    assert e.flags == ()


def test_estimator_refuses_what_is_no_covariance():
    x = np.random.default_rng(0).standard_normal((20, 3))
    for bad, message in [
        (-np.ones((20, 3)), "negative variance"),
        (np.ones((19, 3)), "do not fit"),
        (np.ones((20, 3, 2)), "LowRank"),
        (np.full((20, 3), np.inf), "NaN or inf"),
        (LowRank(np.ones((20, 3, 1)), -1.0), "not negative"),
        (LowRank(np.ones((20, 2, 1))), "factors of shape"),
    ]:
        with pytest.raises(ValueError, match=message):
            KolchinskyTracey(1.0)(x, covariances=bad)
    for bad in (torch.ones(20, 3), [[1.0]]):
        with pytest.raises(TypeError, match="numpy arrays"):
            KolchinskyTracey(1.0)(x, covariances=bad)
