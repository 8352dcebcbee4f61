"""Frenzel-Pompe conditional mutual information: closed form, slow twin, invariances, ceiling, refusals."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from reference_neighbors_mixed import frenzel_pompe
from truths_neighbors import covariance, gaussian_cmi, normal

from estimators.neighbors import KSG
from estimators.neighbors_conditional import FrenzelPompe

SEEDS = 10


def chain(n: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Z drives both, and X drives Y: I(X;Y|Z) = log(2) / 2."""
    z, u, v = np.random.default_rng(seed).standard_normal((3, n, 1))
    return z + u, z + u + v, z


# Standard deviation and mean error over 100 other seeds at n = 1000.
@pytest.mark.parametrize(
    ("dx", "dy", "dz", "cov_seed", "std", "bias"),
    [(1, 1, 1, 0, 0.0220, 0.0), (2, 1, 2, 1, 0.0180, -0.0072), (1, 2, 1, 3, 0.0266, -0.0062)],
)
def test_gaussian(dx: int, dy: int, dz: int, cov_seed: int, std: float, bias: float) -> None:
    cov = covariance(dx + dy + dz, cov_seed)
    draws = (normal(cov, 1000, seed) for seed in range(SEEDS))
    values = [FrenzelPompe()(w[:, :dx], w[:, dx : dx + dy], w[:, dx + dy :]).value for w in draws]
    assert abs(np.mean(values) - gaussian_cmi(cov, dx, dy) - bias) <= 4 * std / math.sqrt(SEEDS)


def test_a_common_driver_is_explained_away() -> None:
    values, plain = [], []
    for seed in range(SEEDS):
        z, u, v = np.random.default_rng(seed).standard_normal((3, 1000, 1))
        values.append(FrenzelPompe()(z + u, z + v, z).value)
        plain.append(KSG()(z + u, z + v).value)
    assert abs(np.mean(values)) <= 4 * 0.0205 / math.sqrt(SEEDS)  # std over 100 other seeds
    assert min(values) < 0 < max(values)  # never clipped
    assert np.mean(plain) > 0.1  # log(4 / 3) / 2 = 0.144 without the condition


@pytest.mark.parametrize("norm", ["max", "euclidean"])
@pytest.mark.parametrize("k", [1, 4])
@pytest.mark.parametrize(("dx", "dy", "dz"), [(1, 1, 1), (2, 1, 3), (6, 6, 6)])
def test_twin(k: int, dx: int, dy: int, dz: int, norm: str) -> None:
    rng = np.random.default_rng(dx)
    z = rng.standard_normal((250, dz))
    x, y = rng.standard_normal((250, dx)) * 5 + z[:, :1], rng.standard_normal((250, dy)) + z[:, -1:]
    assert FrenzelPompe(k=k, norm=norm)(x, y, z).value == pytest.approx(
        frenzel_pompe(x, y, z, k, norm), abs=1e-12
    )


def test_the_ball_is_open() -> None:
    """Counting the boundary neighbour, as a closed ball does, moves the estimate well beyond rounding."""
    x, y, z = chain(300, 0)
    closed = np.nextafter(1, 2)  # any larger radius counts it: then no twin would agree
    assert frenzel_pompe(x, y, z) == pytest.approx(FrenzelPompe()(x, y, z).value, abs=1e-12)
    assert abs(_with_radius_factor(x, y, z, closed + 1e-9) - frenzel_pompe(x, y, z)) > 1e-3


def _with_radius_factor(x: np.ndarray, y: np.ndarray, z: np.ndarray, factor: float, k: int = 3) -> float:
    from reference_neighbors import distances, standardised
    from scipy.special import psi

    to_x, to_y, to_z = (distances(standardised(v)) for v in (x, y, z))
    radius = factor * np.sort(np.maximum(np.maximum(to_x, to_y), to_z), axis=1)[:, k - 1 : k]
    near = [np.sum(t < radius, axis=1) + 1 for t in (to_z, np.maximum(to_x, to_z), np.maximum(to_y, to_z))]
    return float(psi(k) + np.mean(psi(near[0]) - psi(near[1]) - psi(near[2])))


def test_scale_offset_order_and_symmetry() -> None:
    x, y, z = chain(500, 1)
    value = FrenzelPompe()(x, y, z).value
    for scale in (1e-12, 1e-6, -3.0, 1e6, 1e12):
        assert FrenzelPompe()(x * scale, y, z / scale).value == pytest.approx(value, abs=1e-9)
        raw = FrenzelPompe(standardise=False)
        assert raw(x * scale, y * scale, z * scale).value == pytest.approx(raw(x, y, z).value, abs=1e-9)
    assert FrenzelPompe()(y, x, z).value == pytest.approx(value, abs=1e-12)
    order = np.random.default_rng(0).permutation(500)
    assert FrenzelPompe()(x[order], y[order], z[order]).value == pytest.approx(value, abs=1e-12)
    assert FrenzelPompe()(x + 1e6, y, z - 1e6).value == pytest.approx(value, abs=3e-3)
    assert FrenzelPompe(standardise=False)(x * 1e3, y, z).value != pytest.approx(value, abs=0.05)


def test_the_euclidean_form_ignores_rotations_within_a_variable() -> None:
    rng = np.random.default_rng(3)
    z = rng.standard_normal((400, 3))
    x, y = z + rng.standard_normal((400, 3)), z + rng.standard_normal((400, 3))
    q, r, s = (np.linalg.qr(rng.standard_normal((3, 3)))[0] for _ in range(3))
    estimator = FrenzelPompe(norm="euclidean", standardise=False)
    value = estimator(x, y, z).value
    assert estimator(x @ q, y @ r, z @ s).value == pytest.approx(value, abs=1e-9)
    largest = FrenzelPompe(standardise=False)
    assert abs(largest(x @ q, y @ r, z @ s).value - largest(x, y, z).value) > 1e-3
    # Mixing the columns of two variables is no rotation within one, and is seen.
    mixed = np.hstack([x, z]) @ np.linalg.qr(rng.standard_normal((6, 6)))[0]
    assert abs(estimator(mixed[:, :3], y, mixed[:, 3:]).value - value) > 1e-2


def test_with_single_columns_the_norms_are_one() -> None:
    arrays = chain(500, 1)
    expected = FrenzelPompe()(*arrays)
    found = FrenzelPompe(norm="euclidean")(*arrays)
    assert found.value == pytest.approx(expected.value, abs=1e-12)
    assert found.diagnostics == pytest.approx(expected.diagnostics, abs=1e-12)


@pytest.mark.parametrize("norm", ["max", "euclidean"])
def test_workers_and_libraries_agree(norm: str) -> None:
    arrays = chain(500, 2)
    expected = FrenzelPompe(norm=norm)(*arrays)
    assert FrenzelPompe(norm=norm, workers=3)(*arrays) == expected
    assert FrenzelPompe(norm=norm)(*map(torch.from_numpy, arrays)) == expected


def test_ceiling_and_saturation() -> None:
    x, y, z = chain(1000, 0)
    e = FrenzelPompe()(x, y, z)
    assert e.quantity == "I(X;Y|Z)"
    assert e.value < e.ceiling - 1
    assert e.flags == ()
    copy = FrenzelPompe()(x, x, z)
    assert copy.value == pytest.approx(copy.ceiling, abs=1e-9)
    assert "saturated" in copy.flags
    # A condition of many dimensions sets all neighbours apart, and nothing can be seen behind it.
    wide = np.random.default_rng(0).standard_normal((1000, 30))
    blind = FrenzelPompe()(x, x, wide)
    assert {"saturated", "high-dimension"} <= set(blind.flags)
    assert blind.ceiling < 1


def test_ties_duplicates_and_constants() -> None:
    x, y, z = chain(500, 0)
    assert "ties" in FrenzelPompe()(x, y, np.round(z, 1)).flags
    rows = np.r_[np.arange(450), np.arange(50)]
    e = FrenzelPompe()(x[rows], y[rows], z[rows])
    assert {"ties", "duplicates"} <= set(e.flags)
    assert e.diagnostics["duplicates"] == 50
    constant = FrenzelPompe()(x, y, np.column_stack([z, np.ones(500)]))
    assert constant.value == FrenzelPompe()(x, y, z).value
    assert constant.flags == ("constant-columns",)
    assert "heavy-tails" in FrenzelPompe()(x**9, y, z).flags
    assert "small-sample" in FrenzelPompe()(x[:29], y[:29], z[:29]).flags


def test_refusals() -> None:
    x, y, z = chain(50, 0)
    with pytest.raises(ValueError, match=r"x has shape \(50, 1\) and y has shape \(49, 1\)"):
        FrenzelPompe()(x, y[1:], z)
    with pytest.raises(ValueError, match=r"x has shape \(50, 1\) and z has shape \(49, 1\)"):
        FrenzelPompe()(x, y, z[1:])
    with pytest.raises(ValueError, match=r"z of shape .* all columns are constant"):
        FrenzelPompe()(x, y, np.ones((50, 1)))
    with pytest.raises(ValueError, match=r"z of shape .* has NaN or inf"):
        FrenzelPompe()(x, y, np.where(z == z[3], np.inf, z))
    with pytest.raises(TypeError, match="discrete variable"):
        FrenzelPompe()(x, y, np.arange(50) % 2)
    with pytest.raises(ValueError, match=r"k = 50 .* n = 50"):
        FrenzelPompe(k=50)(x, y, z)
    with pytest.raises(TypeError, match=r"pass z.cpu\(\)"):
        FrenzelPompe()(x, y, torch.empty(50, 1, device="meta"))
    with pytest.raises(ValueError, match="workers"):
        FrenzelPompe(workers=0)
