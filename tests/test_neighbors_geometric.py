"""Geometric neighbour estimator: Gaussian truths, slow twin, near-degenerate laws, invariances, flags, refusals."""

from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest
import torch
from reference_neighbors_mixed import geometric

from estimators import KSG, GeometricKNN, KozachenkoLeonenko

SEEDS = 10


def pair(rho: float, n: int, seed: int, d: int = 1) -> tuple[np.ndarray, np.ndarray]:
    x, e = np.random.default_rng(seed).standard_normal((2, n, d))
    return x, rho * x + math.sqrt(1 - rho * rho) * e


def truth(rho: float, d: int = 1) -> float:
    return -0.5 * d * math.log1p(-rho * rho)


# Standard deviation and mean error over 60 other seeds at n = 1000, k = 20.
@pytest.mark.parametrize(
    ("d", "rho", "std", "bias"),
    [
        (1, 0.0, 0.0145, -0.0086),
        (1, 0.8, 0.0314, -0.0122),
        (1, 0.9999, 0.0327, -0.1447),
        (1, 1 - 1e-8, 0.0317, -0.1544),
        (2, 0.5, 0.0384, 0.0120),
        (2, 0.9999, 0.0446, -0.1569),
    ],
)
def test_gaussian_information(d: int, rho: float, std: float, bias: float) -> None:
    values = [GeometricKNN()(*pair(rho, 1000, seed, d)).value for seed in range(SEEDS)]
    assert abs(np.mean(values) - truth(rho, d) - bias) <= 4 * std * math.sqrt(1 / SEEDS + 1 / 60)


@pytest.mark.parametrize(("d", "std", "bias"), [(1, 0.0211, -0.0318), (3, 0.0385, -0.1158)])
def test_gaussian_entropy(d: int, std: float, bias: float) -> None:
    cov = 0.5 * np.eye(d) + 0.5
    exact = 0.5 * (d * math.log(2 * math.pi * math.e) + np.linalg.slogdet(cov)[1])
    draws = (np.random.default_rng(s).standard_normal((1000, d)) for s in range(SEEDS))
    values = [GeometricKNN()(x @ np.linalg.cholesky(cov).T).value for x in draws]
    assert abs(np.mean(values) - exact - bias) <= 4 * std * math.sqrt(1 / SEEDS + 1 / 60)


@pytest.mark.parametrize("d", [1, 2])
def test_near_degenerate_laws_are_where_it_beats_balls(d: int) -> None:
    for rho in (0.9999, 1 - 1e-8):
        x, y = pair(rho, 1000, 0, d)
        if d == 2 or rho > 0.9999:  # at 4.3 nats KSG with k = 3 still holds its own in the plane
            assert KSG()(x, y).value < truth(rho, d) - 1
        assert KSG(k=20)(x, y).value < truth(rho, d) - 0.5
        assert abs(GeometricKNN()(x, y).value - truth(rho, d)) < 0.35


@pytest.mark.parametrize(("dx", "dy", "k"), [(1, 1, 5), (1, 2, 20), (2, 2, 9), (2, 3, 7)])
@pytest.mark.parametrize("noise", [0.01, 1.0])
def test_twin(dx: int, dy: int, k: int, noise: float) -> None:
    rng = np.random.default_rng(dx)
    x = rng.standard_normal((150, dx)) * 4
    y = x[:, :1] + noise * rng.standard_normal((150, dy))
    assert GeometricKNN(k=k)(x, y).value == pytest.approx(geometric(x, y, k), abs=1e-8)
    assert GeometricKNN(k=k)(x).value == pytest.approx(geometric(x, k=k), abs=1e-8)


def test_on_a_line_it_is_kozachenko_leonenko_with_logarithms() -> None:
    x = np.random.default_rng(0).exponential(size=400)
    from scipy.special import psi

    expected = KozachenkoLeonenko(k=7)(x).value + math.log(400 / 7) - psi(400) + psi(7)
    assert GeometricKNN(k=7)(x).value == pytest.approx(expected, abs=1e-10)


def test_invariances() -> None:
    x, y = pair(0.99, 500, 1, 2)
    e = GeometricKNN()(x, y)
    for scale in (1e-12, 1e-6, -3.0, 1e6, 1e12):
        assert GeometricKNN()(x * scale, y / scale).value == pytest.approx(e.value, abs=1e-8)
        shifted = GeometricKNN()(x * scale + 5 * scale).value
        assert shifted == pytest.approx(GeometricKNN()(x).value + 2 * math.log(abs(scale)), abs=1e-8)
    assert GeometricKNN()(y, x).value == pytest.approx(e.value, abs=1e-9)
    order = np.random.default_rng(0).permutation(500)
    assert GeometricKNN()(x[order], y[order]).value == pytest.approx(e.value, abs=1e-9)
    rng = np.random.default_rng(2)
    q, r = (np.linalg.qr(rng.standard_normal((2, 2)))[0] for _ in range(2))
    raw = GeometricKNN(standardise=False)
    assert raw(x @ q, y @ r).value == pytest.approx(raw(x, y).value, abs=1e-8)
    assert raw(x * 1e-9 @ q).value == pytest.approx(raw(x).value + 2 * math.log(1e-9), abs=1e-8)
    # Without standardisation the ellipsoids still take most of the unit back, which balls cannot.
    assert (
        abs(raw(x * 100, y).value - raw(x, y).value)
        < 1
        < KSG(standardise=False)(x, y).value - KSG(standardise=False)(x * 100, y).value
    )


def test_workers_and_libraries_agree() -> None:
    x, y = pair(0.9, 500, 1)
    e = GeometricKNN()(x, y)
    assert GeometricKNN(workers=2)(x, y) == GeometricKNN()(torch.from_numpy(x), torch.from_numpy(y)) == e
    assert e.quantity == "I(X;Y)"
    assert GeometricKNN()(x).quantity == "H(X)"


def test_memory_holds_no_square_of_the_samples() -> None:
    x, y = pair(0.5, 6000, 1)
    GeometricKNN()(x[:300], y[:300])
    tracemalloc.start()
    GeometricKNN()(x, y)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 6000 * 6000 * 4  # half a matrix of float64, for all of its chunks


def test_functions_of_x_are_flagged() -> None:
    x = np.random.default_rng(0).standard_normal((1000, 1))
    for y in (x, 2 * x + 3):
        e = GeometricKNN()(x, y)
        assert {"saturated", "large-correction"} <= set(e.flags)
        assert math.isfinite(e.value)
    for y in (np.tanh(x), x**3, np.sin(x)):
        assert "large-correction" in GeometricKNN()(x, y).flags
    assert GeometricKNN()(*pair(0.8, 1000, 0)).flags == ()
    assert GeometricKNN()(x * np.array([1.0, 2.0])).flags == ("rank-deficient",)


def test_few_neighbours_are_flagged_or_refused() -> None:
    x, y = pair(0.5, 1000, 0, 2)
    few = GeometricKNN(k=4)(x, y)
    assert "high-dimension" in few.flags
    assert few.diagnostics["empty"] > 0.5
    assert abs(few.value - truth(0.5, 2)) > 1  # the flag is deserved
    assert GeometricKNN(k=20)(x, y).diagnostics["empty"] < 0.05
    with pytest.raises(ValueError, match=r"k = 3 neighbours span no ellipsoid in 4 dimensions; give k >= 4"):
        GeometricKNN(k=3)(x, y)
    assert GeometricKNN(k=3)(x).quantity == "H(X)"


def test_flags_and_refusals() -> None:
    x, y = pair(0.8, 400, 0)
    assert {"ties", "duplicates"} <= set(GeometricKNN()(np.round(x, 1), np.round(y, 1)).flags)
    rows = np.r_[np.arange(380), np.arange(20)]
    assert {"ties", "duplicates"} <= set(GeometricKNN()(x[rows], y[rows]).flags)
    assert "small-sample" in GeometricKNN()(x[:199], y[:199]).flags
    assert "small-sample" not in GeometricKNN()(x[:200], y[:200]).flags
    assert "heavy-tails" in GeometricKNN()(x**9, y).flags
    constant = GeometricKNN()(np.column_stack([x, np.ones(400)]), y)
    assert (constant.flags, constant.value) == (("constant-columns",), GeometricKNN()(x, y).value)
    with pytest.raises(ValueError, match="all columns are constant"):
        GeometricKNN()(x, np.ones((400, 1)))
    with pytest.raises(ValueError, match=r"k = 20 .* n = 20"):
        GeometricKNN()(x[:20], y[:20])
    with pytest.raises(ValueError, match=r"x has shape \(400, 1\) and y has shape \(399, 1\)"):
        GeometricKNN()(x, y[1:])
    with pytest.raises(ValueError, match="NaN or inf"):
        GeometricKNN()(x, np.where(y == y[3], np.inf, y))
    with pytest.raises(TypeError, match="discrete variable"):
        GeometricKNN()(x, np.arange(400))
    with pytest.raises(TypeError, match="k must be of type int"):
        GeometricKNN(k=2.0)
    with pytest.raises(ValueError, match="k must be"):
        GeometricKNN(k=0)
