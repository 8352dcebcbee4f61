"""What goes wrong in neighbour estimators elsewhere: each fault, written out, is seen to move the number; ours has none."""

from __future__ import annotations

import math

import numpy as np
import pytest
from reference_neighbors import distances, standardised
from scipy.special import psi

from estimators import KSG, FrenzelPompe, KozachenkoLeonenko, TotalCorrelation

TRUTH = -0.5 * math.log(0.36)


def pair(n: int = 400, seed: int = 0, rho: float = 0.8) -> tuple[np.ndarray, np.ndarray]:
    x, noise = np.random.default_rng(seed).standard_normal((2, n, 1))
    return x, rho * x + math.sqrt(1 - rho * rho) * noise


def ksg_with_ball(x: np.ndarray, y: np.ndarray, shrink: float | None = None, k: int = 3) -> float:
    """Algorithm 1 with an open ball; or, as libraries do, with a closed one whose radius a constant is taken off."""
    to_x, to_y = distances(x), distances(y)
    radius = np.sort(np.maximum(to_x, to_y), axis=1)[:, k - 1 : k]
    inside = [t < radius if shrink is None else t <= radius - shrink for t in (to_x, to_y)]
    return float(psi(k) + psi(len(x)) - sum(np.mean(psi(np.sum(i, axis=1) + 1)) for i in inside))


def test_closed_ball() -> None:
    x, y = (standardised(v) for v in pair())
    assert KSG()(x, y).value == pytest.approx(ksg_with_ball(x, y), abs=1e-12)
    assert ksg_with_ball(x, y, shrink=0.0) < KSG()(x, y).value - 0.01


def test_open_ball_by_an_absolute_constant() -> None:
    """`d - 1e-15` is d again once d exceeds 16, and nothing at all once d is below 1e-15."""
    x, y = pair()
    for scale in (1e3, 1e-14):
        wrong = ksg_with_ball(x * scale, y * scale, shrink=1e-15)
        right = ksg_with_ball(x * scale, y * scale)
        assert abs(wrong - right) > 0.005
        raw = KSG(standardise=False)
        assert raw(x * scale, y * scale).value == pytest.approx(raw(x, y).value, abs=1e-9)


def test_one_radius_for_both_margins_of_algorithm_two() -> None:
    x, y = (standardised(v) for v in pair(800))
    to_x, to_y = distances(x), distances(y)
    radius = np.sort(np.maximum(to_x, to_y), axis=1)[:, 2:3]
    counts = [np.sum(t <= radius, axis=1) for t in (to_x, to_y)]
    wrong = psi(3) - 1 / 3 + psi(800) - sum(np.mean(psi(c)) for c in counts)
    right = KSG(algorithm=2)(x, y).value
    assert wrong < right - 0.1
    assert abs(right - TRUTH) <= 4 * 0.0263 * math.sqrt(2000 / 800)  # sd at n = 2000, as in test_neighbors


def test_the_point_itself_removed_by_count() -> None:
    """Taking one off the sorted distances removes a copy instead of the point where rows repeat."""
    x, y = pair()
    x, y = np.vstack([x, x[:80]]), np.vstack([y, y[:80]])
    z = np.column_stack([standardised(x), standardised(y)])
    from estimators._search import nearest

    index = nearest(np.asfortranarray(z), 2, 1, False)[1]
    assert (index != np.arange(480)[:, None]).all()
    assert (index[400:, 0] == np.arange(80)).all()  # the copy is the first neighbour
    with_self = np.abs(z[:, None] - z[None]).max(axis=2)
    by_count = np.argsort(with_self, axis=1, kind="stable")[:, 1]
    assert (by_count == np.arange(480)).any()  # a point taken for its own neighbour
    assert {"ties", "duplicates"} <= set(KSG()(x, y).flags)


def test_absolute_jitter_at_a_tiny_scale() -> None:
    x, y = (v * 1e-12 for v in pair())
    noise = np.random.default_rng(0).uniform(-1e-10, 1e-10, (2, 400, 1))
    assert abs(ksg_with_ball(x + noise[0], y + noise[1])) < 0.1  # the signal is gone
    assert KSG()(x, y).value == pytest.approx(KSG()(*pair()).value, abs=1e-9)


def test_jitter_only_where_values_repeat() -> None:
    x, y = pair()
    assert KSG()(x, y).diagnostics["ties"] == 0
    assert KSG()(x, y).value == pytest.approx(ksg_with_ball(*(standardised(v) for v in (x, y))), abs=1e-12)
    assert KSG()(x.round(1), y).diagnostics["ties"] > 0


def test_clipping_at_zero() -> None:
    values = [KSG()(*pair(300, seed, 0.0)).value for seed in range(10)]
    assert min(values) < 0 < np.mean(np.maximum(values, 0))
    assert KozachenkoLeonenko()(np.random.default_rng(0).normal(0, 0.1, 500)).value < 0
    assert TotalCorrelation()(np.random.default_rng(2).standard_normal((300, 3))).value < 0.1
    z, u, v = np.random.default_rng(0).standard_normal((3, 10, 300, 1))
    assert min(FrenzelPompe()(a, b, c).value for a, b, c in zip(u, v, z, strict=True)) < 0


def test_float32_sums() -> None:
    """In float32 the volume of a ball overflows at 100 dimensions; here every sum is in float64."""
    x = np.random.default_rng(0).standard_normal((300, 200)).astype(np.float32)
    e = KozachenkoLeonenko(norm="euclidean")(x)
    assert e.value == pytest.approx(KozachenkoLeonenko(norm="euclidean")(x.astype(float)).value, abs=1e-9)
    assert math.isfinite(e.value)
    with np.errstate(over="ignore"):
        assert np.isinf(np.prod(np.full(200, 2, np.float32) ** 2))
    assert "high-dimension" in e.flags


def test_columns_that_depend_on_each_other_have_no_entropy() -> None:
    x, y = pair(500)
    for z in (np.hstack([x, x]), np.hstack([x, y, x + y]), np.hstack([x, 1e-6 * x])):
        for norm in ("max", "euclidean"):
            assert "rank-deficient" in KozachenkoLeonenko(norm=norm)(z).flags
    for z in (np.hstack([x, y]), np.hstack([x, x + 1e-7 * y])):
        assert "rank-deficient" not in KozachenkoLeonenko()(z).flags
    wide = np.random.default_rng(0).standard_normal((50, 60))
    assert "rank-deficient" not in KozachenkoLeonenko()(wide).flags  # fewer samples than columns say nothing
