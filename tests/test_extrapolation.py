"""Extrapolation in n: removes a 1/n bias, covers its expectation, and says when the line bends."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from estimators import Estimate, Extrapolated, Gaussian


@dataclasses.dataclass(frozen=True)
class Biased:
    """The mean of x plus a bias that is a known function of n."""

    linear: float = 0.0
    quadratic: float = 0.0

    def __call__(self, x):
        n = len(x)
        value = float(np.mean(x)) + self.linear / n + self.quadratic / n**2
        return Estimate(value=value, quantity="H(X)", n=n, method=repr(self), bound="upper", ceiling=9.0)


def test_a_bias_of_one_over_n_is_removed_exactly():
    e = Extrapolated(Biased(linear=50.0), gammas=6)(np.zeros(720))
    assert e.value == pytest.approx(0, abs=1e-12)
    assert e.diagnostics["at_full_n"] == pytest.approx(50 / 720)
    assert e.diagnostics["slope"] == pytest.approx(50 / 720)
    assert "not-linear" not in e.flags
    assert (e.bound, e.ceiling) == ("none", None)  # neither survives the extrapolation


def test_a_bias_that_bends_is_flagged():
    e = Extrapolated(Biased(quadratic=1e5), gammas=8)(np.zeros(840))
    assert "not-linear" in e.flags
    # Without the full sample the parabola is steeper, and its line starts lower.
    assert e.diagnostics["intercept_without_full_n"] < e.value


def test_the_plug_in_bias_of_a_gaussian_goes_away():
    """Independent 6 + 6 dimensions at n = 300: the plug-in value is off by 0.06 nats."""
    estimates = [
        Extrapolated(Gaussian(corrected=False), gammas=6)(
            *np.random.default_rng(s).standard_normal((2, 300, 6))
        )
        for s in range(60)
    ]
    values = np.array([e.value for e in estimates])
    plug_in = np.array([e.diagnostics["at_full_n"] for e in estimates])
    error = values.std(ddof=1) / math.sqrt(60)
    assert plug_in.mean() > 0.055
    assert abs(values.mean()) < plug_in.mean() / 4 + 4 * error


def test_the_interval_covers_its_expectation():
    """Means of normal samples: nominal 90 %, 300 repetitions, four binomial standard errors."""
    hits = 0
    for s in range(300):
        low, high = Extrapolated(Biased(linear=5.0), gammas=10)(
            np.random.default_rng(s).standard_normal(500)
        ).interval
        hits += low <= 0 <= high
    assert abs(hits / 300 - 0.9) <= 4 * math.sqrt(0.09 / 300)


def test_parts_that_are_too_small_shorten_the_line_or_refuse():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((2, 60, 4))
    assert Extrapolated(Gaussian(), gammas=10)(x, y).diagnostics["gammas"] < 10
    with pytest.raises(ValueError, match="fewer than 5 sample sizes"):
        Extrapolated(Gaussian())(x[:30], y[:30])


def test_bad_settings():
    with pytest.raises(ValueError, match="at least 5"):
        Extrapolated(Gaussian(), gammas=4)
    with pytest.raises(ValueError, match="between 0 and 1"):
        Extrapolated(Gaussian(), level=1.0)
