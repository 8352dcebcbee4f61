"""Neighbour divergence: Gaussian closed form, slow twin, invariances, coverage, degenerate samples, refusals."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from reference_neighbors_mixed import knn_divergence
from truths_neighbors import covariance, gaussian_kl, normal

from estimators import divergence
from estimators.divergence import KNNDivergence

SEEDS = 10
P, Q, MEAN = covariance(2, 1), 1.5 * covariance(2, 2), np.array([0.5, -0.3])


def pair(n: int, m: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    return normal(P, n, seed), MEAN + normal(Q, m, seed + 50_000)


# Standard deviation and mean error over 100 other seeds, n = 1000 and m = 1500.
@pytest.mark.parametrize(("norm", "std", "bias"), [("max", 0.0391, 0.0093), ("euclidean", 0.0396, 0.0077)])
def test_gaussian(norm: str, std: float, bias: float) -> None:
    truth = gaussian_kl(MEAN, P, Q)
    values = [KNNDivergence(norm=norm)(*pair(1000, 1500, seed)).value for seed in range(SEEDS)]
    assert abs(np.mean(values) - truth - bias) <= 4 * std / math.sqrt(SEEDS)


def test_it_is_not_symmetric() -> None:
    forth, back = (
        gaussian_kl(np.zeros(1), np.eye(1), 4 * np.eye(1)),
        gaussian_kl(np.zeros(1), 4 * np.eye(1), np.eye(1)),
    )
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal(4000), 2 * rng.standard_normal(4000)
    assert abs(KNNDivergence()(x, y).value - forth) <= 4 * 0.023  # std over 20 other seeds
    assert back > 2 * forth
    assert KNNDivergence()(y, x).value > 2 * forth


def test_equal_laws_scatter_about_zero() -> None:
    values = [KNNDivergence()(normal(P, 1000, s), normal(P, 700, s + 50_000)).value for s in range(SEEDS)]
    assert abs(np.mean(values) + 0.0070) <= 4 * 0.0321 / math.sqrt(SEEDS)  # over 100 other seeds
    assert min(values) < 0  # never clipped


@pytest.mark.parametrize("norm", ["max", "euclidean"])
@pytest.mark.parametrize("k", [1, 4])
@pytest.mark.parametrize(("n", "m", "d"), [(200, 90, 1), (90, 200, 3), (150, 150, 17)])
def test_twin(norm: str, k: int, n: int, m: int, d: int) -> None:
    rng = np.random.default_rng(d)
    x, y = rng.standard_normal((n, d)) * 3, rng.standard_normal((m, d)) + 1
    assert KNNDivergence(k=k, norm=norm)(x, y).value == pytest.approx(
        knn_divergence(x, y, k, norm), abs=1e-11
    )


@pytest.mark.parametrize("euclidean", [False, True])
def test_searches_agree(monkeypatch: pytest.MonkeyPatch, euclidean: bool) -> None:
    x, y = pair(300, 200, 0)
    tree = divergence._kth_across(x, y, 3, euclidean)
    monkeypatch.setattr(divergence, "_TREE", 0)
    monkeypatch.setattr(divergence, "_BLOCK", 7 * 200)  # blocks of seven rows
    np.testing.assert_allclose(divergence._kth_across(x, y, 3, euclidean), tree, rtol=1e-14)


@pytest.mark.parametrize("norm", ["max", "euclidean"])
def test_common_scale_and_offset_do_not_matter(norm: str) -> None:
    x, y = pair(500, 400, 1)
    estimator, raw = KNNDivergence(norm=norm), KNNDivergence(norm=norm, standardise=False)
    value, plain = estimator(x, y).value, raw(x, y).value
    for scale in (1e-12, 1e-6, -3.0, 1e6, 1e12):
        assert estimator(x * scale, y * scale).value == pytest.approx(value, abs=1e-9)
        assert raw(x * scale, y * scale).value == pytest.approx(plain, abs=1e-9)
    units = np.array([1e-6, 1e6])
    assert estimator(x * units, y * units).value == pytest.approx(value, abs=1e-9)
    assert estimator(x + 1e6, y + 1e6).value == pytest.approx(value, abs=1e-5)
    assert raw(x * units, y * units).value != pytest.approx(plain, abs=0.01)


def test_samples_are_not_paired() -> None:
    x, y = pair(500, 500, 2)
    value = KNNDivergence()(x, y).value
    assert KNNDivergence()(x, y[::-1]).value == pytest.approx(value, abs=1e-12)
    assert KNNDivergence()(x[::-1], y).value == pytest.approx(value, abs=1e-12)
    e = KNNDivergence()(x, y[:123])
    assert (e.n, e.diagnostics["m"], e.quantity) == (500, 123, "KL(P||Q)")


def test_workers_and_libraries_agree() -> None:
    x, y = pair(400, 300, 3)
    expected = KNNDivergence()(x, y)
    assert KNNDivergence(workers=2)(x, y) == expected
    assert KNNDivergence()(torch.from_numpy(x), torch.from_numpy(y)) == expected


def test_laws_apart_are_flagged() -> None:
    """Where Q has no samples the estimate is low: 5.0 for 8 between N(0, 1) and N(4, 1)."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(0, 1, 1000), rng.normal(4, 1, 1000)
    e = KNNDivergence()(x, y)
    assert "small-sample" in e.flags
    assert e.diagnostics["uncovered"] > 0.5
    assert e.value < 0.8 * 8
    assert KNNDivergence()(x, rng.normal(1, 1, 1000)).flags == ()


def test_ties_duplicates_and_shared_rows() -> None:
    x, y = pair(500, 400, 4)
    assert {"ties", "duplicates"} <= set(KNNDivergence()(np.round(x, 1), np.round(y, 1)).flags)
    y[:50] = x[:50]  # the same rows in both samples
    e = KNNDivergence()(x, y)
    assert e.diagnostics["duplicates"] == 50
    assert "duplicates" in e.flags
    assert math.isfinite(KNNDivergence(k=1)(x, x).value)


def test_repeated_values_of_a_discrete_law() -> None:
    """Enough repeats make the noise in the repeated columns a law of its own, equal in both: it cancels."""
    rng = np.random.default_rng(11)
    p, q = np.array([0.2, 0.5, 0.3]), np.array([0.4, 0.4, 0.2])
    x, y = (rng.choice(3, 4000, p=w).astype(float) for w in (p, q))
    e = KNNDivergence()(x, y)
    assert "ties" in e.flags
    # Mean error and standard deviation over 50 other seeds.
    assert abs(e.value - float(np.sum(p * np.log(p / q))) - 0.0101) <= 4 * 0.0165


def test_constant_columns() -> None:
    x, y = pair(300, 200, 5)
    e = KNNDivergence()(np.column_stack([x, np.ones(300)]), np.column_stack([y, np.ones(200)]))
    without = KNNDivergence()(x, y)
    assert set(e.flags) == {"constant-columns", *without.flags}
    assert e.diagnostics["dropped"] == 1
    assert e.value == without.value
    for other in (2 * np.ones(200), y[:, 0]):
        with pytest.raises(ValueError, match=r"column 2 is constant in one sample .* infinite"):
            KNNDivergence()(np.column_stack([x, np.ones(300)]), np.column_stack([y, other]))
    with pytest.raises(ValueError, match=r"y of shape .* all columns are constant"):
        KNNDivergence()(x, np.ones((200, 2)))


def test_other_flags() -> None:
    x, y = pair(300, 200, 5)
    assert "heavy-tails" in KNNDivergence()(x, y**9).flags
    assert "small-sample" in KNNDivergence()(x, y[:29]).flags
    wide = np.random.default_rng(0).standard_normal((600, 40))
    assert "high-dimension" in KNNDivergence()(wide[:300], wide[300:]).flags


def test_refusals() -> None:
    x, y = pair(50, 40, 0)
    with pytest.raises(ValueError, match=r"\(50, 2\) .* \(40, 1\).* same columns"):
        KNNDivergence()(x, y[:, :1])
    with pytest.raises(ValueError, match="n > k samples of x and m >= k"):
        KNNDivergence(k=50)(x, y)
    with pytest.raises(ValueError, match="n > k samples of x and m >= k"):
        KNNDivergence(k=41)(x, y)
    with pytest.raises(ValueError, match=r"y of shape .* has NaN or inf"):
        KNNDivergence()(x, np.where(y == y[3], np.nan, y))
    with pytest.raises(TypeError, match="discrete variable"):
        KNNDivergence()(x, np.arange(40))
    with pytest.raises(TypeError, match=r"pass y.cpu\(\)"):
        KNNDivergence()(x, torch.empty(40, 2, device="meta"))
    with pytest.raises(ValueError, match="norm"):
        KNNDivergence(norm="l1")


def test_input_is_left_alone() -> None:
    x, y = pair(100, 80, 0)
    before = x.copy(), y.copy()
    x.flags.writeable = y.flags.writeable = False
    KNNDivergence()(x, y)
    np.testing.assert_array_equal(x, before[0])
    np.testing.assert_array_equal(y, before[1])
