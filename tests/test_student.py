"""`Student` and `StudentCopula` against elliptical laws in closed form."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import multivariate_t

from estimators import Gaussian, GaussianCopula, Student, StudentCopula
from estimators.distributions import MultivariateNormal, MultivariateStudent, Warped
from estimators.student import _factor, elliptical_fit, length_information, log_density

# Standard deviations of one `Student` estimate at n = 1000 over 200 seeds; those of `StudentCopula` are no larger. The means
# were within 0.0015 of the truth (copula at df = 10: 0.0054).
RECORDED = {(1.0, 1): 0.0257, (3.0, 2): 0.0278, (10.0, 3): 0.0313}


@pytest.mark.parametrize(("df", "d"), list(RECORDED))
@pytest.mark.parametrize("estimator", [Student(), StudentCopula()])
def test_student_laws(estimator, df, d):
    law = MultivariateStudent(df, 0.5, d, d)
    values = np.array([estimator(*law.sample(1000, seed)).value for seed in range(8)])
    z = (values.mean() - law.mutual_information()) / (RECORDED[df, d] / math.sqrt(8))
    assert abs(z) <= 4


@pytest.mark.parametrize(("df", "d"), list(RECORDED))
def test_reported_error_is_the_scatter(df, d):
    law = MultivariateStudent(df, 0.5, d, d)
    reported = np.mean([Student()(*law.sample(1000, seed)).stderr for seed in range(4)])
    assert 0.6 < reported / RECORDED[df, d] < 1.6  # the reported one is itself a scatter of heavy terms


def test_normal_data_give_the_gaussian_estimate(rng):
    x, y = MultivariateNormal(0.6, 3, 3).sample(2000, 0)
    assert Student(df=math.inf)(x, y).value == pytest.approx(Gaussian()(x, y).value, abs=1e-7)
    assert StudentCopula()(x, y).value == pytest.approx(GaussianCopula()(x, y).value, abs=1e-7)
    assert Student()(x, y).value == pytest.approx(Gaussian()(x, y).value, abs=0.01)


@pytest.mark.parametrize("d", [1, 4])
def test_density_of_the_spherical_law(d, rng):
    z = rng.standard_normal((20, d))
    ours = log_density(np.sum(z * z, axis=1), d, 2.5)
    assert ours == pytest.approx(
        multivariate_t(np.zeros(d), np.eye(d), df=2.5).logpdf(z).reshape(20), abs=1e-12
    )


def test_length_information_vanishes_for_light_tails():
    assert length_information(math.inf, 3, 4) == 0.0
    assert length_information(1e7, 3, 4) == pytest.approx(0.0, abs=1e-5)
    assert length_information(1.0, 1, 1) == pytest.approx(math.log(8 * math.pi) - 3, abs=1e-12)


def test_log_ratios_are_those_of_the_densities(rng):
    law = MultivariateStudent(3, 0.5, 2, 3, pairs=2)
    x, y = law.sample(500, 0)
    fit = elliptical_fit(x, y, 3.0)
    inverse = [np.linalg.inv(w) for w in (fit.to_white_x, fit.to_white_y)]
    cross = np.zeros((2, 3))
    cross[range(2), range(2)] = fit.correlations
    scatter = np.block(
        [
            [inverse[0].T @ inverse[0], inverse[0].T @ cross @ inverse[1]],
            [inverse[1].T @ cross.T @ inverse[0], inverse[1].T @ inverse[1]],
        ]
    )
    location = np.concatenate([fit.location_x, fit.location_y])
    joint = multivariate_t(location, scatter, df=3.0)
    alone = (
        multivariate_t(fit.location_x, scatter[:2, :2], df=3.0),
        multivariate_t(fit.location_y, scatter[2:, 2:], df=3.0),
    )
    matched = joint.logpdf(np.c_[x, y]) - alone[0].logpdf(x) - alone[1].logpdf(y)
    assert fit.log_ratio(x, y) == pytest.approx(matched, abs=1e-10)
    assert np.diagonal(fit.log_ratios(x, y)) == pytest.approx(matched, abs=1e-10)
    crossed = joint.logpdf(np.c_[x[:1].repeat(5, 0), y[:5]]) - alone[0].logpdf(x[:1]) - alone[1].logpdf(y[:5])
    assert fit.log_ratios(x[:1], y[:5])[0] == pytest.approx(crossed, abs=1e-10)


def test_a_cut_law_is_that_of_its_leading_variables():
    x, y = MultivariateNormal.with_information(2.0, 4, 4, rotation=0).sample(4000, 0)
    fit = elliptical_fit(x, y, math.inf)
    cut = fit.leading(2)
    assert (cut.dx, cut.dy) == (2, 2)
    direct = elliptical_fit(*cut.white(x, y), math.inf)
    assert cut.log_ratio(x, y) == pytest.approx(direct.log_ratio(*cut.white(x, y)), abs=1e-6)


def test_linear_maps_of_a_view_change_nothing(rng):
    x, y = MultivariateStudent(3, 0.5, 3, 3).sample(800, 0)
    a, b = rng.standard_normal((3, 3)), rng.standard_normal((3, 3))
    assert Student()(x @ a + 7, y @ b).value == pytest.approx(
        Student()(x, y).value, abs=2e-3
    )  # df has a grid


def test_increasing_maps_of_a_coordinate_leave_the_copula():
    law = MultivariateStudent(3, 0.5, 2, 2)
    x, y = law.sample(600, 0)
    assert StudentCopula()(np.arctan(x), np.sinh(y / 10)).value == StudentCopula()(x, y).value
    warped = Warped(MultivariateNormal(0.8), "power9")  # kurtosis in the thousands
    assert abs(StudentCopula()(*warped.sample(2000, 0)).value - warped.mutual_information()) < 4 * 0.0196


def test_heavy_tails_that_a_normal_law_misses():
    law = MultivariateStudent(1, 0.0, 1, 1)  # uncorrelated, 0.224 nats
    x, y = law.sample(2000, 0)
    assert abs(Gaussian()(x, y).value) < 0.05
    assert abs(Student()(x, y).value - law.mutual_information()) < 4 * 0.0105
    assert "heavy-tails" in Gaussian()(x, y).flags
    assert Student()(x, y).reliable


def test_settings_and_samples_that_cannot_be():
    x, y = MultivariateNormal(0.5, 2, 2).sample(50, 0)
    with pytest.raises(ValueError, match="df = 0 must be positive"):
        Student(df=0)
    with pytest.raises(ValueError, match="needs n > 5"):
        Student()(x[:5], y[:5])
    with pytest.raises(ValueError, match="singular"):
        _factor(np.diag([1.0, -1.0]))


def test_a_constant_column_is_dropped_and_said(rng):
    x, y = MultivariateNormal(0.5, 2, 2).sample(300, 0)
    e = Student()(np.c_[x, np.ones(300)], y)
    assert e.flags == ("constant-columns",)
    assert e.value == pytest.approx(Student()(x, y).value, abs=1e-12)
