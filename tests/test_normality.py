"""The departure from a normal law: exact moments, false alarms, power, and the flag that it raises."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from estimators import Gaussian, GaussianCopula
from estimators._normality import LIMIT, departure, leading


def centred(x: np.ndarray) -> np.ndarray:
    return x - x.mean(axis=0)


@pytest.mark.parametrize(("n", "d"), [(6, 1), (8, 4), (20, 2), (20, 17), (60, 30)])
def test_moments_are_exact_at_any_n_and_dimension(n: int, d: int) -> None:
    rng = np.random.default_rng(n + d)
    reps = 1500
    z = np.array([departure(centred(rng.standard_normal((n, d)))) for _ in range(reps)])
    square = z**2
    assert abs(z.mean()) <= 4 / math.sqrt(reps)
    assert abs(square.mean() - 1) <= 4 * square.std(ddof=1) / math.sqrt(reps)


def test_leading_directions_keep_the_law() -> None:
    rng = np.random.default_rng(0)
    scales = 2.0 ** -np.arange(30)
    z = np.array([departure(leading(centred(rng.standard_normal((100, 30)) * scales))) for _ in range(500)])
    assert abs(z.mean()) <= 4 / math.sqrt(500)
    assert abs((z**2).mean() - 1) <= 4 * (z**2).std(ddof=1) / math.sqrt(500)


@pytest.mark.parametrize(("n", "dx", "dy"), [(15, 1, 1), (50, 1, 1), (50, 3, 2), (60, 20, 20), (200, 1, 1)])
def test_normal_data_hardly_ever_raise_the_flag(n: int, dx: int, dy: int) -> None:
    """At most 1 in 200: the count over 400 samples is within four standard deviations of that."""
    rng = np.random.default_rng(n)
    raised = 0
    for _ in range(400):
        joint = rng.standard_normal((n, dx + dy)) @ rng.standard_normal((dx + dy, dx + dy))
        raised += "non-gaussian" in Gaussian()(joint[:, :dx], joint[:, dx:]).flags
    assert raised <= 2 + 4 * math.sqrt(2)


def laws(n: int, seed: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(seed)
    u, v = rng.standard_normal((2, n, 1))
    angle = 2 * np.pi * rng.random((n, 1))
    return {
        "sign": (u, u * np.sign(v)),  # both margins are normal, the pair is not
        "square": (u, u**2 + 0.3 * v),
        "exponential": (np.exp(u), np.exp(u + v)),
        "uniform": (rng.random((n, 1)), rng.random((n, 1))),
        "ring": (np.cos(angle) + 0.1 * u, np.sin(angle) + 0.1 * v),
        "tails": (rng.standard_t(5, (n, 1)), rng.standard_t(5, (n, 1))),
    }


@pytest.mark.parametrize("law", list(laws(2, 0)))
def test_other_laws_raise_it(law: str) -> None:
    for seed in range(3):
        e = Gaussian()(*laws(1500, seed)[law])
        assert "non-gaussian" in e.flags, e.diagnostics["departure"]


def test_what_many_columns_dilute_the_leading_ones_show() -> None:
    rng = np.random.default_rng(0)
    shared = np.sign(rng.standard_normal((1000, 2)))
    x, y = (shared @ rng.standard_normal((2, 64)) * 3 + rng.standard_normal((1000, 64)) for _ in range(2))
    e = Gaussian()(x, y)
    assert abs(e.diagnostics["departure"]) < LIMIT < abs(e.diagnostics["departure_leading"])
    assert "non-gaussian" in e.flags


def test_linear_maps_libraries_and_margins() -> None:
    rng = np.random.default_rng(0)
    x = rng.exponential(size=(500, 3))
    value = departure(centred(x))
    assert departure(centred(x @ rng.standard_normal((3, 3)))) == pytest.approx(value, abs=1e-8)
    assert departure(torch.from_numpy(centred(x))) == pytest.approx(value, abs=1e-8)
    wide = centred(rng.standard_normal((300, 20)))
    assert departure(leading(torch.from_numpy(wide))) == pytest.approx(departure(leading(wide)), abs=1e-8)
    a, b = x[:, :1], x[:, :1] + x[:, 1:2]
    assert "non-gaussian" in Gaussian()(a, b).flags
    # Ranks take the margins away, and with them what was not normal in a monotone image of a normal pair.
    u, v = rng.standard_normal((2, 1500, 1))
    assert "non-gaussian" in Gaussian()(np.exp(u), np.exp(u + v)).flags
    assert "non-gaussian" not in GaussianCopula()(np.exp(u), np.exp(u + v)).flags
    assert "non-gaussian" in GaussianCopula()(u, u**2 + 0.3 * v).flags


def test_the_conditional_is_judged_with_its_condition() -> None:
    z, u, v = np.random.default_rng(0).standard_normal((3, 1000, 1))
    assert "non-gaussian" not in Gaussian()(z + u, z + v, z).flags
    assert "non-gaussian" in Gaussian()(z**2 + u, z + v, z).flags


def test_too_few_samples_say_nothing() -> None:
    assert departure(centred(np.random.default_rng(0).standard_normal((4, 3)))) == 0
    assert departure(np.zeros((10, 1))) == 0
    assert Gaussian()(*np.random.default_rng(0).standard_normal((2, 4, 1))).flags == ("small-sample",)
    assert "small-sample" in Gaussian()(np.random.default_rng(0).standard_normal((12, 2))).flags
    assert "small-sample" not in Gaussian()(np.random.default_rng(0).standard_normal((13, 2))).flags
