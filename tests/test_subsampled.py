"""`Subsampled`: its interval, its choice of parts, and what it says where an error cannot be had."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from scipy.stats import t

from estimators import Estimate, Gaussian, KolchinskyTracey, Subsampled


@dataclasses.dataclass(frozen=True)
class Mean:
    """The mean of all entries; needs `least` rows, and says the sizes that it saw to `seen`."""

    least: int = 1
    bound: str = "none"
    flags: tuple[str, ...] = ()
    seen: list[int] = dataclasses.field(default_factory=list, compare=False)

    def __call__(self, *samples):
        n = len(samples[0])
        self.seen.append(n)
        if n < self.least:
            raise ValueError(f"needs {self.least} rows")
        value = float(np.mean([x.mean() for x in samples]))
        return Estimate(value=value, quantity="mean", n=n, method=repr(self), flags=self.flags)


def normal(n: int, d: int = 1, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, d))


# -- the interval --------------------------------------------------------------------------------------------


def test_the_interval_is_students_t_on_the_parts():
    e = Subsampled(Gaussian(), parts=5, level=0.8)(normal(100))
    reach = float(t.ppf(0.9, 4)) * e.stderr
    assert e.interval == (pytest.approx(e.value - reach), pytest.approx(e.value + reach))
    assert e.level == 0.8
    several = Subsampled(Gaussian())(normal(100))  # 2 parts, 6 times
    reach = float(t.ppf(0.95, 6)) * several.stderr
    assert several.interval == (pytest.approx(several.value - reach), pytest.approx(several.value + reach))


def test_the_error_is_the_mean_variance_over_the_splits():
    values = []

    @dataclasses.dataclass(frozen=True)
    class Kept:
        def __call__(self, x):
            values.append(Gaussian()(x).value)
            return Gaussian()(x)

    e = Subsampled(Kept())(normal(90))
    halves = np.array(values[1:]).reshape(6, 2)
    # The squared error of a mean of two is (a - b)^2 / 4.
    assert e.stderr == pytest.approx(math.sqrt(np.mean((halves[:, 0] - halves[:, 1]) ** 2) / 4))
    assert e.diagnostics["part_mean"] == pytest.approx(halves.mean())


def coverage(factor: float) -> float:
    hits = 0
    for seed in range(400):
        e = Subsampled(Mean())(normal(60, seed=seed))
        hits += abs(e.value) <= factor * (e.interval[1] - e.value)
    return hits / 400


def test_the_interval_covers_and_a_halved_one_is_seen_not_to():
    """Nominal 90 % over 400 samples, four binomial errors; t_6 at half its 95 % quantile (0.97) gives 63 %."""
    assert abs(coverage(1.0) - 0.9) <= 4 * math.sqrt(0.09 / 400)
    assert abs(coverage(0.5) - 0.63) <= 4 * math.sqrt(0.63 * 0.37 / 400)


def test_splits_are_of_our_own_seed():
    x = normal(200)
    first, same, other = (Subsampled(Gaussian(), seed=s)(x).stderr for s in (0, 0, 1))
    assert first == same != other


# -- the choice of parts -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n", "d", "parts", "splits"),
    [
        (100, 1, 2, 6),
        (2999, 1, 2, 6),
        (4000, 1, 4, 2),
        (7000, 1, 7, 1),
        (50_000, 1, 10, 1),
        (8000, 250, 4, 2),
    ],
)
def test_parts_follow_n_and_the_columns(n, d, parts, splits):
    """At least 1000 rows and 8 rows a column, 2 to 10 parts, and at least 6 degrees of freedom."""
    inner = Mean(seen=[])
    e = Subsampled(inner)(np.broadcast_to(np.arange(float(n))[:, None], (n, d)))
    assert (e.diagnostics["parts"], e.diagnostics["splits"]) == (parts, splits)
    assert inner.seen == [n] + [n // parts] * (parts * splits)
    assert splits * (parts - 1) >= 6


def test_the_columns_of_all_samples_count():
    x = np.broadcast_to(np.arange(4000.0)[:, None], (4000, 125))
    assert Subsampled(Mean())(x, x).diagnostics["parts"] == 2
    assert Subsampled(Mean())(x).diagnostics["parts"] == 4


def test_fewer_parts_where_they_are_too_small_for_the_inner_estimator():
    x = normal(8000)
    assert Subsampled(Mean(least=1000))(x).diagnostics["parts"] == 8
    assert Subsampled(Mean(least=1001))(x).diagnostics["parts"] == 4
    with pytest.raises(ValueError, match=r"leaves 4000 of n = 8000 rows.*needs 4001.*use more samples"):
        Subsampled(Mean(least=4001))(x)
    # A number that was asked for is kept.
    with pytest.raises(ValueError, match=r"parts=8.*leaves 1000.*use fewer parts or more samples"):
        Subsampled(Mean(least=1001), parts=8)(x)


# -- where the 1/n law fails ---------------------------------------------------------------------------------


def test_parts_with_few_rows_a_column_are_flagged():
    """Gaussian entropy in 40 dimensions: Var log|S| at n / 2 is more than twice that at n by less rows a column."""
    from estimators.gaussian import log_det_variance

    assert log_det_variance(49, 40) / log_det_variance(99, 40) > 2.8
    assert "small-sample" in Subsampled(Gaussian())(normal(100, 40)).flags
    assert "small-sample" not in Subsampled(Gaussian())(normal(400, 40)).flags
    assert Subsampled(Mean(flags=("small-sample",)))(normal(100, 40)).flags == ("small-sample",)


def test_the_error_of_independent_variables_is_overstated_by_the_law():
    """Variance 1/n^2 where 1/n is assumed: with halves the error is sqrt(2) times too large, as documented."""
    errors, values = [], []
    for seed in range(150):
        x = normal(200, 8, seed)
        e = Subsampled(Gaussian())(x[:, :4], x[:, 4:])
        errors.append(e.stderr**2)
        values.append(e.value)
    ratio = np.mean(errors) / np.var(values, ddof=1)
    # The exact variances, from 1/4 of those of log|S|, at 100 and at 200 rows; the spread of a variance is sqrt(2/149).
    from estimators.gaussian import log_det_variance as v

    exact = [v(n - 1, 8) - 2 * v(n - 1, 4) for n in (100, 200)]
    assert abs(ratio / (exact[0] / 2 / exact[1]) - 1) <= 4 * math.sqrt(2 / 149)
    assert exact[0] / 2 / exact[1] == pytest.approx(2, rel=0.2)


# -- no error to be had --------------------------------------------------------------------------------------


def test_an_infinite_value_has_no_error():
    x = normal(100)
    e = Subsampled(Gaussian())(x, 2 * x)
    assert e.value == math.inf
    assert (e.stderr, e.interval, e.level) == (None, None, None)


def test_a_value_without_scatter_has_no_error_rather_than_zero():
    e = Subsampled(Mean())(np.ones((50, 1)))
    assert (e.stderr, e.interval) == (None, None)


def test_two_certain_sides_stay():
    x = normal(60, 2)
    inner = KolchinskyTracey(sigma=0.5)
    assert inner(x).level is None
    e = Subsampled(inner)(x)
    assert e.interval == inner(x).interval
    assert e.level is None
    assert e.stderr > 0


def test_bad_settings():
    with pytest.raises(ValueError, match=r"level = 1\.0 must lie between 0 and 1"):
        Subsampled(Gaussian(), level=1.0)
    with pytest.raises(ValueError, match="at least 2"):
        Subsampled(Gaussian(), parts=1)
    with pytest.raises(TypeError, match="parts must be of type int"):
        Subsampled(Gaussian(), parts=2.5)
