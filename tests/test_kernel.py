"""Kernel spectra and kernel dependence: closed forms, invariances, twins, nulls, degenerate inputs."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys

import numpy as np
import pytest
import reference_kernel as slow
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from estimators import CKA, HSIC, DiffusionEntropy, MatrixRenyi, Permuted
from estimators._grams import _same_place
from estimators.dependence import cka, hsic, linear_hsic
from estimators.kernel import (
    diffusion_entropy,
    gaussian_gram,
    matrix_entropy,
    matrix_information,
    median_distance,
)

ALPHAS = [0.1, 0.5, 0.99, 1.0, 1.01, 1.5, 2.0, 3.0, 50.0, math.inf]
RNG = np.random.default_rng(0)
X = RNG.standard_normal((40, 3))
Y = X[:, :2] ** 2 + 0.3 * RNG.standard_normal((40, 2))
Q = np.linalg.qr(RNG.standard_normal((3, 3)))[0]
MEASURES = [
    MatrixRenyi(),
    MatrixRenyi(alpha=1.0),
    MatrixRenyi(alpha=1.01, kernel="cosine"),
    MatrixRenyi(alpha=3.0, kernel="linear"),
    HSIC(),
    HSIC(kernel="linear", unbiased=False),
    CKA(),
    CKA(unbiased=False),
    CKA(kernel="gaussian"),
    CKA(kernel="cosine"),
]


def blocks(c: int, m: int) -> np.ndarray:
    return np.kron(np.eye(c), np.ones((m, m)))


# -- entropies: closed forms ---------------------------------------------------------------------------------


@pytest.mark.parametrize("alpha", ALPHAS)
def test_entropy_of_identity_rank_one_and_blocks(alpha):
    ones = np.outer(X[:, 0], X[:, 0])
    assert float(matrix_entropy(np.eye(30), alpha)) == pytest.approx(math.log(30), abs=1e-12)
    assert float(matrix_entropy(ones, alpha)) == pytest.approx(0, abs=1e-12)
    assert float(matrix_entropy(7 * blocks(5, 6), alpha)) == pytest.approx(math.log(5), abs=1e-10)


@pytest.mark.parametrize("alpha", ALPHAS)
def test_entropy_of_a_known_spectrum(alpha):
    p = np.array([0.5, 0.3, 0.2])
    gram = (Q * (4 * p)) @ Q.T
    expected = {1.0: -np.sum(p * np.log(p)), math.inf: -math.log(0.5)}.get(alpha)
    if expected is None:
        expected = math.log(np.sum(p**alpha)) / (1 - alpha)
    assert float(matrix_entropy(gram, alpha)) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("gap", [1e-3, 1e-6, 1e-9, 1e-12])
def test_von_neumann_is_the_limit(gap):
    gram = gaussian_gram(X, 1.0)
    # |dS/dalpha| at 1 is half the variance of log lambda, below 10 here; nothing cancels near 1
    for alpha in (1 - gap, 1 + gap):
        assert abs(float(matrix_entropy(gram, alpha)) - float(matrix_entropy(gram, 1.0))) <= 10 * gap + 1e-13


@pytest.mark.parametrize("gram", [gaussian_gram(X, 1.0), X @ X.T, np.diag([1.0, 5.0, 0.1])])
def test_shortcut_is_the_eigenvalue_form_for_any_diagonal(gram):
    p = np.linalg.eigvalsh(gram) / np.trace(gram)
    assert float(matrix_entropy(gram, 2.0)) == pytest.approx(-math.log(np.sum(p**2)), abs=1e-10)
    # Division by n^2 instead of the squared trace would be seen on the last two.
    assert float(matrix_entropy(gram, 2.0)) == pytest.approx(
        float(matrix_entropy(gram, 2 + 1e-13)), abs=1e-10
    )


@pytest.mark.parametrize("time", [0.5, 1.0, 4.0])
def test_diffusion_entropy_of_components(time):
    assert float(diffusion_entropy(np.eye(9), time)) == pytest.approx(math.log(9), abs=1e-12)
    assert float(diffusion_entropy(np.ones((9, 9)), time)) == pytest.approx(0, abs=1e-12)
    uneven = np.zeros((9, 9))  # components of unequal size count alike, by their stationary walk
    uneven[:6, :6], uneven[6:, 6:] = 1, 1
    assert float(diffusion_entropy(uneven, time)) == pytest.approx(math.log(2), abs=1e-12)
    assert float(matrix_entropy(uneven, 1.0)) < math.log(2) - 0.05


def test_diffusion_forgets_all_but_components():
    x = np.concatenate([X, X + 1e3])
    gram = gaussian_gram(x, 1.0)
    values = [float(diffusion_entropy(gram, t)) for t in (1, 4, 16, 1e4)]
    assert values == sorted(values, reverse=True)
    assert values[-1] == pytest.approx(math.log(2), abs=1e-9)


@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.0])
def test_labels_give_the_entropy_of_their_frequencies(alpha):
    a = np.repeat([3, 1, 4, 9], [4, 8, 12, 16])
    b = np.arange(40) % 3
    pair = np.unique(np.stack([a, b], 1), axis=0, return_inverse=True)[1].reshape(-1)
    h = [slow.frequency_renyi(v, alpha) for v in (a, b, pair)]
    assert MatrixRenyi(alpha=alpha)(a).value == pytest.approx(h[0], abs=1e-12)
    assert MatrixRenyi(alpha=alpha)(a, b).value == pytest.approx(h[0] + h[1] - h[2], abs=1e-12)


def test_information_of_order_two_may_be_negative_and_is_not_clipped():
    # P(1, 1) = 0, P(0, 0) = 3/5, else 1/5: 0.44 < (0.68)^2
    a, b = np.array([0, 0, 0, 0, 1] * 4), np.array([0, 0, 0, 1, 0] * 4)
    e = MatrixRenyi(alpha=2.0)(a, b)
    assert e.value == pytest.approx(math.log(0.44 / 0.68**2), abs=1e-12)
    assert e.value < 0 < MatrixRenyi(alpha=1.0)(a, b).value


def test_information_of_a_copy_and_of_independent_factors():
    k, l = np.kron(blocks(3, 1), np.ones((4, 4))), np.kron(np.ones((3, 3)), blocks(4, 1))
    for alpha in (0.5, 1.0, 2.0):
        assert float(matrix_information(k, k, alpha)) == pytest.approx(math.log(3), abs=1e-10)
        assert float(matrix_information(k, l, alpha)) == pytest.approx(0, abs=1e-10)


# -- dependence: closed forms --------------------------------------------------------------------------------


def test_linear_hsic_is_the_squared_covariance():
    e = HSIC(kernel="linear", unbiased=False)(X, Y)
    assert e.value == pytest.approx(np.sum(np.cov(X.T, Y.T)[:3, 3:] ** 2), rel=1e-12)
    assert e.unit == "1"


def test_linear_cka_is_kornblith():
    assert CKA(unbiased=False)(X, Y).value == pytest.approx(slow.linear_cka(X, Y), abs=1e-12)


def test_cka_in_one_dimension_is_the_squared_correlation():
    r = np.corrcoef(X[:, 0], Y[:, 0])[0, 1]
    assert CKA(unbiased=False)(X[:, 0], Y[:, 0]).value == pytest.approx(r**2, abs=1e-12)


@pytest.mark.parametrize("unbiased", [True, False])
def test_wide_gaussian_cka_is_linear_cka(unbiased):
    wide = CKA(kernel="gaussian", width=1e3, unbiased=unbiased)(X, Y).value
    assert wide == pytest.approx(CKA(unbiased=unbiased)(X, Y).value, abs=1e-5)  # next order is width^-2


def test_mean_over_all_permutations():
    """Unbiased HSIC averages to 0 exactly, biased HSIC to its diagnostic `chance`."""
    x, y = X[:5], Y[:5]
    for kernel in ("gaussian", "linear"):
        for unbiased in (True, False):
            estimator = HSIC(kernel=kernel, unbiased=unbiased)
            values = [estimator(x, y[list(order)]).value for order in itertools.permutations(range(5))]
            chance = estimator(x, y).diagnostics["chance"]
            assert np.mean(values) == pytest.approx(chance, abs=1e-12)
            assert (chance == 0) == unbiased


@pytest.mark.parametrize("kernel", ["gaussian", "linear"])
def test_unbiased_hsic_has_mean_zero_at_independence_and_biased_has_not(kernel):
    def z(unbiased):
        values = []
        for seed in range(200):
            rng = np.random.default_rng(seed)
            x, y = rng.standard_normal((20, 2)), rng.exponential(size=(20, 2))
            values.append(HSIC(kernel=kernel, unbiased=unbiased)(x, y).value)
        return np.mean(values) / (np.std(values, ddof=1) / math.sqrt(len(values)))

    assert abs(z(unbiased=True)) <= 4
    assert z(unbiased=False) > 10  # the test above can fail


def test_permutation_test_sees_dependence_without_correlation():
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (80, 1))
    y = np.abs(x) + 0.1 * rng.standard_normal((80, 1))
    e = Permuted(HSIC(), times=49)(x, y)
    assert e.diagnostics["p_value"] == pytest.approx(1 / 50)
    assert abs(e.diagnostics["null_mean"]) <= 4 * e.diagnostics["null_sd"] / 7


def test_p_values_are_uniform_at_independence():
    hits = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        e = Permuted(HSIC(), times=9, seed=seed)(rng.standard_normal((15, 1)), rng.standard_normal((15, 1)))
        hits += e.diagnostics["p_value"] <= 0.1
    assert abs(hits - 10) <= 4 * math.sqrt(100 * 0.1 * 0.9)


# -- twins ---------------------------------------------------------------------------------------------------


def test_gram_and_median_twins():
    np.testing.assert_allclose(gaussian_gram(X, 0.7), slow.gaussian_gram(X, 0.7), atol=1e-13)
    assert median_distance(X) == pytest.approx(slow.median_distance(X), rel=1e-13)
    assert median_distance(X[:6]) == pytest.approx(
        slow.median_distance(X[:6]), rel=1e-13
    )  # 15 pairs, an odd number
    np.testing.assert_array_equal(np.diag(gaussian_gram(X, 0.7)), 1)


@pytest.mark.parametrize("alpha", [0.5, 1.0, 1.3, 2.0, 3.0])
def test_renyi_twin(alpha):
    x, y = X[:12], Y[:12]
    k = slow.gaussian_gram(x, 0.5 * slow.median_distance(x))
    l = slow.gaussian_gram(y, 0.5 * slow.median_distance(y))
    h = [slow.renyi(g, alpha) for g in (k, l, k * l)]
    estimator = MatrixRenyi(alpha=alpha, width=0.5)
    assert estimator(x).value == pytest.approx(h[0], abs=1e-9)
    assert estimator(x, y).value == pytest.approx(h[0] + h[1] - h[2], abs=1e-9)


@pytest.mark.parametrize("time", [1.0, 2.5])
def test_diffusion_twin(time):
    gram = slow.gaussian_gram(X, slow.median_distance(X) / 2)
    e = DiffusionEntropy(time=time, width=0.5)(X)
    assert e.value == pytest.approx(slow.diffusion_entropy(gram, time), abs=1e-9)


@pytest.mark.parametrize("unbiased", [True, False])
def test_hsic_twin(unbiased):
    x, y = X[:7], Y[:7]
    twin = slow.hsic_unbiased if unbiased else slow.hsic_biased
    k, l = slow.gaussian_gram(x, slow.median_distance(x)), slow.gaussian_gram(y, slow.median_distance(y))
    assert HSIC(unbiased=unbiased)(x, y).value == pytest.approx(twin(k, l), abs=1e-13)
    assert float(hsic(k, l, unbiased)) == pytest.approx(twin(k, l), abs=1e-13)
    k, l = x @ x.T, y @ y.T
    assert float(linear_hsic(x, y, unbiased)) == pytest.approx(twin(k, l), rel=1e-11)
    assert HSIC(kernel="linear", unbiased=unbiased)(x, y).value == pytest.approx(twin(k, l), rel=1e-11)
    expected = twin(k, l) / math.sqrt(twin(k, k) * twin(l, l))
    assert float(cka(k, l, unbiased)) == pytest.approx(expected, abs=1e-11)
    assert CKA(unbiased=unbiased)(x, y).value == pytest.approx(expected, abs=1e-11)


def test_features_and_gram_forms_agree():
    wide = np.random.default_rng(1).standard_normal((40, 60))
    for unbiased in (True, False):
        by_gram = HSIC(kernel="linear", unbiased=unbiased)(X, wide).value  # 60 columns > 40 rows
        assert by_gram == pytest.approx(float(linear_hsic(X, wide, unbiased)), rel=1e-10)
    s = np.linalg.svd(X, compute_uv=False) ** 2
    assert MatrixRenyi(kernel="linear")(X).value == pytest.approx(
        -math.log(np.sum((s / s.sum()) ** 2)), abs=1e-12
    )
    s = np.linalg.svd(wide, compute_uv=False) ** 2
    e = MatrixRenyi(alpha=1.0, kernel="linear")(wide)
    assert e.value == pytest.approx(-np.sum(s / s.sum() * np.log(s / s.sum())), abs=1e-12)


# -- invariances ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("measure", MEASURES, ids=repr)
def test_rotation_and_order_of_samples(measure):
    order = np.random.default_rng(2).permutation(40)
    value = measure(X, Y).value
    assert measure(X @ Q, Y).value == pytest.approx(value, abs=1e-10)
    assert measure(X[order], Y[order]).value == pytest.approx(value, abs=1e-10)
    assert measure(Y, X).value == pytest.approx(value, abs=1e-10)


@pytest.mark.parametrize(
    "measure",
    [m for m in MEASURES if m.kernel == "gaussian" or (m.kernel == "linear" and not hasattr(m, "alpha"))],
)
def test_shift(measure):
    assert measure(X + 1e4, Y - 5).value == pytest.approx(measure(X, Y).value, rel=1e-7)


@pytest.mark.parametrize("scale", [1e-200, 1e-6, 1e6, 1e200])
@pytest.mark.parametrize(
    "measure", [m for m in MEASURES if not (isinstance(m, HSIC) and m.kernel == "linear")]
)
def test_scale(measure, scale):
    assert measure(scale * X, Y).value == pytest.approx(measure(X, Y).value, abs=1e-9)


def test_scale_of_entropies_and_absolute_width():
    assert DiffusionEntropy()(1e9 * X).value == pytest.approx(DiffusionEntropy()(X).value, abs=1e-9)
    absolute = MatrixRenyi(width=2.0, relative=False)
    assert absolute(X).value == pytest.approx(float(matrix_entropy(slow.gaussian_gram(X, 2.0))), abs=1e-12)
    assert absolute(3 * X).value > absolute(X).value  # an absolute width feels the scale
    assert absolute(X).diagnostics["width_x"] == pytest.approx(2.0)
    assert MatrixRenyi(width=0.5)(X).diagnostics["width_x"] == pytest.approx(slow.median_distance(X) / 2)


@pytest.mark.parametrize("measure", [m for m in MEASURES if isinstance(m, CKA)], ids=repr)
def test_cka_of_itself_is_one(measure):
    assert measure(X, X).value == pytest.approx(1, abs=1e-12)
    assert measure(X, 3 * X @ Q).value == pytest.approx(1, abs=1e-10)


def test_far_clusters_keep_their_inner_distances():
    """The product form of a distance would lose distances of 1e-6 beside offsets of 1e4."""
    x = np.concatenate([1e-6 * X, 1e-6 * X + 1e4])
    gram = gaussian_gram(x, 1e-6)
    np.testing.assert_allclose(gram[:40, :40], slow.gaussian_gram(X, 1.0), atol=1e-12)
    np.testing.assert_allclose(gram[40:, 40:], slow.gaussian_gram(X, 1.0), atol=1e-4)  # 1e4 has 1e-12 left


# -- properties ----------------------------------------------------------------------------------------------

samples = arrays(
    np.float64, st.tuples(st.integers(6, 14), st.integers(1, 4)), elements=st.integers(-9, 9).map(float)
)


@settings(max_examples=25, deadline=None)
@given(samples, st.floats(0.2, 5), st.floats(0.1, 4), st.floats(0.1, 4))
def test_entropy_lies_in_its_range_and_falls_with_alpha(x, width, a, b):
    gram = gaussian_gram(x, width)
    low, high = sorted((a, b))
    values = [float(matrix_entropy(gram, alpha)) for alpha in (low, high)]
    assert -1e-9 <= values[1] <= values[0] + 1e-9 <= math.log(len(x)) + 2e-9
    assert -1e-9 <= float(diffusion_entropy(gram, a)) <= math.log(len(x)) + 1e-9


@settings(max_examples=25, deadline=None)
@given(samples, st.floats(0.2, 5), st.sampled_from([0.5, 1.0, 2.0, 3.0]))
def test_information_is_below_both_entropies(x, width, alpha):
    k, l = gaussian_gram(x, width), gaussian_gram(np.sin(x * x), 0.5)
    least = min(float(matrix_entropy(g, alpha)) for g in (k, l))
    value = float(matrix_information(k, l, alpha))
    assert value <= least + 1e-6
    assert alpha != 1 or value >= -1e-9


@settings(max_examples=25, deadline=None)
@given(samples, st.floats(0.5, 5), st.booleans())
def test_cka_lies_in_its_range(x, width, unbiased):
    k, l = gaussian_gram(x, width), gaussian_gram(np.random.default_rng(0).standard_normal(x.shape), 1.0)
    try:
        value = float(cka(k, l, unbiased))
    except ValueError:  # all rows alike, or all equally far apart
        off = k[~np.eye(len(k), dtype=bool)]
        assert np.ptp(off) < 1e-9
        return
    assert (-1 if unbiased else 0) - 1e-9 <= value <= 1 + 1e-9


# -- torch ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("alpha", [0.7, 1.0, 1.2, 2.0, 4.0])
def test_pure_functions_are_differentiable(alpha):
    x = torch.tensor(X[:7], requires_grad=True)
    y = torch.tensor(Y[:7], requires_grad=True)
    width = torch.tensor(1.3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda a, b, w: matrix_information(gaussian_gram(a, w), gaussian_gram(b, 0.8), alpha), (x, y, width)
    )


@pytest.mark.parametrize("unbiased", [True, False])
def test_dependence_is_differentiable(unbiased):
    x, y = torch.tensor(X[:7], requires_grad=True), torch.tensor(Y[:7], requires_grad=True)
    assert torch.autograd.gradcheck(lambda a, b: linear_hsic(a, b, unbiased), (x, y))
    assert torch.autograd.gradcheck(
        lambda a, b: cka(gaussian_gram(a, 1.0), gaussian_gram(b, 1.0), unbiased), (x, y)
    )
    assert torch.autograd.gradcheck(lambda a: diffusion_entropy(gaussian_gram(a, 1.0), 2.0), (x,))


@pytest.mark.parametrize("measure", [*MEASURES, MatrixRenyi(width=1e-4), MatrixRenyi(alpha=0.5)], ids=repr)
def test_torch_is_numpy(measure):
    labels = (Y[:, 0] > 0.5).astype(np.int64)
    for y in (Y, labels):
        assert measure(torch.tensor(X), torch.tensor(y)).value == pytest.approx(measure(X, y).value, abs=1e-7)


def test_different_libraries_and_devices_are_refused():
    with pytest.raises(TypeError, match="both as numpy arrays or both as tensors"):
        HSIC()(X, torch.tensor(Y))
    with pytest.raises(TypeError, match=r"device 'cpu' and y on 'meta'"):
        _same_place(torch.tensor(X), torch.tensor(Y, device="meta"))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("measure", MEASURES, ids=repr)
def test_cuda_is_numpy(measure):
    labels = (Y[:, 0] > 0.5).astype(np.int64)
    for y in (Y, labels):
        on_device = measure(torch.tensor(X, device="cuda"), torch.tensor(y, device="cuda"))
        assert on_device.value == pytest.approx(measure(X, y).value, abs=1e-9)


def test_import_leaves_torch_out():
    code = "import sys, estimators.kernel, estimators.dependence; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


# -- names, ceilings, flags, degenerate inputs ---------------------------------------------------------------


def test_quantities_name_themselves():
    assert MatrixRenyi()(X).quantity == "matrix-Renyi H_2"
    assert MatrixRenyi(alpha=1.01)(X, Y).quantity == "matrix-Renyi I_1.01"
    assert DiffusionEntropy()(X).quantity == "diffusion spectral entropy"
    assert (HSIC()(X, Y).quantity, CKA()(X, Y).quantity) == ("HSIC", "CKA")
    with pytest.raises(ValueError, match="no bits"):
        _ = CKA()(X, Y).bits


def test_ceilings():
    assert MatrixRenyi()(X).ceiling == pytest.approx(math.log(40))
    assert MatrixRenyi(kernel="linear")(X).ceiling == pytest.approx(math.log(3))
    assert MatrixRenyi(kernel="cosine")(X, Y).ceiling == pytest.approx(math.log(2))
    assert CKA()(X, Y).ceiling == 1
    e = HSIC()(X, X)
    assert e.value == pytest.approx(e.ceiling)
    # Without unit diagonals the pair may have less entropy than each: here 2 log 2 > log 3.
    x = np.array([[1.0, 0], [1, 0], [0, 1], [0, 1], [0, 0], [0, 0]])
    y = np.array([[0.0, 0], [0, 0], [1, 0], [1, 0], [0, 1], [0, 1]])
    e = MatrixRenyi(kernel="linear")(x, y)
    assert e.value == pytest.approx(2 * math.log(2))
    assert math.log(3) < e.value <= e.ceiling + 1e-12


def test_saturation_is_flagged_at_narrow_widths_only():
    for estimator in (MatrixRenyi, DiffusionEntropy):
        assert "saturated" in estimator(width=1e-3)(X).flags
        assert estimator(width=1.0)(X).flags == ()
    assert set(MatrixRenyi(width=1e-3)(X, Y).flags) == {"saturated", "small-sample"}
    assert (
        MatrixRenyi(kernel="linear")(np.repeat(Q, 9, axis=0)).flags == ()
    )  # an even spectrum, cut off by no n
    assert MatrixRenyi()(X, Y).flags == ()


def test_biased_cka_of_noise_is_flagged_and_debiased_is_near_zero():
    rng = np.random.default_rng(3)
    x, y = rng.standard_normal((50, 200)), rng.standard_normal((50, 200))
    biased, debiased = CKA(unbiased=False)(x, y), CKA()(x, y)
    assert biased.value > 0.7
    assert "small-sample" in biased.flags
    assert biased.value == pytest.approx(biased.diagnostics["chance"], abs=0.02)
    assert abs(debiased.value) < 0.1
    assert debiased.flags == ()
    assert CKA(unbiased=False)(X, X).flags == ()


def test_constant_columns_are_dropped_where_they_do_not_count():
    constant = np.concatenate([X, np.full((40, 1), 7.0)], axis=1)
    for measure in (MatrixRenyi(), DiffusionEntropy()):
        assert measure(constant).value == pytest.approx(measure(X).value, abs=1e-12)
        assert measure(constant).flags == ("constant-columns",)
    assert CKA()(constant, Y).flags == ("constant-columns",)
    assert CKA()(constant, Y).value == pytest.approx(CKA()(X, Y).value, abs=1e-12)
    e = MatrixRenyi(kernel="linear")(constant)  # an uncentred kernel sees the constant
    assert e.flags == ()
    assert e.value < MatrixRenyi(kernel="linear")(X).value


def test_rows_of_zeros_have_no_direction():
    x = X.copy()
    x[[3, 8]] = 0
    live = np.delete(np.arange(40), [3, 8])
    e = MatrixRenyi(kernel="cosine")(x, Y)
    assert e.value == pytest.approx(MatrixRenyi(kernel="cosine")(X[live], Y[live]).value, abs=1e-12)
    assert (e.n, e.flags, e.diagnostics["dead_rows"]) == (38, ("dead-rows",), 2)
    x[3:] = 0
    with pytest.raises(ValueError, match="37 rows of zeros out of n = 40"):
        CKA(kernel="cosine")(x, Y)


def test_a_median_of_zero_sets_no_width():
    x = X.copy()
    x[:35] = x[0]
    with pytest.raises(ValueError, match="relative=False"):
        MatrixRenyi()(x)
    e = MatrixRenyi(width=1e-3, relative=False)(x)  # six points, one of them 35 times
    p = np.array([35, 1, 1, 1, 1, 1]) / 40
    assert e.value == pytest.approx(-math.log(np.sum(p**2)), abs=1e-9)


@pytest.mark.parametrize("kernel", ["gaussian", "linear", "cosine"])
def test_cka_of_points_equally_far_apart_is_an_error(kernel):
    with pytest.raises(ValueError, match="0 / 0"):
        CKA(kernel=kernel)(np.eye(40), Y)
    with pytest.raises(ValueError, match="0 / 0"):
        cka(np.eye(40), Y @ Y.T)
    assert 0 < CKA(kernel=kernel, unbiased=False)(np.eye(40), Y).value < 1


@pytest.mark.parametrize(
    ("gram", "message"),
    [
        (np.ones((3, 2)), "square"),
        (np.array([[1.0, 2.0], [0.0, 1.0]]), "symmetric"),
        (np.array([[1.0, np.nan], [np.nan, 1.0]]), "symmetric and finite"),
        (np.array([[1.0, 2.0], [2.0, 1.0]]), "positive semidefinite"),
        (np.zeros((3, 3)), "trace"),
    ],
)
def test_matrices_that_are_no_gram(gram, message):
    for matrix in (gram, torch.tensor(gram, requires_grad=True)):
        with pytest.raises(ValueError, match=message):
            matrix_entropy(matrix, 1.0)


def test_a_gram_clamped_entry_by_entry_is_refused():
    gram = X @ X.T
    with pytest.raises(ValueError, match="by hand"):
        matrix_entropy(np.maximum(gram, 0), 1.0)
    matrix_entropy(gram, 1.0)


def test_a_single_precision_gram_is_accepted():
    single = gaussian_gram(X, 1.0).astype(np.float32)
    for alpha in (1.0, 2.0):
        assert float(matrix_entropy(single, alpha)) == pytest.approx(
            float(matrix_entropy(gaussian_gram(X, 1.0), alpha)), abs=1e-5
        )


@pytest.mark.parametrize("build", [MatrixRenyi, HSIC, CKA])
def test_settings_are_checked(build):
    with pytest.raises(ValueError, match="kernel must be"):
        build(kernel="rbf")
    with pytest.raises(ValueError, match="width"):
        build(width=0.0)


def test_other_settings_and_arguments_are_checked():
    for alpha in (0.0, -1.0, math.nan):
        with pytest.raises(ValueError, match="alpha"):
            MatrixRenyi(alpha=alpha)
        with pytest.raises(ValueError, match="alpha"):
            matrix_entropy(np.eye(3), alpha)
    with pytest.raises(ValueError, match="time"):
        DiffusionEntropy(time=0)
    with pytest.raises(TypeError, match="discrete"):
        DiffusionEntropy()(np.arange(9))
    with pytest.raises(ValueError, match="row sums"):
        diffusion_entropy(np.zeros((3, 3)))
    with pytest.raises(ValueError, match="width must be positive"):
        gaussian_gram(X, 0.0)
    with pytest.raises(ValueError, match=r"\(3, 3\).*\(4, 4\)"):
        matrix_information(np.eye(3), np.eye(4))
    with pytest.raises(ValueError, match=r"\(3, 3\).*\(4, 4\)"):
        hsic(np.eye(3), np.eye(4))
    with pytest.raises(ValueError, match="n >= 4"):
        hsic(np.eye(3), np.eye(3))
    with pytest.raises(ValueError, match=r"\(40, 3\).*\(39, 2\)"):
        linear_hsic(X, Y[1:])
    with pytest.raises(ValueError, match="1 distinct value"):
        HSIC()(X, np.zeros(40, dtype=int))
